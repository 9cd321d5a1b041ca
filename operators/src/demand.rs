//! What consumers of frames ask of the stages before them.
//!
//! The engine carries these as JSON from the sinks backwards: a model says which clips it takes ([`ClipWish`]), a sampler
//! settles what it will give ([`SampleDemand`]), and `decode` reads from its consumers' demands what one pass over the
//! video has to bring. `decode` in turn offers that pass to the stages before it ([`PassOffer`]).

use clipsieve_engine::operator::{Finding, Model, Wish};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::media::{Fit, Request, Span};

/// What a stage that decodes offers the stages before it: it goes over the video anyway, and can encode a crop on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassOffer {
    /// Whether crops are encoded on the way.
    pub encodes_crops: bool,
}

impl PassOffer {
    /// The offer as the engine carries it.
    pub fn to_json(self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The id of the first consumer that encodes crops on its way.
    pub fn first(wishes: &[Wish]) -> Option<&str> {
        let offers = |wish: &&Wish| {
            serde_json::from_value(wish.wanted.clone()).is_ok_and(|offer: Self| offer.encodes_crops)
        };
        wishes.iter().find(offers).map(|wish| wish.stage.as_str())
    }
}

/// What a rule needs of the network and of the measurements that it takes: asked of both alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleWish {
    /// The labels that the network must tell, in any order; any if there are none.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The signals that have to be measured.
    pub signals: Vec<String>,
    /// By how many stages they are; 0 if that is not said.
    #[serde(default)]
    pub measures: usize,
}

impl RuleWish {
    /// The wish as the engine carries it.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Those among the wishes of a stage's consumers, each with the id of the stage that asks.
    pub fn among(wishes: &[Wish]) -> impl Iterator<Item = (&str, Self)> {
        wishes.iter().filter_map(|wish| {
            let rule = serde_json::from_value(wish.wanted.clone()).ok()?;
            Some((wish.stage.as_str(), rule))
        })
    }

    /// The labels that a network tells.
    pub fn labels_of(network: &Model) -> Vec<String> {
        let labels = network.facts["labels"].as_array();
        let labels = labels.into_iter().flatten().filter_map(Json::as_str);
        labels.map(str::to_owned).collect()
    }
}

/// The clips that a consumer takes. What it leaves open, the sampler settles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClipWish {
    /// Frames a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u32>,
    /// Side of the square frame, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Length of the short side before the centre crop, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_short: Option<u32>,
}

impl ClipWish {
    /// The wish on which all consumers agree.
    ///
    /// # Errors
    /// A finding that names two consumers that want different things.
    pub fn common(wishes: &[Wish]) -> Result<Self, Finding> {
        let mut common = Self::default();
        let mut asked_by: [Option<&str>; 3] = [None; 3];
        for wish in wishes {
            let asked: ClipWish = serde_json::from_value(wish.wanted.clone()).map_err(|error| {
                Finding::stage(format!(
                    "stage `{}` asks for something that is no clip: {error}",
                    wish.stage
                ))
            })?;
            let fields = [
                ("frames", &mut common.frames, asked.frames),
                ("size", &mut common.size, asked.size),
                ("resize_short", &mut common.resize_short, asked.resize_short),
            ];
            for ((name, settled, asked), by) in fields.into_iter().zip(&mut asked_by) {
                match (*settled, asked) {
                    (Some(first), Some(second)) if first != second => {
                        return Err(Finding::stage(format!(
                            "its consumers want different clips: `{}` wants {name} {first}, `{}` wants {second}",
                            by.unwrap_or_default(),
                            wish.stage
                        ))
                        .with_help("give each its own `sample` or `windows` stage; frames that both need are still decoded once"));
                    }
                    (None, Some(_)) => {
                        *settled = asked;
                        *by = Some(&wish.stage);
                    }
                    _ => {}
                }
            }
        }
        Ok(common)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a frame is brought to the wanted square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitDemand {
    /// The short side is resized to this many pixels, then the centre square of `size` is cut out.
    ResizeShort(u32),
    /// The whole frame is fitted into the square and padded with grey.
    Letterbox,
    /// The whole frame, its long side brought down to `size`; not square.
    Whole,
    /// The middle of the frame at the video's own size, up to `size` pixels each way.
    Middle,
}

/// Which span of the video a sampler draws its frames from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanDemand {
    /// All of it.
    Video,
    /// Each of the sliding windows.
    Windows {
        /// Length of a window, in seconds.
        length_seconds: f64,
        /// From the start of one window to the start of the next, in seconds.
        stride_seconds: f64,
    },
}

/// What a sampler asks of `decode`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleDemand {
    /// Where the frames are drawn from.
    pub span: SpanDemand,
    /// Frames a span.
    pub frames: u32,
    /// Side of the square frame, in pixels.
    pub size: u32,
    /// How a frame is brought to it.
    pub fit: FitDemand,
}

impl SampleDemand {
    /// The demand as the engine carries it.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The demand that the engine carried.
    ///
    /// # Errors
    /// A message if it is none.
    pub fn from_json(json: &Json) -> Result<Self, String> {
        serde_json::from_value(json.clone())
            .map_err(|error| format!("not a sampler's demand: {error}"))
    }

    /// The demand's name among the clips of one decoding pass: equal demands are served by the same frames.
    pub fn key(&self) -> String {
        self.to_json().to_string()
    }

    /// What the decoder is asked for.
    pub fn request(&self) -> Request {
        Request {
            span: match self.span {
                SpanDemand::Video => Span::Video,
                SpanDemand::Windows {
                    length_seconds,
                    stride_seconds,
                } => Span::Windows {
                    length_seconds,
                    stride_seconds,
                },
            },
            frames: self.frames as usize,
            fit: match self.fit {
                FitDemand::ResizeShort(short) => Fit::ResizeShort {
                    short,
                    crop: self.size,
                },
                FitDemand::Letterbox => Fit::Letterbox { size: self.size },
                FitDemand::Whole => Fit::Within {
                    max_side: self.size,
                },
                FitDemand::Middle => Fit::Middle { side: self.size },
            },
        }
    }
}
