//! Logos and watermarks that stand still while the picture behind them moves.
//!
//! An overlay leaves the same edges in every frame; a picture that moves does not. So the gradient of each pixel is taken
//! over the frames, its median found, and the pixels kept whose gradient agrees with the median in nearly all frames
//! (Dekel et al., "On the effectiveness of visible watermarks", 2017, estimate watermarks from such medians). They are
//! joined to boxes. Then the doubt begins: a tripod, a still picture or a wall leaves such pixels, too. A box counts only
//! if the picture around it does change and leaves hardly any lasting edges of its own; if most lasting edges lie outside
//! of such boxes, it is the scene that stands still, and nothing is claimed.

use super::tracks::hull;

/// Frames under which nothing can be said to last.
const MIN_FRAMES: usize = 6;

/// Least median gradient of a lasting edge, in 8-bit levels a pixel.
const EDGE_LEVELS: f32 = 3.0;

/// Share of the frames in which a lasting edge must agree with its median.
const LASTING: f64 = 0.8;

/// Range between the frames (a tenth cut off at both ends) from which a pixel changes, in 8-bit levels.
const CHANGE_LEVELS: f32 = 14.0;

/// Share of the pixels around an overlay that must change.
const RING_CHANGE: f64 = 0.75;

/// Largest share of lasting edges around an overlay, among the edges there.
const RING_LASTING: f64 = 0.12;

/// Largest share of the frame that an overlay takes.
const MAX_AREA: f64 = 0.25;

/// Share of all lasting edges that must lie in the overlays found.
const EXPLAINED: f64 = 0.6;

/// Least score of an overlay. The point that a camera moves towards lasts, too, but its edges agree less well (0.86 on
/// footage from a car) than those of something drawn into the picture.
const MIN_SCORE: f32 = 0.9;

/// An overlay with fewer lasting edges than this share of the largest one's is a minor one …
const MINOR_SIZE: f64 = 0.25;

/// … and needs this score.
const MINOR_SCORE: f32 = 0.92;

/// Lasting edges with fewer connected pixels are chance.
const SPECK_PX: usize = 5;

/// Luma of a frame at working size.
#[derive(Debug, Clone)]
pub struct Small {
    /// Width in pixels.
    pub width: usize,
    /// Luma, 0 to 255, row by row.
    pub data: Vec<f32>,
}

/// Something that stands still over a picture that moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// Left, upper, right and lower edge in pixels of the working size.
    pub rect: [usize; 4],
    /// How well its edges agree over the frames, 0 to 1.
    pub score: f32,
    /// Share of the frames in which it is seen, 0 to 1.
    pub persistence: f32,
}

/// What lasts over the frames, within a part of the frame.
pub struct Stillness {
    still: Still,
    left: usize,
    upper: usize,
}

/// What the pixels say of a box over a picture that moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Share of the edges in the box that last, 0 to 1.
    pub lasting: f64,
    /// The box of the edges that last, a little beyond the box at most, if there are some.
    pub bounds: Option<[f32; 4]>,
}

/// Share of the pixels around a box that must change for it to have evidence.
const MOVING: f64 = 0.6;

/// Edges in a box, mean over the frames, under which nothing can be said of them.
const MIN_EDGES: f64 = 12.0;

impl Stillness {
    /// What the pixels say of a box (left, upper, right and lower edge in pixels of the working size); `None` where the
    /// picture around it stands still, or there is nothing to see in it.
    pub fn evidence(&self, rect: [f32; 4]) -> Option<Evidence> {
        let still = &self.still;
        let inside = |rect: [f32; 4]| -> Option<[usize; 4]> {
            let x = |edge: f32| (edge - self.left as f32).clamp(0.0, still.width as f32) as usize;
            let y = |edge: f32| (edge - self.upper as f32).clamp(0.0, still.height as f32) as usize;
            let rect = [x(rect[0]), y(rect[1]), x(rect[2].ceil()), y(rect[3].ceil())];
            (rect[2] > rect[0] && rect[3] > rect[1]).then_some(rect)
        };
        let own = inside(rect)?;
        let around = still.around(own);
        let edges: f64 = still.pixels(own).map(|at| f64::from(still.edges[at])).sum();
        let edges = edges / still.frames as f64;
        if around.count == 0
            || (around.changing as f64) < MOVING * around.count as f64
            || edges < MIN_EDGES
        {
            return None;
        }
        let lasting = still.lasting_in(own).len() as f64 / edges;
        let (w, h) = (rect[2] - rect[0], rect[3] - rect[1]);
        let beyond = (0.25 * w.min(h)).clamp(3.0, 16.0);
        let wide = inside([
            rect[0] - beyond,
            rect[1] - beyond,
            rect[2] + beyond,
            rect[3] + beyond,
        ])?;
        let bounds = still
            .lasting_in(wide)
            .into_iter()
            .map(|(at, _)| {
                let (x, y) = (at % still.width + self.left, at / still.width + self.upper);
                let (x, y) = (x as f32, y as f32);
                [x, y, x + 1.0, y + 1.0]
            })
            .reduce(hull);
        Some(Evidence {
            lasting: lasting.min(1.0),
            bounds,
        })
    }
}

