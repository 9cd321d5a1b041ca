//! What the log says of rows.
//!
//! A row that failed says so itself, so the log has the first failures of a stage only: they show what is wrong, and a
//! million of them would bury everything else.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value as Json;

use crate::operator::Item;
use crate::pipeline::one_line;

/// Failures of a stage that are told as errors, in each process.
const LOUD: u64 = 10;
/// Most characters of a row's name.
const LONGEST_NAME: usize = 200;
/// Whether a column identifies a row; the first of these that a row has a column for names it.
const NAMES: [fn(&str) -> bool; 4] = [
    |column| column == "id",
    |column| column == "video_id",
    |column| ends_in(column, &["id"]),
    |column| ends_in(column, &["path", "uri", "url"]),
];

/// What the failures of one stage are told with.
#[derive(Debug, Default)]
pub(super) struct Voice(AtomicU64);

impl Voice {
    /// Tells that an item failed for good, within the span that is entered.
    pub fn failed(&self, item: &Item, stage: &str, attempts: u32, error: &str) {
        let row = row_name(item);
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before < LOUD {
            tracing::error!(row, %stage, attempts, "{error}");
            return;
        }
        if before == LOUD {
            tracing::error!(
                %stage,
                "more than {LOUD} rows failed here; further ones are in the rows"
            );
        }
        tracing::debug!(row, %stage, attempts, "failed: {error}");
    }
}

/// What the log calls a row: its id or path, as far as columns are called so, or its first text; and its number, from 1,
/// since many rows may have one id (of a user, say). Of a URL, what comes behind `?` is left out: it may be a token.
pub(super) fn row_name(item: &Item) -> String {
    let text = |value: &Json| match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let called = |is_name: fn(&str) -> bool| {
        let columns = item.row.0.iter().filter(|(column, _)| is_name(column));
        columns.filter_map(|(_, value)| text(value)).next()
    };
    let name = NAMES.into_iter().find_map(called);
    let name = name.or_else(|| item.row.0.values().find_map(text));
    let number = item.sequence + 1;
    let Some(mut name) = name else {
        return format!("row {number}");
    };
    if name.contains("://")
        && let Some(query) = name.find('?')
    {
        name.truncate(query);
    }
    match name.char_indices().nth(LONGEST_NAME) {
        None => format!("{} ({number})", one_line(&name)),
        Some((end, _)) => format!("{}… ({number})", one_line(&name[..end])),
    }
}

fn ends_in(column: &str, endings: &[&str]) -> bool {
    endings.contains(&column.rsplit('_').next().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::{Deadline, Row};

    #[test]
    fn a_row_is_called_by_what_identifies_it() {
        for (row, name) in [
            (
                json!({"bucket": "b", "video_path": "a/b.mp4", "video_id": "v1"}),
                "v1 (5)",
            ),
            (
                json!({"bucket": "b", "video_id": "", "video_path": "a\nb.mp4"}),
                "a\\nb.mp4 (5)",
            ),
            (json!({"width": 3, "id": 17}), "17 (5)"),
            (json!({"flag": true, "title": "the end"}), "the end (5)"),
            (json!({"user_id": "u", "video_id": "v1"}), "v1 (5)"),
            (
                json!({"user_id": "u", "id": "v1", "video_id": "x"}),
                "v1 (5)",
            ),
            (json!({"path": "p", "user_id": "u"}), "u (5)"),
            (
                json!({"video_url": "https://h/a.mp4?token=secret"}),
                "https://h/a.mp4 (5)",
            ),
            (json!({"video_path": "what?.mp4"}), "what?.mp4 (5)"),
            (json!({"info": {}}), "row 5"),
        ] {
            let row = Row(row.as_object().unwrap().clone());
            assert_eq!(row_name(&Item::new(4, row, Deadline::never())), name);
        }
        let row = json!({"id": "ä".repeat(300)});
        let row = Row(row.as_object().unwrap().clone());
        let name = row_name(&Item::new(0, row, Deadline::never()));
        assert_eq!(name.chars().count(), LONGEST_NAME + "… (1)".chars().count());
    }
}
