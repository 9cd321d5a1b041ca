//! An RGB picture in memory, and what is done to its pixels.

use ndarray::Array3;

use crate::sources;

/// RGB, 8 bit, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Width in pixels.
    pub w: usize,
    /// Height in pixels.
    pub h: usize,
    /// The pixels, `w * h`.
    pub px: Vec<[u8; 3]>,
}

/// Where a pixel of the result lies in the source: x' = a x + b y + c, y' = d x + e y + f.
#[derive(Debug, Clone, Copy)]
pub struct Map {
    /// a to f.
    pub m: [f32; 6],
}

impl Map {
    /// A camera over a picture: the result's centre shows the source's point (`x`, `y`), `zoom` result pixels show one
    /// of the source, and the picture seems turned by `angle` (radians).
    pub fn camera(size: (usize, usize), x: f32, y: f32, zoom: f32, angle: f32) -> Self {
        let (cx, cy) = ((size.0 as f32 - 1.0) / 2.0, (size.1 as f32 - 1.0) / 2.0);
        let (s, c) = angle.sin_cos();
        let (s, c) = (s / zoom, c / zoom);
        Self {
            m: [c, s, x - c * cx - s * cy, -s, c, y + s * cx - c * cy],
        }
    }

    /// Where (x, y) lies in the source.
    pub fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let m = &self.m;
        (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5])
    }
}

/// A position mirrored back into `0..len`.
fn mirrored(at: i32, len: usize) -> usize {
    let len = len as i32;
    if (0..len).contains(&at) {
        return at as usize;
    }
    let period = (2 * len - 2).max(1);
    let at = at.rem_euclid(period);
    (if at >= len { period - at } else { at }) as usize
}

impl Picture {
    /// One colour.
    pub fn flat(w: usize, h: usize, rgb: [u8; 3]) -> Self {
        Self {
            w,
            h,
            px: vec![rgb; w * h],
        }
    }

    /// By a function of x and y.
    pub fn by(w: usize, h: usize, mut of: impl FnMut(usize, usize) -> [u8; 3]) -> Self {
        let mut px = Vec::with_capacity(w * h);
        for y in 0..h {
            px.extend((0..w).map(|x| of(x, y)));
        }
        Self { w, h, px }
    }

    /// From a frame `[h, w, 3]`.
    pub fn of_frame(frame: &Array3<u8>) -> Self {
        let (h, w, _) = frame.dim();
        let frame = frame.as_standard_layout();
        let (px, _) = frame.as_slice().unwrap_or_default().as_chunks::<3>();
        Self {
            w,
            h,
            px: px.to_vec(),
        }
    }

    /// As a frame `[h, w, 3]`.
    pub fn into_frame(self) -> Array3<u8> {
        let shape = (self.h, self.w, 3);
        Array3::from_shape_vec(shape, self.px.into_flattened())
            .unwrap_or_else(|_| Array3::zeros(shape))
    }

    /// At another size, antialiased.
    pub fn resized(&self, w: usize, h: usize) -> Self {
        if (w, h) == (self.w, self.h) {
            return self.clone();
        }
        Self::of_frame(&sources::resized(
            &self.clone().into_frame(),
            w as u32,
            h as u32,
        ))
    }

    /// Resized to cover `w` x `h`, shape kept; at least that large each way.
    pub fn covering(&self, w: usize, h: usize) -> Self {
        let scale = (w as f32 / self.w as f32).max(h as f32 / self.h as f32);
        let size = |side: usize, least: usize| ((side as f32 * scale).round() as usize).max(least);
        self.resized(size(self.w, w), size(self.h, h))
    }

    /// Resized and cut in the middle to just `w` x `h`.
    pub fn filling(&self, w: usize, h: usize) -> Self {
        let large = self.covering(w, h);
        large.crop((large.w - w) / 2, (large.h - h) / 2, w, h)
    }

    /// A part of it; the part is moved inside if it sticks out.
    pub fn crop(&self, x: usize, y: usize, w: usize, h: usize) -> Self {
        let (w, h) = (w.min(self.w), h.min(self.h));
        let (x, y) = (x.min(self.w - w), y.min(self.h - h));
        let mut px = Vec::with_capacity(w * h);
        for row in y..y + h {
            px.extend_from_slice(&self.px[row * self.w + x..][..w]);
        }
        Self { w, h, px }
    }

    /// Left for right.
    pub fn mirrored(mut self) -> Self {
        for row in self.px.chunks_exact_mut(self.w) {
            row.reverse();
        }
        self
    }

