//! The fit: a logistic regression with squares, and small trees on top of it (gradient boosting: Friedman, "Greedy function
//! approximation", 2001).

use clipsieve_operators::rule::{Input, NETWORK, Rule, Scale, Tree};

use super::clips::Clip;
use super::scale::{by_rank, held};
use crate::chance::Chance;

/// How much of each tree is taken.
const RATE: f64 = 0.12;
/// Shares of the order at which a tree may ask: denser at the ends, where rare defects show.
const THRESHOLDS: [f64; 23] = [
    0.005, 0.01, 0.02, 0.04, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.5625,
    0.625, 0.6875, 0.75, 0.8125, 0.875, 0.9375, 0.96, 0.98, 0.99, 0.995,
];
/// Share of the clips, and of the inputs, that each tree is grown from, by chance (Friedman, "Stochastic gradient boosting",
/// 2002).
const GROWN_FROM: (f32, f32) = (0.7, 0.3);
/// Inputs at least.
const LEAST_ASKED: usize = 8;
/// A leaf that fewer clips reach weighs little: added to each leaf's curvature.
const LEAF_PRIOR: f64 = 8.0;
/// Strength of the pull of each weight to 0.
const RIDGE: f64 = 6.0;

/// A rule being fitted, over the signals of these numbers.
pub struct Fit {
    inputs: Vec<usize>,
    scales: Vec<Scale>,
    /// Value and square of each input in turn, then one a missing input, then the bias.
    weights: Vec<f64>,
    trees: Vec<Tree>,
    gains: Vec<f64>,
}

impl Fit {
    /// The rule for these clips, with so many trees.
    pub fn of(clips: &[&Clip], inputs: &[usize], rounds: usize) -> Self {
        let mut fit = Self {
            inputs: inputs.to_vec(),
            scales: inputs
                .iter()
                .map(|input| by_rank(clips.iter().map(|clip| clip.values[*input])))
                .collect(),
            weights: Vec::new(),
            trees: Vec::new(),
            gains: vec![0.0; inputs.len()],
        };
        let rows: Vec<Vec<f64>> = clips.iter().map(|clip| fit.row(clip)).collect();
        let truth: Vec<f64> = clips
            .iter()
            .map(|clip| f64::from(u8::from(clip.is_defect)))
            .collect();
        fit.weights = logistic_regression(&rows, &truth);
        let mut sums: Vec<f64> = rows.iter().map(|row| dot(row, &fit.weights)).collect();
        let standard: Vec<Vec<f64>> = clips.iter().map(|clip| fit.standard(clip)).collect();
        let thresholds = thresholds(&standard, inputs.len());
        let mut chance = Chance::new(inputs.len() as u64);
        for _ in 0..rounds {
            let members: Vec<usize> = (0..clips.len())
                .filter(|_| chance.is(GROWN_FROM.0))
                .collect();
            let mut asked: Vec<usize> = (0..inputs.len()).collect();
            chance.shuffle(&mut asked);
            let share = (inputs.len() as f32 * GROWN_FROM.1).ceil() as usize;
            asked.truncate(share.max(LEAST_ASKED));
            let (tree, gains) = grow(&standard, &truth, &sums, &thresholds, (&members, &asked));
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
                self.scales[place].read(value)
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

    /// The log-odds that the signals alone give.
    pub fn score(&self, clip: &Clip) -> f64 {
        let standard = self.standard(clip);
        dot(&self.row(clip), &self.weights)
            + self
                .trees
                .iter()
                .map(|tree| tree.adds(&standard))
                .sum::<f64>()
    }

    /// How much the signal at this place does: its share of what the trees gained, and some of its weights.
    pub fn worth(&self, place: usize) -> f64 {
        let weight = self.weights[2 * place].abs() + 0.5 * self.weights[2 * place + 1].abs();
        self.gains[place] / self.gains.iter().sum::<f64>().max(1e-9) + 0.02 * weight
    }

    /// The rule as its file holds it, beside a network's word if there is one.
    pub fn rule(&self, label: &str, names: &[&str], word: Option<&Word>) -> Rule {
        let signals = word.map_or(1.0, |word| word.signals);
        let scaled = |number: f64| short(signals * number);
        let count = self.inputs.len();
        let mut inputs: Vec<Input> = word.map(Word::input).into_iter().collect();
        // The network comes first among the inputs, so the trees' numbers of signals move on by one.
        let moved = inputs.len();
        inputs.extend(self.inputs.iter().enumerate().map(|(place, input)| Input {
            name: names[*input].to_owned(),
            scale: self.scales[place].clone(),
            weight: scaled(self.weights[2 * place]),
            square: scaled(self.weights[2 * place + 1]),
            missing: scaled(self.weights[2 * count + place]),
        }));
        let trees = self.trees.iter().map(|tree| Tree {
            splits: tree
                .splits
                .map(|(input, threshold)| (input + moved, short(threshold))),
            leaves: tree.leaves.map(scaled),
        });
        let bias = signals * self.weights[3 * count] + word.map_or(0.0, |word| word.bias);
        Rule {
            label: label.to_owned(),
            bias: short(bias),
            inputs,
            trees: trees.collect(),
        }
    }
}

/// How a network's word and the sum of the signals are weighed against one another.
pub struct Word {
    signals: f64,
    network: f64,
    bias: f64,
    scale: Scale,
}

impl Word {
    /// From clips: the sum of the signals, the network's log-odds, and whether there is a defect.
    pub fn of(told: &[(f64, f64, bool)]) -> Self {
        let scale = held(told.iter().map(|(_, network, _)| *network));
        let row = |(sum, network, _): &(f64, f64, bool)| vec![*sum, scale.read(*network), 1.0];
        let rows: Vec<Vec<f64>> = told.iter().map(row).collect();
        let truth: Vec<f64> = told
            .iter()
            .map(|(.., is_defect)| f64::from(u8::from(*is_defect)))
            .collect();
        let weights = logistic_regression(&rows, &truth);
        Self {
            signals: weights[0],
            network: weights[1],
            bias: weights[2],
            scale,
        }
    }

    /// The log-odds of both together.
    pub fn beside(&self, signals: f64, network: f64) -> f64 {
        self.signals * signals + self.network * self.scale.read(network) + self.bias
    }

    fn input(&self) -> Input {
        Input {
            name: NETWORK.to_owned(),
            scale: self.scale.clone(),
            weight: short(self.network),
            square: 0.0,
            missing: 0.0,
        }
    }
}

/// Rounded to five decimals.
fn short(number: f64) -> f64 {
    (number * 1e5).round() / 1e5
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
            // Between two values, so that a rounded one still parts them.
            let between = |share: &f64| {
                let place = (share * (values.len() - 1) as f64) as usize;
                (values[place] + values[(place + 1).min(values.len() - 1)]) / 2.0
            };
            let mut found: Vec<f64> = THRESHOLDS.iter().map(between).collect();
            found.dedup();
            found
        })
        .collect()
}

