//! `validate`: how well models, and signals beside them, tell the labels of validation clips apart; and the models'
//! cards, which are written from those numbers and never by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clipsieve_models::{Classifier, DeviceChoice, Precision, set_threads};
use ndarray::{ArrayView3, Axis};
use serde_json::{Map, Value, json};

use crate::dataset::{Dataset, NOT_JUDGED, Split};
use crate::error::Error;
use crate::ranking::{auc, average_precision};

/// The card's file in a model's folder.
const CARD: &str = "README.md";
/// The part of a card that a person writes is above this line, and stays.
const MEASURED: &str = "<!-- below this line `clipsieve-training validate --cards` writes -->";
/// Clips that go through a model together.
const BATCH: usize = 16;

/// Arguments of `validate`.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of classifiers, named as their tasks: vfx, simcam, low_quality, rotation
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Folder that `generate` filled
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// Write each model's card
    #[arg(long)]
    cards: bool,
    /// Write every score to this JSON Lines file, beside labels and signals
    #[arg(long)]
    scores: Option<PathBuf>,
    /// Threads of the network
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Runs `validate`.
///
/// # Errors
/// If a model or the cache cannot be read, or they do not fit each other.
pub fn run(args: &Args) -> Result<(), Error> {
    set_threads(args.threads);
    let mut lines = String::new();
    for folder in &args.models {
        let report = Report::of(folder, &args.cache, &mut lines)?;
        print!("{}", report.text());
        if args.cards {
            report.write_card(folder)?;
        }
    }
    if let Some(path) = &args.scores {
        fs::write(path, lines).map_err(Error::io("writing", path))?;
    }
    Ok(())
}

/// The scores of one kind of clip.
#[derive(Default)]
struct Kind {
    scores: Vec<f32>,
    defect: bool,
}

/// What one model does on the validation clips of its task.
struct Report {
    task: String,
    labels: Vec<String>,
    seed: u64,
    parameters: u64,
    flops: u64,
    frames: usize,
    size: usize,
    kinds: BTreeMap<String, Kind>,
    /// AUC of each signal alone, in the direction in which it is better; the best first.
    signals: Vec<(String, f64)>,
}

impl Report {
    fn of(folder: &Path, cache: &Path, lines: &mut String) -> Result<Self, Error> {
        let task = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let set = if task == "rotation" {
            "rotation"
        } else {
            "shared"
        };
        let dataset = Dataset::open(cache, set, Split::Val)?;
        let column = dataset.task(&task)?;
        let cpu = DeviceChoice::Cpu.resolve(0)?;
        let model = Classifier::load(folder, &cpu, Precision::F32)?;
        let defect = model.labels().len() - 1;
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        let mut signals: Vec<[Vec<f32>; 2]> = vec![Default::default(); dataset.names.signals.len()];
        for number in 0..dataset.len() {
            let shard = dataset.shard(number)?;
            let judged: Vec<usize> = (0..shard.len())
                .filter(|&row| shard.labels[[row, column]] != NOT_JUDGED)
                .collect();
            for rows in judged.chunks(BATCH) {
                let clips: Vec<_> = rows
                    .iter()
                    .map(|&row| shard.frames.index_axis(Axis(0), row))
                    .collect();
                let frames: Vec<Vec<ArrayView3<'_, u8>>> = clips
                    .iter()
                    .map(|clip| clip.outer_iter().collect())
                    .collect();
                let views: Vec<_> = frames.iter().map(Vec::as_slice).collect();
                for (&row, scores) in rows.iter().zip(model.scores(&views)?) {
                    let note = &shard.notes[row];
                    let label = shard.labels[[row, column]];
                    let name = note.kinds.get(&task).map_or("clip", String::as_str);
                    let name = if label == 1 {
                        name.to_owned()
                    } else {
                        format!("clean: {name}")
                    };
                    let kind = kinds.entry(name).or_default();
                    kind.scores.push(scores[defect]);
                    kind.defect = label == 1;
                    for (signal, values) in signals.iter_mut().enumerate() {
                        let value = shard.signals[[row, signal]];
                        if !value.is_nan() {
                            values[usize::from(label == 1)].push(value);
                        }
                    }
                    let line = line_of(&task, note, label, scores[defect], &dataset, &shard, row);
                    let _ = writeln!(lines, "{line}");
                }
            }
        }
        let names = &dataset.names.signals;
        let mut signals: Vec<(String, f64)> = names
            .iter()
            .zip(&signals)
            .filter_map(|(name, [clean, defect])| {
                let area = auc(defect, clean)?;
                Some((name.clone(), area.max(1.0 - area)))
            })
            .collect();
        signals.sort_by(|a, b| b.1.total_cmp(&a.1));
        let config = model.config();
        Ok(Self {
            task,
            labels: model.labels().to_vec(),
            seed: dataset.names.seed,
            parameters: model.parameters().count(),
            flops: config.flops(model.preprocess().frames),
            frames: model.preprocess().frames,
            size: model.preprocess().size,
            kinds,
            signals,
        })
    }

