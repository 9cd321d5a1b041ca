//! Which tables the stages of a job read and write: none may be written over one that is read, or over another result.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clipsieve_engine::operator::{Depot, OperatorError, Stores};

use super::odps;
use super::stored::StoreUri;
use crate::stores::{Access, Store};

/// The tables of a job, as far as its stages have told of them. A source is built before the sinks behind it.
#[derive(Default)]
pub struct Claims(Mutex<Vec<Claim>>);

struct Claim {
    stage: String,
    place: String,
    is_read: bool,
}

impl Claims {
    /// Those of the job whose stages have this depot.
    ///
    /// # Errors
    /// `Internal` if the depot keeps something else under the name.
    pub fn of_job(depot: &Depot) -> Result<std::sync::Arc<Self>, OperatorError> {
        depot.get_or_make("tables of the job", || Ok(Self::default()))
    }

    /// A stage reads the tables at these [places](place_of).
    pub fn read(&self, stage: &str, places: Vec<String>) {
        let claims = places.into_iter().map(|place| Claim {
            stage: stage.to_owned(),
            place,
            is_read: true,
        });
        self.all().extend(claims);
    }

    /// A stage writes the table that a URI names.
    ///
    /// # Errors
    /// `Config` if a stage reads it, or another one writes it.
    pub fn write(&self, stage: &str, uri: &str, stores: &Stores) -> Result<(), OperatorError> {
        let Some(place) = place_of(uri, stores, Access::Write) else {
            return Ok(());
        };
        let mut all = self.all();
        if let Some(other) = all.iter().find(|other| other.place == place) {
            let why = match other.is_read {
                true => format!(
                    "stage `{}` reads it, and the result would take its place",
                    other.stage
                ),
                false => format!("stage `{}` writes it too", other.stage),
            };
            return Err(OperatorError::config(format!(
                "cannot write `{uri}`: {why}; give the result another `uri`"
            )));
        }
        all.push(Claim {
            stage: stage.to_owned(),
            place,
            is_read: false,
        });
        Ok(())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the table that a URI names lies, the same for all names of one place. `None` for standard output, and for tables
/// of ODPS, to which rows are added.
pub(super) fn place_of(uri: &str, stores: &Stores, access: Access) -> Option<String> {
    if uri == "-" || odps::is_odps(uri) {
        return None;
    }
    match StoreUri::parse(uri) {
        Some(place) => {
            let place = place.ok()?;
            let store = Store::named(stores, place.store, access).ok()?;
            Some(place_in(&store, place.path))
        }
        None => Some(place_of_file(Path::new(uri))),
    }
}

/// The place of a file of a store: by its URL, and whose it is, for buckets of two services may have one name.
pub(super) fn place_in(store: &Store, path: &str) -> String {
    let url = store.url_of(path);
    match url.strip_prefix("file://") {
        Some(path) => place_of_file(Path::new(path)),
        None => format!("{url} of {}", store.owner()),
    }
}

/// The place of a local file, which may not be there yet.
pub(super) fn place_of_file(path: &Path) -> String {
    let of_folder = || -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    };
    let real = path.canonicalize().ok().or_else(of_folder);
    real.unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clipsieve_engine::operator::Store as Settings;
    use serde_json::json;

    use super::*;

    #[test]
    fn buckets_of_one_name_are_one_place_only_where_they_are_of_one_service() {
        let bucket = |kind: &str, endpoint: Option<&str>| {
            let mut settings = json!({"type": kind, "bucket": "data"});
            if let Some(endpoint) = endpoint {
                settings["endpoint"] = json!(endpoint);
            }
            let stores = Stores::from([("s".to_owned(), Settings { settings })]);
            let of = |access| place_of("store://s/t.jsonl", &stores, access).unwrap();
            let store = Store::named(&stores, "s", Access::Read).unwrap();
            assert_eq!(of(Access::Read), of(Access::Write));
            assert_eq!(of(Access::Read), place_in(&store, "t.jsonl"));
            of(Access::Read)
        };
        let aws = bucket("s3", None);
        let minio = bucket("s3", Some("http://minio:9000"));
        assert_ne!(aws, minio);
        assert_ne!(minio, bucket("s3", Some("http://minio:9001")));
        assert_eq!(minio, bucket("s3", Some("http://MINIO:9000/")));
        assert_eq!(
            aws,
            bucket("s3", Some("https://s3.eu-west-1.amazonaws.com"))
        );
        assert_eq!(
            bucket("oss", Some("https://oss-cn-hangzhou.aliyuncs.com")),
            bucket("oss", Some("http://oss-cn-hangzhou-internal.aliyuncs.com"))
        );
    }
}