    /// Turned clockwise by so many quarters.
    pub fn turned(&self, quarters: usize) -> Self {
        let (w, h) = (self.w, self.h);
        match quarters % 4 {
            1 => Self::by(h, w, |x, y| self.px[(h - 1 - x) * w + y]),
            2 => Self {
                px: self.px.iter().rev().copied().collect(),
                ..*self
            },
            3 => Self::by(h, w, |x, y| self.px[x * w + (w - 1 - y)]),
            _ => self.clone(),
        }
    }

    /// The pixel nearest to (x, y), mirrored at the edges.
    pub fn near(&self, x: i32, y: i32) -> [u8; 3] {
        self.px[mirrored(y, self.h) * self.w + mirrored(x, self.w)]
    }

    /// Between pixels, mirrored at the edges.
    #[inline]
    pub fn sample(&self, x: f32, y: f32) -> [u8; 3] {
        let (fx, fy) = (x.floor(), y.floor());
        let (ix, iy) = (fx as i32, fy as i32);
        let (wx, wy) = (((x - fx) * 256.0) as u32, ((y - fy) * 256.0) as u32);
        let four = if ix >= 0 && iy >= 0 && ix + 1 < self.w as i32 && iy + 1 < self.h as i32 {
            let at = iy as usize * self.w + ix as usize;
            [
                self.px[at],
                self.px[at + 1],
                self.px[at + self.w],
                self.px[at + self.w + 1],
            ]
        } else {
            [
                self.near(ix, iy),
                self.near(ix + 1, iy),
                self.near(ix, iy + 1),
                self.near(ix + 1, iy + 1),
            ]
        };
        let mut rgb = [0; 3];
        for c in 0..3 {
            let of = |k: usize| u32::from(four[k][c]);
            let upper = of(0) * (256 - wx) + of(1) * wx;
            let lower = of(2) * (256 - wx) + of(3) * wx;
            rgb[c] = ((upper * (256 - wy) + lower * wy + 32768) >> 16) as u8;
        }
        rgb
    }

    /// Seen through a map.
    pub fn warped(&self, w: usize, h: usize, map: &Map) -> Self {
        Self::by(w, h, |x, y| {
            let (sx, sy) = map.at(x as f32, y as f32);
            self.sample(sx, sy)
        })
    }

    /// Seen through any function.
    pub fn bent(&self, w: usize, h: usize, mut to: impl FnMut(f32, f32) -> (f32, f32)) -> Self {
        Self::by(w, h, |x, y| {
            let (sx, sy) = to(x as f32, y as f32);
            self.sample(sx, sy)
        })
    }

    /// Each channel through a table.
    pub fn toned(mut self, table: &[u8; 256]) -> Self {
        for rgb in &mut self.px {
            *rgb = rgb.map(|value| table[usize::from(value)]);
        }
        self
    }

    /// Each pixel by a function.
    pub fn coloured(mut self, of: impl Fn([u8; 3]) -> [u8; 3]) -> Self {
        self.px.iter_mut().for_each(|rgb| *rgb = of(*rgb));
        self
    }

    /// `share` (0 to 1) of the other, of the same size, over this.
    pub fn mixed(mut self, other: &Picture, share: f32) -> Self {
        let share = (share.clamp(0.0, 1.0) * 256.0) as u32;
        for (own, other) in self.px.iter_mut().zip(&other.px) {
            *own = blend(*own, *other, share);
        }
        self
    }

    /// Where `of` (0 to 256, by x and y) the other is seen.
    pub fn masked(mut self, other: &Picture, of: impl Fn(usize, usize) -> u32) -> Self {
        for (at, (own, other)) in self.px.iter_mut().zip(&other.px).enumerate() {
            *own = blend(*own, *other, of(at % self.w, at / self.w).min(256));
        }
        self
    }

    /// Another picture put over it, its top left corner at (x, y); what sticks out is cut off.
    pub fn put(&mut self, other: &Picture, x: i32, y: i32) {
        for row in 0..other.h as i32 {
            let to = y + row;
            if !(0..self.h as i32).contains(&to) {
                continue;
            }
            let from = (-x).clamp(0, other.w as i32) as usize;
            let until = (self.w as i32 - x).clamp(0, other.w as i32) as usize;
            if from < until {
                let target = (to as usize * self.w) + (x + from as i32) as usize;
                self.px[target..target + until - from]
                    .copy_from_slice(&other.px[row as usize * other.w..][from..until]);
            }
        }
    }

