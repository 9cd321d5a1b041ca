//! What a model directory holds, as its `config.json` says; libtorch is not touched.
//!
//! `model_type` is the discriminator. `vjepa2` takes Hugging Face's fields with Hugging Face's defaults, and three of our
//! own: `head` (`attentive`, the default, or `linear`) and `preprocess` (see [`Preprocess`]). `backbone` may name a file that
//! several models share, such as `../backbone/model.safetensors`: the encoder is read from it, and the model's own
//! weights hold the head alone. `yolov8` is our own: `scale`, `names`, `id2label` or `labels`, `nc` or `num_labels`, `size`,
//! `letterbox`, `mean_conf`, `conf`, `iou`, `max_det`, `max_nms`, `bn_eps`. Fields that are not known are ignored, as
//! everywhere in that ecosystem, except where they look like one of our own misspelt. Every number is held within limits, so
//! that a hostile file gives an error and never a panic or an absurd allocation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::error::{ModelError, Result};
use crate::fields::{Fields, Problems, read_object, shown};
use crate::missing::{is_absent, no_model};
use crate::preprocess::Preprocess;
use crate::vjepa2::VJepa2Config;
use crate::yolov8::Yolov8Config;

/// The file's name within the model's directory.
pub const CONFIG_FILE: &str = "config.json";
/// The most labels that a model may have.
const MAX_LABELS: usize = 65_536;
/// The architectures known, by their `model_type`.
const MODEL_TYPES: [&str; 2] = ["vjepa2", "yolov8"];
/// Our own fields of a classifier: what is nearly called so is one of them, misspelt.
const OWN_FIELDS: [&str; 3] = ["preprocess", "head", "backbone"];
/// Names of the heads, in the order of [`HeadKind`].
const HEADS: [&str; 2] = ["attentive", "linear"];

/// How a classifier's features become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// Hugging Face's attentive pooler, then a linear layer.
    Attentive,
    /// The mean over all tokens, then a linear layer.
    Linear,
}

impl std::fmt::Display for HeadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HEADS[*self as usize])
    }
}

/// A model's network and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// A V-JEPA 2 video classifier.
    VJepa2 {
        /// The encoder's and pooler's sizes.
        config: VJepa2Config,
        /// The head on top.
        head: HeadKind,
        /// How clips are prepared.
        preprocess: Preprocess,
    },
    /// A YOLOv8 detector.
    Yolov8(Yolov8Config),
}

/// A model directory's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The model's directory.
    pub dir: PathBuf,
    /// The labels, by class index; never empty, no two alike.
    pub labels: Vec<String>,
    /// The network.
    pub network: Network,
    /// The file that holds the encoder, if that is not the model's own: `backbone` of the configuration, joined to
    /// `dir`. It may lie beside the model's directory or below, no further away.
    pub backbone: Option<PathBuf>,
}

