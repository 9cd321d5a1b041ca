//! `detect_regions`: what spoils the frame, and where.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Planner, Ports, Setting, Signature, Transform, Value,
};
use clipsieve_models::yolov8::Yolov8Config;
use clipsieve_models::{Detection, Detector, Lease, ModelConfig, ModelError, Pool, set_threads};
use ndarray::{Array3, ArrayView3};

use crate::kinds::{REGIONS, Region, Regions, VIDEO, Video};
use crate::media::{DecodeOptions, Fit, Frame, Request, Span, decode_with, footprint_bytes};
use crate::model_files::{self, PRECISION_PARAM};
use crate::regions::signals;
use crate::regions::standing::{self, Mean};
use crate::regions::tracks::{FrameBox, track};
use crate::regions::union::union;
use crate::videos::{SEEK_PARAM, decode_options, interrupt_of};

/// Frames that go through the detector together.
const BATCH: usize = 16;

/// The `detect_regions` operator.
pub const DETECT_REGIONS: OperatorSpec = OperatorSpec {
    name: "detect_regions",
    summary: "finds borders, logos, subtitles and watermarks",
    doc: "\
Looks at some frames spread evenly over the video and reports the regions that persist in them. Two backends, alone or \
together: `signals` needs no weights and finds uniform borders and overlays that stand still while the picture moves; `yolo` \
runs a YOLOv8 detector with whatever classes it was trained for. Each region says which backend found it: `signals`, `yolo`, \
or `signals+yolo`.

A region counts when its boxes (same class, IoU of at least 0.5 with the mean of its track; of subtitles, whose lines differ in \
length, half of the height in common) are seen in at least `persistence` of the frames; its box is the hull of its track.

With both backends, what the pixels show exactly (the edge of a bar, the edges that stand still) corrects the boxes of the \
detector, and what they show to be false (a `border` without a straight seam, a `logo` that moves with the picture) is left \
out unless the detector is very sure.",
    example: "regions: { op: detect_regions, from: fetched }",
    ports: Ports::Fixed(&[Signature { inputs: &[VIDEO], output: Some(REGIONS) }]),
    params: &[
        ParamSpec {
            name: "backends",
            ty: ParamType::List(&ParamType::Choice(&["signals", "yolo"])),
            fallback: Fallback::Is("[signals]"),
            unit: None,
            doc: "Which backends look; their findings are put together.",
        },
        ParamSpec {
            name: "model",
            ty: ParamType::Model,
            fallback: Fallback::Absent,
            unit: None,
            doc: "The detector of the `yolo` backend, by its name under `models:`.",
        },
        ParamSpec {
            name: "frames",
            ty: ParamType::Int { min: 2, max: 128 },
            fallback: Fallback::Is("16"),
            unit: Some("frames"),
            doc: "Frames that are looked at, spread evenly over the video.",
        },
        ParamSpec {
            name: "persistence",
            ty: ParamType::Float { min: 0.0, max: 1.0 },
            fallback: Fallback::Is("0.3"),
            unit: None,
            doc: "Share of the frames in which a region must be seen to count.",
        },
        PRECISION_PARAM,
        SEEK_PARAM,
    ],
    executor: Executor::Device,
    concurrency: 0,
    check: Some(check),
    demand: None,
    planner: Planner::NONE,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let backends = setting.params.texts("backends");
    let mut findings = Vec::new();
    if backends.is_empty() {
        findings.push(
            Finding::param("backends", "is empty").with_help("name `signals`, `yolo` or both"),
        );
    }
    match (backends.contains(&"yolo"), setting.params.opt_text("model")) {
        (true, None) => findings.push(
            Finding::param("model", "is not given, and the `yolo` backend needs one")
                .with_help("name a detector under `models:` and here"),
        ),
        (true, Some(model)) => findings.extend(model_files::check_architecture(
            setting, "model", model, "yolov8",
        )),
        (false, Some(_)) => {
            findings.push(
                Finding::param("model", "is given, but no backend uses it")
                    .with_help("add `yolo` to `backends`, or remove it"),
            );
        }
        (false, None) => {}
    }
    findings
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = context.setting.params;
    let backends = params.texts("backends");
    let detectors = match params.opt_text("model") {
        Some(model) if backends.contains(&"yolo") => Some(detectors(context, model)?),
        _ => None,
    };
    Ok(Operator::Transform(Box::new(DetectRegions {
        signals: backends.contains(&"signals"),
        detectors,
        acquire_timeout: context.placement.acquire_timeout,
        threads: context.placement.threads,
        request: [Request {
            span: Span::Video,
            frames: params.int("frames") as usize,
            fit: Fit::Native,
        }],
        persistence: params.float("persistence") as f32,
        options: decode_options(context),
    })))
}

