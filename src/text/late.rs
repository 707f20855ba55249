//! Queries and documents of late-interaction models (ColBERT): markers, query expansion, and the tokens that are not
//! compared.

use std::collections::HashSet;
use std::ops::Range;

use super::{Cut, TextEncoder, Tokens};
use crate::error::{Error, Result};
use crate::model::late::{LateSpec, Marker};
use crate::windows::WindowOptions;

/// What a tokenizer needs to know to encode the two sides.
#[derive(Debug)]
pub(crate) struct LateEncoder {
    query: Side,
    document: Side,
    expansion: Option<Expansion>,
    skipped: HashSet<u32>,
}

#[derive(Debug)]
struct Side {
    /// A token before the text's own ones.
    marker: Option<u32>,
    /// Words before the text.
    before: String,
    limit: usize,
}

#[derive(Debug)]
struct Expansion {
    length: usize,
    attend: bool,
    token: u32,
}

impl LateEncoder {
    pub(crate) fn new(encoder: &TextEncoder, spec: &LateSpec) -> Result<Self> {
        let most = encoder.options.max_length;
        let expansion = match &spec.expansion {
            None => None,
            Some(expansion) => {
                let names = expansion.token.as_deref().map_or(vec!["[MASK]", "<mask>"], |name| vec![name]);
                let token = names.iter().find_map(|name| encoder.id_of(name)).ok_or_else(|| {
                    Error::model(format!(
                        "queries are to be filled up with mask tokens, and tokenizer.json has no {}",
                        names.join(" and no ")
                    ))
                })?;
                Some(Expansion { length: expansion.length.min(most), attend: expansion.attend, token })
            }
        };
        let fixed = spec.expansion.as_ref().filter(|expansion| expansion.fixed).map(|expansion| expansion.length);
        let side = |marker: &Marker, limit: Option<usize>| {
            let limit = limit.unwrap_or(most).min(most);
            let (marker, before) = marker_token(encoder, marker);
            let specials = encoder.single.specials() + usize::from(marker.is_some());
            if limit <= specials {
                return Err(Error::model(format!(
                    "a text of {limit} tokens has no room for its own ones beside {specials} special ones"
                )));
            }
            Ok(Side { marker, before, limit })
        };
        Ok(Self {
            query: side(&spec.query, fixed.or(spec.query_length))?,
            document: side(&spec.document, spec.document_length)?,
            expansion,
            skipped: spec.skip_words.iter().filter_map(|word| encoder.id_of(word)).collect(),
        })
    }

    /// The tokens of a query, filled up to the model's length.
    pub(crate) fn query(&self, encoder: &TextEncoder, text: &str) -> Result<(Tokens, Cut)> {
        let (mut tokens, cut) = self.query.encode(encoder, text)?;
        if let Some(expansion) = &self.expansion {
            let added = expansion.length.saturating_sub(tokens.ids.len());
            tokens.ids.resize(tokens.ids.len() + added, expansion.token);
            tokens.type_ids.resize(tokens.ids.len(), 0);
            tokens.unattended = if expansion.attend { 0 } else { added };
        }
        Ok((tokens, cut))
    }

    /// The tokens of a document.
    pub(crate) fn document(&self, encoder: &TextEncoder, text: &str) -> Result<(Tokens, Cut)> {
        self.document.encode(encoder, text)
    }

    /// The windows in which a document that is too long is read; none if it fits.
    pub(crate) fn windows(
        &self,
        encoder: &TextEncoder,
        document: &str,
        options: &WindowOptions,
    ) -> Result<Vec<Range<usize>>> {
        let words = encoder.count(&self.document.before)?.0;
        encoder.windows_of(document, self.document.room(encoder).saturating_sub(words), options)
    }

    /// The most tokens of a document, special ones included.
    pub(crate) fn document_length(&self) -> usize {
        self.document.limit
    }

    /// Whether a document's token is compared with the query's.
    pub(crate) fn is_compared(&self, id: u32) -> bool {
        !self.skipped.contains(&id)
    }
}

impl Side {
    /// The most tokens of a text beside the special ones.
    fn room(&self, encoder: &TextEncoder) -> usize {
        self.limit - encoder.single.specials() - usize::from(self.marker.is_some())
    }

    fn encode(&self, encoder: &TextEncoder, text: &str) -> Result<(Tokens, Cut)> {
        let text = encoder.encode(&self.before, text)?;
        let keep = text.ids.len().min(self.room(encoder));
        let kept = encoder.options.truncation.cut(&text.ids, keep);
        let ids: Vec<u32> = self.marker.iter().chain(kept).copied().collect();
        let cut = Cut { query: 0, document: text.dropped(keep), at_least: text.partial };
        Ok((encoder.finish(encoder.single.frame(&ids, &[])), cut))
    }
}

/// The token that a marker is, or begins with, and the words that are left of it.
fn marker_token(encoder: &TextEncoder, marker: &Marker) -> (Option<u32>, String) {
    if marker.is_token {
        let first = marker.text.split_whitespace().next().unwrap_or_default();
        for name in [marker.text.as_str(), first] {
            if let (Some(id), Some(rest)) = (encoder.id_of(name), marker.text.strip_prefix(name)) {
                return (Some(id), rest.to_owned());
            }
        }
    }
    (None, marker.text.clone())
}
