//! One decoding pass for all that is wanted of a video.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ffmpeg_next::frame;

use super::convert::Converter;
use super::encode::{self, EncodedInfo};
use super::geometry::{Canvas, CropRect, Fit, check_size};
use super::medium::{Medium, Meter};
use super::route::{Index, Route, Step};
use super::selection::{Kept, Plan};
use super::survey::Survey;
use super::timeline::{Stamp, Timeline};
use super::trip::follow;
use super::{Clip, EncodeOptions, Interrupt, MediaError, Request, VideoInfo};

/// A route that has to read all packets, and leaves out less than this share of them, is not worth its checks.
const WORTHWHILE_SHARE: usize = 8;
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
    /// Bytes read of the file, by all passes together.
    pub bytes_read: u64,
    /// Packets of the last pass that were unreadable or did not decode.
    pub faults: u64,
    /// What ffmpeg said of the first.
    pub first_fault: Option<String>,
}

/// A crop to be encoded on the way.
#[derive(Clone, Debug)]
pub struct CropJob {
    /// The part of the display frame; offsets and sizes have to be even.
    pub rect: CropRect,
    /// The file that is written; its extension names the container.
    pub out: PathBuf,
    /// How it is encoded.
    pub options: EncodeOptions,
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
    medium: impl Into<Medium>,
    view: Option<CropRect>,
    requests: &[Request],
    interrupt: &Interrupt,
) -> Result<Decoded, MediaError> {
    decode_with(medium, view, requests, &DecodeOptions::default(), interrupt)
}

/// [`decode`], with options.
pub fn decode_with(
    medium: impl Into<Medium>,
    view: Option<CropRect>,
    requests: &[Request],
    options: &DecodeOptions,
    interrupt: &Interrupt,
) -> Result<Decoded, MediaError> {
    Ok(run(&medium.into(), view, requests, options, None, interrupt)?.0)
}

/// [`decode_with`], and the same pass encodes a crop. Every frame is needed for that, so nothing is left out.
///
/// # Errors
/// As for [`decode`] and for [`crop_to_file`](super::crop_to_file).
pub fn decode_and_crop(
    medium: impl Into<Medium>,
    view: Option<CropRect>,
    requests: &[Request],
    options: &DecodeOptions,
    crop: &CropJob,
    interrupt: &Interrupt,
) -> Result<(Decoded, EncodedInfo), MediaError> {
    let medium = medium.into();
    let (decoded, encoded) = run(&medium, view, requests, options, Some(crop), interrupt)?;
    match encoded {
        Some(encoded) => Ok((decoded, encoded)),
        None => Err(MediaError::decode(medium.name(), "no pass was made")),
    }
}

fn run(
    medium: &Medium,
    view: Option<CropRect>,
    requests: &[Request],
    options: &DecodeOptions,
    crop: Option<&CropJob>,
    interrupt: &Interrupt,
) -> Result<(Decoded, Option<EncodedInfo>), MediaError> {
    let survey = medium.survey(interrupt)?;
    let work = Work {
        medium,
        meter: Meter::default(),
        survey: &survey,
        canvas: survey.info.canvas(),
        view: survey.info.view(view)?,
        requests,
        options,
        interrupt,
    };
    let predicted = survey.timeline(&survey.stamps);
    let mut statistics = Statistics {
        frames_predicted: predicted.len(),
        ..Statistics::default()
    };
    // A prediction that cannot be planned for may still be wrong: only the true times decide.
    let plan = Plan::new(medium.name(), requests, &predicted).ok();
    if let Some(plan) = plan.as_ref().filter(|_| options.seek && crop.is_none())
        && let Some(clips) = work.by_route(plan, &mut statistics)?
    {
        return Ok((work.decoded(&predicted, clips, statistics), None));
    }
    work.by_playing(plan, crop, statistics)
}

/// A video, and what is wanted of it.
struct Work<'a> {
    medium: &'a Medium,
    meter: Meter,
    survey: &'a Survey,
    canvas: Canvas,
    view: CropRect,
    requests: &'a [Request],
    options: &'a DecodeOptions,
    interrupt: &'a Interrupt,
}

