//! The list of signals, and the number of a clip from those of its frames.

use std::sync::Arc;

use ndarray::ArrayView3;

use super::affine::Pyramid;
use super::colour::{self, Colour};
use super::course::{self, Standing};
use super::detail::{self, Detail};
use super::effects::{self, Specks};
use super::heading::Heading;
use super::layout::{self, Layout};
use super::misfit::{Misfit, misfit};
use super::plane::Plane;
use super::{change, chroma, still, texture};
use crate::media::frames::Frame;

/// Most frames between which a camera's motion is fitted; of a longer clip as many, spread evenly. Frames that are further
/// apart differ more, so that what an encoder adds counts less.
const MAX_FITTED: usize = 17;

/// What is computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Still,
    Texture,
    Detail,
    Rgb,
    Layout,
    Colour,
    Course,
    Fit,
    Standing,
    Effects,
    Specks,
    Heading,
}

macro_rules! signals {
    ($($variant:ident $name:literal $group:ident $decimals:literal $doc:literal)*) => {
        /// A number that says something of a clip.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Signal {
            $(#[doc = $doc] $variant,)*
        }

        impl Signal {
            /// All signals, in the order of rows.
            pub const ALL: &'static [Signal] = &[$(Signal::$variant),*];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Its name in pipelines and rows.
            pub const fn name(self) -> &'static str {
                match self { $(Signal::$variant => $name),* }
            }

            /// Decimals that rows show: about three digits of the smallest value that tells anything.
            pub const fn decimals(self) -> i32 {
                match self { $(Signal::$variant => $decimals),* }
            }

            fn group(self) -> Group {
                match self { $(Signal::$variant => Group::$group),* }
            }
        }
    };
}

