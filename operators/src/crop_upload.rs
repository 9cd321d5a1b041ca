//! `crop_upload`: cuts the spoiled parts of the frame away, and puts the cropped video into a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, Continuation, Executor, Fallback, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Planner, Ports, Row, RowKey, Setting, Signature, Transform,
    Value,
};
use ndarray::Array3;
use tempfile::TempPath;

use crate::demand::PassOffer;
use crate::kinds::{CROP_KEY, CropOrder, CropReport, REGIONS, Regions, VIDEO, Video};
use crate::media::{
    CropRect, EncodeOptions, Interrupt, MediaError, Medium, crop_to_file, frames_to_file,
};
use crate::regions::safe_crop::safe_crop;
use crate::upload::UPLOAD;
use crate::uploads::{Uploads, check_key};
use crate::videos::interrupt_of;

/// The `crop_upload` operator.
pub const CROP_UPLOAD: OperatorSpec = OperatorSpec {
    name: "crop_upload",
    summary: "crops a video to its largest clean rectangle and uploads it",
    doc: "\
Finds the largest rectangle that no counted region touches, with even sides and offsets. If there is nothing to cut away the \
video goes on as it is; if the rectangle would be too small it goes on uncropped, and the row says why.

A crop is a view: later stages see the cropped frames of the original's own decode, so that no score depends on the encoder. \
The encoded file (picture re-encoded, audio kept) is for the upload alone; without a `store` nothing is encoded. It goes up \
in parts if it is large, is tried again where the network breaks, and is seen in the store when it is whole; one that lies \
there already is not sent again. A store that cannot be written to stops the job before it starts.

If a `decode` stage takes the video, its one pass also encodes the crop, and the upload follows as a step of its own \
(`cropped.upload` in the plan) while the frames are judged; the row waits for both. Otherwise this stage decodes, encodes and \
uploads by itself.",
    example: "cropped: { op: crop_upload, from: [fetched, regions], with: { store: crops } }",
    ports: Ports::Fixed(&[Signature { inputs: &[VIDEO, REGIONS], output: Some(VIDEO) }]),
    params: &[
        ParamSpec {
            name: "store",
            ty: ParamType::Store,
            fallback: Fallback::Absent,
            unit: None,
            doc: "Where cropped videos are put, by its name under `stores:`. Without it the crop is only a view.",
        },
        ParamSpec {
            name: "key",
            ty: ParamType::Text,
            fallback: Fallback::Is("{video_id}-{digest}.mp4"),
            unit: None,
            doc: "Path in the store; `{column}` stands for the text of a column of the row, `{digest}` for twelve digits that tell what the file is made of: the source, the rectangle, the encoder. Its extension chooses the container.",
        },
        ParamSpec {
            name: "encoder",
            ty: ParamType::Text,
            fallback: Fallback::Is("libx264"),
            unit: None,
            doc: "FFmpeg's name of the video encoder.",
        },
        ParamSpec {
            name: "preset",
            ty: ParamType::Text,
            fallback: Fallback::Is("veryfast"),
            unit: None,
            doc: "The encoder's preset.",
        },
        ParamSpec {
            name: "quality",
            ty: ParamType::Int { min: 0, max: 63 },
            fallback: Fallback::Is("18"),
            unit: Some("crf"),
            doc: "The encoder's constant rate factor; lower is better and larger.",
        },
        ParamSpec {
            name: "margin",
            ty: ParamType::Float { min: 0.0, max: 0.25 },
            fallback: Fallback::Is("0.004"),
            unit: Some("of the shorter side"),
            doc: "How far the crop keeps away from each region: an overlay's edge is smeared over a few pixels, and found to within a few.",
        },
        ParamSpec {
            name: "min_side",
            ty: ParamType::Int { min: 2, max: 8192 },
            fallback: Fallback::Is("64"),
            unit: Some("px"),
            doc: "A crop with a shorter side is refused.",
        },
        ParamSpec {
            name: "min_area",
            ty: ParamType::Float { min: 0.0, max: 1.0 },
            fallback: Fallback::Is("0.4"),
            unit: None,
            doc: "A crop that keeps a smaller share of the frame is refused.",
        },
    ],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check_key),
    demand: None,
    planner: Planner {
        row_key: Some(row_key),
        ..Planner::NONE
    },
    build,
};

/// If a stage behind it decodes the video anyway, that stage's pass encodes the crop, and [`UPLOAD`] puts it into the store.
pub const UPLOAD_BEHIND_DECODE: Continuation = Continuation {
    of: CROP_UPLOAD.name,
    by: &UPLOAD,
    behind: |setting, wishes| {
        setting.params.opt_text("store")?;
        PassOffer::first(wishes).map(str::to_owned)
    },
};

