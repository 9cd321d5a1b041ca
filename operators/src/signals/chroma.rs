//! Whether the colours of a frame lie where its light lies: best seen at the video's own size.

use ndarray::ArrayView3;

/// Furthest that is looked, across and to either side, in pairs of pixels: chroma has half of the luma's resolution in
/// nearly every file.
const REACH: usize = 16;
/// Every so many rows are looked at.
const ROWS: usize = 3;

/// How much better the edges of the colours (red less green, blue less green) of a frame `[h, w, 3]` agree with those of its
/// luma when they are moved sideways, as a difference of correlations: 0 where they lie upon each other, 0.1 and more
/// where chroma was shifted. `None` where there are hardly any edges, or under 128 px of width.
pub fn chroma_shift(frame: ArrayView3<u8>) -> Option<f64> {
    let (height, width, _) = frame.dim();
    if width < 8 * REACH {
        return None;
    }
    let frame = frame.as_standard_layout();
    let pixels = frame.as_slice().unwrap_or_default();
    let mut products = [0.0f64; 2 * REACH + 1];
    let mut powers = [0.0f64; 2];
    let (mut lumas, mut colours) = (Vec::new(), Vec::new());
    for y in (0..height).step_by(ROWS) {
        let row = &pixels[y * width * 3..(y + 1) * width * 3];
        lumas.clear();
        colours.clear();
        let pair = |at: &[u8], c: usize| i32::from(at[c]) + i32::from(at[c + 3]);
        for (left, right) in row.chunks_exact(6).zip(row[6..].chunks_exact(6)) {
            let [r, g, b] = [0, 1, 2].map(|c| pair(right, c) - pair(left, c));
            lumas.push((77 * r + 150 * g + 29 * b).abs() as f32 / 256.0);
            colours.push(((r - g).abs() + (b - g).abs()) as f32);
        }
        let inner = REACH..lumas.len() - REACH;
        let lumas = &lumas[inner.clone()];
        for (shift, product) in products.iter_mut().enumerate() {
            let pairs = lumas.iter().zip(&colours[shift..]);
            *product += f64::from(pairs.map(|(luma, colour)| luma * colour).sum::<f32>());
        }
        for (power, edges) in powers.iter_mut().zip([lumas, &colours[inner]]) {
            *power += f64::from(edges.iter().map(|edge| edge * edge).sum::<f32>());
        }
    }
    let scale = (powers[0] * powers[1]).sqrt();
    let best = products.iter().copied().fold(f64::MIN, f64::max);
    (scale > 1e3).then(|| (best - products[REACH]) / scale)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn shifted_colours_agree_with_the_light_elsewhere() {
        let light = |x: usize, y: usize| ((x / 14 * 31 + y / 9 * 17) % 97) as u8;
        let frame = |shift: usize| {
            // Light that is grey, and a red that follows it.
            Array3::from_shape_fn((60, 300, 3), |(y, x, c)| {
                light(x, y) + if c == 0 { light(x + shift, y) } else { 0 }
            })
        };
        let of = |shift| chroma_shift(frame(shift).view()).expect("edges");
        assert!(of(0) < 0.01 && of(12) > 0.1, "{} {}", of(0), of(12));
        let grey = Array3::from_elem((60, 300, 3), 90);
        assert_eq!(chroma_shift(grey.view()), None);
    }
}
