//! What is asked of a decode, and which frames that comes to.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::timeline::{Timeline, Window, seconds, uniform_indices};
use super::{Clip, Fit, Frame, MediaError};

/// What part of a video a request is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// All of it: one clip.
    Video,
    /// Its windows, one clip each: k = 0, 1, … `[kS, min(kS + L, D))`, stopping with the first that reaches the end D.
    Windows {
        /// L, in seconds; above 0.
        length_seconds: f64,
        /// S, in seconds; above 0.
        stride_seconds: f64,
    },
}

/// Frames wanted of a video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// Of which part.
    pub span: Span,
    /// How many frames of each span, evenly: `floor(linspace(0, n - 1, frames))` of its n frames.
    pub frames: usize,
    /// At what size.
    pub fit: Fit,
}

/// A converted frame: the number of the frame, and of its fit in [`Plan::fits`].
type Key = (usize, usize);

/// A window, and the numbers of the frames picked from it.
type Pick = (Window, Vec<usize>);

/// The frames that a list of requests picks from a timeline.
pub(crate) struct Plan {
    /// The distinct fits.
    pub fits: Vec<Fit>,
    /// For each request its fit, and the pick of each of its spans.
    picks: Vec<(usize, Vec<Pick>)>,
}

/// Converted frames, by what they were converted for.
pub(crate) type Kept = HashMap<Key, Frame>;

impl Plan {
    /// Picks frames by the semantics of [`timeline`](super::timeline).
    pub fn new(path: &Path, requests: &[Request], timeline: &Timeline) -> Result<Self, MediaError> {
        let mut fits = Vec::new();
        let mut picks = Vec::with_capacity(requests.len());
        for request in requests {
            request.fit.validate(path)?;
            let fit = fits
                .iter()
                .position(|fit| *fit == request.fit)
                .unwrap_or_else(|| {
                    fits.push(request.fit);
                    fits.len() - 1
                });
            let windows = match request.span {
                Span::Video => vec![timeline.whole()],
                Span::Windows {
                    length_seconds,
                    stride_seconds,
                } => timeline
                    .windows(length_seconds, stride_seconds)
                    .map_err(|reason| MediaError::unsupported(path, reason))?,
            };
            let spans = windows.into_iter().map(|window| {
                let first = window.frames.start;
                let mut picked = uniform_indices(window.frames.len(), request.frames);
                picked.iter_mut().for_each(|index| *index += first);
                (window, picked)
            });
            picks.push((fit, spans.collect()));
        }
        Ok(Self { fits, picks })
    }

    /// Bytes of the pixels of all frames that are picked, each once a fit, of a video of this display size.
    pub fn bytes(&self, (width, height): (u32, u32)) -> u64 {
        let picked: std::collections::HashSet<Key> = self.keys().collect();
        picked
            .into_iter()
            .map(|(_, fit)| self.fits[fit].max_bytes(width, height))
            .fold(0, u64::saturating_add)
    }

    /// Which fits each frame is needed for, without those that are there already.
    pub fn missing(&self, kept: &Kept) -> BTreeMap<usize, Vec<usize>> {
        let mut missing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (frame, fit) in self.keys().filter(|key| !kept.contains_key(key)) {
            let fits = missing.entry(frame).or_default();
            if !fits.contains(&fit) {
                fits.push(fit);
            }
        }
        missing
    }

    /// Lets go of the frames that are not needed.
    pub fn discard_others(&self, kept: &mut Kept) {
        let needed: std::collections::HashSet<Key> = self.keys().collect();
        kept.retain(|key, _| needed.contains(key));
    }

    /// The clips of each request; `None` while a frame is missing.
    pub fn clips(&self, kept: &Kept) -> Option<Vec<Vec<Clip>>> {
        let clip = |fit: usize, window: &Window, picked: &[usize]| {
            let frames = picked
                .iter()
                .map(|&frame| kept.get(&(frame, fit)).map(Arc::clone));
            Some(Clip {
                frames: frames.collect::<Option<_>>()?,
                start_seconds: seconds(window.span_ns.start),
                end_seconds: seconds(window.span_ns.end),
            })
        };
        self.picks
            .iter()
            .map(|(fit, spans)| {
                spans
                    .iter()
                    .map(|(window, picked)| clip(*fit, window, picked))
                    .collect()
            })
            .collect()
    }

    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.picks.iter().flat_map(|(fit, spans)| {
            spans
                .iter()
                .flat_map(|(_, picked)| picked)
                .map(|&frame| (frame, *fit))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::media::timeline::Stamp;
    use ndarray::Array3;

    const SMALL: Fit = Fit::Within { max_side: 8 };

    fn timeline(frames: i64) -> Timeline {
        let stamps: Vec<Stamp> = (0..frames)
            .map(|n| Stamp {
                time: Some(n),
                duration: 1,
            })
            .collect();
        Timeline::new(&stamps, (1, 10), None)
    }

    fn plan(frames: i64) -> Plan {
        let windows = Span::Windows {
            length_seconds: 4.0,
            stride_seconds: 3.0,
        };
        let requests = [
            Request {
                span: Span::Video,
                frames: 2,
                fit: SMALL,
            },
            Request {
                span: windows,
                frames: 2,
                fit: SMALL,
            },
            Request {
                span: Span::Video,
                frames: 1,
                fit: Fit::Native,
            },
        ];
        Plan::new(Path::new("a.mp4"), &requests, &timeline(frames)).unwrap()
    }

    #[test]
    fn a_frame_is_needed_once_for_each_fit() {
        let plan = plan(95);
        assert_eq!(plan.fits, [SMALL, Fit::Native]);
        let missing = plan.missing(&Kept::new());
        let expected = [
            (0, vec![0, 1]),
            (30, vec![0]),
            (39, vec![0]),
            (60, vec![0]),
            (69, vec![0]),
            (94, vec![0]),
        ];
        assert_eq!(missing, BTreeMap::from(expected));
    }

    #[test]
    fn clips_share_frames_and_wait_for_the_last() {
        let plan = plan(95);
        let mut kept: Kept = plan
            .missing(&Kept::new())
            .into_iter()
            .flat_map(|(frame, fits)| fits.into_iter().map(move |fit| (frame, fit)))
            .map(|key| (key, Arc::new(Array3::zeros((1, 1, 3)))))
            .collect();
        kept.insert((7, 0), Arc::new(Array3::zeros((1, 1, 3))));
        let clips = plan.clips(&kept).unwrap();
        assert_eq!(clips.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 1]);
        assert!(Arc::ptr_eq(&clips[0][0].frames[1], &clips[1][2].frames[1]));
        assert_eq!(
            (clips[1][2].start_seconds, clips[1][2].end_seconds),
            (6.0, 9.5)
        );

        plan.discard_others(&mut kept);
        assert!(!kept.contains_key(&(7, 0)) && plan.missing(&kept).is_empty());
        kept.remove(&(39, 0));
        assert!(plan.clips(&kept).is_none());
        assert_eq!(plan.missing(&kept), BTreeMap::from([(39, vec![0])]));
    }
}
