//! `fit-combine`: the rule of a model's `combine.json`, from validation clips that the network never saw.
//!
//! The network's log-odds and the signals go into a logistic regression with squares, and on top of it some small trees
//! (gradient boosting: Friedman, "Greedy function approximation", 2001). How good a rule is, is judged on sources that it was
//! not fitted on, five parts in turn; the form that does best there is fitted on all clips and written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clipsieve_models::ModelConfig;
use clipsieve_operators::rule::{Input, NETWORK, RULE_FILE, Rule, Tree, log_odds};
use serde::Deserialize;

use crate::chance::{Chance, fnv};
use crate::dataset::{Dataset, NOT_JUDGED, Split};
use crate::error::Error;
use crate::ranking::auc;

/// Parts of the sources, each judged by a rule fitted on the others.
const FOLDS: u64 = 5;
/// Rounds of boosting, and how much of each is taken.
const ROUNDS: usize = 120;
const RATE: f64 = 0.12;
/// Quantiles at which a tree may ask.
const THRESHOLDS: usize = 15;
/// A leaf that fewer clips reach weighs little: added to each leaf's curvature.
const LEAF_PRIOR: f64 = 8.0;
/// Strength of the pull of each weight to 0.
const RIDGE: f64 = 6.0;

/// Arguments of `fit-combine`.
#[derive(clap::Args)]
pub struct Args {
    /// The task: vfx, simcam, low_quality, rotation
    task: String,
    /// What `validate --scores` wrote; without it, the rule is fitted to the cache's signals alone
    #[arg(long)]
    scores: Option<PathBuf>,
    /// Folder that `generate` filled, for rules without a network
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// Signals that the rule may use at most; the best are kept
    #[arg(long, default_value_t = 14)]
    signals: usize,
    /// Folder of the model, which gets `combine.json`; without it nothing is written
    #[arg(long)]
    out: Option<PathBuf>,
    /// The label whose probability the rule gives [default: the model's last]
    #[arg(long)]
    label: Option<String>,
}

/// A clip, as `validate --scores` writes it.
#[derive(Deserialize)]
struct Line {
    task: String,
    source: String,
    kind: Option<String>,
    label: u8,
    score: f64,
    signals: BTreeMap<String, Option<f64>>,
}

/// A clip to fit on.
struct Clip {
    fold: u64,
    kind: String,
    is_defect: bool,
    /// One an input; NaN where there is none.
    values: Vec<f64>,
}

/// Runs `fit-combine`.
pub fn run(args: &Args) -> Result<(), Error> {
    let (names, clips) = match &args.scores {
        Some(path) => from_scores(path, &args.task)?,
        None => from_cache(&args.cache, &args.task)?,
    };
    let defects = clips.iter().filter(|clip| clip.is_defect).count();
    if defects < 50 || clips.len() - defects < 50 {
        return Err(Error::Usage(format!(
            "{} clips with `{}` and {} without: too few to fit a rule on",
            defects,
            args.task,
            clips.len() - defects
        )));
    }
    println!(
        "{}: {} clips, {defects} with the defect",
        args.task,
        clips.len()
    );
    alone(&names, &clips);
    let all: Vec<usize> = (0..names.len()).collect();
    let kept = best_inputs(&clips, &all, &names, args.signals);
    let mut best: Option<(f64, usize)> = None;
    for rounds in [0, 30, 60, ROUNDS] {
        let scores = out_of_fold(&clips, &kept, rounds);
        let area = area(&clips, &scores);
        println!(
            "{:<28} AUC {area:.4} on sources held out",
            format!("linear and squares, {rounds} trees")
        );
        if best.is_none_or(|(most, _)| area > most + 5e-4) {
            best = Some((area, rounds));
        }
    }
    let (_, rounds) = best.unwrap_or((0.0, 0));
    by_kind(&clips, &out_of_fold(&clips, &kept, rounds));
    let whole: Vec<&Clip> = clips.iter().collect();
    let label = match (&args.label, &args.out) {
        (Some(label), _) => label.clone(),
        (None, Some(folder)) => ModelConfig::read(folder)?.labels.pop().unwrap_or_default(),
        (None, None) => args.task.clone(),
    };
    let rule = Fit::of(&whole, &kept, rounds).rule(&label, &names);
    let names: Vec<&str> = rule
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    println!("inputs: {}", names.join(", "));
    if let Some(folder) = &args.out {
        let path = folder.join(RULE_FILE);
        let text =
            serde_json::to_string_pretty(&rule).map_err(|error| Error::file(&path, error))?;
        fs::write(&path, text + "\n").map_err(Error::io("writing", &path))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The part that a source belongs to: what shares a photograph or a film stays together.
fn fold(source: &str) -> u64 {
    let first = source.split('+').next().unwrap_or_default();
    Chance::of(0, "fold", fnv(first.as_bytes())).bits() % FOLDS
}

fn from_scores(path: &PathBuf, task: &str) -> Result<(Vec<String>, Vec<Clip>), Error> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let mut names = Vec::new();
    let mut clips = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| Error::file(path, error))?;
        if line.task != task {
            continue;
        }
        if names.is_empty() {
            names.push(NETWORK.to_owned());
            names.extend(line.signals.keys().cloned());
        }
        let mut values = vec![log_odds(line.score)];
        let of = |name: &String| {
            line.signals
                .get(name)
                .copied()
                .flatten()
                .unwrap_or(f64::NAN)
        };
        values.extend(names[1..].iter().map(of));
        clips.push(Clip {
            fold: fold(&line.source),
            kind: line.kind.unwrap_or_default(),
            is_defect: line.label == 1,
            values,
        });
    }
    Ok((names, clips))
}

