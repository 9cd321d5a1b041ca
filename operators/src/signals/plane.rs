//! The luma of a frame.

use ndarray::ArrayView3;

/// One channel, 8 bit, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Plane {
    /// A plane of this width from its rows.
    ///
    /// # Panics
    /// If the data are not whole rows: a bug.
    pub fn new(width: usize, data: Vec<u8>) -> Self {
        assert!(
            width > 0 && data.len().is_multiple_of(width),
            "data are whole rows"
        );
        Self {
            width,
            height: data.len() / width,
            data,
        }
    }

    /// Luma of an RGB frame `[h, w, 3]`: 0.299 R + 0.587 G + 0.114 B of the gamma-coded values (ITU-R BT.601), rounded.
    pub fn luma(frame: ArrayView3<u8>) -> Self {
        let (height, width, _) = frame.dim();
        let frame = frame.as_standard_layout();
        let pixels = frame.as_slice().unwrap_or_default();
        // The weights in 1/65536; they add up to 65536, so that white stays 255.
        let luma = |rgb: &[u8]| {
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
            ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8
        };
        Self {
            width,
            height,
            data: pixels.chunks_exact(3).map(luma).collect(),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Whether the other plane has the same size.
    pub fn same_size(&self, other: &Plane) -> bool {
        (self.width, self.height) == (other.width, other.height)
    }

    /// All pixels, row by row.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The rows from above.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.data.chunks_exact(self.width.max(1))
    }

    /// One row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..(y + 1) * self.width]
    }

    /// Means of `factor` × `factor` pixels as floats, 0 to 255, with the new width; what does not fill a whole cell at
    /// the right and the bottom is left out.
    pub fn shrunk(&self, factor: usize) -> (usize, Vec<f32>) {
        let (width, height) = (self.width / factor, self.height / factor);
        let mut means = Vec::with_capacity(width * height);
        let mut sums = vec![0u32; width];
        for cell_row in self.data.chunks_exact(self.width * factor).take(height) {
            sums.fill(0);
            for row in cell_row.chunks_exact(self.width) {
                for (sum, cell) in sums.iter_mut().zip(row.chunks_exact(factor)) {
                    *sum += cell.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
                }
            }
            let area = (factor * factor) as f32;
            means.extend(sums.iter().map(|sum| *sum as f32 / area));
        }
        (width, means)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn luma_weighs_the_channels() {
        let frame = Array3::from_shape_vec(
            (1, 4, 3),
            vec![255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255],
        )
        .expect("shape");
        assert_eq!(Plane::luma(frame.view()).data(), [255, 76, 150, 29]);
    }

    #[test]
    fn shrinking_takes_means_of_whole_cells() {
        let plane = Plane::new(5, (0..25).collect());
        assert_eq!(plane.shrunk(2), (2, vec![3.0, 5.0, 13.0, 15.0]));
        assert_eq!(plane.shrunk(6), (0, vec![]));
    }
}
