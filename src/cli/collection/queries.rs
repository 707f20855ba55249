//! The queries' texts.

use std::collections::HashMap;

use super::super::failure::Failure;
use super::super::input::shown;
use super::super::lines::Lines;
use super::record::Form;
use super::repeated::Repeated;

/// Texts by query id.
pub(in super::super) type Queries = HashMap<String, String>;

/// Reads queries: BEIR's JSON objects with `_id` and `text`, or an id and a text between tabs. A line that is neither is an
/// error; of two queries with one id the last counts, which is said.
pub(in super::super) fn queries(path: &str) -> Result<Queries, Failure> {
    let mut queries = Queries::new();
    let (mut form, mut repeated) = (None, Repeated::default());
    for line in Lines::open(&[path.to_owned()])? {
        let line = line?;
        if line.is_blank() {
            continue;
        }
        let bad = |reason: String| Failure::Input(format!("{}: {reason}", line.name()));
        let text = line.text().map_err(bad)?;
        if form.is_none() {
            let (of_file, header) = Form::of(text);
            form = Some(of_file);
            if header {
                continue;
            }
        }
        if let Some(form) = &form {
            let record = form.read(text).map_err(bad)?;
            if let Some(known) = queries.get_mut(&*record.id) {
                repeated.add(&record.id);
                *known = record.text.into_owned();
            } else {
                queries.insert(record.id.into_owned(), record.text.into_owned());
            }
        }
    }
    repeated.report(shown(path), "query");
    Ok(queries)
}