/// The best question for these clips, of those about some inputs: input, threshold, gain.
fn best_split(
    standard: &[Vec<f64>],
    members: &[usize],
    gradient: &[f64],
    curvature: &[f64],
    (thresholds, asked): (&[Vec<f64>], &[usize]),
) -> (usize, f64, f64) {
    let total = members.iter().fold((0.0, 0.0), |sum, at| {
        (sum.0 + gradient[*at], sum.1 + curvature[*at])
    });
    let worth = |(g, h): (f64, f64)| g * g / (h + LEAF_PRIOR);
    let mut best = (0, f64::INFINITY, 0.0);
    for &input in asked {
        let thresholds = &thresholds[input];
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

/// One tree that lowers the loss most, greedily, on these clips and with these inputs; and what each input gained by it.
fn grow(
    standard: &[Vec<f64>],
    truth: &[f64],
    sums: &[f64],
    thresholds: &[Vec<f64>],
    (members, asked): (&[usize], &[usize]),
) -> (Tree, Vec<f64>) {
    let probabilities: Vec<f64> = sums.iter().map(|sum| logistic(*sum)).collect();
    let gradient: Vec<f64> = truth
        .iter()
        .zip(&probabilities)
        .map(|(truth, p)| truth - p)
        .collect();
    let curvature: Vec<f64> = probabilities.iter().map(|p| p * (1.0 - p)).collect();
    let mut gains = vec![0.0; thresholds.len()];
    let mut ask = |members: &[usize]| {
        let (input, threshold, gain) = best_split(
            standard,
            members,
            &gradient,
            &curvature,
            (thresholds, asked),
        );
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
    let (first, below, above) = ask(members);
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
