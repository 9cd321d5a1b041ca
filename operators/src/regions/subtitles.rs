//! Subtitles: bright lines of text in the lower part of the frame that change from time to time.
//!
//! They do not stand still, so no edge lasts. But their lines do: in each frame the thin bright strokes are taken (white
//! top-hat), their connected parts measured, and a line found where many parts of like height and brightness stand on one
//! baseline. If the lines of enough frames have the same height and place, that is where the subtitles are.

use super::overlays::components;
use super::tracks::hull;

/// Share of the height from which on down subtitles are sought.
const FROM_HEIGHT: f64 = 0.55;

/// Least luma of a stroke.
const STROKE_LUMA: u8 = 170;

/// Least contrast of a stroke to what is around it, in 8-bit levels.
const STROKE_LEVELS: u8 = 55;

/// Letters that make a line.
const MIN_LETTERS: usize = 6;

/// Frames with subtitles, at least.
const MIN_FRAMES: usize = 3;

/// Part of a luma plane at working size: the lower part of a frame.
#[derive(Debug, Clone)]
pub struct LowerPart {
    width: usize,
    height: usize,
    /// Row of the frame at which it begins.
    upper: usize,
    data: Vec<u8>,
}

/// Where subtitles are.
#[derive(Debug, Clone, PartialEq)]
pub struct Subtitles {
    /// Left, upper, right and lower edge in pixels of the working size.
    pub rect: [f32; 4],
    /// How much the lines agree, 0 to 1.
    pub score: f32,
    /// Share of the frames in which they are seen, 0 to 1.
    pub persistence: f32,
}

/// The lines of one frame.
#[derive(Debug, Clone)]
struct Block {
    rect: [f32; 4],
    letter_px: f32,
}

/// A connected part of the strokes.
#[derive(Debug, Clone, Copy)]
struct Letter {
    rect: [f32; 4],
    luma: f32,
}

impl Letter {
    fn height(&self) -> f32 {
        self.rect[3] - self.rect[1]
    }
}

impl LowerPart {
    /// The lower part of a luma plane (0 to 255, row by row).
    pub fn new(width: usize, luma: &[f32]) -> Self {
        let rows = luma.len() / width.max(1);
        let upper = (rows as f64 * FROM_HEIGHT) as usize;
        let data: Vec<u8> = luma[upper * width..]
            .iter()
            // Rounded: none is below 0, nor so little below a half that this would lift it over.
            .map(|pixel| (pixel + 0.5) as u8)
            .collect();
        Self {
            width,
            height: rows - upper,
            upper,
            data,
        }
    }

    /// Height of the whole frame.
    fn frame_height(&self) -> f32 {
        (self.upper + self.height) as f32
    }

    /// Thin bright strokes: luma that an opening with a square wider than a stroke takes away.
    fn strokes(&self) -> Vec<bool> {
        let reach = (self.frame_height() as usize / 75).max(2);
        if self.data.is_empty() {
            return Vec::new();
        }
        let least = filtered(&self.data, self.width, reach, |a, b| a.min(b));
        let opened = filtered(&least, self.width, reach, |a, b| a.max(b));
        let pairs = self.data.iter().zip(opened);
        pairs
            .map(|(own, opened)| *own >= STROKE_LUMA && own.saturating_sub(opened) >= STROKE_LEVELS)
            .collect()
    }

    fn letters(&self) -> Vec<Letter> {
        let (least, most) = (self.frame_height() * 0.014, self.frame_height() * 0.09);
        let mut letters = Vec::new();
        for part in components(&self.strokes(), self.width) {
            let bounds = part.iter().map(|at| {
                let (x, y) = ((at % self.width) as f32, (at / self.width) as f32);
                [x, y, x + 1.0, y + 1.0]
            });
            let Some(rect) = bounds.reduce(hull) else {
                continue;
            };
            let luma: f32 = part.iter().map(|at| f32::from(self.data[*at])).sum();
            let letter = Letter {
                rect,
                luma: luma / part.len() as f32,
            };
            let (width, height) = (rect[2] - rect[0], letter.height());
            if height >= least.max(4.0) && height <= most && width <= 5.0 * height {
                letters.push(letter);
            }
        }
        letters.sort_unstable_by(|a, b| a.rect[0].total_cmp(&b.rect[0]));
        letters
    }