signals! {
    Sharpness "sharpness" Still 4 "[`still::sharpness`], median over the frames."
    Blockiness "blockiness" Still 3 "[`still::blockiness`], median over the frames."
    Brightness "brightness" Still 4 "[`still::brightness`], mean over the frames."
    Contrast "contrast" Still 4 "[`still::contrast`], mean over the frames."
    Noise "noise" Still 3 "[`still::noise`], median over the frames."
    Motion "motion" Course 5 "[`change::difference`], mean over pairs of frames that follow one another."
    Frozen "frozen" Course 4 "Share of the pairs of frames that follow one another which are the same picture ([`change::is_frozen`])."
    AffineResidual "affine_residual" Fit 4 "[`super::affine::residual`], median over the pairs that move, of 17 frames at most, spread evenly over the clip."
    Misfit "misfit" Fit 4 "[`Misfit::middle_px`]."
    MisfitHigh "misfit_high" Fit 4 "[`Misfit::high_px`]."
    MisfitPeak "misfit_peak" Fit 4 "[`Misfit::peak_px`]."
    Astray "astray" Fit 4 "[`Misfit::astray`]."
    ResidualLow "residual_low" Fit 4 "[`Misfit::least_residual`]."
    ResidualHigh "residual_high" Fit 4 "[`Misfit::most_residual`]."
    CameraMotion "camera_motion" Fit 4 "[`Misfit::camera_px`]."
    CameraRoughness "camera_roughness" Fit 4 "[`Misfit::roughness`]."
    CameraTurn "camera_turn" Fit 4 "[`Misfit::turn_px`]."
    Jump "jump" Course 3 "[`course::jump`] of the changes of the luma."
    Busy "busy" Course 4 "[`course::busy_share`] of the changes of the luma."
    Unevenness "unevenness" Course 4 "[`course::unevenness`] of the changes of the luma."
    Flicker "flicker" Course 5 "[`course::flicker`]."
    LightSpan "light_span" Course 4 "[`course::light_span`]."
    ColourChange "colour_change" Colour 4 "[`colour::histogram_change`], largest over pairs of frames that follow one another."
    ColourJump "colour_jump" Colour 3 "[`course::jump`] of [`colour::histogram_change`]."
    ColourDrift "colour_drift" Colour 4 "[`colour::histogram_change`], mean over pairs of frames that follow one another."
    Saturation "saturation" Colour 4 "[`Colour::saturation`], median over the frames."
    Colourfulness "colourfulness" Colour 2 "[`Colour::colourfulness`], median over the frames."
    OneHue "one_hue" Colour 4 "[`Colour::one_hue`], median over the frames."
    StandingEdges "standing_edges" Standing 4 "[`Standing::standing_edges`]."
    StillShare "still_share" Standing 4 "[`Standing::still_share`]."
    MotionTop "motion_top" Standing 4 "[`Standing::motion_place`], top against bottom."
    MotionLeft "motion_left" Standing 4 "[`Standing::motion_place`], left against right."
    Upright "upright" Layout 4 "[`Layout::upright`], median over the frames."
    VerticalEdges "vertical_edges" Layout 4 "[`Layout::vertical_edges`], median over the frames."
    LevelEdges "level_edges" Layout 4 "[`Layout::level_edges`], median over the frames."
    LightTop "light_top" Layout 4 "[`Layout::light_top`], median over the frames."
    LightLeft "light_left" Layout 4 "[`Layout::light_left`], median over the frames."
    DetailTop "detail_top" Layout 4 "[`Layout::detail_top`], median over the frames."
    DetailLeft "detail_left" Layout 4 "[`Layout::detail_left`], median over the frames."
    BlueTop "blue_top" Layout 4 "[`Layout::blue_top`], median over the frames."
    BlueLeft "blue_left" Layout 4 "[`Layout::blue_left`], median over the frames."
    LitTop "lit_top" Layout 4 "[`Layout::lit_top`], median over the frames."
    LitLeft "lit_left" Layout 4 "[`Layout::lit_left`], median over the frames."
    Sideways "sideways" Heading 4 "[`Heading::sideways`]."
    SpeedTop "speed_top" Heading 4 "[`Heading::speed_top`]."
    SpeedLeft "speed_left" Heading 4 "[`Heading::speed_left`]."
    MirrorX "mirror_x" Layout 4 "[`Layout::mirror_x`], of the frame at 80 % of the order."
    MirrorY "mirror_y" Layout 4 "[`Layout::mirror_y`], of the frame at 80 % of the order."
    RepeatX "repeat_x" Layout 4 "[`Layout::repeat_x`], of the frame at 80 % of the order."
    RepeatY "repeat_y" Layout 4 "[`Layout::repeat_y`], of the frame at 80 % of the order."
    FallOff "fall_off" Texture 4 "[`texture::fall_off`], median over the frames."
    WideFallOff "wide_fall_off" Texture 4 "[`texture::wide_fall_off`], median over the frames."
    Shadows "shadows" Texture 4 "[`texture::shadows`], median over the frames."
    Highlights "highlights" Texture 4 "[`texture::highlights`], median over the frames."
    Entropy "entropy" Texture 3 "[`texture::entropy_bits`], median over the frames."
    MissingLevels "missing_levels" Texture 4 "[`texture::missing_levels`], median over the frames."
    Span "span" Texture 4 "[`texture::span`], median over the frames."
    Flat "flat" Texture 4 "[`texture::flat_share`], median over the frames."
    Combing "combing" Texture 4 "[`texture::combing`], of the frame at 80 % of the order."
    UnevenLevels "uneven_levels" Rgb 4 "[`texture::uneven_levels`], median over the frames."
    DetailShape "detail_shape" Detail 4 "[`Detail::shape`], median over the frames."
    DetailPower "detail_power" Detail 4 "[`Detail::power`], median over the frames."
    DetailUnrest "detail_unrest" Detail 4 "Deviation of [`Detail::power`] over the frames, by its mean."
    DetailLikeness "detail_likeness" Detail 4 "[`Detail::likeness`], median over the frames."
    HalfShape "half_shape" Detail 4 "[`Detail::shape`] at half the size, median over the frames."
    HalfPower "half_power" Detail 4 "[`Detail::power`] at half the size, median over the frames."
    HalfLikeness "half_likeness" Detail 4 "[`Detail::likeness`] at half the size, median over the frames."
    Periodicity "periodicity" Texture 3 "[`detail::periodicity`], median over the frames."
    SeenBlocks "seen_blocks" Texture 4 "[`detail::seen_blocks`], median over the frames."
    WipedShare "wiped_share" Texture 4 "[`detail::wiped_share`], median over the frames."
    ChromaShift "chroma_shift" Rgb 4 "[`chroma::chroma_shift`], median over the frames."
    RowLines "row_lines" Texture 4 "[`texture::row_lines`], median over the frames."
    Stark "stark" Effects 4 "[`effects::stark`], of the frame at 90 % of the order."
    StarkSwing "stark_swing" Effects 4 "Largest less smallest [`effects::stark`] of the frames."
    EdgeLight "edge_light" Effects 4 "[`effects::edge_light`], of the frame at 90 % of the order."
    TurnLikeness "turn_likeness" Effects 4 "[`effects::turn_likeness`], of the frame at 80 % of the order, of 17 frames at most."
    ColourSplit "colour_split" Effects 4 "[`effects::colour_split`], of the frame at 90 % of the order, of 17 frames at most."
    ColourByLight "colour_by_light" Effects 4 "[`effects::colour_by_light`], of the frame at 90 % of the order, of 17 frames at most."
    BrightSpecks "bright_specks" Specks 5 "[`Specks::bright`]."
    SpeckBias "speck_bias" Specks 4 "[`Specks::bias`]."
}

