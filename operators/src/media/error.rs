//! What can go wrong with a video file.

use std::io;
use std::path::{Path, PathBuf};

use super::{CropRect, Interrupt};

/// Why a file could not be probed, decoded or written. Messages are lowercase and carry ffmpeg's reason.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The container could not be read.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// ffmpeg's reason.
        reason: String,
    },
    /// The file holds no stream of moving pictures.
    #[error("{} has no video stream", path.display())]
    NoVideo {
        /// The file.
        path: PathBuf,
    },
    /// A container, codec, size or request that is refused by rule.
    #[error("{} is not supported: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is refused, and what is allowed.
        reason: String,
    },
    /// No frame of the stream decodes.
    #[error("cannot decode {}: {reason}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// ffmpeg's reason.
        reason: String,
    },
    /// A view or crop that does not lie in the video.
    #[error("crop {rect} does not fit a video of {width}x{height}: {reason}")]
    Crop {
        /// The rectangle asked for.
        rect: CropRect,
        /// Display width of the video.
        width: u32,
        /// Display height of the video.
        height: u32,
        /// The rule that is broken.
        reason: &'static str,
    },
    /// The caller's [`Interrupt`] was raised (a deadline, a cancelled job).
    #[error("interrupted while {during}")]
    Interrupted {
        /// What was being done.
        during: String,
    },
    /// The crop could not be encoded or written into its container.
    #[error("cannot encode {}: {reason}", path.display())]
    Encode {
        /// The file that was being written.
        path: PathBuf,
        /// ffmpeg's reason.
        reason: String,
    },
    /// The file system, or the store it is read from, refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl MediaError {
    /// Whether trying again with the same file must end the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Interrupted { .. } => false,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::IsADirectory
            ),
            _ => true,
        }
    }

    pub(crate) fn open(path: &Path, reason: impl ToString) -> Self {
        Self::Open {
            path: path.to_owned(),
            reason: lowercase(reason),
        }
    }

    pub(crate) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn decode(path: &Path, reason: impl ToString) -> Self {
        Self::Decode {
            path: path.to_owned(),
            reason: lowercase(reason),
        }
    }

    pub(crate) fn encode(path: &Path, what: &str, reason: ffmpeg_next::Error) -> Self {
        if let ffmpeg_next::Error::Other { errno } = reason
            && matches!(
                errno,
                libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::ENOMEM | libc::EACCES | libc::EROFS
            )
        {
            return Self::Io {
                action: "write",
                path: path.to_owned(),
                source: io::Error::from_raw_os_error(errno),
            };
        }
        Self::Encode {
            path: path.to_owned(),
            reason: format!("{what}: {}", lowercase(reason)),
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// An interrupted read comes back from ffmpeg as some error or other: the interrupt is the better story.
    pub(crate) fn or_interrupted(self, interrupt: &Interrupt, during: &str) -> Self {
        if interrupt.is_raised() {
            return Self::Interrupted {
                during: during.to_owned(),
            };
        }
        self
    }
}

/// ffmpeg's messages begin with a capital; ours are fragments.
pub(crate) fn lowercase(reason: impl ToString) -> String {
    let text = reason.to_string();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lowercase_fragments_that_name_the_file() {
        crate::media::source::start_ffmpeg();
        let error = MediaError::decode(Path::new("/v/a.mp4"), ffmpeg_next::Error::InvalidData);
        assert_eq!(
            error.to_string(),
            "cannot decode /v/a.mp4: invalid data found when processing input"
        );
        assert_eq!(lowercase("EOF reached"), "EOF reached");
    }

    #[test]
    fn a_full_disk_and_a_deadline_may_pass_and_a_bad_file_stays_bad() {
        let full = MediaError::encode(
            Path::new("out.mp4"),
            "writing a packet",
            ffmpeg_next::Error::Other {
                errno: libc::ENOSPC,
            },
        );
        assert!(matches!(full, MediaError::Io { .. }));
        assert!(!full.is_permanent());
        assert!(
            !MediaError::Interrupted {
                during: String::new()
            }
            .is_permanent()
        );
        assert!(MediaError::open(Path::new("a"), "x").is_permanent());
        assert!(
            MediaError::io("read", Path::new("a"), io::ErrorKind::NotFound.into()).is_permanent()
        );
    }
}
