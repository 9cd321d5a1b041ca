//! From a training run to model folders.
//!
//! Weights are written as f16 under Hugging Face's names (`VJEPA2Model` for a backbone, `VJEPA2ForVideoClassification`
//! for what is on top), so the folders load here and, the linear heads aside, there.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::checkpoint;
use super::classifiers::{ClassifierTrainer, Task, WHOLE_MODEL};
use crate::config::CONFIG_FILE;
use crate::error::{ModelError, Result};

/// The file of weights in a model's folder.
const WEIGHTS_FILE: &str = "model.safetensors";
/// The folder of a shared backbone.
const BACKBONE_FOLDER: &str = "backbone";

/// Writes the averaged weights below `folder`: one folder for each published task, and, if there are several, the
/// backbone in a folder of its own which they name. Gives the folders of the models.
///
/// # Errors
/// [`ModelError::Write`] when the disk refuses.
pub fn classifiers(trainer: &ClassifierTrainer, folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let published: Vec<&Task> = trainer.tasks().iter().filter(|t| t.published).collect();
    let shared = published.len() > 1;
    let average = trainer.average();
    let encoder = |prefix: &str| -> BTreeMap<String, &Tensor> {
        average
            .iter()
            .filter(|(name, _)| name.starts_with("encoder."))
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
            .collect()
    };
    if shared {
        let place = folder.join(BACKBONE_FOLDER);
        write_weights(&place, encoder(""))?;
    }
    let mut folders = Vec::new();
    for task in published {
        let own = format!("heads.{}.", task.name);
        let mut tensors: BTreeMap<String, &Tensor> = average
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(&own)?.to_owned(), tensor)))
            .collect();
        let mut config = config(trainer, task);
        if shared {
            let file = format!("../{BACKBONE_FOLDER}/{WEIGHTS_FILE}");
            config.insert("backbone".into(), json!(file));
        } else {
            tensors.extend(encoder(WHOLE_MODEL));
        }
        let place = folder.join(&task.name);
        write_weights(&place, tensors)?;
        let text = format!("{:#}\n", Value::Object(config));
        write(&place.join(CONFIG_FILE), text.as_bytes())?;
        folders.push(place);
    }
    Ok(folders)
}

fn write_weights(folder: &Path, tensors: BTreeMap<String, &Tensor>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| ModelError::Write {
        path: folder.to_path_buf(),
        source,
    })?;
    checkpoint::write(&folder.join(WEIGHTS_FILE), tensors, Kind::Half, None)
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).map_err(|source| ModelError::Write {
        path: file.to_path_buf(),
        source,
    })
}

/// A model's `config.json`: Hugging Face's fields, then ours.
fn config(trainer: &ClassifierTrainer, task: &Task) -> Map<String, Value> {
    let (sizes, preprocess) = (trainer.sizes(), trainer.preprocess());
    let labels: Map<String, Value> = (0..)
        .zip(&task.labels)
        .map(|(id, label): (usize, _)| (id.to_string(), json!(label)))
        .collect();
    let colours = |values: &[f32; 3]| {
        // As they are usually written, not as f64 shows an f32.
        let short = values.map(|value| (f64::from(value) * 1e6).round() / 1e6);
        json!(short)
    };
    let mut config = Map::new();
    let mut put = |name: &str, value: Value| config.insert(name.to_owned(), value);
    put("model_type", json!("vjepa2"));
    put("id2label", Value::Object(labels));
    put("crop_size", json!(sizes.crop_px));
    put("patch_size", json!(sizes.patch_px));
    put("tubelet_size", json!(sizes.tubelet_frames));
    put("frames_per_clip", json!(sizes.frames_per_clip));
    put("hidden_size", json!(sizes.hidden));
    put("num_attention_heads", json!(sizes.heads));
    put("num_hidden_layers", json!(sizes.layers));
    put(
        "mlp_ratio",
        json!(sizes.mlp_hidden as f64 / sizes.hidden as f64),
    );
    put("layer_norm_eps", json!(sizes.layer_norm_eps));
    put("qkv_bias", json!(sizes.qkv_bias));
    put("hidden_act", json!("gelu"));
    put("num_pooler_layers", json!(task.pooler_layers));
    put("head", json!(task.head.to_string()));
    put(
        "preprocess",
        json!({
            "frames": preprocess.frames,
            "size": preprocess.size,
            "resize_short": preprocess.resize_short,
            "mean": colours(&preprocess.mean),
            "std": colours(&preprocess.std),
        }),
    );
    config
}
