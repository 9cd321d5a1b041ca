//! Which packets a decode has to touch, when only some frames are wanted.
//!
//! A route is planned from what the container or the packets say, and is only ever a way to the frames that a decode of the
//! whole file gives. So it exists only for streams about which nothing is in doubt ([`Index::new`]), and what it gives is
//! believed only if every picture that it decodes comes out, in order, with the time and length that was predicted for it.
//! The first and the last frame are always among them.
//!
//! Left out are groups without a wanted frame, the end of a group after its last wanted frame, and pictures that nobody
//! wants and no other picture refers to.

use std::collections::BTreeSet;
use std::ops::Range;

use ffmpeg_next::frame;

use super::bitstream::Picture;
use super::timeline::Stamp;

/// Left out at the end of a group, these many packets (and one more for each thread) would cost more than they spare.
const SHORT_TAIL: usize = 4;

/// A packet of the video stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub stamp: Stamp,
    /// Ticks.
    pub decoded_at: Option<i64>,
    /// Where it lies in the file, if the container's index says so.
    pub offset: Option<u64>,
    pub bytes: usize,
    /// An edit list cuts it away: it is decoded, and never shown.
    pub hidden: bool,
    /// Whether the container says that decoding can begin here.
    pub key: bool,
    /// What the packet says of itself, if it was read.
    pub picture: Option<Picture>,
}

impl Sample {
    /// Whether decoding can begin here: as the packet says, or else as the container does.
    fn is_entry(&self) -> bool {
        self.picture.map_or(self.key, |picture| picture.entry)
    }
}

/// All packets of a stream, in order of decoding.
#[derive(Debug)]
pub(crate) struct Index {
    pub samples: Vec<Sample>,
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

/// The way to some frames.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// One for each sample.
    pub steps: Vec<Step>,
    /// The frames that have to be decoded.
    wanted: BTreeSet<usize>,
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

    /// Whether it is known of all packets where they lie in the file.
    pub fn has_places(&self) -> bool {
        self.samples.iter().all(|sample| sample.offset.is_some())
    }

    /// The stamps of the frames, in order of presentation.
    #[cfg(test)]
    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |&position: &usize| self.samples[position].stamp;
        self.positions.iter().map(stamp).collect()
    }

    /// How to get at the wanted frames, with a decoder of this many threads; `None` if decoding cannot begin at the first
    /// packet, or a frame is wanted that there is not.
    pub fn route(&self, wanted: impl IntoIterator<Item = usize>, threads: usize) -> Option<Route> {
        let starts: Vec<usize> = (0..self.samples.len())
            .filter(|&at| self.samples[at].is_entry() && self.numbers[at].is_some())
            .collect();
        if starts.first() != Some(&0) {
            return None;
        }
        let wanted: BTreeSet<usize> = wanted
            .into_iter()
            .chain([0, self.positions.len() - 1])
            .collect();
        let last = starts.len() - 1;
        let end = |group: usize| starts.get(group + 1).copied().unwrap_or(self.samples.len());
        // Up to where each group is decoded, and whether it has to follow the one before without a break.
        let mut until = starts.clone();
        for &frame in &wanted {
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
            let samples = starts[group]..until[group];
            for (at, step) in samples.clone().zip(&mut steps[samples]) {
                if !self.is_spare(&wanted, at, self.samples[at].picture) {
                    *step = Step::Decode;
                }
            }
            if group > 0 && until[group] > starts[group] && until[group - 1] != starts[group] {
                steps[starts[group]] = Step::Begin;
            }
        }
        Some(Route { steps, wanted })
    }

    /// Whether nobody wants the picture of this sample, and nothing refers to it, as far as is known.
    fn is_spare(&self, wanted: &BTreeSet<usize>, at: usize, picture: Option<Picture>) -> bool {
        let is_wanted = self.numbers[at].is_some_and(|number| wanted.contains(&number));
        !is_wanted && picture.is_some_and(|picture| !picture.reference)
    }
}

impl Route {
    /// The way in so many parts of about the same work, or fewer: each begins where decoding begins.
    pub fn shares(&self, parts: usize) -> Vec<Range<usize>> {
        let decoded = |steps: &[Step]| steps.iter().filter(|&&step| step != Step::Leave).count();
        let share = decoded(&self.steps).div_ceil(parts.max(1));
        let mut shares = Vec::new();
        let (mut start, mut work) = (0, 0);
        for (at, step) in self.steps.iter().enumerate() {
            if *step == Step::Begin && work >= share {
                shares.push(start..at);
                (start, work) = (at, 0);
            }
            work += usize::from(*step != Step::Leave);
        }
        shares.push(start..self.steps.len());
        shares
    }
}