impl Signal {
    /// The signal of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|signal| signal.name() == name)
    }

    /// Whether it is seen only pixel by pixel: best measured on frames that were not resized.
    pub fn is_fine(self) -> bool {
        use Signal::*;
        matches!(self, Sharpness | Blockiness | Noise)
            || matches!(self.group(), Group::Texture | Group::Detail | Group::Rgb)
    }

    /// The number of a clip from those of its frames or pairs of frames.
    fn of_all(self, values: &mut [f64]) -> Option<f64> {
        match self {
            Signal::Brightness | Signal::Contrast => mean(values),
            Signal::DetailUnrest => relative_deviation(values),
            Signal::MirrorX
            | Signal::MirrorY
            | Signal::RepeatX
            | Signal::RepeatY
            | Signal::TurnLikeness
            | Signal::Combing => quantile(values, 0.8),
            Signal::Stark | Signal::EdgeLight | Signal::ColourSplit | Signal::ColourByLight => {
                quantile(values, 0.9)
            }
            Signal::StarkSwing => Some(quantile(values, 1.0)? - quantile(values, 0.0)?),
            _ => median(values),
        }
    }
}

/// The wanted signals of a clip, in the order asked for. `None` where a signal cannot be computed: of change with one
/// frame, of sharpness with flat frames, of affine residual without motion.
///
/// Frames that follow one another and are the same in memory count once.
pub fn measure(frames: &[Frame], wanted: &[Signal]) -> Vec<Option<f64>> {
    let mut frames: Vec<&Frame> = frames.iter().collect();
    frames.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let mut notes = Notes::new(wanted);
    let fitted = fitted_frames(frames.len());
    for (frame, is_fitted) in frames.iter().zip(fitted) {
        notes.push(frame, is_fitted);
    }
    notes.numbers(wanted)
}

