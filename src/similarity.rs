//! The bi-encoder's side of a comparison and of a cascade: a query and documents → a similarity for each document.

use crate::embeddings::{Embeddings, cosine_similarity};
use crate::error::{Error, ErrorKind, Result};
use crate::ranking::TruncatedDocument;
use crate::scoring::BiEncoder;

/// The similarity of each document with the query.
#[derive(Debug)]
pub(crate) struct Similarities {
    /// One for each document, in the caller's order, each a finite number or the reason why there is none.
    pub(crate) of: Vec<Result<f32>>,
    /// The documents that were cut, in the caller's order.
    pub(crate) truncated: Vec<TruncatedDocument>,
}

impl Similarities {
    /// Embeds the query and the documents.
    ///
    /// A document that cannot be embedded spoils the model's whole call. With `keep_going` each one is then embedded by
    /// itself, so that the others are not lost.
    pub(crate) fn embed(model: &dyn BiEncoder, query: &str, documents: &[&str], keep_going: bool) -> Result<Self> {
        let query = embed_query(model, query)?;
        match model.embed_documents(documents) {
            Ok(embeddings) if embeddings.len() == documents.len() => Ok(Self::with(&query, &embeddings)),
            Ok(embeddings) => {
                let message =
                    format!("the bi-encoder gave {} embeddings for {} documents", embeddings.len(), documents.len());
                Err(Error::new(ErrorKind::Inference, message))
            }
            Err(error) if error.document().is_some() && keep_going => Ok(Self::one_by_one(model, &query, documents)),
            Err(error) => Err(error),
        }
    }

    /// The similarities of documents that are embedded already, with an embedded query.
    pub(crate) fn with(query: &[f32], embeddings: &Embeddings) -> Self {
        let of = embeddings.similarities(query).into_iter().enumerate();
        let of = of.map(|(index, similarity)| finite(similarity, index)).collect();
        Self { of, truncated: embeddings.truncated().to_vec() }
    }

    fn one_by_one(model: &dyn BiEncoder, query: &[f32], documents: &[&str]) -> Self {
        let mut found = Self { of: Vec::with_capacity(documents.len()), truncated: Vec::new() };
        for (index, document) in documents.iter().enumerate() {
            let similarity = model.embed_documents(&[document]).and_then(|embedding| {
                found.truncated.extend(embedding.truncated().iter().map(|cut| TruncatedDocument { index, ..*cut }));
                finite(cosine_similarity(query, embedding.as_slice()), index)
            });
            found.of.push(similarity.map_err(|error| {
                Error::new(error.kind(), format!("document {index} (counted from 0)"))
                    .with_document(index)
                    .with_source(error)
            }));
        }
        found
    }
}

/// The embedding of the query. An error is about the query, whatever index the model gives it among its texts.
pub(crate) fn embed_query(model: &dyn BiEncoder, query: &str) -> Result<Vec<f32>> {
    model.embed_query(query).map_err(|error| match error.document() {
        Some(_) => Error::new(error.kind(), "the query could not be embedded").with_source(error),
        None => error,
    })
}

fn finite(similarity: f32, index: usize) -> Result<f32> {
    if similarity.is_finite() {
        return Ok(similarity);
    }
    let message = format!(
        "the similarity of document {index} (counted from 0) with the query is {similarity}, which is not a finite \
         number; check the document's embedding, and the query's if others fail too"
    );
    Err(Error::new(ErrorKind::NonFinite, message).with_document(index))
}
