//! Models that lie in a store: brought into the user's cache once, and used from there.
//!
//! A model's address is a folder, or a URI: `store://NAME/path` (a store of the pipeline file), `s3://bucket/path` (keys
//! and endpoint from the environment) or `https://host/path`. Of a folder in a store the configuration, the weights and
//! `SHA256SUMS` are fetched; the sums are checked where there are any, and one of the weights may be given in the address
//! itself: `store://models/vfx#sha256=…`.
//!
//! The cache is `$XDG_CACHE_HOME/clipsieve/models` (`~/.cache/clipsieve/models`). One process of a machine fetches a model
//! while the others wait for the lock beside it. What lies in the cache is used as long as the store has the same: sizes
//! and ETags are compared each time. A store that does not answer is no reason not to use what is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clipsieve_engine::operator::Stores;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::stores::{Access, Store, StoreError, StoreErrorKind, Stored, hex, wait};

/// Parts of one file that are on their way at once: a large file and nothing else to do.
const PARTS_AT_ONCE: usize = 16;
const CONFIG: &str = "config.json";
const PREPROCESSOR: [&str; 2] = ["preprocessor_config.json", "video_preprocessor_config.json"];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SUMS: &str = "SHA256SUMS";
/// What the store had when the files were fetched.
const FETCHED: &str = ".fetched.json";

/// Where a model's files are on this machine, and the store of the pipeline file that they came from.
///
/// # Errors
/// What is wrong with the address, the store or what lies there, as a lowercase fragment.
pub fn folder_of(address: &str, stores: &Stores) -> Result<(PathBuf, Option<String>), String> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Ok((PathBuf::from(address), None));
    };
    let (rest, sum) = match rest.split_once('#') {
        None => (rest, None),
        Some((rest, sum)) => (rest, Some(sha256_of(sum)?)),
    };
    let (first, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_matches('/');
    let (store, name) = match scheme {
        "file" => return Ok((PathBuf::from(format!("/{path}")), None)),
        "store" => {
            let store = Store::named(stores, first, Access::Read);
            (
                store.map_err(|error| error.message)?,
                Some(first.to_owned()),
            )
        }
        "s3" => {
            let mut settings = json!({"type": "s3", "bucket": first});
            if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL") {
                settings["endpoint"] = json!(endpoint);
            }
            (open(&settings)?, None)
        }
        "http" | "https" => {
            let endpoint = format!("{scheme}://{first}");
            (open(&json!({"type": "http", "endpoint": endpoint}))?, None)
        }
        other => {
            return Err(format!(
                "a model is a folder or lies behind store://, s3:// or https://, not {other}://"
            ));
        }
    };
    let cached = Cached::new(store, path, sum)?;
    Ok((cached.ready().map_err(|error| error.message)?, name))
}

fn open(settings: &Json) -> Result<Store, String> {
    Store::open("model", settings, Access::Read).map_err(|error| error.message)
}

fn sha256_of(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256=").map(str::to_ascii_lowercase);
    digits
        .filter(|sum| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| "what follows the `#` must be sha256= and 64 hexadecimal digits".to_owned())
}

/// A model in a store and its place in the cache.
struct Cached {
    store: Store,
    path: String,
    sum: Option<String>,
    folder: PathBuf,
}

impl Cached {
    fn new(store: Store, path: &str, sum: Option<String>) -> Result<Self, String> {
        let root = cache_root()
            .ok_or("there is no folder for fetched models; set XDG_CACHE_HOME or HOME")?;
        // Two stores of one URL may have different endpoints, so the whole of what is known names the folder.
        let id = format!("{store:?}/{path}#{}", sum.as_deref().unwrap_or_default());
        let id = hex(&Sha256::digest(id.as_bytes()));
        let last = path.rsplit('/').next().filter(|name| !name.is_empty());
        let word = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = last.unwrap_or("model").chars().take(40).map(word).collect();
        Ok(Self {
            store,
            path: path.to_owned(),
            sum,
            folder: root.join(format!("{}-{}", name.trim_start_matches('.'), &id[..16])),
        })
    }

