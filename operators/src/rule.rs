//! The rule by which a network's word and measured signals become one probability: a small file that people can read.
//!
//! `combine.json` lies beside a model's weights. Each input, the network's log-odds among them, is held within the range
//! it had when the rule was fitted, brought to a scale on which all inputs are alike, and weighted, its square too; a few
//! small trees may add what needs two inputs at once. All is summed, and the logistic function makes it a probability.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file's name within a model's directory.
pub const RULE_FILE: &str = "combine.json";

/// The input that is the network's word, as log-odds.
pub const NETWORK: &str = "network";

/// Probabilities are held this far from 0 and 1 before they become log-odds.
const LEAST_PROBABILITY: f64 = 1e-4;

/// A rule, as its file holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Of which of the network's labels this is the probability.
    pub label: String,
    /// What the sum begins with.
    pub bias: f64,
    /// What goes in.
    pub inputs: Vec<Input>,
    /// What needs two inputs at once.
    #[serde(default)]
    pub trees: Vec<Tree>,
}

/// One input: [`NETWORK`], or a signal of `measure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What its values stand for.
    pub scale: Scale,
    /// Weight of the standardised value.
    pub weight: f64,
    /// Weight of its square.
    pub square: f64,
    /// What a value that is not there adds.
    pub missing: f64,
}

/// Values, rising, and what each stands for on the common scale: mean 0 and deviation 1 over the clips that the rule was
/// fitted on. What lies between two is read off the line from one to the other; what lies beyond the first or the last
/// stands for as much as that one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scale(pub Vec<(f64, f64)>);

/// A tree of three questions, `value of the input > threshold?`, on standardised values; one that is not there is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The number of the input and the threshold: the first question, then that after a no, and that after a yes.
    pub splits: [(usize, f64); 3],
    /// What is added after no-no, no-yes, yes-no and yes-yes.
    pub leaves: [f64; 4],
}

impl Tree {
    /// What it adds for these standardised values.
    pub fn adds(&self, standard: &[f64]) -> f64 {
        let is_above = |(input, threshold): (usize, f64)| {
            standard.get(input).is_some_and(|value| *value > threshold)
        };
        let first = is_above(self.splits[0]);
        let second = is_above(self.splits[1 + usize::from(first)]);
        self.leaves[2 * usize::from(first) + usize::from(second)]
    }
}

impl Scale {
    /// What the value stands for on the common scale.
    pub fn read(&self, value: f64) -> f64 {
        let above = self.0.partition_point(|(known, _)| *known < value);
        let below = self.0[..above].last();
        match (below, self.0.get(above)) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (value - x0) / (x1 - x0),
            (Some((_, only)), None) | (None, Some((_, only))) => *only,
            (None, None) => 0.0,
        }
    }
}

impl Input {
    /// What it adds to the sum.
    pub fn adds(&self, value: Option<f64>) -> f64 {
        value
            .filter(|value| value.is_finite())
            .map_or(self.missing, |value| {
                let standard = self.scale.read(value);
                self.weight * standard + self.square * standard * standard
            })
    }
}

impl Rule {
    /// Reads the rule of the model in this folder.
    ///
    /// # Errors
    /// A message that says what is wrong with the file.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(RULE_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let rule: Self =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        rule.check()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(rule)
    }

    /// Whether its numbers make sense.
    fn check(&self) -> Result<(), String> {
        for (index, input) in self.inputs.iter().enumerate() {
            let of_scale = input
                .scale
                .0
                .iter()
                .flat_map(|(value, standard)| [value, standard]);
            let weights = [&input.weight, &input.square, &input.missing];
            if !of_scale.chain(weights).all(|number| number.is_finite()) {
                return Err(format!("input `{}`: needs finite numbers", input.name));
            }
            if input.scale.0.is_empty() || !input.scale.0.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(format!(
                    "input `{}`: needs a `scale` of at least one [value, standard] pair, by rising values",
                    input.name
                ));
            }
            if self.inputs[..index]
                .iter()
                .any(|other| other.name == input.name)
            {
                return Err(format!("input `{}` is there twice", input.name));
            }
        }
        let is_wild = |tree: &&Tree| {
            tree.splits
                .iter()
                .any(|(input, _)| *input >= self.inputs.len())
        };
        if let Some(tree) = self.trees.iter().find(is_wild) {
            return Err(format!(
                "a tree asks for input {:?} of {}",
                tree.splits.map(|(input, _)| input),
                self.inputs.len()
            ));
        }
        Ok(())
    }

    /// The probability of the label, given what each input is; `None` is a value that is not there.
    pub fn probability(&self, value_of: impl Fn(&str) -> Option<f64>) -> f64 {
        let values: Vec<Option<f64>> = self
            .inputs
            .iter()
            .map(|input| value_of(&input.name))
            .collect();
        let pairs = || self.inputs.iter().zip(&values);
        let sum: f64 = pairs().map(|(input, value)| input.adds(*value)).sum();
        let standard: Vec<f64> = pairs()
            .map(|(input, value)| {
                value
                    .filter(|value| value.is_finite())
                    .map_or(0.0, |value| input.scale.read(value))
            })
            .collect();
        let trees: f64 = self.trees.iter().map(|tree| tree.adds(&standard)).sum();
        1.0 / (1.0 + (-(self.bias + sum + trees)).exp())
    }

    /// The names of the signals that it needs.
    pub fn signals(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .map(|input| input.name.as_str())
            .filter(|name| *name != NETWORK)
    }
}

