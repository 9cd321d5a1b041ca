//! Where the bytes of a video are: in a file, or behind a reader that gets only the ranges that are asked for.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::survey::Survey;
use super::{Interrupt, MediaError};

/// Files up to this size are read whole: that costs nothing next to decoding, and every packet is looked at.
const WHOLE_BYTES: u64 = 16 << 20;

/// Bytes that can be read from any place.
///
/// `SeekFrom::End` has to work, for that is how the length is asked for. A seek should cost nothing: what follows may be
/// another seek. `Ok(0)` is the end.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A video that is read through readers of its own: one in a store, one in memory.
///
/// Several readers of one video may be open at a time, each with its own place.
pub trait Stream: Send + Sync {
    /// A new reader at the first byte. A reader that waits for a network has to give up with an error once the interrupt
    /// is raised; between two reads it is asked anyway.
    ///
    /// # Errors
    /// The reason why there are no bytes to be had.
    fn reader(&self, interrupt: &Interrupt) -> io::Result<Box<dyn ReadSeek>>;
}

/// The bytes of one video, and what messages call it. Cheap to clone; what was found out about the video is kept, for all
/// clones.
#[derive(Clone)]
pub struct Medium {
    name: PathBuf,
    stream: Option<Arc<dyn Stream>>,
    whole_bytes: u64,
    survey: Arc<Mutex<Option<Arc<Survey>>>>,
    _kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Medium {
    /// A file of the local file system.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(path.into(), None)
    }

    /// A file of the local file system that is there for as long as somebody has the medium or a clone of it: `keep` is
    /// dropped with the last of them, and removes the file.
    pub fn temporary(path: impl Into<PathBuf>, keep: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            _kept: Some(keep),
            ..Self::file(path)
        }
    }

    /// The same medium for those who want its name and no bytes of it: it keeps no temporary file there, and nothing of what
    /// was found out about the video.
    pub fn unheld(&self) -> Self {
        Self {
            _kept: None,
            survey: Arc::default(),
            ..self.clone()
        }
    }

    /// A video that is read through `stream`; `name` stands in messages: a URL without secrets.
    pub fn stream(name: impl Into<PathBuf>, stream: Arc<dyn Stream>) -> Self {
        Self::new(name.into(), Some(stream))
    }

    fn new(name: PathBuf, stream: Option<Arc<dyn Stream>>) -> Self {
        Self {
            name,
            stream,
            whole_bytes: WHOLE_BYTES,
            survey: Arc::default(),
            _kept: None,
        }
    }

    /// The same, with another size up to which a file is read whole even if its index says all about it; 16 MiB by default.
    pub fn read_whole_up_to(self, bytes: u64) -> Self {
        Self {
            whole_bytes: bytes,
            survey: Arc::default(),
            ..self
        }
    }

    pub(crate) fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// What is known of the video before it is decoded. Found out once.
    pub(crate) fn survey(&self, interrupt: &Interrupt) -> Result<Arc<Survey>, MediaError> {
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(survey) = &*survey {
            return Ok(Arc::clone(survey));
        }
        let taken = Arc::new(Survey::take(self, interrupt)?);
        Ok(Arc::clone(survey.insert(taken)))
    }

    /// What messages call it: the file's path, or a URL.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The local file, if it is one.
    pub fn local_path(&self) -> Option<&Path> {
        self.stream.is_none().then_some(self.name.as_path())
    }

    /// A new reader at the first byte, which adds what it reads to `meter`.
    pub(crate) fn reader(
        &self,
        interrupt: &Interrupt,
        meter: &Meter,
    ) -> Result<Metered, MediaError> {
        let failed = |error| MediaError::io("read", &self.name, error);
        let inner = match &self.stream {
            Some(stream) => stream.reader(interrupt).map_err(failed)?,
            None => {
                let file = File::open(&self.name).map_err(failed)?;
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(MediaError::open(&self.name, "not a regular file"));
                }
                Box::new(file)
            }
        };
        Ok(Metered {
            inner,
            meter: meter.clone(),
        })
    }
}

