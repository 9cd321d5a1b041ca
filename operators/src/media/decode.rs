//! One decoding pass for all that is wanted of a video.

use std::collections::BTreeMap;
use std::path::Path;

use ffmpeg_next::{Packet, frame};

use super::convert::Converter;
use super::geometry::{CropRect, check_size};
use super::info::{describe, parts};
use super::reader::{Faults, FrameReader, next_packet, scan};
use super::route::{Astray, Guide, Index, Step};
use super::selection::{Kept, Plan};
use super::source::Source;
use super::timeline::{Stamp, Timeline};
use super::{Clip, Interrupt, MediaError, Request, Span, VideoInfo};

/// Passes after which a file that decodes differently each time is given up.
const MAX_PASSES: u32 = 4;

/// How to decode; the frames are the same for any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Threads of the decoder; 0 takes one for each core.
    pub threads: usize,
    /// Whether packets that no wanted frame depends on may be left undecoded, in streams whose packets leave nothing in doubt.
    pub seek: bool,
}

impl Default for DecodeOptions {
    /// One thread: many videos are decoded at a time.
    fn default() -> Self {
        Self {
            threads: 1,
            seek: true,
        }
    }
}

/// What came of a decode.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// What the header says.
    pub info: VideoInfo,
    /// The end of the last frame, D, in seconds from the first shown frame.
    pub duration_seconds: f64,
    /// The frames that really decode.
    pub frames_decoded: usize,
    /// For each request its clips: one for [`Span::Video`], one a window for [`Span::Windows`].
    pub clips: Vec<Vec<Clip>>,
    /// What it took.
    pub statistics: Statistics,
}

/// What a decode took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that the packets promised.
    pub frames_predicted: usize,
    /// Decoding passes: 1, or more if the packets promised other frames than there are.
    pub passes: u32,
    /// Packets that were left undecoded because no wanted frame depends on them.
    pub packets_skipped: usize,
    /// Frames converted, each distinct fit counted.
    pub frames_converted: usize,
    /// Packets of the last pass that were unreadable or did not decode.
    pub faults: u64,
    /// What ffmpeg said of the first.
    pub first_fault: Option<String>,
}

/// Decodes the frames that the requests ask for, in one pass where the container tells the truth about its frames.
///
/// With a `view` (display pixels) the frames are those of a video that shows only that rectangle. A stream that breaks
/// in the middle counts for the frames that do decode.
///
/// # Errors
/// As for opening and [`probe`](super::probe); `Crop` when the view does not lie in the video; `Decode` when no frame
/// decodes; `Unsupported` for sizes and windows that are refused; `Interrupted`.
pub fn decode(
    path: &Path,
    view: Option<CropRect>,
    requests: &[Request],
    interrupt: &Interrupt,
) -> Result<Decoded, MediaError> {
    decode_with(path, view, requests, &DecodeOptions::default(), interrupt)
}

