//! Everything that labels say of rows, as data.

use std::collections::{BTreeMap, BTreeSet};

use clipsieve_operators::regions::safe_crop::{DEFAULT_MIN_AREA, DEFAULT_MIN_SIDE_PX, safe_crop};
use serde_json::{Map, Value as Json, json};

use super::binary::{Scored, Threshold};
use super::boxes::{Found, Tally, holds, iou, share};
use super::labels::{Label, LabelBox, REGIONS, Rect, Truth};
use super::rows::{Answer, Reading, Rows};
use crate::words::counted;

/// What the user asked for beside the labels.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// A threshold of at least this precision, 0 to 1.
    pub precision: Option<f64>,
    /// A threshold of at least this recall, 0 to 1.
    pub recall: Option<f64>,
    /// Readings of tasks beside those found by the rule: task and reading.
    pub readings: Vec<(String, Reading)>,
}

/// The whole report.
pub struct Report {
    /// One for each task and entry of `info` that answers it.
    pub filters: Vec<Filter>,
    /// Tasks with labels that no entry of any row answers.
    pub unanswered: Vec<String>,
    /// Regions and crops, if the labels have any.
    pub regions: Option<Regions>,
    /// What could not be judged.
    pub left_out: LeftOut,
    /// How many labels, and how many rows, there are.
    pub counts: (usize, usize),
}

/// One entry of `info` held against one task's labels.
pub struct Filter {
    /// The task.
    pub task: String,
    /// The entry.
    pub key: String,
    /// Which label of the entry was taken as the positive one.
    pub positive: String,
    /// The scores, with what is true.
    pub scored: Scored,
    /// What the program's own verdict is worth: the outcome at 0.5. `None` for numbers that are no probabilities.
    pub as_judged: Option<Threshold>,
    /// For each kind of defect that labels name, how many there are and their AUC against all that is clean.
    pub kinds: Vec<(String, usize, Option<f64>)>,
    /// Labelled rows without a score, with the reason.
    pub unscored: Vec<(String, String)>,
}

/// How regions were found and cropped away.
#[derive(Default)]
pub struct Regions {
    /// Videos that were judged.
    pub videos: usize,
    /// Boxes by class.
    pub classes: BTreeMap<String, Tally>,
    /// All boxes, each in its class.
    pub all: Tally,
    /// All boxes, whatever their class.
    pub any_class: Tally,
    /// Sum of the crops' IoU with the largest clean rectangle, and of how many.
    crop_iou: (f64, usize),
    /// Videos with labelled regions that were cropped.
    pub crops: usize,
    /// Those of them whose crop holds a labelled region still.
    pub holding: Vec<String>,
    /// Videos that were not cropped though there is a clean rectangle to crop to.
    pub missed: Vec<String>,
    /// Videos with labelled regions that leave no clean rectangle, and that were rightly not cropped.
    pub covered: usize,
    /// Videos without labelled regions that were cropped all the same.
    pub clean_cropped: Vec<String>,
    /// Videos without labelled regions whose kept frame is known.
    pub clean: usize,
    /// Labelled rows without regions, with the reason.
    pub unscored: Vec<(String, String)>,
    /// Labelled rows that have regions but do not say what was kept.
    pub uncropped: usize,
}

impl Regions {
    /// Mean IoU of what was kept with the largest clean rectangle.
    pub fn crop_iou(&self) -> Option<f64> {
        (self.crop_iou.1 > 0).then(|| self.crop_iou.0 / self.crop_iou.1 as f64)
    }
}

/// Labels and rows that were not judged.
#[derive(Default)]
pub struct LeftOut {
    /// Labels without a row, as `file (line N)`.
    pub without_row: Vec<String>,
    /// Labels that fit several rows.
    pub ambiguous: Vec<String>,
    /// Labels of one row and task that say different things, or the same twice.
    pub repeated: Vec<String>,
    /// Rows without a label.
    pub without_label: Vec<String>,
    /// Rows that failed, with or without a label.
    pub failed: Vec<(String, String)>,
}