    /// The scores of all clips with the defect, or of all without.
    fn scores(&self, defect: bool) -> Vec<f32> {
        let of = self.kinds.values().filter(|kind| kind.defect == defect);
        of.flat_map(|kind| kind.scores.iter().copied()).collect()
    }

    /// The measured part of a card, in Markdown.
    fn text(&self) -> String {
        let (clean, defects) = (self.scores(false), self.scores(true));
        let mut text = String::new();
        let percent = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
        };
        let _ = writeln!(text, "## Validation of `{}`\n", self.task);
        let _ = writeln!(
            text,
            "{} clips with the defect and {} without, made with seed {} from sources that training never saw. \
             **AUC {}, average precision {}** (chance: 0.5, and {:.3}).\n",
            defects.len(),
            clean.len(),
            self.seed,
            percent(auc(&defects, &clean)),
            percent(average_precision(&defects, &clean)),
            defects.len() as f64 / (defects.len() + clean.len()).max(1) as f64,
        );
        let _ = writeln!(
            text,
            "Score: the probability of `{}`. {} frames of {} x {} px, {:.2} M numbers, {:.2} GFLOP a clip.\n",
            self.labels.last().map_or("", String::as_str),
            self.frames,
            self.size,
            self.size,
            self.parameters as f64 / 1e6,
            self.flops as f64 / 1e9,
        );
        let _ = writeln!(
            text,
            "| defect | clips | AUC against all clean | average precision |"
        );
        let _ = writeln!(text, "|---|--:|--:|--:|");
        let mut rows: Vec<(&String, &Kind, Option<f64>)> = self
            .kinds
            .iter()
            .filter(|(_, kind)| kind.defect)
            .map(|(name, kind)| (name, kind, auc(&kind.scores, &clean)))
            .collect();
        rows.sort_by(|a, b| a.2.unwrap_or(0.0).total_cmp(&b.2.unwrap_or(0.0)));
        for (name, kind, area) in &rows {
            let precision = percent(average_precision(&kind.scores, &clean));
            let count = kind.scores.len();
            let _ = writeln!(
                text,
                "| {name} | {count} | {} | {precision} |",
                percent(*area)
            );
        }
        let _ = writeln!(text, "\n| clean | clips | AUC of all defects against it |");
        let _ = writeln!(text, "|---|--:|--:|");
        let mut rows: Vec<(&String, &Kind, Option<f64>)> = self
            .kinds
            .iter()
            .filter(|(_, kind)| !kind.defect)
            .map(|(name, kind)| (name, kind, auc(&defects, &kind.scores)))
            .collect();
        rows.sort_by(|a, b| a.2.unwrap_or(0.0).total_cmp(&b.2.unwrap_or(0.0)));
        for (name, kind, area) in rows {
            let name = name.trim_start_matches("clean: ");
            let _ = writeln!(
                text,
                "| {name} | {} | {} |",
                kind.scores.len(),
                percent(area)
            );
        }
        let best: Vec<String> = self
            .signals
            .iter()
            .take(5)
            .map(|(name, area)| format!("`{name}` {area:.3}"))
            .collect();
        let _ = writeln!(
            text,
            "\nSingle signals of `measure` on the same clips, in the better direction: {}.\n",
            best.join(", ")
        );
        text
    }

    /// Replaces the measured part of the card in a model's folder.
    fn write_card(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(CARD);
        let written = fs::read_to_string(&path).unwrap_or_else(|_| format!("# {}\n\n", self.task));
        let kept = written.split(MEASURED).next().unwrap_or_default();
        let card = format!("{}\n\n{MEASURED}\n\n{}", kept.trim_end(), self.text());
        fs::write(&path, card.trim_end().to_owned() + "\n").map_err(Error::io("writing", &path))
    }
}

/// One clip's score with all that is known of the clip, as JSON.
fn line_of(
    task: &str,
    note: &crate::dataset::Note,
    label: u8,
    score: f32,
    dataset: &Dataset,
    shard: &crate::dataset::Shard,
    row: usize,
) -> Value {
    let signals: Map<String, Value> = dataset
        .names
        .signals
        .iter()
        .enumerate()
        .map(|(signal, name)| (name.clone(), json!(shard.signals[[row, signal]])))
        .collect();
    json!({
        "task": task,
        "index": note.index,
        "source": note.source,
        "kind": note.kinds.get(task),
        "label": label,
        "score": score,
        "signals": signals,
    })
}
