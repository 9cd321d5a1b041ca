//! How a coded picture is turned and mirrored to stand upright.

/// One of the eight ways a rectangle can be laid on itself or its transpose: first the axes are swapped (if
/// `transpose`), then the result is mirrored along x and y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Left becomes right, after the transpose.
    pub flip_x: bool,
    /// Top becomes bottom, after the transpose.
    pub flip_y: bool,
}

impl Orientation {
    /// From a container's display matrix: nine 32-bit numbers, row by row, `[a b u; c d v; x y w]`, of which a, b, c and d
    /// say where the axes go (ISO 14496-12, 6.2.2). Turns that are not a multiple of 90° (within about a degree) are
    /// ignored: no camera writes them, and players differ.
    pub(crate) fn from_display_matrix(matrix: &[i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = matrix.map(f64::from);
        let (kept, swapped) = (a.abs() + d.abs(), b.abs() + c.abs());
        if kept > 50.0 * swapped {
            Self {
                transpose: false,
                flip_x: a < 0.0,
                flip_y: d < 0.0,
            }
        } else if swapped > 50.0 * kept {
            Self {
                transpose: true,
                flip_x: c < 0.0,
                flip_y: b < 0.0,
            }
        } else {
            Self::default()
        }
    }

    /// From a number of degrees to turn clockwise; what is not a multiple of 90 is ignored.
    pub(crate) fn from_clockwise_degrees(degrees: i64) -> Self {
        let (transpose, flip_x, flip_y) = match degrees.rem_euclid(360) {
            90 => (true, true, false),
            180 => (false, true, true),
            270 => (true, false, true),
            _ => (false, false, false),
        };
        Self {
            transpose,
            flip_x,
            flip_y,
        }
    }

    /// Degrees the coded picture is turned clockwise, after it has been mirrored left to right when
    /// [`is_mirrored`](Self::is_mirrored): 0, 90, 180 or 270.
    pub fn rotation_degrees(self) -> u32 {
        match (self.transpose, self.flip_x, self.flip_y) {
            (false, false, false) | (false, true, false) => 0,
            (true, true, _) => 90,
            (false, _, true) => 180,
            (true, false, _) => 270,
        }
    }

    /// Whether the picture is also mirrored.
    pub fn is_mirrored(self) -> bool {
        self.transpose ^ self.flip_x ^ self.flip_y
    }

    /// A size in coded axes, in display axes (and back: swapping is its own inverse).
    pub(crate) fn swap<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.transpose {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// Lays RGB rows of `width` x `height` (coded axes) out upright. Returns the rows in display axes.
    pub(crate) fn apply(self, rgb: Vec<u8>, width: usize, height: usize) -> Vec<u8> {
        if self == Self::default() {
            return rgb;
        }
        let (out_width, out_height) = self.swap((width, height));
        let mut out = Vec::with_capacity(rgb.len());
        for y in 0..out_height {
            let y = if self.flip_y { out_height - 1 - y } else { y };
            for x in 0..out_width {
                let x = if self.flip_x { out_width - 1 - x } else { x };
                let (column, row) = self.swap((x, y));
                let at = (row * width + column) * 3;
                out.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 16;

    /// A 3x2 picture whose pixels are numbered 0..6.
    fn numbered() -> Vec<u8> {
        (0..6).flat_map(|n| [n, n, n]).collect()
    }

    fn applied(orientation: Orientation) -> Vec<u8> {
        orientation
            .apply(numbered(), 3, 2)
            .chunks(3)
            .map(|pixel| pixel[0])
            .collect()
    }

    #[test]
    fn turning_clockwise_brings_the_left_column_to_the_top() {
        // 0 1 2        3 0
        // 3 4 5   ->   4 1
        //              5 2
        let turned = Orientation::from_clockwise_degrees(90);
        assert_eq!(applied(turned), [3, 0, 4, 1, 5, 2]);
        assert_eq!(
            applied(Orientation::from_clockwise_degrees(-90)),
            [2, 5, 1, 4, 0, 3]
        );
        assert_eq!(
            applied(Orientation::from_clockwise_degrees(180)),
            [5, 4, 3, 2, 1, 0]
        );
        assert_eq!(
            applied(Orientation::from_clockwise_degrees(45)),
            [0, 1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn the_matrix_of_a_phone_held_upright_turns_clockwise() {
        // What phones write, and what `av_display_rotation_set(-90)` gives.
        let matrix = [0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30];
        let orientation = Orientation::from_display_matrix(&matrix);
        assert_eq!(orientation, Orientation::from_clockwise_degrees(90));
        assert_eq!(orientation.rotation_degrees(), 90);
        let skewed = [ONE, ONE, 0, -ONE, ONE, 0, 0, 0, 1 << 30];
        assert_eq!(
            Orientation::from_display_matrix(&skewed),
            Orientation::default()
        );
        assert_eq!(
            Orientation::from_display_matrix(&[0; 9]),
            Orientation::default()
        );
    }

    #[test]
    fn every_orientation_is_its_mirror_and_then_its_rotation() {
        let mirror = Orientation {
            flip_x: true,
            ..Orientation::default()
        };
        for bits in 0..8 {
            let orientation = Orientation {
                transpose: bits & 1 != 0,
                flip_x: bits & 2 != 0,
                flip_y: bits & 4 != 0,
            };
            let mut rgb = numbered();
            if orientation.is_mirrored() {
                rgb = mirror.apply(rgb, 3, 2);
            }
            let turn = Orientation::from_clockwise_degrees(orientation.rotation_degrees().into());
            assert_eq!(
                turn.apply(rgb, 3, 2),
                orientation.apply(numbered(), 3, 2),
                "{orientation:?}"
            );
        }
    }
}