impl ModelConfig {
    /// Reads `config.json` (and a preprocessor file) in a model directory.
    ///
    /// # Errors
    /// [`ModelError::NoModel`] when there is no such file, [`ModelError::Io`] when it cannot be read;
    /// [`ModelError::Config`] with all its problems.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let file = dir.join(CONFIG_FILE);
        let map = read_object(&file).map_err(|error| match &error {
            ModelError::Io { source, .. } if is_absent(source) => no_model(dir),
            _ => error,
        })?;
        let problems = Problems::default();
        let fields = Fields::new("", &map, &problems);
        let network = match map.get("model_type").and_then(Value::as_str) {
            Some("vjepa2") => {
                let config = VJepa2Config::read(&fields);
                let head = [HeadKind::Attentive, HeadKind::Linear][fields.word("head", 0, &HEADS)];
                let preprocess =
                    Preprocess::read(dir, &fields, config.frames_per_clip, config.crop_px)?;
                config.check_tokens(&fields, preprocess.frames);
                fields.refuse_misspelt(&OWN_FIELDS);
                Network::VJepa2 {
                    config,
                    head,
                    preprocess,
                }
            }
            Some("yolov8") => Network::Yolov8(Yolov8Config::read(&fields)),
            _ => {
                let found = map.get("model_type").map_or("nothing".into(), shown);
                fields.note(
                    "model_type",
                    format!("found {found}, allowed: {}", MODEL_TYPES.join(", ")),
                );
                problems.finish(&file)?;
                unreachable!("a problem was just noted");
            }
        };
        let labels = read_labels(&fields, matches!(network, Network::VJepa2 { .. }));
        let backbone = read_backbone(&fields, &network).map(|path| dir.join(path));
        problems.finish(&file)?;
        Ok(ModelConfig {
            dir: dir.to_path_buf(),
            labels,
            network,
            backbone,
        })
    }

    /// The `model_type`: `vjepa2`, `yolov8`.
    pub fn model_type(&self) -> &'static str {
        match self.network {
            Network::VJepa2 { .. } => MODEL_TYPES[0],
            Network::Yolov8(_) => MODEL_TYPES[1],
        }
    }

    /// How clips are prepared, if the model is a classifier.
    pub fn preprocess(&self) -> Option<&Preprocess> {
        match &self.network {
            Network::VJepa2 { preprocess, .. } => Some(preprocess),
            Network::Yolov8(_) => None,
        }
    }

    /// The detector's configuration, if the model is one.
    pub fn detector(&self) -> Option<&Yolov8Config> {
        match &self.network {
            Network::Yolov8(config) => Some(config),
            Network::VJepa2 { .. } => None,
        }
    }

    /// Estimated floating-point operations (a multiply-add is two) for `frames` frames: one clip of that length for a
    /// classifier, that many images for a detector.
    pub fn flops(&self, frames: usize) -> u64 {
        match &self.network {
            Network::VJepa2 { config, head, .. } => match head {
                HeadKind::Attentive => config.encoder_flops(frames) + config.pooler_flops(frames),
                HeadKind::Linear => config.encoder_flops(frames),
            },
            Network::Yolov8(config) => config.flops_per_frame() * frames as u64,
        }
    }

    /// Of [`ModelConfig::flops`], those of the backbone that models may share; none for a detector.
    pub fn backbone_flops(&self, frames: usize) -> u64 {
        match &self.network {
            Network::VJepa2 { config, .. } => config.encoder_flops(frames),
            Network::Yolov8(_) => 0,
        }
    }

    /// Numbers in the weights that are used, from the sizes alone; none for a detector, whose file says.
    pub fn parameters(&self) -> u64 {
        match &self.network {
            Network::VJepa2 { config, head, .. } => {
                let last = (config.hidden as u64 + 1) * self.labels.len() as u64;
                match head {
                    HeadKind::Attentive => {
                        config.encoder_parameters() + config.pooler_parameters() + last
                    }
                    HeadKind::Linear => config.encoder_parameters() + last,
                }
            }
            Network::Yolov8(_) => 0,
        }
    }

    /// Of [`ModelConfig::parameters`], those of the backbone that models may share.
    pub fn backbone_parameters(&self) -> u64 {
        match &self.network {
            Network::VJepa2 { config, .. } => config.encoder_parameters(),
            Network::Yolov8(_) => 0,
        }
    }

    pub(crate) fn wrong_task(&self, wanted: &'static str) -> ModelError {
        ModelError::WrongTask {
            dir: self.dir.clone(),
            found: self.model_type(),
            wanted,
        }
    }
}

/// The path of a shared backbone, as written.
fn read_backbone<'a>(fields: &Fields<'a>, network: &Network) -> Option<&'a Path> {
    let value = fields.value("backbone")?;
    if !matches!(network, Network::VJepa2 { .. }) {
        fields.note("backbone", "allowed: in vjepa2 models alone");
        return None;
    }
    let path = value.as_str().map(Path::new).filter(|path| {
        let parts: Vec<_> = path.components().collect();
        let below = parts
            .strip_prefix(&[Component::ParentDir])
            .unwrap_or(&parts);
        path.extension().is_some_and(|end| end == "safetensors")
            && below
                .iter()
                .all(|part| matches!(part, Component::Normal(_)))
    });
    if path.is_none() {
        let problem = format!(
            "found {}, allowed: the path of a .safetensors file in the model's folder or beside that folder, such as \
             ../backbone/model.safetensors",
            shown(value)
        );
        fields.note("backbone", problem);
    }
    path
}

