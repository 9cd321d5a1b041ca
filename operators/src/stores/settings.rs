use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{SERVICES, Service, StoreError};

/// The checked settings of one store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its service.
    pub service: &'static Service,
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Reads the settings of a store as they stand in the pipeline file: `{type: fs, root: /data}`. Touches nothing.
    ///
    /// # Errors
    /// `Config` if they are no map, name no service, or hold a setting that is unknown, missing, empty or not text.
    pub fn parse(settings: &Json) -> Result<Self, StoreError> {
        let Json::Object(map) = settings else {
            return Err(StoreError::config(format!(
                "a store is a map such as `{{ type: fs, root: /data }}`, this is {}",
                kind_of(settings)
            )));
        };
        let service = match map.get("type") {
            Some(Json::String(name)) => service(name)?,
            Some(other) => {
                return Err(StoreError::config(format!(
                    "`type` must be text, this is {}; known types: {}",
                    kind_of(other),
                    known()
                )));
            }
            None => {
                return Err(StoreError::config(format!(
                    "`type` is missing; known types: {}",
                    known()
                )));
            }
        };
        let mut values = BTreeMap::new();
        for (key, value) in map.iter().filter(|(key, _)| *key != "type") {
            let Some(spec) = service.settings.iter().find(|spec| spec.name == key) else {
                let names: Vec<&str> = service.settings.iter().map(|spec| spec.name).collect();
                return Err(StoreError::config(format!(
                    "a store of type `{}` has no setting `{key}`{}; it has: type, {}",
                    service.name,
                    did_you_mean(key, names.iter().copied()),
                    names.join(", ")
                )));
            };
            match value {
                Json::String(text) if text.trim().is_empty() => {
                    return Err(StoreError::config(format!("`{key}` is empty")));
                }
                Json::String(text) if text.contains('\0') => {
                    return Err(StoreError::config(format!("`{key}` holds a NUL character")));
                }
                Json::String(text) => {
                    values.insert(spec.name, text.clone());
                }
                other => {
                    return Err(StoreError::config(format!(
                        "`{key}` must be text, this is {}",
                        kind_of(other)
                    )));
                }
            }
        }
        let settings = Self { service, values };
        for spec in service.settings.iter().filter(|spec| spec.required) {
            settings.required(spec.name)?;
        }
        Ok(settings)
    }

    /// The value of a setting that may be absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of a setting that has to be there.
    ///
    /// # Errors
    /// `Config` if it is not.
    pub fn required(&self, name: &str) -> Result<&str, StoreError> {
        self.get(name).ok_or_else(|| {
            StoreError::config(format!(
                "a store of type `{}` needs `{name}`, which is missing",
                self.service.name
            ))
        })
    }
}

/// Whether a store's settings are sound, for [`clipsieve_engine::operator::ResourceChecks`]. Touches nothing.
///
/// # Errors
/// What is wrong and what is allowed, as a lowercase fragment.
pub fn check_settings(settings: &Json) -> Result<(), String> {
    Settings::parse(settings)
        .map(drop)
        .map_err(|error| error.message)
}

fn service(name: &str) -> Result<&'static Service, StoreError> {
    SERVICES
        .iter()
        .find(|service| service.name == name)
        .ok_or_else(|| {
            let near = did_you_mean(name, SERVICES.iter().map(|service| service.name));
            StoreError::config(format!(
                "unknown store type `{name}`{near}; known types: {}",
                known()
            ))
        })
}

fn known() -> String {
    let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    names.join(", ")
}

fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

/// ` (did you mean …?)` if one of the names is near, else nothing.
fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| (edits(&word.to_lowercase(), name), name))
        .filter(|(edits, name)| *edits <= name.chars().count().div_ceil(3))
        .min()
        .map(|(_, name)| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

/// Fewest insertions, deletions and replacements that turn one word into the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sound_settings_pass_and_touch_nothing() {
        check_settings(&json!({"type": "fs", "root": "/no/such/folder"})).unwrap();
        check_settings(&json!({"type": "memory"})).unwrap();
        assert!(!std::path::Path::new("/no/such/folder").exists());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (settings, text) in [
            (
                json!({"type": "memry"}),
                "unknown store type `memry` (did you mean `memory`?); known types: fs, memory",
            ),
            (
                json!({"type": "ftp"}),
                "unknown store type `ftp`; known types: fs, memory",
            ),
            (json!({}), "`type` is missing; known types: fs, memory"),
            (
                json!({"type": 3}),
                "`type` must be text, this is a number; known types: fs, memory",
            ),
            (
                json!("fs"),
                "a store is a map such as `{ type: fs, root: /data }`, this is text",
            ),
            (
                json!({"type": "fs"}),
                "a store of type `fs` needs `root`, which is missing",
            ),
            (
                json!({"type": "fs", "rot": "/data"}),
                "a store of type `fs` has no setting `rot` (did you mean `root`?); it has: type, root",
            ),
            (
                json!({"type": "fs", "root": 5}),
                "`root` must be text, this is a number",
            ),
            (json!({"type": "fs", "root": " "}), "`root` is empty"),
        ] {
            assert_eq!(check_settings(&settings).unwrap_err(), text);
        }
    }

    #[test]
    fn services_are_documented_and_named_once() {
        for (index, service) in SERVICES.iter().enumerate() {
            assert!(!service.summary.is_empty());
            assert!(service.settings.iter().all(|spec| !spec.doc.is_empty()));
            assert!(
                SERVICES[..index]
                    .iter()
                    .all(|other| other.name != service.name)
            );
        }
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("memory", "memory"), 0);
        assert_eq!(edits("memry", "memory"), 1);
        assert_eq!(edits("", "fs"), 2);
        assert_eq!(edits("sf", "fs"), 2);
    }
}
