use serde_json::{Map, Number, Value as Json};

use super::Location;
use super::text::quoted;

/// A value of the file and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub location: Location,
    /// What it is.
    pub content: Content,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; no key stands twice.
    Map(Vec<Entry>),
    /// Something wrong that was already reported; nothing more is to be said of it.
    Broken,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Node,
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub location: Location,
}

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its text, without quotes.
    pub text: String,
    /// What YAML takes it for.
    pub value: ScalarValue,
    /// Whether it was put together by a substitution or on the command line: a text that is then read as whatever its
    /// place asks for.
    pub loose: bool,
    /// Whether it holds something from the environment. Such a value is never quoted in a message.
    pub secret: bool,
    /// As what it stands in the file, if a substitution changed it: `${frames}`.
    pub written: Option<String>,
}

/// What YAML takes a [`Scalar`] for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarValue {
    /// Nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text,
}

impl Scalar {
    /// A value as it stands in the file.
    pub fn new(text: impl Into<String>, value: ScalarValue) -> Self {
        Self {
            text: text.into(),
            value,
            loose: false,
            secret: false,
            written: None,
        }
    }

    /// A text that is read as whatever its place asks for.
    pub fn loose(text: impl Into<String>) -> Self {
        Self {
            loose: true,
            ..Self::new(text, ScalarValue::Text)
        }
    }
}

impl Node {
    /// How a message names what was found: `` `abc` ``, `a list`, `nothing`.
    pub fn shown(&self) -> String {
        match &self.content {
            Content::Scalar(scalar) if scalar.secret => match &scalar.written {
                Some(written) => format!("what {} stands for", quoted(written)),
                None => "a value from the environment".to_string(),
            },
            Content::Scalar(scalar) => match (&scalar.written, scalar.value) {
                (Some(written), _) => {
                    format!("{} (from {})", quoted(&scalar.text), quoted(written))
                }
                (None, ScalarValue::Null) => "nothing".to_string(),
                (None, _) => quoted(&scalar.text),
            },
            Content::List(_) => "a list".to_string(),
            Content::Map(_) => "a mapping".to_string(),
            Content::Broken => "something broken".to_string(),
        }
    }

    /// The value as JSON, for what the engine only carries. Text that was put together stays text.
    pub fn to_json(&self) -> Json {
        match &self.content {
            Content::Scalar(scalar) => match scalar.value {
                ScalarValue::Null => Json::Null,
                ScalarValue::Bool(value) => Json::Bool(value),
                ScalarValue::Int(value) => Json::from(value),
                ScalarValue::Float(value) => {
                    Number::from_f64(value).map_or_else(|| Json::from(&*scalar.text), Json::Number)
                }
                ScalarValue::Text => Json::from(&*scalar.text),
            },
            Content::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Content::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.text.clone(), entry.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
            Content::Broken => Json::Null,
        }
    }

    /// Its text, if it is a single value.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Its text as pictures may show it: a value from the environment as it is written.
    pub fn label(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) if scalar.secret => scalar.written.as_deref(),
            _ => self.text(),
        }
    }

    /// Whether anything in it was already reported.
    pub fn is_broken(&self) -> bool {
        match &self.content {
            Content::Scalar(_) => false,
            Content::List(nodes) => nodes.iter().any(Node::is_broken),
            Content::Map(entries) => entries.iter().any(|entry| entry.value.is_broken()),
            Content::Broken => true,
        }
    }
}