/// The overlays of these frames, all of one size, and what lasts in them. `scene` is the part within the borders: left,
/// upper, right, lower edge.
pub fn look(frames: &[Small], scene: [usize; 4]) -> (Vec<Overlay>, Option<Stillness>) {
    let Some(first) = frames.first() else {
        return (Vec::new(), None);
    };
    let [left, upper, right, lower] = scene;
    if frames.len() < MIN_FRAMES || right < left + 16 || lower < upper + 16 {
        return (Vec::new(), None);
    }
    let (width, height) = (right - left, lower - upper);
    let frames: Vec<Small> = frames
        .iter()
        .map(|frame| Small {
            width,
            data: frame.data[upper * first.width..lower * first.width]
                .chunks_exact(first.width)
                .flat_map(|row| &row[left..right])
                .copied()
                .collect(),
        })
        .collect();
    let still = Still::of(&frames, width, height);
    let found = still.overlays(&frames);
    let shift = |mut overlay: Overlay| {
        let [x0, y0, x1, y1] = overlay.rect;
        overlay.rect = [x0 + left, y0 + upper, x1 + left, y1 + upper];
        overlay
    };
    let found = found.into_iter().map(shift).collect();
    (found, Some(Stillness { still, left, upper }))
}

/// What lasts over the frames, pixel by pixel.
struct Still {
    width: usize,
    height: usize,
    /// Median gradient of the pixels with a lasting edge.
    lasting: Vec<Option<[f32; 2]>>,
    /// In how many frames the pixel has an edge.
    edges: Vec<u16>,
    /// Whether the pixel changes.
    changing: Vec<bool>,
    /// How many frames there are.
    frames: usize,
}

/// Central differences at a pixel that is not on the border, in levels a pixel.
#[inline]
fn gradient(frame: &Small, at: usize) -> [f32; 2] {
    let data = &frame.data;
    [
        (data[at + 1] - data[at - 1]) / 2.0,
        (data[at + frame.width] - data[at - frame.width]) / 2.0,
    ]
}

/// Whether the median of these gradients can be as long as that of a lasting edge: one of its parts is longer than two
/// thirds of it then, and so is that part of half of the gradients, the same way. Spares most medians, which cost more.
fn may_last(own: &[[f32; 2]]) -> bool {
    let part = EDGE_LEVELS * 2.0 / 3.0;
    let (mut above, mut below) = ([0; 2], [0; 2]);
    for own in own {
        for axis in 0..2 {
            above[axis] += usize::from(own[axis] >= part);
            below[axis] += usize::from(own[axis] <= -part);
        }
    }
    let half = own.len() / 2;
    above[0].max(above[1]) >= own.len() - half || below[0].max(below[1]) > half
}

/// What the frames say of each pixel of a row, for a whole row at a time: most of the picture needs nothing else, and
/// loops over rows are vector code.
struct Row {
    /// The pixels' least values over the frames, from the least up, and their greatest, from the greatest down: as many
    /// as are cut off at both ends, and one more.
    least: Vec<Vec<f32>>,
    most: Vec<Vec<f32>>,
    /// In how many frames the pixels have an edge.
    edges: Vec<u16>,
    passed: Vec<f32>,
}

impl Row {
    fn new(width: usize, cut: usize) -> Self {
        Self {
            least: vec![vec![0.0; width]; cut + 1],
            most: vec![vec![0.0; width]; cut + 1],
            edges: vec![0; width],
            passed: vec![0.0; width],
        }
    }

