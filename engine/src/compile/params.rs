//! The params of a file: their declarations and their values. Part of the substitute pass.

use std::collections::BTreeMap;

use crate::operator::{ParamType, ParamValue};
use crate::pipeline::format::PARAM_TYPES;
use crate::pipeline::{Code, Content, Diagnostic, Entry, Key, Node, Scalar, ScalarValue, quoted};

use super::nearest::{nearest, suggestion};
use super::substitute::Filler;
use super::typed::{one_of, read_value};

/// The type of a param.
pub(super) enum Declared {
    Plain(ParamType),
    Choice(Vec<String>),
}

/// A param of the file.
pub(super) struct Param {
    pub key: Key,
    /// `None` if the declaration is wrong.
    pub declared: Option<Declared>,
    /// `None` if it has no value, or none that can be used.
    pub value: Option<Scalar>,
    /// Whether that it has no value was reported, or is no mistake of its own.
    pub is_broken: bool,
    pub is_used: bool,
}

/// Why a value does not fit a declaration, and how to mend it.
struct Misfit(String, Option<String>);

impl Declared {
    fn read(&self, node: &Node) -> Result<Scalar, Misfit> {
        let ty = match self {
            Declared::Plain(ty) => ty,
            Declared::Choice(_) => &ParamType::Text,
        };
        let value = read_value(ty, node, "").map_err(|problems| {
            let help = problems.iter().find_map(|problem| problem.help.clone());
            let messages = problems.into_iter().map(|problem| problem.message);
            Misfit(messages.collect::<Vec<_>>().join("; "), help)
        })?;
        let Content::Scalar(scalar) = &node.content else {
            let message = format!("expected {ty}, got {}", node.shown());
            return Err(Misfit(message, None));
        };
        if let Declared::Choice(words) = self
            && !words.contains(&scalar.text)
        {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let near = match scalar.secret {
                true => None,
                false => nearest(&scalar.text, words.iter().copied()),
            };
            let help = near.map(|word| format!("did you mean `{word}`?"));
            let allowed = one_of(&words, near.is_some());
            let message = format!("expected {allowed}, got {}", node.shown());
            return Err(Misfit(message, help));
        }
        let value = match value {
            ParamValue::Bool(value) => ScalarValue::Bool(value),
            ParamValue::Int(value) => ScalarValue::Int(value),
            ParamValue::Float(value) => ScalarValue::Float(value),
            _ => ScalarValue::Text,
        };
        Ok(Scalar {
            value,
            loose: false,
            ..scalar.clone()
        })
    }
}

