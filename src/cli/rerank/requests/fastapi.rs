//! Requests as services in FastAPI read them: which values a field takes, and the body of the answer (status 422) that
//! lists what is wrong.
//!
//! FastAPI validates with pydantic, which by default takes more than a field's own type: the text `"yes"` for a boolean,
//! `2.0` for a whole number.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Refusal, python_json};

/// Floats from here on are no integers.
const LARGEST: f64 = 9_223_372_036_854_775_808.0;

/// A step on the way to a value within the request.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Step {
    Name(&'static str),
    Index(usize),
}

const BODY: Step = Step::Name("body");

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Problem {
    r#type: &'static str,
    loc: Vec<Step>,
    msg: String,
    input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Value>,
}

/// All that is wrong with a request.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

/// A JSON value of a request, at its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    value: &'a Value,
    place: [Option<Step>; 3],
}

/// The fields of an object.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    whole: Input<'a>,
}

/// The JSON value of a request.
pub(super) fn parse(line: &str) -> Result<Value, Refusal> {
    serde_json::from_str(line).map_err(|error| match python_json::refusal(line) {
        Some((at, why)) => Problems(vec![Problem {
            r#type: "json_invalid",
            loc: vec![BODY, Step::Index(at)],
            msg: "JSON decode error".to_owned(),
            input: json!({}),
            ctx: Some(json!({ "error": why })),
        }])
        .refusal(),
        None => Refusal::Malformed { message: format!("malformed JSON: {error}") },
    })
}

/// The body of an answer that has one reason, in words.
pub(super) fn detail(text: &str) -> String {
    python_json::to_string(&json!({ "detail": text }))
}

impl Problems {
    fn add(&mut self, r#type: &'static str, input: Input<'_>, msg: impl Into<String>, ctx: Option<Value>) {
        let loc = [BODY].into_iter().chain(input.place.into_iter().flatten()).collect();
        self.0.push(Problem { r#type, loc, msg: msg.into(), input: input.value.clone(), ctx });
    }

    /// The request, if nothing is wrong.
    pub(super) fn refuse_unless<T>(self, request: Option<T>) -> Result<T, Refusal> {
        request.filter(|_| self.0.is_empty()).ok_or_else(|| self.refusal())
    }

    fn refusal(&self) -> Refusal {
        /// More of them are not told to people.
        const TOLD: usize = 3;
        let told = |problem: &Problem| {
            let place = problem.loc.iter().map(|step| match step {
                Step::Name(name) => (*name).to_owned(),
                Step::Index(index) => index.to_string(),
            });
            let why = problem.ctx.as_ref().and_then(|ctx| ctx.get("error")).and_then(Value::as_str);
            let why = why.map_or(String::new(), |why| format!(" ({why})"));
            format!("{}: {}{why}", place.collect::<Vec<_>>().join("."), problem.msg)
        };
        let mut message = self.0.iter().take(TOLD).map(told).collect::<Vec<_>>().join("; ");
        if self.0.len() > TOLD {
            message.push_str(&format!("; and {} more", self.0.len() - TOLD));
        }
        Refusal::Own { body: python_json::to_string(&json!({ "detail": self.0 })), message }
    }
}

impl<'a> Input<'a> {
    /// The whole request.
    pub(super) fn whole(value: &'a Value) -> Self {
        Self { value, place: [None; 3] }
    }

    fn below(self, step: Step, value: &'a Value) -> Self {
        let mut place = self.place;
        if let Some(free) = place.iter_mut().find(|step| step.is_none()) {
            *free = Some(step);
        }
        Self { value, place }
    }

    /// The fields of an object.
    pub(super) fn fields(self, problems: &mut Problems) -> Option<Fields<'a>> {
        let fields = self.value.as_object().map(|object| Fields { object, whole: self });
        if fields.is_none() {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            problems.add("model_attributes_type", self, msg, None);
        }
        fields
    }

    /// Whether the value is an object, where a text would do too.
    pub(super) fn is_object(self) -> bool {
        self.value.is_object()
    }

    pub(super) fn text(self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            problems.add("string_type", self, "Input should be a valid string", None);
        }
        text
    }

