//! What the colours of a frame say.

use ndarray::ArrayView3;

/// Bins of [`Colour::histogram`]: 4 x 4 x 4 of red, green and blue.
pub const BINS: usize = 64;

/// Pixels whose terms are computed together.
const RUN: usize = 64;

/// The colours of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Colour {
    /// Mean of (largest - smallest channel) / largest, 0 to 1.
    pub saturation: f64,
    /// How colourful, in levels: 0 grey, 30 usual, 60 and more gaudy. Hasler and Süsstrunk, "Measuring colourfulness in
    /// natural images", 2003.
    pub colourfulness: f64,
    /// How much one hue prevails: the length of the mean of all hues as directions, weighted by saturation; 0 (all hues
    /// alike) to 1 (one). Two hues that face each other count as one, as a duotone has.
    pub one_hue: f64,
    /// Share of the pixels in each cell of RGB.
    pub histogram: Vec<f32>,
}

/// The colours of a frame `[h, w, 3]`.
pub fn colour(frame: ArrayView3<u8>) -> Colour {
    let frame = frame.as_standard_layout();
    let pixels = frame.as_slice().unwrap_or_default();
    let count = (pixels.len() / 3).max(1) as f64;
    let (mut saturation, mut chroma) = (0.0f64, 0.0f64);
    let mut hue = [0.0f64; 2];
    let mut sums = [0i64; 4];
    let mut histogram = [0u32; BINS];
    // A run of pixels at a time: the terms of each pixel are computed in vector code, and then added up in order.
    for run in pixels.chunks(3 * RUN) {
        let mut channels = [[0.0f32; RUN]; 3];
        for (at, rgb) in run.chunks_exact(3).enumerate() {
            histogram[usize::from(rgb[0] >> 6) << 4
                | usize::from(rgb[1] >> 6) << 2
                | usize::from(rgb[2] >> 6)] += 1;
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(i32::from);
            // Twice the yellow, so that it is whole: sums of whole numbers have no order.
            let (rg, yb) = (r - g, r + g - 2 * b);
            for (sum, value) in sums.iter_mut().zip([rg, yb, rg * rg, yb * yb]) {
                *sum += i64::from(value);
            }
            for (channel, value) in channels.iter_mut().zip(rgb) {
                channel[at] = f32::from(*value);
            }
        }
        let mut terms = [[0.0f32; RUN]; 4];
        for at in 0..RUN {
            let [r, g, b] = [channels[0][at], channels[1][at], channels[2][at]];
            let (most, least) = (r.max(g).max(b), r.min(g).min(b));
            // Doubling the angle of the vector (x, y) lets opposite hues agree.
            let (x, y) = (r - g, 0.5 * (r + g) - b);
            let length = (x * x + y * y).sqrt();
            terms[0][at] = (most - least) / most.max(16.0);
            terms[1][at] = length;
            terms[2][at] = (x * x - y * y) / length;
            terms[3][at] = 2.0 * x * y / length;
        }
        let [saturations, lengths, xs, ys] = &terms;
        let hues = lengths.iter().zip(xs.iter().zip(ys));
        let pixels = saturations.iter().zip(hues).take(run.len() / 3);
        for (of_pixel, (length, (x, y))) in pixels {
            saturation += f64::from(*of_pixel);
            if *length > 6.0 {
                chroma += f64::from(*length);
                hue[0] += f64::from(*x);
                hue[1] += f64::from(*y);
            }
        }
    }
    let [rg, yb, rg2, yb2] = sums.map(|sum| sum as f64);
    let [rg, yb, rg2, yb2] = [rg, yb / 2.0, rg2, yb2 / 4.0].map(|sum| sum / count);
    let deviation = (rg2 - rg * rg + yb2 - yb * yb).max(0.0).sqrt();
    Colour {
        saturation: saturation / count,
        colourfulness: deviation + 0.3 * rg.hypot(yb),
        one_hue: if chroma > count {
            hue[0].hypot(hue[1]) / chroma
        } else {
            0.0
        },
        histogram: histogram
            .iter()
            .map(|bin| (f64::from(*bin) / count) as f32)
            .collect(),
    }
}

/// How much two histograms differ: half the sum of the differences, 0 (the same) to 1 (nothing in common).
pub fn histogram_change(before: &Colour, after: &Colour) -> f64 {
    let bins = before.histogram.iter().zip(&after.histogram);
    f64::from(bins.map(|(a, b)| (a - b).abs()).sum::<f32>()) / 2.0
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn of(at: impl Fn(usize) -> [u8; 3]) -> Colour {
        colour(Array3::from_shape_fn((8, 8, 3), |(y, x, c)| at(y * 8 + x)[c]).view())
    }

    #[test]
    fn grey_has_no_colour_and_one_tint_one_hue() {
        let grey = of(|at| [at as u8 * 3; 3]);
        assert_eq!(
            (grey.saturation, grey.colourfulness, grey.one_hue),
            (0.0, 0.0, 0.0)
        );
        let tint = of(|at| [at as u8 * 3, at as u8, at as u8 / 4]);
        assert!(tint.one_hue > 0.95 && tint.saturation > 0.5, "{tint:?}");
        let wheel = of(|at| match at % 3 {
            0 => [250, 20, 20],
            1 => [20, 250, 20],
            _ => [20, 20, 250],
        });
        assert!(
            wheel.one_hue < 0.6 && wheel.colourfulness > 100.0,
            "{wheel:?}"
        );
    }

    #[test]
    fn histograms_that_share_nothing_differ_by_one() {
        let (dark, bright) = (of(|_| [10; 3]), of(|_| [240; 3]));
        assert_eq!(histogram_change(&dark, &bright), 1.0);
        assert_eq!(histogram_change(&dark, &dark), 0.0);
    }
}