fn from_cache(cache: &Path, task: &str) -> Result<(Vec<String>, Vec<Clip>), Error> {
    let set = if task == "rotation" {
        "rotation"
    } else {
        "shared"
    };
    let mut clips = Vec::new();
    let mut names = Vec::new();
    for split in [Split::Train, Split::Val] {
        let Ok(dataset) = Dataset::open(cache, set, split) else {
            continue;
        };
        let column = dataset.task(task)?;
        names.clone_from(&dataset.names.signals);
        for number in 0..dataset.len() {
            let shard = dataset.shard(number)?;
            for (row, note) in shard.notes.iter().enumerate() {
                let label = shard.labels[[row, column]];
                if label != NOT_JUDGED {
                    let values = shard
                        .signals
                        .row(row)
                        .iter()
                        .map(|value| f64::from(*value))
                        .collect();
                    let kind = note.kinds.get(task).cloned().unwrap_or_default();
                    clips.push(Clip {
                        fold: fold(&note.source),
                        kind,
                        is_defect: label == 1,
                        values,
                    });
                }
            }
        }
    }
    if names.is_empty() {
        return Err(Error::file(cache, format!("holds no clips of `{set}`")));
    }
    Ok((names, clips))
}

/// The area under the curve of these scores.
fn area(clips: &[Clip], scores: &[f64]) -> f64 {
    let of = |is_defect: bool| -> Vec<f32> {
        let pairs = clips
            .iter()
            .zip(scores)
            .filter(|(clip, _)| clip.is_defect == is_defect);
        pairs.map(|(_, score)| *score as f32).collect()
    };
    auc(&of(true), &of(false)).unwrap_or(0.5)
}

/// How well each input does alone.
fn alone(names: &[String], clips: &[Clip]) {
    let mut areas: Vec<(f64, &str)> = names
        .iter()
        .enumerate()
        .map(|(input, name)| {
            let of = |is_defect: bool| -> Vec<f32> {
                let of = clips
                    .iter()
                    .filter(|clip| clip.is_defect == is_defect)
                    .map(|clip| clip.values[input]);
                of.filter(|value| value.is_finite())
                    .map(|value| value as f32)
                    .collect()
            };
            let area = auc(&of(true), &of(false)).unwrap_or(0.5);
            (area.max(1.0 - area), name.as_str())
        })
        .collect();
    areas.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (area, name) in areas.iter().take(12) {
        println!("{name:<28} AUC {area:.4} alone");
    }
}

/// How well each kind of defect is told from all clean clips.
fn by_kind(clips: &[Clip], scores: &[f64]) {
    let clean: Vec<f32> = clips
        .iter()
        .zip(scores)
        .filter(|(clip, _)| !clip.is_defect)
        .map(|(_, score)| *score as f32)
        .collect();
    let mut kinds: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    for (clip, score) in clips.iter().zip(scores).filter(|(clip, _)| clip.is_defect) {
        kinds.entry(&clip.kind).or_default().push(*score as f32);
    }
    for (kind, of) in kinds {
        println!(
            "  {kind:<26} AUC {:.4} ({} clips)",
            auc(&of, &clean).unwrap_or(0.5),
            of.len()
        );
    }
}

