//! The cache of labelled clips: written by `generate`, read by `train` and `validate`.
//!
//! `CACHE/TASKS/{train,val}/NNNNN.safetensors`, each a shard of some 64 samples:
//!
//! | tensor | type, shape | what |
//! |---|---|---|
//! | `frames` | u8 `[n, t, h, w, 3]` | RGB, as the decoder and sampler of the pipeline give them |
//! | `labels` | u8 `[n, k]` | for each task 1 = defect, 0 = clean, 255 = not judged |
//! | `signals` | f32 `[n, s]` | the numbers of `measure`; NaN where there is none |
//!
//! and in the metadata, as JSON under the key `clips`: the names of tasks and signals, and for each sample what was done to it, from
//! which source, with which seed. Sample `i` depends on the seed, the split and `i` alone, so shards that are there already are
//! skipped when a run goes on, and two runs with as many threads as one likes agree.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array4, Array5, Axis};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The label of a sample that says nothing of a task.
pub const NOT_JUDGED: u8 = 255;

/// Key of the JSON in a shard's metadata.
const METADATA_KEY: &str = "clips";

/// Which part of the sources a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Sources that training sees.
    Train,
    /// Sources kept apart for validation.
    Val,
}

impl Split {
    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
        }
    }
}

/// Where a sample comes from and what was done to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// For each task the kind of defect or of clean clip, e.g. `pan`, `cross_fade`, `tripod`.
    pub kinds: BTreeMap<String, String>,
    /// The photographs, clips or drawn scenes in it.
    pub source: String,
    /// The number of the sample in its split.
    pub index: u64,
}

/// One labelled clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// u8 `[t, h, w, 3]`.
    pub frames: Array4<u8>,
    /// One a task: 1, 0 or [`NOT_JUDGED`].
    pub labels: Vec<u8>,
    /// One a signal; NaN where it cannot be computed.
    pub signals: Vec<f32>,
    /// What it is.
    pub note: Note,
}

/// What all shards of a folder share, and the notes of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Metadata {
    tasks: Vec<String>,
    signals: Vec<String>,
    seed: u64,
    notes: Vec<Note>,
}

/// The samples of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// u8 `[n, t, h, w, 3]`.
    pub frames: Array5<u8>,
    /// u8 `[n, k]`: 1, 0 or [`NOT_JUDGED`].
    pub labels: Array2<u8>,
    /// f32 `[n, s]`; NaN where a signal cannot be computed.
    pub signals: Array2<f32>,
    /// One a sample.
    pub notes: Vec<Note>,
}

/// Names that hold for a whole folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Of the columns of `labels`.
    pub tasks: Vec<String>,
    /// Of the columns of `signals`.
    pub signals: Vec<String>,
    /// What the samples were drawn from.
    pub seed: u64,
}

/// A folder of shards, opened: nothing but file names is held.
#[derive(Debug, Clone)]
pub struct Dataset {
    shards: Vec<PathBuf>,
    /// What the columns are called.
    pub names: Names,
}

impl Dataset {
    /// The shards of `CACHE/TASKS/SPLIT`, in the order of their numbers.
    ///
    /// # Errors
    /// If the folder has none, or the first is no shard.
    pub fn open(cache: &Path, tasks: &str, split: Split) -> Result<Self, Error> {
        let folder = cache.join(tasks).join(split.name());
        let mut shards: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(Error::io("reading", &folder))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "safetensors")
            })
            .collect();
        shards.sort();
        let Some(first) = shards.first() else {
            return Err(Error::file(
                &folder,
                "holds no shards; make some with `generate`",
            ));
        };
        let bytes = fs::read(first).map_err(Error::io("reading", first))?;
        let metadata = metadata(first, &bytes)?;
        Ok(Self {
            names: Names {
                tasks: metadata.tasks,
                signals: metadata.signals,
                seed: metadata.seed,
            },
            shards,
        })
    }

    /// How many shards there are.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// The column of a task in `labels`.
    ///
    /// # Errors
    /// If it is none of this folder's.
    pub fn task(&self, name: &str) -> Result<usize, Error> {
        let names = &self.names.tasks;
        names.iter().position(|task| task == name).ok_or_else(|| {
            Error::Usage(format!(
                "the cache has no task `{name}`; it has {}",
                names.join(", ")
            ))
        })
    }

    /// Reads shard `index`.
    ///
    /// # Errors
    /// If the file is damaged, or its columns are not those of the first.
    ///
    /// # Panics
    /// If there is no such shard: a bug.
    pub fn shard(&self, index: usize) -> Result<Shard, Error> {
        let path = &self.shards[index];
        let (names, shard) = read_shard(path)?;
        if names != self.names {
            return Err(Error::file(
                path,
                "has other columns or another seed than the first shard of its folder",
            ));
        }
        Ok(shard)
    }
}

