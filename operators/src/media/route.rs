//! Which packets a decode has to touch, when only some frames are wanted.
//!
//! A route is planned from what the packets say, and is only ever a way to the frames that a decode of the whole file gives.
//! So it exists only for streams about which nothing is in doubt ([`Index::new`]), and it always decodes the first and the
//! last group of pictures completely: what a route gives is believed only if every picture that it decodes comes out,
//! in order, with the time and length that was predicted for it.
//!
//! Left out are groups without a wanted frame, the end of a group after its last wanted frame, and pictures that nobody
//! wants and no other picture refers to.

use std::collections::{BTreeMap, BTreeSet};

use ffmpeg_next::frame;

use super::bitstream::Picture;
use super::timeline::Stamp;

/// A route that leaves out less than this share of the packets is not worth its checks.
const WORTHWHILE_SHARE: usize = 8;
/// Left out at the end of a group, these many packets (and one more for each thread) would cost more than they spare.
const SHORT_TAIL: usize = 4;

/// A packet of the video stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub stamp: Stamp,
    pub bytes: usize,
    /// An edit list cuts it away: it is decoded, and never shown.
    pub hidden: bool,
    pub picture: Picture,
}

/// All packets of a stream, in order of decoding.
pub(crate) struct Index {
    samples: Vec<Sample>,
    /// For each sample which frame it is, in order of presentation.
    numbers: Vec<Option<usize>>,
    /// For each frame its sample.
    positions: Vec<usize>,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Decode,
    /// Empty the decoder, and begin anew with this packet.
    Begin,
    Leave,
}

impl Index {
    /// `None` for a stream whose frames do not each have a time of their own.
    pub fn new(samples: Vec<Sample>) -> Option<Self> {
        let mut shown: Vec<(i64, usize)> = Vec::with_capacity(samples.len());
        for (position, sample) in samples.iter().enumerate() {
            if !sample.hidden {
                shown.push((sample.stamp.time?, position));
            }
        }
        shown.sort_unstable();
        if shown.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let positions: Vec<usize> = shown.iter().map(|&(_, position)| position).collect();
        let mut numbers = vec![None; samples.len()];
        for (number, &position) in positions.iter().enumerate() {
            numbers[position] = Some(number);
        }
        Some(Self {
            samples,
            numbers,
            positions,
        })
    }

    /// The stamps of the frames, in order of presentation.
    #[cfg(test)]
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |&position: &usize| self.samples[position].stamp;
        self.positions.iter().map(stamp).collect()
    }

    /// How to get at the wanted frames; `None` if the whole file may as well be decoded.
    pub fn route<T>(&self, wanted: &BTreeMap<usize, T>, threads: usize) -> Option<Vec<Step>> {
        let starts: Vec<usize> = (0..self.samples.len())
            .filter(|&at| self.samples[at].picture.entry && self.numbers[at].is_some())
            .collect();
        if starts.first() != Some(&0) {
            return None;
        }
        let last = starts.len() - 1;
        let end = |group: usize| starts.get(group + 1).copied().unwrap_or(self.samples.len());
        // Up to where each group is decoded, and whether it has to follow the one before without a break.
        let mut until = starts.clone();
        until[0] = end(0);
        until[last] = end(last);
        for &frame in wanted.keys() {
            let position = *self.positions.get(frame)?;
            let group = starts.partition_point(|&start| start <= position) - 1;
            until[group] = until[group].max(position + 1);
            // Shown before the picture that its group begins with, it may refer to the group before.
            if group > 0 && Some(frame) < self.numbers[starts[group]] {
                until[group - 1] = starts[group];
            }
        }
        for group in 0..last {
            let decoded = until[group] > starts[group] && until[group + 1] > starts[group + 1];
            if decoded && end(group) - until[group] <= SHORT_TAIL + threads {
                until[group] = end(group);
            }
        }
        let mut steps = vec![Step::Leave; self.samples.len()];
        for group in 0..=last {
            let decoded = starts[group]..until[group];
            let numbers = &self.numbers[decoded.clone()];
            let samples = &self.samples[decoded.clone()];
            for ((step, sample), number) in steps[decoded].iter_mut().zip(samples).zip(numbers) {
                let is_wanted = number.is_some_and(|number| wanted.contains_key(&number));
                if group == 0 || group == last || sample.picture.reference || is_wanted {
                    *step = Step::Decode;
                }
            }
            if group > 0 && until[group] > starts[group] && until[group - 1] != starts[group] {
                steps[starts[group]] = Step::Begin;
            }
        }
        let left = steps.iter().filter(|&&step| step == Step::Leave).count();
        (left > 0 && left * WORTHWHILE_SHARE >= steps.len()).then_some(steps)
    }
}

