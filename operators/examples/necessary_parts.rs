//! What the videos of a run of `pipelines/stage2.yaml` cost at the least: each part that cannot be left out, done alone, in CPU seconds.
//!
//! `cargo run --release -p clipsieve-operators --example necessary_parts -- ROWS.jsonl MODEL VIDEO…`
//!
//! The rows say what was cropped; the model's folder stands for all four. Parts: the frames of the detector, the frames of
//! all samplers (in the pass that encodes the crop where there is one, the encoder's share told apart), and the
//! backbone over each distinct clip with its heads. The run's own CPU seconds, less those of a run without rows, are what to
//! hold the sum against; what the run does beside (fetching, region signals, rows) is the difference.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use clipsieve_models::{Backbone, ClassifierHead, Device, Precision, set_threads};
use clipsieve_operators::media::{
    Clip, CropJob, CropRect, DecodeOptions, EncodeOptions, Fit, Interrupt, Request, Span,
    decode_and_crop, decode_with,
};
use ndarray::ArrayView3;
use serde_json::Value as Json;

/// Frames that the detector looks at.
const DETECTOR_FRAMES: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, model, videos @ ..] = arguments.as_slice() else {
        return Err("wanted: ROWS.jsonl MODEL VIDEO…".into());
    };
    let boxes = boxes(Path::new(rows))?;
    set_threads(1);
    let backbone = Backbone::load(model, &Device::cpu(), Precision::F32)?;
    let head = ClassifierHead::load(model, &Device::cpu(), Precision::F32)?;
    let shape = backbone.preprocess();
    let fit = Fit::ResizeShort {
        short: shape.resize_short as u32,
        crop: shape.size as u32,
    };
    let of = |span: Span| Request {
        span,
        frames: shape.frames,
        fit,
    };
    let requests = [
        of(Span::Video),
        of(Span::Windows {
            length_seconds: 4.0,
            stride_seconds: 3.0,
        }),
    ];
    let whole = [Request {
        span: Span::Video,
        frames: DETECTOR_FRAMES,
        fit: Fit::Native,
    }];
    let (options, never) = (DecodeOptions::default(), Interrupt::never());
    let out = std::env::temp_dir().join(format!("necessary-parts-{}.mp4", std::process::id()));

    let mut parts = [Duration::ZERO; 4];
    println!("video                 detector   samplers  crop encode     models  (CPU s)");
    for video in videos {
        let path = Path::new(video);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let crop = boxes.get(name.as_ref()).ok_or("a video without a row")?;
        let (_, detector) = timed(|| decode_with(path, None, &whole, &options, &never))?;
        let (decoded, samplers, encode) = match crop {
            None => {
                let (decoded, took) =
                    timed(|| decode_with(path, None, &requests, &options, &never))?;
                (decoded, took, Duration::ZERO)
            }
            Some(rect) => {
                // The pass that encodes decodes every frame. What it takes without the encoder is the samplers' part.
                let full = DecodeOptions {
                    seek: false,
                    ..options
                };
                let (_, took) = timed(|| decode_with(path, Some(*rect), &requests, &full, &never))?;
                let job = CropJob {
                    rect: *rect,
                    out: out.clone(),
                    options: EncodeOptions::default(),
                };
                let ((decoded, _), both) = timed(|| {
                    decode_and_crop(path, Some(*rect), &requests, &options, &job, &never)
                })?;
                (decoded, took, both.saturating_sub(took))
            }
        };
        let clips: Vec<&Clip> = decoded.clips.iter().flatten().collect();
        let (_, models) = timed(|| {
            for (at, clip) in clips.iter().enumerate() {
                let views: Vec<ArrayView3<'_, u8>> =
                    clip.frames.iter().map(|frame| frame.view()).collect();
                let features = backbone.features(&[views.as_slice()])?;
                // Three heads over the whole clip, two over each window …
                for _ in 0..if at == 0 { 3 } else { 2 } {
                    head.scores(&features)?;
                }
                if at > 0 {
                    // … and one over the window played backwards.
                    let back = clip.reversed();
                    let views: Vec<ArrayView3<'_, u8>> =
                        back.frames.iter().map(|frame| frame.view()).collect();
                    head.scores(&backbone.features(&[views.as_slice()])?)?;
                }
            }
            Ok::<_, clipsieve_models::ModelError>(())
        })?;
        let row = [detector, samplers, encode, models];
        print!("{name:20}");
        for (sum, part) in parts.iter_mut().zip(row) {
            *sum += part;
            print!(" {:10.2}", part.as_secs_f64());
        }
        println!();
    }
    let _ = std::fs::remove_file(&out);
    print!("{:20}", "together");
    parts
        .iter()
        .for_each(|part| print!(" {:10.2}", part.as_secs_f64()));
    let sum: Duration = parts.iter().sum();
    println!("   sum {:.2}", sum.as_secs_f64());
    Ok(())
}

/// What was cropped, by the video's name.
fn boxes(rows: &Path) -> Result<HashMap<String, Option<CropRect>>, Box<dyn std::error::Error>> {
    let mut boxes = HashMap::new();
    for line in std::fs::read_to_string(rows)?.lines() {
        let row: Json = serde_json::from_str(line)?;
        let name = row["video_id"].as_str().unwrap_or_default().to_owned();
        let edges: Option<Vec<u32>> =
            row["info"]["abnormal_region_crop"]["box"]
                .as_array()
                .map(|edges| {
                    edges
                        .iter()
                        .filter_map(|edge| Some(edge.as_u64()? as u32))
                        .collect()
                });
        let rect = edges.and_then(|edges| match edges[..] {
            [left, upper, right, lower] => Some(CropRect {
                x: left,
                y: upper,
                width: right - left,
                height: lower - upper,
            }),
            _ => None,
        });
        boxes.insert(name, rect);
    }
    Ok(boxes)
}

/// What some work gave, and the CPU time of the process that it took.
fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let before = cpu_time();
    work().map(|result| (result, cpu_time().saturating_sub(before)))
}

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of the system's, and it writes one struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