    /// The folder with the model in it, whole and as the store has it.
    fn ready(&self) -> Result<PathBuf, StoreError> {
        let of_disk =
            |error| StoreError::of_io(&format!("writing {}", self.folder.display()), &error);
        fs::create_dir_all(&self.folder).map_err(of_disk)?;
        let lock = File::create(self.folder.with_extension("lock")).map_err(of_disk)?;
        if lock.try_lock().is_err() {
            tracing::info!(model = %self.url(), "waiting for another process that fetches it");
            lock.lock().map_err(of_disk)?;
        }
        let known = self.known();
        match self.fetch(&known) {
            Ok(fetched) => {
                self.note(&fetched).map_err(of_disk)?;
                Ok(self.folder.clone())
            }
            Err(error) if error.kind == StoreErrorKind::Temporary && !known.is_empty() => {
                tracing::warn!(model = %self.url(), "taken from the cache, since its store does not answer: {error}");
                Ok(self.folder.clone())
            }
            Err(error) => Err(StoreError::new(
                error.kind,
                format!("the model cannot be had from {}: {error}", self.url()),
            )),
        }
    }

    fn url(&self) -> String {
        self.store.url_of(&self.path)
    }

    /// What was fetched before, by name; nothing if it was not finished.
    fn known(&self) -> BTreeMap<String, Json> {
        let text = fs::read_to_string(self.folder.join(FETCHED)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn note(&self, fetched: &BTreeMap<String, Json>) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(json!(fetched).to_string().as_bytes())?;
        file.persist(self.folder.join(FETCHED))
            .map_err(|error| error.error)?;
        Ok(())
    }

    fn fetch(&self, known: &BTreeMap<String, Json>) -> Result<BTreeMap<String, Json>, StoreError> {
        let mut fetched = BTreeMap::new();
        let sums = match self.bring(SUMS, known, None, &mut fetched)? {
            true => sums_of(&self.text(SUMS)?),
            false => BTreeMap::new(),
        };
        let sum = |name: &str| sums.get(name).map(String::as_str);
        let need = |name: &str, is_there: bool| match is_there {
            true => Ok(()),
            false => Err(StoreError::new(
                StoreErrorKind::NotFound,
                format!("there is no {name}"),
            )),
        };
        need(
            CONFIG,
            self.bring(CONFIG, known, sum(CONFIG), &mut fetched)?,
        )?;
        for name in PREPROCESSOR {
            self.bring(name, known, sum(name), &mut fetched)?;
        }
        if self.bring(INDEX, known, sum(INDEX), &mut fetched)? {
            for shard in shards_of(&self.text(INDEX)?)? {
                need(
                    &shard,
                    self.bring(&shard, known, sum(&shard), &mut fetched)?,
                )?;
            }
        } else {
            let sum = self.sum.as_deref().or(sum(WEIGHTS));
            need(WEIGHTS, self.bring(WEIGHTS, known, sum, &mut fetched)?)?;
        }
        Ok(fetched)
    }

    fn text(&self, name: &str) -> Result<String, StoreError> {
        let read = fs::read_to_string(self.folder.join(name));
        read.map_err(|error| StoreError::of_io(&format!("reading {name}"), &error))
    }

    /// Makes sure that a file lies in the cache as the store has it. Whether the store has it at all.
    fn bring(
        &self,
        name: &str,
        known: &BTreeMap<String, Json>,
        sum: Option<&str>,
        fetched: &mut BTreeMap<String, Json>,
    ) -> Result<bool, StoreError> {
        let (store, key) = (self.store.clone(), format!("{}/{name}", self.path));
        let stored = match wait(async move { store.locate(key.trim_start_matches('/')).await }) {
            Ok(stored) => stored,
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                // What the store had once and has no longer.
                let _ = fs::remove_file(self.folder.join(name));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let to = self.folder.join(name);
        let state = json!({"bytes": stored.bytes, "etag": stored.etag, "sha256": sum});
        let lies_here = fs::metadata(&to).is_ok_and(|file| file.len() == stored.bytes);
        if !lies_here || known.get(name) != Some(&state) {
            self.copy(&stored, &to)?;
            check_sum(&to, name, sum)?;
        }
        fetched.insert(name.to_owned(), state);
        Ok(true)
    }

    fn copy(&self, stored: &Stored, to: &Path) -> Result<(), StoreError> {
        tracing::info!(file = %self.store.url_of(stored.key.as_str()), bytes = stored.bytes, "fetching a model's file");
        if let Some(local) = &stored.local {
            return match fs::copy(local, to) {
                Ok(_) => Ok(()),
                Err(error) => Err(StoreError::of_io(
                    &format!("writing {}", to.display()),
                    &error,
                )),
            };
        }
        let (store, stored, to) = (self.store.clone(), stored.clone(), to.to_path_buf());
        wait(async move { store.download_in(&stored, &to, PARTS_AT_ONCE, ()).await })
    }
}

/// Compares a file with its sum, and takes it away if it is another one.
fn check_sum(path: &Path, name: &str, sum: Option<&str>) -> Result<(), StoreError> {
    let Some(sum) = sum else {
        return Ok(());
    };
    let of_disk = |error| StoreError::of_io(&format!("reading {}", path.display()), &error);
    let mut file = File::open(path).map_err(of_disk)?;
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(of_disk)? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    let found = hex(&digest.finalize());
    if found == sum {
        return Ok(());
    }
    // A file that is not what it should be must not be found again.
    fs::remove_file(path).map_err(of_disk)?;
    Err(StoreError::bad_input(format!(
        "{name} has the sha256 {found}, and {sum} is expected"
    )))
}

/// The sums of a `SHA256SUMS`: lines of 64 digits and a name, as `sha256sum` writes them.
fn sums_of(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (sum, name) = line.trim().split_once(char::is_whitespace)?;
            let name = name
                .trim_start()
                .trim_start_matches('*')
                .trim_start_matches("./");
            (sum.len() == 64).then(|| (name.to_owned(), sum.to_ascii_lowercase()))
        })
        .collect()
}