/// Follows a route, and notices when the stream is not what the route was planned for.
pub(crate) struct Guide<'a> {
    index: &'a Index,
    steps: Vec<Step>,
    /// The packet that comes next.
    at: usize,
    /// Frames that are in the decoder.
    due: BTreeSet<usize>,
    /// The first frame since the decoder began anew: pictures before it are not what they should be.
    first: usize,
    /// The frame that came out last.
    last: Option<usize>,
}

/// The stream is not what it seemed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Astray;

impl<'a> Guide<'a> {
    pub fn new(index: &'a Index, steps: Vec<Step>) -> Self {
        Self {
            index,
            steps,
            at: 0,
            due: BTreeSet::new(),
            first: 0,
            last: None,
        }
    }

    /// What to do with the next packet. Before a [`Step::Begin`] is answered, all frames have to be out: ask
    /// [`is_beginning`](Self::is_beginning).
    pub fn step(&mut self, time: Option<i64>, bytes: usize) -> Result<Step, Astray> {
        let sample = self.index.samples.get(self.at).ok_or(Astray)?;
        if (sample.stamp.time, sample.bytes) != (time, bytes) {
            return Err(Astray);
        }
        let (step, number) = (self.steps[self.at], self.index.numbers[self.at]);
        if step == Step::Begin {
            if !self.due.is_empty() || number <= self.last {
                return Err(Astray);
            }
            self.first = number.ok_or(Astray)?;
        }
        if step != Step::Leave {
            self.due
                .extend(number.filter(|&number| number >= self.first));
        }
        self.at += 1;
        Ok(step)
    }

    /// Whether the decoder is to be emptied before the next packet.
    pub fn is_beginning(&self) -> bool {
        self.steps.get(self.at) == Some(&Step::Begin)
    }

    /// Which frame has come out; `None` for one that cannot be right here, and is not needed.
    pub fn frame(&mut self, picture: &frame::Video) -> Result<Option<usize>, Astray> {
        // SAFETY: numbers of a live frame.
        let (flags, errors) = unsafe {
            let raw = &*picture.as_ptr();
            (raw.flags, raw.decode_error_flags)
        };
        if errors != 0 || flags & ffmpeg_next::ffi::AV_FRAME_FLAG_CORRUPT != 0 {
            return Err(Astray);
        }
        self.arrived(Stamp {
            time: picture.timestamp(),
            duration: picture.packet().duration,
        })
    }

    fn arrived(&mut self, stamp: Stamp) -> Result<Option<usize>, Astray> {
        let index = self.index;
        let time = |position: &usize| index.samples[*position].stamp.time;
        let number = index
            .positions
            .binary_search_by(|position| time(position).cmp(&stamp.time))
            .map_err(|_| Astray)?;
        if number < self.first {
            return Ok(None);
        }
        // In order, each once, and none of those before it missing.
        let is_next = self.due.pop_first() == Some(number) && self.last < Some(number);
        if !is_next || index.samples[index.positions[number]].stamp != stamp {
            return Err(Astray);
        }
        self.last = Some(number);
        Ok(Some(number))
    }

