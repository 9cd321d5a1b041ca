//! How a clip runs on: jumps, stops and pulses of its change, and what stands still in it.

use super::plane::Plane;
use super::signal::{median, quantile};

/// The largest change between frames that follow one another over the usual one (the median), as a power of two, 0 to 12.
/// A clip that moves evenly stays under 1; a cut stands out. `None` for fewer than three changes.
pub fn jump(changes: &[f64]) -> Option<f64> {
    if changes.len() < 3 {
        return None;
    }
    let most = changes.iter().copied().fold(0.0, f64::max);
    let usual = median(&mut changes.to_vec())?;
    Some(((most + 1e-4) / (usual + 1e-4)).log2().clamp(0.0, 12.0))
}

/// Share of the changes above half of the largest, 0 to 1: small for a cut, larger for a way that takes its time.
/// `None` without changes.
pub fn busy_share(changes: &[f64]) -> Option<f64> {
    let most = changes.iter().copied().fold(0.0, f64::max);
    let above = changes
        .iter()
        .filter(|change| **change > most / 2.0)
        .count();
    (!changes.is_empty()).then(|| above as f64 / changes.len() as f64)
}

/// How unevenly a clip moves: mean step from one change to the next over the mean change, 0 (even) to 2 (every other
/// frame stands still). `None` for fewer than three changes, or without motion.
pub fn unevenness(changes: &[f64]) -> Option<f64> {
    if changes.len() < 3 {
        return None;
    }
    let mean = changes.iter().sum::<f64>() / changes.len() as f64;
    let steps = changes.windows(2).map(|pair| (pair[0] - pair[1]).abs());
    (mean > 1e-4).then(|| steps.sum::<f64>() / (changes.len() - 1) as f64 / mean)
}

/// How much the brightness (0 to 1) of frames jerks: mean second difference, 0 to 1. `None` for fewer than three frames.
pub fn flicker(brightness: &[f64]) -> Option<f64> {
    let jerks = brightness
        .windows(3)
        .map(|three| (three[0] - 2.0 * three[1] + three[2]).abs());
    (brightness.len() >= 3).then(|| jerks.sum::<f64>() / (brightness.len() - 2) as f64)
}

/// The widest span between brightnesses of frames that follow one another: largest less smallest of the clip, 0 to 1.
pub fn light_span(brightness: &[f64]) -> Option<f64> {
    let most = brightness.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = brightness.iter().copied().fold(f64::INFINITY, f64::min);
    (!brightness.is_empty()).then_some(most - least)
}

/// Sums over time what each pixel does, for what stands still while other things move.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Smallest and sum of each pixel's edge strength, sum of its change.
    least_edge: Vec<u8>,
    sum_edge: Vec<u32>,
    change: Vec<u32>,
    before: Option<Plane>,
    frames: u32,
}

/// An edge is at least this strong, in levels.
const EDGE_LEVELS: u8 = 28;

impl Standing {
    /// Takes the next frame; frames of another size than the first are passed over.
    pub fn push(&mut self, plane: &Plane) {
        let (w, h) = (plane.width(), plane.height());
        if self.least_edge.is_empty() {
            self.least_edge = vec![u8::MAX; w * h];
            self.sum_edge = vec![0; w * h];
            self.change = vec![0; w * h];
        }
        if self.least_edge.len() != w * h {
            return;
        }
        for y in 0..h - 1 {
            let (row, below) = (plane.row(y), plane.row(y + 1));
            for x in 0..w - 1 {
                let edge = row[x].abs_diff(row[x + 1]).max(row[x].abs_diff(below[x]));
                let at = y * w + x;
                self.least_edge[at] = self.least_edge[at].min(edge);
                self.sum_edge[at] += u32::from(edge);
            }
        }
        if let Some(before) = &self.before {
            for (sum, (a, b)) in self
                .change
                .iter_mut()
                .zip(before.data().iter().zip(plane.data()))
            {
                *sum += u32::from(a.abs_diff(*b));
            }
        }
        self.before = Some(plane.clone());
        self.frames += 1;
    }