impl Work<'_> {
    /// The clips by way of the container's index, which leads past what no wanted frame depends on. `None` if there is no
    /// such way, or if what lies there shows that the index does not tell the truth.
    fn by_route(
        &self,
        plan: &Plan,
        statistics: &mut Statistics,
    ) -> Result<Option<Vec<Vec<Clip>>>, MediaError> {
        let missing = plan.missing(&Kept::new());
        let index = self.survey.index.as_ref();
        let Some(route) = index.and_then(|it| worthwhile(it, &missing, self.options.threads))
        else {
            return Ok(None);
        };
        let mut collector = self.collector(&plan.fits, &missing);
        let skipped = follow(
            self.medium,
            &self.meter,
            self.survey,
            &route,
            self.options,
            &mut collector,
            self.interrupt,
        )?;
        statistics.passes += 1;
        statistics.frames_converted += collector.kept.len();
        // If it was given up, what it took may be other frames than they seemed.
        let Some(skipped) = skipped else {
            return Ok(None);
        };
        let clips = plan.clips(&collector.kept);
        if clips.is_some() {
            statistics.packets_skipped = skipped;
        }
        Ok(clips)
    }

    /// The clips, and the crop, by decoding the whole video: once if the frames are those that the plan foresaw, again for
    /// what is still missing if they are not.
    fn by_playing(
        &self,
        mut plan: Option<Plan>,
        mut crop: Option<&CropJob>,
        mut statistics: Statistics,
    ) -> Result<(Decoded, Option<EncodedInfo>), MediaError> {
        let granted = footprint(self.survey, self.requests, self.options.threads);
        let (mut kept, mut encoded) = (Kept::new(), None);
        for _ in 0..MAX_PASSES {
            let (fits, missing) = plan.as_ref().map_or_else(Default::default, |plan| {
                (plan.fits.as_slice(), plan.missing(&kept))
            });
            let mut collector = self.collector(fits, &missing);
            let mut stamps: Vec<Stamp> = Vec::with_capacity(statistics.frames_predicted);
            let (faults, file) = encode::play(
                self.medium,
                &self.meter,
                self.options.threads,
                crop.take(),
                self.interrupt,
                |picture| {
                    let number = stamps.len();
                    stamps.push(Stamp {
                        time: picture.timestamp(),
                        duration: picture.packet().duration,
                    });
                    collector.keep(number, picture)
                },
            )?;
            encoded = encoded.or(file);
            statistics.passes += 1;
            statistics.frames_converted += collector.kept.len();
            statistics.faults = faults.count;
            kept.extend(collector.kept);
            let timeline = self.survey.timeline(&stamps);
            if timeline.is_empty() {
                return Err(MediaError::decode(self.medium.name(), faults.reason()));
            }
            statistics.first_fault = faults.first.map(super::error::lowercase);
            let true_plan = self.affordable_plan(&timeline, granted)?;
            true_plan.discard_others(&mut kept);
            if let Some(clips) = true_plan.clips(&kept) {
                return Ok((self.decoded(&timeline, clips, statistics), encoded));
            }
            plan = Some(true_plan);
        }
        Err(MediaError::decode(
            self.medium.name(),
            "it decodes to other frames each time",
        ))
    }

    /// The plan for the frames that really decode, unless they take more memory than was planned for.
    fn affordable_plan(&self, timeline: &Timeline, granted: u64) -> Result<Plan, MediaError> {
        let (name, info) = (self.medium.name(), &self.survey.info);
        let plan = Plan::new(name, self.requests, timeline)?;
        let needed = plan.bytes((info.width, info.height));
        if needed > granted {
            return Err(MediaError::unsupported(
                name,
                format!(
                    "its packets promise {} frames and {} decode: the wanted ones take {needed} bytes of memory, where \
                     {granted} were planned for",
                    self.survey.timeline(&self.survey.stamps).len(),
                    timeline.len(),
                ),
            ));
        }
        Ok(plan)
    }

    fn collector<'w>(
        &'w self,
        fits: &'w [Fit],
        frames: &'w BTreeMap<usize, Vec<usize>>,
    ) -> Collector<'w> {
        Collector::new(Wanted {
            name: self.medium.name(),
            canvas: self.canvas,
            view: self.view,
            fits,
            frames,
        })
    }

    fn decoded(
        &self,
        timeline: &Timeline,
        clips: Vec<Vec<Clip>>,
        statistics: Statistics,
    ) -> Decoded {
        Decoded {
            info: self.survey.info.clone(),
            duration_seconds: timeline.duration_seconds(),
            frames_decoded: timeline.len(),
            clips,
            statistics: Statistics {
                bytes_read: self.survey.bytes_read + self.meter.bytes(),
                ..statistics
            },
        }
    }
}

