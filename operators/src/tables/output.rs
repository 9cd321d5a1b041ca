use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clipsieve_engine::operator::OperatorError;

/// Where a table is written: a file that appears when it is whole, or standard output.
pub enum Output {
    /// A file that grows beside its final place.
    File(Growing),
    /// Standard output.
    Stdout(io::Stdout),
}

/// A file that grows as `NAME.partial` beside its final place, and takes its name when it is whole. Until then an older
/// file of that name stays as it is.
///
/// One file that is appended to and cut back, and not a file a part: the table is written once, `tail -f` follows it, and
/// nothing is asked of the file system but what network file systems do well (appending, `fsync`, cutting at a length,
/// renaming). What is beyond the length that the ledger has is of a part that was never recorded.
pub struct Growing {
    partial: PathBuf,
    target: PathBuf,
    file: Option<File>,
    length: u64,
    /// Whether a part of what could not be appended may lie behind `length`.
    is_torn: bool,
    /// Whether it outlives this process, for a later one to go on with.
    kept: bool,
    finished: bool,
}

impl Output {
    /// The output of this path, `-` being standard output. Folders that are missing are made, the file is not.
    ///
    /// # Errors
    /// `Config` if the path names something that is no regular file, or if its folder cannot be made.
    pub fn create(path: &str) -> Result<Self, OperatorError> {
        if path == "-" {
            return Ok(Self::Stdout(io::stdout()));
        }
        Growing::create(path).map(Self::File)
    }

    /// Goes on behind this many bytes; what is there beyond them is cut off. From now on it is kept for later processes.
    ///
    /// # Errors
    /// There are fewer, or it cannot be written to.
    pub fn resume(&mut self, length: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.resume(length),
            Self::Stdout(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "standard output cannot be continued",
            )),
        }
    }

    /// Appends; in a file that is kept, the bytes are on disk when this returns. Returns its length then.
    ///
    /// # Errors
    /// What the output answered. What a file has of these bytes then does not count, and is cut off before the next append or the end.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        match self {
            Self::File(file) => file.append(bytes),
            Self::Stdout(stdout) => {
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(0)
            }
        }
    }

    /// Makes the file visible under its name, on disk for good. Returns where it is, for people.
    ///
    /// # Errors
    /// What the disk answered; the older file is as it was then.
    pub fn finish(&mut self) -> io::Result<String> {
        match self {
            Self::File(file) => file.finish(),
            Self::Stdout(stdout) => {
                stdout.flush()?;
                Ok("standard output".to_owned())
            }
        }
    }
}