    /// Looks at a row that is not on the border.
    fn look(&mut self, frames: &[Small], y: usize) {
        let width = self.edges.len();
        self.least
            .iter_mut()
            .for_each(|row| row.fill(f32::INFINITY));
        self.most
            .iter_mut()
            .for_each(|row| row.fill(f32::NEG_INFINITY));
        self.edges.fill(0);
        for frame in frames {
            let rows = &frame.data[(y - 1) * width..(y + 2) * width];
            let (above, rest) = rows.split_at(width);
            let (row, below) = rest.split_at(width);
            // Each value takes its place among those kept, and passes on what it pushes out.
            self.passed.copy_from_slice(row);
            for kept in &mut self.least {
                for (kept, passed) in kept.iter_mut().zip(&mut self.passed) {
                    let greater = if *kept > *passed { *kept } else { *passed };
                    *kept = if *kept < *passed { *kept } else { *passed };
                    *passed = greater;
                }
            }
            self.passed.copy_from_slice(row);
            for kept in &mut self.most {
                for (kept, passed) in kept.iter_mut().zip(&mut self.passed) {
                    let lesser = if *kept < *passed { *kept } else { *passed };
                    *kept = if *kept > *passed { *kept } else { *passed };
                    *passed = lesser;
                }
            }
            let across = row.iter().zip(&row[2..]);
            let down = above[1..].iter().zip(&below[1..]);
            let edges = self.edges[1..].iter_mut();
            for (edges, ((left, right), (above, below))) in edges.zip(across.zip(down)) {
                let (gx, gy) = ((right - left) / 2.0, (below - above) / 2.0);
                let is_edge = (gx.abs() >= EDGE_LEVELS) | (gy.abs() >= EDGE_LEVELS);
                *edges += u16::from(is_edge);
            }
        }
    }

    /// The range of a pixel's values over the frames, those cut off that are least and greatest.
    fn range(&self, x: usize) -> f32 {
        let cut = self.least.len() - 1;
        self.most[cut][x] - self.least[cut][x]
    }
}

/// Whether a gradient is that of a lasting edge: in its direction, neither much weaker nor much stronger.
#[inline]
fn agrees(own: [f32; 2], edge: [f32; 2]) -> bool {
    let square = edge[0] * edge[0] + edge[1] * edge[1];
    let along = (own[0] * edge[0] + own[1] * edge[1]) / square;
    let across = (own[0] * edge[1] - own[1] * edge[0]).abs() / square;
    (0.35..=2.5).contains(&along) && across <= 0.7 * along.max(0.7)
}

/// What there is around a box.
#[derive(Default)]
struct Ring {
    /// Pixels.
    count: usize,
    /// Of them, those that change.
    changing: usize,
    /// Of them, those with a lasting edge.
    lasting: usize,
    /// Edges, over all frames.
    edges: usize,
}

impl Still {
    fn of(frames: &[Small], width: usize, height: usize) -> Self {
        let count = width * height;
        let mut still = Self {
            width,
            height,
            lasting: vec![None; count],
            edges: vec![0; count],
            changing: vec![false; count],
            frames: frames.len(),
        };
        let needed = (LASTING * frames.len() as f64).ceil() as usize;
        let mut own: Vec<[f32; 2]> = vec![[0.0; 2]; frames.len()];
        let mut values: Vec<f32> = vec![0.0; frames.len()];
        let mut row = Row::new(width, frames.len() / 10);
        for y in 1..height - 1 {
            row.look(frames, y);
            for x in 1..width - 1 {
                let at = y * width + x;
                still.changing[at] = row.range(x) >= CHANGE_LEVELS;
                still.edges[at] = row.edges[x];
                if usize::from(row.edges[x]) * 2 < frames.len() {
                    continue;
                }
                for (own, frame) in own.iter_mut().zip(frames) {
                    *own = gradient(frame, at);
                }
                if !may_last(&own) {
                    continue;
                }
                let mut median = |axis: usize| {
                    for (value, own) in values.iter_mut().zip(&own) {
                        *value = own[axis];
                    }
                    let middle = values.len() / 2;
                    *values.select_nth_unstable_by(middle, f32::total_cmp).1
                };
                let edge = [median(0), median(1)];
                if edge[0].hypot(edge[1]) >= EDGE_LEVELS
                    && own.iter().filter(|own| agrees(**own, edge)).count() >= needed
                {
                    still.lasting[at] = Some(edge);
                }
            }
        }
        still
    }

