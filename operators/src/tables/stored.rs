//! What `store://NAME/PATH` names: a table, a folder or a glob of a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipsieve_engine::operator::{OperatorError, Source, Stores};
use glob::{MatchOptions, Pattern};

use super::claims::place_in;
use super::several::Opens;
use super::{Blob, Format, Intake, Several, files};
use crate::stores::{Access, Store, StoreError, StoreErrorKind, wait};

const SCHEME: &str = "store://";

/// A place in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreUri<'a> {
    /// The name of the store in the pipeline file.
    pub store: &'a str,
    /// The path in it.
    pub path: &'a str,
}

impl<'a> StoreUri<'a> {
    /// The place that a URI names, if it is of this kind.
    ///
    /// # Errors
    /// It names no store, as a lowercase fragment.
    pub fn parse(uri: &'a str) -> Option<Result<Self, String>> {
        let rest = uri.strip_prefix(SCHEME)?;
        let (store, path) = rest.split_once('/').unwrap_or((rest, ""));
        Some(match store {
            "" => Err(format!(
                "`{uri}` names no store; it is store://NAME/PATH, NAME standing under `stores:`"
            )),
            _ => Ok(Self { store, path }),
        })
    }
}

/// The store that a URI names, if it names one.
pub fn store_of(uri: &str) -> Option<&str> {
    Some(StoreUri::parse(uri)?.ok()?.store)
}

/// Opens the rows that a place of a store names.
///
/// # Errors
/// `Config` if there is nothing of that name, nothing in it, or nothing that can be read.
pub(super) fn open(
    uri: &str,
    place: StoreUri<'_>,
    stores: &Stores,
    intake: &Intake,
) -> Result<Box<dyn Source>, OperatorError> {
    let store = Store::named(stores, place.store, Access::Read)?;
    let refuse = |error: StoreError| OperatorError::config(format!("cannot read `{uri}`: {error}"));
    let path = Path::new(place.path);
    if files::is_glob(place.path) {
        let pattern = Pattern::new(place.path).map_err(|error| {
            OperatorError::config(format!("`{uri}` is no pattern: {}", error.msg))
        })?;
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let fixed: PathBuf = path
            .components()
            .take_while(|part| !files::is_glob(&part.as_os_str().to_string_lossy()))
            .collect();
        let spelled = path
            .extension()
            .is_some_and(|extension| !files::is_glob(&extension.to_string_lossy()));
        let paths = list(&store, &fixed.to_string_lossy()).map_err(refuse)?;
        let matching = |path: &PathBuf| pattern.matches_path_with(path, options);
        let found = files::sort_out(
            &fixed,
            paths.into_iter().filter(matching).collect(),
            spelled,
        );
        return several(
            &store,
            found.ok_or_else(|| {
                OperatorError::config(format!("no video and no table matches `{uri}`"))
            })?,
            intake,
        );
    }
    let mut trouble = None;
    let located = match place.path {
        "" => None,
        path => match locate(&store, path) {
            Ok(blob) => Some(blob),
            Err(error) => match error.kind {
                // It may be a folder.
                StoreErrorKind::NotFound | StoreErrorKind::BadInput => None,
                // Some servers answer so to a question for a folder.
                StoreErrorKind::Temporary => {
                    trouble = Some(error);
                    None
                }
                StoreErrorKind::Config => return Err(refuse(error)),
            },
        },
    };
    if let Some(blob) = located {
        return match Format::of(path) {
            Some(format) => intake.open(format, &blob),
            None if files::is_video(path) => Ok(Box::new(files::single(path))),
            None => Err(OperatorError::config(format!(
                "`{uri}` is neither a table nor a video by its extension"
            ))),
        };
    }
    let hidden = |path: &PathBuf| {
        let mut below = path.strip_prefix(place.path).unwrap_or(path).components();
        below.any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
    };
    let mut paths = list(&store, place.path).map_err(refuse)?;
    paths.retain(|path| !hidden(path));
    match files::sort_out(path, paths, false) {
        Some(found) => several(&store, found, intake),
        None => Err(trouble.map_or_else(
            || {
                OperatorError::config(format!(
                    "`{uri}` is neither a file nor a folder that holds videos or tables"
                ))
            },
            refuse,
        )),
    }
}

fn list(store: &Store, folder: &str) -> Result<Vec<PathBuf>, StoreError> {
    let (store, folder) = (store.clone(), folder.to_owned());
    let listed = wait(async move { store.list(&folder).await })?;
    Ok(listed
        .into_iter()
        .map(|file| PathBuf::from(file.key.as_str()))
        .collect())
}

fn locate(store: &Store, path: &str) -> Result<Blob, StoreError> {
    let (asked, path) = (store.clone(), path.to_owned());
    let stored = wait(async move { asked.locate(&path).await })?;
    Ok(Blob::Stored(store.clone(), Arc::new(stored)))
}

fn several(
    store: &Store,
    found: files::Found,
    intake: &Intake,
) -> Result<Box<dyn Source>, OperatorError> {
    let tables = match found {
        files::Found::Videos(videos) => return Ok(Box::new(videos)),
        files::Found::Tables(paths) => paths,
    };
    let opens = |path: PathBuf| -> Option<Opens> {
        let format = Format::of(&path)?;
        let (store, path) = (store.clone(), path.to_string_lossy().into_owned());
        let intake = intake.clone();
        intake.note(place_in(&store, &path));
        Some(Box::new(move |when| {
            let blob = locate(&store, &path)
                .map_err(|error| OperatorError::config(format!("cannot read `{path}`: {error}")))?;
            intake.at(when).open(format, &blob)
        }))
    };
    Ok(Box::new(Several::new(
        tables.into_iter().filter_map(opens).collect(),
    )?))
}
