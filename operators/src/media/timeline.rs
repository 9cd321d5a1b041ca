//! When each frame is shown, and which frames a span picks. Pure arithmetic, in whole nanoseconds.
//!
//! Time zero is the first shown frame; D is the end of the last one. Windows of length L and stride S are
//! k = 0, 1, … `[kS, min(kS + L, D))`, stopping with the first that reaches D. A frame belongs to the windows that hold
//! its presentation time. Seconds given by a caller are rounded to the nanosecond, so that a frame at exactly 3 s is in
//! the window that starts there.

use std::ops::Range;

/// Windows a span may have: beyond this, times are broken (or the stride is).
pub const MAX_WINDOWS: usize = 100_000;
const NANOS: f64 = 1e9;
/// The length of a frame about which nothing is known.
const DEFAULT_FRAME_NS: i64 = 40_000_000;

/// What a container or decoder says of one frame, in ticks of the stream's time base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Presentation time, where known.
    pub time: Option<i64>,
    /// How long the frame is shown; 0 if unknown.
    pub duration: i64,
}

/// The frames of a video in order of presentation, with their times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Nanoseconds from the first frame; never decreasing.
    times_ns: Vec<i64>,
    end_ns: i64,
}

/// One window of a video, `start` and `end` in nanoseconds, and the frames in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Nanoseconds from the first frame, and (exclusive) the end.
    pub span_ns: Range<i64>,
    /// Frame numbers; never empty for a video that has frames.
    pub frames: Range<usize>,
}

impl Timeline {
    /// Builds the timeline from stamps in order of presentation.
    ///
    /// `time_base` is the seconds of one tick as numerator and denominator; `frame_seconds` the usual length of a frame,
    /// where the header knows it. A frame without a time follows the one before by its length. Times that go backwards
    /// are held at the time before. The last frame lasts as long as it says where lengths can be believed, or else as long as the
    /// median frame.
    pub fn new(stamps: &[Stamp], time_base: (i32, i32), frame_seconds: Option<f64>) -> Self {
        if stamps.is_empty() {
            return Self::default();
        }
        let usual_ns = frame_seconds
            .and_then(nanos)
            .filter(|&ns| ns > 0)
            .unwrap_or(DEFAULT_FRAME_NS);
        let length_ns = |stamp: &Stamp| match stamp.duration {
            ..=0 => usual_ns,
            ticks => ticks_to_ns(ticks, time_base),
        };
        let mut times_ns = Vec::with_capacity(stamps.len());
        // Frames before the first known time are laid out backwards from it, so that it keeps its place.
        let unknown = stamps
            .iter()
            .take_while(|stamp| stamp.time.is_none())
            .count();
        let lead_ns = stamps[..unknown]
            .iter()
            .fold(0i64, |sum, stamp| sum.saturating_add(length_ns(stamp)));
        let origin_ns = stamps
            .get(unknown)
            .and_then(|stamp| stamp.time)
            .map_or(0, |ticks| {
                ticks_to_ns(ticks, time_base).saturating_sub(lead_ns)
            });
        let mut next_ns = 0i64;
        let mut last_ns = 0i64;
        for stamp in stamps {
            let time_ns = match stamp.time {
                Some(ticks) => ticks_to_ns(ticks, time_base).saturating_sub(origin_ns),
                None => next_ns,
            };
            last_ns = time_ns.max(last_ns);
            next_ns = last_ns.saturating_add(length_ns(stamp));
            times_ns.push(last_ns);
        }
        let lengths_ns: Vec<i64> = stamps
            .iter()
            .map(|stamp| ticks_to_ns(stamp.duration.max(0), time_base))
            .collect();
        let tail_ns = last_length(&times_ns, &lengths_ns).unwrap_or(usual_ns);
        Self {
            end_ns: last_ns.saturating_add(tail_ns.max(1)),
            times_ns,
        }
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.times_ns.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.times_ns.is_empty()
    }

    /// The end of the last frame, D, in seconds from the first.
    pub fn duration_seconds(&self) -> f64 {
        seconds(self.end_ns)
    }