/// Follows a route, and notices when the stream is not what the route was planned for.
pub(crate) struct Guide<'a> {
    index: &'a Index,
    route: &'a Route,
    /// Frames that are in the decoder.
    due: BTreeSet<usize>,
    /// The first frame since the decoder began anew: pictures before it are not what they should be.
    first: usize,
    /// The frame that came out last.
    last: Option<usize>,
    left: usize,
}

/// The stream is not what it seemed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Astray;

impl<'a> Guide<'a> {
    pub fn new(index: &'a Index, route: &'a Route) -> Self {
        Self {
            index,
            route,
            due: BTreeSet::new(),
            first: 0,
            last: None,
            left: 0,
        }
    }

    /// Whether the sample at `at` is to be decoded, as its packet says what it is. Before a [`Step::Begin`], all frames have
    /// to be out.
    pub fn step(&mut self, at: usize, picture: Picture) -> Result<bool, Astray> {
        let (step, number) = (self.route.steps[at], self.index.numbers[at]);
        if step == Step::Begin {
            if !self.due.is_empty() || number <= self.last || !picture.entry {
                return Err(Astray);
            }
            self.first = number.ok_or(Astray)?;
        }
        if step == Step::Leave || self.index.is_spare(&self.route.wanted, at, Some(picture)) {
            self.leave();
            return Ok(false);
        }
        self.due
            .extend(number.filter(|&number| number >= self.first));
        Ok(true)
    }

    /// A sample is left unread.
    pub fn leave(&mut self) {
        self.left += 1;
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
        match self.due.is_empty() {
            true => Ok(self.left),
            false => Err(Astray),
        }
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
                    decoded_at: None,
                    offset: None,
                    bytes: 100,
                    hidden: false,
                    key: at == 0,
                    picture: Some(Picture {
                        entry: at == 0,
                        reference: open || at == 0 || at % 2 == 1,
                    }),
                });
            }
        }
        Index::new(samples).unwrap()
    }

    fn text(route: Option<Route>) -> String {
        let letter = |step: &Step| match step {
            Step::Decode => 'd',
            Step::Begin => 'B',
            Step::Leave => '.',
        };
        route.unwrap().steps.iter().map(letter).collect()
    }

    #[test]
    fn what_leads_to_a_frame_is_decoded_and_little_else() {
        let route = index(5, false).route([0, 23, 49], 1);
        assert_eq!(
            text(route),
            "d...................Bd.dd...............Bd.d.d.d.d"
        );
    }

    #[test]
    fn the_first_and_the_last_frame_are_decoded_in_any_case() {
        let route = index(3, false).route([11], 1);
        assert_eq!(text(route), "d.........Bdd.......Bd.d.d.d.d");
    }

    #[test]
    fn a_frame_before_the_first_of_its_group_needs_the_group_before() {
        let route = index(5, true).route([0, 30, 49], 1);
        assert_eq!(
            text(route),
            "dd..................Bddddddddddd........Bddddddddd"
        );
    }

    #[test]
    fn a_way_is_shared_where_decoding_begins_anew() {
        let route = index(5, false).route([0, 12, 23, 49], 1).unwrap();
        // 1, 2, 4 and 6 pictures, in groups that begin at 0, 10, 20 and 40.
        assert_eq!(route.shares(1), vec![0..50]);
        assert_eq!(route.shares(2), vec![0..40, 40..50]);
        assert_eq!(route.shares(9), vec![0..20, 20..40, 40..50]);
    }

    #[test]
    fn of_packets_that_were_not_read_all_may_matter() {
        let mut samples = index(3, false).samples;
        samples.iter_mut().for_each(|sample| sample.picture = None);
        let index = Index::new(samples).unwrap();
        let route = index.route([11], 1).unwrap();
        assert_eq!(text(Some(route.clone())), "d.........Bdd.......Bddddddddd");
        let mut guide = Guide::new(&index, &route);
        let leaf = Picture {
            entry: false,
            reference: false,
        };
        let entry = Picture {
            entry: true,
            reference: true,
        };
        assert_eq!(guide.step(0, entry), Ok(true));
        guide.due.clear();
        // What the container calls a key has to be one.
        assert_eq!(guide.step(10, leaf), Err(Astray));
        assert_eq!(guide.step(10, entry), Ok(true));
        assert_eq!((guide.step(11, leaf), guide.left), (Ok(false), 1));
        assert_eq!(guide.step(12, leaf), Ok(true));
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
        let route = index.route([0, 23, 49], 1).unwrap();
        let mut guide = Guide::new(index, &route);
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
            if route.steps[at] == Step::Begin {
                drain(&mut guide, &mut held, 0)?;
            }
            if guide.step(at, index.samples[at].picture.unwrap())? {
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
        assert_eq!(follow(&index, |_, stamp| Some(stamp)), Ok(40 - 1));
        for number in [0, 20, 23, 24, 40, 44, 49] {
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
