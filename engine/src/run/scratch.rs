use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::process::{self, Identity};

/// All folders that there are now: a process that ends at once removes them first.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// The file in a folder that says whose it is.
const OWNER: &str = "owner.json";

/// A folder for temporary files, removed on drop. Its name says whose it is, so that a supervisor can remove it for a
/// process that was killed; and it holds who made it, so that anybody can who finds that one dead.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        sweep(parent);
        // Ours alone: a name nobody else can guess, and never a folder that is already there. Processes of several
        // containers may have the same number and share the parent.
        let random = process::random()?;
        let path = parent.join(format!("{}{}", prefix(std::process::id()), &random[..16]));
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.push(path.clone());
        }
        let scratch = Self(path);
        let owner = serde_json::to_vec(&Identity::this())?;
        std::fs::write(scratch.0.join(OWNER), owner)?;
        Ok(scratch)
    }

    /// A folder in it for one stage. Ids are words, but a file may name them as it likes.
    pub fn stage(&self, rank: usize, id: &str) -> std::io::Result<PathBuf> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let id: String = id.chars().map(|c| if word(c) { c } else { '_' }).collect();
        let path = self.0.join(format!("{rank:02}-{id}"));
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.retain(|folder| *folder != self.0);
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

/// Removes what a process left that could not do so itself.
pub(super) fn remove_of(parent: &Path, process: u32) {
    for path in folders(parent, &prefix(process)) {
        remove(&path);
    }
}

/// Removes what was left by processes that are dead for certain: of this machine, and not of another container.
fn sweep(parent: &Path) {
    for path in folders(parent, "clipsieve-") {
        let owner = std::fs::read(path.join(OWNER)).ok();
        let owner = owner.and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok());
        if owner.is_some_and(|owner| owner.lives() == Some(false)) {
            tracing::info!(path = %path.display(), "temporary files of a dead process are removed");
            remove(&path);
        }
    }
}

fn folders(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_swept_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, owner: Option<Identity>| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            if let Some(owner) = owner {
                std::fs::write(path.join(OWNER), serde_json::to_vec(&owner).unwrap()).unwrap();
            }
            path
        };
        let dead = make("clipsieve-1-a", Some(Identity::this().dead()));
        let alive = make("clipsieve-2-b", Some(Identity::this()));
        let elsewhere = make("clipsieve-3-c", Some(Identity::this().elsewhere()));
        let unknown = make("clipsieve-4-d", None);
        let scratch = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists());
        for path in [&alive, &elsewhere, &unknown, &scratch.0] {
            assert!(path.exists(), "{}", path.display());
        }
    }
}
