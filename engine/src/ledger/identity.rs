use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::operator::{Model, Params};
use crate::plan::Plan;

/// What rows depend on: the pipeline without everything that only changes its speed, and its models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What is set, by path: `stages.clip.with.frames` is `48`.
    pub settings: BTreeMap<String, String>,
    /// The files of the models, by `models.NAME.FILE`.
    pub models: BTreeMap<String, ModelFile>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// SHA-256 of what it holds, in hexadecimal.
    pub sha256: String,
    /// Its size; with its time a sign that it need not be read again.
    pub bytes: u64,
    /// When it was changed, nanoseconds since 1970.
    pub changed_nanos: u64,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What is about, by path.
    pub path: String,
    /// What it was; `None` if it was not there.
    pub before: Option<String>,
    /// What it is; `None` if it is gone.
    pub now: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, before, now } = self;
        match (before, now) {
            (Some(before), Some(now)) => write!(f, "{path}: {before} became {now}"),
            (Some(before), None) => write!(f, "{path}: {before} is gone"),
            (None, now) => write!(f, "{path}: {} is new", now.as_deref().unwrap_or("")),
        }
    }
}

impl Identity {
    /// The identity of a plan. Reads the models' files, but not those that `known` has with the same size and time.
    ///
    /// # Errors
    /// A file of a model cannot be read: its path and why.
    pub fn of(plan: &Plan, known: Option<&Identity>) -> Result<Self, String> {
        let mut settings = BTreeMap::from([
            ("pipeline".to_owned(), plan.name.clone()),
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        for index in &plan.order {
            let stage = &plan.graph[*index];
            let path = |rest: &str| format!("stages.{}.{rest}", stage.id);
            settings.insert(path("op"), stage.spec.name.to_owned());
            let inputs = stage.inputs.iter();
            let from: Vec<&str> = inputs.map(|input| plan.graph[*input].id.as_str()).collect();
            if !from.is_empty() {
                settings.insert(path("from"), from.join(", "));
            }
            for (name, value) in written(&stage.params) {
                settings.insert(path(&format!("with.{name}")), value);
            }
        }
        let mut models = BTreeMap::new();
        for (name, model) in &plan.models {
            settings.insert(format!("models.{name}"), model.path.display().to_string());
            model_files(name, model, known, &mut models)?;
        }
        Ok(Self { settings, models })
    }

    /// What is not as it was, by path. Where a model lies and when its files were touched does not matter.
    pub fn differences(&self, now: &Identity) -> Vec<Difference> {
        let texts = |identity: &Identity| -> BTreeMap<String, String> {
            let settings = identity.settings.iter();
            let settings = settings
                .filter(|(path, _)| !path.starts_with("models."))
                .map(|(path, value)| (path.clone(), value.clone()));
            let models = identity.models.iter();
            settings
                .chain(models.map(|(path, file)| (path.clone(), file.to_string())))
                .collect()
        };
        let (before, now) = (texts(self), texts(now));
        let paths = before
            .keys()
            .chain(now.keys().filter(|path| !before.contains_key(*path)));
        let mut differences: Vec<Difference> = paths
            .filter(|path| before.get(*path) != now.get(*path))
            .map(|path| Difference {
                path: path.clone(),
                before: before.get(path).cloned(),
                now: now.get(path).cloned(),
            })
            .collect();
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        differences
    }
}

impl fmt::Display for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sha256 {}…",
            self.sha256.get(..12).unwrap_or(&self.sha256)
        )
    }
}

fn written(params: &Params) -> Vec<(String, String)> {
    params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect()
}

/// The files of a model's folder, not of the folders in it; a model that is no folder has none.
fn model_files(
    name: &str,
    model: &Model,
    known: Option<&Identity>,
    files: &mut BTreeMap<String, ModelFile>,
) -> Result<(), String> {
    let failed =
        |path: &Path, error: &io::Error| format!("cannot read {}: {error}", path.display());
    let Ok(entries) = std::fs::read_dir(&model.path) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(|error| failed(&model.path, &error))?.path();
        let about = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?;
        if !about.is_file() {
            continue;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let key = format!("models.{name}.{file}");
        let changed = about.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed_nanos =
            changed.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let known = known.and_then(|known| known.models.get(&key));
        let same = known
            .filter(|known| known.bytes == about.len() && known.changed_nanos == changed_nanos);
        let sha256 = match same {
            Some(known) => known.sha256.clone(),
            None => hash(&path).map_err(|error| failed(&path, &error))?,
        };
        let about = ModelFile {
            sha256,
            bytes: about.len(),
            changed_nanos,
        };
        files.insert(key, about);
    }
    Ok(())
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => {
                return Ok(hash
                    .finalize()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect());
            }
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_path() {
        let identity = |settings: &[(&str, &str)], hash: &str| Identity {
            settings: settings
                .iter()
                .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
                .collect(),
            models: BTreeMap::from([(
                "models.vfx.model.safetensors".to_owned(),
                ModelFile {
                    sha256: hash.repeat(32),
                    bytes: 1,
                    changed_nanos: 1,
                },
            )]),
        };
        let before = identity(
            &[
                ("stages.clip.with.frames", "48"),
                ("stages.old.op", "x"),
                ("models.vfx", "/a"),
            ],
            "ab",
        );
        let now = identity(
            &[
                ("stages.clip.with.frames", "16"),
                ("stages.new.op", "y"),
                ("models.vfx", "/b"),
            ],
            "cd",
        );
        let told: Vec<String> = before
            .differences(&now)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "models.vfx.model.safetensors: sha256 abababababab… became sha256 cdcdcdcdcdcd…",
                "stages.clip.with.frames: 48 became 16",
                "stages.new.op: y is new",
                "stages.old.op: x is gone",
            ]
        );
        assert!(before.differences(&before).is_empty());
    }
}
