//! Fitting a frame into a square, or nearly one, without distorting it, and finding the way back.
//!
//! The square form is upstream's. The frame is scaled by `min(size / width, size / height)` (up as well as down), its sides rounded half to even, and
//! centred on grey 114; an odd pixel of padding goes to the right and bottom. Scaling is bilinear with half-pixel
//! centres, clamped at the edges and without antialias, as OpenCV's `INTER_LINEAR`, in 11-bit fixed point as there.
//!
//! The fitted form is ours: the longer side becomes `size`, the shorter one is padded only to the next multiple of the
//! stride (a 16:9 frame has two fifths fewer pixels than in the square), and what is scaled down is antialiased, so that the thin
//! strokes of overlays do not fall between pixels.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};

use crate::error::{ModelError, Result};
use crate::frames::dimensions;

/// The grey of the padding.
const PAD: u8 = 114;
/// Bits of an interpolation weight.
const WEIGHT_BITS: u32 = 11;
/// The weight 1.
const ONE: i32 = 1 << WEIGHT_BITS;

/// How a source frame lies in the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letterbox {
    /// Width of the source, in pixels.
    pub source_width_px: usize,
    /// Height of the source, in pixels.
    pub source_height_px: usize,
    /// Width of the input, in pixels.
    pub width_px: usize,
    /// Height of the input, in pixels.
    pub height_px: usize,
    /// Width of the scaled source, in pixels.
    pub scaled_width_px: usize,
    /// Height of the scaled source, in pixels.
    pub scaled_height_px: usize,
    /// Padding to the left of it, in pixels.
    pub left_px: usize,
    /// Padding above it, in pixels.
    pub top_px: usize,
    /// Whether each pixel takes the mean of all that it covers.
    pub antialias: bool,
}

impl Letterbox {
    /// The geometry for a source of this width and height in a square of `size`, all in pixels.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a side is 0.
    pub fn new(source_width_px: usize, source_height_px: usize, size_px: usize) -> Result<Self> {
        let (scaled_width_px, scaled_height_px) =
            scaled(source_width_px, source_height_px, size_px)?;
        Ok(Letterbox {
            source_width_px,
            source_height_px,
            width_px: size_px,
            height_px: size_px,
            scaled_width_px,
            scaled_height_px,
            left_px: before(size_px - scaled_width_px),
            top_px: before(size_px - scaled_height_px),
            antialias: false,
        })
    }

    /// The geometry for a source of this width and height whose longer side becomes `size`; both sides of the input are
    /// multiples of `stride`, of which `size` has to be one. All in pixels.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a side is 0.
    pub fn fitted(
        source_width_px: usize,
        source_height_px: usize,
        size_px: usize,
        stride_px: usize,
    ) -> Result<Self> {
        let (scaled_width_px, scaled_height_px) =
            scaled(source_width_px, source_height_px, size_px)?;
        let (width_px, height_px) = (
            scaled_width_px.next_multiple_of(stride_px),
            scaled_height_px.next_multiple_of(stride_px),
        );
        Ok(Letterbox {
            source_width_px,
            source_height_px,
            width_px,
            height_px,
            scaled_width_px,
            scaled_height_px,
            left_px: before(width_px - scaled_width_px),
            top_px: before(height_px - scaled_height_px),
            antialias: true,
        })
    }