    /// When each frame is shown, in seconds from the first.
    pub fn times_seconds(&self) -> impl Iterator<Item = f64> + '_ {
        self.times_ns.iter().map(|&ns| seconds(ns))
    }

    /// The whole video as one window.
    pub fn whole(&self) -> Window {
        Window {
            span_ns: 0..self.end_ns,
            frames: 0..self.len(),
        }
    }

    /// The windows of this length and stride, or why there are none: both must be above zero, and their number at most
    /// [`MAX_WINDOWS`]. A window in which no frame begins shows the frame before it.
    pub fn windows(&self, length_seconds: f64, stride_seconds: f64) -> Result<Vec<Window>, String> {
        let positive = |name, value| {
            nanos(value)
                .filter(|&ns| ns > 0)
                .ok_or_else(|| format!("a window {name} of {value} s; it must be above 0"))
        };
        let length_ns = positive("length", length_seconds)?;
        let stride_ns = positive("stride", stride_seconds)?;
        let mut windows = Vec::new();
        let mut start_ns = 0i64;
        loop {
            if windows.len() == MAX_WINDOWS {
                return Err(format!(
                    "more than {MAX_WINDOWS} windows in {:.0} s; the file's times are broken or the stride is too short",
                    self.duration_seconds()
                ));
            }
            let stop_ns = start_ns.saturating_add(length_ns);
            windows.push(Window {
                span_ns: start_ns..stop_ns.min(self.end_ns),
                frames: self.frames_in(start_ns..stop_ns),
            });
            start_ns = start_ns.saturating_add(stride_ns);
            if stop_ns >= self.end_ns || start_ns >= self.end_ns {
                return Ok(windows);
            }
        }
    }

    fn frames_in(&self, span_ns: Range<i64>) -> Range<usize> {
        let first = self.times_ns.partition_point(|&time| time < span_ns.start);
        let end = self.times_ns.partition_point(|&time| time < span_ns.end);
        if first == end {
            return first.saturating_sub(1)..end.max(1).min(self.len());
        }
        first..end
    }
}

/// Which `wanted` of `available` frames to take: `floor(linspace(0, available - 1, wanted))`, in exact arithmetic. Fewer
/// frames than wanted are repeated; one wanted frame is the first; of nothing there is nothing.
///
/// ```
/// use clipsieve_operators::media::timeline::uniform_indices;
/// assert_eq!(uniform_indices(10, 4), [0, 3, 6, 9]);
/// assert_eq!(uniform_indices(2, 4), [0, 0, 0, 1]);
/// ```
pub fn uniform_indices(available: usize, wanted: usize) -> Vec<usize> {
    if available == 0 {
        return Vec::new();
    }
    let (last, steps) = (
        available as u128 - 1,
        wanted.saturating_sub(1).max(1) as u128,
    );
    (0..wanted)
        .map(|step| (step as u128 * last / steps) as usize)
        .collect()
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(ns: i64) -> f64 {
    ns as f64 / NANOS
}

/// Seconds in whole nanoseconds, if they are a number that fits.
fn nanos(seconds: f64) -> Option<i64> {
    let ns = (seconds * NANOS).round();
    (ns.is_finite() && ns.abs() < i64::MAX as f64).then_some(ns as i64)
}

fn ticks_to_ns(ticks: i64, (numerator, denominator): (i32, i32)) -> i64 {
    let denominator = i128::from(denominator.max(1));
    let scaled = i128::from(ticks) * i128::from(numerator.max(1)) * 1_000_000_000;
    let rounded = (scaled + denominator / 2).div_euclid(denominator);
    rounded.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4)) as i64
}

/// How long the last frame is shown, in the unit of the times: as long as it says, if what frames say of their lengths can
/// be believed, or else as long as the median frame. ffmpeg makes lengths up from a rate in the stream's headers where a
/// container has none, so they are believed only if they add up to the times (within a tenth), or if for half of the
/// frames they fit (the rest may be gaps).
pub(crate) fn last_length(times: &[i64], lengths: &[i64]) -> Option<i64> {
    let (&last, before) = lengths.split_last()?;
    let own = Some(last).filter(|&length| length > 0);
    let fits = |claimed: i128, shown: i128| (claimed - shown).abs() * 10 <= shown;
    let gaps = times
        .windows(2)
        .map(|pair| i128::from(pair[1]) - i128::from(pair[0]));
    let claims = before.iter().map(|&length| i128::from(length));
    let fitting = gaps
        .clone()
        .zip(claims.clone())
        .filter(|&(gap, claim)| fits(claim, gap))
        .count();
    if fits(claims.sum(), gaps.sum()) || fitting * 2 >= before.len() {
        return own.or_else(|| median_gap(times));
    }
    median_gap(times).or(own)
}

