//! What the operators that run models share: checks of model folders, pools on a device, errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clipsieve_engine::operator::{
    BuildContext, Call, ErrorKind, Fallback, Finding, Model, Models, OperatorError, ParamSpec,
    ParamType, Setting, Stores,
};
use clipsieve_models::{
    Device, DeviceChoice, ModelConfig, ModelError, Network, Pool, PoolError, Precision,
};
use serde_json::json;

use crate::kinds::rounded;
use crate::model_cache::folder_of;

/// Parameter `precision` of an operator that runs a model.
pub const PRECISION_PARAM: ParamSpec = ParamSpec {
    name: "precision",
    ty: ParamType::Choice(&["f32", "bf16", "f16"]),
    fallback: Fallback::Is("f32"),
    unit: None,
    doc: "Arithmetic of the network; probabilities are f32 whatever it is.",
};

/// A model at an address, and what its `config.json` says, for plans and for the operators' demands. One that lies in a
/// store is brought into the cache.
///
/// # Errors
/// Why there is no model.
pub fn model(address: &str, stores: &Stores) -> Result<Model, String> {
    let (path, store) = folder_of(address, stores)?;
    let config = ModelConfig::read(&path).map_err(|error| error.to_string())?;
    let mut facts = json!({ "architecture": config.model_type(), "labels": config.labels });
    match &config.network {
        Network::VJepa2 {
            head, preprocess, ..
        } => {
            facts["head"] = json!(head.to_string());
            facts["frames"] = json!(preprocess.frames);
            facts["size"] = json!(preprocess.size);
            facts["resize_short"] = json!(preprocess.resize_short);
            let frames = preprocess.frames;
            facts["gflop_per_clip"] = json!(giga(config.flops(frames)));
            facts["backbone_gflop_per_clip"] = json!(giga(config.backbone_flops(frames)));
            facts["parameters_m"] = json!(mega(config.parameters()));
            facts["backbone_parameters_m"] = json!(mega(config.backbone_parameters()));
        }
        Network::Yolov8(sizes) => facts["size"] = json!(sizes.size_px),
    }
    let backbone = config.backbone.map(|file| ("backbone".to_owned(), file));
    Ok(Model {
        path,
        elsewhere: backbone.into_iter().collect(),
        facts,
        store,
    })
}

fn giga(count: u64) -> f64 {
    rounded(count as f64 / 1e9, 3)
}

fn mega(count: u64) -> f64 {
    rounded(count as f64 / 1e6, 3)
}

/// A finding if a model is not of the architecture that an operator runs.
pub fn check_architecture(
    setting: &Setting<'_>,
    param: &str,
    name: &str,
    architecture: &str,
) -> Option<Finding> {
    let facts = &setting.models.get(name)?.facts;
    let found = facts.get("architecture")?.as_str()?;
    (found != architecture).then(|| {
        Finding::param(
            param,
            format!("`{name}` is a {found} model, and this operator runs {architecture} models"),
        )
    })
}

/// What tells the backbones of a pipeline's models apart: the hash of the content where another model could have the same
/// one, and the place where none could. `None` if the weights cannot be read, of which whoever loads them will tell.
pub fn backbone_name(models: &Models, name: &str) -> Option<String> {
    let model = models.get(name)?;
    let cost = |model: &Model| model.facts.get("backbone_parameters_m").cloned();
    let may_have_it = |(other, there): (&String, &Model)| {
        other != name && there.path != model.path && cost(there) == cost(model)
    };
    if models.iter().any(may_have_it) {
        return hash_of(&model.path);
    }
    let place = model.path.canonicalize().ok()?;
    Some(place.display().to_string())
}