    /// Scales and pads a source frame [height, width, 3] to [`height_px`, `width_px`, 3].
    ///
    /// # Errors
    /// [`ModelError::Input`] when the frame is not the source that this geometry is for.
    pub fn apply(&self, frame: ArrayView3<'_, u8>) -> Result<Array3<u8>> {
        if frame.dim() != (self.source_height_px, self.source_width_px, 3) {
            return Err(ModelError::Input(format!(
                "letterbox: found a frame of {}, allowed: {} x {} x 3",
                dimensions(&frame),
                self.source_height_px,
                self.source_width_px
            )));
        }
        let mut out = Array3::from_elem((self.height_px, self.width_px, 3), PAD);
        let mut inner = out.slice_mut(s![
            self.top_px..self.top_px + self.scaled_height_px,
            self.left_px..self.left_px + self.scaled_width_px,
            ..
        ]);
        if self.antialias {
            scale_with_means(&frame, &mut inner);
            return Ok(out);
        }
        let columns = taps(self.source_width_px, self.scaled_width_px);
        let rows = taps(self.source_height_px, self.scaled_height_px);
        let mut above = Row::empty(self.scaled_width_px);
        let mut below = Row::empty(self.scaled_width_px);
        for (tap, mut line) in rows.iter().zip(inner.outer_iter_mut()) {
            // Going down, the lower row of one line is often the upper row of the next.
            if below.at == Some(tap.first) {
                std::mem::swap(&mut above, &mut below);
            }
            above.fill(&frame, tap.first, &columns);
            below.fill(&frame, tap.second, &columns);
            for (i, byte) in line.iter_mut().enumerate() {
                let sum = (ONE - tap.weight) * above.values[i] + tap.weight * below.values[i];
                *byte = ((sum + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)) as u8;
            }
        }
        Ok(out)
    }

    /// A box [x0, y0, x1, y1] in the source's pixels to the input's.
    pub fn map(&self, box_px: [f32; 4]) -> [f32; 4] {
        let x = |at| {
            at * self.scaled_width_px as f32 / self.source_width_px as f32 + self.left_px as f32
        };
        let y = |at| {
            at * self.scaled_height_px as f32 / self.source_height_px as f32 + self.top_px as f32
        };
        [x(box_px[0]), y(box_px[1]), x(box_px[2]), y(box_px[3])]
    }

    /// A box [x0, y0, x1, y1] in the input's pixels back to the source's, clipped to it.
    pub fn unmap(&self, box_px: [f32; 4]) -> [f32; 4] {
        let axis = |at: f32, pad: usize, scaled: usize, source: usize| {
            let gain = scaled as f32 / source as f32;
            ((at - pad as f32) / gain).clamp(0.0, source as f32)
        };
        let x = |at| axis(at, self.left_px, self.scaled_width_px, self.source_width_px);
        let y = |at| {
            axis(
                at,
                self.top_px,
                self.scaled_height_px,
                self.source_height_px,
            )
        };
        [x(box_px[0]), y(box_px[1]), x(box_px[2]), y(box_px[3])]
    }
}

/// The sides of the source when its longer one is `size`.
fn scaled(width_px: usize, height_px: usize, size_px: usize) -> Result<(usize, usize)> {
    if width_px == 0 || height_px == 0 || size_px == 0 {
        return Err(ModelError::Input(format!(
            "letterbox: found {width_px} x {height_px} in {size_px}, allowed: sides above 0"
        )));
    }
    let size = size_px as f64;
    let gain = (size / height_px as f64).min(size / width_px as f64);
    let scaled = |side: usize| ((side as f64 * gain).round_ties_even() as usize).clamp(1, size_px);
    Ok((scaled(width_px), scaled(height_px)))
}

/// Half of the padding, the half pixel to the far side.
fn before(padding: usize) -> usize {
    (padding as f64 / 2.0 - 0.1).round_ties_even() as usize
}

