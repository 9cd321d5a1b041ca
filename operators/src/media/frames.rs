//! Decoded frames.

use std::sync::Arc;

use ndarray::Array3;

/// One picture: [h, w, 3], RGB, 8 bit, upright, square pixels. Shared, never changed.
pub type Frame = Arc<Array3<u8>>;

/// The frames of one span, in presentation order.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The frames; one may stand several times.
    pub frames: Vec<Frame>,
    /// Where the span begins, in seconds from the first shown frame.
    pub start_seconds: f64,
    /// Where it ends.
    pub end_seconds: f64,
}