/// The wanted signals of a clip that is there twice: small and whole with many frames, and [fine](Signal::is_fine) with few.
/// In the order asked for; `None` as for [`measure`].
pub fn measure_both(whole: &[Frame], fine: &[Frame], wanted: &[Signal]) -> Vec<Option<f64>> {
    let (of_fine, of_whole): (Vec<Signal>, Vec<Signal>) =
        wanted.iter().partition(|signal| signal.is_fine());
    let (mut fine, mut whole) = (
        measure(fine, &of_fine).into_iter(),
        measure(whole, &of_whole).into_iter(),
    );
    let of = |signal: &Signal| {
        let values = if signal.is_fine() {
            &mut fine
        } else {
            &mut whole
        };
        values.next().flatten()
    };
    wanted.iter().map(of).collect()
}

/// What is noted frame by frame. Two luma planes at most are held, and the small pyramids of the fit.
struct Notes<'a> {
    wanted: &'a [Signal],
    values: Vec<Vec<f64>>,
    before: Option<Plane>,
    pyramids: Vec<Pyramid>,
    colour_before: Option<Colour>,
    colour_changes: Vec<f64>,
    brightness: Vec<f64>,
    changes: Vec<f64>,
    frozen: Vec<f64>,
    standing: Standing,
    specks: Specks,
    heading: Heading,
}

impl<'a> Notes<'a> {
    fn new(wanted: &'a [Signal]) -> Self {
        Self {
            wanted,
            values: vec![Vec::new(); Signal::ALL.len()],
            before: None,
            pyramids: Vec::new(),
            colour_before: None,
            colour_changes: Vec::new(),
            brightness: Vec::new(),
            changes: Vec::new(),
            frozen: Vec::new(),
            standing: Standing::default(),
            specks: Specks::default(),
            heading: Heading::default(),
        }
    }

    fn wants(&self, group: Group) -> bool {
        self.wanted.iter().any(|signal| signal.group() == group)
    }

    fn note(&mut self, signal: Signal, value: impl FnOnce() -> Option<f64>) {
        if self.wanted.contains(&signal) {
            self.values[signal as usize].extend(value());
        }
    }

    fn push(&mut self, frame: &Frame, is_fitted: bool) {
        let plane = Plane::luma(frame.view());
        for (signal, of) in OF_FRAME {
            self.note(signal, || of(&plane));
        }
        for (signal, of) in OF_RGB {
            self.note(signal, || of(frame.view()));
        }
        if self.wants(Group::Detail) {
            for (detail, signals) in detail::detail(&plane).into_iter().zip(OF_DETAIL) {
                for (signal, of) in signals {
                    self.note(*signal, || detail.as_ref().map(of));
                }
            }
        }
        if self.wants(Group::Layout) {
            let layout = layout::layout(frame.view(), &plane);
            for (signal, of) in OF_LAYOUT {
                self.note(signal, || Some(of(&layout)));
            }
        }
        if self.wants(Group::Colour) {
            let colour = colour::colour(frame.view());
            self.note(Signal::Saturation, || Some(colour.saturation));
            self.note(Signal::Colourfulness, || Some(colour.colourfulness));
            self.note(Signal::OneHue, || Some(colour.one_hue));
            if let Some(before) = &self.colour_before {
                self.colour_changes
                    .push(colour::histogram_change(before, &colour));
            }
            self.colour_before = Some(colour);
        }
        if self.wants(Group::Course) {
            self.brightness.push(still::brightness(&plane));
            if let Some(before) = &self.before {
                self.changes.extend(change::difference(before, &plane));
                let frozen = change::is_frozen(before, &plane);
                self.frozen
                    .extend(frozen.map(|frozen| f64::from(u8::from(frozen))));
            }
        }
        if self.wants(Group::Fit) && is_fitted {
            self.pyramids.push(Pyramid::new(&plane));
        }
        if self.wants(Group::Standing) {
            self.standing.push(&plane);
        }
        if self.wants(Group::Effects) {
            let stark = effects::stark(&plane);
            self.note(Signal::Stark, || Some(stark));
            self.note(Signal::StarkSwing, || Some(stark));
            self.note(Signal::EdgeLight, || effects::edge_light(&plane));
            if is_fitted {
                self.note(Signal::TurnLikeness, || effects::turn_likeness(&plane));
                self.note(Signal::ColourSplit, || effects::colour_split(frame.view()));
                self.note(Signal::ColourByLight, || {
                    effects::colour_by_light(frame.view())
                });
            }
        }
        if self.wants(Group::Specks) {
            self.specks.push(&plane);
        }
        if self.wants(Group::Heading) {
            self.heading.push(&plane);
        }
        self.before = Some(plane);
    }