impl From<&Path> for Medium {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<&PathBuf> for Medium {
    fn from(path: &PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Medium> for Medium {
    fn from(medium: &Medium) -> Self {
        medium.clone()
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.stream.is_some() {
            "Stream"
        } else {
            "File"
        };
        f.debug_tuple(kind).field(&self.name).finish()
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.display().fmt(f)
    }
}

/// Counts the bytes that were read of a medium, and remembers why it could not be read: on its way through ffmpeg a reason
/// becomes a number, or the end of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    bytes: Arc<AtomicU64>,
    fault: Arc<Mutex<Option<io::Error>>>,
}

impl Meter {
    /// The bytes read so far, those that were read twice counted twice.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The first error of a reader, if there was one. A file with one is neither short nor broken: it could not be read.
    pub fn check(&self, name: &Path) -> Result<(), MediaError> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.take() {
            Some(error) => Err(MediaError::io("read", name, error)),
            None => Ok(()),
        }
    }

    fn note(&self, error: io::Error) -> io::Error {
        let passed_on = match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => error.kind().into(),
        };
        if error.kind() != io::ErrorKind::Interrupted {
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert(error);
        }
        passed_on
    }
}

/// A reader whose bytes are counted.
pub(crate) struct Metered {
    inner: Box<dyn ReadSeek>,
    meter: Meter,
}

impl Metered {
    /// How many bytes there are. Afterwards it stands at the end.
    pub fn length(&mut self) -> io::Result<u64> {
        self.seek(SeekFrom::End(0))
    }
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.meter.bytes.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) => Err(self.meter.note(error)),
        }
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to).map_err(|error| self.meter.note(error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Cursor;

    struct Memory;

    impl Stream for Memory {
        fn reader(&self, _: &Interrupt) -> io::Result<Box<dyn ReadSeek>> {
            Ok(Box::new(Cursor::new(vec![7; 100])))
        }
    }

    #[test]
    fn what_is_read_is_counted_over_all_readers() {
        let medium = Medium::stream("memory://a.mp4", Arc::new(Memory));
        assert_eq!(
            (medium.to_string().as_str(), medium.local_path()),
            ("memory://a.mp4", None)
        );
        let meter = Meter::default();
        for _ in 0..2 {
            let mut reader = medium.reader(&Interrupt::never(), &meter).unwrap();
            assert_eq!(reader.length().unwrap(), 100);
            reader.seek(SeekFrom::Start(90)).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), 10);
        }
        assert_eq!(meter.bytes(), 20);
    }

    #[test]
    fn what_is_kept_for_its_name_keeps_nothing_else() {
        let kept: Arc<dyn Any + Send + Sync> = Arc::new(());
        let medium = Medium::temporary("/a.mp4", Arc::clone(&kept));
        let unheld = medium.unheld();
        assert!(!Arc::ptr_eq(&medium.survey, &unheld.survey));
        drop(medium);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert_eq!(unheld.name(), Path::new("/a.mp4"));
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("503 slow down"))
        }
    }

    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(1000)
        }
    }

    impl Stream for Broken {
        fn reader(&self, _: &Interrupt) -> io::Result<Box<dyn ReadSeek>> {
            Ok(Box::new(Broken))
        }
    }

    #[test]
    fn a_store_that_fails_is_told_with_its_own_words() {
        let medium = Medium::stream("oss://b/a.mp4", Arc::new(Broken));
        let error = crate::media::probe(&medium, &Interrupt::never()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read oss://b/a.mp4: 503 slow down"
        );
        assert!(!error.is_permanent());
    }

    #[test]
    fn a_folder_is_no_medium() {
        let folder = tempfile::tempdir().unwrap();
        let error = Medium::file(folder.path())
            .reader(&Interrupt::never(), &Meter::default())
            .err()
            .unwrap();
        assert!(error.to_string().ends_with("not a regular file"), "{error}");
    }
}
