//! Bars filled with a blurred copy of the picture, as players and phones put beside (or above and below) a video of
//! another shape.
//!
//! What tells them are two straight seams at the same distance from opposite sides, in all frames, with a picture between
//! them and hardly any detail outside.

use crate::signals::plane::Plane;

/// Lines across the bars that are looked at; more say nothing new.
const LINES: usize = 240;

/// Mean step over a seam, in 8-bit levels, from which a line crosses it visibly.
const SEAM_LEVELS: f64 = 6.0;

/// Share of the lines that must cross a seam visibly.
const MIN_COVERAGE: f64 = 0.6;

/// Largest detail outside as a share of that between the seams.
const MAX_DETAIL: f64 = 0.3;

/// Least detail between the seams: mean step from pixel to pixel, in 8-bit levels.
const MIN_DETAIL_LEVELS: f64 = 1.2;

/// Share of a side from which, and up to which, such a bar may reach.
const REACH: (f64, f64) = (0.04, 0.45);

/// How far the two seams may differ in their distance from the side, in pixels.
const ASYMMETRY_PX: usize = 2;

/// Two bars on opposite sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Fill {
    /// Thickness of the left (or upper) bar, in pixels.
    pub first_px: usize,
    /// Thickness of the right (or lower) bar, in pixels.
    pub second_px: usize,
    /// Share of the lines that cross the weaker seam visibly, 0 to 1.
    pub coverage: f32,
}

/// The blurred bars at the left and the right of these planes, all of one size.
pub fn beside(planes: &[Plane]) -> Option<Fill> {
    let (width, height) = size(planes)?;
    let every = height.div_ceil(LINES).max(1);
    let mut steps = Steps::new(width, planes.len());
    for (frame, plane) in planes.iter().enumerate() {
        for (line, row) in plane.rows().step_by(every).enumerate() {
            let pairs = row.iter().zip(&row[1..]);
            steps.add(frame, line, pairs.map(|(a, b)| a.abs_diff(*b)));
        }
    }
    steps.fill()
}

/// The blurred bars above and below.
pub fn above(planes: &[Plane]) -> Option<Fill> {
    let (width, height) = size(planes)?;
    let every = width.div_ceil(LINES).max(1);
    let mut steps = Steps::new(height, planes.len());
    let mut column = vec![0u8; height];
    for (frame, plane) in planes.iter().enumerate() {
        for (line, x) in (0..width).step_by(every).enumerate() {
            for (pixel, row) in column.iter_mut().zip(plane.rows()) {
                *pixel = row[x];
            }
            let pairs = column.iter().zip(&column[1..]);
            steps.add(frame, line, pairs.map(|(a, b)| a.abs_diff(*b)));
        }
    }
    steps.fill()
}

fn size(planes: &[Plane]) -> Option<(usize, usize)> {
    let plane = planes.first()?;
    let large = plane.width() >= 64 && plane.height() >= 64;
    large.then(|| (plane.width(), plane.height()))
}

/// Steps from pixel to pixel along the lines across the bars.
struct Steps {
    /// Pixels of a line.
    len: usize,
    /// For each line, the steps summed over the frames.
    lines: Vec<Vec<u32>>,
    /// For each frame, the steps summed over the lines.
    frames: Vec<Vec<u32>>,
}

impl Steps {
    fn new(len: usize, frames: usize) -> Self {
        Self {
            len,
            lines: Vec::new(),
            frames: vec![vec![0; len - 1]; frames],
        }
    }

    fn add(&mut self, frame: usize, line: usize, steps: impl Iterator<Item = u8>) {
        if self.lines.len() == line {
            self.lines.push(vec![0; self.len - 1]);
        }
        let sums = self.lines[line].iter_mut().zip(&mut self.frames[frame]);
        for ((of_line, of_frame), step) in sums.zip(steps) {
            *of_line += u32::from(step);
            *of_frame += u32::from(step);
        }
    }

    /// Share of the lines with a visible step behind this pixel, on average over the frames.
    fn coverage(&self, at: usize) -> f64 {
        let visible = SEAM_LEVELS * self.frames.len() as f64;
        let seen = self
            .lines
            .iter()
            .filter(|line| f64::from(line[at]) >= visible);
        seen.count() as f64 / self.lines.len().max(1) as f64
    }

    fn fill(&self) -> Option<Fill> {
        let near = (self.len as f64 * REACH.0) as usize;
        let far = (self.len as f64 * REACH.1) as usize;
        let coverages: Vec<f64> = (0..self.len - 1).map(|at| self.coverage(at)).collect();
        let mut best: Option<Fill> = None;
        for first_px in near.max(4)..far {
            let seam = coverages[first_px - 1];
            if seam < MIN_COVERAGE {
                continue;
            }
            for second_px in first_px.saturating_sub(ASYMMETRY_PX)..=first_px + ASYMMETRY_PX {
                let coverage = seam.min(coverages[self.len - 1 - second_px]);
                let better = best
                    .as_ref()
                    .is_none_or(|best| coverage as f32 > best.coverage);
                if coverage >= MIN_COVERAGE && better && self.is_blurred(first_px, second_px) {
                    best = Some(Fill {
                        first_px,
                        second_px,
                        coverage: coverage as f32,
                    });
                }
            }
        }
        best
    }

    /// Whether, in nearly all frames, there is detail between the seams and hardly any outside.
    fn is_blurred(&self, first_px: usize, second_px: usize) -> bool {
        const SEAM_PX: usize = 3;
        let lines = self.lines.len() as f64;
        let mean = |steps: &[u32]| {
            let sum: u64 = steps.iter().map(|step| u64::from(*step)).sum();
            sum as f64 / (steps.len().max(1) as f64 * lines)
        };
        let (mut seen, mut blurred) = (0, 0);
        for steps in &self.frames {
            let inside = mean(&steps[first_px + SEAM_PX..steps.len() - second_px - SEAM_PX]);
            if inside < MIN_DETAIL_LEVELS {
                continue;
            }
            seen += 1;
            let outside = mean(&steps[..first_px.saturating_sub(SEAM_PX)]).max(mean(
                &steps[(steps.len() + SEAM_PX - second_px).min(steps.len())..],
            ));
            blurred += usize::from(outside <= MAX_DETAIL * inside);
        }
        seen * 2 >= self.frames.len() && blurred * 10 >= seen * 9
    }
}