/// The path of a shard.
pub fn shard_path(cache: &Path, tasks: &str, split: Split, number: usize) -> PathBuf {
    cache
        .join(tasks)
        .join(split.name())
        .join(format!("{number:05}.safetensors"))
}

/// Writes samples as one shard; the file appears whole or not at all.
///
/// # Errors
/// If the samples differ in shape, or the disk refuses.
pub fn write_shard(path: &Path, names: &Names, samples: &[Sample]) -> Result<(), Error> {
    let Some(first) = samples.first() else {
        return Err(Error::file(path, "a shard of no samples"));
    };
    let fits = |sample: &Sample| {
        sample.frames.dim() == first.frames.dim()
            && sample.labels.len() == names.tasks.len()
            && sample.signals.len() == names.signals.len()
    };
    if !samples.iter().all(fits) {
        return Err(Error::file(path, "samples of different shapes"));
    }
    let (t, h, w, c) = first.frames.dim();
    let frames: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.frames.iter().copied())
        .collect();
    let labels: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.labels.iter().copied())
        .collect();
    let signals: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.signals.iter().flat_map(|value| value.to_le_bytes()))
        .collect();
    let n = samples.len();
    let view = |dtype, shape: Vec<usize>, bytes| {
        TensorView::new(dtype, shape, bytes).map_err(|error| Error::file(path, error))
    };
    let tensors = [
        ("frames", view(Dtype::U8, vec![n, t, h, w, c], &frames)?),
        (
            "labels",
            view(Dtype::U8, vec![n, names.tasks.len()], &labels)?,
        ),
        (
            "signals",
            view(Dtype::F32, vec![n, names.signals.len()], &signals)?,
        ),
    ];
    let metadata = Metadata {
        tasks: names.tasks.clone(),
        signals: names.signals.clone(),
        seed: names.seed,
        notes: samples.iter().map(|sample| sample.note.clone()).collect(),
    };
    let metadata = serde_json::to_string(&metadata).map_err(|error| Error::file(path, error))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| Error::file(path, error))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("making", folder))?;
    }
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, bytes).map_err(Error::io("writing", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Error::io("writing", path))
}

