//! A query with the documents that a first stage found for it: what long runs over a collection work on.

use sha2::{Digest, Sha256};

use super::super::failure::Failure;
use super::super::job::Unit;
use super::corpus::Corpus;
use super::queries::Queries;
use super::run::{Candidates, FirstStage};

pub(in super::super) struct Query {
    pub(in super::super) id: String,
    /// None if the file of queries does not have it.
    pub(in super::super) text: Option<String>,
    /// Lines of the run for a document that there was a line for before.
    pub(in super::super) repeated: u64,
    /// The documents' ids and scores, best first.
    candidates: Vec<(String, f64)>,
}

/// A document that the first stage found, with its text.
pub(in super::super) struct Candidate<'a> {
    pub(in super::super) id: &'a str,
    /// The first stage's score.
    pub(in super::super) score: f64,
    pub(in super::super) text: String,
}

impl Query {
    /// The documents with their texts, and what is to be said of those that have none.
    pub(in super::super) fn documents(&self, corpus: &Corpus) -> (Vec<Candidate<'_>>, Vec<String>) {
        let (mut documents, mut problems) = (Vec::with_capacity(self.candidates.len()), Vec::new());
        for (id, score) in &self.candidates {
            match corpus.text(id) {
                Ok(Some(text)) => documents.push(Candidate { id, score: *score, text }),
                Ok(None) => problems.push(format!("document {id} is not in the corpus")),
                Err(reason) => problems.push(reason),
            }
        }
        (documents, problems)
    }
}

impl Unit for Query {
    fn fingerprint(&self, hash: &mut Sha256) {
        let text = self.text.as_ref().unwrap_or(&self.id);
        for part in [&self.id, text].into_iter().chain(self.candidates.iter().map(|(id, _)| id)) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        for (_, score) in &self.candidates {
            hash.update(score.to_le_bytes());
        }
    }
}

/// The queries of a run at these places, each with the first `depth` documents.
pub(in super::super) fn units(
    first_stage: FirstStage,
    mut queries: Queries,
    places: impl IntoIterator<Item = usize, IntoIter: Send + 'static>,
    depth: usize,
) -> impl Iterator<Item = Result<Query, Failure>> + Send + 'static {
    places.into_iter().map(move |place| {
        let query = &first_stage.queries()[place];
        let text = queries.remove(&query.id);
        let Candidates { documents, repeated } = first_stage.candidates(query, depth)?;
        Ok(Query { id: query.id.clone(), text, repeated, candidates: documents })
    })
}
