//! From a recipe to a sample: film, file, frames, signals, labels.

use std::collections::BTreeMap;
use std::path::Path;

use clipsieve_operators::media::{
    Clip, EncodeOptions, Fit, Frame, Interrupt, Request, Span, decode, frames_to_file,
};
use clipsieve_operators::signals::signal::{Signal, measure_both};
use ndarray::{Array3, Array4, s};

use super::bars::{between_bars, within};
use super::damage::damaged;
use super::effects::{clouded, graded, spoiled};
use super::film::Canvas;
use super::picture::Picture;
use super::real::{Made, Stock, Want, real};
use super::still::simulated;
use super::turned::turned;
use crate::chance::Chance;
use crate::dataset::{NOT_JUDGED, Names, Note, Sample};
use crate::error::Error;

/// What a cache is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tasks {
    /// Special effects, simulated cameras and low quality: three labels a sample.
    Shared,
    /// Rotation.
    Rotation,
}

impl Tasks {
    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Rotation => "rotation",
        }
    }

    /// The tasks, as columns of `labels`.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Shared => &["vfx", "simcam", "low_quality"],
            Self::Rotation => &["rotation"],
        }
    }

    /// Frames of a sample, if not said otherwise.
    pub const fn frames(self) -> usize {
        match self {
            Self::Shared => 16,
            Self::Rotation => 4,
        }
    }
}

/// Signals are measured on nearly all frames, small and whole …
pub const DENSE: Request = Request {
    span: Span::Video,
    frames: 96,
    fit: Fit::Within { max_side: 128 },
};
/// … and on a few at the video's own size.
pub const DETAIL: Request = Request {
    span: Span::Video,
    frames: 8,
    fit: Fit::Middle { side: 384 },
};

/// The names of a cache's columns.
pub fn names(tasks: Tasks, seed: u64) -> Names {
    Names {
        tasks: tasks
            .columns()
            .iter()
            .map(|task| (*task).to_owned())
            .collect(),
        signals: Signal::NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        seed,
    }
}

/// Makes samples of one split.
pub struct Maker<'a> {
    /// What they are for.
    pub tasks: Tasks,
    /// What they are made of.
    pub stock: &'a Stock,
    /// The seed, and the name of the split, which give each sample its chance.
    pub seed: u64,
    /// The split's name.
    pub split: &'a str,
    /// Frames of a sample.
    pub frames: usize,
    /// Side of a frame.
    pub size: u32,
}

/// A clip before it is encoded.
struct Draft {
    frames: Vec<Picture>,
    labels: Vec<u8>,
    kinds: Vec<&'static str>,
    source: String,
}

