//! Result rows: which row answers a label, and which of its numbers is a task's score.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::boxes::Found;
use super::labels::Rect;

/// Labels of filters that mean that nothing is wrong, whatever the task.
pub const NEGATIVE: [&str; 14] = [
    "normal", "real", "pass", "good", "clean", "none", "ok", "other", "forward", "upright", "0",
    "negative", "no", "unjudged",
];

/// Entries of `info` that answer a task under another name than its own.
const ALIASES: [(&str, &str); 2] = [
    ("rotation", "rotate_vertical"),
    ("reversed", "inverse_seg_simcam"),
];

/// The rows of a run.
pub struct Rows {
    rows: Vec<Map<String, Json>>,
    by_id: BTreeMap<String, Vec<usize>>,
    by_path: BTreeMap<String, Vec<usize>>,
    by_name: BTreeMap<String, Vec<usize>>,
    by_stem: BTreeMap<String, Vec<usize>>,
}

/// Which row answers a label.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This one.
    Row(usize),
    /// None.
    Missing,
    /// So many, none better than the others.
    Several(usize),
}

impl Rows {
    /// The rows of a run, each as `{…, info, result_info}`.
    pub fn new(rows: impl IntoIterator<Item = Map<String, Json>>) -> Self {
        let mut all = Rows {
            rows: Vec::new(),
            by_id: BTreeMap::new(),
            by_path: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_stem: BTreeMap::new(),
        };
        rows.into_iter().for_each(|row| all.add(row));
        all
    }

