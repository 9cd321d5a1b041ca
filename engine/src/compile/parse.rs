//! **parse**: bytes → sections and stages as written.
//!
//! Before: nothing. After: [`File`] and the stages hold every key that the format knows, each in its place and of the right
//! shape (mapping, list, single value); unknown and missing keys and bad names are reported. No value is understood yet.

use crate::operator::ParamSpec;
use crate::pipeline::format::{self, KeySpec};
use crate::pipeline::{
    Code, Content, Diagnostic, Entry, Key, Location, Node, ScalarValue, join, quoted, read,
};

use super::draft::{Draft, File};
use super::stage::StageDraft;

/// Most stages in a pipeline. Some passes look at every pair of them.
const STAGE_LIMIT: usize = 500;
/// Longest name of a stage, param, store or model.
const NAME_LIMIT: usize = 64;

pub(super) fn parse(draft: &mut Draft<'_>) {
    let (root, problems) = read(draft.source.text);
    draft.diagnostics.extend(problems);
    let Some(root) = root else { return };
    let start = Location::at(1, 1);
    let Some(entries) = mapping(draft, "", root) else {
        return;
    };
    check_keys(
        draft,
        "",
        start,
        &entries,
        &key_names(format::TOP, &[]),
        format::TOP,
    );

    let mut file = File {
        is_read: true,
        ..File::default()
    };
    let mut stages = Vec::new();
    for Entry { key, value } in entries {
        match key.text.as_str() {
            "name" => file.name = single(draft, "name", value),
            "description" => file.description = single(draft, "description", value),
            "params" => {
                for entry in section(draft, "params", value) {
                    let path = join("params", &entry.key.text);
                    let at = entry.key.location;
                    let declaration = mapping(draft, &path, entry.value).unwrap_or_default();
                    let known = key_names(format::PARAM, &[]);
                    check_keys(draft, &path, at, &declaration, &known, &[]);
                    file.params.push((entry.key, declaration));
                }
            }
            "stores" => file.stores = section(draft, "stores", value),
            "models" => file.models = section(draft, "models", value),
            "share" => file.share = single(draft, "share", value),
            "limits" => file.limits = mapping(draft, "limits", value).unwrap_or_default(),
            "stages" => {
                file.stages_at = Some(key.location);
                let is_list = matches!(value.content, Content::List(_));
                let help = "write `videos: { op: … }` instead of `- id: videos`";
                let help = is_list.then(|| help.to_string());
                let Some(entries) = mapping_or(draft, "stages", value, help) else {
                    continue;
                };
                if entries.is_empty() {
                    let message = "the pipeline has no stage";
                    let at = file.stages_at;
                    draft.report(Diagnostic::error(Code::MissingKey, "stages", at, message));
                }
                check_names(draft, "stages", &entries);
                stages = entries;
            }
            _ => {}
        }
    }
    if stages.len() > STAGE_LIMIT {
        let message = format!(
            "{} stages, more than the {STAGE_LIMIT} allowed",
            stages.len()
        );
        draft.report(Diagnostic::error(
            Code::TooDeep,
            "stages",
            file.stages_at,
            message,
        ));
        stages.truncate(STAGE_LIMIT);
    }
    draft.file = file;
    for entry in stages {
        let stage = stage(draft, entry);
        draft.stages.push(stage);
    }
}

fn stage(draft: &mut Draft<'_>, entry: Entry) -> StageDraft {
    let path = join("stages", &entry.key.text);
    let at = entry.key.location;
    let mut stage = StageDraft::new(entry.key);
    let Some(entries) = mapping(draft, &path, entry.value) else {
        stage.from_is_sound = false;
        return stage;
    };
    let known = key_names(format::STAGE, format::STAGE_SETTINGS);
    let (misplaced, entries) = split_parameters(draft, &path, entries, &known);
    check_keys(draft, &path, at, &entries, &known, format::STAGE);
    for Entry { key, value } in entries {
        let path = join(&path, &key.text);
        match key.text.as_str() {
            "op" => stage.op = single(draft, &path, value),
            "from" => match from(draft, &path, value) {
                Some(names) => stage.from = names,
                None => stage.from_is_sound = false,
            },
            "with" => match mapping(draft, &path, value) {
                Some(with) => stage.with = with,
                None => stage.with_is_sound = false,
            },
            "when" => stage.when = Some(value),
            "retry" => {
                let help = match &value.content {
                    Content::Scalar(scalar) if matches!(scalar.value, ScalarValue::Int(_)) => {
                        Some(format!("write `retry: {{ attempts: {} }}`", scalar.text))
                    }
                    _ => None,
                };
                stage.retry = mapping_or(draft, &path, value, help).unwrap_or_default();
            }
            name if format::STAGE_SETTINGS.iter().any(|spec| spec.name == name) => {
                stage.settings.push(Entry { key, value });
            }
            _ => {}
        }
    }
    // They are read all the same: that they are missing, or not used, is no mistake of its own.
    for entry in misplaced {
        if stage
            .with
            .iter()
            .all(|with| with.key.text != entry.key.text)
        {
            stage.with.push(entry);
        }
    }
    stage
}

