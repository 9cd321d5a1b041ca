//! The sound of a crop: copied, or encoded anew where the container cannot hold it.

use ffmpeg_next::{
    ChannelLayout, Error, Packet, Rational, codec, decoder, encoder, filter, format::Sample, frame,
};

use super::MediaError;
use super::encode::AudioInfo;
use super::info::codec_name;
use super::output::Output;
use super::source::Source;

const BIT_RATE: usize = 128_000;

/// Packets of sound in, packets of sound out.
pub(crate) struct AudioTrack {
    /// Index of the stream in the source.
    pub input: usize,
    /// Index of the stream in the output.
    index: usize,
    /// Seconds of a tick of the source.
    time_base: Rational,
    /// The tick that becomes time zero.
    start: i64,
    info: AudioInfo,
    work: Work,
    /// Packets that came before the output had begun.
    held_back: Vec<Packet>,
    last: Option<i64>,
}

enum Work {
    Copy,
    Transcode(Box<Transcoder>),
}

impl AudioTrack {
    /// Adds a stream for the sound to the output. Sound that can neither be copied nor decoded is left out.
    pub fn new(
        source: &Source,
        input: usize,
        output: &mut Output,
    ) -> Result<Option<Self>, MediaError> {
        let Some(stream) = source.input.stream(input) else {
            return Ok(None);
        };
        let parameters = stream.parameters();
        // SAFETY: plain numbers of a live struct.
        let (rate, channels) = unsafe {
            (
                (*parameters.as_ptr()).sample_rate,
                (*parameters.as_ptr()).channels,
            )
        };
        if rate <= 0 || channels <= 0 {
            return Ok(None);
        }
        let time_base = stream.time_base();
        let (index, codec, work) = if output.container.holds(parameters.id()) {
            let index = output.add_stream(parameters.clone(), time_base)?;
            (index, codec_name(parameters.id()), Work::Copy)
        } else {
            let decoder = codec::Context::from_parameters(parameters).and_then(|context| {
                let mut decoder = context.decoder();
                decoder.set_packet_time_base(time_base);
                decoder.audio()
            });
            let Ok(decoder) = decoder else {
                return Ok(None);
            };
            let transcoder = Transcoder::new(decoder, time_base, output)?;
            let index = output.add_stream(&transcoder.encoder, transcoder.time_base())?;
            let codec = codec_name(transcoder.encoder.id());
            (index, codec, Work::Transcode(Box::new(transcoder)))
        };
        let copied = matches!(work, Work::Copy);
        Ok(Some(Self {
            input,
            index,
            time_base,
            start: source.start_ticks(input),
            info: AudioInfo { codec, copied },
            work,
            held_back: Vec::new(),
            last: None,
        }))
    }

    /// Takes a packet of the source.
    pub fn push(&mut self, packet: Packet, output: &mut Output) -> Result<(), MediaError> {
        if !output.has_begun() {
            self.held_back.push(packet);
            return Ok(());
        }
        self.write_held_back(output)?;
        self.process(packet, output)
    }

    /// Writes the packets that came before the output had begun.
    pub fn write_held_back(&mut self, output: &mut Output) -> Result<(), MediaError> {
        for packet in std::mem::take(&mut self.held_back) {
            self.process(packet, output)?;
        }
        Ok(())
    }

    /// Empties decoder and encoder.
    pub fn finish(mut self, output: &mut Output) -> Result<AudioInfo, MediaError> {
        self.write_held_back(output)?;
        if let Work::Transcode(transcoder) = &mut self.work {
            transcoder.decode(None, self.start, self.index, output)?;
        }
        Ok(self.info)
    }

    fn process(&mut self, mut packet: Packet, output: &mut Output) -> Result<(), MediaError> {
        let shifted = |ticks: Option<i64>| ticks.map(|ticks| ticks.saturating_sub(self.start));
        match &mut self.work {
            Work::Copy => {
                let (pts, dts) = (shifted(packet.pts()), shifted(packet.dts()));
                // A broken file may step back in time, which containers refuse.
                let Some(time) = dts
                    .or(pts)
                    .filter(|time| self.last.is_none_or(|last| last < *time))
                else {
                    return Ok(());
                };
                self.last = Some(time);
                packet.set_pts(pts.or(dts));
                packet.set_dts(Some(time));
                output.write(packet, self.index, self.time_base)
            }
            Work::Transcode(transcoder) => {
                transcoder.decode(Some(&packet), self.start, self.index, output)
            }
        }
    }
}

struct Transcoder {
    decoder: decoder::Audio,
    encoder: encoder::audio::Encoder,
    /// Made for sound of one kind; made anew when the kind changes.
    graph: Option<(Kind, filter::Graph)>,
    input_time_base: Rational,
}

#[derive(Clone, Copy, PartialEq)]
struct Kind {
    format: Sample,
    rate: u32,
    layout: ChannelLayout,
}

