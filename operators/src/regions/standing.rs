//! What stands still, seen in the mean of all frames.
//!
//! What was put over a moving scene keeps its edges in the mean, and the scene loses them: a translucent watermark that no
//! single frame shows well lies there over a smooth ground. A detector that was trained on such means (`mean_conf` in its
//! configuration) looks at it as at one more frame.

use ndarray::{Array3, ArrayView3, Zip};

use super::tracks::{FrameBox, MIN_IOU, in_order, iou};
use crate::kinds::Region;

/// The mean of frames of one size, while they come.
#[derive(Default)]
pub struct Mean {
    sum: Option<Array3<u32>>,
    count: u32,
}

impl Mean {
    /// Adds a frame [h, w, 3], of the size of the first.
    pub fn add(&mut self, frame: ArrayView3<'_, u8>) {
        self.count += 1;
        match &mut self.sum {
            None => self.sum = Some(frame.mapv(u32::from)),
            Some(sum) => Zip::from(sum)
                .and(&frame)
                .for_each(|sum, value| *sum += u32::from(*value)),
        }
    }

    /// The mean, to the nearest level; `None` of fewer than two frames, whose mean says nothing new.
    pub fn frame(&self) -> Option<Array3<u8>> {
        let sum = self.sum.as_ref().filter(|_| self.count > 1)?;
        let count = self.count;
        Some(sum.mapv(|sum| ((sum + count / 2) / count) as u8))
    }
}

/// Puts what was seen in the mean to the tracks of the frames. A track that the mean shows as well takes its box, which is
/// not a hull of many, and the better score; what the mean alone shows is a region of its own. Both are there all the
/// time: their persistence is 1. Subtitles change, so the mean says nothing of them.
pub fn join(mut tracks: Vec<Region>, mean: Vec<FrameBox>, found_by: &'static str) -> Vec<Region> {
    for seen in mean.into_iter().filter(|seen| seen.class != "subtitle") {
        let nearest = tracks
            .iter_mut()
            .filter(|track| track.class == seen.class)
            .map(|track| (iou(track.rect, seen.rect), track))
            .filter(|(overlap, _)| *overlap >= MIN_IOU)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((_, track)) => {
                track.rect = seen.rect;
                track.score = track.score.max(seen.score);
                track.persistence = 1.0;
            }
            None => tracks.push(Region {
                class: seen.class,
                rect: seen.rect,
                score: seen.score,
                persistence: 1.0,
                found_by,
            }),
        }
    }
    tracks.sort_by(in_order);
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(class: &str, rect: [f32; 4], score: f32) -> FrameBox {
        FrameBox {
            class: class.to_owned(),
            rect,
            score,
        }
    }

    fn track(class: &str, rect: [f32; 4], score: f32, persistence: f32) -> Region {
        Region {
            class: class.to_owned(),
            rect,
            score,
            persistence,
            found_by: "yolo",
        }
    }

    #[test]
    fn a_mean_takes_two_frames_and_rounds_to_the_nearest() {
        let frame = |level: u8| Array3::from_elem((2, 3, 3), level);
        let mut mean = Mean::default();
        assert!(mean.frame().is_none());
        mean.add(frame(250).view());
        assert!(mean.frame().is_none());
        mean.add(frame(255).view());
        assert_eq!(mean.frame(), Some(frame(253)));
        mean.add(frame(255).view());
        assert_eq!(mean.frame(), Some(frame(253)));
    }

    #[test]
    fn the_mean_corrects_a_track_and_adds_what_no_frame_shows() {
        let hull = [10.0, 10.0, 60.0, 40.0];
        let exact = [12.0, 12.0, 58.0, 38.0];
        let faint = [100.0, 100.0, 200.0, 140.0];
        let joined = join(
            vec![track("logo", hull, 0.6, 0.4)],
            vec![
                seen("logo", exact, 0.5),
                seen("watermark", faint, 0.3),
                seen("subtitle", faint, 0.9),
            ],
            "yolo",
        );
        assert_eq!(
            joined,
            [
                track("logo", exact, 0.6, 1.0),
                track("watermark", faint, 0.3, 1.0)
            ]
        );
    }
}
