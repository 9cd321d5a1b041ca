//! Masks of ink, and painting with them.

use std::rc::Rc;

use ndarray::Array3;

/// How much ink there is at each pixel, 0 to 255.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    ink: Vec<u8>,
}

impl Mask {
    /// No ink.
    pub fn empty(width: usize, height: usize) -> Self {
        Mask {
            width,
            height,
            ink: vec![0; width * height],
        }
    }

    /// All ink.
    pub fn full(width: usize, height: usize) -> Self {
        Mask {
            width,
            height,
            ink: vec![255; width * height],
        }
    }

    /// Ink where a signed distance in pixels is negative; `distance` is given places from the middle.
    pub fn shape(width: usize, height: usize, distance: impl Fn(f32, f32) -> f32) -> Self {
        let mut mask = Mask::empty(width, height);
        let (cx, cy) = (width as f32 / 2.0, height as f32 / 2.0);
        for y in 0..height {
            for x in 0..width {
                let d = distance(x as f32 + 0.5 - cx, y as f32 + 0.5 - cy);
                mask.ink[y * width + x] = ((0.5 - d).clamp(0.0, 1.0) * 255.0) as u8;
            }
        }
        mask
    }

    /// Ink at a place, 0 outside.
    pub fn at(&self, x: i32, y: i32) -> u8 {
        if x < 0 || y < 0 || x >= self.width as i32 || y >= self.height as i32 {
            0
        } else {
            self.ink[y as usize * self.width + x as usize]
        }
    }

    /// Adds ink, 0 to 1; outside nothing happens.
    pub fn add(&mut self, x: i32, y: i32, ink: f32) {
        if x >= 0 && y >= 0 && x < self.width as i32 && y < self.height as i32 {
            let place = &mut self.ink[y as usize * self.width + x as usize];
            *place = place.saturating_add((ink.clamp(0.0, 1.0) * 255.0) as u8);
        }
    }

    /// The same with so many empty pixels around it.
    pub fn padded(&self, pad: usize) -> Self {
        let mut out = Mask::empty(self.width + 2 * pad, self.height + 2 * pad);
        for (y, row) in self.ink.chunks_exact(self.width.max(1)).enumerate() {
            let start = (y + pad) * out.width + pad;
            out.ink[start..start + self.width].copy_from_slice(row);
        }
        out
    }

    /// The ink spread by so many pixels each way; `pad` first, or it is cut off.
    pub fn spread(&self, reach: usize) -> Self {
        self.filtered(reach, |around| around.iter().copied().max().unwrap_or(0))
    }

    /// The ink blurred over so many pixels each way.
    pub fn blurred(&self, reach: usize) -> Self {
        let mean = |around: &[u8]| {
            let sum: usize = around.iter().map(|ink| usize::from(*ink)).sum();
            (sum / around.len().max(1)) as u8
        };
        self.filtered(reach, mean)
    }

    fn filtered(&self, reach: usize, pick: impl Fn(&[u8]) -> u8) -> Self {
        let (w, h) = (self.width, self.height);
        let mut across = Mask::empty(w, h);
        for y in 0..h {
            let row = &self.ink[y * w..(y + 1) * w];
            for x in 0..w {
                across.ink[y * w + x] = pick(&row[x.saturating_sub(reach)..(x + reach + 1).min(w)]);
            }
        }
        let mut out = Mask::empty(w, h);
        let mut column = vec![0; h];
        for x in 0..w {
            for (y, ink) in column.iter_mut().enumerate() {
                *ink = across.ink[y * w + x];
            }
            for y in 0..h {
                out.ink[y * w + x] = pick(&column[y.saturating_sub(reach)..(y + reach + 1).min(h)]);
            }
        }
        out
    }

    /// Turned by an angle in radians, on a mask just large enough.
    pub fn turned(&self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        let (w, h) = (self.width as f32, self.height as f32);
        let width = (w * cos.abs() + h * sin.abs()).ceil() as usize + 2;
        let height = (w * sin.abs() + h * cos.abs()).ceil() as usize + 2;
        let mut out = Mask::empty(width, height);
        for y in 0..height {
            for x in 0..width {
                let (dx, dy) = (
                    x as f32 + 0.5 - width as f32 / 2.0,
                    y as f32 + 0.5 - height as f32 / 2.0,
                );
                let from = (
                    dx * cos + dy * sin + w / 2.0 - 0.5,
                    -dx * sin + dy * cos + h / 2.0 - 0.5,
                );
                let (x0, y0) = (from.0.floor(), from.1.floor());
                let (fx, fy) = (from.0 - x0, from.1 - y0);
                let ink = |i: i32, j: i32| f32::from(self.at(x0 as i32 + i, y0 as i32 + j));
                let upper = ink(0, 0) + fx * (ink(1, 0) - ink(0, 0));
                let lower = ink(0, 1) + fx * (ink(1, 1) - ink(0, 1));
                out.ink[y * width + x] = (upper + fy * (lower - upper)) as u8;
            }
        }
        out
    }

