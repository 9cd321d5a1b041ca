//! Weights as they lie on disk: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
//!
//! Only headers are read when weights are opened; a tensor's bytes are read when it is asked for, by position. So the
//! parts of a checkpoint that a network does not use (V-JEPA 2's predictor) are never read, no file is held in memory
//! whole, and a file that is cut short under us is an error and not a signal, as it would be with a memory map.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::config::{CONFIG_FILE, ModelConfig};
use crate::error::{ModelError, Result};
use crate::fields::{read_object, shown};
use crate::missing::{is_absent, no_model};

/// The single-file form.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The index of the sharded form.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes read at a time while hashing.
const HASH_BLOCK_BYTES: usize = 1 << 20;

/// The weight files of one model, opened, with their tensors' names, shapes and types known.
#[derive(Debug)]
pub struct Weights {
    dir: PathBuf,
    shards: Vec<Shard>,
    /// The shard that several models share.
    backbone: Option<usize>,
    tensors: BTreeMap<String, Place>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    bytes: u64,
    data_start: u64,
}

#[derive(Debug)]
struct Place {
    shard: usize,
    info: TensorInfo,
}

impl Weights {
    /// Opens the weights in a model directory and checks their headers. libtorch is not touched.
    ///
    /// # Errors
    /// [`ModelError::NoModel`] when there is no such directory, [`ModelError::Weights`] when there are none in it or a file
    /// is damaged or cut short, [`ModelError::Io`] when one cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut weights = Weights {
            dir: dir.to_path_buf(),
            shards: Vec::new(),
            backbone: None,
            tensors: BTreeMap::new(),
        };
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        if single.exists() || !index.exists() {
            weights
                .add_shard(&single, |_| true)
                .map_err(|e| with_format_help(dir, e))?;
        } else {
            for (file, names) in read_index(&index)? {
                weights.add_shard(&dir.join(&file), |name| names.iter().any(|n| n == name))?;
                let missing: Vec<String> = names
                    .iter()
                    .filter(|name| !weights.tensors.contains_key(*name))
                    .map(|name| format!("{name} is said to be in {file}, but is not"))
                    .collect();
                if !missing.is_empty() {
                    return Err(ModelError::Weights {
                        file: index,
                        problems: missing,
                    });
                }
            }
        }
        Ok(weights)
    }

    /// Opens the weights of a model: those in its directory and, where it names one, the backbone's file. As
    /// [`Weights::open`] otherwise.
    ///
    /// # Errors
    /// As [`Weights::open`]; [`ModelError::Weights`] also when there is no such file, or a tensor is in both.
    pub fn of_model(config: &ModelConfig) -> Result<Self> {
        let mut weights = Self::open(&config.dir)?;
        let Some(file) = &config.backbone else {
            return Ok(weights);
        };
        let own: Vec<String> = weights.names().map(str::to_owned).collect();
        let backbone = weights.shards.len();
        weights
            .add_shard(file, |_| true)
            .map_err(|error| match &error {
                ModelError::Io { source, .. } if is_absent(source) => {
                    let problem = format!(
                        "its {CONFIG_FILE} names the backbone {}, which is not there",
                        file.display()
                    );
                    ModelError::weights(&config.dir, problem)
                }
                _ => error,
            })?;
        weights.backbone = Some(backbone);
        let twice: Vec<String> = own
            .into_iter()
            .filter(|name| weights.tensors[name].shard == backbone)
            .map(|name| {
                format!(
                    "{name}: is here and in {SINGLE} of {} too",
                    config.dir.display()
                )
            })
            .collect();
        if !twice.is_empty() {
            return Err(ModelError::Weights {
                file: file.clone(),
                problems: twice,
            });
        }
        Ok(weights)
    }

    fn add_shard(&mut self, path: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let (shard, metadata) = Shard::open(path)?;
        let place = self.shards.len();
        self.shards.push(shard);
        for (name, info) in metadata.tensors() {
            if wanted(&name) {
                let info = info.clone();
                self.tensors.insert(name, Place { shard: place, info });
            }
        }
        Ok(())
    }

    /// The directory that the weights came from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether this tensor lies in the backbone's file that several models share.
    pub fn is_of_backbone(&self, name: &str) -> bool {
        let place = self.tensors.get(name);
        place.is_some_and(|place| Some(place.shard) == self.backbone)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The size of the weight files in bytes.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// Reads one tensor, in the type it is stored in, on the CPU.
    ///
    /// # Errors
    /// [`ModelError::Weights`] naming the tensor: with the nearest existing name when it is missing, with both shapes
    /// when it has another shape, with its type when that is not f32, f16 or bf16.
    pub fn get(&self, name: &str, expected_shape: &[i64]) -> Result<Tensor> {
        let place = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::weights(&self.dir, self.missing(name, |_| false)))?;
        let shard = &self.shards[place.shard];
        let damaged =
            |problem: String| ModelError::weights(&shard.path, format!("{name}: {problem}"));
        let shape: Vec<i64> = place.info.shape.iter().map(|&n| n as i64).collect();
        if shape != expected_shape {
            return Err(damaged(format!(
                "found shape {shape:?}, expected {expected_shape:?} by the configuration"
            )));
        }
        let kind = match place.info.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                return Err(damaged(format!(
                    "found type {other:?}, allowed: F32, F16, BF16"
                )));
            }
        };
        let bytes = self.bytes_of(place)?;
        Ok(Tensor::f_from_data_size(&bytes, &shape, kind)?)
    }

    fn bytes_of(&self, place: &Place) -> Result<Vec<u8>> {
        let shard = &self.shards[place.shard];
        let (start, end) = place.info.data_offsets;
        let mut bytes = vec![0; end - start];
        shard
            .file
            .read_exact_at(&mut bytes, shard.data_start + start as u64)
            .map_err(|e| ModelError::io(&shard.path, e))?;
        Ok(bytes)
    }

    /// Adds every tensor whose name starts with `prefix` to a hash, in the order of their names: name without the
    /// prefix, type, shape, bytes.
    pub(crate) fn digest(&self, prefix: &str, hash: &mut Sha256) -> Result<()> {
        for (name, place) in &self.tensors {
            if let Some(name) = name.strip_prefix(prefix) {
                hash.update(format!(
                    "\n{name} {:?} {:?}\n",
                    place.info.dtype, place.info.shape
                ));
                hash.update(self.bytes_of(place)?);
            }
        }
        Ok(())
    }

    /// Says that there is no such tensor, and which name is nearest among those that are not `taken`: a misnamed tensor
    /// is one that nobody else asks for.
    pub(crate) fn missing(&self, name: &str, taken: impl Fn(&str) -> bool) -> String {
        let nearest = self
            .names()
            .min_by_key(|there| (taken(there), strsim::levenshtein(there, name)));
        let elsewhere = self.backbone.map_or(String::new(), |shard| {
            format!(", nor in {}", self.shards[shard].path.display())
        });
        match nearest {
            Some(nearest) => {
                format!("{name}: there is no such tensor{elsewhere}; the nearest name is {nearest}")
            }
            None => format!("{name}: there is no such tensor; the file holds none"),
        }
    }

    /// A SHA-256 of the weights, in hex: for a single file what `sha256sum` prints, for shards the hash of their
    /// `sha256sum` lines in name order. Reads every byte.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file cannot be read.
    pub fn sha256(&self) -> Result<String> {
        let mut lines = Vec::new();
        for shard in &self.shards {
            let name = shard
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            lines.push((name, shard.sha256()?));
        }
        if let [(_, hash)] = lines.as_slice() {
            return Ok(hash.clone());
        }
        lines.sort();
        let text: String = lines
            .iter()
            .map(|(name, hash)| format!("{hash}  {name}\n"))
            .collect();
        Ok(hex(&Sha256::digest(text)))
    }
}