/// The labels by class index: from `id2label`, `names` or `labels`, an object from ids or a list. Where Hugging Face
/// writes none (`defaulted`), there are `num_labels` (2 unless told) called `LABEL_0`, `LABEL_1` and so on.
fn read_labels(fields: &Fields<'_>, defaulted: bool) -> Vec<String> {
    let told = ["num_labels", "nc"]
        .into_iter()
        .find(|name| fields.value(name).is_some());
    let count = told.map(|name| fields.int(name, 1, 1..=MAX_LABELS as i64) as usize);
    let source = ["id2label", "names", "labels"]
        .into_iter()
        .find_map(|name| Some((name, fields.value(name)?)));
    let Some((name, value)) = source else {
        if !defaulted {
            fields.note(
                "names",
                "found nothing, allowed: an object or list of labels",
            );
        }
        return (0..count.unwrap_or(2))
            .map(|id| format!("LABEL_{id}"))
            .collect();
    };
    let labels = match labels_of(value) {
        Ok(labels) => labels,
        Err(problem) => {
            fields.note(name, problem);
            return Vec::new();
        }
    };
    let mut seen = BTreeSet::new();
    if let Some(twice) = labels.iter().find(|label| !seen.insert(label.as_str())) {
        fields.note(name, format!("the label {twice:?} is there twice"));
    }
    if let (Some(told), Some(count)) = (told, count)
        && count != labels.len()
    {
        fields.note(
            told,
            format!("found {count}, but {name} has {} labels", labels.len()),
        );
    }
    labels
}

