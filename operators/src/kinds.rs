//! What flows on the edges: the port kinds of the video operators, and the types behind their values.

use std::sync::Arc;

use clipsieve_engine::operator::{OperatorError, PortKind};
use serde_json::{Map, Value as Json, json};
use tempfile::TempPath;

use crate::media::{Clip, CropRect, EncodeOptions, Medium};

/// A video file at hand: [`Video`].
pub const VIDEO: PortKind = PortKind("video");
/// What spoils the frame, and where: [`Regions`].
pub const REGIONS: PortKind = PortKind("regions");
/// The frames that the samplers asked of one decoding pass: [`Decoded`].
pub const FRAMES: PortKind = PortKind("frames");
/// Frames of one span: [`Clip`].
pub const CLIP: PortKind = PortKind("clip");
/// Frames of several windows: [`Clips`].
pub const CLIPS: PortKind = PortKind("clips");
/// The key of a row's `info` that tells of the crop.
pub const CROP_KEY: &str = "abnormal_region_crop";
/// What a filter says of a clip: [`Verdict`].
pub const VERDICT: PortKind = PortKind("verdict");
/// What a filter says of each window: [`Verdict`].
pub const VERDICTS: PortKind = PortKind("verdicts");
/// What was measured in a clip: [`Verdict`].
pub const MEASUREMENT: PortKind = PortKind("measurement");
/// What was measured in each window: [`Verdict`].
pub const MEASUREMENTS: PortKind = PortKind("measurements");

/// A video at hand, and how much of its frame is looked at.
#[derive(Debug, Clone)]
pub struct Video {
    /// Its bytes: a local file, or a reader over a store.
    pub medium: Medium,
    /// Where it came from, for people and rows: a path or URL.
    pub origin: String,
    /// The part of the display frame that later stages see; all of it if `None`.
    pub view: Option<CropRect>,
    /// What the crop stage did, if there was one.
    pub crop: Option<CropReport>,
    /// The crop's file, if it is still to be encoded by the stage that decodes the video.
    pub order: Option<Arc<CropOrder>>,
}

impl Video {
    /// A video as it was found: all of its frame, nothing cropped.
    pub fn new(medium: Medium, origin: impl Into<String>) -> Self {
        Self {
            medium,
            origin: origin.into(),
            view: None,
            crop: None,
            order: None,
        }
    }
}

/// A crop that is to be encoded in the same pass that decodes the video for its samplers.
#[derive(Debug)]
pub struct CropOrder {
    /// The id of the stage that is to do it.
    pub by: String,
    /// The part of the display frame.
    pub rect: CropRect,
    /// The path of the file in its store; its extension names the container.
    pub key: String,
    /// How it is encoded.
    pub options: EncodeOptions,
}

/// What a crop stage did with a video, as it stands in the row.
#[derive(Debug, Clone, PartialEq)]
pub struct CropReport {
    /// The rectangle that was kept, in display pixels; `None` if the video went on uncropped.
    pub kept: Option<CropRect>,
    /// Why it went on uncropped; `None` if it was cropped.
    pub reason: Option<String>,
    /// Where the cropped file was put.
    pub url: Option<String>,
}

impl CropReport {
    /// What stands under [`CROP_KEY`].
    pub fn to_json(&self) -> Json {
        json!({
            "cropped": self.kept.is_some(),
            "box": self.kept.map(|rect| json!([rect.x, rect.y, rect.x + rect.width, rect.y + rect.height])),
            "reason": self.reason,
            "url": self.url,
        })
    }
}

/// What spoils the frame, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Regions {
    /// Width of the frame that was looked at, in pixels.
    pub width: u32,
    /// Its height, in pixels.
    pub height: u32,
    /// The [view](Video::view) of the video that this is the frame of.
    pub view: Option<CropRect>,
    /// How many frames were looked at.
    pub frames: usize,
    /// The regions that persist.
    pub regions: Vec<Region>,
}

/// One region that persists over the frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// What it is: `border`, `logo`, `subtitle`, `watermark`, or a label of the user's detector.
    pub class: String,
    /// Left, upper, right and lower edge in pixels of that frame; right and lower are the first that lie outside.
    pub rect: [f32; 4],
    /// Mean confidence, 0 to 1.
    pub score: f32,
    /// Share of the frames in which it was seen, 0 to 1.
    pub persistence: f32,
    /// Which backend found it.
    pub found_by: &'static str,
}

impl Regions {
    /// The row's `abnormal_region_info`.
    pub fn to_json(&self) -> Json {
        let regions: Vec<Json> = self
            .regions
            .iter()
            .map(|region| {
                json!({
                    "class": region.class,
                    "box": region.rect.map(|edge| rounded(f64::from(edge), 1)),
                    "score": rounded(f64::from(region.score), 4),
                    "persistence": rounded(f64::from(region.persistence), 4),
                    "found_by": region.found_by,
                })
            })
            .collect();
        json!({ "width": self.width, "height": self.height, "frames": self.frames, "regions": regions })
    }
}

/// The frames that the samplers asked of one decoding pass.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// End of the last frame, in seconds from the first shown frame.
    pub duration_seconds: f64,
    /// For each different request, as the canonical text of the sampler's demand, its clips.
    pub clips: Vec<(String, Arc<Vec<Clip>>)>,
    /// The crop that the pass encoded, if one was ordered; removed when nobody holds it any more.
    pub crop: Option<Arc<TempPath>>,
}

impl Decoded {
    /// The clips of the demand with this [key](crate::demand::SampleDemand::key).
    ///
    /// # Errors
    /// `Internal` if the decoder was not asked for them.
    pub fn clips_of(&self, key: &str) -> Result<&Arc<Vec<Clip>>, OperatorError> {
        self.clips
            .iter()
            .find(|(of, _)| of == key)
            .map(|(_, clips)| clips)
            .ok_or_else(|| OperatorError::internal(format!("the decoder was not asked for {key}")))
    }
}

/// The frames of several windows, in the order of their starts.
#[derive(Debug, Clone)]
pub struct Clips(pub Arc<Vec<Clip>>);

/// What a filter says of a video: one entry of the row's `info`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The entry's key: `vfx_filter`, `seg_simcam_filter` …
    pub key: String,
    /// The entry.
    pub body: Map<String, Json>,
}

impl Verdict {
    /// The entry of a segment filter: its windows by index, each with its span and what the filter says of it under
    /// `inner_key`. Spans are written in seconds, whole ones as integers.
    pub fn of_segments<'a>(
        key: impl Into<String>,
        inner_key: &str,
        windows: impl IntoIterator<Item = (&'a Clip, Json)>,
    ) -> Self {
        let body = windows
            .into_iter()
            .enumerate()
            .map(|(index, (clip, said))| {
                let span = [clip.start_seconds, clip.end_seconds].map(seconds);
                (
                    index.to_string(),
                    json!({ "duration": span, inner_key: said }),
                )
            })
            .collect();
        Self {
            key: key.into(),
            body,
        }
    }
}

/// Rounded to this many decimals, as rows show numbers.
pub fn rounded(number: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (number * scale).round() / scale
}

/// A time in a row: seconds to the millisecond, whole ones as an integer.
fn seconds(time: f64) -> Json {
    let time = rounded(time, 3);
    if time.fract() == 0.0 {
        json!(time as i64)
    } else {
        json!(time)
    }
}