/// The whole of a frame.
const WHOLE: Rect = [0.0, 0.0, 1.0, 1.0];

/// Holds rows against labels.
pub fn report(rows: &Rows, labels: &[Label], wishes: &Wishes) -> Report {
    let mut left_out = LeftOut::default();
    let mut by_task: BTreeMap<&str, BTreeMap<usize, &Label>> = BTreeMap::new();
    let mut labelled = BTreeSet::new();
    for label in labels {
        let told = format!("{} (line {})", label.file, label.line);
        let row = match rows.find(&label.file) {
            Answer::Row(row) => row,
            Answer::Missing => {
                left_out.without_row.push(told);
                continue;
            }
            Answer::Several(count) => {
                left_out
                    .ambiguous
                    .push(format!("{told}: {}", counted(count, "row")));
                continue;
            }
        };
        labelled.insert(row);
        if let Some(first) = by_task.entry(&label.task).or_default().get(&row) {
            left_out.repeated.push(format!(
                "{told}: `{}` as on line {}",
                label.task, first.line
            ));
        } else if let Some(of_task) = by_task.get_mut(label.task.as_str()) {
            of_task.insert(row, label);
        }
    }
    for row in 0..rows.len() {
        if !labelled.contains(&row) {
            left_out.without_label.push(rows.name(row));
        }
        if let Some(failure) = rows.failure(row) {
            left_out.failed.push((rows.name(row), failure));
        }
    }

    let mut filters = Vec::new();
    let mut unanswered = Vec::new();
    for (task, of_task) in by_task.iter().filter(|(task, _)| **task != REGIONS) {
        let own = rows.entries_of(task).into_iter().map(Reading::of);
        let named = wishes.readings.iter().filter(|(of, _)| of == task);
        let readings: Vec<Reading> = own.chain(named.map(|(_, r)| r.clone())).collect();
        if readings.is_empty() {
            unanswered.push((*task).to_string());
        }
        filters.extend(
            readings
                .iter()
                .map(|reading| filter(rows, task, reading, of_task)),
        );
    }
    let regions = by_task.get(REGIONS).map(|of_task| regions(rows, of_task));
    Report {
        filters,
        unanswered,
        regions,
        left_out,
        counts: (labels.len(), rows.len()),
    }
}

fn reason(rows: &Rows, row: usize, missing: &str) -> (String, String) {
    let why = rows.failure(row).unwrap_or_else(|| missing.to_string());
    (rows.name(row), why)
}

fn filter(rows: &Rows, task: &str, reading: &Reading, labels: &BTreeMap<usize, &Label>) -> Filter {
    let mut scores = Vec::new();
    let mut kinds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut positive = reading.label.clone().unwrap_or_default();
    let mut unscored = Vec::new();
    for (row, label) in labels {
        let Truth::Binary(truth) = label.truth else {
            continue;
        };
        match rows.score(*row, task, reading) {
            Some(score) => {
                scores.push((score.value, truth));
                positive = score.positive;
                if let (true, Some(kind)) = (truth, &label.kind) {
                    kinds.entry(kind).or_default().push(score.value);
                }
            }
            None => unscored.push(reason(rows, *row, &format!("no `info.{}`", reading.key))),
        }
    }
    let clean: Vec<f64> = scores
        .iter()
        .filter(|(_, truth)| !truth)
        .map(|(s, _)| *s)
        .collect();
    let against_clean = |of_kind: &[f64]| {
        let pairs = of_kind.iter().map(|s| (*s, true));
        Scored::new(pairs.chain(clean.iter().map(|s| (*s, false)))).auc()
    };
    let kinds = kinds
        .iter()
        .map(|(kind, scores)| ((*kind).to_string(), scores.len(), against_clean(scores)))
        .collect();
    let probabilities = scores.iter().all(|(score, _)| (0.0..=1.0).contains(score));
    let scored = Scored::new(scores);
    Filter {
        task: task.to_string(),
        key: reading.key.clone(),
        positive,
        as_judged: (probabilities && !scored.is_empty()).then(|| scored.at(0.5)),
        scored,
        kinds,
        unscored,
    }
}