impl Maker<'_> {
    /// Sample `index`; files go to `scratch` meanwhile.
    ///
    /// # Errors
    /// If a clip does not encode or decode.
    pub fn sample(&self, index: u64, scratch: &Path) -> Result<Sample, Error> {
        let name = format!("{}/{}", self.tasks.name(), self.split);
        let mut chance = Chance::of(self.seed, &name, index);
        let canvas = Canvas::draw(&mut chance);
        let draft = match self.tasks {
            Tasks::Shared => self.shared(&mut chance, &canvas, scratch)?,
            Tasks::Rotation => self.rotation(&mut chance, &canvas),
        };
        let frames: Vec<Array3<u8>> = draft.frames.into_iter().map(Picture::into_frame).collect();
        let path = scratch.join("clip.mp4");
        let never = Interrupt::never();
        let coding = last_coding(&mut chance);
        frames_to_file(
            frames.iter().map(|frame| frame.view()),
            (canvas.fps, 1),
            &path,
            &coding,
            &never,
        )?;
        drop(frames);
        let network = Request {
            span: Span::Video,
            frames: self.frames,
            fit: Fit::ResizeShort {
                short: self.size,
                crop: self.size,
            },
        };
        let decoded = decode(&path, None, &[network, DENSE, DETAIL], &never)?;
        let mut clips = decoded
            .clips
            .into_iter()
            .filter_map(|clips| clips.into_iter().next());
        let mut next = || {
            clips
                .next()
                .ok_or_else(|| Error::file(&path, "decodes to fewer clips than were asked for"))
        };
        let (network, dense, detail) = (next()?, next()?, next()?);
        Ok(Sample {
            frames: stacked(&network.frames, self.size as usize),
            labels: draft.labels,
            signals: signals(&dense, &detail),
            note: Note {
                kinds: self
                    .tasks
                    .columns()
                    .iter()
                    .zip(draft.kinds)
                    .map(|(task, kind)| ((*task).to_owned(), kind.to_owned()))
                    .collect::<BTreeMap<_, _>>(),
                source: draft.source,
                index,
            },
        })
    }

    fn shared(&self, chance: &mut Chance, canvas: &Canvas, scratch: &Path) -> Result<Draft, Error> {
        let recipe = *chance.weighted(&[
            (0.3, "real"),
            (0.23, "simcam"),
            (0.25, "vfx"),
            (0.22, "damaged"),
        ]);
        let quality = |made: &Made| if made.is_clean { 0 } else { NOT_JUDGED };
        // Bars say nothing of the film between them: they are cut away, or were overlooked.
        let whole = canvas;
        let has_bars = chance.is(0.08);
        let canvas = &if has_bars {
            within(chance, whole)
        } else {
            *whole
        };
        let (made, labels, kinds) = match recipe {
            "real" => {
                let want = Want {
                    clean: chance.is(0.8),
                    oriented: false,
                };
                let made = real(chance, canvas, self.stock, want);
                let (labels, kind) = ([0, 0, quality(&made)], made.kind);
                (made, labels, [kind; 3])
            }
            "simcam" => {
                let made = simulated(chance, canvas, self.stock);
                let vfx = if matches!(made.kind, "slideshow" | "overlay" | "framed") {
                    NOT_JUDGED
                } else {
                    0
                };
                let (labels, kind) = ([vfx, 1, quality(&made)], made.kind);
                (made, labels, [kind; 3])
            }
            "vfx" => {
                let spoiled = spoiled(chance, canvas, self.stock);
                let low = if spoiled.keeps_quality {
                    quality(&spoiled.made)
                } else {
                    NOT_JUDGED
                };
                let (labels, kind) = ([1, spoiled.simcam, low], spoiled.made.kind);
                (spoiled.made, labels, [kind; 3])
            }
            _ => {
                let is_still = chance.is(0.3);
                let made = if is_still {
                    simulated(chance, canvas, self.stock)
                } else {
                    real(chance, canvas, self.stock, Want::default())
                };
                let vfx = if matches!(made.kind, "slideshow" | "overlay" | "framed") {
                    NOT_JUDGED
                } else {
                    0
                };
                let kind = made.kind;
                (made, [vfx, u8::from(is_still), 1], [kind; 3])
            }
        };
        let (mut labels, mut kinds) = (labels, kinds);
        let film = graded(chance, made.film);
        let mut film = clouded(chance, canvas, film);
        if has_bars {
            film = between_bars(chance, whole, film);
        }
        let mut frames: Vec<Picture> = (0..canvas.frames)
            .map(|frame| film(canvas.time(frame)))
            .collect();
        if recipe == "damaged" {
            let (harmed, kind) = damaged(chance, canvas, frames, scratch)?;
            frames = harmed;
            kinds[2] = kind;
            if matches!(kind, "posterised" | "chroma" | "lost_blocks") {
                labels[0] = NOT_JUDGED;
            }
        }
        Ok(Draft {
            frames,
            labels: labels.to_vec(),
            kinds: kinds.to_vec(),
            source: made.source,
        })
    }

    fn rotation(&self, chance: &mut Chance, canvas: &Canvas) -> Draft {
        let (made, label) = turned(chance, canvas, self.stock);
        let mut film = graded(chance, made.film);
        let frames = (0..canvas.frames)
            .map(|frame| film(canvas.time(frame)))
            .collect();
        Draft {
            frames,
            labels: vec![label],
            kinds: vec![made.kind],
            source: made.source,
        }
    }
}