/// The way to the wanted frames, if it spares anything: one by the container's index reads nothing else.
fn worthwhile<T>(index: &Index, wanted: &BTreeMap<usize, T>, threads: usize) -> Option<Route> {
    let route = index.route(wanted.keys().copied(), threads)?;
    let left = route.steps.iter().filter(|&&step| step == Step::Leave);
    (index.has_places() || left.count() * WORTHWHILE_SHARE >= index.samples.len()).then_some(route)
}

/// The frames that are wanted of a video.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    name: &'a Path,
    canvas: Canvas,
    view: CropRect,
    fits: &'a [Fit],
    /// The fits that each frame is wanted for.
    frames: &'a BTreeMap<usize, Vec<usize>>,
}

/// Takes the wanted ones of the decoded frames.
pub(crate) struct Collector<'a> {
    pub wanted: Wanted<'a>,
    converter: Converter,
    pub kept: Kept,
}

impl<'a> Collector<'a> {
    pub fn new(wanted: Wanted<'a>) -> Self {
        Self {
            converter: Converter::new(wanted.canvas, wanted.view),
            wanted,
            kept: Kept::new(),
        }
    }

    /// Converts the frame of this number, if it is wanted.
    pub fn keep(&mut self, number: usize, picture: &frame::Video) -> Result<(), MediaError> {
        let Some(fits) = self.wanted.frames.get(&number) else {
            return Ok(());
        };
        check_size(self.wanted.name, (picture.width(), picture.height()))?;
        let failed = |reason: String| MediaError::decode(self.wanted.name, reason);
        let wanted = fits.iter().map(|&fit| self.wanted.fits[fit]);
        self.converter.load(picture, wanted).map_err(failed)?;
        for &fit in fits {
            let frame = self.converter.fit(self.wanted.fits[fit]).map_err(failed)?;
            self.kept.insert((number, fit), frame);
        }
        Ok(())
    }
}

/// Bytes that a decode of these requests holds at most, while it works and in what it returns: for admission control.
///
/// They are counted over the frames that the container's index or the packets promise, not over what a header says. A file
/// that decodes to more than that is refused by [`decode`]. Each of the `threads` may be a decoder with pictures of its own.
///
/// # Errors
/// As for [`probe`](super::probe); reading packets may take a while.
pub fn footprint_bytes(
    medium: &Medium,
    requests: &[Request],
    threads: usize,
    interrupt: &Interrupt,
) -> Result<u64, MediaError> {
    Ok(footprint(&*medium.survey(interrupt)?, requests, threads))
}

fn footprint(survey: &Survey, requests: &[Request], threads: usize) -> u64 {
    let info = &survey.info;
    let timeline = survey.timeline(&survey.stamps);
    let frames = Plan::new(Path::new(""), requests, &timeline)
        .map_or(0, |plan| plan.bytes((info.width, info.height)));
    let coded = u64::from(info.coded_width) * u64::from(info.coded_height);
    // The picture being converted, twice over, and what the decoder keeps for reference.
    let work = coded * 3 * 2 + coded * 3 / 2 * 17;
    let decoders = threads_of(threads) as u64;
    frames
        .saturating_add(work.saturating_mul(decoders))
        .saturating_add(survey.bytes())
}

/// How many threads a number of threads comes to, of which 0 is as many as the machine has.
pub(crate) fn threads_of(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// Bytes that encoding a crop of this size takes beside, about: what an encoder looks ahead and keeps for reference.
pub fn encoder_footprint_bytes(rect: CropRect) -> u64 {
    u64::from(rect.width) * u64::from(rect.height) * 3 / 2 * 40
}