/// The files that an index names, each once and in the folder itself.
fn shards_of(text: &str) -> Result<Vec<String>, StoreError> {
    let broken =
        || StoreError::bad_input(format!("{INDEX} does not say which files hold the weights"));
    let index: Json = serde_json::from_str(text).map_err(|_| broken())?;
    let map = index["weight_map"].as_object().ok_or_else(broken)?;
    let mut names: Vec<String> = map
        .values()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty()
        || names
            .iter()
            .any(|name| name.contains(['/', '\\']) || name.starts_with('.'))
    {
        return Err(broken());
    }
    Ok(names)
}

fn cache_root() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("clipsieve/models"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_the_tool_writes_them() {
        let sum = "a".repeat(64);
        let sums = sums_of(&format!(
            "{sum}  model.safetensors\n{sum} *./config.json\nnonsense\n"
        ));
        assert_eq!(
            sums.keys().collect::<Vec<_>>(),
            ["config.json", "model.safetensors"]
        );
        assert_eq!(
            sha256_of(&format!("sha256={}", sum.to_uppercase())).unwrap(),
            sum
        );
        assert!(sha256_of("sha256=12").is_err());
        assert!(sha256_of(&sum).is_err());
    }

    #[test]
    fn an_index_cannot_name_files_elsewhere() {
        let index = |file: &str| shards_of(&json!({"weight_map": {"x": file}}).to_string());
        assert_eq!(index("a.safetensors").unwrap(), ["a.safetensors"]);
        for file in ["../a", "a/b", ".hidden"] {
            assert!(index(file).is_err(), "{file}");
        }
        assert!(shards_of("{}").is_err());
    }

    #[test]
    fn a_folder_is_a_folder_and_other_schemes_are_refused() {
        let stores = Stores::new();
        let (folder, store) = folder_of("models/weights/vfx", &stores).unwrap();
        assert_eq!((folder.to_str(), store), (Some("models/weights/vfx"), None));
        let error = folder_of("ftp://host/model", &stores).unwrap_err();
        assert!(error.contains("not ftp://"), "{error}");
        let error = folder_of("store://models/vfx", &stores).unwrap_err();
        assert!(error.contains("no store `models`"), "{error}");
    }
}