    fn add(&mut self, row: Map<String, Json>) {
        let index = self.rows.len();
        let under = |names: &mut BTreeMap<String, Vec<usize>>, name: &str| {
            let known = names.entry(name.to_string()).or_default();
            if !known.contains(&index) {
                known.push(index);
            }
        };
        let text = |column: &str| {
            row.get(column)
                .and_then(Json::as_str)
                .filter(|t| !t.is_empty())
        };
        if let Some(id) = text("video_id") {
            under(&mut self.by_id, id);
            under(&mut self.by_stem, stem(name(id)));
            under(&mut self.by_name, name(id));
        }
        for path in ["file", "video_path", "video_oss_url"]
            .into_iter()
            .filter_map(text)
        {
            under(&mut self.by_path, path);
            under(&mut self.by_name, name(path));
            under(&mut self.by_stem, stem(name(path)));
        }
        self.rows.push(row);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of a video that labels call `file`: by `video_id`; else by path (`file`, `video_path`, `video_oss_url`);
    /// else by file name; else by file name without its extension, which is what a folder's rows have as `video_id`. The
    /// first way that finds any row decides.
    pub fn find(&self, file: &str) -> Answer {
        let ways = [
            self.by_id.get(file),
            self.by_path.get(file),
            self.by_name.get(name(file)),
            self.by_stem.get(stem(name(file))),
        ];
        match ways.into_iter().flatten().next().map(Vec::as_slice) {
            None => Answer::Missing,
            Some([one]) => Answer::Row(*one),
            Some(several) => Answer::Several(several.len()),
        }
    }

    /// What a row is called in reports.
    pub fn name(&self, row: usize) -> String {
        let row = &self.rows[row];
        ["video_id", "file", "video_path", "video_oss_url"]
            .into_iter()
            .filter_map(|column| row.get(column).and_then(Json::as_str))
            .find(|text| !text.is_empty())
            .unwrap_or("(a row without an id)")
            .to_string()
    }

    /// Where and why the row failed, if it did.
    pub fn failure(&self, row: usize) -> Option<String> {
        let about = self.rows[row].get("result_info")?;
        let text = |key: &str| about.get(key).and_then(Json::as_str).unwrap_or_default();
        (text("succeed") != "true")
            .then(|| format!("failed in {}: {}", text("stage"), text("error")))
    }

    fn info(&self, row: usize) -> Option<&Map<String, Json>> {
        self.rows[row].get("info")?.as_object()
    }

    /// The entries of `info` that answer a task, over all rows, by name.
    pub fn entries_of(&self, task: &str) -> Vec<String> {
        let entries: BTreeSet<&String> = (0..self.len())
            .filter_map(|row| self.info(row))
            .flat_map(Map::keys)
            .filter(|key| answers(key, task))
            .collect();
        entries.into_iter().cloned().collect()
    }

    /// The score of a row, if it has the entry: the largest of its windows' when the entry has windows.
    pub fn score(&self, row: usize, task: &str, reading: &Reading) -> Option<Score> {
        let entry = self.info(row)?.get(&reading.key)?.as_object()?;
        if let Some(said) = said(entry, task, reading) {
            return Some(said);
        }
        entry
            .values()
            .filter_map(Json::as_object)
            .flat_map(|window| window.values().filter_map(Json::as_object))
            .filter_map(|entry| said(entry, task, reading))
            .max_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// The regions that were found, as shares of the frame; `None` if nobody looked.
    pub fn regions(&self, row: usize) -> Option<Vec<Found>> {
        let entry = self.info(row)?.get("abnormal_region_info")?;
        let [width, height] = self.frame_px(row)?;
        let found = entry.get("regions")?.as_array()?.iter();
        let found = found.filter_map(|region| {
            Some(Found {
                class: region.get("class")?.as_str()?.to_string(),
                rect: shares(region.get("box")?, [width, height])?,
                score: region.get("score").and_then(Json::as_f64).unwrap_or(1.0),
            })
        });
        Some(found.collect())
    }

    /// Width and height of the frame in which regions were looked for, in pixels.
    pub fn frame_px(&self, row: usize) -> Option<[f64; 2]> {
        let entry = self.info(row)?.get("abnormal_region_info")?;
        let side = |key: &str| entry.get(key)?.as_f64().filter(|side| *side > 0.0);
        Some([side("width")?, side("height")?])
    }

    /// What was kept of the frame, as shares of it: `None` if the row does not say, the whole frame if it was not cropped.
    pub fn kept(&self, row: usize) -> Option<Kept> {
        let crop = self.info(row)?.get("abnormal_region_crop")?;
        let cropped = crop.get("box").filter(|edges| edges.is_array());
        Some(match cropped {
            None => Kept {
                cropped: false,
                rect: [0.0, 0.0, 1.0, 1.0],
            },
            Some(edges) => Kept {
                cropped: true,
                rect: shares(edges, self.frame_px(row)?)?,
            },
        })
    }
}

/// What a crop kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Whether anything was cut away.
    pub cropped: bool,
    /// What was kept, as shares of the frame.
    pub rect: Rect,
}

/// Which number of a row is a task's score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The entry of `info`.
    pub key: String,
    /// The entry of its `result`; `None` for the rule of the module's page.
    pub label: Option<String>,
    /// Whether less means the defect.
    pub falling: bool,
}

impl Reading {
    /// The reading of an entry by the general rule.
    pub fn of(key: String) -> Self {
        Reading {
            key,
            label: None,
            falling: false,
        }
    }

    /// From `KEY.LABEL`, or `-KEY.LABEL` where less means the defect.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (falling, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        match rest.rsplit_once('.') {
            Some((key, label)) if !key.is_empty() && !label.is_empty() => Ok(Reading {
                key: key.to_string(),
                label: Some(label.to_string()),
                falling,
            }),
            _ => Err(format!(
                "found `{text}`, allowed: KEY.LABEL, as in vfx_filter.vfx or -measure.sharpness"
            )),
        }
    }
}

/// A row's score for a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The more, the surer of the defect.
    pub value: f64,
    /// Which label was taken as the positive one.
    pub positive: String,
}

/// Whether an entry of `info` answers a task.
fn answers(key: &str, task: &str) -> bool {
    fn bare(key: &str) -> &str {
        let key = key.strip_suffix("_filter").unwrap_or(key);
        key.strip_prefix("seg_").unwrap_or(key)
    }
    let alias = |(of, name): &(&str, &str)| *of == task && bare(key) == *name;
    key == task || bare(key) == bare(task) || ALIASES.iter().any(alias)
}

