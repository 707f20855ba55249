//! JSON objects as structs.

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

/// Reads a struct from a JSON object, and from nothing else. (What serde derives takes an array, too: its elements for the
/// fields, in their order.)
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let object: Map<String, Value> = serde::Deserialize::deserialize(from)?;
    T::deserialize(Value::Object(object)).map_err(D::Error::custom)
}
