use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::compile::default_of;
use crate::operator::Model;
use crate::plan::Plan;
use crate::random::hex;

/// What rows depend on: the pipeline without everything that only changes its speed, and its models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What is set, by path: `stages.clip.with.frames` is `48`.
    pub settings: BTreeMap<String, String>,
    /// The paths of the settings that are what they would be if nobody had set them.
    #[serde(default)]
    pub defaults: BTreeSet<String>,
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
        let mut defaults = BTreeSet::new();
        for stage in plan.stages() {
            for (id, params) in stage.written() {
                let path = |rest: &str| format!("stages.{id}.{rest}");
                settings.insert(path("op"), stage.spec.name.to_owned());
                let from = plan.written_from.get(id).filter(|from| !from.is_empty());
                settings.extend(from.map(|from| (path("from"), from.join(", "))));
                for (name, value) in params.iter() {
                    let path = path(&format!("with.{name}"));
                    let default = stage.spec.param(name).and_then(default_of);
                    if default.as_ref() == Some(value) {
                        defaults.insert(path.clone());
                    }
                    settings.insert(path, value.to_string());
                }
            }
        }
        let mut files = Files {
            known,
            hashed: BTreeMap::new(),
        };
        let mut models = BTreeMap::new();
        for (name, model) in &plan.models {
            settings.insert(format!("models.{name}"), model.path.display().to_string());
            for (file, path) in files_of(model)? {
                let key = format!("models.{name}.{file}");
                let about = files.look(&key, &path);
                let about = about.map_err(|error| unreadable(&path, &error))?;
                models.insert(key, about);
            }
        }
        Ok(Self {
            settings,
            defaults,
            models,
        })
    }

    /// What is not as it was, by path. Where a model lies and when its files were touched does not matter; nor does a
    /// parameter at its default that only one of the two knows: the other is of a clipsieve that does not have it.
    pub fn differences(&self, now: &Identity) -> Vec<Difference> {
        let texts = |identity: &Identity, other: &Identity| -> BTreeMap<String, String> {
            let settings = identity.settings.iter();
            let is_unknown = |path: &String| {
                identity.defaults.contains(path) && !other.settings.contains_key(path)
            };
            let settings = settings
                .filter(|(path, _)| !path.starts_with("models.") && !is_unknown(path))
                .map(|(path, value)| (path.clone(), value.clone()));
            let models = identity.models.iter();
            settings
                .chain(models.map(|(path, file)| (path.clone(), file.to_string())))
                .collect()
        };
        let (before, now) = (texts(self, now), texts(now, self));
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

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// The files of a model: of its folder, not of the folders in it, and those that lie elsewhere. A model that is no folder
/// has none of the first.
fn files_of(model: &Model) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut files = model.elsewhere.clone();
    let Ok(entries) = std::fs::read_dir(&model.path) else {
        return Ok(files);
    };
    for entry in entries {
        let path = entry
            .map_err(|error| unreadable(&model.path, &error))?
            .path();
        let about = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if about.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.insert(name.into_owned(), path);
        }
    }
    Ok(files)
}

/// Looks at files, and reads none twice.
struct Files<'a> {
    known: Option<&'a Identity>,
    /// What was read, by where it really lies: several models may have one file.
    hashed: BTreeMap<PathBuf, String>,
}

impl Files<'_> {
    fn look(&mut self, key: &str, path: &Path) -> io::Result<ModelFile> {
        let about = std::fs::metadata(path)?;
        let changed = about.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let changed_nanos =
            changed.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let known = self.known.and_then(|known| known.models.get(key));
        let same = known
            .filter(|known| known.bytes == about.len() && known.changed_nanos == changed_nanos);
        let sha256 = match same {
            Some(known) => known.sha256.clone(),
            None => self.hash(path)?,
        };
        Ok(ModelFile {
            sha256,
            bytes: about.len(),
            changed_nanos,
        })
    }

    fn hash(&mut self, path: &Path) -> io::Result<String> {
        let place = path.canonicalize()?;
        if let Some(hash) = self.hashed.get(&place) {
            return Ok(hash.clone());
        }
        let hash = hash(path)?;
        self.hashed.insert(place, hash.clone());
        Ok(hash)
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_path() {
        let identity = |settings: &[(&str, &str)], hash: &str| Identity {
            settings: settings
                .iter()
                .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
                .collect(),
            defaults: BTreeSet::new(),
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

    #[test]
    fn a_default_that_only_one_side_knows_is_no_difference() {
        let path = "stages.videos.with.columns".to_owned();
        let with = |value: &str, is_default: bool| Identity {
            settings: BTreeMap::from([(path.clone(), value.to_owned())]),
            defaults: is_default.then(|| path.clone()).into_iter().collect(),
            ..Identity::default()
        };
        let (unknown, default) = (Identity::default(), with("[]", true));
        assert_eq!(unknown.differences(&default), []);
        assert_eq!(default.differences(&unknown), []);
        let set = with("[video_path=path]", false);
        for (before, now) in [(&unknown, &set), (&set, &unknown), (&default, &set)] {
            assert_eq!(before.differences(now).len(), 1, "{before:?} {now:?}");
        }
        // As a ledger of before has it.
        let read: Identity = serde_json::from_str("{\"settings\": {}, \"models\": {}}").unwrap();
        assert_eq!(read.differences(&default), []);
    }
}