fn row_key(_: &Setting<'_>) -> Option<RowKey> {
    Some(RowKey {
        key: CROP_KEY.to_owned(),
        param: None,
    })
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = context.setting.params;
    Ok(Operator::Transform(Box::new(CropUpload {
        uploads: uploads(context)?,
        key: params.text("key").to_owned(),
        encoded_by: PassOffer::first(context.wishes).map(str::to_owned),
        margin: params.float("margin"),
        min_side: params.int("min_side") as u32,
        min_area: params.float("min_area"),
        options: EncodeOptions {
            encoder: params.text("encoder").to_string(),
            preset: params.text("preset").to_string(),
            quality: params.int("quality") as u32,
            threads: context.placement.threads.max(1),
            ..EncodeOptions::default()
        },
        scratch: context.scratch.to_path_buf(),
    })))
}

/// Where the crops of a stage with this operator's parameters go, if they go anywhere.
pub(crate) fn uploads(context: &BuildContext<'_>) -> Result<Option<Uploads>, OperatorError> {
    let params = context.setting.params;
    let key = params.text("key");
    let store = params.opt_text("store");
    store
        .map(|store| Uploads::new(context.setting.stores, store, key))
        .transpose()
}

/// A new, empty file for the crop that will have this key; removed when it is dropped.
pub(crate) fn crop_file(scratch: &Path, key: &str) -> Result<TempPath, OperatorError> {
    let extension = Path::new(key).extension();
    let extension = extension.and_then(|it| it.to_str()).unwrap_or("mp4");
    let file = tempfile::Builder::new()
        .prefix("crop-")
        .suffix(&format!(".{extension}"))
        .tempfile_in(scratch);
    match file {
        Ok(file) => Ok(file.into_temp_path()),
        Err(error) => {
            let message = format!("cannot make a file in {}", scratch.display());
            Err(OperatorError::temporary(message).with_source(error))
        }
    }
}

struct CropUpload {
    uploads: Option<Uploads>,
    /// The template of the files' keys.
    key: String,
    /// The stage whose pass encodes the crop, if there is one.
    encoded_by: Option<String>,
    /// As a share of the frame's shorter side.
    margin: f64,
    min_side: u32,
    min_area: f64,
    options: EncodeOptions,
    scratch: PathBuf,
}

impl CropUpload {
    /// Encodes the crop into a temporary file and puts it into the store; the file is gone when this returns.
    fn upload(
        &self,
        call: &Call,
        uploads: &Uploads,
        source: &Medium,
        order: &CropOrder,
    ) -> Result<String, OperatorError> {
        let file = crop_file(&self.scratch, &order.key)?;
        let interrupt = interrupt_of(&call.deadline);
        crop_to_file(source, order.rect, &file, &self.options, &interrupt)?;
        uploads.put_and_wait(call, &order.key, &file)
    }

    /// What is to be encoded, by this stage or another, and how it is called in the store.
    fn order(
        &self,
        uploads: &Uploads,
        video: &Video,
        rect: CropRect,
        row: &Row,
    ) -> Result<CropOrder, OperatorError> {
        let EncodeOptions {
            encoder,
            preset,
            quality,
            ..
        } = &self.options;
        let made_of = format!("{} {rect:?} {encoder} {preset} {quality}", video.origin);
        Ok(CropOrder {
            by: self.encoded_by.clone().unwrap_or_default(),
            rect,
            key: uploads.key(row, &made_of)?,
            options: self.options.clone(),
        })
    }
}

/// The regions' rectangles, each wider by `margin` of the frame's shorter side.
fn kept_away(found: &Regions, margin: f64) -> Vec<[f32; 4]> {
    let px = (margin * f64::from(found.width.min(found.height))) as f32;
    let widened =
        |[left, upper, right, lower]: [f32; 4]| [left - px, upper - px, right + px, lower + px];
    let regions = found.regions.iter();
    regions.map(|region| widened(region.rect)).collect()
}

