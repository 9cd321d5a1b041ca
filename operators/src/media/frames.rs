//! Decoded frames and the clips they make up.

use std::collections::HashSet;
use std::sync::Arc;

use ndarray::Array3;

/// One upright RGB frame, `[height, width, 3]`, 0 to 255, shared and never changed.
pub type Frame = Arc<Array3<u8>>;

/// The frames picked from one span of a video, in order of presentation.
///
/// A frame may stand in a clip more than once (a short span repeats frames to fill the number asked for), and clips of
/// overlapping spans share frames.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The frames; all of one size.
    pub frames: Vec<Frame>,
    /// Where the span begins, in seconds from the first shown frame.
    pub start_seconds: f64,
    /// Where the span ends (exclusive), in seconds from the first shown frame.
    pub end_seconds: f64,
}

impl Clip {
    /// The bytes of pixels held, each distinct frame counted once.
    pub fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        self.frames
            .iter()
            .filter(|frame| seen.insert(Arc::as_ptr(frame)))
            .map(|frame| frame.len())
            .sum()
    }

    /// The same span played backwards. The frames are shared, not copied.
    pub fn reversed(&self) -> Clip {
        Clip {
            frames: self.frames.iter().rev().map(Arc::clone).collect(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Clip {
        let a: Frame = Arc::new(Array3::zeros((2, 4, 3)));
        let b: Frame = Arc::new(Array3::ones((2, 4, 3)));
        Clip {
            frames: vec![Arc::clone(&a), a, b],
            start_seconds: 1.0,
            end_seconds: 2.5,
        }
    }

    #[test]
    fn a_repeated_frame_is_counted_once() {
        assert_eq!(clip().bytes(), 2 * (2 * 4 * 3));
    }

    #[test]
    fn reversing_shares_the_frames_and_keeps_the_span() {
        let forward = clip();
        let backward = forward.reversed();
        assert!(Arc::ptr_eq(&forward.frames[0], &backward.frames[2]));
        assert!(Arc::ptr_eq(&forward.frames[2], &backward.frames[0]));
        assert_eq!((backward.start_seconds, backward.end_seconds), (1.0, 2.5));
    }
}