fn labels_of(value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(label) if !label.is_empty() => Ok(label.clone()),
        other => Err(format!(
            "found the label {}, allowed: text that is not empty",
            shown(other)
        )),
    };
    let count = value
        .as_object()
        .map(|m| m.len())
        .or(value.as_array().map(Vec::len));
    match count {
        None => {
            return Err(format!(
                "found {}, allowed: an object or list of labels",
                shown(value)
            ));
        }
        Some(0) => return Err("found no labels, allowed: at least one".into()),
        Some(n) if n > MAX_LABELS => {
            return Err(format!("found {n} labels, allowed: up to {MAX_LABELS}"));
        }
        Some(_) => {}
    }
    if let Some(list) = value.as_array() {
        return list.iter().map(text).collect();
    }
    let mut by_id = BTreeMap::new();
    for (key, label) in value.as_object().into_iter().flatten() {
        let id: usize = key
            .parse()
            .map_err(|_| format!("found the id {key:?}, allowed: 0, 1, 2, …"))?;
        by_id.insert(id, text(label)?);
    }
    // As many different ids as labels, the largest one less: then they are 0, 1, 2 and so on.
    let last = by_id.keys().next_back().copied();
    let whole = count == Some(by_id.len()) && last == by_id.len().checked_sub(1);
    if !whole {
        return Err("the ids have gaps or repeat, allowed: 0, 1, 2, … without gaps".into());
    }
    Ok(by_id.into_values().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> Result<ModelConfig> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), config.to_string()).unwrap();
        ModelConfig::read(dir.path())
    }

    #[test]
    fn an_empty_vjepa2_config_is_hugging_face_s_default() {
        let config = read(json!({"model_type": "vjepa2"})).unwrap();
        assert_eq!(config.labels, ["LABEL_0", "LABEL_1"]);
        let Network::VJepa2 {
            config: sizes,
            head,
            preprocess,
        } = config.network
        else {
            panic!("not a classifier");
        };
        assert_eq!(sizes, VJepa2Config::large());
        assert_eq!(head, HeadKind::Attentive);
        assert_eq!(
            (preprocess.frames, preprocess.size, preprocess.resize_short),
            (64, 256, 292)
        );
    }

    #[test]
    fn labels_follow_their_ids() {
        let ids: serde_json::Map<String, Value> = (0..12)
            .rev()
            .map(|i| (i.to_string(), json!(format!("l{i}"))))
            .collect();
        let config =
            read(json!({"model_type": "vjepa2", "head": "linear", "id2label": ids})).unwrap();
        assert_eq!(config.labels[10], "l10");
        assert_eq!(config.labels.len(), 12);
        let config =
            read(json!({"model_type": "yolov8", "scale": "s", "names": ["a", "b"]})).unwrap();
        assert_eq!(config.labels, ["a", "b"]);
        assert_eq!(config.detector().unwrap().size_px, 640);
    }

    #[test]
    fn flops_add_up() {
        let base = json!({"model_type": "vjepa2", "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12});
        let mut linear = base.clone();
        linear["head"] = json!("linear");
        let giga = |config: ModelConfig, frames| config.flops(frames) as f64 / 1e9;
        // Measured with torch's FlopCounterMode.
        assert!((giga(read(linear).unwrap(), 48) - 2450.0).abs() < 1.0);
        assert!((giga(read(base).unwrap(), 48) - (2450.0 + 623.0)).abs() < 2.0);
        assert!(
            (giga(
                read(json!({"model_type": "vjepa2", "head": "linear"})).unwrap(),
                64
            ) - 11571.0)
                .abs()
                < 1.0
        );
    }

    #[test]
    fn hostile_configs_are_errors_that_name_the_field() {
        let vjepa = |extra: Value| {
            let mut config = json!({"model_type": "vjepa2"});
            config
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            config
        };
        let cases = [
            (
                json!({}),
                "model_type: found nothing, allowed: vjepa2, yolov8",
            ),
            (
                json!({"model_type": "vjepa3"}),
                "model_type: found \"vjepa3\"",
            ),
            (json!([1]), "found [1], allowed: a JSON object"),
            (
                vjepa(json!({"hidden_size": 1000})),
                "hidden_size: found 1000, allowed: a multiple of num_attention_heads",
            ),
            (
                vjepa(json!({"hidden_size": 1u64 << 62})),
                "hidden_size: found",
            ),
            (
                vjepa(json!({"hidden_size": -8})),
                "hidden_size: found -8, allowed: an integer from",
            ),
            (
                vjepa(json!({"num_hidden_layers": 1e9})),
                "num_hidden_layers: found",
            ),
            (
                vjepa(json!({"num_attention_heads": 0})),
                "num_attention_heads: found 0",
            ),
            (
                vjepa(json!({"num_attention_heads": 512})),
                "num_attention_heads: found 512",
            ),
            (
                vjepa(json!({"crop_size": 250})),
                "crop_size: found 250, allowed: a multiple of patch_size",
            ),
            (vjepa(json!({"patch_size": 0})), "patch_size: found 0"),
            (
                vjepa(json!({"patch_size": 1, "crop_size": 4096})),
                "more tokens than",
            ),
            (
                vjepa(json!({"patch_size": 8, "preprocess": {"frames": 1024}})),
                "patch_size: a clip of 1024 frames would be cut into 524288 tokens, more tokens than",
            ),
            (
                vjepa(json!({"frames_per_clip": 1025})),
                "frames_per_clip: found 1025, allowed: an integer from 1 to 1024",
            ),
            (
                vjepa(json!({"preproces": {"frames": 8}})),
                "preproces: there is no such field; the nearest name is preprocess",
            ),
            (
                vjepa(json!({"haed": "linear"})),
                "haed: there is no such field; the nearest name is head",
            ),
            (
                vjepa(json!({"back_bones": "b.safetensors"})),
                "back_bones: there is no such field; the nearest name is backbone",
            ),
            (
                vjepa(json!({"preprocess": {"frmes": 8}})),
                "preprocess.frmes: there is no such field; the nearest name is frames",
            ),
            (vjepa(json!({"tubelet_size": 0})), "tubelet_size: found 0"),
            (vjepa(json!({"mlp_ratio": -1})), "mlp_ratio: found -1"),
            (vjepa(json!({"mlp_ratio": 1e308})), "mlp_ratio: found"),
            (vjepa(json!({"mlp_ratio": 1e-6})), "mlp_ratio: found"),
            (
                vjepa(json!({"layer_norm_eps": 0})),
                "layer_norm_eps: found 0",
            ),
            (
                vjepa(json!({"hidden_act": "relu"})),
                "hidden_act: found \"relu\", allowed: gelu",
            ),
            (vjepa(json!({"in_chans": 4})), "in_chans: found 4"),
            (
                vjepa(json!({"head": "mlp"})),
                "head: found \"mlp\", allowed: attentive, linear",
            ),
            (vjepa(json!({"id2label": {}})), "id2label: found no labels"),
            (
                vjepa(json!({"id2label": {"0": "a", "2": "b"}})),
                "id2label: the ids have gaps",
            ),
            (
                vjepa(json!({"id2label": {"0": "a", "00": "b"}})),
                "id2label: the ids have gaps or repeat",
            ),
            (
                vjepa(json!({"id2label": {"18446744073709551615": "a"}})),
                "id2label: ",
            ),
            (
                vjepa(json!({"id2label": {"x": "a"}})),
                "id2label: found the id \"x\"",
            ),
            (
                vjepa(json!({"id2label": {"0": ""}})),
                "id2label: found the label \"\"",
            ),
            (
                vjepa(json!({"labels": ["a", "a"]})),
                "labels: the label \"a\" is there twice",
            ),
            (
                vjepa(json!({"labels": ["a", "b"], "num_labels": 3})),
                "num_labels: found 3, but labels has 2",
            ),
            (
                vjepa(json!({"backbone": "../../elsewhere/model.safetensors"})),
                "backbone: found \"../../elsewhere/model.safetensors\", allowed: the path of a .safetensors file",
            ),
            (
                vjepa(json!({"backbone": "/etc/model.safetensors"})),
                "backbone: found \"/etc",
            ),
            (
                vjepa(json!({"backbone": "b/../model.safetensors"})),
                "backbone: found \"b/..",
            ),
            (vjepa(json!({"backbone": "../shadow"})), "backbone: found"),
            (vjepa(json!({"backbone": 3})), "backbone: found 3"),
            (
                json!({"model_type": "yolov8", "scale": "n", "names": ["a"], "backbone": "b.safetensors"}),
                "backbone: allowed: in vjepa2 models alone",
            ),
            (
                json!({"model_type": "yolov8"}),
                "scale: found nothing, allowed: t, n, s, m, l, x",
            ),
            (
                json!({"model_type": "yolov8", "scale": "n"}),
                "names: found nothing",
            ),
            (
                json!({"model_type": "yolov8", "scale": "n", "names": ["a"], "size": 100}),
                "size: found 100, allowed: a multiple of 32",
            ),
            (
                json!({"model_type": "yolov8", "scale": "n", "names": ["a"], "conf": 2}),
                "conf: found 2",
            ),
            (
                json!({"model_type": "yolov8", "scale": "n", "names": ["a"], "max_det": 0}),
                "max_det: found 0",
            ),
        ];
        for (config, expected) in cases {
            let message = read(config.clone()).unwrap_err().to_string();
            assert!(
                message.contains(CONFIG_FILE) && message.contains(expected),
                "{config}: {message}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let message = ModelConfig::read(dir.path()).unwrap_err().to_string();
        assert!(
            message.starts_with("no model at ") && message.contains(CONFIG_FILE),
            "{message}"
        );
        let message = ModelConfig::read(dir.path().join(CONFIG_FILE).join("x"));
        assert!(matches!(message, Err(ModelError::NoModel { .. })));
        std::fs::write(dir.path().join(CONFIG_FILE), "{").unwrap();
        let message = ModelConfig::read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("not valid JSON"), "{message}");
    }
}
