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
        let Some(place) = place_of(uri, stores) else {
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
fn place_of(uri: &str, stores: &Stores) -> Option<String> {
    if uri == "-" || odps::is_odps(uri) {
        return None;
    }
    match StoreUri::parse(uri) {
        Some(place) => {
            let place = place.ok()?;
            let store = Store::named(stores, place.store, Access::Write).ok()?;
            Some(place_of_url(&store.url_of(place.path)))
        }
        None => Some(place_of_file(Path::new(uri))),
    }
}

/// The place of a file of a store, by its URL.
pub(super) fn place_of_url(url: &str) -> String {
    match url.strip_prefix("file://") {
        Some(path) => place_of_file(Path::new(path)),
        None => url.to_owned(),
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
