use std::time::SystemTime;

use clipsieve_engine::operator::{Document, Failure, Row};
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::InputRow;

/// The columns of a result row; an input column of one of these names does not pass through.
pub(super) const COLUMNS: [&str; 6] = [
    "video_id",
    "oss_bucket",
    "video_oss_url",
    "video_tag",
    "info",
    "result_info",
];

/// The machine that a row was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The row's `device_name`: the host name.
    pub device_name: String,
    /// The row's `device_info`: what the machine is.
    pub device_info: String,
}

impl Machine {
    /// This machine: its host name, its system, and the cores that this process may use.
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            device_name: host_name(),
            device_info: format!(
                "{} {}, {cores} core{}",
                std::env::consts::OS,
                std::env::consts::ARCH,
                if cores == 1 { "" } else { "s" }
            ),
        }
    }
}

/// What a result row is made of.
#[derive(Debug, Clone)]
pub struct ResultRow<'a> {
    /// The row that it answers.
    pub input: &'a Row,
    /// What the stages found, to be added to the row's `info`.
    pub found: Map<String, Json>,
    /// The URL of the file that was put somewhere for this row, if one was.
    pub uploaded: Option<String>,
    /// Where the video was taken from, if it was.
    pub origin: Option<String>,
    /// When work on the row began, if it is known.
    pub started_at: Option<SystemTime>,
    /// Why the row failed, if it did.
    pub failure: Option<&'a Failure>,
}

impl<'a> ResultRow<'a> {
    /// The row of an item that failed and of which nothing else is known.
    pub fn failed(input: &'a Row, failure: &'a Failure) -> Self {
        Self {
            input,
            found: Map::new(),
            uploaded: None,
            origin: None,
            started_at: None,
            failure: Some(failure),
        }
    }

