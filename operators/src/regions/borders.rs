//! Letterbox and pillarbox bars of one colour.
//!
//! A bar is not merely a dark strip: a night sky or a white wall is uniform, too. What tells a bar is its edge: straight
//! over the whole side, at the same place in all frames, with a picture beyond it that differs from the bar nearly
//! everywhere along the edge in one frame or another. So the lines of pixels are walked inward from the side while they
//! keep the bar's colour in (nearly) all frames, and where they stop, the edge is put to that test.

use crate::media::frames::Frame;

/// Largest difference of a channel from the bar's colour that compression makes, in 8-bit levels.
const TOLERANCE_LEVELS: u8 = 14;

/// Difference by which the picture beyond the edge must leave the bar's colour, in 8-bit levels.
const SCENE_LEVELS: u8 = 24;

/// Largest mean difference of a line of the bar from its colour, in 8-bit levels.
const LINE_MEAN_LEVELS: f64 = 6.0;

/// Share of a line's pixels that may be off.
const LINE_OFF: f64 = 0.02;

/// The same where something is written on the bar, if the line's ends are clean.
const WRITTEN_OFF: f64 = 0.5;

/// Share of a line, at either end, that must be clean even if something is written on the bar.
const CLEAN_END: f64 = 0.06;

/// Share of the bar's lines, over all frames, on which something may be written.
const WRITTEN_LINES: f64 = 0.6;

/// Share of the frames that may disagree (a flash, a title card over the whole frame).
const OUTLIERS: f64 = 0.1;

/// Share of the edge along which a picture must be seen beyond it.
const MIN_COVERAGE: f64 = 0.75;

/// The same in a single frame that attests the edge.
const FRAME_COVERAGE: f64 = 0.5;

/// Largest share of a line just before the edge that may differ in a frame that attests it.
const FRAME_BEFORE: f64 = 0.15;

/// Share of the frames that must attest the edge.
const ATTESTING: f64 = 0.2;

/// Lines in which an encoder may have smeared the edge.
const SMEAR_PX: usize = 8;

/// Share of a side up to which a bar may reach.
const MAX_DEPTH: f64 = 0.45;

/// How far the thickness of two bars on opposite sides may differ that vouch for one another, in pixels.
const TWIN_PX: usize = 2;

/// Change over the frames beside a black bar that tells a picture from a plane of colour, in 8-bit levels.
const LIVE_LEVELS: u8 = 8;

/// Thinnest bar, in pixels.
const MIN_BAR_PX: usize = 2;

/// A side of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The upper one.
    Top,
    /// The lower one.
    Bottom,
    /// The left one.
    Left,
    /// The right one.
    Right,
}

impl Side {
    const ALL: [Side; 4] = [Side::Top, Side::Bottom, Side::Left, Side::Right];

    fn opposite(self) -> Side {
        match self {
            Side::Top => Side::Bottom,
            Side::Bottom => Side::Top,
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    /// The sides at the start and the end of this side's lines.
    fn ends(self) -> (Side, Side) {
        match self {
            Side::Top | Side::Bottom => (Side::Left, Side::Right),
            Side::Left | Side::Right => (Side::Top, Side::Bottom),
        }
    }
}

/// A bar along one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Along which side.
    pub side: Side,
    /// How many lines of pixels it has.
    pub thickness_px: usize,
    /// Share of the edge along which a picture is seen beyond it, 0 to 1.
    pub coverage: f32,
    /// Share of the frames in which the bar is seen, 0 to 1.
    pub persistence: f32,
}

impl Bar {
    /// Left, upper, right and lower edge in a frame of this size.
    pub fn rect(&self, width: usize, height: usize) -> [f32; 4] {
        let (w, h, thick) = (width as f32, height as f32, self.thickness_px as f32);
        match self.side {
            Side::Top => [0.0, 0.0, w, thick],
            Side::Bottom => [0.0, h - thick, w, h],
            Side::Left => [0.0, 0.0, thick, h],
            Side::Right => [w - thick, 0.0, w, h],
        }
    }
}

/// The bars of these frames, all of one size; at most one a side. Exact to the pixel where the bar is clean.
pub fn borders(frames: &[Frame]) -> Vec<Bar> {
    let strips: Vec<Strip> = Side::ALL
        .into_iter()
        .map(|side| Strip::of(frames, side))
        .collect();
    let depth_of = |side: Side| {
        let strip = strips.iter().find(|strip| strip.side == side);
        strip.map_or(0, |strip| strip.depth)
    };
    let edges: Vec<(&Strip, Bar)> = strips
        .iter()
        .filter_map(|strip| {
            let (start, end) = strip.side.ends();
            let bar = strip.edge(frames, depth_of(start), depth_of(end))?;
            Some((strip, bar))
        })
        .collect();
    let with_picture: Vec<bool> = edges
        .iter()
        .map(|(strip, bar)| {
            let (start, end) = strip.side.ends();
            strip.is_picture(frames, bar.thickness_px, depth_of(start), depth_of(end))
        })
        .collect();
    // A plain wall beyond the edge proves nothing; the same bar at the other side does.
    let has_twin = |(strip, bar): &(&Strip, Bar)| {
        edges
            .iter()
            .zip(&with_picture)
            .any(|((other, twin), proved)| {
                *proved
                    && other.side == strip.side.opposite()
                    && off(other.colour, strip.colour) <= TOLERANCE_LEVELS
                    && twin.thickness_px.abs_diff(bar.thickness_px) <= TWIN_PX
            })
    };
    edges
        .iter()
        .zip(&with_picture)
        .filter(|(edge, proved)| **proved || has_twin(edge))
        .map(|((_, bar), _)| bar.clone())
        .collect()
}

/// The pixels of a line along a side, `depth` lines inward.
fn line(frame: &Frame, side: Side, depth: usize) -> impl Iterator<Item = [u8; 3]> + '_ {
    let (height, width, _) = frame.dim();
    let (start, step, count) = match side {
        Side::Top => (depth * width, 1, width),
        Side::Bottom => ((height - 1 - depth) * width, 1, width),
        Side::Left => (depth, width, height),
        Side::Right => (width - 1 - depth, width, height),
    };
    // A frame is in standard layout; were it not, it would have no line here, and no bar would be found.
    let data = frame.as_slice().unwrap_or_default();
    let from = data.get(start * 3..).unwrap_or_default();
    let pixels = from.chunks(step * 3).take(count);
    pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]])
}

