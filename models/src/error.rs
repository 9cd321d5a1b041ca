//! What can go wrong with a model, in one type.

use std::path::{Path, PathBuf};

/// A result whose error is a [`ModelError`].
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// What libtorch says where there is no memory: on a GPU, by its allocator on the CPU, by that of C++; then by cuBLAS and
/// cuDNN, which have memory of their own to find.
const OUT_OF_MEMORY: [&str; 5] = [
    "out of memory",
    "can't allocate memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
];

/// What cuDNN says ("FIND was unable …", "GET was unable …") when every engine failed: for want of a workspace, or because it
/// has none for this GPU at all.
const NO_ENGINE: &str = "unable to find an engine";

/// How many problems of a file are spelt out before "and N more".
const SHOWN_PROBLEMS: usize = 8;

/// A failure to read, build or run a model.
///
/// Messages are lowercase fragments that name the file and what is allowed; the caller adds which model or stage it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no model where one should be.
    #[error("no model at {}: {problem}", place.display())]
    NoModel {
        /// The path that was given.
        place: PathBuf,
        /// What is there instead, and where models are.
        problem: String,
    },
    /// A file of the model could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A configuration file is not what this crate understands.
    #[error("{}: {}", file.display(), listed(problems))]
    Config {
        /// The file at fault.
        file: PathBuf,
        /// One line a field: where, what was found, what is allowed.
        problems: Vec<String>,
    },
    /// The weights are damaged or do not fit the configuration.
    #[error("{}: {}", file.display(), listed(problems))]
    Weights {
        /// The file or directory at fault.
        file: PathBuf,
        /// One line a tensor: its name, what was found, what was expected.
        problems: Vec<String>,
    },
    /// The model in the directory does another kind of work.
    #[error("{}: is a {found} model, but a {wanted} model is needed here", dir.display())]
    WrongTask {
        /// The model's directory.
        dir: PathBuf,
        /// The `model_type` found.
        found: &'static str,
        /// The kind of model needed.
        wanted: &'static str,
    },
    /// A device was asked for that is not there.
    #[error("device {wanted:?}: {reason}")]
    Device {
        /// The choice as written.
        wanted: String,
        /// Why it cannot be had, and what can.
        reason: String,
    },
    /// Frames that the model cannot take.
    #[error("{0}")]
    Input(String),
    /// The network gave numbers that are no probabilities.
    #[error("{0}")]
    NotFinite(String),
    /// The device has no memory left for this batch; a smaller one may fit.
    #[error("out of device memory (use a smaller batch or fewer instances): {0}")]
    OutOfMemory(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl ModelError {
    /// Whether the same call may succeed later or with a smaller batch, without any change to the model or its input.
    pub fn is_temporary(&self) -> bool {
        matches!(self, ModelError::OutOfMemory(_))
    }

    /// What is to be made of an error that a batch of so many clips or frames met: one that a smaller batch may not meet is
    /// one of memory. Where a single one meets it, it stays.
    pub(crate) fn of_batch(self, length: usize) -> Self {
        match self {
            ModelError::Torch(words) if length > 1 && words.contains(NO_ENGINE) => {
                ModelError::OutOfMemory(words)
            }
            other => other,
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        ModelError::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn weights(file: &Path, problem: impl Into<String>) -> Self {
        ModelError::Weights {
            file: file.to_path_buf(),
            problems: vec![problem.into()],
        }
    }
}

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        // The lines after the first are a C++ backtrace.
        let first = text.lines().next().unwrap_or_default().to_owned();
        if OUT_OF_MEMORY.iter().any(|words| first.contains(words)) {
            ModelError::OutOfMemory(first)
        } else {
            ModelError::Torch(first)
        }
    }
}

/// Joins problems, the first few of them in full.
fn listed(problems: &[String]) -> String {
    let shown = problems.len().min(SHOWN_PROBLEMS);
    let mut text = problems[..shown].join("; ");
    if problems.len() > shown {
        text.push_str(&format!("; and {} more", problems.len() - shown));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_cut() {
        let error = ModelError::Config {
            file: "config.json".into(),
            problems: (0..11).map(|i| format!("p{i}")).collect(),
        };
        let text = error.to_string();
        assert!(text.starts_with("config.json: p0; p1; "), "{text}");
        assert!(text.ends_with("p7; and 3 more"), "{text}");
    }

    #[test]
    fn out_of_memory_is_temporary_and_loses_its_backtrace() {
        let error = tch::TchError::Torch("CUDA out of memory. Tried to allocate\nframe #0".into());
        let error = ModelError::from(error);
        assert!(error.is_temporary());
        assert!(!error.to_string().contains("frame #0"));
        for words in [
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        ] {
            assert!(ModelError::from(tch::TchError::Torch(words.into())).is_temporary());
        }
        assert!(!ModelError::from(tch::TchError::Shape("x".into())).is_temporary());
    }

    #[test]
    fn that_there_is_no_engine_is_for_want_of_memory_only_in_a_batch() {
        let met = |words: &str, length| {
            ModelError::from(tch::TchError::Torch(words.into()))
                .of_batch(length)
                .is_temporary()
        };
        for words in ["GET", "FIND"] {
            let words = format!("{words} was unable to find an engine to execute this computation");
            assert!(met(&words, 2) && !met(&words, 1));
        }
        assert!(!met("no kernel image is available", 2) && met("CUDA out of memory", 1));
    }

    #[test]
    fn memory_that_the_cpu_does_not_have_is_told_from_other_errors() {
        // Beyond what any machine can address: libtorch says so in its own words.
        let asked = tch::Tensor::f_empty([1 << 55], (tch::Kind::Float, tch::Device::Cpu));
        let error = ModelError::from(asked.expect_err("no machine has it"));
        assert!(matches!(error, ModelError::OutOfMemory(_)), "{error}");
    }
}