/// [`decode`], with options.
pub fn decode_with(
    path: &Path,
    view: Option<CropRect>,
    requests: &[Request],
    options: &DecodeOptions,
    interrupt: &Interrupt,
) -> Result<Decoded, MediaError> {
    let mut source = Source::open(path, interrupt)?;
    let info = describe(&source)?;
    let view = info.view(view)?;
    let time_base = parts(source.video_stream().time_base());
    let timeline =
        |stamps: &[Stamp]| Timeline::new(stamps, time_base, info.average_fps.map(f64::recip));
    let (stamps, index) = scan(&mut source, options.seek, interrupt)?;
    drop(source);

    let mut statistics = Statistics {
        frames_predicted: stamps.len(),
        ..Statistics::default()
    };
    let mut kept = Kept::new();
    let predicted = timeline(&stamps);
    // A prediction that cannot be planned for may still be wrong: only the true times decide.
    let mut wanted = match Plan::new(path, requests, &predicted) {
        Ok(plan) => {
            let missing = plan.missing(&kept);
            let route = index
                .as_ref()
                .and_then(|index| Some((index, index.route(&missing, options.threads)?)));
            if let Some((index, steps)) = route {
                statistics.passes += 1;
                let pass = Pass {
                    path,
                    converter: Converter::new(info.canvas(), view),
                    fits: plan.fits.clone(),
                    wanted: missing.clone(),
                    kept: &mut kept,
                    stamps: Vec::new(),
                    statistics: &mut statistics,
                };
                let skipped = pass.follow(index, steps, options, interrupt)?;
                if let Ok(skipped) = skipped
                    && let Some(clips) = plan.clips(&kept)
                {
                    statistics.packets_skipped = skipped;
                    return Ok(Decoded {
                        info,
                        duration_seconds: predicted.duration_seconds(),
                        frames_decoded: predicted.len(),
                        clips,
                        statistics,
                    });
                }
                // What it gave may be other frames than they seemed.
                kept.clear();
            }
            (missing, plan.fits)
        }
        Err(_) => Default::default(),
    };
    for _ in 0..MAX_PASSES {
        let mut pass = Pass {
            path,
            converter: Converter::new(info.canvas(), view),
            fits: wanted.1,
            wanted: wanted.0,
            kept: &mut kept,
            stamps: Vec::with_capacity(statistics.frames_predicted),
            statistics: &mut statistics,
        };
        let faults = pass.run(options, interrupt)?;
        let timeline = timeline(&pass.stamps);
        statistics.passes += 1;
        statistics.faults = faults.count;
        statistics.first_fault = faults.first.map(super::error::lowercase);
        if timeline.is_empty() {
            return Err(MediaError::decode(path, faults.reason()));
        }
        let plan = Plan::new(path, requests, &timeline)?;
        plan.discard_others(&mut kept);
        if let Some(clips) = plan.clips(&kept) {
            return Ok(Decoded {
                info,
                duration_seconds: timeline.duration_seconds(),
                frames_decoded: timeline.len(),
                clips,
                statistics,
            });
        }
        wanted = (plan.missing(&kept), plan.fits);
    }
    Err(MediaError::decode(
        path,
        "it decodes to other frames each time",
    ))
}

/// One run through the file.
struct Pass<'a> {
    path: &'a Path,
    converter: Converter,
    fits: Vec<super::Fit>,
    wanted: BTreeMap<usize, Vec<usize>>,
    kept: &'a mut Kept,
    stamps: Vec<Stamp>,
    statistics: &'a mut Statistics,
}