    /// Builds the row, as of `ended_at`.
    ///
    /// * `video_id`, `oss_bucket` and `video_tag` stand as in the input, null if it does not have them.
    /// * `video_oss_url` is the uploaded file, else `oss://bucket/path` if the input names a bucket, else where the video
    ///   was taken from, else the input's path, else null.
    /// * `info` holds the keys of the input's `info`, then what was found; what was found wins when both have a key, so
    ///   that a result row can be judged again. An `info` that is no JSON object is kept as text under `unparsed`.
    /// * `start_time` and `avg_cost` are null when it is not known when work began.
    /// * Other columns of the input follow, except `video_path`, which `video_oss_url` replaces.
    pub fn build(self, machine: &Machine, ended_at: SystemTime) -> Document {
        let view = InputRow::new(self.input);
        let as_read = |column: &str| self.input.0.get(column).cloned().unwrap_or(Json::Null);
        // As text it stands no deeper than any other.
        let as_text = |column: &str| match as_read(column) {
            Json::String(text) => Json::String(text),
            other => Json::String(other.to_string()),
        };

        let mut info = view
            .info()
            .unwrap_or_else(|_| Map::from_iter([("unparsed".to_owned(), as_text("info"))]));
        info.extend(self.found);

        let cost_seconds = self
            .started_at
            .map(|start| ended_at.duration_since(start).unwrap_or_default());
        let mut result_info = Map::new();
        let mut tell = |key: &str, value: Json| result_info.insert(key.to_owned(), value);
        tell("succeed", json!(self.failure.is_none().to_string()));
        tell("start_time", json!(self.started_at.map(iso_8601)));
        tell("end_time", json!(iso_8601(ended_at)));
        tell(
            "avg_cost",
            json!(cost_seconds.map(|cost| cost.as_millis() as f64 / 1000.0)),
        );
        tell("device_name", json!(machine.device_name));
        tell("device_info", json!(machine.device_info));
        if let Some(failure) = self.failure {
            tell("stage", json!(failure.stage));
            tell("kind", json!(failure.kind));
            tell("error", json!(failure.error));
            tell("attempts", json!(failure.attempts));
        }

        let url = self
            .uploaded
            .or_else(|| {
                let (bucket, path) = (view.oss_bucket()?, view.video_path().ok()?);
                Some(format!("oss://{bucket}/{}", path.trim_start_matches('/')))
            })
            .or(self.origin)
            .or_else(|| view.video_path().ok().map(str::to_owned));

        let mut row = Map::new();
        row.insert("video_id".to_owned(), as_read("video_id"));
        row.insert("oss_bucket".to_owned(), as_read("oss_bucket"));
        row.insert("video_oss_url".to_owned(), json!(url));
        row.insert("video_tag".to_owned(), as_read("video_tag"));
        row.insert("info".to_owned(), Json::Object(info));
        row.insert("result_info".to_owned(), Json::Object(result_info));
        row.extend(
            view.extra_columns()
                .filter(|(name, _)| !COLUMNS.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        Document {
            row: Row(row),
            failed: self.failure.is_some(),
        }
    }
}

/// ISO 8601 in UTC, to the millisecond.
fn iso_8601(time: SystemTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // Only a year of five digits cannot be formatted.
    OffsetDateTime::from(time)
        .format(FORMAT)
        .unwrap_or_default()
}

fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the pointer and the length describe `name`, which outlives the call.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0);
    match (answer, end) {
        (0, Some(end)) if end > 0 => String::from_utf8_lossy(&name[..end]).into_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use clipsieve_engine::operator::ErrorKind;

    use super::*;

    fn machine() -> Machine {
        Machine {
            device_name: "host".to_owned(),
            device_info: "linux x86_64, 2 cores".to_owned(),
        }
    }

    fn row(value: Json) -> Row {
        Row(value.as_object().unwrap().clone())
    }

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + milliseconds)
    }

    fn plain(input: &Row) -> ResultRow<'_> {
        ResultRow {
            input,
            found: Map::new(),
            uploaded: None,
            origin: Some("file:///data/a.mp4".to_owned()),
            started_at: Some(at(0)),
            failure: None,
        }
    }

    #[test]
    fn a_succeeded_row_is_exactly_this() {
        let input = row(json!({
            "shard": 7, "video_id": 12, "oss_bucket": "b", "video_path": "/v/a.mp4", "video_tag": "t",
            "info": "{\"use_alluxio\": true, \"vfx_filter\": \"old\"}", "result_info": "old",
        }));
        let mut result = plain(&input);
        result
            .found
            .insert("vfx_filter".to_owned(), json!({"label": "vfx"}));
        let document = result.build(&machine(), at(1_234));
        let expected = concat!(
            r#"{"video_id":12,"oss_bucket":"b","video_oss_url":"oss://b/v/a.mp4","video_tag":"t","#,
            r#""info":{"use_alluxio":true,"vfx_filter":{"label":"vfx"}},"#,
            r#""result_info":{"succeed":"true","start_time":"2023-11-14T22:13:20.000Z","#,
            r#""end_time":"2023-11-14T22:13:21.234Z","avg_cost":1.234,"device_name":"host","#,
            r#""device_info":"linux x86_64, 2 cores"},"shard":7}"#
        );
        assert_eq!(serde_json::to_string(&document.row.0).unwrap(), expected);
        assert!(!document.failed);
    }

    #[test]
    fn a_failed_row_tells_stage_kind_error_and_attempts() {
        let input = row(json!({"video_path": "a.mp4", "info": "{oops"}));
        let failure = Failure {
            stage: "fetched".to_owned(),
            kind: ErrorKind::BadInput,
            error: "no such file".to_owned(),
            attempts: 3,
        };
        let document = ResultRow::failed(&input, &failure).build(&machine(), at(0));
        assert!(document.failed);
        assert_eq!(
            Json::Object(document.row.0),
            json!({
                "video_id": null, "oss_bucket": null, "video_oss_url": "a.mp4", "video_tag": null,
                "info": {"unparsed": "{oops"},
                "result_info": {
                    "succeed": "false", "start_time": null, "end_time": "2023-11-14T22:13:20.000Z", "avg_cost": null,
                    "device_name": "host", "device_info": "linux x86_64, 2 cores",
                    "stage": "fetched", "kind": "bad_input", "error": "no such file", "attempts": 3,
                },
            })
        );
    }

    #[test]
    fn an_info_that_is_no_object_is_kept_as_text() {
        let list = row(json!({"video_path": "a.mp4", "info": [[1], "x"]}));
        let document = plain(&list).build(&machine(), at(0));
        assert_eq!(document.row.0["info"], json!({"unparsed": "[[1],\"x\"]"}));
    }

    #[test]
    fn the_url_is_the_best_one_known() {
        let url =
            |result: ResultRow<'_>| result.build(&machine(), at(0)).row.0["video_oss_url"].clone();
        let bucket = row(json!({"video_path": "a.mp4", "oss_bucket": "b"}));
        let mut uploaded = plain(&bucket);
        uploaded.uploaded = Some("file:///crops/a.mp4".to_owned());
        assert_eq!(url(uploaded), json!("file:///crops/a.mp4"));
        assert_eq!(url(plain(&bucket)), json!("oss://b/a.mp4"));
        let local = row(json!({"video_path": "a.mp4", "oss_bucket": ""}));
        assert_eq!(url(plain(&local)), json!("file:///data/a.mp4"));
        let nothing = row(json!({}));
        let mut unknown = plain(&nothing);
        unknown.origin = None;
        assert_eq!(url(unknown), json!(null));
    }

    #[test]
    fn a_clock_that_went_back_costs_nothing() {
        let input = row(json!({"video_path": "a.mp4"}));
        let mut result = plain(&input);
        result.started_at = Some(at(5_000));
        let document = result.build(&machine(), at(0));
        assert_eq!(document.row.0["result_info"]["avg_cost"], json!(0.0));
    }

    #[test]
    fn this_machine_has_a_name_and_cores() {
        let machine = Machine::this();
        assert!(!machine.device_name.is_empty());
        assert!(machine.device_info.contains("core"));
    }
}