/// Largest difference over the channels.
fn off(pixel: [u8; 3], colour: [u8; 3]) -> u8 {
    let by_channel = pixel.iter().zip(colour).map(|(a, b)| a.abs_diff(b));
    by_channel.fold(0, u8::max)
}

/// How a line stands to the bar's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineKind {
    /// Nothing but the colour.
    Clean,
    /// The colour with something on it.
    Written,
    /// No line of a bar.
    Scene,
}

fn kind_of(frame: &Frame, side: Side, depth: usize, colour: [u8; 3]) -> LineKind {
    let (mut count, mut sum, mut wrong, mut first, mut last) = (0usize, 0u64, 0usize, None, 0);
    for (at, pixel) in line(frame, side, depth).enumerate() {
        let off = off(pixel, colour);
        count += 1;
        sum += u64::from(off);
        if off > TOLERANCE_LEVELS {
            wrong += 1;
            first.get_or_insert(at);
            last = at;
        }
    }
    let share = |part: usize| part as f64 / count.max(1) as f64;
    let first = first.unwrap_or(count);
    if share(wrong) <= LINE_OFF && sum as f64 <= LINE_MEAN_LEVELS * count as f64 {
        LineKind::Clean
    } else if share(wrong) <= WRITTEN_OFF
        && share(first) >= CLEAN_END
        && share(count.saturating_sub(last + 1)) >= CLEAN_END
    {
        LineKind::Written
    } else {
        LineKind::Scene
    }
}

/// The lines along a side that keep the side's colour.
struct Strip {
    side: Side,
    colour: [u8; 3],
    /// How many they are.
    depth: usize,
    /// How many there could be.
    cap: usize,
    /// Share of them, over all frames, on which something is written.
    written: f64,
    /// Share of the frames in which the innermost of them keeps the colour.
    persistence: f64,
}

impl Strip {
    fn of(frames: &[Frame], side: Side) -> Self {
        let (height, width) = frames.first().map_or((0, 0), |frame| {
            let (height, width, _) = frame.dim();
            (height, width)
        });
        let across = match side {
            Side::Top | Side::Bottom => height,
            Side::Left | Side::Right => width,
        };
        let cap = (across as f64 * MAX_DEPTH) as usize;
        let colour = colour_of(frames, side);
        let allowed = (frames.len() as f64 * OUTLIERS) as usize;
        let (mut depth, mut written, mut persistence) = (0, 0, 0.0);
        while depth < cap {
            let kinds = frames
                .iter()
                .map(|frame| kind_of(frame, side, depth, colour));
            let (mut scenes, mut written_here) = (0, 0);
            for kind in kinds {
                scenes += usize::from(kind == LineKind::Scene);
                written_here += usize::from(kind == LineKind::Written);
            }
            if scenes > allowed {
                break;
            }
            written += written_here;
            persistence = 1.0 - scenes as f64 / frames.len() as f64;
            depth += 1;
        }
        Self {
            side,
            colour,
            depth,
            cap,
            written: written as f64 / (depth * frames.len()).max(1) as f64,
            persistence,
        }
    }