impl Shard {
    fn open(path: &Path) -> Result<(Self, Metadata)> {
        let io = |e| ModelError::io(path, e);
        let damaged = |problem: String| ModelError::weights(path, problem);
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if bytes < length.len() as u64 {
            return Err(damaged(format!(
                "not a safetensors file: only {bytes} bytes long"
            )));
        }
        file.read_exact_at(&mut length, 0).map_err(io)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES || header_bytes > bytes - 8 {
            return Err(damaged(format!(
                "not a safetensors file, or cut short: its header claims {header_bytes} bytes, the file has {bytes}"
            )));
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_exact_at(&mut header, 8).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| damaged(format!("damaged safetensors header: {e}")))?;
        let data_start = 8 + header_bytes;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if expected != bytes {
            return Err(damaged(format!(
                "cut short or damaged: its header promises {expected} bytes, the file has {bytes} (copy it again)"
            )));
        }
        let shard = Shard {
            path: path.to_path_buf(),
            file,
            bytes,
            data_start,
        };
        Ok((shard, metadata))
    }

    fn sha256(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut block = vec![0; HASH_BLOCK_BYTES];
        let mut position = 0;
        loop {
            let read = self
                .file
                .read_at(&mut block, position)
                .map_err(|e| ModelError::io(&self.path, e))?;
            if read == 0 {
                return Ok(hex(&hash.finalize()));
            }
            hash.update(&block[..read]);
            position += read as u64;
        }
    }
}