fn regions(rows: &Rows, labels: &BTreeMap<usize, &Label>) -> Regions {
    let mut sum = Regions::default();
    for (row, label) in labels {
        let Truth::Regions { boxes, safe_crop } = &label.truth else {
            continue;
        };
        let Some(found) = rows.regions(*row) else {
            let missing = "no `info.abnormal_region_info`";
            sum.unscored.push(reason(rows, *row, missing));
            continue;
        };
        sum.videos += 1;
        sum.boxes(&found, boxes);
        match (rows.kept(*row), rows.frame_px(*row)) {
            (Some(kept), Some(frame_px)) => {
                let name = rows.name(*row);
                let clean = safe_crop.unwrap_or_else(|| largest_clean(boxes, frame_px));
                sum.crop_iou.0 += iou(kept.rect, clean);
                sum.crop_iou.1 += 1;
                if boxes.is_empty() {
                    sum.clean += 1;
                    sum.clean_cropped.extend(kept.cropped.then_some(name));
                } else if kept.cropped {
                    sum.crops += 1;
                    sum.holding.extend(holds(kept.rect, boxes).then_some(name));
                } else if clean == WHOLE {
                    sum.covered += 1;
                } else {
                    sum.missed.push(name);
                }
            }
            _ => sum.uncropped += 1,
        }
    }
    sum
}

impl Regions {
    fn boxes(&mut self, found: &[Found], labelled: &[LabelBox]) {
        let classes: BTreeSet<&str> = found
            .iter()
            .map(|one| one.class.as_str())
            .chain(labelled.iter().map(|label| label.class.as_str()))
            .collect();
        for class in classes {
            let found: Vec<&Found> = found.iter().filter(|one| one.class == class).collect();
            let labelled: Vec<_> = labelled.iter().filter(|one| one.class == class).collect();
            let tally = self.classes.entry(class.to_string()).or_default();
            tally.add(&found, &labelled, false);
        }
        let (found, labelled): (Vec<_>, Vec<_>) =
            (found.iter().collect(), labelled.iter().collect());
        self.all.add(&found, &labelled, false);
        self.any_class.add(&found, &labelled, true);
    }
}

/// The largest rectangle free of the labelled boxes, as `crop_upload` would cut it by default; the whole frame where that
/// would be refused.
fn largest_clean(boxes: &[LabelBox], [width, height]: [f64; 2]) -> Rect {
    let in_px: Vec<[f32; 4]> = boxes
        .iter()
        .map(|label| {
            let [x0, y0, x1, y1] = label.rect;
            [x0 * width, y0 * height, x1 * width, y1 * height].map(|edge| edge as f32)
        })
        .collect();
    match safe_crop(
        width as u32,
        height as u32,
        &in_px,
        DEFAULT_MIN_SIDE_PX,
        DEFAULT_MIN_AREA,
    ) {
        Ok(Some(rect)) => {
            let edge = |at: u32, side: f64| f64::from(at) / side;
            [
                edge(rect.x, width),
                edge(rect.y, height),
                edge(rect.x + rect.width, width),
                edge(rect.y + rect.height, height),
            ]
        }
        Ok(None) | Err(_) => WHOLE,
    }
}

impl Report {
    /// The report for machines.
    pub fn to_json(&self, wishes: &Wishes) -> Json {
        let filters: Vec<Json> = self
            .filters
            .iter()
            .map(|filter| filter.to_json(wishes))
            .collect();
        let out = &self.left_out;
        json!({
            "labels": self.counts.0,
            "rows": self.counts.1,
            "filters": filters,
            "unanswered": self.unanswered,
            "regions": self.regions.as_ref().map(Regions::to_json),
            "left_out": {
                "labels_without_row": out.without_row,
                "labels_of_several_rows": out.ambiguous,
                "repeated_labels": out.repeated,
                "rows_without_label": out.without_label,
                "failed_rows": told(&out.failed),
            },
        })
    }
}

