//! **resolve**: names and values are understood.
//!
//! Before: values are as written, variables filled in. After: models, stores and limits are read and checked; each stage
//! has its operator, if there is one of that name, and its parameters with defaults filled in, if all of them are sound and
//! all models and stores they name can be used. How stages are wired is not looked at.

use crate::operator::{ParamSpec, ParamType, ParamValue, Store};
use crate::pipeline::format;
use crate::pipeline::{
    Code, Content, Diagnostic, Entry, Location, Node, ScalarValue, join, quoted,
};

use super::draft::{Draft, Named, store_in};
use super::nearest::nearest;
use super::typed::{read_params, read_sound_params, read_value};

pub(super) fn resolve(draft: &mut Draft<'_>) {
    stores(draft);
    models(draft);
    let limits = std::mem::take(&mut draft.file.limits);
    draft.limits = read_params(
        draft,
        "limits",
        Location::at(1, 1),
        "`limits`",
        format::LIMITS,
        &limits,
    );
    draft.file.limits = limits;
    share(draft);
    let mut uses = Uses::default();
    for index in 0..draft.stages.len() {
        operator(draft, index);
        parameters(draft, index, &mut uses);
        settings(draft, index);
    }
    report_unused(draft, &uses);
}

fn share(draft: &mut Draft<'_>) {
    let Some(node) = draft.file.share.take() else {
        return;
    };
    match read_value(&ParamType::Bool, &node, "share") {
        Ok(value) => draft.share = value != ParamValue::Bool(false),
        Err(problems) => draft.diagnostics.extend(problems),
    }
}

fn models(draft: &mut Draft<'_>) {
    for entry in std::mem::take(&mut draft.file.models) {
        let path = join("models", &entry.key.text);
        let model = match read_value(&ParamType::Uri, &entry.value, &path) {
            Ok(value) => {
                let stores = draft.resources().stores;
                match (draft.options.registry.checks.model)(&value.to_string(), &stores) {
                    Ok(model) => Some(model),
                    Err(message) => {
                        let message = draft.redact(&message);
                        let at = entry.value.location;
                        draft.report(Diagnostic::error(Code::BadModel, path, at, message));
                        None
                    }
                }
            }
            Err(problems) => {
                draft.diagnostics.extend(problems);
                None
            }
        };
        let at = entry.key.location;
        draft
            .models
            .insert(entry.key.text, Named { at, value: model });
    }
}

fn stores(draft: &mut Draft<'_>) {
    for entry in std::mem::take(&mut draft.file.stores) {
        let path = join("stores", &entry.key.text);
        let at = entry.value.location;
        let mut store = None;
        let problem = match &entry.value.content {
            _ if entry.value.is_broken() => None,
            Content::Map(keys) => {
                let has_type = keys.iter().any(|key| key.key.text == "type");
                let settings = entry.value.to_json();
                let from_environment: Vec<&str> = keys
                    .iter()
                    .filter(|key| matches!(&key.value.content, Content::Scalar(scalar) if scalar.secret))
                    .map(|key| key.key.text.as_str())
                    .collect();
                match (draft.options.registry.checks.store)(&settings, &from_environment) {
                    Ok(()) if has_type => {
                        store = Some(Store { settings });
                        None
                    }
                    Ok(()) => Some(without_type(&path, at, keys, "no `type` is given")),
                    Err(problem) if !has_type && !problem.is_secret => {
                        let message = draft.redact(&problem.message);
                        Some(without_type(&path, at, keys, &message))
                    }
                    Err(problem) => {
                        let message = draft.redact(&problem.message);
                        let setting = problem.setting.and_then(|name| {
                            let key = &keys.iter().find(|key| key.key.text == name)?.key;
                            Some((join(&path, &name), key.location))
                        });
                        let (path, at) = setting.unwrap_or((path, at));
                        let code = match problem.is_secret {
                            true => Code::SecretInFile,
                            false => Code::BadStore,
                        };
                        Some(Diagnostic::error(code, path, at, message).with_help(problem.help))
                    }
                }
            }
            _ => {
                let message = format!(
                    "expected a mapping with a `type`, got {}",
                    entry.value.shown()
                );
                Some(Diagnostic::error(Code::WrongShape, path, at, message))
            }
        };
        draft.diagnostics.extend(problem);
        let at = entry.key.location;
        draft
            .stores
            .insert(entry.key.text, Named { at, value: store });
    }
}

/// A store whose type is not given, as `message` says, or only misspelt.
fn without_type(path: &str, at: Location, keys: &[Entry], message: &str) -> Diagnostic {
    let misspelt = keys.iter().map(|entry| &entry.key);
    let misspelt = misspelt
        .filter(|key| nearest(&key.text, ["type"]).is_some())
        .min_by_key(|key| key.location);
    match misspelt {
        None => Diagnostic::error(Code::MissingKey, join(path, "type"), at, message),
        Some(key) => {
            let message = format!("unknown key {}; {message}", quoted(&key.text));
            let path = join(path, &key.text);
            Diagnostic::error(Code::UnknownKey, path, key.location, message)
                .with_help("did you mean `type`?".to_string())
        }
    }
}

fn operator(draft: &mut Draft<'_>, index: usize) {
    let Some(op) = &draft.stages[index].op else {
        return;
    };
    let Some(name) = op.text() else { return };
    let registry = draft.options.registry;
    if let Some(spec) = registry.get(name) {
        draft.stages[index].spec = Some(spec);
        return;
    }
    let message = format!("unknown operator {}", op.shown());
    let path = draft.stages[index].path("op");
    let help = draft.suggestion(
        name,
        registry.iter().map(|spec| spec.name).collect::<Vec<_>>(),
    );
    let found = Diagnostic::error(Code::UnknownOperator, path, op.location, message);
    draft.report(found.with_help(help));
}