impl Pass<'_> {
    fn run(
        &mut self,
        options: &DecodeOptions,
        interrupt: &Interrupt,
    ) -> Result<Faults, MediaError> {
        let mut source = Source::open(self.path, interrupt)?;
        let mut reader = FrameReader::new(&source, options.threads)?;
        let mut faults = Faults::default();
        loop {
            let packet = next_packet(&mut source, &mut faults, interrupt)?;
            if packet
                .as_ref()
                .is_some_and(|packet| packet.stream() != source.video)
            {
                continue;
            }
            reader.decode(self.path, packet.as_ref(), interrupt, |picture| {
                self.take(picture)
            })?;
            if packet.is_none() {
                break;
            }
        }
        faults.count += reader.faults.count;
        faults.first = reader.faults.first.or(faults.first);
        Ok(faults)
    }

    /// Decodes what the route says, and nothing else. Returns how many packets were left, or that it leads elsewhere.
    fn follow(
        mut self,
        index: &Index,
        steps: Vec<Step>,
        options: &DecodeOptions,
        interrupt: &Interrupt,
    ) -> Result<Result<usize, Astray>, MediaError> {
        let mut guide = Guide::new(index, steps);
        match self.go(&mut guide, options, interrupt) {
            Ok(()) => Ok(guide.arrive()),
            Err(error @ MediaError::Interrupted { .. }) => Err(error),
            // Whether the file is to blame, its full decode shows.
            Err(_) => Ok(Err(Astray)),
        }
    }

    fn go(
        &mut self,
        guide: &mut Guide<'_>,
        options: &DecodeOptions,
        interrupt: &Interrupt,
    ) -> Result<(), MediaError> {
        let mut source = Source::open(self.path, interrupt)?;
        let mut reader = FrameReader::new(&source, options.threads)?;
        let mut faults = Faults::default();
        loop {
            let packet = next_packet(&mut source, &mut faults, interrupt)?;
            if faults.count > 0 {
                return Err(self.astray(Astray));
            }
            let Some(packet) = packet else {
                return self.feed(&mut reader, guide, None, interrupt);
            };
            if packet.stream() != source.video {
                continue;
            }
            let is_beginning = guide.is_beginning();
            if is_beginning {
                self.feed(&mut reader, guide, None, interrupt)?;
                reader.begin();
            }
            let step = guide
                .step(packet.pts().or(packet.dts()), packet.size())
                .map_err(|astray| self.astray(astray))?;
            if step != Step::Leave {
                self.feed(&mut reader, guide, Some(&packet), interrupt)?;
            }
        }
    }

    /// Decodes a packet, or with `None` empties the decoder, and keeps the wanted frames.
    fn feed(
        &mut self,
        reader: &mut FrameReader,
        guide: &mut Guide<'_>,
        packet: Option<&Packet>,
        interrupt: &Interrupt,
    ) -> Result<(), MediaError> {
        let path = self.path;
        reader.decode(path, packet, interrupt, |picture| {
            match guide.frame(picture).map_err(|astray| self.astray(astray))? {
                Some(number) => self.keep(number, picture),
                None => Ok(()),
            }
        })?;
        match reader.faults.count {
            0 => Ok(()),
            _ => Err(self.astray(Astray)),
        }
    }

    fn astray(&self, _: Astray) -> MediaError {
        MediaError::decode(self.path, "it is not what its packets promise")
    }

    fn take(&mut self, picture: &frame::Video) -> Result<(), MediaError> {
        let number = self.stamps.len();
        self.stamps.push(Stamp {
            time: picture.timestamp(),
            duration: picture.packet().duration,
        });
        self.keep(number, picture)
    }

    /// Converts the frame of this number, if it is wanted.
    fn keep(&mut self, number: usize, picture: &frame::Video) -> Result<(), MediaError> {
        let Some(fits) = self.wanted.remove(&number) else {
            return Ok(());
        };
        check_size(self.path, (picture.width(), picture.height()))?;
        let failed = |reason: String| MediaError::decode(self.path, reason);
        self.converter.load(picture).map_err(failed)?;
        for fit in fits {
            let frame = self.converter.fit(self.fits[fit]).map_err(failed)?;
            self.kept.insert((number, fit), frame);
            self.statistics.frames_converted += 1;
        }
        Ok(())
    }
}

/// At most this many bytes of pixels are held by what [`decode`] returns, and while it works, as far as the header can be
/// believed: for admission control, before anything is decoded.
pub fn footprint_bytes(info: &VideoInfo, requests: &[Request]) -> u64 {
    let coded = u64::from(info.coded_width) * u64::from(info.coded_height);
    let mut by_fit: Vec<(super::Fit, u64)> = Vec::new();
    for request in requests {
        let spans = match request.span {
            Span::Video => 1,
            Span::Windows { stride_seconds, .. } => info.duration_seconds.map_or(1, |seconds| {
                (seconds / stride_seconds).ceil().max(1.0) as u64
            }),
        };
        let frames = spans.saturating_mul(request.frames as u64);
        match by_fit.iter_mut().find(|(fit, _)| *fit == request.fit) {
            Some((_, sum)) => *sum = sum.saturating_add(frames),
            None => by_fit.push((request.fit, frames)),
        }
    }
    let all = info.frames_estimate.unwrap_or(u64::MAX);
    let kept = by_fit.into_iter().map(|(fit, frames)| {
        fit.max_bytes(info.width, info.height)
            .saturating_mul(frames.min(all))
    });
    // The picture being converted, twice over, and what the decoder keeps for reference.
    kept.fold(coded * 3 * 2 + coded * 3 / 2 * 17, u64::saturating_add)
}
