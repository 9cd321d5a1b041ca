//! What the operators that run models share: checks of model folders, pools on a device, errors.

use std::path::PathBuf;
use std::time::Duration;

use clipsieve_engine::operator::{
    BuildContext, Call, ErrorKind, Fallback, Finding, Model, OperatorError, ParamSpec, ParamType,
    Setting, Stores,
};
use clipsieve_models::{
    Device, DeviceChoice, ModelConfig, ModelError, Network, Pool, PoolError, Precision, set_threads,
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
            facts["gflop_per_clip"] =
                json!(rounded(config.flops(preprocess.frames) as f64 / 1e9, 2));
        }
        Network::Yolov8(sizes) => facts["size"] = json!(sizes.size_px),
    }
    Ok(Model { path, facts, store })
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

/// A pool of instances of a model on the stage's device; the weights are loaded once and shared by all of them.
///
/// # Errors
/// `Config` with what is wrong with the model or the device.
pub fn pool<T>(
    context: &BuildContext<'_>,
    name: &str,
    load: impl Fn(PathBuf, &Device, Precision) -> Result<T, ModelError>,
    instance: impl Fn(&T) -> Result<T, ModelError>,
) -> Result<Pool<T>, OperatorError> {
    let model = context
        .setting
        .models
        .get(name)
        .ok_or_else(|| OperatorError::config(format!("no model is called `{name}`")))?;
    set_threads(context.placement.threads);
    let choice: DeviceChoice = context
        .placement
        .device
        .as_deref()
        .unwrap_or("cpu")
        .parse()
        .map_err(config_error)?;
    let device = choice.resolve(0).map_err(config_error)?;
    let precision: Precision = context
        .setting
        .params
        .text("precision")
        .parse()
        .map_err(config_error)?;
    let first = load(model.path.clone(), &device, precision).map_err(config_error)?;
    let mut instances = (1..context.placement.concurrency)
        .map(|_| instance(&first))
        .collect::<Result<Vec<_>, _>>()
        .map_err(config_error)?;
    instances.push(first);
    Pool::new(instances).map_err(pool_error)
}

fn config_error(error: ModelError) -> OperatorError {
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

/// How long an item may wait for an instance.
pub fn patience(call: &Call, acquire_timeout: Duration) -> Duration {
    call.deadline
        .remaining()
        .map_or(acquire_timeout, |left| left.min(acquire_timeout))
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
