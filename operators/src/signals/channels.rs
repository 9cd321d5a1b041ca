//! Whether the colours of a frame lie where its light lies: best seen at the video's own size.

use ndarray::ArrayView3;

/// Furthest that is looked, across and to either side, in pairs of pixels.
const REACH: usize = 16;
/// Every so many rows are looked at.
const ROWS: usize = 3;

/// How much better the edges of one part of a frame's colours agree with another's when they are moved against each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifts {
    /// Red against blue: 0 where they lie upon each other, 0.2 and more where an effect split them.
    pub channels: Option<f64>,
    /// Colour (red less green, blue less green) against luma: 0 where they lie upon each other.
    pub chroma: Option<f64>,
}

/// The shifts of a frame `[h, w, 3]`. `None` where there are hardly any edges.
pub fn shifts(frame: ArrayView3<u8>) -> Shifts {
    let (height, width, _) = frame.dim();
    let frame = frame.as_standard_layout();
    let pixels = frame.as_slice().unwrap_or_default();
    if width < 8 * REACH {
        return Shifts {
            channels: None,
            chroma: None,
        };
    }
    let (mut channels, mut chroma) = (Agreement::NONE, Agreement::NONE);
    let mut edges: [Vec<f32>; 4] = Default::default();
    for y in (0..height).step_by(ROWS) {
        let row = &pixels[y * width * 3..(y + 1) * width * 3];
        edges.iter_mut().for_each(Vec::clear);
        // Colour has half of the luma's resolution in nearly every file.
        let pair = |at: &[u8], c: usize| i32::from(at[c]) + i32::from(at[c + 3]);
        for (left, right) in row.chunks_exact(6).zip(row[6..].chunks_exact(6)) {
            let [r, g, b] = [0, 1, 2].map(|c| pair(right, c) - pair(left, c));
            let luma = (77 * r + 150 * g + 29 * b) as f32 / 256.0;
            edges[0].push(r as f32);
            edges[1].push(b as f32);
            edges[2].push(luma.abs());
            edges[3].push(((r - g).abs() + (b - g).abs()) as f32);
        }
        channels.add(&edges[0], &edges[1]);
        chroma.add(&edges[2], &edges[3]);
    }
    Shifts {
        channels: channels.gain(),
        chroma: chroma.gain(),
    }
}

/// Sums of products at each shift.
struct Agreement {
    products: [f64; 2 * REACH + 1],
    powers: [f64; 2],
}

impl Agreement {
    const NONE: Self = Self {
        products: [0.0; 2 * REACH + 1],
        powers: [0.0; 2],
    };

    fn add(&mut self, a: &[f32], b: &[f32]) {
        let inner = &a[REACH..a.len() - REACH];
        for (shift, product) in self.products.iter_mut().enumerate() {
            let pairs = inner.iter().zip(&b[shift..]);
            *product += f64::from(pairs.map(|(a, b)| a * b).sum::<f32>());
        }
        for (power, of) in self
            .powers
            .iter_mut()
            .zip([inner, &b[REACH..b.len() - REACH]])
        {
            *power += f64::from(of.iter().map(|x| x * x).sum::<f32>());
        }
    }

    /// Correlation at the best shift less that without one.
    fn gain(&self) -> Option<f64> {
        let scale = (self.powers[0] * self.powers[1]).sqrt();
        let best = self.products.iter().copied().fold(f64::MIN, f64::max);
        (scale > 1e3).then(|| (best - self.products[REACH]) / scale)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn split_colours_agree_elsewhere() {
        let light = |x: usize, y: usize| ((x / 14 * 31 + y / 9 * 17) % 97 * 2) as u8;
        let frame = |red: usize| {
            Array3::from_shape_fn((60, 300, 3), |(y, x, c)| {
                light(x + if c == 0 { red } else { 0 }, y) / if c == 2 { 2 } else { 1 }
            })
        };
        let [whole, split] = [0, 12].map(|red| shifts(frame(red).view()).channels.expect("edges"));
        assert!(whole == 0.0 && split > 0.5, "{whole} {split}");
        let grey = Array3::from_elem((60, 300, 3), 90);
        assert_eq!(shifts(grey.view()).channels, None);
    }
}