/// The last encoding, which good and bad clips share.
fn last_coding(chance: &mut Chance) -> EncodeOptions {
    let (encoder, low, high) =
        *chance.weighted(&[(0.88, ("libx264", 14, 28)), (0.12, ("mpeg4", 2, 4))]);
    let preset = *chance.weighted(&[(0.45, "ultrafast"), (0.35, "superfast"), (0.2, "veryfast")]);
    EncodeOptions {
        encoder: encoder.to_owned(),
        preset: preset.to_owned(),
        quality: chance.between(low, high) as u32,
        ..EncodeOptions::default()
    }
}

fn stacked(frames: &[Frame], size: usize) -> Array4<u8> {
    let mut stack = Array4::zeros((frames.len(), size, size, 3));
    for (index, frame) in frames.iter().enumerate() {
        stack.slice_mut(s![index, .., .., ..]).assign(&frame.view());
    }
    stack
}

/// The signals of a sample, in the order of [`names`].
fn signals(dense: &Clip, detail: &Clip) -> Vec<f32> {
    let measured = measure_both(&dense.frames, &detail.frames, Signal::ALL);
    let number = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
    measured.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clips::lettering::Fonts;
    use crate::clips::scene::scene;
    use crate::sources::{Photo, Sources};

    /// Photographs that are drawn, for a machine without any.
    fn stock() -> Stock {
        let canvas = Canvas {
            w: 320,
            h: 240,
            fps: 12,
            frames: 1,
            step_seconds: 0.1,
        };
        let photo = |seed: u64| {
            let mut film = scene(&mut Chance::new(seed), &canvas, &Fonts::default(), 0.0, 0.0);
            Photo {
                name: format!("drawn-{seed}.png"),
                picture: Arc::new(film(0.0).into_frame()),
                detail: 5.0,
            }
        };
        Stock {
            sources: Sources {
                photos: (0..3).map(photo).collect(),
                shots: Vec::new(),
            },
            fonts: Fonts::default(),
            unoriented: Vec::new(),
        }
    }

    fn maker(stock: &Stock, tasks: Tasks) -> Maker<'_> {
        Maker {
            tasks,
            stock,
            seed: 7,
            split: "train",
            frames: 4,
            size: 64,
        }
    }

    #[test]
    fn a_sample_follows_from_its_number_alone_and_its_labels_fit_what_was_done() {
        let stock = stock();
        let scratch = tempfile::tempdir().expect("a folder");
        let mut seen = [[false; 2]; 3];
        for index in 0..24 {
            let made = maker(&stock, Tasks::Shared)
                .sample(index, scratch.path())
                .expect("made");
            assert_eq!(made.frames.dim(), (4, 64, 64, 3));
            assert_eq!(made.signals.len(), Signal::ALL.len());
            for (task, label) in made.labels.iter().enumerate() {
                match label {
                    0 | 1 => seen[task][usize::from(*label)] = true,
                    other => assert_eq!(*other, NOT_JUDGED),
                }
            }
            if index < 3 {
                let again = maker(&stock, Tasks::Shared)
                    .sample(index, scratch.path())
                    .expect("made");
                assert_eq!(made.frames, again.frames);
                assert_eq!(made.note, again.note);
            }
            let damages = made.note.kinds["low_quality"] != made.note.kinds["simcam"];
            assert!(!damages || made.labels[2] == 1, "{:?}", made.note);
        }
        assert_eq!(seen[0], [true; 2], "effects and none");
        assert_eq!(seen[1], [true; 2], "simulated and real cameras");
        assert!(seen[2][1], "low quality");
    }

    #[test]
    fn turned_films_are_labelled_so() {
        let stock = stock();
        let scratch = tempfile::tempdir().expect("a folder");
        for index in 0..8 {
            let made = maker(&stock, Tasks::Rotation)
                .sample(index, scratch.path())
                .expect("made");
            let is_turned = made.note.kinds["rotation"].starts_with("turned");
            assert_eq!(made.labels, [u8::from(is_turned)]);
        }
    }
}
