//! Chat templates: the Jinja text with which a language model's folder says how a query and a document are put to it.
//!
//! The layout is that of sentence-transformers (from 6 on): a conversation of two messages with the roles `query` and
//! `document`, and before them a `system` message with the instruction, where there is one. The template is rendered
//! once, with stand-ins for the two texts; what stands around them is then put around the real ones. A template is
//! untrusted: its size, its steps and the size of its result are bounded.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error as JinjaError, ErrorKind as JinjaErrorKind, Value, context};
use serde::Deserialize;

use super::files::Files;
use super::format::TextFormat;
use crate::error::{Error, Result};

/// No template is larger, and none gives a longer text.
const LONGEST_TEMPLATE: usize = 64 << 10;

/// The stack for rendering. The parser goes down a chain such as `1+1+1…` once for each link, and a template has room for
/// tens of thousands of them.
const STACK: usize = 512 << 20;

/// More steps than any template for two messages takes.
const MOST_STEPS: u64 = 200_000;

/// Texts that no template holds. White space at their ends shows whether the template changes what it is given.
const QUERY: &str = " \u{e000}query\u{e001} ";
const DOCUMENT: &str = " \u{e000}document\u{e001} ";
const INSTRUCTION: &str = "\u{e000}instruction\u{e001}";

/// A model's chat template and what it is rendered with.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    source: String,
    /// The file that it is in.
    pub(super) declared_in: &'static str,
    /// `bos_token` and its like.
    special_tokens: BTreeMap<String, String>,
    /// What sentence-transformers passes on to the template (`processing_kwargs` of `sentence_bert_config.json`).
    arguments: BTreeMap<String, serde_json::Value>,
}

/// The part of `tokenizer_config.json` that is about chats.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    chat_template: Option<OneOrNamed>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrNamed {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// The part of `sentence_bert_config.json` that is about chats.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TransformerConfig {
    processing_kwargs: Option<ProcessingArguments>,
    modality_config: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProcessingArguments {
    chat_template: BTreeMap<String, serde_json::Value>,
}

impl ChatTemplate {
    /// The folder's template, where it has one.
    pub(super) fn read(files: &mut Files) -> Result<Option<Self>> {
        let config: TokenizerConfig = files.optional_json("tokenizer_config.json")?.unwrap_or_default();
        let (source, declared_in) = match files.optional("chat_template.jinja")? {
            Some(bytes) => (String::from_utf8_lossy(&bytes).into_owned(), "chat_template.jinja"),
            None => {
                let source = match config.chat_template {
                    Some(OneOrNamed::One(source)) => Some(source),
                    Some(OneOrNamed::Named(templates)) => {
                        templates.into_iter().find(|named| named.name == "default").map(|named| named.template)
                    }
                    None => None,
                };
                let Some(source) = source else { return Ok(None) };
                (source, "tokenizer_config.json")
            }
        };
        if source.len() > LONGEST_TEMPLATE {
            return Err(Error::model(format!(
                "the chat template in {declared_in} of {} has {} bytes, and {LONGEST_TEMPLATE} are the most",
                files.name(),
                source.len()
            )));
        }
        let transformer: TransformerConfig = files.optional_json("sentence_bert_config.json")?.unwrap_or_default();
        let mut arguments = transformer.processing_kwargs.unwrap_or_default().chat_template;
        // These are about cutting and padding; sentence-transformers does not pass them on either.
        for name in ["padding", "truncation", "max_length", "return_tensors", "restore_suffix"] {
            arguments.remove(name);
        }
        let special_tokens = config.rest.into_iter().filter(|(name, _)| name.ends_with("_token"));
        let special_tokens = special_tokens.filter_map(|(name, value)| {
            let token = value.as_str().or_else(|| value.get("content")?.as_str())?.to_owned();
            Some((name, token))
        });
        Ok(Some(Self { source, declared_in, special_tokens: special_tokens.collect(), arguments }))
    }

    /// Whether sentence-transformers' configuration says that inputs go through the template.
    pub(super) fn is_declared(files: &mut Files) -> Result<bool> {
        let transformer: TransformerConfig = files.optional_json("sentence_bert_config.json")?.unwrap_or_default();
        Ok(transformer.modality_config.is_some_and(|modalities| modalities.contains_key("message")))
    }

