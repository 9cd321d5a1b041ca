//! `fit-combine`: the rule of a model's `combine.json`.
//!
//! It is fitted in two steps. Signals are measured, not learnt, so what they say together is fitted on all clips, those of
//! training too. How much the network's word weighs beside that is fitted on clips alone whose sources the network
//! never saw: on its own clips a network knows the answers. Everything is judged on sources that were not fitted on, five
//! parts in turn; the number of trees that does best there is fitted on all clips and written.

mod boost;
mod clips;
mod scale;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clipsieve_models::ModelConfig;
use clipsieve_operators::rule::{RULE_FILE, Rule};

use self::boost::{Fit, Word};
use self::clips::{Clip, from_cache, from_scores};
use crate::dataset::Split;
use crate::error::Error;
use crate::ranking::auc;

/// Parts of the sources, each judged by a rule fitted on the others.
const FOLDS: u64 = 5;
/// Numbers of trees that are tried.
const ROUNDS: [usize; 5] = [0, 60, 120, 240, 480];

/// The signals that can have to do with a task. Left out is what tells one place from another and nothing of the task:
/// a rule with all of them learns the colours of a few photographs.
const SIGNALS: [(&str, &[&str]); 4] = [
    (
        "vfx",
        &[
            "motion",
            "frozen",
            "misfit",
            "misfit_high",
            "misfit_peak",
            "astray",
            "residual_low",
            "residual_high",
            "camera_roughness",
            "camera_turn",
            "jump",
            "busy",
            "unevenness",
            "flicker",
            "light_span",
            "colour_change",
            "colour_jump",
            "colour_drift",
            "saturation",
            "one_hue",
            "standing_edges",
            "still_share",
            "mirror_x",
            "mirror_y",
            "repeat_x",
            "repeat_y",
            "missing_levels",
            "flat",
            "combing",
            "blockiness",
            "uneven_levels",
            "row_lines",
            "stark",
            "stark_swing",
            "edge_light",
            "turn_likeness",
            "colour_split",
            "colour_by_light",
            "bright_specks",
            "speck_bias",
        ],
    ),
    (
        "simcam",
        &[
            "motion",
            "frozen",
            "affine_residual",
            "misfit",
            "misfit_high",
            "misfit_peak",
            "astray",
            "residual_low",
            "residual_high",
            "camera_motion",
            "camera_roughness",
            "camera_turn",
            "jump",
            "busy",
            "unevenness",
            "flicker",
            "colour_jump",
            "standing_edges",
            "still_share",
            "noise",
        ],
    ),
    (
        "low_quality",
        &[
            "sharpness",
            "blockiness",
            "brightness",
            "contrast",
            "noise",
            "motion",
            "frozen",
            "jump",
            "busy",
            "unevenness",
            "flicker",
            "fall_off",
            "wide_fall_off",
            "shadows",
            "highlights",
            "entropy",
            "missing_levels",
            "span",
            "flat",
            "combing",
            "uneven_levels",
            "detail_shape",
            "detail_power",
            "detail_unrest",
            "detail_likeness",
            "half_shape",
            "half_power",
            "half_likeness",
            "periodicity",
            "seen_blocks",
            "wiped_share",
            "chroma_shift",
        ],
    ),
    (
        "rotation",
        &[
            "upright",
            "vertical_edges",
            "level_edges",
            "light_top",
            "light_left",
            "detail_top",
            "detail_left",
            "blue_top",
            "blue_left",
            "lit_top",
            "lit_left",
            "sideways",
            "speed_top",
            "speed_left",
            "motion_top",
            "motion_left",
            "mirror_x",
            "mirror_y",
        ],
    ),
];

/// Arguments of `fit-combine`.
#[derive(clap::Args)]
pub struct Args {
    /// The task: vfx, simcam, low_quality, rotation
    task: String,
    /// What `validate --scores` wrote of clips that the network never saw; without it, the rule is one of signals alone
    #[arg(long)]
    scores: Option<PathBuf>,
    /// Folder that `generate` filled
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// Signals that the rule may use at most; the best are kept
    #[arg(long, default_value_t = 40)]
    signals: usize,
    /// Folder of the model, which gets `combine.json`; without it nothing is written
    #[arg(long)]
    out: Option<PathBuf>,
    /// The label whose probability the rule gives [default: the model's last]
    #[arg(long)]
    label: Option<String>,
}