fn told(reasons: &[(String, String)]) -> Json {
    let told = |(file, why): &(String, String)| json!({"file": file, "why": why});
    Json::Array(reasons.iter().map(told).collect())
}

impl Filter {
    /// Average precision; `None` without negatives too, where it is 1 whatever the scores.
    pub fn average_precision(&self) -> Option<f64> {
        self.scored
            .average_precision()
            .filter(|_| self.scored.missing().is_none())
    }

    /// The threshold of at least this precision that finds most; `None` too if a kind of label is missing.
    pub fn for_precision(&self, wanted: f64) -> Option<Threshold> {
        self.scored
            .for_precision(wanted)
            .filter(|_| self.scored.missing().is_none())
    }

    /// The highest threshold of at least this recall; `None` too if a kind of label is missing.
    pub fn for_recall(&self, wanted: f64) -> Option<Threshold> {
        self.scored
            .for_recall(wanted)
            .filter(|_| self.scored.missing().is_none())
    }

    fn to_json(&self, wishes: &Wishes) -> Json {
        let kinds: Map<String, Json> = self
            .kinds
            .iter()
            .map(|(kind, count, auc)| (kind.clone(), json!({"positives": count, "auc": auc})))
            .collect();
        json!({
            "task": self.task,
            "key": self.key,
            "positive_label": self.positive,
            "scored": self.scored.len(),
            "positives": self.scored.positives(),
            "auc": self.scored.auc(),
            "average_precision": self.average_precision(),
            "missing": self.scored.missing(),
            "at_0.5": self.as_judged.map(threshold),
            "best_accuracy": self.scored.best().map(threshold),
            "for_precision": wishes.precision.map(|wanted| json!({
                "wanted": wanted, "threshold": self.for_precision(wanted).map(threshold)})),
            "for_recall": wishes.recall.map(|wanted| json!({
                "wanted": wanted, "threshold": self.for_recall(wanted).map(threshold)})),
            "kinds": kinds,
            "unscored": told(&self.unscored),
        })
    }
}

/// An infinite threshold is `null`: JSON has no such number.
fn threshold(threshold: Threshold) -> Json {
    json!({
        "at": threshold.at,
        "accuracy": threshold.accuracy,
        "precision": threshold.precision,
        "recall": threshold.recall,
    })
}

impl Regions {
    fn to_json(&self) -> Json {
        let classes: Map<String, Json> = self
            .classes
            .iter()
            .map(|(class, of_class)| (class.clone(), tally(of_class)))
            .collect();
        json!({
            "videos": self.videos,
            "classes": classes,
            "all": tally(&self.all),
            "any_class": tally(&self.any_class),
            "crop": {
                "judged": self.crop_iou.1,
                "mean_iou": self.crop_iou(),
                "cropped": self.crops,
                "still_holding_a_region": self.holding,
                "share_still_holding": share(self.holding.len(), self.crops),
                "not_cropped_but_could_be": self.missed,
                "share_not_cropped": share(self.missed.len(), self.crops + self.missed.len()),
                "no_clean_rectangle": self.covered,
                "clean": self.clean,
                "clean_but_cropped": self.clean_cropped,
                "share_of_clean_cropped": share(self.clean_cropped.len(), self.clean),
                "without_crop": self.uncropped,
            },
            "unscored": told(&self.unscored),
        })
    }
}

fn tally(tally: &Tally) -> Json {
    json!({
        "labelled": tally.labelled,
        "found": tally.found,
        "matched": tally.matched,
        "recall": tally.recall(),
        "precision": tally.precision(),
        "average_precision": tally.average_precision(),
    })
}