    /// Cut to the left `share` of the columns, and the rest.
    pub fn halves(&self, share: f32) -> (Self, Self) {
        let at = (self.width as f32 * share) as usize;
        let (mut left, mut right) = (self.clone(), self.clone());
        for y in 0..self.height {
            left.ink[y * self.width + at..(y + 1) * self.width].fill(0);
            right.ink[y * self.width..y * self.width + at].fill(0);
        }
        (left, right)
    }

    /// The rectangle of what has more ink than this: left, upper, right and lower edge.
    pub fn bounds(&self, least: u8) -> Option<[i32; 4]> {
        let mut found: Option<[i32; 4]> = None;
        for y in 0..self.height {
            for x in 0..self.width {
                if self.ink[y * self.width + x] > least {
                    let (x, y) = (x as i32, y as i32);
                    let b = found.unwrap_or([x, y, x + 1, y + 1]);
                    found = Some([b[0].min(x), b[1].min(y), b[2].max(x + 1), b[3].max(y + 1)]);
                }
            }
        }
        found
    }
}

/// Ink of one colour on its place over a frame.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The ink.
    pub mask: Rc<Mask>,
    /// Left edge in the frame.
    pub x: i32,
    /// Upper edge in the frame.
    pub y: i32,
    /// Red, green and blue at the upper and at the lower edge.
    pub colours: [[u8; 3]; 2],
    /// How much of it covers what is beneath, 0 to 1.
    pub opacity: f32,
}

impl Layer {
    /// A layer of one colour.
    pub fn flat(mask: Rc<Mask>, x: i32, y: i32, colour: [u8; 3], opacity: f32) -> Self {
        Layer {
            mask,
            x,
            y,
            colours: [colour; 2],
            opacity,
        }
    }

    /// Paints the layer over a frame.
    pub fn paint(&self, frame: &mut Array3<u8>) {
        let (height, width, _) = frame.dim();
        let mask = &self.mask;
        let from_x = (-self.x).max(0) as usize;
        let to_x = (width as i32 - self.x).clamp(0, mask.width as i32) as usize;
        for my in 0..mask.height {
            let y = self.y + my as i32;
            if y < 0 || y >= height as i32 {
                continue;
            }
            let down = my as f32 / mask.height.max(1) as f32;
            let colour: [f32; 3] = std::array::from_fn(|c| {
                let [upper, lower] = self.colours.map(|colour| f32::from(colour[c]));
                upper + down * (lower - upper)
            });
            for mx in from_x..to_x.max(from_x) {
                let ink = mask.ink[my * mask.width + mx];
                if ink == 0 {
                    continue;
                }
                let share = f32::from(ink) / 255.0 * self.opacity;
                let x = (self.x + mx as i32) as usize;
                for (c, colour) in colour.iter().enumerate() {
                    let place = &mut frame[[y as usize, x, c]];
                    let old = f32::from(*place);
                    *place = (old + share * (colour - old) + 0.5) as u8;
                }
            }
        }
    }

    /// Where its ink is in the frame, if it has any.
    pub fn bounds(&self) -> Option<[f32; 4]> {
        let [x0, y0, x1, y1] = self.mask.bounds(40)?;
        Some([
            (self.x + x0) as f32,
            (self.y + y0) as f32,
            (self.x + x1) as f32,
            (self.y + y1) as f32,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disc_has_its_area_and_its_bounds() {
        let disc = Mask::shape(21, 21, |x, y| x.hypot(y) - 10.0);
        let area: f32 = disc.ink.iter().map(|ink| f32::from(*ink) / 255.0).sum();
        assert!((area - 314.0).abs() < 8.0, "{area}");
        let inside = disc.bounds(128).unwrap_or_default();
        assert!(inside[0] <= 1 && inside[2] >= 20, "{inside:?}");
        assert_eq!(
            disc.padded(3).bounds(128),
            Some(inside.map(|edge| edge + 3))
        );
        let turned = Mask::full(20, 4).turned(std::f32::consts::FRAC_PI_2);
        let [x0, y0, x1, y1] = turned.bounds(128).unwrap_or_default();
        assert!((x1 - x0 - 4).abs() <= 1 && (y1 - y0 - 20).abs() <= 1);
    }

    #[test]
    fn paint_covers_by_its_share_and_stays_in_the_frame() {
        let mut frame = Array3::from_elem((4, 4, 3), 100u8);
        let ink = Rc::new(Mask::full(4, 4));
        Layer::flat(Rc::clone(&ink), 2, 2, [200, 100, 0], 0.5).paint(&mut frame);
        assert_eq!([0, 1, 2].map(|c| frame[[3, 3, c]]), [150, 100, 50]);
        assert_eq!(frame[[1, 1, 0]], 100);
        Layer::flat(ink, -9, -9, [0, 0, 0], 1.0).paint(&mut frame);
        assert_eq!(frame[[0, 0, 0]], 100);
    }
}