/// Runs `fit-combine`.
pub fn run(args: &Args) -> Result<(), Error> {
    let task = args.task.as_str();
    let Some((_, signals)) = SIGNALS.iter().find(|(name, _)| *name == task) else {
        let tasks = SIGNALS.map(|(name, _)| name).join(", ");
        return Err(Error::Usage(format!("no task `{task}`: one of {tasks}")));
    };
    let mut clips = from_cache(&args.cache, Split::Train, task, signals)?;
    clips.extend(match &args.scores {
        Some(path) => from_scores(path, task, signals)?,
        None => from_cache(&args.cache, Split::Val, task, signals)?,
    });
    let defects = clips.iter().filter(|clip| clip.is_defect).count();
    if defects < 50 || clips.len() - defects < 50 {
        return Err(Error::Usage(format!(
            "{defects} clips with `{task}` and {} without: too few to fit a rule on",
            clips.len() - defects
        )));
    }
    println!("{task}: {} clips, {defects} with the defect", clips.len());
    alone(signals, &clips);

    let kept = best_inputs(&clips, signals.len(), args.signals);
    let mut best: Option<(f64, usize)> = None;
    for rounds in ROUNDS {
        let area = area(&out_of_fold(&clips, &kept, rounds));
        let of = format!("signals, {rounds} trees");
        println!("{of:<28} AUC {area:.4} on sources held out");
        if best.is_none_or(|(most, _)| area > most + 5e-4) {
            best = Some((area, rounds));
        }
    }
    let (_, rounds) = best.unwrap_or_default();
    let by_signals = out_of_fold(&clips, &kept, rounds);
    let word = match beside_the_network(&by_signals) {
        Some((word, by_both)) => {
            by_kind(&by_both);
            Some(word)
        }
        None => {
            by_kind(&by_signals);
            None
        }
    };

    let label = match (&args.label, &args.out) {
        (Some(label), _) => label.clone(),
        (None, Some(folder)) => ModelConfig::read(folder)?.labels.pop().unwrap_or_default(),
        (None, None) => task.to_owned(),
    };
    let whole: Vec<&Clip> = clips.iter().collect();
    let rule = Fit::of(&whole, &kept, rounds).rule(&label, signals, word.as_ref());
    let inputs: Vec<&str> = rule
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    println!("inputs: {}", inputs.join(", "));
    if let Some(folder) = &args.out {
        let path = folder.join(RULE_FILE);
        let text = text_of(&rule).map_err(|error| Error::file(&path, error))?;
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The rule's file: an input or a tree a line.
fn text_of(rule: &Rule) -> Result<String, serde_json::Error> {
    fn lines<T: serde::Serialize>(of: &[T]) -> Result<String, serde_json::Error> {
        let lines: Result<Vec<String>, _> = of.iter().map(serde_json::to_string).collect();
        Ok(lines?.join(",\n    "))
    }
    Ok(format!(
        "{{\n  \"label\": {},\n  \"bias\": {},\n  \"inputs\": [\n    {}\n  ],\n  \"trees\": [\n    {}\n  ]\n}}\n",
        serde_json::to_string(&rule.label)?,
        rule.bias,
        lines(&rule.inputs)?,
        lines(&rule.trees)?,
    ))
}

/// A clip and what a rule that was fitted without its part of the sources says of it.
type Judged<'a> = (&'a Clip, f64);

/// What the network's word weighs beside that of the signals, if there are clips that it was kept from, and what both say
/// of those.
fn beside_the_network<'a>(by_signals: &[Judged<'a>]) -> Option<(Word, Vec<Judged<'a>>)> {
    let told: Vec<(&'a Clip, f64, f64)> = by_signals
        .iter()
        .filter_map(|(clip, sum)| Some((*clip, *sum, clip.network?)))
        .collect();
    if told.is_empty() {
        return None;
    }
    let word_of = |left_out: Option<u64>| {
        let others = told.iter().filter(|(clip, ..)| Some(clip.fold) != left_out);
        let others = others.map(|(clip, sum, network)| (*sum, *network, clip.is_defect));
        Word::of(&others.collect::<Vec<_>>())
    };
    let of_others: Vec<Word> = (0..FOLDS).map(|fold| word_of(Some(fold))).collect();
    let both = |(clip, sum, network): &(&Clip, f64, f64)| {
        of_others[clip.fold as usize].beside(*sum, *network)
    };
    let judged = |score: &dyn Fn(&(&'a Clip, f64, f64)) -> f64| -> Vec<Judged<'a>> {
        told.iter().map(|told| (told.0, score(told))).collect()
    };
    let by_both = judged(&both);
    for (name, scores) in [
        ("network", judged(&|(_, _, network)| *network)),
        ("signals", judged(&|(_, sum, _)| *sum)),
        ("both", by_both.clone()),
    ] {
        let area = area(&scores);
        println!(
            "{name:<28} AUC {area:.4} on {} clips that the network was kept from",
            told.len()
        );
    }
    Some((word_of(None), by_both))
}

/// The area under the curve.
fn area(judged: &[Judged<'_>]) -> f64 {
    let of = |is_defect: bool| -> Vec<f32> {
        let of = judged
            .iter()
            .filter(|(clip, _)| clip.is_defect == is_defect);
        of.map(|(_, score)| *score as f32).collect()
    };
    auc(&of(true), &of(false)).unwrap_or(0.5)
}

/// How well each signal does alone.
fn alone(names: &[&'static str], clips: &[Clip]) {
    let of = |(input, name): (usize, &&'static str)| {
        let values = clips.iter().map(|clip| (clip, clip.values[input]));
        let known: Vec<Judged<'_>> = values.filter(|(_, value)| value.is_finite()).collect();
        let area = area(&known);
        (area.max(1.0 - area), *name)
    };
    let mut areas: Vec<(f64, &str)> = names.iter().enumerate().map(of).collect();
    areas.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (area, name) in areas.iter().take(12) {
        println!("{name:<28} AUC {area:.4} alone");
    }
}

/// How well each kind of defect is told from all clean clips.
fn by_kind(judged: &[Judged<'_>]) {
    let mut kinds: BTreeMap<&str, Vec<Judged<'_>>> = BTreeMap::new();
    for (clip, score) in judged.iter().filter(|(clip, _)| clip.is_defect) {
        kinds.entry(&clip.kind).or_default().push((clip, *score));
    }
    for (kind, of) in kinds {
        let count = of.len();
        let clean = judged.iter().filter(|(clip, _)| !clip.is_defect).copied();
        let against: Vec<Judged<'_>> = of.into_iter().chain(clean).collect();
        println!("  {kind:<26} AUC {:.4} ({count} clips)", area(&against));
    }
}

/// What is said of all clips, each by a rule that was fitted without its part of the sources.
fn out_of_fold<'a>(clips: &'a [Clip], inputs: &[usize], rounds: usize) -> Vec<Judged<'a>> {
    let mut judged = Vec::with_capacity(clips.len());
    for fold in 0..FOLDS {
        let others: Vec<&Clip> = clips.iter().filter(|clip| clip.fold != fold).collect();
        if others.is_empty() {
            continue;
        }
        let fit = Fit::of(&others, inputs, rounds);
        let own = clips.iter().filter(|clip| clip.fold == fold);
        judged.extend(own.map(|clip| (clip, fit.score(clip))));
    }
    judged
}

/// The signals that trees over all of them gain most by.
fn best_inputs(clips: &[Clip], signals: usize, most: usize) -> Vec<usize> {
    let whole: Vec<&Clip> = clips.iter().collect();
    let all: Vec<usize> = (0..signals).collect();
    let fit = Fit::of(&whole, &all, 240);
    let mut gains: Vec<(f64, usize)> = all
        .iter()
        .map(|input| (fit.worth(*input), *input))
        .collect();
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<usize> = gains
        .into_iter()
        .take(most)
        .map(|(_, input)| input)
        .collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use clipsieve_operators::rule::NETWORK;

    use super::*;
    use crate::chance::Chance;

    /// Clips whose label is that of two signals together (one above, the other not), hidden in noise; for every second one
    /// there is a network's word, which is right a little more often than not.
    fn clips() -> Vec<Clip> {
        let mut chance = Chance::new(4);
        (0..1200)
            .map(|k| {
                let values: Vec<f64> = (0..5).map(|_| f64::from(chance.normal())).collect();
                let is_defect = (values[1] > 0.0) != (values[3] > 0.0);
                let missing = if k % 9 == 0 { f64::NAN } else { values[4] };
                let word = f64::from(chance.normal()) + if is_defect { 0.5 } else { -0.5 };
                Clip {
                    fold: k % FOLDS,
                    kind: "both".to_owned(),
                    is_defect,
                    values: vec![values[0], values[1], values[2], values[3], missing],
                    network: (k % 2 == 0).then_some(word),
                }
            })
            .collect()
    }

    #[test]
    fn trees_find_what_needs_two_inputs_and_the_written_rule_scores_the_same() {
        let clips = clips();
        let all = [0, 1, 2, 3, 4];
        let linear = area(&out_of_fold(&clips, &all, 0));
        let judged = out_of_fold(&clips, &all, 60);
        let trees = area(&judged);
        assert!(linear < 0.65, "{linear}");
        assert!(trees > 0.95, "{trees}");
        assert_eq!(best_inputs(&clips, 5, 2), [1, 3]);

        let (word, by_both) = beside_the_network(&judged).expect("there is a network");
        let alone: Vec<Judged<'_>> = judged
            .iter()
            .filter(|(clip, _)| clip.network.is_some())
            .copied()
            .collect();
        assert!(area(&by_both) > area(&alone), "the network's word helps");

        let names = ["a", "b", "c", "d", "e"];
        let whole: Vec<&Clip> = clips.iter().collect();
        let fit = Fit::of(&whole, &all, 60);
        let rule = fit.rule("bad", &names, Some(&word));
        let text = text_of(&rule).expect("text");
        assert_eq!(serde_json::from_str::<Rule>(&text).expect("JSON"), rule);
        for clip in clips.iter().filter(|clip| clip.network.is_some()).take(50) {
            let network = clip.network.expect("a word");
            let value = |name: &str| match names.iter().position(|other| *other == name) {
                Some(at) => Some(clip.values[at]),
                None => (name == NETWORK).then_some(network),
            };
            let expected = 1.0 / (1.0 + (-word.beside(fit.score(clip), network)).exp());
            let off = rule.probability(value) - expected;
            assert!(off.abs() < 1e-3, "{off}");
        }
    }
}