    /// Share of the edges that are there in every frame, 0 to 1; `None` for fewer than four frames or no edges.
    pub fn standing_edges(&self) -> Option<f64> {
        let frames = self.frames;
        let edges = self
            .sum_edge
            .iter()
            .filter(|sum| **sum > u32::from(EDGE_LEVELS) * frames / 2)
            .count();
        let standing = self
            .least_edge
            .iter()
            .filter(|least| (EDGE_LEVELS..u8::MAX).contains(least))
            .count();
        (frames >= 4 && edges > 20).then(|| standing as f64 / edges as f64)
    }

    /// Share of the pixels that hardly ever change while the busiest tenth does (mean change under a tenth of theirs),
    /// 0 to 1. `None` without motion.
    pub fn still_share(&self) -> Option<f64> {
        let steps = f64::from(self.frames.checked_sub(1).filter(|steps| *steps > 0)?);
        let mut changes: Vec<f64> = self
            .change
            .iter()
            .step_by(3)
            .map(|sum| f64::from(*sum) / steps)
            .collect();
        let busy = quantile(&mut changes, 0.9)?;
        let still = changes.partition_point(|change| *change < busy / 10.0);
        (busy > 0.8).then(|| still as f64 / changes.len() as f64)
    }

    /// Where the clip moves: change of the upper half less that of the lower over their sum, and of the left less the right.
    /// `None` without motion.
    pub fn motion_place(&self) -> Option<(f64, f64)> {
        let w = self.before.as_ref()?.width();
        let h = self.change.len() / w.max(1);
        let (mut top, mut left, mut all) = (0.0f64, 0.0f64, 0.0f64);
        for (at, sum) in self.change.iter().enumerate() {
            let sum = f64::from(*sum);
            all += sum;
            top += if at / w < h / 2 { sum } else { 0.0 };
            left += if at % w < w / 2 { sum } else { 0.0 };
        }
        (all > self.change.len() as f64 * 0.5)
            .then(|| (2.0 * top / all - 1.0, 2.0 * left / all - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_stops_and_pulses_show_in_the_changes() {
        let even = [0.02; 12];
        assert_eq!(jump(&even), Some(0.0));
        assert_eq!(unevenness(&even), Some(0.0));
        let mut cut = even;
        cut[5] = 0.4;
        assert!(jump(&cut).expect("long") > 4.0);
        assert!(busy_share(&cut).expect("long") < 0.1);
        let stops: Vec<f64> = (0..12)
            .map(|k| if k % 2 == 0 { 0.04 } else { 0.0 })
            .collect();
        assert!(unevenness(&stops).expect("long") > 1.5);
        assert_eq!(
            flicker(&[0.1, 0.2, 0.3, 0.4]).map(|jerk| jerk < 1e-9),
            Some(true)
        );
        assert!(flicker(&[0.1, 0.3, 0.1, 0.3]).expect("long") > 0.3);
        assert_eq!(light_span(&[0.1, 0.3]), Some(0.3 - 0.1));
    }

    #[test]
    fn a_logo_over_what_moves_stands_still() {
        let frame = |k: usize, has_logo: bool| {
            let at = |x: usize, y: usize| {
                if has_logo && (20..44).contains(&x) && (10..26).contains(&y) {
                    return if (x / 3 + y / 3).is_multiple_of(2) {
                        250
                    } else {
                        10
                    };
                }
                let hash =
                    ((x + 5 * k) as u64 / 4 * 73_856_093) ^ ((y + 3 * k) as u64 / 4 * 19_349_663);
                (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
            };
            Plane::new(96, (0..96 * 64).map(|i| at(i % 96, i / 96)).collect())
        };
        let of = |has_logo: bool| {
            let mut standing = Standing::default();
            (0..8).for_each(|k| standing.push(&frame(k, has_logo)));
            standing
        };
        let (with, without) = (of(true), of(false));
        let edges = [&with, &without].map(|standing| standing.standing_edges().expect("edges"));
        assert!(edges[0] > 3.0 * edges[1], "{edges:?}");
        assert!(with.still_share().expect("moves") > 0.05);
        assert!(without.still_share().expect("moves") < 0.02);
        let (top, _) = with.motion_place().expect("moves");
        assert!(top < 0.0, "the logo lies in the upper half: {top}");
    }
}
