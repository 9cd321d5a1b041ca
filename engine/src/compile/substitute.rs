//! **substitute**: `${param}`, `${env:NAME}` and `--set` are filled in.
//!
//! Before: the sections are as written. After: no `${…}` is left in any value; a value whose variable is unknown, unset or
//! wrong is [`Content::Broken`], so that nothing more is said of it. A value that is exactly one `${param}` has the param's
//! type; one that was put together is loose text.

use std::collections::BTreeMap;

use crate::pipeline::{Code, Content, Diagnostic, Entry, Node, Scalar, ScalarValue, quoted};

use super::draft::Draft;
use super::nearest::suggestion;
use super::params::Param;

pub(super) fn substitute(draft: &mut Draft<'_>) {
    if !draft.file.is_read {
        return;
    }
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
        ("share", &mut file.share),
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
    // Without stages nothing can be used; that was reported.
    if !draft.stages.is_empty() {
        filler.report_unused();
    }
    draft.diagnostics.extend(filler.problems);
    draft.secrets = filler.secrets;
}

/// Fills in variables.
pub(super) struct Filler<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    pub params: BTreeMap<String, Param>,
    /// Whether params may be used: not in the declarations of params.
    params_are_open: bool,
    secrets: Vec<(String, String)>,
    pub problems: Vec<Diagnostic>,
}

impl Filler<'_> {
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

    /// Fills in the variables of a value and of all values in it.
    pub fn fill(&mut self, path: &str, node: &mut Node) {
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
