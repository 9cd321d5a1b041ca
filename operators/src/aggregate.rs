//! `aggregate`: what all stages say of a video, as one result row.

use std::collections::BTreeMap;
use std::time::SystemTime;

use clipsieve_engine::operator::{
    Answer, BuildContext, Document, Executor, Failure, Finding, Gather, Item, Operator,
    OperatorError, OperatorSpec, Planner, PortKind, Ports, Setting, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::kinds::{
    CROP_KEY, MEASUREMENT, MEASUREMENTS, REGIONS, Regions, VERDICT, VERDICTS, VIDEO, Verdict, Video,
};
use crate::tables::{Machine, ResultRow};

/// The entry of `info` that lists the stages that skipped a video.
const SKIPPED: &str = "skipped";

/// Builds the result row of a video.
pub static AGGREGATE: OperatorSpec = OperatorSpec {
    name: "aggregate",
    summary: "puts the answers of all stages together into the result row",
    doc: "\
The row is `{video_id, oss_bucket, video_oss_url, video_tag, info, result_info}`, followed by the input's other columns. \
`info` holds what the input's `info` held and adds `abnormal_region_info` (of a `regions` input), `abnormal_region_crop` \
(of a `video` input that went through a crop stage) and one entry a verdict, under the verdict's key. Where the input's \
`info` has a key already, the new entry wins, so that a result row can be judged again; `read_table` tells how it is read.

A stage that skipped the video stands under `info.skipped` with its reason. If a stage failed, `result_info.succeed` is \
\"false\" and `stage`, `kind`, `error` and `attempts` tell of the first failure in the order of `from`; what the other \
stages found is kept.

`video_oss_url` is the cropped file if one was uploaded, else `oss://bucket/path` if the input names a bucket, else where \
the video was taken from. `avg_cost` is the time in seconds from the row's entry into the graph to its result.",
    example: "result: { op: aggregate, from: [regions, measured, seg_measured] }",
    ports: Ports::Gather {
        accepts: &[
            VIDEO,
            REGIONS,
            VERDICT,
            VERDICTS,
            MEASUREMENT,
            MEASUREMENTS,
        ],
        output: PortKind::DOCUMENT,
    },
    params: &[],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check),
    demand: None,
    planner: Planner::NONE,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let regions = setting.inputs.iter().filter(|kind| **kind == REGIONS);
    match regions.count() {
        0 | 1 => Vec::new(),
        count => vec![
            Finding::stage(format!(
                "{count} inputs are regions, and a row has room for one `abnormal_region_info`"
            ))
            .with_help("take one of them out of `from`"),
        ],
    }
}

fn build(_ctx: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Gather(Box::new(Aggregate {
        machine: Machine::this(),
    })))
}

struct Aggregate {
    machine: Machine,
}

impl Gather for Aggregate {
    fn lean(&self, value: &Value) -> Option<Value> {
        if !value.is::<Video>() {
            return None;
        }
        let video: &Video = value.get().ok()?;
        Some(Value::new(Video {
            medium: video.medium.unheld(),
            ..video.clone()
        }))
    }

    fn gather(&self, item: &Item, answers: &[(String, Answer)]) -> Result<Value, OperatorError> {
        let mut seen = Seen::default();
        for (stage, answer) in answers {
            match answer {
                Answer::Value(value) => seen.value(stage, value)?,
                Answer::Skipped(reason) => {
                    seen.skipped.insert(stage.clone(), json!(**reason));
                }
                Answer::Failed(failure) => {
                    seen.failure.get_or_insert(failure);
                }
            }
        }
        Ok(Value::new(seen.into_document(item, &self.machine)))
    }
}

/// What the answers for one item say, taken together.
#[derive(Default)]
struct Seen<'a> {
    found: Map<String, Json>,
    /// The stage behind each entry of `found`.
    from: BTreeMap<String, &'a str>,
    skipped: Map<String, Json>,
    failure: Option<&'a Failure>,
    uploaded: Option<String>,
    origin: Option<String>,
}

impl<'a> Seen<'a> {
    fn value(&mut self, stage: &'a str, value: &Value) -> Result<(), OperatorError> {
        if value.is::<Video>() {
            let video: &Video = value.get()?;
            self.origin.get_or_insert_with(|| video.origin.clone());
            if let Some(crop) = &video.crop {
                self.uploaded = crop.url.clone();
                self.entry(CROP_KEY, stage, crop.to_json())?;
            }
            Ok(())
        } else if value.is::<Regions>() {
            let regions: &Regions = value.get()?;
            self.entry("abnormal_region_info", stage, regions.to_json())
        } else {
            let verdict: &Verdict = value.get()?;
            if verdict.key == SKIPPED {
                return Err(OperatorError::config(format!(
                    "stage `{stage}` gives `info.{SKIPPED}`, which lists skipped stages; let it write under another key"
                )));
            }
            self.entry(&verdict.key, stage, Json::Object(verdict.body.clone()))
        }
    }