/// Scores of all clips, each by a rule that was fitted without its part of the sources.
fn out_of_fold(clips: &[Clip], inputs: &[usize], rounds: usize) -> Vec<f64> {
    let mut scores = vec![0.0; clips.len()];
    for fold in 0..FOLDS {
        let others: Vec<&Clip> = clips.iter().filter(|clip| clip.fold != fold).collect();
        if others.is_empty() {
            continue;
        }
        let fit = Fit::of(&others, inputs, rounds);
        for (score, clip) in scores
            .iter_mut()
            .zip(clips)
            .filter(|(_, clip)| clip.fold == fold)
        {
            *score = fit.score(clip);
        }
    }
    scores
}

/// The inputs that trees over all of them gain most by, the network always among them.
fn best_inputs(clips: &[Clip], all: &[usize], names: &[String], most: usize) -> Vec<usize> {
    let whole: Vec<&Clip> = clips.iter().collect();
    let fit = Fit::of(&whole, all, ROUNDS);
    let mut gains: Vec<(f64, usize)> = all
        .iter()
        .map(|input| {
            let weight = fit.weights[2 * input].abs() + 0.5 * fit.weights[2 * input + 1].abs();
            (
                fit.gains[*input] / fit.gains.iter().sum::<f64>().max(1e-9) + 0.02 * weight,
                *input,
            )
        })
        .collect();
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    let has_network = names.first().is_some_and(|name| name == NETWORK);
    let mut kept: Vec<usize> = gains
        .into_iter()
        .map(|(_, input)| input)
        .filter(|input| !(has_network && *input == 0))
        .take(most)
        .collect();
    if has_network {
        kept.push(0);
    }
    kept.sort_unstable();
    kept
}

/// A rule being fitted, over the inputs of these numbers.
struct Fit {
    inputs: Vec<usize>,
    low: Vec<f64>,
    high: Vec<f64>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// Value and square of each input in turn, then one a missing input, then the bias.
    weights: Vec<f64>,
    trees: Vec<Tree>,
    gains: Vec<f64>,
}

impl Fit {
    fn of(clips: &[&Clip], inputs: &[usize], rounds: usize) -> Self {
        let mut fit = Self {
            inputs: inputs.to_vec(),
            low: Vec::new(),
            high: Vec::new(),
            mean: Vec::new(),
            deviation: Vec::new(),
            weights: Vec::new(),
            trees: Vec::new(),
            gains: vec![0.0; inputs.len()],
        };
        for input in inputs {
            let mut values: Vec<f64> = clips
                .iter()
                .map(|clip| clip.values[*input])
                .filter(|value| value.is_finite())
                .collect();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| {
                values
                    .get((share * values.len().saturating_sub(1) as f64) as usize)
                    .copied()
                    .unwrap_or(0.0)
            };
            let (low, high) = (at(0.01), at(0.99));
            let held: Vec<f64> = values.iter().map(|value| value.clamp(low, high)).collect();
            let count = held.len().max(1) as f64;
            let mean = held.iter().sum::<f64>() / count;
            let variance = held.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            fit.low.push(low);
            fit.high.push(high);
            fit.mean.push(mean);
            fit.deviation.push(variance.sqrt().max(1e-6));
        }
        let rows: Vec<Vec<f64>> = clips.iter().map(|clip| fit.row(clip)).collect();
        let truth: Vec<f64> = clips
            .iter()
            .map(|clip| f64::from(u8::from(clip.is_defect)))
            .collect();
        fit.weights = logistic_regression(&rows, &truth);
        let mut sums: Vec<f64> = rows.iter().map(|row| dot(row, &fit.weights)).collect();
        let standard: Vec<Vec<f64>> = clips.iter().map(|clip| fit.standard(clip)).collect();
        let thresholds = thresholds(&standard, inputs.len());
        for _ in 0..rounds {
            let (tree, gains) = grow(&standard, &truth, &sums, &thresholds);
            for (sum, values) in sums.iter_mut().zip(&standard) {
                *sum += tree.adds(values);
            }
            fit.gains
                .iter_mut()
                .zip(gains)
                .for_each(|(sum, gain)| *sum += gain);
            fit.trees.push(tree);
        }
        fit
    }

    /// Standardised values; 0 where there is none.
    fn standard(&self, clip: &Clip) -> Vec<f64> {
        let of = |(place, input): (usize, &usize)| {
            let value = clip.values[*input];
            if value.is_finite() {
                (value.clamp(self.low[place], self.high[place]) - self.mean[place])
                    / self.deviation[place]
            } else {
                0.0
            }
        };
        self.inputs.iter().enumerate().map(of).collect()
    }

