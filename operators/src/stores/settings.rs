use std::collections::BTreeMap;
use std::time::Duration;

use clipsieve_engine::compile::nearest;
use clipsieve_engine::operator::units::parse_duration;
use clipsieve_engine::operator::{Row, StoreProblem};
use serde_json::Value as Json;

use super::{SERVICES, Service, SettingKind, StoreError, StoreErrorKind};
use crate::json::kind_of;
use crate::template::Template;

/// The longest silence of a server that is borne if the file does not say.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the name of a file that holds a secret.
const IN_FILE: &str = "file:";

/// The checked settings of one store.
#[derive(Clone)]
pub struct Settings {
    /// Its service.
    pub service: &'static Service,
    values: BTreeMap<&'static str, String>,
}

/// Names the settings and shows none: some of them are secrets.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Settings({}, {:?})",
            self.service.name,
            self.values.keys()
        )
    }
}

impl Settings {
    /// Reads the settings of a store as they stand in the pipeline file: `{type: fs, root: /data}`. Touches nothing.
    ///
    /// # Errors
    /// `Config` if they are no map, name no service, or hold a setting that is unknown, missing, empty or of another kind.
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
            match (spec.kind, value) {
                (SettingKind::Switch, Json::Bool(on)) => {
                    values.insert(spec.name, on.to_string());
                }
                (SettingKind::Switch, Json::String(text))
                    if matches!(text.as_str(), "true" | "false") =>
                {
                    values.insert(spec.name, text.clone());
                }
                (SettingKind::Switch, _) => {
                    return Err(StoreError::config(format!("`{key}` must be true or false")));
                }
                (_, Json::String(text)) if text.trim().is_empty() => {
                    return Err(StoreError::config(format!("`{key}` is empty")));
                }
                (_, Json::String(text)) if text.contains('\0') => {
                    return Err(StoreError::config(format!("`{key}` holds a NUL character")));
                }
                (_, Json::String(text)) => {
                    if spec.kind == SettingKind::OfRow {
                        Template::parse(text)
                            .map_err(|why| StoreError::config(format!("`{key}`: {why}")))?;
                    }
                    values.insert(spec.name, text.clone());
                }
                (_, other) => {
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

    /// Whether a switch is on; it is off if it is not given.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A secret: the value itself if it came from the environment, or what stands in the file that it names.
    ///
    /// # Errors
    /// `Config` if that file cannot be read, or is empty.
    pub(super) fn secret(&self, name: &str) -> Result<Option<String>, StoreError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(path) = value.strip_prefix(IN_FILE) else {
            return Ok(Some(value.to_owned()));
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            StoreError::config(format!("`{name}` cannot be read from {path}: {error}"))
        })?;
        match text.trim() {
            "" => Err(StoreError::config(format!("`{name}`: {path} is empty"))),
            text => Ok(Some(text.to_owned())),
        }
    }

    /// A key with its name, if both are given.
    ///
    /// # Errors
    /// `Config` if only one of them is; or as [`Settings::secret`].
    pub(super) fn key_pair(
        &self,
        name: &str,
        key: &str,
    ) -> Result<Option<(String, String)>, StoreError> {
        match (self.secret(name)?, self.secret(key)?) {
            (Some(name), Some(key)) => Ok(Some((name, key))),
            (None, None) => Ok(None),
            _ => Err(StoreError::config(format!(
                "`{name}` and `{key}` belong together; one of them is missing"
            ))),
        }
    }

    /// All secrets, so that they can be kept out of messages.
    ///
    /// # Errors
    /// As [`Settings::secret`].
    pub(super) fn secrets(&self) -> Result<Vec<String>, StoreError> {
        let specs = self.service.settings.iter();
        specs
            .filter(|spec| spec.kind == SettingKind::Secret)
            .filter_map(|spec| self.secret(spec.name).transpose())
            .collect()
    }

