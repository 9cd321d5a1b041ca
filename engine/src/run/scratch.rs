//! Folders of temporary files, which do not outlive the process that made them.
//!
//! A folder goes away with its [`Scratch`]; with the process, when that ends at once; with the launcher, which removes
//! what a killed child left; and where a whole machine died, with the next run that has the same parent. For the last, each
//! process holds a lock on a file in its folder: what nobody holds belongs to nobody, also where processes of several
//! containers have the same number.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::random;

/// The file in a folder that its process holds a lock on.
const LOCK: &str = ".in-use";
/// How old a folder without such a file has to be to be nobody's: it may be in the making.
const FORSAKEN: Duration = Duration::from_secs(600);

/// All folders that there are now: a process that ends at once removes them first.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder for temporary files, removed on drop. Its name says whose it is, so that a launcher can remove it for a
/// process that was killed.
pub(super) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    pub fn new(parent: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        // Ours alone: a name nobody else can guess, and never a folder that is already there. Processes of several
        // containers may have the same number and share the parent.
        let random = random::hex(random::bytes::<8>()?);
        let path = parent.join(prefix(std::process::id()) + &random);
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create_new(path.join(LOCK)).and_then(|file| file.lock().map(|()| file));
        let lock = lock.inspect_err(|_| remove(&path))?;
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.push(path.clone());
        }
        Ok(Self { path, _lock: lock })
    }

    /// A folder in it for one stage. Ids are words, but a file may name them as it likes.
    pub fn stage(&self, rank: usize, id: &str) -> std::io::Result<PathBuf> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let id: String = id.chars().map(|c| if word(c) { c } else { '_' }).collect();
        let path = self.path.join(format!("{rank:02}-{id}"));
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.retain(|folder| *folder != self.path);
        }
    }
}

/// Removes all folders, as far as that can be done without waiting.
pub(super) fn remove_all() {
    if let Ok(mut folders) = FOLDERS.try_lock() {
        for folder in folders.drain(..) {
            remove(&folder);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), "temporary files could not be removed: {error}");
    }
}

fn prefix(process: u32) -> String {
    format!("clipsieve-{process}-")
}

/// Removes the folders of processes that are no more.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(is_name);
        if is_ours && is_forsaken(&entry.path()) {
            tracing::info!(path = %entry.path().display(), "temporary files of a run that died are removed");
            remove(&entry.path());
        }
    }
}

/// Whether a folder is called as [`Scratch::new`] calls them.
fn is_name(name: &str) -> bool {
    let parts = name
        .strip_prefix("clipsieve-")
        .and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(process, random)| {
        process.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == 16
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_forsaken(folder: &Path) -> bool {
    match is_held(folder) {
        Some(is_held) => !is_held,
        None => {
            let changed = folder.metadata().and_then(|about| about.modified());
            changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > FORSAKEN))
        }
    }
}

/// Whether a process holds the lock in a folder. `None` if there is no lock to hold.
fn is_held(folder: &Path) -> Option<bool> {
    match File::open(folder.join(LOCK)) {
        // A file system without locks says so with an error: then nothing is known.
        Ok(file) => Some(file.try_lock().is_err()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(true),
    }
}

/// Removes what a process left that could not do so itself.
pub(super) fn remove_of(parent: &Path, process: u32) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_its = name.to_string_lossy().starts_with(&prefix(process));
        // A locked one is of a living process of another container, which has the same number. One without a lock was being
        // removed when its process was killed.
        if is_its && is_held(&entry.path()) != Some(true) {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_swept_and_the_living_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::new(parent.path()).unwrap();
        std::fs::write(living.stage(0, "a").unwrap().join("file"), "kept").unwrap();
        let dead = Scratch::new(parent.path()).unwrap();
        std::fs::write(dead.stage(0, "a").unwrap().join("file"), "swept").unwrap();
        let dead_path = dead.path.clone();
        // As the kernel does for a process that is killed: the lock goes, the folder stays.
        dead._lock.unlock().unwrap();
        let making = parent.path().join("clipsieve-1-0123456789abcdef");
        let other = parent.path().join("clipsieve-notes");
        std::fs::create_dir(&making).unwrap();
        std::fs::create_dir(&other).unwrap();
        sweep(parent.path());
        assert!(!dead_path.exists());
        assert!(living.path.join("00-a/file").exists() && making.exists() && other.exists());
        let half_gone = parent
            .path()
            .join(format!("{}0", prefix(std::process::id())));
        std::fs::create_dir_all(half_gone.join("00-a")).unwrap();
        remove_of(parent.path(), std::process::id());
        assert!(living.path.join("00-a/file").exists() && !half_gone.exists());
        drop(living);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}
