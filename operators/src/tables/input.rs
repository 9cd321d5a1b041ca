use clipsieve_engine::operator::{OperatorError, Row};
use serde_json::{Map, Value as Json};

use crate::json::kind_of;

/// The columns of an input row that mean something; all others pass through.
pub(super) const COLUMNS: [&str; 5] = ["video_id", "oss_bucket", "video_path", "video_tag", "info"];

/// An input row, looked at through the columns that mean something.
#[derive(Debug, Clone, Copy)]
pub struct InputRow<'a>(&'a Row);

impl<'a> InputRow<'a> {
    /// Looks at a row.
    pub fn new(row: &'a Row) -> Self {
        Self(row)
    }

    /// The path of the video: as it is on the local file system, or inside a store.
    ///
    /// # Errors
    /// `BadInput` if the column is missing, empty or not text.
    pub fn video_path(&self) -> Result<&'a str, OperatorError> {
        match self.0.0.get("video_path") {
            Some(Json::String(path)) if path.trim().is_empty() => Err(OperatorError::bad_input(
                "column `video_path` is empty; it must hold the path of the video",
            )),
            Some(Json::String(path)) => Ok(path),
            None => {
                let columns: Vec<&str> = self.0.0.keys().take(12).map(String::as_str).collect();
                Err(OperatorError::bad_input(format!(
                    "column `video_path` is missing; the row has: {}",
                    columns.join(", ")
                )))
            }
            Some(other) => Err(OperatorError::bad_input(format!(
                "column `video_path` must be text, this is {}",
                kind_of(other)
            ))),
        }
    }

    /// The bucket that the path belongs to, if the row names one.
    pub fn oss_bucket(&self) -> Option<&'a str> {
        self.0
            .text("oss_bucket")
            .map(str::trim)
            .filter(|bucket| !bucket.is_empty())
    }

    /// What the row tells of the video. A missing, null or empty column tells nothing.
    ///
    /// # Errors
    /// `BadInput` if the column is neither a JSON object nor text that holds one, or is nested too deeply.
    pub fn info(&self) -> Result<Map<String, Json>, OperatorError> {
        let problem = |why: String| Err(OperatorError::bad_input(format!("column `info` {why}")));
        let shallow = |info: Map<String, Json>| {
            if info.values().any(|value| is_deeper(value, MAX_LEVELS)) {
                return problem(format!("is nested more than {MAX_LEVELS} levels deep"));
            }
            Ok(info)
        };
        match self.0.0.get("info") {
            None | Some(Json::Null) => Ok(Map::new()),
            Some(Json::Object(info)) => shallow(info.clone()),
            Some(Json::String(text)) if text.trim().is_empty() => Ok(Map::new()),
            Some(Json::String(text)) => match serde_json::from_str(text) {
                Ok(Json::Object(info)) => shallow(info),
                Ok(other) => problem(format!(
                    "must hold a JSON object, this text holds {}",
                    kind_of(&other)
                )),
                Err(error) => problem(format!("holds text that is not JSON: {error}")),
            },
            Some(other) => problem(format!(
                "must be a JSON object or text that holds one, this is {}",
                kind_of(other)
            )),
        }
    }

    /// Whether the video may be looked for in Alluxio: unless `info.use_alluxio` says no.
    ///
    /// # Errors
    /// As [`InputRow::info`].
    pub fn may_use_alluxio(&self) -> Result<bool, OperatorError> {
        Ok(match self.info()?.get("use_alluxio") {
            Some(Json::Bool(may)) => *may,
            // Tables that know no truth values write words and numbers.
            Some(Json::String(word)) => {
                !matches!(word.to_lowercase().as_str(), "false" | "0" | "no")
            }
            Some(Json::Number(number)) => number.as_f64() != Some(0.0),
            _ => true,
        })
    }

    /// Why no video can be had from this row, if so.
    pub fn problem(&self) -> Option<OperatorError> {
        self.video_path().err().or_else(|| self.info().err())
    }

    /// The columns that only pass through, in their order.
    pub fn extra_columns(&self) -> impl Iterator<Item = (&'a String, &'a Json)> {
        self.0
            .0
            .iter()
            .filter(|(name, _)| !COLUMNS.contains(&name.as_str()))
    }
}

/// How deep an `info` may be nested: rows hold it some levels down, and a JSON reader gives up at 128.
const MAX_LEVELS: u32 = 64;

/// Whether a value has more than so many levels of arrays and objects.
fn is_deeper(value: &Json, levels: u32) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Json>> = match value {
        Json::Array(values) => Box::new(values.iter()),
        Json::Object(members) => Box::new(members.values()),
        _ => return false,
    };
    levels == 0 || inner.any(|value| is_deeper(value, levels - 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Json) -> Row {
        Row(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_good_row_shows_its_columns() {
        let row = row(json!({
            "video_id": "1", "oss_bucket": "b", "video_path": "a.mp4", "info": "{\"use_alluxio\": true}", "shard": 7
        }));
        let input = InputRow::new(&row);
        assert_eq!(input.video_path().unwrap(), "a.mp4");
        assert_eq!(input.oss_bucket(), Some("b"));
        assert_eq!(
            Json::Object(input.info().unwrap()),
            json!({"use_alluxio": true})
        );
        assert!(input.problem().is_none());
        let extra: Vec<_> = input.extra_columns().collect();
        assert_eq!(extra, [(&"shard".to_owned(), &json!(7))]);
    }

    #[test]
    fn an_info_that_tells_nothing_is_empty() {
        for info in [json!(null), json!(""), json!("  "), json!({}), json!("{}")] {
            let row = row(json!({"video_path": "a.mp4", "info": info}));
            assert!(InputRow::new(&row).info().unwrap().is_empty());
        }
    }

    #[test]
    fn an_info_that_readers_of_rows_would_choke_on_is_refused() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let of = |info: Json| {
            let row = row(json!({"video_path": "a.mp4", "info": info}));
            InputRow::new(&row).info()
        };
        let text = |levels| json!(format!("{{\"a\": {}}}", nested(levels)));
        let object = |levels| serde_json::from_str(text(levels).as_str().unwrap()).unwrap();
        assert!(of(text(64)).is_ok() && of(object(64)).is_ok());
        for refused in [of(text(65)), of(object(65)), of(text(126))] {
            let message = refused.unwrap_err().message;
            assert_eq!(message, "column `info` is nested more than 64 levels deep");
        }
    }

    #[test]
    fn problems_name_the_column_and_the_reason() {
        for (value, text) in [
            (
                json!({"path": "a.mp4", "id": 1}),
                "column `video_path` is missing; the row has: path, id",
            ),
            (
                json!({"video_path": " "}),
                "column `video_path` is empty; it must hold the path of the video",
            ),
            (
                json!({"video_path": 5}),
                "column `video_path` must be text, this is a number",
            ),
            (
                json!({"video_path": null}),
                "column `video_path` must be text, this is null",
            ),
            (
                json!({"video_path": "a", "info": "{oops"}),
                "column `info` holds text that is not JSON: key must be a string at line 1 column 2",
            ),
            (
                json!({"video_path": "a", "info": "[1]"}),
                "column `info` must hold a JSON object, this text holds a list",
            ),
            (
                json!({"video_path": "a", "info": 3}),
                "column `info` must be a JSON object or text that holds one, this is a number",
            ),
        ] {
            let row = row(value);
            assert_eq!(InputRow::new(&row).problem().unwrap().message, text);
        }
    }
}
