//! YOLOv8, the detector.
//!
//! Written from a description of the architecture (layer table, channel rules, tensor names, decoding); no code was
//! taken from the AGPL-licensed upstream. There is no paper; the distribution focal loss whose decoding is used here is
//! Li et al., "Generalized Focal Loss", arXiv 2006.04388. Parameter names are those of upstream state dicts
//! (`model.0.conv.weight`), checked against Ultralytics 8.4. The licence of upstream's own weights is theirs.
//!
//! A backbone of strided convolutions and C2f blocks gives maps at strides 8, 16 and 32; a top-down and a bottom-up path
//! mix them; a head without anchor boxes predicts for each cell four distances, each a distribution over 16 bins, and a
//! probability a class. Convolutions come with their batch norm apart, or already folded into `conv.bias`; they are
//! folded, in f32, when they are read (within 2e-5 of the unfolded network, relative), but for a network that is being
//! trained ([`Yolov8::trainable`]; its loss is in [`crate::training`]). Beside the published sizes there is one of our own,
//! `t`: half of the width of `n`, for the starter weights.

mod blocks;
mod config;
mod network;

pub use blocks::{BINS, LevelOutput};
pub(crate) use config::STRIDE_PX;
pub use config::{Scale, Yolov8Config};
pub use network::Yolov8;