    /// What the regression sees of a clip.
    fn row(&self, clip: &Clip) -> Vec<f64> {
        let standard = self.standard(clip);
        let mut row = Vec::with_capacity(3 * standard.len() + 1);
        let is_there = |place: usize| clip.values[self.inputs[place]].is_finite();
        for value in &standard {
            row.extend([*value, value * value]);
        }
        row.extend((0..standard.len()).map(|place| f64::from(u8::from(!is_there(place)))));
        row.push(1.0);
        row
    }

    fn score(&self, clip: &Clip) -> f64 {
        let standard = self.standard(clip);
        dot(&self.row(clip), &self.weights)
            + self
                .trees
                .iter()
                .map(|tree| tree.adds(&standard))
                .sum::<f64>()
    }

    fn rule(&self, label: &str, names: &[String]) -> Rule {
        let short = |number: f64| (number * 1e5).round() / 1e5;
        let count = self.inputs.len();
        let inputs = self.inputs.iter().enumerate().map(|(place, input)| Input {
            name: names[*input].clone(),
            low: self.low[place],
            high: self.high[place],
            mean: self.mean[place],
            deviation: self.deviation[place],
            weight: short(self.weights[2 * place]),
            square: short(self.weights[2 * place + 1]),
            missing: short(self.weights[2 * count + place]),
        });
        let trees = self.trees.iter().map(|tree| Tree {
            splits: tree
                .splits
                .map(|(input, threshold)| (input, short(threshold))),
            leaves: tree.leaves.map(short),
        });
        Rule {
            label: label.to_owned(),
            bias: short(self.weights[3 * count]),
            inputs: inputs.collect(),
            trees: trees.collect(),
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn logistic(sum: f64) -> f64 {
    1.0 / (1.0 + (-sum).exp())
}

/// Weights of the ridge logistic regression, the last one (the bias) free: Newton's steps.
fn logistic_regression(rows: &[Vec<f64>], truth: &[f64]) -> Vec<f64> {
    let n = rows.first().map_or(0, Vec::len);
    let mut weights = vec![0.0; n];
    for _ in 0..12 {
        let mut normal = vec![vec![0.0; n + 1]; n];
        for (row, truth) in rows.iter().zip(truth) {
            let p = logistic(dot(row, &weights));
            let curvature = (p * (1.0 - p)).max(1e-4);
            for i in 0..n {
                if row[i] == 0.0 {
                    continue;
                }
                let scaled = curvature * row[i];
                for j in i..n {
                    normal[i][j] += scaled * row[j];
                }
                normal[i][n] += (truth - p) * row[i];
            }
        }
        for i in 0..n {
            let ridge = if i + 1 == n { 1e-6 } else { RIDGE };
            normal[i][i] += ridge;
            normal[i][n] -= ridge * weights[i];
            let above: Vec<f64> = normal[..i].iter().map(|row| row[i]).collect();
            normal[i][..i].copy_from_slice(&above);
        }
        let steps = solved(normal);
        let most = steps.iter().fold(0.0f64, |most, step| most.max(step.abs()));
        weights
            .iter_mut()
            .zip(&steps)
            .for_each(|(weight, step)| *weight += step * (2.0 / most).min(1.0));
        if most < 1e-5 {
            break;
        }
    }
    weights
}

/// Solves a symmetric positive system, its right side as last column, by elimination.
fn solved(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for i in 0..n {
        let (above, below) = rows.split_at_mut(i + 1);
        let pivot = &above[i];
        for row in below {
            let factor = row[i] / pivot[i];
            for (entry, of_pivot) in row.iter_mut().zip(pivot).skip(i) {
                *entry -= factor * of_pivot;
            }
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    solution
}

/// Quantiles of each input.
fn thresholds(standard: &[Vec<f64>], inputs: usize) -> Vec<Vec<f64>> {
    (0..inputs)
        .map(|input| {
            let mut values: Vec<f64> = standard.iter().map(|row| row[input]).collect();
            values.sort_by(f64::total_cmp);
            let mut found: Vec<f64> = (1..=THRESHOLDS)
                .map(|k| values[k * (values.len() - 1) / (THRESHOLDS + 1)])
                .collect();
            found.dedup();
            found
        })
        .collect()
}

/// The best question for these clips: input, threshold, gain.
fn best_split(
    standard: &[Vec<f64>],
    members: &[usize],
    gradient: &[f64],
    curvature: &[f64],
    thresholds: &[Vec<f64>],
) -> (usize, f64, f64) {
    let total = members.iter().fold((0.0, 0.0), |sum, at| {
        (sum.0 + gradient[*at], sum.1 + curvature[*at])
    });
    let worth = |(g, h): (f64, f64)| g * g / (h + LEAF_PRIOR);
    let mut best = (0, f64::INFINITY, 0.0);
    for (input, thresholds) in thresholds.iter().enumerate() {
        // Sums by the number of thresholds that a value is above.
        let mut sums = vec![(0.0, 0.0); thresholds.len() + 1];
        for at in members {
            let value = standard[*at][input];
            let place = thresholds.partition_point(|threshold| *threshold < value);
            sums[place].0 += gradient[*at];
            sums[place].1 += curvature[*at];
        }
        let mut below = (0.0, 0.0);
        for (place, threshold) in thresholds.iter().enumerate() {
            below = (below.0 + sums[place].0, below.1 + sums[place].1);
            let above = (total.0 - below.0, total.1 - below.1);
            let gain = worth(below) + worth(above) - worth(total);
            if gain > best.2 {
                best = (input, *threshold, gain);
            }
        }
    }
    best
}

/// One tree that lowers the loss most, greedily, and what each input gained by it.
fn grow(
    standard: &[Vec<f64>],
    truth: &[f64],
    sums: &[f64],
    thresholds: &[Vec<f64>],
) -> (Tree, Vec<f64>) {
    let probabilities: Vec<f64> = sums.iter().map(|sum| logistic(*sum)).collect();
    let gradient: Vec<f64> = truth
        .iter()
        .zip(&probabilities)
        .map(|(truth, p)| truth - p)
        .collect();
    let curvature: Vec<f64> = probabilities.iter().map(|p| p * (1.0 - p)).collect();
    let all: Vec<usize> = (0..standard.len()).collect();
    let mut gains = vec![0.0; thresholds.len()];
    let mut ask = |members: &[usize]| {
        let (input, threshold, gain) =
            best_split(standard, members, &gradient, &curvature, thresholds);
        gains[input] += gain;
        let threshold = if threshold.is_finite() {
            threshold
        } else {
            1e9
        };
        let (above, below): (Vec<usize>, Vec<usize>) = members
            .iter()
            .partition(|at| standard[**at][input] > threshold);
        ((input, threshold), below, above)
    };
    let (first, below, above) = ask(&all);
    let (second, a, b) = ask(&below);
    let (third, c, d) = ask(&above);
    let leaf = |members: &Vec<usize>| {
        let sum = members.iter().fold((0.0, 0.0), |sum, at| {
            (sum.0 + gradient[*at], sum.1 + curvature[*at])
        });
        RATE * sum.0 / (sum.1 + LEAF_PRIOR)
    };
    let leaves = [leaf(&a), leaf(&b), leaf(&c), leaf(&d)];
    (
        Tree {
            splits: [first, second, third],
            leaves,
        },
        gains,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clips whose label is that of two inputs together (one above, the other not), hidden in noise.
    fn clips() -> Vec<Clip> {
        let mut chance = Chance::new(4);
        (0..1200)
            .map(|k| {
                let values: Vec<f64> = (0..5).map(|_| f64::from(chance.normal())).collect();
                let is_defect = (values[1] > 0.0) != (values[3] > 0.0);
                let missing = if k % 9 == 0 { f64::NAN } else { values[4] };
                Clip {
                    fold: k % FOLDS,
                    kind: "both".to_owned(),
                    is_defect,
                    values: vec![values[0], values[1], values[2], values[3], missing],
                }
            })
            .collect()
    }

    #[test]
    fn trees_find_what_needs_two_inputs_and_the_written_rule_scores_the_same() {
        let clips = clips();
        let all = [0, 1, 2, 3, 4];
        let linear = area(&clips, &out_of_fold(&clips, &all, 0));
        let trees = area(&clips, &out_of_fold(&clips, &all, 60));
        assert!(linear < 0.65, "{linear}");
        assert!(trees > 0.95, "{trees}");
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let kept = best_inputs(&clips, &all, &names, 2);
        assert_eq!(kept, [1, 3]);
        let whole: Vec<&Clip> = clips.iter().collect();
        let fit = Fit::of(&whole, &all, 60);
        let rule = fit.rule("bad", &names);
        for clip in clips.iter().take(50) {
            let of = |name: &str| {
                names
                    .iter()
                    .position(|other| other == name)
                    .map(|at| clip.values[at])
            };
            let off = rule.probability(of) - logistic(fit.score(clip));
            assert!(off.abs() < 1e-3, "{off}");
        }
    }
}
