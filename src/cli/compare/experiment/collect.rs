//! The scores of a query's candidates by both models, a JSON line a query.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::super::collection::{Candidate, Corpus, Query};
use super::super::super::failure::Failure;
use super::super::super::job::{Tally, Worked};
use super::super::super::models::Cut;
use crossrank::{Embedder, Error, Reranker, cosine_similarity};

/// What is known of a query in the end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Scored {
    pub(super) query: String,
    pub(super) text: String,
    pub(super) documents: Vec<ScoredDocument>,
    /// Documents that had not been embedded for a query before, and the seconds that it took.
    pub(super) embedded: usize,
    pub(super) document_seconds: f64,
    /// Embedding the query and comparing it with the documents' embeddings.
    pub(super) query_seconds: f64,
    /// Reading all pairs.
    pub(super) pair_seconds: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ScoredDocument {
    pub(super) id: String,
    pub(super) first_stage: f64,
    pub(super) similarity: f32,
    pub(super) logit: f32,
}

/// The scores that were collected.
pub(super) fn read(file: &mut File) -> Result<Vec<Scored>, Failure> {
    let mut scored = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Failure::Output)?;
        let query = serde_json::from_str(&line)
            .map_err(|error| Failure::Setup(format!("the collected scores are damaged ({error}): begin anew")))?;
        scored.push(query);
    }
    Ok(scored)
}

/// The embeddings of some documents, how many had to be made for them, and what was cut.
type Embedded = (Vec<Arc<[f32]>>, usize, Cut);

/// The models, and the embeddings of the documents that were met.
pub(super) struct Models<'a> {
    reranker: &'a Reranker,
    embedder: &'a Embedder,
    corpus: Arc<Corpus>,
    /// A document of several queries is embedded once, as in an index.
    embeddings: Mutex<HashMap<String, Arc<[f32]>>>,
}

impl<'a> Models<'a> {
    pub(super) fn new(reranker: &'a Reranker, embedder: &'a Embedder, corpus: Arc<Corpus>) -> Self {
        Self { reranker, embedder, corpus, embeddings: Mutex::default() }
    }

    pub(super) fn score(&self, query: Query) -> Worked {
        let name = format!("query {}", query.id);
        let Some(text) = query.text.clone() else {
            return Worked::failed(name, vec!["it has no text in the file of queries".to_owned()]);
        };
        let (documents, mut reasons) = query.documents(&self.corpus);
        match self.run(query.id.clone(), text, &documents, &mut reasons) {
            Ok((scored, mut tally)) => {
                tally.repeated = query.repeated;
                // Strings and finite numbers: they always serialise.
                let mut line = serde_json::to_vec(&scored).unwrap_or_default();
                line.push(b'\n');
                Worked { results: line, failure: (!reasons.is_empty()).then_some((name, reasons)), tally }
            }
            Err(error) => Worked::failed(name, vec![error.chain()]),
        }
    }

    fn run(
        &self,
        id: String,
        text: String,
        documents: &[Candidate<'_>],
        reasons: &mut Vec<String>,
    ) -> Result<(Scored, Tally), Error> {
        let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
        let mut tally = Tally { items: texts.len() as u64, ..Tally::default() };
        let mut scored = Scored { query: id, ..Scored::default() };

        let start = Instant::now();
        let (embeddings, embedded, cut) = self.embed(documents)?;
        scored.document_seconds = start.elapsed().as_secs_f64();
        scored.embedded = embedded;
        tally.cut_by_bi_encoder = cut;

        let start = Instant::now();
        let of_query = self.embedder.embed_query(&text)?;
        let similarities: Vec<f32> = embeddings.iter().map(|of| cosine_similarity(&of_query, of)).collect();
        scored.query_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let pairs = self.reranker.score(&text, &texts)?;
        scored.pair_seconds = start.elapsed().as_secs_f64();
        tally.cut_by_cross_encoder = Cut::of(&pairs.truncated);

        for ((document, similarity), pair) in documents.iter().zip(similarities).zip(pairs.scores) {
            let id = document.id;
            match pair {
                Ok(pair) if similarity.is_finite() => scored.documents.push(ScoredDocument {
                    id: id.to_owned(),
                    first_stage: document.score,
                    similarity,
                    logit: pair.logit,
                }),
                Ok(_) => reasons.push(format!("document {id}: its similarity is not a finite number")),
                Err(error) => reasons.push(format!("document {id}: {}", error.chain())),
            }
        }
        scored.text = text;
        Ok((scored, tally))
    }

    fn embed(&self, documents: &[Candidate<'_>]) -> Result<Embedded, Error> {
        let mut known = self.embeddings.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&Candidate<'_>> = documents.iter().filter(|document| !known.contains_key(document.id)).collect();
        let texts: Vec<&str> = new.iter().map(|document| document.text.as_str()).collect();
        let mut cut = Cut::default();
        if !texts.is_empty() {
            let embeddings = self.embedder.embed_documents(&texts)?;
            cut = Cut::of(embeddings.truncated());
            for (document, row) in new.iter().zip(embeddings.iter()) {
                known.insert(document.id.to_owned(), row.into());
            }
        }
        let rows = documents.iter().filter_map(|document| known.get(document.id).cloned()).collect();
        Ok((rows, texts.len(), cut))
    }
}