/// Reads one shard and the names of its columns.
///
/// # Errors
/// If the file is no shard.
pub fn read_shard(path: &Path) -> Result<(Names, Shard), Error> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let Metadata {
        tasks,
        signals,
        seed,
        notes,
    } = metadata(path, &bytes)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| Error::file(path, error))?;
    let tensor = |name: &str, dtype: Dtype, rank: usize| {
        let tensor = tensors
            .tensor(name)
            .map_err(|error| Error::file(path, error))?;
        if tensor.dtype() != dtype || tensor.shape().len() != rank {
            return Err(Error::file(
                path,
                format!("`{name}` is {:?} {:?}", tensor.dtype(), tensor.shape()),
            ));
        }
        Ok(tensor)
    };
    let (frames, labels, numbers) = (
        tensor("frames", Dtype::U8, 5)?,
        tensor("labels", Dtype::U8, 2)?,
        tensor("signals", Dtype::F32, 2)?,
    );
    let n = notes.len();
    if frames.shape()[0] != n
        || labels.shape() != [n, tasks.len()]
        || numbers.shape() != [n, signals.len()]
    {
        return Err(Error::file(
            path,
            "tensors and metadata are about different samples",
        ));
    }
    let floats = numbers
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let shape = [0, 1, 2, 3, 4].map(|axis| frames.shape()[axis]);
    let wrong = |error| Error::file(path, error);
    let shard = Shard {
        frames: Array5::from_shape_vec(shape, frames.data().to_vec()).map_err(wrong)?,
        labels: Array2::from_shape_vec((n, tasks.len()), labels.data().to_vec()).map_err(wrong)?,
        signals: Array2::from_shape_vec((n, signals.len()), floats.collect()).map_err(wrong)?,
        notes,
    };
    Ok((
        Names {
            tasks,
            signals,
            seed,
        },
        shard,
    ))
}

fn metadata(path: &Path, bytes: &[u8]) -> Result<Metadata, Error> {
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|error| Error::file(path, error))?;
    let json = header
        .metadata()
        .as_ref()
        .and_then(|map| map.get(METADATA_KEY));
    let json = json.ok_or_else(|| Error::file(path, "is no shard of labelled clips"))?;
    serde_json::from_str(json).map_err(|error| Error::file(path, error))
}

impl Shard {
    /// How many samples it holds.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// A copy of sample `index`.
    pub fn sample(&self, index: usize) -> Sample {
        Sample {
            frames: self.frames.index_axis(Axis(0), index).to_owned(),
            labels: self.labels.row(index).to_vec(),
            signals: self.signals.row(index).to_vec(),
            note: self.notes[index].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            tasks: vec!["vfx".to_owned(), "simcam".to_owned()],
            signals: vec!["motion".to_owned()],
            seed: 5,
        }
    }

    fn sample(index: u64) -> Sample {
        Sample {
            frames: Array4::from_shape_fn((2, 4, 6, 3), |(t, y, x, c)| {
                (index as usize + t + y + x + c) as u8
            }),
            labels: vec![(index % 2) as u8, NOT_JUDGED],
            signals: vec![index as f32 / 3.0],
            note: Note {
                kinds: BTreeMap::from([("vfx".to_owned(), "wipe".to_owned())]),
                source: "a.jpg".to_owned(),
                index,
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let samples: Vec<Sample> = (0..3).map(sample).collect();
        let path = shard_path(folder.path(), "shared", Split::Val, 0);
        write_shard(&path, &names(), &samples).expect("written");
        write_shard(
            &shard_path(folder.path(), "shared", Split::Val, 1),
            &names(),
            &samples[..1],
        )
        .expect("written");
        let dataset = Dataset::open(folder.path(), "shared", Split::Val).expect("opened");
        assert_eq!((dataset.len(), &dataset.names), (2, &names()));
        let shard = dataset.shard(0).expect("read");
        assert_eq!(
            (0..shard.len())
                .map(|i| shard.sample(i))
                .collect::<Vec<_>>(),
            samples
        );
        assert_eq!(dataset.task("simcam").expect("there"), 1);
        assert!(dataset.task("wipe").is_err());
    }

    #[test]
    fn what_is_no_shard_is_said_to_be_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Dataset::open(folder.path(), "shared", Split::Train).is_err());
        let path = shard_path(folder.path(), "shared", Split::Train, 0);
        assert!(write_shard(&path, &names(), &[]).is_err());
        let mut other = sample(1);
        other.signals.clear();
        assert!(write_shard(&path, &names(), &[sample(0), other]).is_err());
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, b"not a shard").expect("written");
        let said = Dataset::open(folder.path(), "shared", Split::Train)
            .expect_err("damaged")
            .to_string();
        assert!(said.contains("00000.safetensors"), "{said}");
    }
}
