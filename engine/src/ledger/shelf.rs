use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// Where a ledger lies: a flat place for a few small files.
///
/// What is asked of it is little, so that it can be a network file system: no locks, no mapped memory, no writing in the
/// middle of a file.
pub trait Shelf: Send + Sync {
    /// What the file holds, `None` if there is none.
    ///
    /// # Errors
    /// The place cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes the file or replaces it: readers see the old or the new one, whole, and it is on disk when this returns.
    ///
    /// # Errors
    /// The place cannot be written to; the old file is as it was.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file if there is none; of several who try only one is told `true`.
    ///
    /// # Errors
    /// The place cannot be written to.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool>;

    /// Adds to the end of a file, which is made if it is missing; it is on disk when this returns.
    ///
    /// # Errors
    /// The place cannot be written to. A beginning of the bytes may be there: see [`Shelf::cut`].
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Takes everything beyond `length` bytes away from the end of a file.
    ///
    /// # Errors
    /// The place cannot be written to.
    fn cut(&self, name: &str, length: u64) -> io::Result<()>;

    /// Gives the file another name; `false` if it is not there. Of several who try only one is told `true`.
    ///
    /// # Errors
    /// The place cannot be written to.
    fn rename(&self, name: &str, to: &str) -> io::Result<bool>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// The place cannot be written to.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes the shelf with all that is on it.
    ///
    /// # Errors
    /// The place cannot be written to.
    fn clear(&self) -> io::Result<()>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// A shelf that is a folder. It is made by the first write.
pub struct Folder {
    path: PathBuf,
    /// The file that is appended to, kept open.
    appended: Mutex<Option<(String, File)>>,
}

/// The shelf that is this folder.
pub fn folder(path: impl Into<PathBuf>) -> Arc<dyn Shelf> {
    Arc::new(Folder::new(path))
}

impl Folder {
    /// The shelf that is this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            appended: Mutex::default(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of its own with these bytes on disk, to be given its name. The folder is there then.
    fn beside(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.path)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self
            .path
            .join(format!(".{name}-{}-{count}", std::process::id()));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }

    /// Names are on disk when their folder is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Shelf for Folder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        // Opened anew each time: network file systems look for what others wrote when a file is opened.
        let mut bytes = Vec::new();
        match File::open(self.path.join(name)).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.beside(name, bytes)?;
        if let Err(error) = fs::rename(&path, self.path.join(name)) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.sync()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.beside(name, bytes)?;
        // A link fails if the name is taken, on network file systems too.
        let made = fs::hard_link(&path, self.path.join(name));
        let made = match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // Some file systems have no links; an exclusive creation is the next best.
            Err(_) => exclusively(&self.path.join(name), bytes),
        };
        let _ = fs::remove_file(&path);
        made
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut appended = lock(&self.appended);
        if !matches!(&*appended, Some((open, _)) if open == name) {
            fs::create_dir_all(&self.path)?;
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.path.join(name))?;
            self.sync()?;
            *appended = Some((name.to_owned(), file));
        }
        let Some((_, file)) = &mut *appended else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        *lock(&self.appended) = None;
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<bool> {
        match fs::rename(self.path.join(name), self.path.join(to)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        missing_is_fine(fs::remove_file(self.path.join(name)))
    }

    fn clear(&self) -> io::Result<()> {
        *lock(&self.appended) = None;
        // A folder that somebody keeps other things in stays.
        for name in ["run.json", "journal.jsonl", "holder.json"] {
            self.remove(name)?;
        }
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => return missing_is_fine(Err(error)),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if [".run.json-", ".journal.jsonl-", ".holder.json-", "holder-"]
                .iter()
                .any(|ours| name.starts_with(ours))
            {
                missing_is_fine(fs::remove_file(entry.path()))?;
            }
        }
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

fn exclusively(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
