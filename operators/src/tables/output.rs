use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clipsieve_engine::operator::OperatorError;
use tempfile::NamedTempFile;

/// Where a table is written: a file that appears when it is whole, or standard output.
///
/// The file is written beside its final place, as `NAME.partial-PROCESS-…`, and renamed by [`Output::finish`]. Until then
/// an older file of that name stays as it is; dropping the output removes what was written.
pub enum Output {
    /// A file beside its final place.
    File {
        /// What was written so far.
        partial: NamedTempFile,
        /// Where it will be.
        target: PathBuf,
    },
    /// Standard output.
    Stdout(io::Stdout),
}

impl Output {
    /// Opens the output of this path, `-` being standard output. Folders that are missing are made.
    ///
    /// # Errors
    /// `Config` if the path names something that is no regular file, or if its folder cannot be written to.
    pub fn create(path: &str) -> Result<Self, OperatorError> {
        if path == "-" {
            return Ok(Self::Stdout(io::stdout()));
        }
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
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder).map_err(|error| {
            refuse(format!(
                "its folder {} cannot be made: {error}",
                folder.display()
            ))
        })?;
        let mut prefix = name.to_owned();
        prefix.push(format!(".partial-{}-", std::process::id()));
        let partial = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| {
                refuse(format!(
                    "its folder {} cannot be written to: {error}",
                    folder.display()
                ))
            })?;
        Ok(Self::File { partial, target })
    }

    /// Makes the file visible under its name, on disk for good. Returns where it is, for people.
    ///
    /// # Errors
    /// What the disk answered; the older file is as it was then.
    pub fn finish(self) -> io::Result<String> {
        match self {
            Self::File { partial, target } => {
                partial.as_file().sync_all()?;
                partial.persist(&target).map_err(|error| error.error)?;
                // The new name is on disk when the folder is.
                if let Some(folder) = target.parent().filter(|path| !path.as_os_str().is_empty()) {
                    std::fs::File::open(folder)?.sync_all()?;
                }
                Ok(target.display().to_string())
            }
            Self::Stdout(mut stdout) => {
                stdout.flush()?;
                Ok("standard output".to_owned())
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { partial, .. } => partial.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { partial, .. } => partial.flush(),
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

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
        output.write_all(b"row\n").unwrap();
        assert!(!path.exists());
        let [partial] = names(path.parent().unwrap()).try_into().unwrap();
        assert!(partial.starts_with(&format!("out.jsonl.partial-{}-", std::process::id())));
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
        output.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.jsonl");
        let link = folder.path().join("link.jsonl");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut output = Output::create(link.to_str().unwrap()).unwrap();
        output.write_all(b"new").unwrap();
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
