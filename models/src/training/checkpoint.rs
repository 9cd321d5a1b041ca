//! Named tensors and a JSON value in a safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::error::{ModelError, Result};

/// Key of the JSON in the file's metadata.
const ABOUT: &str = "about";

/// Writes tensors in one type (f32 or f16); the file appears whole or not at all.
pub(super) fn write<'t>(
    file: &Path,
    tensors: impl IntoIterator<Item = (String, &'t Tensor)>,
    kind: Kind,
    about: Option<&Value>,
) -> Result<()> {
    let dtype = if kind == Kind::Half {
        Dtype::F16
    } else {
        Dtype::F32
    };
    let held = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let tensor = tensor
                .f_detach()?
                .f_to(tch::Device::Cpu)?
                .f_to_kind(kind)?
                .f_contiguous()?;
            let mut bytes = vec![0u8; tensor.numel() * kind.elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
            let shape = tensor.size().iter().map(|&n| n as usize).collect();
            Ok((name, shape, bytes))
        })
        .collect::<Result<Vec<(String, Vec<usize>, Vec<u8>)>>>()?;
    let damaged = |error| ModelError::weights(file, format!("{error}"));
    let views = held
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(dtype, shape.clone(), bytes).map_err(damaged)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let about = about.map(|about| HashMap::from([(ABOUT.to_owned(), about.to_string())]));
    let bytes = safetensors::serialize(views, about).map_err(damaged)?;
    let part = file.with_extension("part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|error| ModelError::Write {
            path: file.to_path_buf(),
            source: error,
        })
}

/// Reads a file of f32 tensors that [`write`] made.
pub(super) fn read(file: &Path) -> Result<(BTreeMap<String, Tensor>, Value)> {
    let bytes = std::fs::read(file).map_err(|e| ModelError::io(file, e))?;
    let damaged = |error: String| ModelError::weights(file, error);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let about = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(ABOUT))
        .and_then(|about| serde_json::from_str(about).ok())
        .ok_or_else(|| damaged("is no checkpoint of a training run".into()))?;
    let held = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in held.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!(
                "{name}: found type {:?}, allowed: F32",
                view.dtype()
            )));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, about))
}
