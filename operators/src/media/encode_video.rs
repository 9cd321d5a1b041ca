//! The pictures of a crop: filtered and encoded.

use ffmpeg_next::{
    Codec, Dictionary, Error, Packet, Rational, codec, encoder, ffi, filter, format::Pixel, frame,
    picture,
};

use super::encode::EncodeOptions;
use super::geometry::{CropRect, check_size};
use super::output::Output;
use super::timeline::last_length;
use super::{MediaError, Orientation, VideoInfo};

const RGB_COLORSPACE: i32 = 0;
const BT601_COLORSPACE: i32 = 6;

/// Pictures in, packets out.
pub(crate) struct VideoTrack<'a> {
    codec: Codec,
    options: &'a EncodeOptions,
    info: &'a VideoInfo,
    rect: CropRect,
    /// Seconds of a tick.
    time_base: Rational,
    /// The tick that becomes time zero.
    start: i64,
    graph: Option<(Pictures, filter::Graph)>,
    encoder: Option<(encoder::video::Encoder, usize)>,
    /// When each picture given to the encoder is shown, and for how long as the source says: encoders forget, and
    /// containers drop a last picture that is shown for no time.
    times: Vec<i64>,
    lengths: Vec<i64>,
}

/// What a filter graph is made for.
#[derive(Clone, Copy, PartialEq)]
struct Pictures {
    format: i32,
    size: (u32, u32),
}

