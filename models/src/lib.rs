//! The clipsieve models: V-JEPA 2, YOLOv8, heads, weights and pools, on libtorch.
//!
//! A model is a directory: `config.json` says what it is, `model.safetensors` holds its weights, and a Hugging Face
//! `video_preprocessor_config.json` may say how frames are prepared. Two things come out of such a directory:
//!
//! * [`ModelConfig`], read without touching libtorch, so that a dry run can name labels, geometry and cost;
//! * a [`Classifier`] (clips of frames to label probabilities) or a [`Detector`] (frames to boxes), which do the work.
//!
//! Classifiers may share a backbone: their configurations name one file of encoder weights. A [`Classifier`] is a
//! [`Backbone`] and a [`ClassifierHead`]; whoever runs several over the same clips computes the [`Features`] once and
//! gives them to each head. [`ModelConfig::backbone_sha256`] tells which can.
//!
//! Weights are read once into [`Parameters`]. An *instance* of a model is a second network over the same tensors, so a
//! [`Pool`] of eight instances costs the memory of one set of weights and eight sets of activations. Instances are taken
//! exclusively, with a deadline.
//!
//! This crate is the only one that names `tch`. What operators need ([`Classifier`], [`Detector`], [`Pool`],
//! [`DeviceChoice`], [`Letterbox`]) speaks of `ndarray` views and plain numbers; tensors show only in the networks
//! ([`vjepa2`], [`yolov8`], [`heads`]), for tests, benchmarks and training.

pub mod backbone;
pub mod classifier;
pub mod config;
pub mod detector;
pub mod device;
pub mod error;
mod fields;
mod frames;
pub mod heads;
pub mod layers;
pub mod letterbox;
mod missing;
pub mod nms;
pub mod parameters;
pub mod pool;
pub mod preprocess;
mod streams;
pub mod training;
pub mod vjepa2;
pub mod weights;
pub mod yolov8;

pub use backbone::{Backbone, Features};
pub use classifier::{Classifier, ClassifierHead, Clip};
pub use config::{HeadKind, ModelConfig, Network};
pub use detector::Detector;
pub use device::{Device, DeviceChoice, Precision, clear_cache, set_threads};
pub use error::{ModelError, Result};
pub use letterbox::Letterbox;
pub use nms::Detection;
pub use parameters::{Parameters, Scope};
pub use pool::{Lease, Pool, PoolError};
pub use preprocess::{MAX_FRAMES, Preprocess};
pub use weights::Weights;