    /// How many packets were left out, once the end is reached and every frame came.
    pub fn arrive(&self) -> Result<usize, Astray> {
        if self.at != self.steps.len() || !self.due.is_empty() {
            return Err(Astray);
        }
        Ok(self
            .steps
            .iter()
            .filter(|&&step| step == Step::Leave)
            .count())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Groups of ten, `I b P b P …` in order of decoding `I P b P b …`: one of two is not referred to.
    fn index(groups: i64, open: bool) -> Index {
        let mut samples = Vec::new();
        for group in 0..groups {
            for at in 0..10 {
                // Decoded 0 2 1 4 3 6 5 8 7 9, and in open groups the first picture is shown third.
                let shown = match (open, at) {
                    (false, 0 | 9) => at,
                    (false, _) if at % 2 == 1 => at + 1,
                    (false, _) => at - 1,
                    (true, 0) => 2,
                    (true, 1 | 2) => at - 1,
                    (true, _) => at,
                };
                samples.push(Sample {
                    stamp: Stamp {
                        time: Some(group * 10 + shown),
                        duration: 1,
                    },
                    bytes: 100,
                    hidden: false,
                    picture: Picture {
                        entry: at == 0,
                        reference: open || at == 0 || at % 2 == 1,
                    },
                });
            }
        }
        Index::new(samples).unwrap()
    }

    fn text(steps: Option<Vec<Step>>) -> String {
        let letter = |step: &Step| match step {
            Step::Decode => 'd',
            Step::Begin => 'B',
            Step::Leave => '.',
        };
        steps.unwrap().iter().map(letter).collect()
    }

    fn wanted(frames: &[usize]) -> BTreeMap<usize, ()> {
        frames.iter().map(|&frame| (frame, ())).collect()
    }

    #[test]
    fn the_first_and_the_last_group_and_what_leads_to_a_frame_are_decoded() {
        let route = index(5, false).route(&wanted(&[0, 23, 49]), 1);
        assert_eq!(
            text(route),
            "dddddddddd..........Bd.dd...............Bddddddddd"
        );
    }

    #[test]
    fn a_frame_before_the_first_of_its_group_needs_the_group_before() {
        let route = index(5, true).route(&wanted(&[0, 30, 49]), 1);
        assert_eq!(
            text(route),
            "dddddddddd..........Bddddddddddd........Bddddddddd"
        );
    }

    #[test]
    fn nothing_is_gained_where_every_frame_is_wanted() {
        let all: Vec<usize> = (0..50).collect();
        assert_eq!(index(5, false).route(&wanted(&all), 1), None);
        assert_eq!(index(2, false).route(&wanted(&[0, 19]), 1), None);
    }

    #[test]
    fn frames_that_share_a_time_have_no_index() {
        let mut samples = index(1, false).samples;
        samples[3].stamp.time = samples[2].stamp.time;
        assert!(Index::new(samples).is_none());
    }

    /// Goes a route over a decoder that gives what `change` makes of the frames.
    fn follow(
        index: &Index,
        change: impl Fn(usize, Stamp) -> Option<Stamp>,
    ) -> Result<usize, Astray> {
        let steps = index.route(&wanted(&[0, 23, 49]), 1).unwrap();
        let mut guide = Guide::new(index, steps);
        let mut held: Vec<usize> = Vec::new();
        let drain = |guide: &mut Guide<'_>, held: &mut Vec<usize>, keep: usize| {
            held.sort_unstable();
            while held.len() > keep {
                let number = held.remove(0);
                if let Some(stamp) = change(number, index.stamps()[number]) {
                    guide.arrived(stamp)?;
                }
            }
            Ok(())
        };
        for at in 0..index.samples.len() {
            if guide.is_beginning() {
                drain(&mut guide, &mut held, 0)?;
            }
            let sample = index.samples[at];
            if guide.step(sample.stamp.time, sample.bytes)? != Step::Leave {
                held.extend(index.numbers[at]);
                drain(&mut guide, &mut held, 2)?;
            }
        }
        drain(&mut guide, &mut held, 0)?;
        guide.arrive()
    }

    #[test]
    fn whatever_comes_otherwise_is_noticed() {
        let index = index(5, false);
        assert_eq!(follow(&index, |_, stamp| Some(stamp)), Ok(26));
        for number in [0, 5, 9, 20, 23, 40, 49] {
            let lost = follow(&index, |at, stamp| (at != number).then_some(stamp));
            assert_eq!(lost, Err(Astray), "frame {number} lost");
            let longer = follow(&index, |at, stamp| {
                let duration = stamp.duration + i64::from(at == number);
                Some(Stamp { duration, ..stamp })
            });
            assert_eq!(longer, Err(Astray), "frame {number} longer");
        }
        let later = follow(&index, |_, stamp| {
            Some(Stamp {
                time: stamp.time.map(|time| time + 1),
                ..stamp
            })
        });
        assert_eq!(later, Err(Astray));
    }
}