    fn overlays(&self, frames: &[Small]) -> Vec<Overlay> {
        let all = self.lasting.iter().flatten().count();
        let mut found = Vec::new();
        let mut explained = 0;
        for rect in self.boxes() {
            let pixels = self.lasting_in(rect);
            let [x0, y0, x1, y1] = rect;
            let (width, height) = (x1 - x0, y1 - y0);
            let area = (width * height) as f64;
            let dense = pixels.len() as f64 >= 0.05 * area;
            let fits = area <= MAX_AREA * (self.width * self.height) as f64;
            if pixels.len() >= 24
                && dense
                && fits
                && width.min(height) >= 5
                && self.stands_out(rect)
            {
                explained += pixels.len();
                found.push((pixels.len(), self.overlay(frames, rect, &pixels)));
            }
        }
        if (explained as f64) < EXPLAINED * all as f64 {
            return Vec::new();
        }
        // Beside a plain overlay, a small and shaky one is more likely a corner of the scene that hardly moves.
        let largest = found.iter().map(|(pixels, _)| *pixels).max().unwrap_or(0) as f64;
        found.retain(|(pixels, overlay)| {
            overlay.score >= MIN_SCORE
                && (*pixels as f64 >= MINOR_SIZE * largest || overlay.score >= MINOR_SCORE)
        });
        found.into_iter().map(|(_, overlay)| overlay).collect()
    }

    /// The boxes of lasting edges that lie near one another: nearer than a small part of the frame, or than the boxes are
    /// high (letters of a word).
    fn boxes(&self) -> Vec<[usize; 4]> {
        let reach = (self.width.min(self.height) / 50).max(2);
        let mut mask: Vec<bool> = self.lasting.iter().map(Option::is_some).collect();
        for speck in components(&mask, self.width) {
            if speck.len() < SPECK_PX {
                for at in speck {
                    mask[at] = false;
                }
            }
        }
        let wide = dilated(&mask, self.width, reach);
        let mut boxes = Vec::new();
        for pixels in components(&wide, self.width) {
            // The box of the edges themselves, not of the widened ones.
            let own = pixels.into_iter().filter(|at| mask[*at]);
            let bounds = own.map(|at| {
                let (x, y) = ((at % self.width) as f32, (at / self.width) as f32);
                [x, y, x + 1.0, y + 1.0]
            });
            boxes.extend(bounds.reduce(hull));
        }
        while let Some((a, b)) = pair_to_join(&boxes) {
            let joined = hull(boxes[a], boxes.swap_remove(b));
            boxes[a] = joined;
        }
        boxes
            .into_iter()
            .map(|rect| rect.map(|edge| edge as usize))
            .collect()
    }

    /// The pixels of a box.
    fn pixels(&self, [x0, y0, x1, y1]: [usize; 4]) -> impl Iterator<Item = usize> {
        let width = self.width;
        (y0..y1).flat_map(move |y| y * width + x0..y * width + x1)
    }

    fn lasting_in(&self, rect: [usize; 4]) -> Vec<(usize, [f32; 2])> {
        self.pixels(rect)
            .filter_map(|at| Some((at, self.lasting[at]?)))
            .collect()
    }

    /// Whether the picture around the box changes and leaves hardly any lasting edges.
    fn stands_out(&self, rect: [usize; 4]) -> bool {
        let around = self.around(rect);
        let edges = around.edges as f64 / self.frames as f64;
        around.count > 0
            && around.changing as f64 >= RING_CHANGE * around.count as f64
            && around.lasting as f64 <= RING_LASTING * edges + 2.0
    }

    /// The ring around a box.
    fn around(&self, [x0, y0, x1, y1]: [usize; 4]) -> Ring {
        let gap = 2;
        let reach = ((x1 - x0).min(y1 - y0) / 2).clamp(8, 40) + gap;
        let (left, right) = (
            x0.saturating_sub(reach).max(1),
            (x1 + reach).min(self.width - 1),
        );
        let (upper, lower) = (
            y0.saturating_sub(reach).max(1),
            (y1 + reach).min(self.height - 1),
        );
        let mut ring = Ring::default();
        for y in upper..lower {
            for x in left..right {
                if x + gap >= x0 && x < x1 + gap && y + gap >= y0 && y < y1 + gap {
                    continue;
                }
                let at = y * self.width + x;
                ring.count += 1;
                ring.changing += usize::from(self.changing[at]);
                ring.lasting += usize::from(self.lasting[at].is_some());
                ring.edges += usize::from(self.edges[at]);
            }
        }
        ring
    }

