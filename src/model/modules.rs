//! `modules.json`: the modules that sentence-transformers makes a model of, in their order.

use serde::Deserialize;

use super::files::Files;
use crate::error::{Error, Result};

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
pub(super) struct ModuleEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl ModuleEntry {
    /// The modules; none without the file.
    pub(super) fn read_all(files: &mut Files) -> Result<Vec<Self>> {
        Ok(files.optional_json("modules.json")?.unwrap_or_default())
    }

    /// The name of its class, without the path before it, which differs between versions.
    pub(super) fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }

    /// Its folder within the model's.
    pub(super) fn folder(&self) -> Result<&str> {
        let folder = self.path.as_str();
        if folder.split(['/', '\\']).any(|part| part == "..") || folder.starts_with(['/', '\\']) || folder.contains(':')
        {
            return Err(Error::model(format!("modules.json points outside the model's folder: `{folder}`")));
        }
        // The model's own folder, which a name may not begin with a root for.
        Ok(if folder.is_empty() { "." } else { folder })
    }

    /// The name of a file in its folder.
    pub(super) fn file(&self, name: &str) -> Result<String> {
        Ok(format!("{}/{name}", self.folder()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_stays_in_the_models_folder() {
        let file = |path: &str| ModuleEntry { path: path.to_owned(), kind: "x.Pooling".to_owned() }.file("config.json");
        assert_eq!(file("1_Pooling").unwrap(), "1_Pooling/config.json");
        assert_eq!(file("").unwrap(), "./config.json");
        for path in ["../x", "/etc", "a/../../b", "C:x", "\\\\server", "..\\x"] {
            assert!(file(path).unwrap_err().to_string().contains("outside"), "{path}");
        }
    }
}
