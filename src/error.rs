//! The one error type of the library.
//!
//! An [`Error`] is opaque: programs look at its [`kind`](Error::kind), people read its message, and the error that
//! lies beneath it (of ONNX Runtime, of the file system, of a parser) is its [`source`](std::error::Error::source).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What the operations of this library return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs that must tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No usable ONNX Runtime library: none was found, or what was found is broken or too old.
    Runtime,
    /// A model's files are missing, damaged, contradict each other, or need something that is not supported.
    Model,
    /// An option has a value that makes no sense, such as zero threads.
    Options,
    /// The model gave a score or an embedding that is not a finite number.
    NonFinite,
    /// ONNX Runtime or the tokenizer refused to process a text.
    Inference,
    /// A file could not be read or written.
    Io,
    /// A file of judgements or results holds something that cannot be understood: the message names file and line.
    Input,
    /// A model of the Hub cannot be had: it does not exist or may not be read, the network fails or is out of bounds, a
    /// file arrived damaged, or the disk has no room for it.
    Hub,
}

/// An error of this library: a kind, a message that says what to do, and the error beneath, if there is one.
///
/// ```
/// use crossrank::{ErrorKind, Reranker};
///
/// let error = Reranker::from_dir("no/such/folder").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Model);
/// assert!(error.to_string().contains("no/such/folder"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    document: Option<usize>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of your own [`CrossEncoder`](crate::CrossEncoder) or [`BiEncoder`](crate::BiEncoder).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), document: None, source: None }))
    }

    pub(crate) fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Model, message)
    }

    /// The same error with the error that lies beneath it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The same error, about the document or text with this index.
    #[must_use]
    pub fn with_document(mut self, index: usize) -> Self {
        self.0.document = Some(index);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The index of the document or text that the error is about, where it is about one.
    pub fn document(&self) -> Option<usize> {
        self.0.document
    }

    /// The message and those of all errors beneath it, joined by `: `, for one line of a log.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = self.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(error.to_string().trim_end());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("document", &self.0.document)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_every_error_beneath() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Io, "cannot read x").with_source(io).with_document(3);
        assert_eq!(error.chain(), "cannot read x: disk on fire");
        assert_eq!(error.to_string(), "cannot read x");
        assert_eq!(error.document(), Some(3));
        assert!(error.source().is_some());
    }
}