impl<'a> VideoTrack<'a> {
    pub fn new(
        codec: Codec,
        options: &'a EncodeOptions,
        info: &'a VideoInfo,
        rect: CropRect,
        time_base: (i32, i32),
        start: i64,
    ) -> Self {
        Self {
            codec,
            options,
            info,
            rect,
            time_base: Rational(time_base.0, time_base.1),
            start,
            graph: None,
            encoder: None,
            times: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// How many pictures were encoded.
    pub fn frames(&self) -> u64 {
        self.times.len() as u64
    }

    /// Cuts and encodes one decoded picture. With the first, the encoder and the output begin.
    pub fn push(&mut self, picture: &frame::Video, output: &mut Output) -> Result<(), MediaError> {
        check_size(&output.path, (picture.width(), picture.height()))?;
        let mut cut = self
            .cut(picture)
            .map_err(|error| output.failed("cutting a picture", error))?;
        let duration = picture.packet().duration.max(0);
        let time = self.time(picture.timestamp(), duration);
        cut.set_pts(Some(time));
        // The source's choice of key frames is not the encoder's.
        cut.set_kind(picture::Type::None);
        self.times.push(time);
        self.lengths.push(duration);
        if self.encoder.is_none() {
            self.begin(&cut, output)?;
        }
        if let Some((encoder, _)) = &mut self.encoder {
            encoder
                .send_frame(&cut)
                .map_err(|error| output.failed("encoding a picture", error))?;
        }
        self.write_ready(false, output)
    }

    /// Empties the encoder.
    pub fn finish(&mut self, output: &mut Output) -> Result<(), MediaError> {
        if let Some((encoder, _)) = &mut self.encoder {
            encoder
                .send_eof()
                .map_err(|error| output.failed("finishing the pictures", error))?;
        }
        self.write_ready(true, output)
    }

    /// When a picture is shown: times must grow, and pictures without one follow the last.
    fn time(&self, stamp: Option<i64>, duration: i64) -> i64 {
        let last = self.times.last().copied();
        let earliest = last.map_or(i64::MIN, |last| last.saturating_add(1));
        let follows = || last.map_or(0, |last| last.saturating_add(duration.max(1)));
        let time = stamp.map_or_else(follows, |ticks| ticks.saturating_sub(self.start));
        time.max(earliest)
    }

    fn cut(&mut self, picture: &frame::Video) -> Result<frame::Video, Error> {
        // SAFETY: one integer of a live frame.
        let format = unsafe { (*picture.as_ptr()).format };
        let pictures = Pictures {
            format,
            size: (picture.width(), picture.height()),
        };
        let graph = match &mut self.graph {
            Some((held, graph)) if *held == pictures => graph,
            // None of the filters holds pictures back, so nothing is lost with an old graph.
            slot => {
                let made = graph(pictures, self.info, self.rect, self.options, self.time_base)?;
                &mut slot.insert((pictures, made)).1
            }
        };
        let (Some(mut input), Some(mut output)) = (graph.get("in"), graph.get("out")) else {
            return Err(Error::FilterNotFound);
        };
        let mut cut = frame::Video::empty();
        // SAFETY: both are live; the flag has ffmpeg take a reference of its own instead of emptying our frame.
        let added = unsafe {
            ffi::av_buffersrc_add_frame_flags(
                input.as_mut_ptr(),
                picture.as_ptr().cast_mut(),
                ffi::AV_BUFFERSRC_FLAG_KEEP_REF as i32,
            )
        };
        if added < 0 {
            return Err(Error::from(added));
        }
        output.sink().frame(&mut cut)?;
        Ok(cut)
    }

    fn begin(&mut self, first: &frame::Video, output: &mut Output) -> Result<(), MediaError> {
        let failed = |error| {
            output.failed(
                &format!("opening the encoder '{}'", self.options.encoder),
                error,
            )
        };
        let mut video = codec::Context::new_with_codec(self.codec)
            .encoder()
            .video()
            .map_err(failed)?;
        video.set_width(self.rect.width);
        video.set_height(self.rect.height);
        video.set_format(first.format());
        video.set_time_base(self.time_base);
        video.set_aspect_ratio((1, 1));
        video.set_frame_rate(self.info.average_fps.map(Rational::from));
        // How many threads work on a picture changes what some encoders write; a crop must not depend on the machine by that.
        video.set_threading(codec::threading::Config::count(1));
        let mut flags = codec::Flags::empty();
        if output.wants_global_headers() {
            flags |= codec::Flags::GLOBAL_HEADER;
        }
        let (options, scaled) = self.quality();
        if let Some(quality) = scaled {
            flags |= codec::Flags::QSCALE;
            video.set_quality(quality);
        } else {
            // Without a bit rate of zero, vp9 and av1 take the quality for a bound only.
            video.set_bit_rate(0);
        }
        video.set_flags(flags);
        copy_colours(first, &mut video);
        let encoder = video.open_as_with(self.codec, options).map_err(failed)?;
        let index = output.add_stream(&encoder, self.time_base)?;
        output.begin()?;
        self.encoder = Some((encoder, index));
        Ok(())
    }

    /// Constant quality, in the encoder's words for it: options, or a quantizer for old encoders.
    fn quality(&self) -> (Dictionary<'static>, Option<usize>) {
        let mut options = Dictionary::new();
        options.set("preset", &self.options.preset);
        let quality = self.options.quality;
        match ["crf", "cq", "qp"]
            .into_iter()
            .find(|name| has_option(self.codec, name))
        {
            Some(name) => {
                options.set(name, &quality.to_string());
                (options, None)
            }
            None => (
                options,
                Some((quality.clamp(1, 31) * ffi::FF_QP2LAMBDA as u32) as usize),
            ),
        }
    }

    fn write_ready(&mut self, complete: bool, output: &mut Output) -> Result<(), MediaError> {
        let Some((encoder, index)) = &mut self.encoder else {
            return Ok(());
        };
        loop {
            let mut packet = Packet::empty();
            match encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    if let Some(time) = packet.pts() {
                        packet.set_duration(length(&self.times, &self.lengths, time, complete));
                    }
                    output.write(packet, *index, self.time_base)?;
                }
                Err(
                    Error::Other {
                        errno: libc::EAGAIN,
                    }
                    | Error::Eof,
                ) => return Ok(()),
                Err(error) => return Err(output.failed("encoding a picture", error)),
            }
        }
    }
}