impl Growing {
    /// Where it grows.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    pub(super) fn create(path: &str) -> Result<Self, OperatorError> {
        let refuse = |why: String| OperatorError::config(format!("cannot write `{path}`: {why}"));
        // A link stays a link: the file it points to is replaced.
        let target = Path::new(path)
            .canonicalize()
            .unwrap_or_else(|_| PathBuf::from(path));
        if target.exists() && !target.is_file() {
            return Err(refuse("it is there and is no regular file".to_owned()));
        }
        let Some(name) = target.file_name() else {
            return Err(refuse("it names no file".to_owned()));
        };
        let mut partial = name.to_owned();
        partial.push(".partial");
        let growing = Self {
            partial: target.with_file_name(partial),
            target,
            file: None,
            length: 0,
            is_torn: false,
            kept: false,
            finished: false,
        };
        let folder = growing.folder();
        let cannot = |what: &str, error: io::Error| {
            refuse(format!(
                "its folder {} cannot be {what}: {error}",
                folder.display()
            ))
        };
        fs::create_dir_all(folder).map_err(|error| cannot("made", error))?;
        // Told before the first row, not after it.
        tempfile::tempfile_in(folder).map_err(|error| cannot("written to", error))?;
        Ok(growing)
    }

    fn folder(&self) -> &Path {
        match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn resume(&mut self, length: u64) -> io::Result<()> {
        self.kept = true;
        self.length = length;
        let there = fs::metadata(&self.partial).map_or(0, |about| about.len());
        if there < length {
            // The last thing that an earlier process did may have been to give it its name.
            if fs::metadata(&self.target).is_ok_and(|about| about.len() == length) {
                self.finished = true;
                return Ok(());
            }
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{} has {there} bytes, and the ledger has recorded {length}; rows that were done are gone, so start over (`--fresh`)",
                    self.partial.display()
                ),
            ));
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.partial)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        file.sync_all()?;
        self.file = Some(file);
        File::open(self.folder())?.sync_all()
    }

    /// Cuts off what an append that failed may have left.
    fn mend(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| self.is_torn) {
            file.set_len(self.length)?;
            file.seek(SeekFrom::Start(self.length))?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.mend()?;
        let kept = self.kept;
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create(&self.partial)?),
        };
        let written = file.write_all(bytes).and_then(|()| match kept {
            true => file.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = written {
            self.is_torn = true;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(self.length)
    }

    fn finish(&mut self) -> io::Result<String> {
        if !self.finished {
            self.mend()?;
            match &self.file {
                Some(file) => file.sync_all()?,
                // A table of no rows.
                None => File::create(&self.partial)?.sync_all()?,
            }
            fs::rename(&self.partial, &self.target)?;
            self.finished = true;
            // The new name is on disk when the folder is.
            File::open(self.folder())?.sync_all()?;
        }
        Ok(self.target.display().to_string())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let useless = !self.kept || self.length == 0;
        if useless && !self.finished && self.file.is_some() {
            // Nobody can go on with it, or would gain by it.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_at_the_end_in_a_new_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/out.jsonl");
        let mut output = Output::create(path.to_str().unwrap()).unwrap();
        assert_eq!(output.append(b"row\n").unwrap(), 4);
        assert!(!path.exists());
        assert_eq!(names(path.parent().unwrap()), ["out.jsonl.partial"]);
        assert_eq!(output.finish().unwrap(), path.display().to_string());
        assert_eq!(fs::read(&path).unwrap(), b"row\n");
        assert_eq!(names(path.parent().unwrap()), ["out.jsonl"]);
        // As any file a program makes, not one for its user only.
        let umask_free = fs::metadata(&path).unwrap().permissions().mode() & 0o444;
        assert_ne!(umask_free, 0);
    }

    #[test]
    fn an_unfinished_one_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "old").unwrap();
        let mut output = Output::create(path.to_str().unwrap()).unwrap();
        output.append(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn what_an_append_that_failed_left_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let torn = |name: &str| {
            let mut growing = Growing::create(folder.path().join(name).to_str().unwrap()).unwrap();
            growing.append(b"one\n").unwrap();
            growing.file.as_mut().unwrap().write_all(b"tw").unwrap();
            growing.is_torn = true;
            growing
        };
        torn("ended").finish().unwrap();
        assert_eq!(fs::read(folder.path().join("ended")).unwrap(), b"one\n");
        let mut went_on = torn("went_on");
        went_on.append(b"two\n").unwrap();
        went_on.finish().unwrap();
        assert_eq!(
            fs::read(folder.path().join("went_on")).unwrap(),
            b"one\ntwo\n"
        );
    }

    #[test]
    fn what_the_ledger_does_not_know_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let create = || Output::create(path.to_str().unwrap()).unwrap();
        let mut first = create();
        first.resume(0).unwrap();
        let length = first.append(b"one\n").unwrap();
        first.append(b"two, but half of i").unwrap();
        drop(first);
        assert_eq!(names(folder.path()), ["out.jsonl.partial"]);
        let mut second = create();
        second.resume(length).unwrap();
        second.append(b"two\n").unwrap();
        second.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        // The ledger did not come to know that it is finished.
        let mut third = create();
        third.resume(8).unwrap();
        third.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        // What it speaks of is gone.
        let error = create().resume(9).unwrap_err();
        assert!(error.to_string().contains("start over"), "{error}");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.jsonl");
        let link = folder.path().join("link.jsonl");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut output = Output::create(link.to_str().unwrap()).unwrap();
        output.append(b"new").unwrap();
        output.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_written_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let error = Output::create(folder.path().to_str().unwrap())
            .err()
            .unwrap();
        assert!(error.message.contains("is no regular file"), "{error}");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let under = file.join("sub/out.jsonl");
        let error = Output::create(under.to_str().unwrap()).err().unwrap();
        assert!(error.message.contains("cannot be made"), "{error}");
    }
}
