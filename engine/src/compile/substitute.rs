//! **substitute**: `${param}`, `${env:NAME}` and `--set` are filled in.
//!
//! Before: the sections are as written. After: no `${…}` is left in any value; a value whose variable is unknown, unset or
//! wrong is [`Content::Broken`], so that nothing more is said of it. A value that is exactly one `${param}` has the param's
//! type; one that was put together is loose text.

use std::collections::BTreeMap;

use crate::operator::{ParamType, ParamValue};
use crate::pipeline::format::PARAM_TYPES;
use crate::pipeline::{Code, Content, Diagnostic, Entry, Key, Node, Scalar, ScalarValue, quoted};

use super::draft::Draft;
use super::nearest::suggestion;
use super::typed::read_value;

pub(super) fn substitute(draft: &mut Draft<'_>) {
    let mut filler = Filler {
        env: draft.options.env,
        params: BTreeMap::new(),
        params_are_open: false,
        secrets: Vec::new(),
        problems: Vec::new(),
    };
    let declarations = std::mem::take(&mut draft.file.params);
    for (key, entries) in declarations {
        let param = filler.declare(&key, entries);
        filler.params.insert(key.text.clone(), param);
    }
    filler.set(draft.options.sets);
    filler.demand_values();
    filler.params_are_open = true;

    let file = &mut draft.file;
    for (path, node) in [
        ("name", &mut file.name),
        ("description", &mut file.description),
    ] {
        node.iter_mut().for_each(|node| filler.fill(path, node));
    }
    filler.fill_entries("stores", &mut file.stores);
    filler.fill_entries("models", &mut file.models);
    filler.fill_entries("limits", &mut file.limits);
    for stage in &mut draft.stages {
        let path = stage.path("");
        for (key, node) in [("op", &mut stage.op), ("when", &mut stage.when)] {
            node.iter_mut()
                .for_each(|node| filler.fill(&format!("{path}.{key}"), node));
        }
        for (index, node) in stage.from.iter_mut().enumerate() {
            filler.fill(&format!("{path}.from[{index}]"), node);
        }
        filler.fill_entries(&format!("{path}.with"), &mut stage.with);
        filler.fill_entries(&path, &mut stage.settings);
        filler.fill_entries(&format!("{path}.retry"), &mut stage.retry);
    }
    filler.report_unused();
    draft.diagnostics.extend(filler.problems);
    draft.secrets = filler.secrets;
}

/// The type of a param.
enum Declared {
    Plain(ParamType),
    Choice(Vec<String>),
}

struct Param {
    key: Key,
    /// `None` if the declaration is wrong.
    declared: Option<Declared>,
    /// `None` if it has no value, or none that can be used.
    value: Option<Scalar>,
    /// Whether that it has no value was reported, or is no mistake of its own.
    is_broken: bool,
    is_used: bool,
}

/// Why a value does not fit a declaration.
struct Misfit(String);