    /// The endpoint, without a `/` at its end.
    ///
    /// # Errors
    /// `Config` if it is no http URL, or holds a password, a query or a fragment.
    pub(super) fn endpoint(&self) -> Result<Option<String>, StoreError> {
        let Some(text) = self.get("endpoint") else {
            return Ok(None);
        };
        let text = text.trim();
        let refuse = |why: &str| Err(StoreError::config(format!("`endpoint` {why}")));
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let Some(rest) = rest else {
            return refuse("must begin with http:// or https://");
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return refuse("holds a name or password; put it into a setting of its own");
        }
        if host.is_empty() || rest.contains(['?', '#', ' ', '{']) {
            return refuse("is no address of a server such as https://host:443");
        }
        Ok(Some(text.trim_end_matches('/').to_owned()))
    }

    /// Whether the bucket stands in the host's name.
    ///
    /// # Errors
    /// `Config` if `addressing` is no word that is known.
    pub(super) fn is_virtual_hosted(&self, fallback: bool) -> Result<bool, StoreError> {
        match self.get("addressing") {
            None => Ok(fallback),
            Some("virtual") => Ok(true),
            Some("path") => Ok(false),
            Some(_) => Err(StoreError::config("`addressing` must be path or virtual")),
        }
    }

    /// The longest silence of a server that is borne.
    ///
    /// # Errors
    /// `Config` if `timeout` is no length of time, or none at all.
    pub(super) fn patience(&self) -> Result<Duration, StoreError> {
        match self.get("timeout").map(parse_duration) {
            None => Ok(PATIENCE),
            Some(Some(timeout)) if !timeout.is_zero() => Ok(timeout),
            Some(_) => Err(StoreError::config(
                "`timeout` must be a length of time such as 300ms, 5s or 1m",
            )),
        }
    }

    /// `scheme://bucket/root`, without a `/` at its end.
    pub(super) fn url(&self, scheme: &str, bucket: &str) -> String {
        match self.get("root").unwrap_or_default().trim_matches('/') {
            "" => format!("{scheme}://{bucket}"),
            root => format!("{scheme}://{bucket}/{root}"),
        }
    }

    /// Whether each row has a store of its own: some setting holds a `{column}`.
    pub fn depends_on_row(&self) -> bool {
        self.of_row().next().is_some()
    }

    fn of_row(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let specs = self.service.settings.iter();
        specs
            .filter(|spec| spec.kind == SettingKind::OfRow)
            .filter_map(|spec| Some((spec.name, self.get(spec.name)?)))
            .filter(|(_, value)| value.contains('{'))
    }

    /// The settings of the store that this row has.
    ///
    /// # Errors
    /// `BadInput` naming the column that is missing, or that does not hold the name of a bucket.
    pub fn of(&self, row: &Row) -> Result<Self, StoreError> {
        let bad = |message| StoreError::new(StoreErrorKind::BadInput, message);
        let mut settings = self.clone();
        for (name, written) in self.of_row() {
            let filled = Template::parse(written)
                .map_err(StoreError::config)?
                .fill(row)
                .map_err(|error| bad(error.message))?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
            if name == "bucket" && (filled.len() > 255 || !filled.chars().all(is_name)) {
                let shown: String = filled.chars().take(60).collect();
                return Err(bad(format!("{shown:?} is not the name of a bucket")));
            }
            settings.values.insert(name, filled);
        }
        Ok(settings)
    }
}