    /// What stands around a query and a document; `instruction` is the text of the system message.
    ///
    /// # Errors
    ///
    /// In words, if the template cannot be used for pairs: most chat templates are not for them.
    pub(super) fn pair_format(&self, instruction: Option<&str>) -> std::result::Result<TextFormat, String> {
        let rendered = self.render(instruction)?;
        let only = |text: &str| match rendered.match_indices(text).map(|(at, _)| at).collect::<Vec<_>>().as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let (Some(query), Some(document)) = (only(QUERY), only(DOCUMENT)) else {
            return Err(
                "it does not hold the texts of the roles `query` and `document` once each, unchanged".to_owned()
            );
        };
        if document < query + QUERY.len() {
            return Err("it puts the document before the query".to_owned());
        }
        Ok(TextFormat {
            before: rendered[..query].to_owned(),
            between: rendered[query + QUERY.len()..document].to_owned(),
            after: rendered[document + DOCUMENT.len()..].to_owned(),
            special_tokens: false,
        })
    }

    /// Whether an instruction changes anything.
    pub(super) fn takes_instruction(&self) -> bool {
        self.pair_format(Some(INSTRUCTION)) != self.pair_format(None)
    }

    /// Whether the template knows of the two roles. One that writes any role through is no template for pairs, though a
    /// pair gets through it.
    pub(super) fn names_the_roles(&self) -> bool {
        self.source.contains("query") && self.source.contains("document")
    }

    fn render(&self, instruction: Option<&str>) -> std::result::Result<String, String> {
        std::thread::scope(|scope| {
            let rendering = std::thread::Builder::new().stack_size(STACK);
            let rendering = rendering.spawn_scoped(scope, || self.render_here(instruction));
            let rendering = rendering.map_err(|error| format!("no thread can be had for it: {error}"))?;
            rendering.join().unwrap_or_else(|_| Err("rendering it fails".to_owned()))
        })
    }

    fn render_here(&self, instruction: Option<&str>) -> std::result::Result<String, String> {
        let mut environment = Environment::new();
        // As `transformers` renders them.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(MOST_STEPS));
        environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, JinjaError> {
            Err(JinjaError::new(JinjaErrorKind::InvalidOperation, message))
        });
        environment.set_unknown_method_callback(python_method);
        let content = |text: &str| -> Value {
            if self.is_structured() {
                Value::from(vec![context! { type => "text", text => text }])
            } else {
                text.into()
            }
        };
        let mut messages = Vec::new();
        messages.extend(instruction.map(|text| context! { role => "system", content => content(text) }));
        messages.push(context! { role => "query", content => content(QUERY) });
        messages.push(context! { role => "document", content => content(DOCUMENT) });
        let mut variables: BTreeMap<String, Value> = BTreeMap::new();
        variables.extend(self.special_tokens.iter().map(|(name, token)| (name.clone(), token.into())));
        variables.extend(self.arguments.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))));
        variables.insert("messages".to_owned(), messages.into());
        variables.entry("add_generation_prompt".to_owned()).or_insert(false.into());
        let rendered = environment.render_str(&self.source, variables).map_err(|error| error.to_string())?;
        if rendered.len() > LONGEST_TEMPLATE {
            return Err(format!("its result has {} bytes, and {LONGEST_TEMPLATE} are the most", rendered.len()));
        }
        Ok(rendered)
    }

    /// Whether a message's content is a list of parts, by the signs that sentence-transformers looks for.
    fn is_structured(&self) -> bool {
        ["content[0]", ".type", "'type'", "\"type\"", "item.type", "message.content["]
            .iter()
            .any(|sign| self.source.contains(sign))
    }
}