/// The score of one verdict: `{"result": {label: number}, "label", …}`.
fn said(entry: &Map<String, Json>, task: &str, reading: &Reading) -> Option<Score> {
    let result = entry.get("result").and_then(Json::as_object)?;
    if let Some(label) = &reading.label {
        let value = result.get(label)?.as_f64()?;
        let sign = if reading.falling { "-" } else { "" };
        return Some(Score {
            value: if reading.falling { -value } else { value },
            positive: format!("{sign}{label}"),
        });
    }
    if entry.contains_key("prob") {
        if let Some(value) = result.get(task).and_then(Json::as_f64) {
            return Some(Score {
                value,
                positive: task.to_string(),
            });
        }
        let (negative, positive): (Vec<_>, Vec<_>) =
            result.iter().partition(|(label, _)| is_negative(label));
        let innocent: f64 = negative
            .iter()
            .filter_map(|(_, share)| share.as_f64())
            .sum();
        let names: Vec<&str> = positive.iter().map(|(label, _)| label.as_str()).collect();
        return (!names.is_empty()).then(|| Score {
            value: match positive.as_slice() {
                [(_, share)] => share.as_f64().unwrap_or(0.0),
                _ => (1.0 - innocent).clamp(0.0, 1.0),
            },
            positive: names.join("+"),
        });
    }
    let label = entry.get("label")?.as_str()?;
    Some(Score {
        value: f64::from(u8::from(!is_negative(label))),
        positive: "reject".to_string(),
    })
}

fn is_negative(label: &str) -> bool {
    let label = label.to_lowercase();
    NEGATIVE.contains(&label.as_str()) || label.starts_with("no_") || label.starts_with("not_")
}

fn shares(edges: &Json, [width, height]: [f64; 2]) -> Option<Rect> {
    let edges: Vec<f64> = edges
        .as_array()?
        .iter()
        .map(Json::as_f64)
        .collect::<Option<_>>()?;
    match edges[..] {
        [x0, y0, x1, y1] => Some([x0 / width, y0 / height, x1 / width, y1 / height]),
        _ => None,
    }
}

/// The last part of a path or URL.
fn name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