impl Filler<'_> {
    /// Understands the declaration of a param.
    pub fn declare(&mut self, key: &Key, entries: Vec<Entry>) -> Param {
        let path = format!("params.{}", key.text);
        let before = self.problems.len();
        let mut fields: BTreeMap<String, Node> = entries
            .into_iter()
            .map(|entry| (entry.key.text, entry.value))
            .collect();
        let choices = fields.remove("choices");
        let declared = match fields.get("type") {
            Some(node) => self.declared(&path, node, choices.as_ref()),
            None => {
                let found = Diagnostic::error(
                    Code::BadParam,
                    format!("{path}.type"),
                    key.location,
                    "the param has no type",
                );
                let help = format!("known: {}", PARAM_TYPES.join(", "));
                self.problems.push(found.with_help(help));
                None
            }
        };
        if let Some(node) = fields.get("help")
            && let Err(problems) = read_value(&ParamType::Text, node, &format!("{path}.help"))
        {
            self.problems.extend(problems);
        }
        let mut value = None;
        if let Some(mut node) = fields.remove("default") {
            let path = format!("{path}.default");
            self.fill(&path, &mut node);
            if let (Some(declared), false) = (&declared, node.is_broken()) {
                match declared.read(&node) {
                    Ok(scalar) => value = Some(scalar),
                    Err(Misfit(message, help)) => {
                        let at = node.location;
                        let found = Diagnostic::error(Code::BadParam, path, at, message);
                        self.problems.push(found.with_help(help));
                    }
                }
            }
        }
        Param {
            key: key.clone(),
            declared,
            value,
            is_broken: self.problems.len() > before,
            is_used: false,
        }
    }

    fn declared(&mut self, path: &str, node: &Node, choices: Option<&Node>) -> Option<Declared> {
        const MIN: ParamType = ParamType::Int {
            min: i64::MIN,
            max: i64::MAX,
        };
        let refuse = |key: &str, at: &Node, message: String| {
            Diagnostic::error(
                Code::BadParam,
                format!("{path}.{key}"),
                at.location,
                message,
            )
        };
        let ty = match node.text() {
            Some("bool") => ParamType::Bool,
            Some("int") => MIN,
            Some("float") => ParamType::Float {
                min: f64::MIN,
                max: f64::MAX,
            },
            Some("text" | "choice") => ParamType::Text,
            Some("uri") => ParamType::Uri,
            Some("duration") => ParamType::Duration,
            Some("bytes") => ParamType::Bytes,
            other => {
                let help = suggestion(other.unwrap_or_default(), PARAM_TYPES.iter().copied());
                let message = format!("unknown type {}", node.shown());
                self.problems
                    .push(refuse("type", node, message).with_help(help));
                return None;
            }
        };
        let is_choice = node.text() == Some("choice");
        match (is_choice, choices) {
            (false, None) => Some(Declared::Plain(ty)),
            (false, Some(choices)) => {
                let message = "only a param of type `choice` has choices".to_string();
                self.problems.push(refuse("choices", choices, message));
                Some(Declared::Plain(ty))
            }
            (true, None) => {
                let message = "a param of type `choice` needs `choices`".to_string();
                self.problems.push(refuse("choices", node, message));
                None
            }
            (true, Some(choices)) => {
                let words = read_value(&ParamType::List(&ParamType::Text), choices, "");
                match words {
                    Ok(ParamValue::List(words)) if !words.is_empty() => Some(Declared::Choice(
                        words.iter().map(ToString::to_string).collect(),
                    )),
                    _ => {
                        let message = format!("expected a list of words, got {}", choices.shown());
                        self.problems.push(refuse("choices", choices, message));
                        None
                    }
                }
            }
        }
    }

    /// Takes the values of the command line.
    pub fn set(&mut self, sets: &[(String, String)]) {
        let mut meant = Vec::new();
        for (name, text) in sets {
            let path = format!("--set {name}");
            let Some(param) = self.params.get_mut(name) else {
                let near = nearest(name, self.params.keys().map(String::as_str));
                meant.extend(near.map(str::to_owned));
                let message = format!("the pipeline has no param {}", quoted(name));
                let help = suggestion(name, self.params.keys().map(String::as_str));
                let found = Diagnostic::error(Code::UnknownSet, path, None, message);
                self.problems.push(found.with_help(help));
                continue;
            };
            let Some(declared) = &param.declared else {
                continue;
            };
            let node = Node {
                location: param.key.location,
                content: Content::Scalar(Scalar::loose(text)),
            };
            match declared.read(&node) {
                Ok(scalar) => param.value = Some(scalar),
                Err(Misfit(message, help)) => {
                    param.is_broken = true;
                    let found = Diagnostic::error(Code::BadSet, path, None, message);
                    self.problems.push(found.with_help(help));
                }
            }
        }
        // A param that is only misspelt was reported as that.
        for name in meant {
            let param = self.params.get_mut(&name);
            if let Some(param) = param.filter(|param| param.value.is_none()) {
                param.is_broken = true;
            }
        }
    }

    /// Reports params without a value.
    pub fn demand_values(&mut self) {
        for (name, param) in &self.params {
            if param.value.is_none() && !param.is_broken {
                let found = Diagnostic::error(
                    Code::MissingParam,
                    format!("params.{name}"),
                    param.key.location,
                    format!("param {} has no default and is not given", quoted(name)),
                );
                self.problems
                    .push(found.with_help(format!("give it with `--set {name}=…`")));
            }
        }
    }
}