    /// Adds an entry of `info`. A second one of the same key would hide the first, so it is refused.
    fn entry(&mut self, key: &str, stage: &'a str, entry: Json) -> Result<(), OperatorError> {
        if let Some(other) = self.from.insert(key.to_owned(), stage) {
            return Err(OperatorError::config(format!(
                "stages `{other}` and `{stage}` both give `info.{key}`; let one of them write under another key"
            )));
        }
        self.found.insert(key.to_owned(), entry);
        Ok(())
    }

    fn into_document(mut self, item: &Item, machine: &Machine) -> Document {
        if !self.skipped.is_empty() {
            let skipped = Json::Object(self.skipped);
            self.found.insert(SKIPPED.to_owned(), skipped);
        }
        let row = ResultRow {
            input: &item.row,
            found: self.found,
            uploaded: self.uploaded,
            origin: self.origin,
            started_at: Some(item.started_at),
            failure: self.failure,
        };
        row.build(machine, SystemTime::now())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use clipsieve_engine::operator::{Deadline, ErrorKind, Row};

    use super::*;
    use crate::kinds::{CropReport, Region};
    use crate::media::Medium;
    use crate::media::frames::Clip;
    use crate::media::geometry::CropRect;

    fn item() -> Item {
        let row = json!({
            "video_id": "v1", "oss_bucket": "bucket", "video_path": "v/1.mp4", "video_tag": "tag",
            "info": {"use_alluxio": true}, "shard": 3,
        });
        Item::new(0, Row(row.as_object().unwrap().clone()), Deadline::never())
    }

    fn video(crop: Option<CropReport>) -> Value {
        Value::new(Video {
            crop,
            ..Video::new(Medium::file("/data/v/1.mp4"), "file:///data/v/1.mp4")
        })
    }

    fn cropped() -> CropReport {
        CropReport {
            kept: Some(CropRect {
                x: 0,
                y: 20,
                width: 640,
                height: 320,
            }),
            reason: None,
            url: Some("file:///crops/v1.mp4".to_owned()),
        }
    }

    fn regions() -> Value {
        Value::new(Regions {
            width: 640,
            height: 360,
            view: None,
            frames: 16,
            regions: vec![Region {
                class: "logo".to_owned(),
                rect: [1.0, 2.0, 30.0, 18.0],
                score: 0.5,
                persistence: 1.0,
                found_by: "static",
            }],
        })
    }

    fn whole(key: &str) -> Value {
        let body =
            json!({"result": {"normal": 0.75, "vfx": 0.25}, "label": "normal", "prob": 0.75});
        Value::new(Verdict {
            key: key.to_owned(),
            body: body.as_object().unwrap().clone(),
        })
    }

    fn segments() -> Value {
        let clip = |start_seconds, end_seconds| Clip {
            frames: Vec::new(),
            start_seconds,
            end_seconds,
        };
        let clips = [clip(0.0, 4.0), clip(3.0, 6.5)];
        let said = json!({"result": {"normal": 1.0}, "label": "normal", "prob": 1.0});
        Value::new(Verdict::of_segments(
            "seg_simcam_filter",
            "simcam_filter",
            clips.iter().map(|clip| (clip, said.clone())),
        ))
    }

    fn failed(stage: &str, error: &str) -> Answer {
        Answer::Failed(Arc::new(Failure {
            stage: stage.to_owned(),
            kind: ErrorKind::Timeout,
            error: error.to_owned(),
            attempts: 2,
        }))
    }

    fn gather(answers: Vec<(&str, Answer)>) -> Result<Document, OperatorError> {
        let aggregate = Aggregate {
            machine: Machine {
                device_name: "host".to_owned(),
                device_info: "linux".to_owned(),
            },
        };
        let answers: Vec<_> = answers
            .into_iter()
            .map(|(stage, answer)| (stage.to_owned(), answer))
            .collect();
        let value = aggregate.gather(&item(), &answers)?;
        Ok(value.get::<Document>()?.clone())
    }

    #[test]
    fn a_whole_row_is_exactly_this() {
        let document = gather(vec![
            ("regions", Answer::Value(regions())),
            ("cropped", Answer::Value(video(Some(cropped())))),
            ("vfx", Answer::Value(whole("vfx_filter"))),
            ("seg_simcam", Answer::Value(segments())),
        ])
        .unwrap();
        assert!(!document.failed);
        let mut row = document.row.0;
        let columns: Vec<String> = row.keys().cloned().collect();
        assert_eq!(
            columns,
            [
                "video_id",
                "oss_bucket",
                "video_oss_url",
                "video_tag",
                "info",
                "result_info",
                "shard"
            ]
        );
        let result_info = row.get_mut("result_info").unwrap().as_object_mut().unwrap();
        for key in ["start_time", "end_time"] {
            let time = result_info.insert(key.to_owned(), json!("TIME")).unwrap();
            let time = time.as_str().unwrap();
            assert!(
                time.len() == 24 && time.ends_with('Z') && time.contains('T'),
                "{time}"
            );
        }
        let cost = result_info.insert("avg_cost".to_owned(), json!(0)).unwrap();
        assert!((0.0..60.0).contains(&cost.as_f64().unwrap()));
        let filter =
            json!({"result": {"normal": 0.75, "vfx": 0.25}, "label": "normal", "prob": 0.75});
        let segment = json!({"result": {"normal": 1.0}, "label": "normal", "prob": 1.0});
        assert_eq!(
            Json::Object(row),
            json!({
                "video_id": "v1",
                "oss_bucket": "bucket",
                "video_oss_url": "file:///crops/v1.mp4",
                "video_tag": "tag",
                "info": {
                    "use_alluxio": true,
                    "abnormal_region_info": {
                        "width": 640, "height": 360, "frames": 16,
                        "regions": [{
                            "class": "logo", "box": [1.0, 2.0, 30.0, 18.0], "score": 0.5, "persistence": 1.0,
                            "found_by": "static",
                        }],
                    },
                    "abnormal_region_crop": {
                        "cropped": true, "box": [0, 20, 640, 340], "reason": null, "url": "file:///crops/v1.mp4",
                    },
                    "vfx_filter": filter,
                    "seg_simcam_filter": {
                        "0": {"duration": [0, 4], "simcam_filter": segment},
                        "1": {"duration": [3, 6.5], "simcam_filter": segment},
                    },
                },
                "result_info": {
                    "succeed": "true", "start_time": "TIME", "end_time": "TIME", "avg_cost": 0, "device_name": "host",
                    "device_info": "linux",
                },
                "shard": 3,
            })
        );
    }

    #[test]
    fn a_video_that_was_not_cropped_has_no_crop_entry() {
        let row = gather(vec![("fetched", Answer::Value(video(None)))])
            .unwrap()
            .row
            .0;
        assert_eq!(row["info"], json!({"use_alluxio": true}));
        assert_eq!(row["video_oss_url"], json!("oss://bucket/v/1.mp4"));
    }

    #[test]
    fn a_video_before_and_after_the_crop_are_one() {
        let row = gather(vec![
            ("cropped", Answer::Value(video(Some(cropped())))),
            ("fetched", Answer::Value(video(None))),
        ])
        .unwrap()
        .row
        .0;
        assert_eq!(row["video_oss_url"], json!("file:///crops/v1.mp4"));
    }

    #[test]
    fn the_first_failure_is_told_and_the_rest_is_kept() {
        let document = gather(vec![
            ("vfx", Answer::Value(whole("vfx_filter"))),
            ("seg_simcam", failed("decoded", "too slow")),
            ("inverse", failed("reversed", "later")),
        ])
        .unwrap();
        assert!(document.failed);
        let info = &document.row.0["result_info"];
        assert_eq!(info["succeed"], json!("false"));
        assert_eq!(info["stage"], json!("decoded"));
        assert_eq!(info["kind"], json!("timeout"));
        assert_eq!(info["error"], json!("too slow"));
        assert_eq!(info["attempts"], json!(2));
        assert_eq!(
            document.row.0["info"]["vfx_filter"]["label"],
            json!("normal")
        );
    }

    #[test]
    fn skipped_stages_are_listed_and_no_failure() {
        let document = gather(vec![
            ("vfx", Answer::Skipped("shorter than 1 s".into())),
            ("regions", Answer::Value(regions())),
        ])
        .unwrap();
        assert!(!document.failed);
        assert_eq!(
            document.row.0["info"]["skipped"],
            json!({"vfx": "shorter than 1 s"})
        );
    }

    #[test]
    fn two_entries_of_one_key_are_refused_by_name() {
        let error = gather(vec![
            ("a", Answer::Value(whole("vfx_filter"))),
            ("b", Answer::Value(whole("vfx_filter"))),
        ])
        .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(
            error.message,
            "stages `a` and `b` both give `info.vfx_filter`; let one of them write under another key"
        );
        let error = gather(vec![("a", Answer::Value(whole("skipped")))]).unwrap_err();
        assert!(error.message.contains("lists skipped stages"), "{error}");
        let error = gather(vec![("a", Answer::Value(Value::new(5)))]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
    }
}