    /// A text without the blank around it, of so many characters at most.
    pub(super) fn stripped_text(self, most: usize, problems: &mut Problems) -> Option<String> {
        let text = self.text(problems)?.trim();
        // No character is shorter than a byte.
        if text.len() > most && text.chars().count() > most {
            let ctx = json!({ "max_length": most });
            let msg = format!("String should have at most {most} characters");
            problems.add("string_too_long", self, msg, Some(ctx));
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn boolean(self, problems: &mut Problems) -> Option<bool> {
        let number = |number: &serde_json::Number| match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            // As good as an integer, but none of these two.
            Some(value) if value.fract() == 0.0 && value.abs() < LARGEST => Err(true),
            _ => Err(false),
        };
        let read = match self.value {
            Value::Bool(value) => Ok(*value),
            Value::Number(value) => number(value),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
                "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
                _ => Err(true),
            },
            _ => Err(false),
        };
        read.map_err(|tried| match tried {
            true => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                problems.add("bool_parsing", self, msg, None);
            }
            false => problems.add("bool_type", self, "Input should be a valid boolean", None),
        })
        .ok()
    }

    /// A number greater than 0; `null` is none.
    pub(super) fn positive(self, problems: &mut Problems) -> Option<usize> {
        let number: f64 = match self.value {
            Value::Null => return None,
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::Number(value) => value.as_f64().unwrap_or(f64::MAX),
            Value::String(text) => match whole_number(text) {
                Some(number) => number,
                None => {
                    let msg = "Input should be a valid integer, unable to parse string as an integer";
                    problems.add("int_parsing", self, msg, None);
                    return None;
                }
            },
            _ => {
                problems.add("int_type", self, "Input should be a valid integer", None);
                return None;
            }
        };
        if number.fract() != 0.0 {
            let msg = "Input should be a valid integer, got a number with a fractional part";
            problems.add("int_from_float", self, msg, None);
            return None;
        }
        if number.abs() >= LARGEST && self.value.is_number() {
            let msg = "Unable to parse input string as an integer, exceeded maximum size";
            problems.add("int_parsing_size", self, msg, None);
            return None;
        }
        if number <= 0.0 {
            problems.add("greater_than", self, "Input should be greater than 0", Some(json!({ "gt": 0 })));
            return None;
        }
        // More than there can be documents is all of them.
        Some(number as usize)
    }

    /// A list of at least one, and so many at most.
    pub(super) fn list<T>(
        self,
        most: usize,
        problems: &mut Problems,
        mut item: impl FnMut(Input<'a>, &mut Problems) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(list) = self.value.as_array() else {
            problems.add("list_type", self, "Input should be a valid list", None);
            return None;
        };
        let length = list.len();
        let mut wrong = |r#type, limit: &str, msg: String, at: usize| {
            let mut ctx = Map::from_iter([("field_type".to_owned(), json!("List"))]);
            ctx.insert(limit.to_owned(), json!(at));
            ctx.insert("actual_length".to_owned(), json!(length));
            problems.add(r#type, self, msg, Some(Value::Object(ctx)));
            None
        };
        if list.is_empty() {
            let msg = "List should have at least 1 item after validation, not 0".to_owned();
            return wrong("too_short", "min_length", msg, 1);
        }
        if length > most {
            let msg = format!("List should have at most {most} items after validation, not {length}");
            return wrong("too_long", "max_length", msg, most);
        }
        let items: Vec<Option<T>> = list
            .iter()
            .enumerate()
            .map(|(index, value)| item(self.below(Step::Index(index), value), problems))
            .collect();
        items.into_iter().collect()
    }
}

impl<'a> Fields<'a> {
    /// A field that may be left out.
    pub(super) fn optional(&self, name: &'static str) -> Option<Input<'a>> {
        self.object.get(name).map(|value| self.whole.below(Step::Name(name), value))
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &'static str, problems: &mut Problems) -> Option<Input<'a>> {
        let field = self.optional(name);
        if field.is_none() {
            problems.add("missing", self.whole.below(Step::Name(name), self.whole.value), "Field required", None);
        }
        field
    }
}

/// A whole number in a text, as pydantic reads it: `" +1_000.0 "` is one.
fn whole_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = match digits.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => digits,
    };
    let groups: Vec<&str> = digits.split('_').collect();
    if groups.iter().any(|group| group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let number: f64 = groups.concat().parse().ok()?;
    Some(if text.starts_with('-') { -number } else { number })
}