/// The keys of a stage that are parameters of its operator and should stand under `with`, and all others. The first are
/// reported.
fn split_parameters(
    draft: &mut Draft<'_>,
    path: &str,
    entries: Vec<Entry>,
    known: &[&'static str],
) -> (Vec<Entry>, Vec<Entry>) {
    let op = entries.iter().find(|entry| entry.key.text == "op");
    let op = op.and_then(|op| draft.options.registry.get(op.value.text()?));
    let Some(spec) = op else {
        return (Vec::new(), entries);
    };
    let (misplaced, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| {
        let name = entry.key.text.as_str();
        !known.contains(&name) && spec.param(name).is_some()
    });
    for Entry { key, .. } in &misplaced {
        let name = quoted(&key.text);
        let message = format!("unknown key {name}");
        let help = format!(
            "{name} is a parameter of {}; put it under `with`",
            quoted(spec.name)
        );
        let path = join(path, &key.text);
        let found = Diagnostic::error(Code::UnknownKey, path, key.location, message);
        draft.report(found.with_help(Some(help)));
    }
    (misplaced, entries)
}

/// The names in `from`; `None` if it is written so that they cannot be told.
fn from(draft: &mut Draft<'_>, path: &str, node: Node) -> Option<Vec<Node>> {
    match node.content {
        Content::Scalar(ref scalar) if scalar.value == ScalarValue::Null => Some(Vec::new()),
        Content::Scalar(_) => Some(vec![node]),
        Content::List(nodes) => {
            let count = nodes.len();
            let names: Vec<Node> = nodes
                .into_iter()
                .enumerate()
                .filter_map(|(index, node)| single(draft, &format!("{path}[{index}]"), node))
                .collect();
            (names.len() == count).then_some(names)
        }
        Content::Map(_) => {
            wrong_shape(draft, path, &node, "a stage's id or a list of them", None);
            None
        }
        Content::Broken => None,
    }
}

/// A mapping from names to something.
fn section(draft: &mut Draft<'_>, path: &str, node: Node) -> Vec<Entry> {
    let entries = mapping(draft, path, node).unwrap_or_default();
    check_names(draft, path, &entries);
    entries
}

/// The keys of a mapping; nothing at all counts as one without keys.
fn mapping(draft: &mut Draft<'_>, path: &str, node: Node) -> Option<Vec<Entry>> {
    mapping_or(draft, path, node, None)
}

/// The same, with a help for what is no mapping.
fn mapping_or(
    draft: &mut Draft<'_>,
    path: &str,
    node: Node,
    help: Option<String>,
) -> Option<Vec<Entry>> {
    match node.content {
        Content::Map(entries) => Some(entries),
        Content::Scalar(ref scalar) if scalar.value == ScalarValue::Null => Some(Vec::new()),
        Content::Broken => None,
        Content::Scalar(_) | Content::List(_) => {
            wrong_shape(draft, path, &node, "a mapping", help);
            None
        }
    }
}

/// A single value.
fn single(draft: &mut Draft<'_>, path: &str, node: Node) -> Option<Node> {
    match &node.content {
        Content::Scalar(scalar) if scalar.value != ScalarValue::Null => Some(node),
        Content::Broken => Some(node),
        _ => {
            wrong_shape(draft, path, &node, "a single value", None);
            None
        }
    }
}

fn wrong_shape(
    draft: &mut Draft<'_>,
    path: &str,
    node: &Node,
    expected: &str,
    help: Option<String>,
) {
    let message = format!("expected {expected}, got {}", node.shown());
    let found = Diagnostic::error(Code::WrongShape, path, node.location, message);
    draft.report(found.with_help(help));
}

fn key_names(keys: &'static [KeySpec], settings: &'static [ParamSpec]) -> Vec<&'static str> {
    let settings = settings.iter().map(|spec| spec.name);
    keys.iter().map(|key| key.name).chain(settings).collect()
}

/// Reports keys that are not known, and required ones that are not there.
fn check_keys(
    draft: &mut Draft<'_>,
    path: &str,
    at: Location,
    entries: &[Entry],
    known: &[&'static str],
    specs: &[KeySpec],
) {
    let mut meant = Vec::new();
    for Entry { key, .. } in entries {
        if known.contains(&key.text.as_str()) {
            continue;
        }
        meant.extend(super::nearest::nearest(&key.text, known.iter().copied()));
        let help = draft.suggestion(&key.text, known.iter().copied());
        let message = format!("unknown key {}", quoted(&key.text));
        let found = Diagnostic::error(
            Code::UnknownKey,
            join(path, &key.text),
            key.location,
            message,
        );
        draft.report(found.with_help(help));
    }
    for spec in specs.iter().filter(|spec| spec.required) {
        // A required key that is only misspelt was reported as that.
        let is_there = entries.iter().any(|entry| entry.key.text == spec.name);
        if !is_there && !meant.contains(&spec.name) {
            let message = format!("no `{}` is given", spec.name);
            let found = Diagnostic::error(Code::MissingKey, join(path, spec.name), at, message);
            draft.report(found);
        }
    }
}

fn check_names(draft: &mut Draft<'_>, path: &str, entries: &[Entry]) {
    for entry in entries {
        check_name(draft, path, &entry.key);
    }
}

fn check_name(draft: &mut Draft<'_>, path: &str, key: &Key) {
    let mut letters = key.text.chars();
    let is_good = letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && key.text.len() <= NAME_LIMIT;
    if !is_good {
        let message = format!(
            "bad name {}: expected a lowercase letter, then lowercase letters, digits and underscores, at most {NAME_LIMIT} in all",
            quoted(&key.text)
        );
        let path = join(path, &key.text);
        draft.report(Diagnostic::error(
            Code::BadName,
            path,
            key.location,
            message,
        ));
    }
}