/// How long the picture at `time` is shown: until the next. The last one's length is a matter of all of them, or while
/// more may come a guess.
fn length(times: &[i64], lengths: &[i64], time: i64, complete: bool) -> i64 {
    let place = times.partition_point(|&other| other <= time);
    if let Some(next) = times.get(place) {
        return next - time;
    }
    if complete {
        return last_length(times, lengths).unwrap_or(1);
    }
    match times {
        [.., before, last] => last - before,
        _ => 1,
    }
}

fn graph(
    pictures: Pictures,
    info: &VideoInfo,
    rect: CropRect,
    options: &EncodeOptions,
    time_base: Rational,
) -> Result<filter::Graph, Error> {
    let (width, height) = pictures.size;
    let mut graph = filter::Graph::new();
    // SAFETY: a field for callers to set before filters are added.
    unsafe { (*graph.as_mut_ptr()).nb_threads = i32::try_from(options.threads).unwrap_or(0) };
    let find = |name| filter::find(name).ok_or(Error::FilterNotFound);
    let arguments = format!(
        "video_size={width}x{height}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1",
        pictures.format,
        time_base.numerator(),
        time_base.denominator()
    );
    graph.add(&find("buffer")?, "in", &arguments)?;
    graph.add(&find("buffersink")?, "out", "")?;
    let mut chain = upright(info.orientation);
    if info.orientation.swap(pictures.size) != (info.width, info.height) {
        chain.push(format!(
            "scale={}:{}:flags=bicubic",
            info.width, info.height
        ));
    }
    // The format first: a crop must fall on whole samples of the colours as they will be encoded.
    chain.push(format!("format={}", options.pixel_format));
    chain.push(format!(
        "crop={}:{}:{}:{}:exact=1",
        rect.width, rect.height, rect.x, rect.y
    ));
    graph
        .output("in", 0)?
        .input("out", 0)?
        .parse(&chain.join(","))?;
    graph.validate()?;
    Ok(graph)
}

/// The filters that stand a picture upright.
fn upright(orientation: Orientation) -> Vec<String> {
    let mut chain = Vec::new();
    if orientation.transpose {
        chain.push("transpose=dir=cclock_flip".to_owned());
    }
    if orientation.flip_x {
        chain.push("hflip".to_owned());
    }
    if orientation.flip_y {
        chain.push("vflip".to_owned());
    }
    chain
}

fn has_option(codec: Codec, name: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else {
        return false;
    };
    // SAFETY: looks a name up in the codec's static table of options; a "fake" object is a pointer to its class.
    unsafe {
        let mut class = (*codec.as_ptr()).priv_class;
        !class.is_null()
            && !ffi::av_opt_find(
                (&raw mut class).cast(),
                name.as_ptr(),
                std::ptr::null(),
                0,
                ffi::AV_OPT_SEARCH_FAKE_OBJ,
            )
            .is_null()
    }
}

/// Tells the encoder what the picture says of its colours, but for a matrix that only RGB has.
fn copy_colours(picture: &frame::Video, video: &mut encoder::video::Video) {
    let is_rgb = matches!(picture.format(), Pixel::RGB24 | Pixel::BGR24 | Pixel::GBRP);
    // SAFETY: C enums of live structs, copied as the integers they are, for a stream may say any number.
    unsafe {
        let (from, to) = (picture.as_ptr(), video.as_mut_ptr());
        let copy = |from: *const i32, to: *mut i32| to.write(from.read());
        copy(
            (&raw const (*from).color_range).cast(),
            (&raw mut (*to).color_range).cast(),
        );
        copy(
            (&raw const (*from).color_primaries).cast(),
            (&raw mut (*to).color_primaries).cast(),
        );
        copy(
            (&raw const (*from).color_trc).cast(),
            (&raw mut (*to).color_trc).cast(),
        );
        let colorspace: *const i32 = (&raw const (*from).colorspace).cast();
        let colorspace = match colorspace.read() {
            RGB_COLORSPACE if !is_rgb => BT601_COLORSPACE,
            said => said,
        };
        (&raw mut (*to).colorspace).cast::<i32>().write(colorspace);
    }
}
