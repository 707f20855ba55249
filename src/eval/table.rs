//! Values of (query, document) pairs, gathered from lines in any order.

use std::collections::HashMap;

/// Pairs of a query and a document that a file holds more than once. The last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Duplicates {
    /// How many lines were replaced by a later one.
    pub count: usize,
    /// The query, the document and the number of the line (counted from 1) of a pair that was there before.
    pub example: Option<(String, String, usize)>,
}

/// The documents of a query, each with a value.
pub(super) type Documents<V> = Vec<(Box<str>, V)>;

/// Queries in the order in which they appear first, each with its documents by rising id.
#[derive(Debug, Clone)]
pub(super) struct Table<V> {
    queries: Vec<(Box<str>, Documents<V>)>,
    index: HashMap<Box<str>, usize>,
    duplicates: Duplicates,
}

impl<V> Table<V> {
    pub(super) fn len(&self) -> usize {
        self.queries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[(Box<str>, V)])> {
        self.queries.iter().map(|(query, documents)| (&**query, documents.as_slice()))
    }

    /// The documents of a query; none if it is not there.
    pub(super) fn get(&self, query: &str) -> Option<&[(Box<str>, V)]> {
        self.index.get(query).map(|index| self.queries[*index].1.as_slice())
    }

    pub(super) fn duplicates(&self) -> &Duplicates {
        &self.duplicates
    }

    /// The same table with each query's documents in another order.
    pub(super) fn sorted_by(mut self, sort: impl Fn(&mut [(Box<str>, V)])) -> Self {
        for (_, documents) in &mut self.queries {
            sort(documents);
        }
        self
    }
}

/// A document's value, and the number of the line that holds it.
#[derive(Debug)]
struct Line<V> {
    document: Box<str>,
    value: V,
    number: usize,
}

/// A table in the making.
#[derive(Debug)]
pub(super) struct TableBuilder<V> {
    queries: Vec<(Box<str>, Vec<Line<V>>)>,
    index: HashMap<Box<str>, usize>,
    last: usize,
}

impl<V> TableBuilder<V> {
    pub(super) fn new() -> Self {
        Self { queries: Vec::new(), index: HashMap::new(), last: 0 }
    }

    pub(super) fn add(&mut self, query: &str, document: &str, value: V, number: usize) {
        // Most lines belong to the query of the line before.
        if self.queries.get(self.last).is_none_or(|(last, _)| &**last != query) {
            self.last = self.index.get(query).copied().unwrap_or_else(|| {
                self.index.insert(query.into(), self.queries.len());
                self.queries.push((query.into(), Vec::new()));
                self.queries.len() - 1
            });
        }
        self.queries[self.last].1.push(Line { document: document.into(), value, number });
    }

    pub(super) fn build(self) -> Table<V> {
        let mut duplicates = Duplicates::default();
        let queries = self.queries.into_iter().map(|(query, mut lines)| {
            // Stable: of equal documents, the last line comes last.
            lines.sort_by(|a, b| a.document.cmp(&b.document));
            let mut documents: Documents<V> = Vec::with_capacity(lines.len());
            for Line { document, value, number } in lines {
                match documents.last_mut() {
                    Some(last) if last.0 == document => {
                        last.1 = value;
                        duplicates.count += 1;
                        duplicates.example.get_or_insert_with(|| (query.to_string(), document.to_string(), number));
                    }
                    _ => documents.push((document, value)),
                }
            }
            (query, documents)
        });
        let queries = queries.collect();
        Table { queries, index: self.index, duplicates }
    }
}
