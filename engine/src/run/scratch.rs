use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// All folders that there are now: a process that ends at once removes them first.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder for temporary files, removed on drop. Its name says whose it is, so that a launcher can remove it for a
/// process that was killed.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        // Ours alone: a name nobody else can guess, and never a folder that is already there. Processes of several
        // containers may have the same number and share the parent.
        let mut random = [0; 8];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let path = parent.join(format!(
            "{}{:016x}",
            prefix(std::process::id()),
            u64::from_ne_bytes(random)
        ));
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Ok(mut folders) = FOLDERS.lock() {
            folders.push(path.clone());
        }
        Ok(Self(path))
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
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&prefix(process)) {
            remove(&entry.path());
        }
    }
}