/// Whether a store's settings are sound, for [`clipsieve_engine::operator::ResourceChecks`]. Touches nothing.
/// `from_environment` are the settings whose values did not stand in the file.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn check_settings(settings: &Json, from_environment: &[&str]) -> Result<(), StoreProblem> {
    let sound = Settings::parse(settings).map_err(|error| StoreProblem {
        setting: None,
        message: error.message,
        help: None,
        is_secret: false,
    })?;
    for spec in sound.service.settings {
        let Some(value) = sound.get(spec.name) else {
            continue;
        };
        if spec.kind == SettingKind::Secret
            && !from_environment.contains(&spec.name)
            && !value.starts_with(IN_FILE)
        {
            return Err(StoreProblem {
                setting: Some(spec.name.to_owned()),
                message: format!(
                    "`{}` is a secret and stands in the file in clear",
                    spec.name
                ),
                help: Some(format!(
                    "write `{0}: \"${{env:NAME}}\"` and set that variable, or `{0}: \"file:/path\"`; and take the secret out of use, it was seen",
                    spec.name
                )),
                is_secret: true,
            });
        }
    }
    let endpoint = sound.endpoint().and(sound.patience()).map(drop);
    endpoint.map_err(|error| StoreProblem {
        setting: None,
        message: error.message,
        help: None,
        is_secret: sound.get("endpoint").is_some_and(|text| text.contains('@')),
    })
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

/// ` (did you mean …?)` if one of the names is near, else nothing.
fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(word, names)
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sound_settings_pass_and_touch_nothing() {
        check_settings(&json!({"type": "fs", "root": "/no/such/folder"}), &[]).unwrap();
        check_settings(&json!({"type": "memory"}), &[]).unwrap();
        assert!(!std::path::Path::new("/no/such/folder").exists());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (settings, text) in [
            (
                json!({"type": "memry"}),
                "unknown store type `memry` (did you mean `memory`?); known types: fs, s3, oss, alluxio, http, memory",
            ),
            (
                json!({"type": "ftp"}),
                "unknown store type `ftp`; known types: fs, s3, oss, alluxio, http, memory",
            ),
            (
                json!({}),
                "`type` is missing; known types: fs, s3, oss, alluxio, http, memory",
            ),
            (
                json!({"type": 3}),
                "`type` must be text, this is a number; known types: fs, s3, oss, alluxio, http, memory",
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
            assert_eq!(check_settings(&settings, &[]).unwrap_err().message, text);
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let mut settings = json!({
            "type": "s3", "bucket": "b", "access_key_id": "id", "secret_access_key": "hunter2",
        });
        let problem = check_settings(&settings, &["access_key_id"]).unwrap_err();
        assert!(problem.is_secret);
        assert_eq!(problem.setting.as_deref(), Some("secret_access_key"));
        assert!(!format!("{problem:?}").contains("hunter2"));
        check_settings(&settings, &["access_key_id", "secret_access_key"]).unwrap();
        settings["secret_access_key"] = json!("file:/run/secrets/key");
        check_settings(&settings, &["access_key_id"]).unwrap();

        let settings = json!({"type": "http", "endpoint": "https://me:hunter2@host"});
        let problem = check_settings(&settings, &[]).unwrap_err();
        assert!(problem.is_secret && !format!("{problem:?}").contains("hunter2"));
        let parsed = Settings::parse(&settings).unwrap();
        assert!(!format!("{parsed:?}").contains("hunter2"));
    }

    #[test]
    fn a_row_fills_the_bucket_and_cannot_choose_the_host() {
        let settings = json!({"type": "oss", "endpoint": "http://h", "bucket": "{oss_bucket}", "root": "{tag}"});
        let settings = Settings::parse(&settings).unwrap();
        assert!(settings.depends_on_row());
        let row = |bucket: &str, tag: &str| {
            Row(json!({"oss_bucket": bucket, "tag": tag})
                .as_object()
                .unwrap()
                .clone())
        };
        let filled = settings.of(&row("videos-1", "a/../b")).unwrap();
        assert_eq!(filled.get("bucket"), Some("videos-1"));
        assert_eq!(filled.get("root"), Some("a_.._b"));
        assert!(!filled.depends_on_row());
        for bucket in ["evil.com#", "a@b", "a?b", "a b", "猫"] {
            let error = settings.of(&row(bucket, "t")).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::BadInput, "{bucket}");
        }
        assert!(
            settings
                .of(&Row::default())
                .unwrap_err()
                .message
                .contains("oss_bucket")
        );
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
}