    /// Means over (2 r + 1)², separable running sums.
    pub fn box_blurred(&self, r: usize) -> Self {
        if r == 0 {
            return self.clone();
        }
        self.blurred_rows(r)
            .transposed()
            .blurred_rows(r)
            .transposed()
    }

    /// Along the rows only.
    pub fn blurred_rows(&self, r: usize) -> Self {
        let n = (2 * r + 1) as u32;
        let mut px = Vec::with_capacity(self.px.len());
        for row in self.px.chunks_exact(self.w) {
            let at = |x: i32| row[mirrored(x, self.w)];
            let mut sums = [0u32; 3];
            for x in -(r as i32)..=r as i32 {
                let rgb = at(x);
                (0..3).for_each(|c| sums[c] += u32::from(rgb[c]));
            }
            for x in 0..self.w as i32 {
                px.push(sums.map(|sum| ((sum + n / 2) / n) as u8));
                let (gone, come) = (at(x - r as i32), at(x + r as i32 + 1));
                (0..3).for_each(|c| sums[c] = sums[c] + u32::from(come[c]) - u32::from(gone[c]));
            }
        }
        Self { px, ..*self }
    }

    /// Rows for columns.
    pub fn transposed(&self) -> Self {
        Self::by(self.h, self.w, |x, y| self.px[x * self.w + y])
    }

    /// Nearly Gaussian, by three boxes.
    pub fn blurred(&self, sigma: f32) -> Self {
        let r = (sigma * 1.0).round().max(0.0) as usize;
        if r == 0 {
            // Between no blur and the smallest box.
            return self
                .clone()
                .mixed(&self.box_blurred(1), (sigma * 1.6).min(1.0));
        }
        self.box_blurred(r).box_blurred(r).box_blurred(r)
    }
}

/// `share` of 256 of b over a.
#[inline]
pub fn blend(a: [u8; 3], b: [u8; 3], share: u32) -> [u8; 3] {
    let mut rgb = [0; 3];
    for c in 0..3 {
        rgb[c] = ((u32::from(a[c]) * (256 - share) + u32::from(b[c]) * share + 128) >> 8) as u8;
    }
    rgb
}

/// A table of tones: gain, offset and gamma about the full scale.
pub fn tones(gain: f32, offset: f32, gamma: f32) -> [u8; 256] {
    std::array::from_fn(|value| {
        let value = (value as f32 / 255.0).powf(gamma) * gain + offset;
        (value.clamp(0.0, 1.0) * 255.0).round() as u8
    })
}

/// Hue (0 to 6), saturation and value (0 to 1) as RGB.
pub fn hsv(hue: f32, saturation: f32, value: f32) -> [u8; 3] {
    let hue = hue.rem_euclid(6.0);
    let channel = |shift: f32| {
        let k = (shift + hue).rem_euclid(6.0);
        let value = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        (value * 255.0).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Picture {
        Picture::by(8, 6, |x, y| [x as u8 * 10, y as u8 * 10, 7])
    }

    #[test]
    fn turning_four_times_and_mirroring_twice_changes_nothing() {
        let picture = ramp();
        let mut turned = picture.clone();
        for _ in 0..4 {
            turned = turned.turned(1);
        }
        assert_eq!(turned, picture);
        assert_eq!(picture.turned(1).turned(2), picture.turned(3));
        assert_eq!(
            picture.turned(1).px[0],
            [0, 50, 7],
            "clockwise: the left edge comes up"
        );
        assert_eq!(picture.clone().mirrored().mirrored(), picture);
    }

    #[test]
    fn a_camera_that_does_nothing_shows_the_same() {
        let picture = ramp();
        let map = Map::camera((8, 6), 3.5, 2.5, 1.0, 0.0);
        assert_eq!(picture.warped(8, 6, &map), picture);
        let moved = picture.warped(4, 4, &Map::camera((4, 4), 3.5, 2.5, 1.0, 0.0));
        assert_eq!(moved, picture.crop(2, 1, 4, 4));
    }

    #[test]
    fn hues_go_round() {
        assert_eq!(hsv(0.0, 1.0, 1.0), [255, 0, 0]);
        assert_eq!(hsv(2.0, 1.0, 1.0), [0, 255, 0]);
        assert_eq!(hsv(4.0, 1.0, 1.0), [0, 0, 255]);
        assert_eq!(hsv(1.3, 0.0, 0.5), [128, 128, 128]);
    }
}
