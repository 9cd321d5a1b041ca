//! The list of signals, and the number of a clip from those of its frames.

use std::sync::Arc;

use super::affine::{self, Pyramid};
use super::plane::Plane;
use super::{change, still};
use crate::media::frames::Frame;

/// Most frames that [`Signal::AffineResidual`] looks at; of a longer clip as many, spread evenly. Frames that are further
/// apart differ more, so that what an encoder adds counts less.
const MAX_FITTED: usize = 17;

/// A number that says something of a clip's quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// [`still::sharpness`], median over the frames.
    Sharpness,
    /// [`still::blockiness`], median over the frames.
    Blockiness,
    /// [`still::brightness`], mean over the frames.
    Brightness,
    /// [`still::contrast`], mean over the frames.
    Contrast,
    /// [`still::noise`], median over the frames.
    Noise,
    /// [`change::difference`], mean over pairs of frames that follow one another.
    Motion,
    /// Share of the pairs of frames that follow one another which are the same picture ([`change::is_frozen`]).
    Frozen,
    /// [`affine::residual`], median over the pairs that move, of 17 frames at most, spread evenly over the
    /// clip.
    AffineResidual,
}

impl Signal {
    /// All signals, in the order of rows.
    pub const ALL: [Signal; 8] = [
        Signal::Sharpness,
        Signal::Blockiness,
        Signal::Brightness,
        Signal::Contrast,
        Signal::Noise,
        Signal::Motion,
        Signal::Frozen,
        Signal::AffineResidual,
    ];

    /// Its name in pipelines and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Sharpness => "sharpness",
            Signal::Blockiness => "blockiness",
            Signal::Brightness => "brightness",
            Signal::Contrast => "contrast",
            Signal::Noise => "noise",
            Signal::Motion => "motion",
            Signal::Frozen => "frozen",
            Signal::AffineResidual => "affine_residual",
        }
    }

    /// The signal of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }
}

/// The wanted signals of a clip, in the order asked for. `None` where a signal cannot be computed: of change with one
/// frame, of sharpness with flat frames, of affine residual without motion.
///
/// Frames that follow one another and are the same in memory count once. At no time are more than two full-size planes
/// held.
pub fn measure(frames: &[Frame], wanted: &[Signal]) -> Vec<Option<f64>> {
    let mut frames: Vec<&Frame> = frames.iter().collect();
    frames.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let wants = |signal: Signal| wanted.contains(&signal);

    let mut values: [Vec<f64>; Signal::ALL.len()] = Default::default();
    let mut note = |signal: Signal, value: Option<f64>| values[signal as usize].extend(value);
    let fitted = fitted_frames(frames.len());
    let mut before: Option<Plane> = None;
    let mut pyramid_before: Option<Pyramid> = None;
    for (index, frame) in frames.iter().enumerate() {
        let plane = Plane::luma(frame.view());
        for (signal, of) in STILL {
            if wants(signal) {
                note(signal, of(&plane));
            }
        }
        if let Some(before) = &before {
            if wants(Signal::Motion) {
                note(Signal::Motion, change::difference(before, &plane));
            }
            if wants(Signal::Frozen) {
                let frozen = change::is_frozen(before, &plane);
                note(
                    Signal::Frozen,
                    frozen.map(|frozen| f64::from(u8::from(frozen))),
                );
            }
        }
        if wants(Signal::AffineResidual) && fitted[index] {
            let pyramid = Pyramid::new(&plane);
            if let Some(before) = &pyramid_before {
                note(Signal::AffineResidual, affine::residual(before, &pyramid));
            }
            pyramid_before = Some(pyramid);
        }
        before = Some(plane);
    }

    let of_clip = |signal: &Signal| {
        let values = &mut values[*signal as usize];
        match signal {
            Signal::Sharpness | Signal::Blockiness | Signal::Noise | Signal::AffineResidual => {
                median(values)
            }
            Signal::Brightness | Signal::Contrast | Signal::Motion | Signal::Frozen => mean(values),
        }
    };
    wanted.iter().map(of_clip).collect()
}