/// A file name without its extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(rows: &[Json]) -> Rows {
        Rows::new(rows.iter().map(|row| row.as_object().unwrap().clone()))
    }

    fn row(id: &str, url: &str, info: Json) -> Json {
        json!({"video_id": id, "video_oss_url": url, "info": info, "result_info": {"succeed": "true"}})
    }

    #[test]
    fn a_label_finds_its_row_by_id_path_name_or_stem() {
        let rows = rows(&[
            row("one", "file:///data/one.mp4", json!({})),
            row("b/two", "file:///data/b/two.webm", json!({})),
            row("c/two", "file:///data/c/two.webm", json!({})),
            row("7", "oss://bucket/x/seven.mov", json!({})),
        ]);
        assert_eq!(rows.find("one"), Answer::Row(0));
        assert_eq!(rows.find("elsewhere/one.mp4"), Answer::Row(0));
        assert_eq!(rows.find("one.mkv"), Answer::Row(0), "re-encoded since");
        assert_eq!(rows.find("c/two"), Answer::Row(2));
        assert_eq!(rows.find("file:///data/b/two.webm"), Answer::Row(1));
        assert_eq!(rows.find("two.webm"), Answer::Several(2));
        assert_eq!(rows.find("seven.mov"), Answer::Row(3));
        assert_eq!(rows.find("eight.mov"), Answer::Missing);
    }

    #[test]
    fn tasks_find_their_entries() {
        let rows = rows(&[row(
            "a",
            "",
            json!({"vfx_filter": {}, "seg_vfx_filter": {}, "measure": {}, "rotate_vertical_filter": {},
                   "inverse_seg_simcam_filter": {}, "simcam_filter": {}}),
        )]);
        assert_eq!(rows.entries_of("vfx"), ["seg_vfx_filter", "vfx_filter"]);
        assert_eq!(
            rows.entries_of("vfx_filter"),
            ["seg_vfx_filter", "vfx_filter"]
        );
        assert_eq!(rows.entries_of("rotation"), ["rotate_vertical_filter"]);
        assert_eq!(rows.entries_of("reversed"), ["inverse_seg_simcam_filter"]);
        assert_eq!(rows.entries_of("simcam"), ["simcam_filter"]);
        assert_eq!(rows.entries_of("measure"), ["measure"]);
        assert!(rows.entries_of("beauty").is_empty());
    }

    fn score(task: &str, entry: Json) -> Option<(f64, String)> {
        let rows = rows(&[row("a", "", json!({"x_filter": entry}))]);
        let score = rows.score(0, task, &Reading::of("x_filter".to_string()))?;
        Some((score.value, score.positive))
    }

    #[test]
    fn the_positive_label_is_the_task_or_what_is_not_negative() {
        let verdict = |result: Json| json!({"result": result, "label": "?", "prob": 0.9});
        let two = verdict(json!({"normal": 0.75, "vfx": 0.25}));
        assert_eq!(score("vfx", two.clone()), Some((0.25, "vfx".to_string())));
        assert_eq!(score("x", two), Some((0.25, "vfx".to_string())));
        let four = verdict(json!({"upright": 0.25, "90": 0.25, "180": 0.375, "270": 0.125}));
        assert_eq!(
            score("rotation", four),
            Some((0.75, "90+180+270".to_string()))
        );
        let measured =
            |label: &str| json!({"result": {"sharpness": 0.3}, "label": label, "reasons": []});
        assert_eq!(score("x", measured("reject")).unwrap().0, 1.0);
        assert_eq!(score("x", measured("pass")).unwrap().0, 0.0);
        assert_eq!(score("x", json!({})), None);
    }

    #[test]
    fn the_worst_window_is_the_score() {
        let window = |share: f64| json!({"duration": [0, 4], "x_filter": {"result": {"good": 1.0 - share, "bad": share}, "label": "good", "prob": 1}});
        let entry = json!({"0": window(0.25), "1": window(0.75), "2": window(0.5)});
        assert_eq!(score("x", entry), Some((0.75, "bad".to_string())));
    }

    #[test]
    fn a_reading_may_be_named() {
        let rows = rows(&[row(
            "a",
            "",
            json!({"measure": {"result": {"sharpness": 0.25}, "label": "pass", "reasons": []}}),
        )]);
        let reading = Reading::parse("-measure.sharpness").unwrap();
        assert_eq!(rows.score(0, "low_quality", &reading).unwrap().value, -0.25);
        assert!(Reading::parse("measure").unwrap_err().contains("KEY.LABEL"));
        let absent = Reading::parse("measure.noise").unwrap();
        assert_eq!(rows.score(0, "low_quality", &absent), None);
    }

    #[test]
    fn boxes_and_crops_become_shares_of_the_frame() {
        let rows = rows(&[
            row(
                "a",
                "",
                json!({
                    "abnormal_region_info": {"width": 200, "height": 100, "frames": 8, "regions": [
                        {"class": "logo", "box": [20.0, 10.0, 40.0, 20.0], "score": 0.5}]},
                    "abnormal_region_crop": {"cropped": true, "box": [0, 20, 200, 100], "reason": null, "url": null},
                }),
            ),
            row(
                "b",
                "",
                json!({"abnormal_region_info": {"width": 2, "height": 2, "regions": []},
                       "abnormal_region_crop": {"cropped": false, "box": null, "reason": "nothing to cut away"}}),
            ),
            row("c", "", json!({})),
        ]);
        let found = rows.regions(0).unwrap();
        assert_eq!(found[0].rect, [0.1, 0.1, 0.2, 0.2]);
        let kept = rows.kept(0).unwrap();
        assert_eq!((kept.cropped, kept.rect), (true, [0.0, 0.2, 1.0, 1.0]));
        let kept = rows.kept(1).unwrap();
        assert_eq!((kept.cropped, kept.rect), (false, [0.0, 0.0, 1.0, 1.0]));
        assert_eq!((rows.regions(2), rows.kept(2)), (None, None));
    }
}