fn median_gap(times: &[i64]) -> Option<i64> {
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.is_empty() {
        return None;
    }
    let middle = (gaps.len() - 1) / 2;
    let (_, median, _) = gaps.select_nth_unstable(middle);
    Some(*median).filter(|&gap| gap > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamps(times: &[i64], duration: i64) -> Vec<Stamp> {
        times
            .iter()
            .map(|&time| Stamp {
                time: Some(time),
                duration,
            })
            .collect()
    }

    /// `frames` frames at 10 a second.
    fn steady(frames: i64) -> Timeline {
        let times: Vec<i64> = (0..frames).map(|n| 700 + n * 100).collect();
        Timeline::new(&stamps(&times, 100), (1, 1000), None)
    }

    fn spans(timeline: &Timeline, length: f64, stride: f64) -> Vec<(f64, f64, Range<usize>)> {
        timeline
            .windows(length, stride)
            .unwrap()
            .into_iter()
            .map(|window| {
                (
                    seconds(window.span_ns.start),
                    seconds(window.span_ns.end),
                    window.frames,
                )
            })
            .collect()
    }

    #[test]
    fn time_counts_from_the_first_frame_to_the_end_of_the_last() {
        let timeline = steady(95);
        assert_eq!(timeline.times_seconds().nth(30), Some(3.0));
        assert_eq!(timeline.duration_seconds(), 9.5);
    }

    #[test]
    fn windows_stop_with_the_first_that_reaches_the_end() {
        assert_eq!(
            spans(&steady(95), 4.0, 3.0),
            [(0.0, 4.0, 0..40), (3.0, 7.0, 30..70), (6.0, 9.5, 60..95)]
        );
        // The second ends exactly at D: there is no third.
        assert_eq!(
            spans(&steady(70), 4.0, 3.0),
            [(0.0, 4.0, 0..40), (3.0, 7.0, 30..70)]
        );
        assert_eq!(spans(&steady(71), 4.0, 3.0)[2], (6.0, 7.1, 60..71));
        assert_eq!(spans(&steady(10), 4.0, 3.0), [(0.0, 1.0, 0..10)]);
        // A stride longer than the window, and an end that falls between two windows.
        assert_eq!(spans(&steady(30), 1.0, 5.0), [(0.0, 1.0, 0..10)]);
    }

    #[test]
    fn a_window_in_which_nothing_begins_shows_the_frame_before() {
        let timeline = Timeline::new(&stamps(&[0, 100, 9000], 100), (1, 1000), None);
        let frames: Vec<_> = spans(&timeline, 2.0, 2.0)
            .into_iter()
            .map(|span| span.2)
            .collect();
        assert_eq!(frames, [0..2, 1..2, 1..2, 1..2, 2..3]);
    }

    #[test]
    fn lengths_and_strides_that_make_no_sense_are_refused() {
        let timeline = steady(10);
        for (length, stride) in [
            (0.0, 1.0),
            (1.0, 0.0),
            (-1.0, 1.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
            (1e-12, 1.0),
        ] {
            assert!(
                timeline.windows(length, stride).is_err(),
                "{length} {stride}"
            );
        }
        let broken = Timeline::new(&stamps(&[0, i64::MAX], 1), (1, 1), None);
        assert!(broken.windows(4.0, 3.0).unwrap_err().contains("windows"));
    }

    #[test]
    fn the_last_frame_lasts_the_median_when_its_length_is_unknown() {
        let timeline = Timeline::new(&stamps(&[0, 40, 80, 500, 540], 0), (1, 1000), Some(0.3));
        assert_eq!(timeline.duration_seconds(), 0.58);
        let single = Timeline::new(&stamps(&[77], 0), (1, 1000), Some(0.25));
        assert_eq!(single.duration_seconds(), 0.25);
        let bare = Timeline::new(&stamps(&[77], 0), (1, 1000), None);
        assert_eq!(spans(&bare, 4.0, 3.0), [(0.0, 0.04, 0..1)]);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_not_believed() {
        // A frame of 40 ms is said to last 1 ms: D is not 81 ms.
        assert_eq!(last_length(&[0, 40, 80], &[1, 1, 1]), Some(40));
        assert_eq!(last_length(&[0, 40, 80], &[41, 40, 90]), Some(90));
        assert_eq!(last_length(&[0, 40, 80], &[40, 40, 0]), Some(40));
        // Gaps are no reason to doubt the others, and a mix of long and short is right as long as the sum is.
        assert_eq!(last_length(&[0, 40, 840, 880], &[40, 40, 40, 50]), Some(50));
        assert_eq!(
            last_length(&[0, 100, 140, 300], &[40, 160, 100, 90]),
            Some(90)
        );
        assert_eq!(last_length(&[5], &[7]), Some(7));
        assert_eq!(last_length(&[5], &[0]), None);
    }

    #[test]
    fn missing_and_backward_times_keep_the_order() {
        let mut given = stamps(&[0, 0, 1200, 900, 1300, 0], 100);
        for unknown in [0, 1, 5] {
            given[unknown].time = None;
        }
        let timeline = Timeline::new(&given, (1, 1000), None);
        let times: Vec<f64> = timeline.times_seconds().collect();
        assert_eq!(times, [0.0, 0.1, 0.2, 0.2, 0.3, 0.4]);
    }

    #[test]
    fn an_empty_video_has_no_frames_to_pick() {
        let timeline = Timeline::new(&[], (1, 1000), None);
        assert!(timeline.is_empty());
        assert_eq!(timeline.windows(4.0, 3.0).unwrap()[0].frames, 0..0);
        assert!(uniform_indices(0, 5).is_empty());
    }

    #[test]
    fn indices_are_the_floor_of_a_linspace() {
        assert_eq!(uniform_indices(95, 1), [0]);
        assert_eq!(uniform_indices(1, 3), [0, 0, 0]);
        assert_eq!(uniform_indices(100, 8), [0, 14, 28, 42, 56, 70, 84, 99]);
        assert!(uniform_indices(5, 0).is_empty());
    }

    proptest! {
        #[test]
        fn indices_start_at_the_first_end_at_the_last_and_are_even(available in 1usize..100_000, wanted in 2usize..300) {
            let picked = uniform_indices(available, wanted);
            prop_assert_eq!(picked.len(), wanted);
            prop_assert_eq!((picked[0], picked[wanted - 1]), (0, available - 1));
            let step = (available - 1) as f64 / (wanted - 1) as f64;
            for (i, &index) in picked.iter().enumerate() {
                prop_assert!(index as f64 <= i as f64 * step + 1e-6 && index as f64 > i as f64 * step - 1.0 - 1e-6);
            }
        }

        #[test]
        fn windows_cover_every_frame_and_reach_the_end(
            gaps in prop::collection::vec(0i64..900, 1..120), length_ms in 1i64..5000, overlap_ms in 0i64..5000,
        ) {
            let stride_ms = (length_ms - overlap_ms).max(1);
            let times: Vec<i64> = gaps.iter().scan(-50, |time, gap| { *time += gap; Some(*time) }).collect();
            let timeline = Timeline::new(&stamps(&times, 0), (1, 1000), None);
            let windows = timeline.windows(length_ms as f64 / 1e3, stride_ms as f64 / 1e3);
            let windows = windows.unwrap();
            let mut covered = vec![false; times.len()];
            for (k, window) in windows.iter().enumerate() {
                prop_assert_eq!(window.span_ns.start, k as i64 * stride_ms * 1_000_000);
                prop_assert!(!window.frames.is_empty() && window.frames.end <= times.len());
                covered[window.frames.clone()].fill(true);
                let reaches = window.span_ns.start + length_ms * 1_000_000 >= timeline.end_ns;
                prop_assert_eq!(reaches, k + 1 == windows.len());
            }
            prop_assert!(covered.into_iter().all(|seen| seen));
        }

        #[test]
        fn no_stamps_can_break_the_arithmetic(
            times in prop::collection::vec(any::<Option<i64>>(), 0..20), duration in any::<i64>(),
            numerator in any::<i32>(), denominator in any::<i32>(), usual in any::<Option<f64>>(),
        ) {
            let given: Vec<Stamp> = times.iter().map(|&time| Stamp { time, duration }).collect();
            let timeline = Timeline::new(&given, (numerator, denominator), usual);
            prop_assert_eq!(timeline.len(), given.len());
            let shown: Vec<f64> = timeline.times_seconds().collect();
            prop_assert!(shown.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(shown.last().is_none_or(|&last| last < timeline.duration_seconds() || last > 1e6));
        }
    }
}