/// A probability as log-odds, held within ±9.2.
pub fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rule() -> Rule {
        let input = |name: &str, weight: f64, square: f64| Input {
            name: name.to_owned(),
            scale: Scale(vec![(-4.0, -2.5), (4.0, 1.5)]),
            weight,
            square,
            missing: 0.25,
        };
        Rule {
            label: "bad".to_owned(),
            bias: 0.5,
            inputs: vec![input(NETWORK, 1.0, 0.0), input("motion", 0.0, -1.0)],
            trees: vec![Tree {
                splits: [(0, 0.0), (1, 0.0), (1, 5.0)],
                leaves: [0.0, 1.0, 2.0, 4.0],
            }],
        }
    }

    fn logistic(sum: f64) -> f64 {
        1.0 / (1.0 + (-sum).exp())
    }

    #[test]
    fn values_are_held_in_range_weighted_and_summed() {
        let of = |network: f64, motion: Option<f64>| {
            rule().probability(|name| {
                if name == NETWORK {
                    Some(network)
                } else {
                    motion
                }
            })
        };
        // network 3 is 1 deviation above its mean, motion -1 one below: 0.5 + 1 - 1, and the tree answers yes, no.
        assert!((of(3.0, Some(-1.0)) - logistic(0.5 + 1.0 - 1.0 + 2.0)).abs() < 1e-12);
        assert_eq!(
            of(100.0, Some(1.0)),
            of(4.0, Some(1.0)),
            "beyond what was seen is as its edge"
        );
        assert!((of(-1.0, None) - logistic(0.5 - 1.0 + 0.25)).abs() < 1e-12);
        assert_eq!(of(-1.0, Some(f64::NAN)), of(-1.0, None));
        let bent = Scale(vec![(0.0, -1.0), (1.0, 0.0), (3.0, 4.0)]);
        let read = [-9.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0].map(|value| bent.read(value));
        assert_eq!(read, [-1.0, -1.0, -0.5, 0.0, 2.0, 4.0, 4.0]);
        assert_eq!(log_odds(0.5), 0.0);
        assert!(log_odds(1.0).is_finite());
    }

    #[test]
    fn a_file_that_makes_no_sense_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            Rule::read(folder.path())
                .expect_err("none")
                .contains(RULE_FILE)
        );
        let write = |rule: &Rule| {
            std::fs::write(
                folder.path().join(RULE_FILE),
                serde_json::to_string(rule).expect("JSON"),
            )
        };
        write(&rule()).expect("written");
        assert_eq!(Rule::read(folder.path()), Ok(rule()));
        let mut twice = rule();
        twice.inputs.push(twice.inputs[0].clone());
        write(&twice).expect("written");
        assert!(
            Rule::read(folder.path())
                .expect_err("twice")
                .contains("twice")
        );
        let mut flat = rule();
        flat.inputs[1].scale.0.reverse();
        write(&flat).expect("written");
        assert!(
            Rule::read(folder.path())
                .expect_err("flat")
                .contains("motion")
        );
        let mut wild = rule();
        wild.trees[0].splits[2].0 = 7;
        write(&wild).expect("written");
        assert!(Rule::read(folder.path()).is_err());
    }
}