impl Transform for CropUpload {
    fn warm_up(&self) -> Result<(), OperatorError> {
        let Some(uploads) = &self.uploads else {
            return Ok(());
        };
        // One frame tells whether there are such an encoder and preset, and whether the container takes what they make.
        let file = crop_file(&self.scratch, &self.key)?;
        let frame = Array3::zeros((64, 64, 3));
        let never = Interrupt::never();
        let tried = frames_to_file([frame.view()], (25, 1), &file, &self.options, &never);
        tried.map_err(|error| match error {
            MediaError::Encode { reason, .. } => OperatorError::config(format!(
                "crops cannot be encoded; see `encoder`, `preset`, `quality` and the ending of `key`: {reason}"
            )),
            other => other.into(),
        })?;
        uploads.probe()
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let found: &Regions = inputs[1].get()?;
        if found.view != video.view {
            return Err(OperatorError::config(
                "its regions were found in another view of the video than the one it takes, before or after another crop; \
                 let a `detect_regions` stage take from the same stage as this one, and take its regions",
            ));
        }
        let boxes = kept_away(found, self.margin);
        let (kept, reason) = match safe_crop(
            found.width,
            found.height,
            &boxes,
            self.min_side,
            self.min_area,
        ) {
            // Regions are measured in what is seen, the file is cropped in its own display pixels.
            Ok(Some(rect)) => {
                let (x, y) = video.view.map_or((0, 0), |view| (view.x, view.y));
                let rect = CropRect {
                    x: rect.x + x,
                    y: rect.y + y,
                    ..rect
                };
                (Some(rect), None)
            }
            Ok(None) => (None, Some("nothing to cut away".to_string())),
            Err(refusal) => (None, Some(refusal.to_string())),
        };
        let (mut url, mut order) = (None, None);
        if let (Some(rect), Some(uploads)) = (kept, &self.uploads) {
            let wanted = self.order(uploads, video, rect, &call.item.row)?;
            if self.encoded_by.is_some() {
                order = Some(Arc::new(wanted));
            } else {
                url = Some(self.upload(call, uploads, &video.medium, &wanted)?);
            }
        }
        // What an earlier crop did still holds if there is nothing more to cut.
        let earlier = video.crop.clone().filter(|crop| crop.kept.is_some());
        let crop = match (kept, earlier) {
            (None, Some(earlier)) => earlier,
            _ => CropReport { kept, reason, url },
        };
        Ok(Outcome::value(Video {
            view: kept.or(video.view),
            crop: Some(crop),
            order,
            ..video.clone()
        }))
    }
}

#[cfg(test)]
mod tests {
    use clipsieve_engine::operator::{Deadline, ErrorKind, Item};

    use super::*;
    use crate::kinds::Region;

    #[test]
    fn regions_of_another_view_of_the_video_are_refused() {
        let crop = CropUpload {
            uploads: None,
            key: String::new(),
            encoded_by: None,
            margin: 0.0,
            min_side: 64,
            min_area: 0.4,
            options: EncodeOptions::default(),
            scratch: PathBuf::new(),
        };
        let call = Call {
            item: Arc::new(Item::new(0, Row::default(), Deadline::never())),
            attempt: 1,
            deadline: Deadline::never(),
        };
        let bar = |rect, view| Regions {
            width: 640,
            height: 480,
            view,
            frames: 16,
            regions: vec![Region {
                class: "border".into(),
                rect,
                score: 1.0,
                persistence: 1.0,
                found_by: "signals",
            }],
        };
        let cut = |video: &Video, regions: &Regions| -> Result<Video, OperatorError> {
            let inputs = [Value::new(video.clone()), Value::new(regions.clone())];
            match crop.apply(&call, &inputs)? {
                Outcome::Value(value) => value.get::<Video>().cloned(),
                _ => panic!("a video"),
            }
        };
        let whole = Video::new(Medium::file("a.mp4"), "a.mp4");
        let first = bar([0.0, 0.0, 640.0, 60.0], None);
        let cropped = cut(&whole, &first).expect("a crop");
        let view = CropRect {
            x: 0,
            y: 60,
            width: 640,
            height: 420,
        };
        assert_eq!(cropped.view, Some(view));
        let error = cut(&cropped, &first).expect_err("the first regions once more");
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(
            error.message.contains("take from the same stage"),
            "{error}"
        );
        // Regions of what is seen now are places in it.
        let mut second = bar([0.0, 0.0, 640.0, 20.0], Some(view));
        second.height = 420;
        let again = cut(&cropped, &second).expect("a crop").view;
        assert_eq!(again.map(|view| (view.y, view.height)), Some((80, 400)));
    }

    #[test]
    fn a_crop_keeps_away_from_the_regions() {
        let found = Regions {
            width: 640,
            height: 500,
            view: None,
            frames: 16,
            regions: vec![Region {
                class: "border".into(),
                rect: [0.0, 0.0, 640.0, 61.0],
                score: 1.0,
                persistence: 1.0,
                found_by: "signals",
            }],
        };
        let crop = |margin| safe_crop(640, 500, &kept_away(&found, margin), 64, 0.4);
        let upper = |margin| crop(margin).expect("room").expect("a crop").y;
        assert_eq!([upper(0.0), upper(0.004), upper(0.02)], [62, 64, 72]);
    }
}
