//! `crop_upload`: cuts the spoiled parts of the frame away, and puts the cropped video into a store.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, Continuation, Deadline, ErrorKind, Executor, Fallback, Finding, Operator,
    OperatorError, OperatorSpec, Outcome, ParamSpec, ParamType, Ports, Row, Setting, Signature,
    Transform, Value,
};

use tempfile::TempPath;

use crate::demand::PassOffer;
use crate::kinds::{CropOrder, CropReport, REGIONS, Regions, VIDEO, Video};
use crate::media::{CropRect, EncodeOptions, Medium, crop_to_file};
use crate::regions::safe_crop::safe_crop;
use crate::stores::{Access, Store};
use crate::template::Template;
use crate::upload::UPLOAD;
use crate::videos::interrupt_of;

/// The `crop_upload` operator.
pub const CROP_UPLOAD: OperatorSpec = OperatorSpec {
    name: "crop_upload",
    summary: "crops a video to its largest clean rectangle and uploads it",
    doc: "\
Finds the largest rectangle that no counted region touches, with even sides and offsets. If there is nothing to cut away the \
video goes on as it is; if the rectangle would be too small it goes on uncropped, and the row says why.

A crop is a view: later stages see the cropped frames of the original's own decode, so that no score depends on the encoder. \
The encoded file (picture re-encoded, audio kept) is for the upload alone; without a `store` nothing is encoded.

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
            fallback: Fallback::Is("{video_id}.mp4"),
            unit: None,
            doc: "Path in the store; `{column}` stands for the text of a column of the row. Its extension chooses the container.",
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
    check: Some(check),
    demand: None,
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

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let key = setting.params.text("key");
    let mut findings = Vec::new();
    if let Err(message) = Template::parse(key) {
        findings.push(Finding::param("key", message));
    }
    if !["mp4", "mkv", "mov"]
        .iter()
        .any(|extension| key.ends_with(&format!(".{extension}")))
    {
        findings.push(Finding::param(
            "key",
            format!("`{key}` does not end in .mp4, .mkv or .mov"),
        ));
    }
    findings
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = context.setting.params;
    Ok(Operator::Transform(Box::new(CropUpload {
        target: Target::of(context)?,
        encoded_by: PassOffer::first(context.wishes).map(str::to_owned),
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

/// Where cropped videos go.
pub(crate) struct Target {
    store: Store,
    key: Template,
}

impl Target {
    /// The target of a stage with this operator's parameters, if it has one.
    pub fn of(context: &BuildContext<'_>) -> Result<Option<Self>, OperatorError> {
        let params = context.setting.params;
        let Some(name) = params.opt_text("store") else {
            return Ok(None);
        };
        Ok(Some(Self {
            store: Store::named(context.setting.stores, name, Access::Write)?,
            key: Template::parse(params.text("key")).map_err(OperatorError::config)?,
        }))
    }

    /// The extension of the file for this row.
    fn extension(&self, row: &Row) -> Result<String, OperatorError> {
        let key = self.key.fill(row)?;
        let extension = Path::new(&key).extension();
        Ok(extension
            .and_then(|extension| extension.to_str())
            .unwrap_or("mp4")
            .to_owned())
    }

    /// Puts a row's cropped video into the store. Returns its URL.
    pub async fn put(&self, file: &Path, row: &Row) -> Result<String, OperatorError> {
        let key = self.key.fill(row)?;
        let kind = content_type(&self.extension(row)?);
        Ok(self.store.upload(file, &key, kind).await?)
    }
}

/// A new, empty file for a crop; removed when it is dropped.
pub(crate) fn crop_file(scratch: &Path, extension: &str) -> Result<TempPath, OperatorError> {
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
    target: Option<Target>,
    /// The stage whose pass encodes the crop, if there is one.
    encoded_by: Option<String>,
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
        target: &Target,
        source: &Medium,
        rect: CropRect,
    ) -> Result<String, OperatorError> {
        let row = &call.item.row;
        let file = crop_file(&self.scratch, &target.extension(row)?)?;
        let interrupt = interrupt_of(&call.deadline);
        crop_to_file(source, rect, &file, &self.options, &interrupt)?;
        block_on(&call.deadline, target.put(&file, row))
    }

    /// What is told to the stage that will encode the crop.
    fn order(
        &self,
        by: &str,
        target: &Target,
        rect: CropRect,
        row: &Row,
    ) -> Result<Arc<CropOrder>, OperatorError> {
        Ok(Arc::new(CropOrder {
            by: by.to_owned(),
            rect,
            extension: target.extension(row)?,
            options: self.options.clone(),
        }))
    }
}

/// The media type that a store is told.
fn content_type(extension: &str) -> &'static str {
    match extension {
        "mkv" => "video/x-matroska",
        "mov" => "video/quicktime",
        _ => "video/mp4",
    }
}

/// Waits for an upload on this thread, at most until the deadline.
fn block_on(
    deadline: &Deadline,
    upload: impl Future<Output = Result<String, OperatorError>>,
) -> Result<String, OperatorError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| OperatorError::temporary("cannot start the upload").with_source(error))?;
    runtime.block_on(async {
        match deadline.remaining() {
            None => upload.await,
            Some(left) => match tokio::time::timeout(left, upload).await {
                Ok(done) => done,
                Err(_) => Err(OperatorError::new(
                    ErrorKind::Timeout,
                    "the upload did not finish by the deadline",
                )),
            },
        }
    })
}

impl Transform for CropUpload {
    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let found: &Regions = inputs[1].get()?;
        let boxes: Vec<[f32; 4]> = found.regions.iter().map(|region| region.rect).collect();
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
        if let (Some(rect), Some(target)) = (kept, &self.target) {
            match &self.encoded_by {
                Some(by) => order = Some(self.order(by, target, rect, &call.item.row)?),
                None => url = Some(self.upload(call, target, &video.medium, rect)?),
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
