//! What stores on the local file system do for themselves: stay inside their root, symbolic links followed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Key, Listed, LocalRoot, StoreError, StoreErrorKind};

/// How old a half-written file has to be to be nobody's.
const FORSAKEN: Duration = Duration::from_secs(24 * 3600);
/// How files that are not yet whole are called, at the beginning.
pub(super) const PARTIAL: &str = ".partial-";

/// Where a file lies, symbolic links followed, if that is inside the root.
pub(super) fn inside(root: &LocalRoot, key: &Key) -> Result<PathBuf, StoreError> {
    let real = match root.real.join(key.as_str()).canonicalize() {
        Ok(real) => real,
        Err(error) => {
            let answer = StoreError::of_io(&format!("looking for `{key}`"), &error);
            let root_gone = answer.kind == StoreErrorKind::NotFound && !root.real.exists();
            return Err(if root_gone {
                StoreError::new(
                    StoreErrorKind::Temporary,
                    format!("the store's `root` {} is gone", root.real.display()),
                )
            } else {
                answer
            });
        }
    };
    if real.starts_with(&root.real) {
        Ok(real)
    } else {
        Err(leads_out(key))
    }
}

/// Checks that what exists of a key's folders lies inside the root.
pub(super) fn inside_existing(root: &LocalRoot, key: &Key) -> Result<(), StoreError> {
    let folder = root.real.join(key.folder());
    for ancestor in folder.ancestors().take_while(|path| *path != root.real) {
        match ancestor.canonicalize() {
            Ok(real) if real.starts_with(&root.real) => return Ok(()),
            Ok(_) => return Err(leads_out(key)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let doing = format!("looking for the folder of `{key}`");
                return Err(StoreError::of_io(&doing, &error));
            }
        }
    }
    Ok(())
}

fn leads_out(key: &Key) -> StoreError {
    StoreError::bad_input(format!(
        "`{key}` leaves the store's root through a symbolic link; set `root` to a folder that holds both ends"
    ))
}

/// A temporary path beside where a key lies, different for each upload of all processes of a host. Its folder is made.
pub(super) fn partial_path(root: &LocalRoot, key: &Key) -> Result<PathBuf, StoreError> {
    static UPLOADS: AtomicU64 = AtomicU64::new(0);
    inside_existing(root, key)?;
    let folder = root.real.join(key.folder());
    std::fs::create_dir_all(&folder)
        .map_err(|error| StoreError::of_io(&format!("making the folder of `{key}`"), &error))?;
    sweep(&folder);
    let upload = UPLOADS.fetch_add(1, Ordering::Relaxed);
    Ok(folder.join(format!("{PARTIAL}{}-{upload}", std::process::id())))
}

/// Removes half-written files that nobody has touched for a day from a folder: whoever wrote them was killed. Each folder is
/// looked through once a process.
fn sweep(folder: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.insert(folder.to_path_buf()) {
        return;
    }
    drop(swept);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        let changed = entry.metadata().and_then(|about| about.modified());
        let is_old = changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > FORSAKEN));
        if is_partial && is_old {
            // Another process may be at it too.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// All files in a folder and the folders in it, in the order of their paths. Links that lead out are left out.
pub(super) fn list(root: &LocalRoot, folder: Option<&Key>) -> Result<Vec<Listed>, StoreError> {
    let start = match folder {
        Some(key) => inside(root, key)?,
        None => root.real.clone(),
    };
    let mut found = Vec::new();
    let mut folders = vec![(
        start,
        folder
            .map(|key| key.as_str().to_owned())
            .unwrap_or_default(),
    )];
    while let Some((path, prefix)) = folders.pop() {
        let failed = |error| StoreError::of_io(&format!("listing {}", path.display()), &error);
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(PARTIAL) {
                continue;
            }
            let key = match prefix.as_str() {
                "" => name,
                prefix => format!("{prefix}/{name}"),
            };
            add(root, entry.path(), key, &mut found, &mut folders);
        }
    }
    found.sort_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
    Ok(found)
}

fn add(
    root: &LocalRoot,
    path: PathBuf,
    key: String,
    found: &mut Vec<Listed>,
    folders: &mut Vec<(PathBuf, String)>,
) {
    // A file that went away meanwhile, a link that leads out: not there.
    let Ok(about) = std::fs::symlink_metadata(&path) else {
        return;
    };
    if about.is_dir() {
        folders.push((path, key));
        return;
    }
    let Some(bytes) = regular_bytes(root, &path) else {
        return;
    };
    if let Ok(key) = Key::parse(&key) {
        found.push(Listed { key, bytes });
    }
}

fn regular_bytes(root: &LocalRoot, path: &Path) -> Option<u64> {
    let real = path.canonicalize().ok()?;
    let about = std::fs::metadata(&real).ok()?;
    (about.is_file() && real.starts_with(&root.real)).then_some(about.len())
}