    /// The lines of text in this frame, as one block in pixels of the frame.
    fn block(&self) -> Option<Block> {
        let mut letters = self.letters();
        let mut block: Option<Block> = None;
        for _ in 0..3 {
            let Some(line) = best_line(&letters) else {
                break;
            };
            let rect = line.iter().map(|letter| letter.rect).reduce(hull)?;
            let centre = (rect[0] + rect[2]) / 2.0 / self.width as f32;
            letters.retain(|letter| letter.rect[3] <= rect[1] || letter.rect[1] >= rect[3]);
            if (centre - 0.5).abs() > 0.15 {
                continue;
            }
            let rect = [
                rect[0],
                rect[1] + self.upper as f32,
                rect[2],
                rect[3] + self.upper as f32,
            ];
            let letter_px = median(line.iter().map(Letter::height).collect());
            block = Some(match block {
                None => Block { rect, letter_px },
                Some(block) => {
                    let gap = (rect[1] - block.rect[3]).max(block.rect[1] - rect[3]);
                    if gap > 2.0 * block.letter_px || letter_px > 1.5 * block.letter_px {
                        block
                    } else {
                        Block {
                            rect: hull(block.rect, rect),
                            letter_px: block.letter_px,
                        }
                    }
                }
            });
        }
        block
    }
}

/// The most letters that stand on one baseline, near one another, alike in height and brightness.
fn best_line(letters: &[Letter]) -> Option<Vec<Letter>> {
    let mut best: Option<Vec<Letter>> = None;
    for seed in letters {
        let height = seed.height();
        let on_line = letters.iter().filter(|letter| {
            (letter.rect[3] - seed.rect[3]).abs() <= (0.2 * height).max(1.0)
                && (0.6..=1.6).contains(&(letter.height() / height))
                && (letter.luma - seed.luma).abs() <= 30.0
        });
        let mut run: Vec<Letter> = Vec::new();
        let mut longest: Vec<Letter> = Vec::new();
        for letter in on_line {
            if run
                .last()
                .is_some_and(|last| letter.rect[0] - last.rect[2] > 2.0 * height)
            {
                longest = longer(longest, std::mem::take(&mut run));
            }
            run.push(*letter);
        }
        longest = longer(longest, run);
        if best.as_ref().is_none_or(|best| longest.len() > best.len()) && is_text(&longest) {
            best = Some(longest);
        }
    }
    best
}

fn longer(a: Vec<Letter>, b: Vec<Letter>) -> Vec<Letter> {
    if b.len() > a.len() { b } else { a }
}

fn is_text(line: &[Letter]) -> bool {
    let Some(rect) = line.iter().map(|letter| letter.rect).reduce(hull) else {
        return false;
    };
    let covered: f32 = line
        .iter()
        .map(|letter| letter.rect[2] - letter.rect[0])
        .sum();
    let (width, height) = (rect[2] - rect[0], rect[3] - rect[1]);
    line.len() >= MIN_LETTERS && width >= 4.0 * height && covered >= 0.45 * width
}