/// The methods of Python's strings and dictionaries that templates call.
fn python_method(
    _: &mut minijinja::State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> std::result::Result<Value, JinjaError> {
    let unknown = || JinjaError::new(JinjaErrorKind::UnknownMethod, format!("the method `{method}` is not known"));
    if let (Ok(key), "get") = (arguments.first().ok_or(()), method) {
        let found = value.get_item(key).unwrap_or_default();
        let missing = || arguments.get(1).cloned().unwrap_or(Value::from(()));
        return Ok(if found.is_undefined() { missing() } else { found });
    }
    let text = value.as_str().ok_or_else(unknown)?;
    let argument = |index: usize| arguments.get(index).and_then(Value::as_str);
    Ok(match (method, argument(0)) {
        ("strip", None) => text.trim().into(),
        ("lstrip", None) => text.trim_start().into(),
        ("rstrip", None) => text.trim_end().into(),
        ("strip", Some(set)) => text.trim_matches(|c| set.contains(c)).into(),
        ("lstrip", Some(set)) => text.trim_start_matches(|c| set.contains(c)).into(),
        ("rstrip", Some(set)) => text.trim_end_matches(|c| set.contains(c)).into(),
        ("startswith", Some(with)) => text.starts_with(with).into(),
        ("endswith", Some(with)) => text.ends_with(with).into(),
        ("lower", None) => text.to_lowercase().into(),
        ("upper", None) => text.to_uppercase().into(),
        ("split", Some(at)) if !at.is_empty() => text.split(at).map(Value::from).collect::<Vec<_>>().into(),
        ("replace", Some(old)) => {
            let new = argument(1).unwrap_or_default();
            let longer = text.matches(old).count().saturating_mul(new.len());
            if longer > LONGEST_TEMPLATE {
                return Err(JinjaError::new(JinjaErrorKind::InvalidOperation, "`replace` gives too long a text"));
            }
            text.replace(old, new).into()
        }
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate {
            source: source.to_owned(),
            declared_in: "chat_template.jinja",
            special_tokens: BTreeMap::new(),
            arguments: BTreeMap::new(),
        }
    }

    const PAIR: &str = "{% set ns = namespace(task='find it') %}\n\
        {% for message in messages %}{% if message['role'] == 'system' %}{% set ns.task = message['content'] %}{% endif %}{% endfor %}\n\
        <s>{{ ns.task }}\n\
        <Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n\
        <Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}<e>\n";

    #[test]
    fn a_template_for_pairs_is_taken_apart() {
        let format = template(PAIR).pair_format(Some("rank")).unwrap();
        assert_eq!(format.before, "<s>rank\n<Query>: ");
        assert_eq!((format.between.as_str(), format.after.as_str()), ("\n<Document>: ", "<e>"));
        assert!(template(PAIR).pair_format(None).unwrap().before.contains("find it"));
    }

    #[test]
    fn templates_that_do_not_carry_a_pair_say_why() {
        let reason = |source: &str| template(source).pair_format(None).unwrap_err();
        assert!(reason("{{ messages[0].content | trim }} {{ messages[1].content }}").contains("unchanged"));
        assert!(
            reason("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}")
                .contains("role")
        );
        assert!(reason("{{ messages[1].content }}{{ messages[0].content }}").contains("before the query"));
        assert!(reason("{{ raise_exception('only users may speak') }}").contains("only users may speak"));
        assert!(reason("{% if %}").contains("syntax error"));
    }

    #[test]
    fn a_template_without_end_is_stopped() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(template(endless).pair_format(None).unwrap_err().contains("fuel"));
    }

    #[test]
    fn a_template_that_is_one_long_chain_is_parsed_or_refused() {
        for (start, link) in [("1", "+1"), ("x", "|e"), ("x", ".a")] {
            let links = (LONGEST_TEMPLATE - 100) / link.len();
            let reason = template(&format!("{{{{ {start}{} }}}}", link.repeat(links))).pair_format(None);
            assert!(reason.is_err(), "{link}");
        }
    }

    #[test]
    fn replacing_does_not_multiply_text() {
        let source = format!("{{{{ ('{0}').replace('x', '{0}') }}}}", "x".repeat(30_000));
        assert!(template(&source).pair_format(None).unwrap_err().contains("too long"));
    }

    #[test]
    fn an_instruction_that_is_the_templates_own_is_one() {
        assert!(template(PAIR).takes_instruction() && template(PAIR).names_the_roles());
        let plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        assert!(template(plain).pair_format(None).is_ok() && !template(plain).names_the_roles());
    }

    #[test]
    fn structured_content_is_a_list_of_parts() {
        let source = "{% for m in messages %}{% if m.content[0].type == 'text' %}{{ m.content[0].text }}|{% endif %}{% endfor %}";
        let format = template(source).pair_format(None).unwrap();
        assert_eq!((format.between.as_str(), format.after.as_str()), ("|", "|"));
    }
}
