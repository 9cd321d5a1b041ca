//! Everything that touches FFmpeg.

pub mod frames;
pub mod geometry;