    /// The bar that ends where these lines end, if there is an edge; `start` and `end` are the depths of the strips that
    /// this one's lines run into.
    fn edge(&self, frames: &[Frame], start: usize, end: usize) -> Option<Bar> {
        if self.depth == 0 || self.depth >= self.cap || self.written > WRITTEN_LINES {
            return None;
        }
        let (edge, beyond) = (self.depth..self.depth + SMEAR_PX).find_map(|depth| {
            let beyond = self.beyond(frames, depth, start, end)?;
            let is_edge = beyond.coverage >= MIN_COVERAGE
                && self.attested(frames, depth, start, end) >= ATTESTING;
            is_edge.then_some((depth, beyond))
        })?;
        // A line that is half bar, half picture (a scaled video) goes with the bar.
        let next = self.beyond(frames, edge + 1, start, end)?;
        let thickness_px = edge + usize::from(beyond.mean < 0.6 * next.mean);
        if thickness_px < MIN_BAR_PX {
            return None;
        }
        Some(Bar {
            side: self.side,
            thickness_px,
            coverage: beyond.coverage.max(next.coverage) as f32,
            persistence: self.persistence as f32,
        })
    }

    /// Share of the frames that show a straight edge here by themselves: the picture along most of it, and nothing of the
    /// picture two lines before. The line between a sky and hills that sway is straight only when frames are put together.
    fn attested(&self, frames: &[Frame], edge: usize, start: usize, end: usize) -> f64 {
        let attests = |frame: &&Frame| {
            let coverage = |depth| {
                let frame = std::slice::from_ref(*frame);
                let beyond = self.beyond(frame, depth, start, end);
                beyond.map_or(0.0, |beyond| beyond.coverage)
            };
            coverage(edge).max(coverage(edge + 1)) >= FRAME_COVERAGE
                && coverage(edge.saturating_sub(2)) <= FRAME_BEFORE
        };
        frames.iter().filter(attests).count() as f64 / frames.len() as f64
    }

    /// What is seen over all frames in a line between the strips at its ends; `None` if too little lies between.
    fn beyond(&self, frames: &[Frame], depth: usize, start: usize, end: usize) -> Option<Beyond> {
        let mut most: Vec<u8> = Vec::new();
        for frame in frames {
            let pixels = line(frame, self.side, depth).map(|pixel| off(pixel, self.colour));
            if most.is_empty() {
                most.extend(pixels);
            } else {
                most.iter_mut()
                    .zip(pixels)
                    .for_each(|(most, off)| *most = off.max(*most));
            }
        }
        let between = most.get(start..most.len().saturating_sub(end))?;
        if between.len() * 3 < most.len() {
            return None;
        }
        let count = between.len() as f64;
        let seen = between.iter().filter(|off| **off > SCENE_LEVELS).count();
        let sum: u64 = between.iter().map(|off| u64::from(*off)).sum();
        Some(Beyond {
            coverage: seen as f64 / count,
            mean: sum as f64 / count,
        })
    }

    /// Whether a picture lies beyond the edge, not a second plane of colour: it changes over the frames or, beside a black
    /// bar, along the edge.
    fn is_picture(&self, frames: &[Frame], edge: usize, start: usize, end: usize) -> bool {
        let depth = (edge + 4).min(self.cap);
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        let mut along = 0.0f64;
        for frame in frames {
            let brightest = |pixel: [u8; 3]| pixel.into_iter().fold(0, u8::max);
            let pixels: Vec<u8> = line(frame, self.side, depth).map(brightest).collect();
            let pixels = pixels
                .get(start..pixels.len().saturating_sub(end))
                .unwrap_or_default();
            ranges.resize(pixels.len(), (255, 0));
            let (mut sum, mut squares) = (0.0, 0.0);
            for (range, pixel) in ranges.iter_mut().zip(pixels) {
                *range = (range.0.min(*pixel), range.1.max(*pixel));
                sum += f64::from(*pixel);
                squares += f64::from(*pixel) * f64::from(*pixel);
            }
            let count = pixels.len().max(1) as f64;
            along = along.max((squares / count - (sum / count).powi(2)).max(0.0).sqrt());
        }
        let black = self.colour.iter().all(|channel| *channel <= SCENE_LEVELS);
        let live = if black { LIVE_LEVELS } else { SCENE_LEVELS };
        let changing = ranges
            .iter()
            .filter(|(least, most)| most.saturating_sub(*least) > live)
            .count() as f64
            / ranges.len().max(1) as f64;
        changing >= 0.5 || (black && along >= 10.0)
    }
}

/// What is seen in a line beyond the edge.
struct Beyond {
    /// Share of its pixels that leave the bar's colour in one frame or another.
    coverage: f64,
    /// Mean over the pixels of how far they leave it at most, in levels.
    mean: f64,
}

/// The colour of the outermost line: median over its pixels, then over the frames, by channel.
fn colour_of(frames: &[Frame], side: Side) -> [u8; 3] {
    let medians: Vec<[u8; 3]> = frames
        .iter()
        .map(|frame| median_colour(line(frame, side, 0)))
        .collect();
    median_colour(medians.into_iter())
}

fn median_colour(pixels: impl Iterator<Item = [u8; 3]>) -> [u8; 3] {
    let mut channels: [Vec<u8>; 3] = Default::default();
    for pixel in pixels {
        for (channel, value) in channels.iter_mut().zip(pixel) {
            channel.push(value);
        }
    }
    channels.map(|mut channel| {
        channel.sort_unstable();
        channel.get(channel.len() / 2).copied().unwrap_or(0)
    })
}