    fn numbers(mut self, wanted: &[Signal]) -> Vec<Option<f64>> {
        let misfit = if self.wants(Group::Fit) {
            misfit(&self.pyramids)
        } else {
            Misfit::default()
        };
        let of_clip = |signal: &Signal| match signal {
            Signal::Motion => mean(&self.changes),
            Signal::Frozen => mean(&self.frozen),
            Signal::Jump => course::jump(&self.changes),
            Signal::Busy => course::busy_share(&self.changes),
            Signal::Unevenness => course::unevenness(&self.changes),
            Signal::Flicker => course::flicker(&self.brightness),
            Signal::LightSpan => course::light_span(&self.brightness),
            Signal::ColourChange => self.colour_changes.iter().copied().reduce(f64::max),
            Signal::ColourJump => course::jump(&self.colour_changes),
            Signal::ColourDrift => mean(&self.colour_changes),
            Signal::StandingEdges => self.standing.standing_edges(),
            Signal::StillShare => self.standing.still_share(),
            Signal::MotionTop => self.standing.motion_place().map(|(top, _)| top),
            Signal::MotionLeft => self.standing.motion_place().map(|(_, left)| left),
            Signal::BrightSpecks => self.specks.bright(),
            Signal::SpeckBias => self.specks.bias(),
            Signal::Sideways => self.heading.sideways(),
            Signal::SpeedTop => self.heading.speed_top(),
            Signal::SpeedLeft => self.heading.speed_left(),
            Signal::AffineResidual => misfit.residual,
            Signal::Misfit => misfit.middle_px,
            Signal::MisfitHigh => misfit.high_px,
            Signal::MisfitPeak => misfit.peak_px,
            Signal::Astray => misfit.astray,
            Signal::ResidualLow => misfit.least_residual,
            Signal::ResidualHigh => misfit.most_residual,
            Signal::CameraMotion => misfit.camera_px,
            Signal::CameraRoughness => misfit.roughness,
            Signal::CameraTurn => misfit.turn_px,
            signal => signal.of_all(&mut self.values[*signal as usize]),
        };
        wanted.iter().map(of_clip).collect()
    }
}

/// A signal of one frame's luma.
type OfFrame = fn(&Plane) -> Option<f64>;

/// The signals that look at the luma of one frame at a time.
const OF_FRAME: [(Signal, OfFrame); 18] = [
    (Signal::Sharpness, still::sharpness),
    (Signal::Blockiness, still::blockiness),
    (Signal::Brightness, |plane| Some(still::brightness(plane))),
    (Signal::Contrast, |plane| Some(still::contrast(plane))),
    (Signal::Noise, still::noise),
    (Signal::FallOff, texture::fall_off),
    (Signal::WideFallOff, texture::wide_fall_off),
    (Signal::Shadows, |plane| Some(texture::shadows(plane))),
    (Signal::Highlights, |plane| Some(texture::highlights(plane))),
    (Signal::Entropy, |plane| Some(texture::entropy_bits(plane))),
    (Signal::MissingLevels, texture::missing_levels),
    (Signal::Span, |plane| Some(texture::span(plane))),
    (Signal::Flat, texture::flat_share),
    (Signal::Combing, texture::combing),
    (Signal::Periodicity, detail::periodicity),
    (Signal::SeenBlocks, detail::seen_blocks),
    (Signal::WipedShare, detail::wiped_share),
    (Signal::RowLines, texture::row_lines),
];