impl Transcoder {
    fn new(
        decoder: decoder::Audio,
        input_time_base: Rational,
        output: &Output,
    ) -> Result<Self, MediaError> {
        let name = output.container.audio_encoder;
        let failed = |error| output.failed(&format!("opening the encoder '{name}'"), error);
        let codec = encoder::find_by_name(name).ok_or_else(|| failed(Error::EncoderNotFound))?;
        let abilities = codec.audio().map_err(failed)?;
        let rate = decoder.rate() as i32;
        let rate = match abilities.rates() {
            // The next rate above, or the highest there is.
            Some(rates) => {
                let rates: Vec<i32> = rates.collect();
                let above = rates.iter().copied().filter(|&known| known >= rate).min();
                above.or(rates.into_iter().max()).unwrap_or(48_000)
            }
            None => rate,
        };
        let format = abilities
            .formats()
            .and_then(|mut formats| formats.next())
            .unwrap_or(Sample::F32(ffmpeg_next::format::sample::Type::Planar));
        let layout = match decoder.channels() {
            1 => ChannelLayout::MONO,
            _ => ChannelLayout::STEREO,
        };
        let mut audio = codec::Context::new_with_codec(codec)
            .encoder()
            .audio()
            .map_err(failed)?;
        audio.set_rate(rate);
        audio.set_format(format);
        audio.set_channel_layout(layout);
        audio.set_channels(layout.channels());
        audio.set_bit_rate(BIT_RATE);
        audio.set_time_base((1, rate));
        if output.wants_global_headers() {
            audio.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        let encoder = audio.open_as(codec).map_err(failed)?;
        Ok(Self {
            decoder,
            encoder,
            graph: None,
            input_time_base,
        })
    }

    fn time_base(&self) -> Rational {
        Rational(1, self.encoder.rate() as i32)
    }

    /// Decodes a packet (or empties everything) and writes what the encoder makes of it. Sound that does not decode is
    /// passed over.
    fn decode(
        &mut self,
        packet: Option<&Packet>,
        start: i64,
        index: usize,
        output: &mut Output,
    ) -> Result<(), MediaError> {
        let _ = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        let mut sound = frame::Audio::empty();
        while self.decoder.receive_frame(&mut sound).is_ok() {
            let time = sound.timestamp().map(|ticks| ticks.saturating_sub(start));
            sound.set_pts(time);
            self.filter(Some(&mut sound))
                .map_err(|error| output.failed("resampling the sound", error))?;
            self.encode_ready(index, output)?;
        }
        if packet.is_none() {
            self.filter(None)
                .map_err(|error| output.failed("resampling the sound", error))?;
            self.encode_ready(index, output)?;
            self.encoder
                .send_eof()
                .map_err(|error| output.failed("finishing the sound", error))?;
            self.write_ready(index, output)?;
        }
        Ok(())
    }

    /// Gives sound to the filters, which empties the frame; `None` is the end of it.
    fn filter(&mut self, mut sound: Option<&mut frame::Audio>) -> Result<(), Error> {
        if let Some(sound) = &mut sound {
            let channels = i32::from(sound.channels());
            let layout = match sound.channel_layout() {
                layout if layout.channels() == channels => layout,
                _ => ChannelLayout::default(channels),
            };
            let kind = Kind {
                format: sound.format(),
                rate: sound.rate(),
                layout,
            };
            // Some decoders name only a number of channels.
            sound.set_channel_layout(layout);
            if self.graph.as_ref().is_none_or(|(held, _)| *held != kind) {
                self.graph = Some((kind, self.make_graph(kind)?));
            }
        }
        let Some((_, graph)) = &mut self.graph else {
            return Ok(());
        };
        let mut input = graph.get("in").ok_or(Error::FilterNotFound)?;
        match sound {
            Some(sound) => input.source().add(sound),
            None => input.source().flush(),
        }
    }

    fn make_graph(&self, kind: Kind) -> Result<filter::Graph, Error> {
        let mut graph = filter::Graph::new();
        let find = |name| filter::find(name).ok_or(Error::FilterNotFound);
        let arguments = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout=0x{:x}",
            self.input_time_base.numerator(),
            self.input_time_base.denominator(),
            kind.rate,
            kind.format.name(),
            kind.layout.bits()
        );
        graph.add(&find("abuffer")?, "in", &arguments)?;
        graph.add(&find("abuffersink")?, "out", "")?;
        let chain = format!(
            "aformat=sample_fmts={}:sample_rates={}:channel_layouts=0x{:x}",
            self.encoder.format().name(),
            self.encoder.rate(),
            self.encoder.channel_layout().bits()
        );
        graph.output("in", 0)?.input("out", 0)?.parse(&chain)?;
        graph.validate()?;
        if let Some(mut sink) = graph.get("out") {
            // Zero: the encoder takes any length.
            let samples = self.encoder.frame_size();
            if samples > 0 {
                sink.sink().set_frame_size(samples);
            }
        }
        Ok(graph)
    }

    fn encode_ready(&mut self, index: usize, output: &mut Output) -> Result<(), MediaError> {
        let mut sound = frame::Audio::empty();
        loop {
            let Some(mut sink) = self.graph.as_mut().and_then(|(_, graph)| graph.get("out")) else {
                return Ok(());
            };
            if sink.sink().frame(&mut sound).is_err() {
                return Ok(());
            }
            self.encoder
                .send_frame(&sound)
                .map_err(|error| output.failed("encoding the sound", error))?;
            self.write_ready(index, output)?;
        }
    }

    fn write_ready(&mut self, index: usize, output: &mut Output) -> Result<(), MediaError> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => output.write(packet, index, self.time_base())?,
                Err(
                    Error::Other {
                        errno: libc::EAGAIN,
                    }
                    | Error::Eof,
                ) => return Ok(()),
                Err(error) => return Err(output.failed("encoding the sound", error)),
            }
        }
    }
}