/// Scales a frame to the size of `out`, each pixel a weighted mean of all that it covers: a triangle as wide as two of the
/// larger of the pixels of source and output.
fn scale_with_means(frame: &ArrayView3<'_, u8>, out: &mut ArrayViewMut3<'_, u8>) {
    let (height, width, _) = frame.dim();
    let (out_height, out_width, _) = out.dim();
    let (columns, rows) = (means(width, out_width), means(height, out_height));
    // Across first, line by line; sums of bytes with weights of 1 stay far below what f32 holds exactly.
    let mut across = vec![0f32; height * out_width * 3];
    for (line, narrow) in frame
        .outer_iter()
        .zip(across.chunks_exact_mut(out_width * 3))
    {
        for ((first, weights), pixel) in columns.iter().zip(narrow.chunks_exact_mut(3)) {
            for (weight, source) in weights.iter().zip(line.outer_iter().skip(*first)) {
                for channel in 0..3 {
                    pixel[channel] += weight * f32::from(source[channel]);
                }
            }
        }
    }
    let mut sums = vec![0f32; out_width * 3];
    for ((first, weights), mut line) in rows.iter().zip(out.outer_iter_mut()) {
        sums.fill(0.0);
        let lines = across.chunks_exact(out_width * 3).skip(*first);
        for (weight, narrow) in weights.iter().zip(lines) {
            for (sum, value) in sums.iter_mut().zip(narrow) {
                *sum += weight * value;
            }
        }
        for (byte, sum) in line.iter_mut().zip(&sums) {
            *byte = (sum + 0.5) as u8;
        }
    }
}

/// For each output place the first source place that it covers, and the weights from there on, which sum to 1.
fn means(source: usize, scaled: usize) -> Vec<(usize, Vec<f32>)> {
    let step = source as f64 / scaled as f64;
    let reach = step.max(1.0);
    (0..scaled)
        .map(|place| {
            let middle = (place as f64 + 0.5) * step;
            let first = ((middle - reach).floor().max(0.0)) as usize;
            let end = ((middle + reach).ceil() as usize).min(source);
            let weights: Vec<f64> = (first..end)
                .map(|at| (1.0 - (at as f64 + 0.5 - middle).abs() / reach).max(0.0))
                .collect();
            let sum: f64 = weights.iter().sum();
            (
                first,
                weights.iter().map(|weight| (weight / sum) as f32).collect(),
            )
        })
        .collect()
}

/// The two source places of an output place, and the weight of the second in units of 1 / [`ONE`].
struct Tap {
    first: usize,
    second: usize,
    weight: i32,
}

fn taps(source: usize, scaled: usize) -> Vec<Tap> {
    let step = source as f64 / scaled as f64;
    let last = source - 1;
    (0..scaled)
        .map(|place| {
            let at = ((place as f64 + 0.5) * step - 0.5).clamp(0.0, last as f64);
            let first = at as usize;
            Tap {
                first,
                second: (first + 1).min(last),
                weight: ((at - first as f64) * f64::from(ONE)).round_ties_even() as i32,
            }
        })
        .collect()
}

/// A source row scaled across, kept while lines need it.
struct Row {
    at: Option<usize>,
    /// Three values a column, times [`ONE`].
    values: Vec<i32>,
}

impl Row {
    fn empty(columns: usize) -> Self {
        Row {
            at: None,
            values: vec![0; 3 * columns],
        }
    }