/// A signal of one frame.
type OfFrame = fn(&Plane) -> Option<f64>;

/// The signals that look at one frame at a time.
const STILL: [(Signal, OfFrame); 5] = [
    (Signal::Sharpness, still::sharpness),
    (Signal::Blockiness, still::blockiness),
    (Signal::Brightness, |plane| Some(still::brightness(plane))),
    (Signal::Contrast, |plane| Some(still::contrast(plane))),
    (Signal::Noise, still::noise),
];

/// Which of so many frames are fitted: all, or [`MAX_FITTED`] spread evenly.
fn fitted_frames(frames: usize) -> Vec<bool> {
    let mut fitted = vec![frames <= MAX_FITTED; frames];
    if frames > MAX_FITTED {
        for k in 0..MAX_FITTED {
            fitted[k * (frames - 1) / (MAX_FITTED - 1)] = true;
        }
    }
    fitted
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn frame(shift: usize) -> Frame {
        Arc::new(Array3::from_shape_fn((64, 96, 3), |(y, x, _)| {
            let (x, y) = ((x + shift) as f64, y as f64);
            (128.0 + 50.0 * (x * 0.21 + y * 0.05).sin() + 50.0 * (y * 0.17 - x * 0.06).cos()) as u8
        }))
    }

    fn values(frames: &[Frame]) -> Vec<Option<f64>> {
        measure(frames, &Signal::ALL)
    }

    #[test]
    fn names_are_unique_and_found_again() {
        for (index, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(
                signal as usize, index,
                "ALL is in the order of the variants"
            );
            assert_eq!(Signal::of_name(signal.name()), Some(signal));
        }
        assert_eq!(Signal::of_name("sharp"), None);
    }

    #[test]
    fn repeated_frames_of_a_short_span_are_one_frame() {
        let (a, b) = (frame(0), frame(3));
        let span = [&a, &a, &a, &b, &b, &b].map(Arc::clone);
        assert_eq!(values(&span), values(&[a.clone(), b]));
        let one = values(&[a.clone(), a.clone()]);
        for signal in [Signal::Motion, Signal::Frozen, Signal::AffineResidual] {
            assert_eq!(one[signal as usize], None, "{signal:?} of one frame");
        }
        assert!(one[Signal::Sharpness as usize].is_some());
        let copies = [Arc::clone(&a), Arc::new((*a).clone())];
        assert_eq!(values(&copies)[Signal::Frozen as usize], Some(1.0));
    }

    #[test]
    fn a_pan_moves_does_not_freeze_and_is_affine() {
        let pan: Vec<Frame> = (0..20).map(|k| frame(2 * k)).collect();
        let found = values(&pan);
        assert_eq!(found[Signal::Frozen as usize], Some(0.0));
        assert!(found[Signal::Motion as usize].expect("moves") > 0.02);
        assert!(found[Signal::AffineResidual as usize].expect("moves") < 0.15);
    }

    #[test]
    fn only_what_is_wanted_comes_in_the_order_wanted() {
        let frames = [frame(0), frame(5)];
        let all = values(&frames);
        let some = measure(&frames, &[Signal::Noise, Signal::Brightness]);
        assert_eq!(
            some,
            [
                all[Signal::Noise as usize],
                all[Signal::Brightness as usize]
            ]
        );
        assert_eq!(measure(&[], &Signal::ALL), [None; 8]);
    }

    #[test]
    fn long_clips_are_fitted_from_end_to_end() {
        let fitted = fitted_frames(48);
        assert_eq!(fitted.iter().filter(|fitted| **fitted).count(), MAX_FITTED);
        assert!(fitted[0] && fitted[47]);
        assert_eq!(fitted_frames(3), [true; 3]);
    }
}