/// Which models and stores stages use.
#[derive(Default)]
struct Uses {
    models: Vec<String>,
    stores: Vec<String>,
    /// Whether some stage's parameters are not understood: it may use anything.
    is_open: bool,
}

fn parameters(draft: &mut Draft<'_>, index: usize, uses: &mut Uses) {
    let stage = &mut draft.stages[index];
    let (Some(spec), true) = (stage.spec, stage.with_is_sound) else {
        uses.is_open = true;
        return;
    };
    let (path, at) = (stage.path("with"), stage.key.location);
    let with = std::mem::take(&mut stage.with);
    let owner = format!("`{}`", spec.name);
    let (params, mut is_sound) = read_sound_params(draft, &path, at, &owner, spec.params, &with);
    draft.stages[index].with = with;
    uses.is_open |= !is_sound;
    for spec in spec.params {
        if let Some(value) = params.get(spec.name) {
            is_sound &= resources(draft, index, spec, &spec.ty, value, uses);
        }
    }
    draft.stages[index].params = is_sound.then_some(params);
}

/// Checks the models and stores that a value names. Whether all of them can be used.
fn resources(
    draft: &mut Draft<'_>,
    index: usize,
    spec: &ParamSpec,
    ty: &ParamType,
    value: &ParamValue,
    uses: &mut Uses,
) -> bool {
    let (code, what, name, known) = match (ty, value) {
        (ParamType::List(inner), ParamValue::List(values)) => {
            let mut is_sound = true;
            for value in values {
                is_sound &= resources(draft, index, spec, inner, value, uses);
            }
            return is_sound;
        }
        (ParamType::Model, ParamValue::Text(name)) => {
            uses.models.push(name.clone());
            if let Some(model) = draft.models.get(name) {
                return model.value.is_some();
            }
            let known: Vec<&str> = draft.models.keys().map(String::as_str).collect();
            (Code::UnknownModel, "model", name.clone(), known)
        }
        (ParamType::Store | ParamType::Uri, ParamValue::Text(text)) => {
            let name = match ty {
                ParamType::Uri => match store_in(text) {
                    Some(name) => name,
                    None => return true,
                },
                _ => text,
            };
            uses.stores.push(name.to_owned());
            if let Some(store) = draft.stores.get(name) {
                return store.value.is_some();
            }
            let known: Vec<&str> = draft.stores.keys().map(String::as_str).collect();
            (Code::UnknownStore, "store", name.to_owned(), known)
        }
        _ => return true,
    };
    uses.is_open = true;
    let help = draft.suggestion(&name, known);
    let help = help.or_else(|| Some(format!("list it under `{what}s`")));
    let stage = &draft.stages[index];
    let (path, at) = stage.place_of(Some(spec.name));
    let message = format!(
        "the pipeline has no {what} {}",
        quoted(&draft.redact(&name))
    );
    draft.report(Diagnostic::error(code, path, at, message).with_help(help));
    false
}

fn settings(draft: &mut Draft<'_>, index: usize) {
    let stage = &mut draft.stages[index];
    let (path, at) = (stage.path(""), stage.key.location);
    let (settings, retry) = (
        std::mem::take(&mut stage.settings),
        std::mem::take(&mut stage.retry),
    );
    let setting_values = read_params(
        draft,
        &path,
        at,
        "a stage",
        format::STAGE_SETTINGS,
        &settings,
    );
    let retry_path = join(&path, "retry");
    let retry_values = read_params(draft, &retry_path, at, "`retry`", format::RETRY, &retry);
    let when = draft.stages[index].when.take();
    let switched_on = when
        .as_ref()
        .is_none_or(|node| switched_on(draft, index, node));
    let stage = &mut draft.stages[index];
    stage.settings = settings;
    stage.retry = retry;
    stage.setting_values = setting_values;
    stage.retry_values = retry_values;
    stage.switched_on = switched_on;
}

fn switched_on(draft: &mut Draft<'_>, index: usize, node: &Node) -> bool {
    if matches!(&node.content, Content::Scalar(scalar) if scalar.value == ScalarValue::Null) {
        return true;
    }
    match read_value(&ParamType::Bool, node, &draft.stages[index].path("when")) {
        Ok(value) => value != ParamValue::Bool(false),
        Err(problems) => {
            draft.diagnostics.extend(problems);
            true
        }
    }
}

/// Warns of models and stores that nothing uses, unless a stage that is not understood may, or there are no stages at all.
fn report_unused(draft: &mut Draft<'_>, uses: &Uses) {
    if uses.is_open || draft.stages.is_empty() {
        return;
    }
    let mut found = Vec::new();
    let of_models = |name: &String| {
        let mut models = draft
            .models
            .values()
            .filter_map(|model| model.value.as_ref());
        models.any(|model| model.store.as_ref() == Some(name))
    };
    for (name, model) in &draft.models {
        if !uses.models.contains(name) {
            let message = format!("no stage uses model {}", quoted(name));
            let path = join("models", name);
            found.push(Diagnostic::warning(
                Code::UnusedModel,
                path,
                model.at,
                message,
            ));
        }
    }
    for (name, store) in &draft.stores {
        if !uses.stores.contains(name) && !of_models(name) {
            let message = format!("no stage uses store {}", quoted(name));
            let path = join("stores", name);
            found.push(Diagnostic::warning(
                Code::UnusedStore,
                path,
                store.at,
                message,
            ));
        }
    }
    draft.diagnostics.extend(found);
}