/// The hash of a model's backbone. Hashing reads all of it, so it is done once for each state of the folder.
fn hash_of(folder: &Path) -> Option<String> {
    type Stamp = (PathBuf, Vec<(u64, Option<SystemTime>)>);
    static KNOWN: Mutex<BTreeMap<Stamp, String>> = Mutex::new(BTreeMap::new());
    let config = ModelConfig::read(folder).ok()?;
    // A file that is overwritten where it lies leaves its folder as it was, so all files count.
    let mut files: Vec<PathBuf> = config
        .dir
        .read_dir()
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.extend(config.backbone.clone());
    files.sort();
    let stamps = files.iter().filter_map(|file| file.metadata().ok());
    let stamps = stamps
        .map(|data| (data.len(), data.modified().ok()))
        .collect();
    let stamp: Stamp = (folder.to_path_buf(), stamps);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().get(&stamp) {
        return Some(hash.clone());
    }
    let hash = config.backbone_sha256().ok()?;
    known().insert(stamp, hash.clone());
    Some(hash)
}

/// The folder of a model of the pipeline.
///
/// # Errors
/// `Config` if there is no such model.
pub fn folder<'a>(context: &BuildContext<'a>, name: &str) -> Result<&'a Path, OperatorError> {
    let model = context.setting.models.get(name);
    model
        .map(|model| model.path.as_path())
        .ok_or_else(|| OperatorError::config(format!("no model is called `{name}`")))
}

/// The device that a stage runs on, and the precision in which it does.
///
/// # Errors
/// `Config` if the device cannot be had.
pub fn device(context: &BuildContext<'_>) -> Result<(Device, Precision), OperatorError> {
    let device = context.placement.device.as_deref().unwrap_or("cpu");
    let choice: DeviceChoice = device.parse().map_err(config_error)?;
    let device = choice.resolve(0).map_err(config_error)?;
    let precision = context.setting.params.text("precision").parse();
    Ok((device, precision.map_err(config_error)?))
}

/// So many instances of a model, over one copy of its weights.
///
/// # Errors
/// `Config` if the device has no room for them.
pub fn instances<T>(
    first: T,
    count: usize,
    instance: impl Fn(&T) -> Result<T, ModelError>,
) -> Result<Pool<T>, OperatorError> {
    let more = (1..count).map(|_| instance(&first));
    let mut all = more.collect::<Result<Vec<_>, _>>().map_err(config_error)?;
    all.push(first);
    Pool::new(all).map_err(pool_error)
}

/// What is wrong with a model or a device, before there are items.
pub fn config_error(error: ModelError) -> OperatorError {
    OperatorError::config(error.to_string())
}

/// A model's failure at run time as an item's error.
pub fn model_error(error: ModelError) -> OperatorError {
    let kind = match &error {
        _ if error.is_temporary() => ErrorKind::Temporary,
        ModelError::Input(_) | ModelError::NotFinite(_) => ErrorKind::BadInput,
        _ => ErrorKind::Internal,
    };
    OperatorError::new(kind, error.to_string())
}

/// A pool that had no instance in time, as an item's error.
pub fn pool_error(error: PoolError) -> OperatorError {
    OperatorError::new(ErrorKind::Exhausted, error.to_string())
}

/// An error once the call's deadline has come.
///
/// # Errors
/// `Timeout`.
pub fn check_deadline(call: &Call) -> Result<(), OperatorError> {
    if call.deadline.expired() {
        return Err(OperatorError::new(
            ErrorKind::Timeout,
            "the model did not finish by the deadline",
        ));
    }
    Ok(())
}

/// How long an item may wait for an instance.
pub fn patience(call: &Call, acquire_timeout: Duration) -> Duration {
    call.deadline
        .remaining()
        .map_or(acquire_timeout, |left| left.min(acquire_timeout))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn weights_that_are_overwritten_where_they_lie_are_another_backbone() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vjepa2-tiny");
        let folder = tempfile::tempdir().unwrap();
        for entry in fixture.read_dir().unwrap().flatten() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let before = hash_of(folder.path()).unwrap();
        assert_eq!(hash_of(folder.path()), Some(before.clone()));
        let weights = folder.path().join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(&weights, bytes).unwrap();
        // Not even the clock of the file system need have moved on by itself.
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&weights)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_ne!(hash_of(folder.path()).unwrap(), before);
    }
}