    fn overlay(&self, frames: &[Small], rect: [usize; 4], pixels: &[(usize, [f32; 2])]) -> Overlay {
        let agreement = |frame: &Small| {
            let agreeing = pixels
                .iter()
                .filter(|(at, edge)| agrees(gradient(frame, *at), *edge));
            agreeing.count() as f64 / pixels.len() as f64
        };
        let agreements: Vec<f64> = frames.iter().map(agreement).collect();
        let count = frames.len() as f64;
        let seen = agreements
            .iter()
            .filter(|agreement| **agreement >= 0.5)
            .count();
        Overlay {
            rect,
            score: (agreements.iter().sum::<f64>() / count) as f32,
            persistence: (seen as f64 / count) as f32,
        }
    }
}

/// Two boxes, the first one before the second, that are nearer to one another than they are high, and about as high as one
/// another: letters and words, rather than a logo and the twigs beside it.
fn pair_to_join(boxes: &[[f32; 4]]) -> Option<(usize, usize)> {
    for (b, two) in boxes.iter().enumerate() {
        for (a, one) in boxes[..b].iter().enumerate() {
            let (lower, higher) = {
                let (one, two) = (one[3] - one[1], two[3] - two[1]);
                (one.min(two), one.max(two))
            };
            let apart = |low: usize, high: usize| (two[low] - one[high]).max(one[low] - two[high]);
            let near = 0.9 * lower;
            if higher <= 2.5 * lower && apart(0, 2) <= near && apart(1, 3) <= near {
                return Some((a, b));
            }
        }
    }
    None
}

/// A mask in which all pixels within a square of this reach around a set one are set.
fn dilated(mask: &[bool], width: usize, reach: usize) -> Vec<bool> {
    let spread =
        |mask: &[bool], step: usize, len: usize, starts: &mut dyn Iterator<Item = usize>| {
            let mut wide = vec![false; mask.len()];
            for start in starts {
                let mut until = 0;
                for i in 0..len + reach {
                    if i < len && mask[start + i * step] {
                        until = i + 2 * reach + 1;
                    }
                    if i >= reach && i < until {
                        wide[start + (i - reach) * step] = true;
                    }
                }
            }
            wide
        };
    let height = mask.len() / width;
    let across = spread(mask, 1, width, &mut (0..height).map(|y| y * width));
    spread(&across, width, height, &mut (0..width))
}

/// The pixels of each connected part of a mask (eight neighbours), in order of their first pixels.
pub(super) fn components(mask: &[bool], width: usize) -> Vec<Vec<usize>> {
    let height = mask.len() / width.max(1);
    let mut left = mask.to_vec();
    let mut parts = Vec::new();
    for first in 0..mask.len() {
        if !left[first] {
            continue;
        }
        left[first] = false;
        let mut part = vec![first];
        let mut next = 0;
        while let Some(at) = part.get(next).copied() {
            next += 1;
            let (x, y) = (at % width, at / width);
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    if std::mem::take(&mut left[ny * width + nx]) {
                        part.push(ny * width + nx);
                    }
                }
            }
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dilation_reaches_as_far_as_it_says() {
        let mut mask = vec![false; 7 * 5];
        mask[2 * 7 + 3] = true;
        let wide = dilated(&mask, 7, 1);
        let set: Vec<usize> = (0..35).filter(|at| wide[*at]).collect();
        assert_eq!(set, [9, 10, 11, 16, 17, 18, 23, 24, 25]);
        mask[0] = true;
        assert_eq!(dilated(&mask, 7, 9), vec![true; 35]);
    }

    #[test]
    fn components_touch_at_corners_too() {
        let mask = [
            true, false, false, true, false, true, false, false, false, false, false, true,
        ]
        .map(|set| set);
        let parts = components(&mask, 4);
        assert_eq!(parts, [vec![0, 5], vec![3], vec![11]]);
    }
}