/// The shards of an index file, each with the names of its tensors.
fn read_index(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let refused = |problem: String| ModelError::Config {
        file: index.to_path_buf(),
        problems: vec![problem],
    };
    let object = read_object(index)?;
    let map = object
        .get("weight_map")
        .and_then(|map| map.as_object())
        .filter(|map| !map.is_empty())
        .ok_or_else(|| {
            refused("weight_map: allowed: an object from tensor names to file names".into())
        })?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in map {
        // A plain file name: an index may not reach outside its directory.
        let plain = file.as_str().filter(|file| {
            let mut parts = Path::new(file).components();
            matches!(parts.next(), Some(Component::Normal(part)) if part == *file)
                && parts.next().is_none()
        });
        let file = plain.ok_or_else(|| {
            refused(format!(
                "weight_map.{tensor}: found {}, allowed: the name of a file in the same directory",
                shown(file)
            ))
        })?;
        shards
            .entry(file.to_owned())
            .or_default()
            .push(tensor.clone());
    }
    Ok(shards)
}

/// Says what to do when a directory holds no weights, or some of another format only.
fn with_format_help(dir: &Path, error: ModelError) -> ModelError {
    const OTHERS: [&str; 4] = ["pytorch_model.bin", "model.pt", "best.pt", "model.pth"];
    match &error {
        ModelError::Io { source, .. } if is_absent(source) => {}
        _ => return error,
    }
    if !dir.is_dir() {
        return no_model(dir);
    }
    let other = OTHERS.iter().find(|name| dir.join(name).exists());
    let problem = match other {
        Some(other) => {
            format!("there is no {SINGLE}, only {other} (save its state dict with safetensors)")
        }
        None => {
            format!("there is no {SINGLE}; a model is a folder with {CONFIG_FILE} and {SINGLE}")
        }
    };
    ModelError::weights(dir, problem)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::{TensorView, serialize};

    use super::*;

    fn file_bytes(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views: HashMap<String, TensorView<'_>> = tensors
            .iter()
            .map(|(name, dtype, shape, data)| {
                (
                    (*name).to_owned(),
                    TensorView::new(*dtype, shape.clone(), data).unwrap(),
                )
            })
            .collect();
        serialize(views, None).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn two_tensors() -> Vec<u8> {
        file_bytes(&[
            (
                "encoder.norm.weight",
                Dtype::F32,
                vec![2],
                floats(&[1.5, -2.0]),
            ),
            ("steps", Dtype::I64, vec![1], vec![0; 8]),
        ])
    }

    #[test]
    fn tensors_are_read_and_refused_by_name_shape_and_type() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SINGLE), two_tensors()).unwrap();
        let weights = Weights::open(dir.path()).unwrap();
        let tensor = weights.get("encoder.norm.weight", &[2]).unwrap();
        assert_eq!(Vec::<f32>::try_from(tensor).unwrap(), [1.5, -2.0]);

        let missing = weights
            .get("encoder.norm.wieght", &[2])
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("encoder.norm.wieght: there is no such tensor"),
            "{missing}"
        );
        assert!(
            missing.contains("nearest name is encoder.norm.weight"),
            "{missing}"
        );
        let shape = weights
            .get("encoder.norm.weight", &[3, 1])
            .unwrap_err()
            .to_string();
        assert!(
            shape.contains("found shape [2], expected [3, 1]"),
            "{shape}"
        );
        let kind = weights.get("steps", &[1]).unwrap_err().to_string();
        assert!(
            kind.contains("steps: found type I64, allowed: F32, F16, BF16"),
            "{kind}"
        );
    }

    #[test]
    fn damaged_files_are_errors() {
        let good = two_tensors();
        let mut absurd = good.clone();
        absurd[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut longer = good.clone();
        longer.push(0);
        let mut garbled = good.clone();
        garbled[8] = b'x';
        let cases = [
            (Vec::new(), "only 0 bytes"),
            (good[..20].to_vec(), "header claims"),
            (absurd, "header claims"),
            (good[..good.len() - 1].to_vec(), "header promises"),
            (longer, "header promises"),
            (garbled, "damaged safetensors header"),
        ];
        for (bytes, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(SINGLE), bytes).unwrap();
            let message = Weights::open(dir.path()).unwrap_err().to_string();
            assert!(
                message.contains(SINGLE) && message.contains(expected),
                "{message}"
            );
        }
    }

    #[test]
    fn shards_are_joined_by_their_index() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write(
            "a.safetensors",
            &file_bytes(&[("x", Dtype::F32, vec![1], floats(&[1.0]))]),
        );
        write(
            "b.safetensors",
            &file_bytes(&[("y", Dtype::F32, vec![1], floats(&[2.0]))]),
        );
        write(
            INDEX,
            br#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#,
        );
        let weights = Weights::open(dir.path()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(weights.get("y", &[1]).unwrap().double_value(&[0]), 2.0);

        write(INDEX, br#"{"weight_map": {"x": "b.safetensors"}}"#);
        let message = Weights::open(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("x is said to be in b.safetensors"),
            "{message}"
        );
        for outside in [
            "../a.safetensors",
            "/etc/passwd",
            "",
            ".",
            "c/a.safetensors",
        ] {
            write(
                INDEX,
                format!(r#"{{"weight_map": {{"x": "{outside}"}}}}"#).as_bytes(),
            );
            let message = Weights::open(dir.path()).unwrap_err().to_string();
            assert!(
                message.contains("a file in the same directory"),
                "{outside}: {message}"
            );
        }
    }

    #[test]
    fn other_formats_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = Weights::open(dir.path()).unwrap_err().to_string();
        let expected = format!("{}: there is no {SINGLE}; a model is", dir.path().display());
        assert!(message.starts_with(&expected), "{message}");
        let nowhere = Weights::open(dir.path().join("x"));
        assert!(matches!(nowhere, Err(ModelError::NoModel { .. })));
        std::fs::write(dir.path().join("pytorch_model.bin"), b"x").unwrap();
        let message = Weights::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("only pytorch_model.bin"), "{message}");
    }

    #[test]
    fn the_hash_is_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = two_tensors();
        std::fs::write(dir.path().join(SINGLE), &bytes).unwrap();
        let hash = Weights::open(dir.path()).unwrap().sha256().unwrap();
        assert_eq!(hash, hex(&Sha256::digest(&bytes)));
        // FIPS 180-2's example, so that the hex form is checked too.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&Sha256::digest(b"abc")), abc);
    }
}
