//! Paths with `{column}` in them, filled from a row.

use clipsieve_engine::operator::{OperatorError, Row};

/// A text with places for columns: `crops/{video_id}.mp4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A message that says which brace is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if rest[at..].starts_with('}') {
                return Err(format!("`{text}` has a `}}` without a `{{` before it"));
            }
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            let end = after
                .find('}')
                .ok_or_else(|| format!("`{text}` has a `{{` that is never closed"))?;
            let column = &after[..end];
            if column.is_empty() || column.contains('{') {
                return Err(format!(
                    "`{text}` has `{{{column}}}`, which names no column"
                ));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_string()));
            }
            parts.push(Part::Column(column.to_string()));
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_string()));
        }
        Ok(Self(parts))
    }

    /// The text for this row. A column's `/` and leading dots become `_`, so that a row cannot choose the folder.
    ///
    /// # Errors
    /// `BadInput` naming a column that is missing or holds no text or number.
    pub fn fill(&self, row: &Row) -> Result<String, OperatorError> {
        self.fill_with(row, &[])
    }

    /// As [`fill`](Template::fill), with names that are none of the row's.
    ///
    /// # Errors
    /// As [`fill`](Template::fill).
    pub fn fill_with(&self, row: &Row, own: &[(&str, &str)]) -> Result<String, OperatorError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Column(column) => {
                    if let Some((_, value)) = own.iter().find(|(name, _)| name == column) {
                        text.push_str(value);
                        continue;
                    }
                    let value = match row.0.get(column) {
                        Some(serde_json::Value::String(value)) if !value.is_empty() => {
                            value.clone()
                        }
                        Some(serde_json::Value::Number(value)) => value.to_string(),
                        _ => {
                            return Err(OperatorError::bad_input(format!(
                                "column `{column}` holds no text to name the file by"
                            )));
                        }
                    };
                    let dots = value.len() - value.trim_start_matches('.').len();
                    text.extend(std::iter::repeat_n('_', dots));
                    text.extend(value[dots..].chars().map(|c| {
                        if matches!(c, '/' | '\\' | '\0') {
                            '_'
                        } else {
                            c
                        }
                    }));
                }
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: serde_json::Value) -> Row {
        Row(value.as_object().unwrap().clone())
    }

    #[test]
    fn columns_fill_their_places() {
        let template = Template::parse("crops/{tag}/{video_id}.mp4").unwrap();
        let filled = template
            .fill(&row(json!({ "video_id": 7, "tag": "cats" })))
            .unwrap();
        assert_eq!(filled, "crops/cats/7.mp4");
    }

    #[test]
    fn a_row_cannot_leave_the_folder() {
        let template = Template::parse("{video_id}.mp4").unwrap();
        let filled = template
            .fill(&row(json!({ "video_id": "../../etc/x" })))
            .unwrap();
        assert_eq!(filled, "___.._etc_x.mp4");
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = Template::parse("{nope}")
            .unwrap()
            .fill(&row(json!({})))
            .unwrap_err();
        assert!(error.message.contains("`nope`"), "{error}");
    }

    #[test]
    fn wrong_braces_are_refused() {
        for text in ["{", "}", "a{b", "{}", "{a{b}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