/// A signal of one frame's colours.
type OfRgb = fn(ArrayView3<u8>) -> Option<f64>;

/// The signals that look at the colours of one frame at its own size.
const OF_RGB: [(Signal, OfRgb); 2] = [
    (Signal::UnevenLevels, texture::uneven_levels),
    (Signal::ChromaShift, chroma::chroma_shift),
];

/// A signal of one frame's detail.
type OfDetail = fn(&Detail) -> f64;

/// The signals of the detail at full and at half size.
const OF_DETAIL: [&[(Signal, OfDetail)]; 2] = [
    &[
        (Signal::DetailShape, |detail| detail.shape),
        (Signal::DetailPower, |detail| detail.power),
        (Signal::DetailUnrest, |detail| detail.power),
        (Signal::DetailLikeness, |detail| detail.likeness),
    ],
    &[
        (Signal::HalfShape, |detail| detail.shape),
        (Signal::HalfPower, |detail| detail.power),
        (Signal::HalfLikeness, |detail| detail.likeness),
    ],
];

/// A signal of one frame's layout.
type OfLayout = fn(&Layout) -> f64;

/// The signals that look at the layout of one frame at a time.
const OF_LAYOUT: [(Signal, OfLayout); 15] = [
    (Signal::Upright, |layout| layout.upright),
    (Signal::VerticalEdges, |layout| layout.vertical_edges),
    (Signal::LevelEdges, |layout| layout.level_edges),
    (Signal::LightTop, |layout| layout.light_top),
    (Signal::LightLeft, |layout| layout.light_left),
    (Signal::DetailTop, |layout| layout.detail_top),
    (Signal::DetailLeft, |layout| layout.detail_left),
    (Signal::BlueTop, |layout| layout.blue_top),
    (Signal::BlueLeft, |layout| layout.blue_left),
    (Signal::LitTop, |layout| layout.lit_top),
    (Signal::LitLeft, |layout| layout.lit_left),
    (Signal::MirrorX, |layout| layout.mirror_x),
    (Signal::MirrorY, |layout| layout.mirror_y),
    (Signal::RepeatX, |layout| layout.repeat_x),
    (Signal::RepeatY, |layout| layout.repeat_y),
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

/// The standard deviation by the mean; `None` of fewer than two values.
fn relative_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| values.len() > 1 && *mean > 0.0)?;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    Some((squares.sum::<f64>() / values.len() as f64).sqrt() / mean)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value at this share (0 to 1) of the order, of the two beside it in proportion.
pub(super) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let at = share * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
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
        measure(frames, Signal::ALL)
    }

    #[test]
    fn names_are_unique_and_found_again() {
        for (index, signal) in Signal::ALL.iter().enumerate() {
            assert_eq!(
                *signal as usize, index,
                "ALL is in the order of the variants"
            );
            assert_eq!(Signal::of_name(signal.name()), Some(*signal));
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
        assert!(values(&[]).iter().all(Option::is_none));
    }

    #[test]
    fn of_a_clip_that_is_there_twice_each_signal_looks_at_the_right_one() {
        let (whole, fine) = ([frame(0), frame(5)], [frame(9)]);
        let wanted = [Signal::Motion, Signal::Noise, Signal::LightTop];
        assert_eq!(
            measure_both(&whole, &fine, &wanted),
            [
                measure(&whole, &[Signal::Motion])[0],
                measure(&fine, &[Signal::Noise])[0],
                measure(&whole, &[Signal::LightTop])[0]
            ]
        );
    }

    #[test]
    fn long_clips_are_fitted_from_end_to_end() {
        let fitted = fitted_frames(48);
        assert_eq!(fitted.iter().filter(|fitted| **fitted).count(), MAX_FITTED);
        assert!(fitted[0] && fitted[47]);
        assert_eq!(fitted_frames(3), [true; 3]);
    }
}