/// The subtitles of these frames, if they are seen in at least `persistence` of them.
pub fn subtitles(frames: &[LowerPart], persistence: f32) -> Option<Subtitles> {
    let blocks: Vec<Block> = frames.iter().filter_map(LowerPart::block).collect();
    let needed = (f64::from(persistence) * frames.len() as f64 - 1e-4).max(MIN_FRAMES as f64);
    let mut best: Vec<&Block> = Vec::new();
    for seed in &blocks {
        // The lowest or the uppermost line is where it was: subtitles grow upward or downward.
        let same = |block: &&Block| {
            let near = |a: f32, b: f32| (a - b).abs() <= 0.6 * seed.letter_px;
            (near(block.rect[3], seed.rect[3]) || near(block.rect[1], seed.rect[1]))
                && (0.75..=1.35).contains(&(block.letter_px / seed.letter_px))
        };
        let agreeing: Vec<&Block> = blocks.iter().filter(same).collect();
        if agreeing.len() > best.len() {
            best = agreeing;
        }
    }
    if (best.len() as f64) < needed {
        return None;
    }
    let letter_px = median(best.iter().map(|block| block.letter_px).collect());
    let rect = best.iter().map(|block| block.rect).reduce(hull)?;
    // Descenders and outlines reach beyond the letters' strokes.
    let margin = letter_px * 0.4;
    Some(Subtitles {
        rect: [
            rect[0] - margin,
            rect[1] - margin,
            rect[2] + margin,
            rect[3] + margin,
        ],
        score: best.len() as f32 / blocks.len() as f32,
        persistence: best.len() as f32 / frames.len() as f32,
    })
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Least or most of the pixels within a square of this reach; `pick` says which of two.
///
/// Of squares that reach over the edge only the part inside counts: pixels outside are those at the edge once more, which changes
/// neither the least nor the most.
fn filtered(data: &[u8], width: usize, reach: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let height = data.len() / width.max(1);
    let side = 2 * reach + 1;
    // What runs of 1, 2, 4 … pixels come to is made of the runs of half the length, so the cost hardly grows with the
    // reach. The last step lets two runs overlap.
    let mut across = vec![0; width * height];
    let (mut run, mut longer) = (vec![0; width + side - 1], vec![0; width + side - 1]);
    for (row, out) in data.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        run[..reach].fill(row[0]);
        run[reach..reach + width].copy_from_slice(row);
        run[reach + width..].fill(row[width - 1]);
        let mut length = 1;
        while 2 * length <= side {
            picked(&run, &run[length..], &mut longer, &pick);
            std::mem::swap(&mut run, &mut longer);
            length *= 2;
        }
        picked(&run, &run[side - length..], out, &pick);
    }
    // The same down, with whole rows for pixels.
    let rows = height + side - 1;
    let mut runs = Vec::with_capacity(rows * width);
    for y in 0..rows {
        let y = y.saturating_sub(reach).min(height - 1);
        runs.extend_from_slice(&across[y * width..(y + 1) * width]);
    }
    let mut length = 1;
    while 2 * length <= side {
        for y in 0..rows - length {
            let (upper, lower) = runs.split_at_mut((y + length) * width);
            let row = &mut upper[y * width..(y + 1) * width];
            row.iter_mut()
                .zip(lower)
                .for_each(|(own, other)| *own = pick(*own, *other));
        }
        length *= 2;
    }
    let mut both = across;
    picked(&runs, &runs[(side - length) * width..], &mut both, &pick);
    both
}

/// What is picked of two rows, pixel by pixel, as far as both reach.
fn picked(one: &[u8], other: &[u8], out: &mut [u8], pick: impl Fn(u8, u8) -> u8) {
    let pairs = one.iter().zip(other);
    out.iter_mut()
        .zip(pairs)
        .for_each(|(out, (one, other))| *out = pick(*one, *other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_what_every_square_says() {
        for (width, height, reach) in [(31, 17, 6), (9, 40, 2), (5, 3, 4), (1, 1, 3), (16, 16, 1)] {
            let data: Vec<u8> = (0..width * height)
                .map(|at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
                .collect();
            for pick in [u8::min, u8::max] {
                let filtered = filtered(&data, width, reach, pick);
                for (at, found) in filtered.iter().enumerate() {
                    let (x, y) = (at % width, at / width);
                    let square = (y.saturating_sub(reach)..(y + reach + 1).min(height))
                        .flat_map(|y| {
                            let x = x.saturating_sub(reach)..(x + reach + 1).min(width);
                            x.map(move |x| y * width + x)
                        })
                        .map(|at| data[at]);
                    assert_eq!(
                        Some(*found),
                        square.reduce(pick),
                        "{width}x{height} {reach} {at}"
                    );
                }
            }
        }
    }
}