impl Declared {
    fn read(&self, node: &Node) -> Result<Scalar, Misfit> {
        let ty = match self {
            Declared::Plain(ty) => ty,
            Declared::Choice(_) => &ParamType::Text,
        };
        let value = read_value(ty, node, "").map_err(|problems| {
            let messages = problems.into_iter().map(|problem| problem.message);
            Misfit(messages.collect::<Vec<_>>().join("; "))
        })?;
        let Content::Scalar(scalar) = &node.content else {
            return Err(Misfit(format!("expected {ty}, got {}", node.shown())));
        };
        if let Declared::Choice(words) = self
            && !words.contains(&scalar.text)
        {
            return Err(Misfit(format!(
                "expected one of {}, got {}",
                words.join(", "),
                node.shown()
            )));
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

struct Filler<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    params: BTreeMap<String, Param>,
    /// Whether params may be used: not in the declarations of params.
    params_are_open: bool,
    secrets: Vec<(String, String)>,
    problems: Vec<Diagnostic>,
}

impl Filler<'_> {
    fn declare(&mut self, key: &Key, entries: Vec<Entry>) -> Param {
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
                    Err(Misfit(message)) => self.problems.push(Diagnostic::error(
                        Code::BadParam,
                        path,
                        node.location,
                        message,
                    )),
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
    fn set(&mut self, sets: &[(String, String)]) {
        for (name, text) in sets {
            let path = format!("--set {name}");
            let Some(param) = self.params.get_mut(name) else {
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
                Err(Misfit(message)) => {
                    param.is_broken = true;
                    let found = Diagnostic::error(Code::BadSet, path, None, message);
                    self.problems.push(found);
                }
            }
        }
    }

    /// Reports params without a value.
    fn demand_values(&mut self) {
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

    fn report_unused(&mut self) {
        for (name, param) in self.params.iter().filter(|(_, param)| !param.is_used) {
            let message = format!("param {} is not used", quoted(name));
            let path = format!("params.{name}");
            let found = Diagnostic::warning(Code::UnusedParam, path, param.key.location, message);
            self.problems.push(found);
        }
    }

    fn fill_entries(&mut self, path: &str, entries: &mut [Entry]) {
        for entry in entries {
            self.fill(&format!("{path}.{}", entry.key.text), &mut entry.value);
        }
    }

    fn fill(&mut self, path: &str, node: &mut Node) {
        match &mut node.content {
            Content::List(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    self.fill(&format!("{path}[{index}]"), node);
                }
            }
            Content::Map(entries) => self.fill_entries(path, entries),
            Content::Broken => {}
            Content::Scalar(scalar) if !scalar.text.contains("${") => {}
            Content::Scalar(scalar) => {
                let filled = self.scalar(&scalar.text);
                match filled {
                    Ok(filled) => *scalar = filled,
                    Err(problem) => {
                        let problem = problem.map(|(code, message, help)| {
                            Diagnostic::error(code, path, node.location, message).with_help(help)
                        });
                        self.problems.extend(problem);
                        node.content = Content::Broken;
                    }
                }
            }
        }
    }

    /// The value that a text with variables stands for. `Err(None)`: broken, and reported already.
    fn scalar(&mut self, written: &str) -> Result<Scalar, Option<(Code, String, Option<String>)>> {
        let mut text = String::new();
        let mut secret = false;
        let mut is_plain = true;
        let mut rest = written;
        while let Some(start) = rest.find("${") {
            let (before, variable) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                text.push_str(before);
                text.push_str("${");
                rest = &variable[2..];
                continue;
            }
            let name = variable[2..]
                .split_once('}')
                .filter(|(name, _)| !name.is_empty());
            let Some((name, after)) = name else {
                let message = format!("{} has a `${{` without a name and `}}`", quoted(written));
                let help = "write `$${` for a literal `${`".to_string();
                return Err(Some((Code::BadSubstitution, message, Some(help))));
            };
            let value = self.variable(name)?;
            if before.is_empty() && after.is_empty() && text.is_empty() {
                return Ok(Scalar {
                    written: Some(written.to_string()),
                    ..value
                });
            }
            is_plain = false;
            secret |= value.secret;
            text.push_str(before);
            text.push_str(&value.text);
            rest = after;
        }
        text.push_str(rest);
        if is_plain {
            return Ok(Scalar::new(text, ScalarValue::Text));
        }
        Ok(Scalar {
            secret,
            written: Some(written.to_string()),
            ..Scalar::loose(text)
        })
    }

    fn variable(&mut self, name: &str) -> Result<Scalar, Option<(Code, String, Option<String>)>> {
        if let Some(name) = name.strip_prefix("env:") {
            let Some(value) = (self.env)(name) else {
                let message = format!("environment variable {} is not set", quoted(name));
                return Err(Some((Code::UnsetVariable, message, None)));
            };
            self.secrets.push((name.to_string(), value.clone()));
            return Ok(Scalar {
                secret: true,
                ..Scalar::loose(value)
            });
        }
        if !self.params_are_open {
            let message = format!("{} stands in the declaration of a param", quoted(name));
            let help = "a param may use `${env:NAME}`, not another param".to_string();
            return Err(Some((Code::UnknownVariable, message, Some(help))));
        }
        match self.params.get_mut(name) {
            Some(param) => {
                param.is_used = true;
                param.value.clone().filter(|_| !param.is_broken).ok_or(None)
            }
            None => {
                let message = format!("the pipeline has no param {}", quoted(name));
                let help = suggestion(name, self.params.keys().map(String::as_str));
                Err(Some((Code::UnknownVariable, message, help)))
            }
        }
    }
}