/// The instances of a detector; other stages of the process that want the same have them too.
fn detectors(context: &BuildContext<'_>, model: &str) -> Result<Arc<Detectors>, OperatorError> {
    let (device, precision) = model_files::device(context)?;
    let folder = model_files::folder(context, model)?;
    let count = context.placement.concurrency;
    let (place, on) = (folder.display(), device.id());
    let name = format!("{count} detectors of {place} in {precision} on {on}");
    context.depot.get_or_make(&name, || {
        set_threads(1);
        let first =
            Detector::load(folder, &device, precision).map_err(model_files::config_error)?;
        Ok(Detectors {
            config: first.config().clone(),
            instances: model_files::instances(first, count, Detector::instance)?,
            most: AtomicUsize::new(BATCH),
        })
    })
}

/// The instances of a detector.
struct Detectors {
    instances: Pool<Detector>,
    /// What they all are.
    config: ModelConfig,
    /// So many frames go through one together, as far as is known of the device's memory.
    most: AtomicUsize,
}

impl Detectors {
    fn sizes(&self) -> Result<&Yolov8Config, OperatorError> {
        let sizes = self.config.detector();
        sizes.ok_or_else(|| OperatorError::internal("a detector that is none"))
    }

    /// An instance, by the call's deadline.
    fn acquire(
        &self,
        call: &Call,
        timeout: Duration,
    ) -> Result<Lease<'_, Detector>, OperatorError> {
        let patience = model_files::patience(call, timeout);
        let instance = self.instances.acquire(patience);
        instance.map_err(model_files::pool_error)
    }
}