    fn fill(&mut self, frame: &ArrayView3<'_, u8>, at: usize, columns: &[Tap]) {
        if self.at == Some(at) {
            return;
        }
        self.at = Some(at);
        let source = frame.slice(s![at, .., ..]);
        for (tap, values) in columns.iter().zip(self.values.chunks_exact_mut(3)) {
            for (channel, value) in values.iter_mut().enumerate() {
                let first = i32::from(source[[tap.first, channel]]);
                let second = i32::from(source[[tap.second, channel]]);
                *value = (ONE - tap.weight) * first + tap.weight * second;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn geometry_follows_the_rounding() {
        let wide = Letterbox::new(1920, 1080, 640).unwrap();
        assert_eq!((wide.scaled_width_px, wide.scaled_height_px), (640, 360));
        assert_eq!((wide.left_px, wide.top_px), (0, 140));
        // 333 * 640 / 500 = 426.24 -> 426, padding 214 -> 107; 500 -> 640.
        let tall = Letterbox::new(333, 500, 640).unwrap();
        assert_eq!(
            (tall.scaled_width_px, tall.left_px, tall.top_px),
            (426, 107, 0)
        );
        // An odd padding of 5 leaves 2 before and 3 after.
        let odd = Letterbox::new(27, 32, 32).unwrap();
        assert_eq!((odd.scaled_width_px, odd.left_px), (27, 2));
        let thin = Letterbox::new(10_000, 1, 64).unwrap();
        assert_eq!((thin.scaled_width_px, thin.scaled_height_px), (64, 1));
        assert!(Letterbox::new(0, 5, 64).is_err() && Letterbox::new(5, 5, 0).is_err());
    }

    #[test]
    fn the_same_size_is_a_copy_and_a_flat_frame_stays_flat() {
        let frame = Array3::from_shape_fn((4, 4, 3), |(y, x, c)| (y * 50 + x * 10 + c) as u8);
        assert_eq!(
            Letterbox::new(4, 4, 4)
                .unwrap()
                .apply(frame.view())
                .unwrap(),
            frame
        );
        let flat = Array3::from_elem((9, 5, 3), 255u8);
        let out = Letterbox::new(5, 9, 32)
            .unwrap()
            .apply(flat.view())
            .unwrap();
        assert_eq!(
            (out[[0, 0, 0]], out[[16, 16, 1]], out[[31, 31, 2]]),
            (PAD, 255, PAD)
        );
        assert!(
            Letterbox::new(5, 8, 32)
                .unwrap()
                .apply(flat.view())
                .is_err()
        );
    }

    #[test]
    fn fitted_frames_are_padded_to_the_stride_and_averaged() {
        let wide = Letterbox::fitted(1920, 1080, 384, 32).unwrap();
        assert_eq!((wide.width_px, wide.height_px), (384, 224));
        assert_eq!(
            (wide.scaled_height_px, wide.left_px, wide.top_px),
            (216, 0, 4)
        );
        let there = wide.map([300.0, 200.0, 600.0, 1080.0]);
        let back = wide.unmap(there);
        for (got, want) in back.iter().zip([300.0, 200.0, 600.0, 1080.0]) {
            assert!((got - want).abs() < 1e-2, "{back:?}");
        }
        // Stripes one pixel wide become their mean, but for the edges, where a stripe more or less counts.
        let stripes = Array3::from_shape_fn((128, 128, 3), |(_, x, _)| (x % 2 * 200) as u8);
        let small = Letterbox::fitted(128, 128, 32, 32)
            .unwrap()
            .apply(stripes.view())
            .unwrap();
        assert_eq!((small[[16, 16, 0]], small[[3, 20, 1]]), (100, 100));
        let flat = Array3::from_elem((9, 5, 3), 255u8);
        let out = Letterbox::fitted(5, 9, 64, 32)
            .unwrap()
            .apply(flat.view())
            .unwrap();
        assert_eq!(out.dim(), (64, 64, 3));
        assert_eq!((out[[0, 32, 0]], out[[0, 0, 1]]), (255, PAD));
        assert!(Letterbox::fitted(0, 9, 64, 32).is_err());
    }

    #[test]
    fn doubling_takes_quarters() {
        let frame = Array3::from_shape_fn((2, 2, 3), |(_, x, _)| (x * 100) as u8);
        let out = Letterbox::new(2, 2, 4)
            .unwrap()
            .apply(frame.view())
            .unwrap();
        let row: Vec<u8> = (0..4).map(|x| out[[1, x, 0]]).collect();
        assert_eq!(row, [0, 25, 75, 100]);
    }

    #[test]
    fn boxes_come_back_clipped() {
        let letterbox = Letterbox::new(1920, 1080, 640).unwrap();
        let back = letterbox.unmap([100.0, 140.0, 200.0, 240.0]);
        for (got, want) in back.iter().zip([300.0, 0.0, 600.0, 300.0]) {
            assert!((got - want).abs() < 1e-3, "{back:?}");
        }
        assert_eq!(
            letterbox.unmap([-50.0, 0.0, 900.0, 900.0]),
            [0.0, 0.0, 1920.0, 1080.0]
        );
    }
}