/// Works on items in pieces of at most `most`, an answer for each. Where a device has no room for a piece, it is halved, and
/// no larger one is tried from then on.
///
/// # Errors
/// What `work` says; that there is no room, only of a single item.
fn in_pieces<T, R>(
    items: &[T],
    most: &AtomicUsize,
    work: impl Fn(&[T]) -> Result<Vec<R>, ModelError>,
) -> Result<Vec<R>, ModelError> {
    let mut answers = Vec::with_capacity(items.len());
    let mut rest = items;
    while !rest.is_empty() {
        let allowed = most.load(Ordering::Relaxed).max(1);
        let (piece, behind) = rest.split_at(rest.len().min(allowed));
        match work(piece) {
            Ok(found) => {
                answers.extend(found);
                rest = behind;
            }
            Err(error) if error.is_temporary() && piece.len() > 1 => {
                most.fetch_min(piece.len() / 2, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

struct DetectRegions {
    signals: bool,
    detectors: Option<Arc<Detectors>>,
    threads: usize,
    acquire_timeout: Duration,
    request: [Request; 1],
    persistence: f32,
    options: DecodeOptions,
}

impl DetectRegions {
    /// What the model sees persist in the frames, in pixels of the frame.
    fn detect(
        &self,
        call: &Call,
        detectors: &Detectors,
        frames: &[Frame],
    ) -> Result<Vec<Region>, OperatorError> {
        set_threads(self.threads);
        let sizes = detectors.sizes()?;
        let Some(first) = frames.first() else {
            return Ok(Vec::new());
        };
        let (height, width, _) = first.dim();
        let letterbox = sizes
            .letterbox(width, height)
            .map_err(model_files::model_error)?;
        let named = |found: Vec<Detection>| -> Vec<FrameBox> {
            let named = found.into_iter().map(|detection| FrameBox {
                class: detectors.config.labels[detection.class].clone(),
                rect: letterbox.unmap(detection.box_px),
                score: detection.score,
            });
            named.collect()
        };
        let mut boxes: Vec<Vec<FrameBox>> = Vec::with_capacity(frames.len());
        let mut mean = Mean::default();
        for batch in frames.chunks(BATCH) {
            model_files::check_deadline(call)?;
            // A frame that repeats the one before it, as in a short video, is not looked at again.
            let repeats = |index: usize| index > 0 && Arc::ptr_eq(&batch[index - 1], &batch[index]);
            let fitted = (0..batch.len())
                .filter(|index| !repeats(*index))
                .map(|index| letterbox.apply(batch[index].view()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(model_files::model_error)?;
            if sizes.mean_conf.is_some() {
                fitted.iter().for_each(|frame| mean.add(frame.view()));
            }
            let views: Vec<ArrayView3<'_, u8>> = fitted.iter().map(Array3::view).collect();
            // Held only while it works: others may wait for it.
            let detector = detectors.acquire(call, self.acquire_timeout)?;
            let found = in_pieces(&views, &detectors.most, |views| detector.detect(views));
            drop(detector);
            let mut found = found.map_err(model_files::model_error)?.into_iter();
            for index in 0..batch.len() {
                let seen = if repeats(index) {
                    boxes.last().cloned().unwrap_or_default()
                } else {
                    named(found.next().unwrap_or_default())
                };
                boxes.push(seen);
            }
        }
        let tracks = track(&boxes, self.persistence, "yolo");
        let Some(mean) = mean.frame() else {
            return Ok(tracks);
        };
        let found = detectors
            .acquire(call, self.acquire_timeout)?
            .detect_in_mean(mean.view())
            .map_err(model_files::model_error)?;
        Ok(standing::join(tracks, named(found), "yolo"))
    }
}

impl Transform for DetectRegions {
    fn warm_up(&self) -> Result<(), OperatorError> {
        let Some(detectors) = &self.detectors else {
            return Ok(());
        };
        set_threads(self.threads);
        let detector = detectors
            .instances
            .acquire(self.acquire_timeout)
            .map_err(model_files::pool_error)?;
        let letterbox = detector
            .letterbox(1280, 720)
            .map_err(model_files::model_error)?;
        let frame = Array3::zeros((letterbox.height_px, letterbox.width_px, 3));
        detector
            .detect(&[frame.view()])
            .map_err(model_files::model_error)?;
        Ok(())
    }

    fn footprint_bytes(&self, call: &Call, inputs: &[Value]) -> Result<u64, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let interrupt = interrupt_of(&call.deadline);
        let threads = self.options.threads;
        Ok(footprint_bytes(
            &video.medium,
            &self.request,
            threads,
            &interrupt,
        )?)
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let decoded = decode_with(
            &video.medium,
            video.view,
            &self.request,
            &self.options,
            &interrupt_of(&call.deadline),
        )?;
        let frames = match decoded.clips.first().and_then(|clips| clips.first()) {
            Some(clip) => clip.frames.as_slice(),
            None => {
                return Err(OperatorError::internal(
                    "the decoder brought no clip of the whole video",
                ));
            }
        };
        let model = match &self.detectors {
            Some(detectors) => Some(self.detect(call, detectors, frames)?),
            None => None,
        };
        let regions = match (self.signals, model) {
            (true, Some(model)) => union(&signals::look(frames, self.persistence), model),
            (true, None) => signals::find(frames, self.persistence),
            (false, model) => model.unwrap_or_default(),
        };
        let (height, width, _) = frames.first().map_or((0, 0, 0), |frame| frame.dim());
        Ok(Outcome::value(Regions {
            width: width as u32,
            height: height as u32,
            view: video.view,
            frames: frames.len(),
            regions,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_for_which_there_is_no_room_is_halved_and_the_room_is_remembered() {
        let most = AtomicUsize::new(16);
        let tried = std::cell::RefCell::new(Vec::new());
        let run = |room: usize| {
            tried.borrow_mut().clear();
            in_pieces(&(0..20).collect::<Vec<_>>(), &most, |piece: &[usize]| {
                tried.borrow_mut().push(piece.len());
                match piece.len() <= room {
                    true => Ok(piece.to_vec()),
                    false => Err(ModelError::OutOfMemory("no room".to_owned())),
                }
            })
        };
        assert_eq!(run(5).expect("room"), (0..20).collect::<Vec<_>>());
        assert_eq!(*tried.borrow(), [16, 8, 4, 4, 4, 4, 4]);
        assert!(run(5).is_ok());
        assert_eq!(*tried.borrow(), [4; 5]);
        // A single frame that has no room fails, and may do so for a moment only.
        assert!(run(0).expect_err("no room").is_temporary());
    }
}
