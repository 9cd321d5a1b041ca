//! What a plan saves by doing things once: the numbers that the dry run proves it with.

use std::collections::BTreeMap;

use super::{Plan, Stage};
use crate::operator::{Cost, OperatorSpec, ParamType, Params};

/// What stages with work in common come to, by the words that their operator has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// What each stage adds: `head`.
    pub part: &'static str,
    /// What is done for several of them at once: `backbone pass`.
    pub pass: &'static str,
    /// Stages of the file.
    pub parts: usize,
    /// Nodes of the plan: each does its common work once an item, for all its stages.
    pub passes: usize,
    /// Floating-point operations for one unit of each stage, if each worked for itself.
    pub flop_alone: u64,
    /// The same as planned.
    pub flop: u64,
    /// Bytes of weights in a process, if each stage held its own.
    pub weight_bytes_alone: u64,
    /// The same as planned.
    pub weight_bytes: u64,
}

impl Shared {
    /// The share of the work that is saved, in per cent, rounded down.
    pub fn saved_percent(&self) -> u64 {
        match self.flop_alone {
            0 => 0,
            alone => 100 * self.flop_alone.saturating_sub(self.flop) / alone,
        }
    }
}

impl Stage {
    /// How many stages of the file it does the work of, itself included.
    pub fn stands_for(&self) -> usize {
        self.written().count()
    }

    /// The stages of the file that it does the work of, itself first, with their parameters.
    pub fn written(&self) -> impl Iterator<Item = (&str, &Params)> {
        let itself = self.parts.is_empty();
        let itself = itself.then_some((&self.id, &self.aliases, &self.params));
        let parts = self.parts.iter();
        let parts = parts.map(|part| (&part.id, &part.aliases, &part.params));
        itself
            .into_iter()
            .chain(parts)
            .flat_map(|(id, aliases, params)| {
                let ids = std::iter::once(id).chain(aliases);
                ids.map(move |id| (id.as_str(), params))
            })
    }

    /// What its stages would cost, if each worked for itself: floating-point operations a unit, and bytes of weights.
    pub fn cost_alone(&self) -> (u64, u64) {
        let of = |cost: Option<Cost>, count: usize| {
            let count = count as u64;
            cost.map_or((0, 0), |cost| {
                (count * cost.flop, count * cost.weight_bytes)
            })
        };
        if self.parts.is_empty() {
            return of(self.cost, 1 + self.aliases.len());
        }
        let parts = self.parts.iter();
        parts
            .map(|part| of(part.cost, 1 + part.aliases.len()))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

impl Plan {
    /// What stages with work in common come to; one entry for each pair of words.
    pub fn shared(&self) -> Vec<Shared> {
        let mut all: Vec<Shared> = Vec::new();
        for stage in self.stages() {
            let (Some(words), Some(cost)) = (stage.spec.planner.common, stage.cost) else {
                continue;
            };
            let known = all
                .iter()
                .position(|other| (other.part, other.pass) == (words.part, words.pass));
            let at = known.unwrap_or_else(|| {
                all.push(Shared {
                    part: words.part,
                    pass: words.pass,
                    parts: 0,
                    passes: 0,
                    flop_alone: 0,
                    flop: 0,
                    weight_bytes_alone: 0,
                    weight_bytes: 0,
                });
                all.len() - 1
            });
            let (flop_alone, weight_bytes_alone) = stage.cost_alone();
            let sum = &mut all[at];
            sum.parts += stage.stands_for();
            sum.passes += 1;
            sum.flop_alone += flop_alone;
            sum.flop += cost.flop;
            sum.weight_bytes_alone += weight_bytes_alone;
        }
        for (weights, bytes) in self.weights() {
            let words = |shared: &&mut Shared| (shared.part, shared.pass) == weights.words;
            if let Some(shared) = all.iter_mut().find(words) {
                shared.weight_bytes += bytes;
            }
        }
        all
    }

    /// Bytes of weights in a process that are in the machine's own memory, and so come out of `limits.memory`.
    pub fn weight_bytes_on_cpu(&self) -> u64 {
        let weights = self.weights().into_iter();
        let on_cpu = weights.filter(|(weights, _)| weights.device == "cpu");
        on_cpu.map(|(_, bytes)| bytes).sum()
    }

    /// What of `limits.memory` is for the frames of items.
    pub fn frame_bytes(&self) -> u64 {
        let weights = self.weight_bytes_on_cpu();
        self.limits.memory_bytes.saturating_sub(weights)
    }

    /// The weights that are held in a process, and their bytes.
    fn weights(&self) -> BTreeMap<Weights<'_>, u64> {
        let mut all = BTreeMap::new();
        for stage in self.stages() {
            let (Some(words), Some(cost)) = (stage.spec.planner.common, stage.cost) else {
                continue;
            };
            let weights = |what: String| Weights {
                words: (words.part, words.pass),
                device: stage.placement.device.as_deref().unwrap_or_default(),
                what,
            };
            let (common, of) = match &stage.common {
                Some(common) => (common.to_string(), String::new()),
                None => (format!("only {}", stage.id), stage.id.clone()),
            };
            all.insert(weights(common), cost.common_weight_bytes);
            let mut own = |params: &Params, cost: Option<Cost>| {
                let Some(cost) = cost else { return };
                let bytes = cost.weight_bytes.saturating_sub(cost.common_weight_bytes);
                let models = models_of(stage.spec, params);
                all.insert(weights(format!("of its own {models} {of}")), bytes);
            };
            match stage.parts.as_slice() {
                [] => own(&stage.params, stage.cost),
                parts => parts.iter().for_each(|part| own(&part.params, part.cost)),
            }
        }
        all
    }

    /// How many stages of the file are equal to others, which do their work.
    pub fn equal_stages(&self) -> usize {
        let extra = |stage: &Stage| stage.stands_for() - stage.parts.len().max(1);
        self.stages().map(extra).sum()
    }

    /// The other stages of the plan that have the same work in common on the same device: their weights are the same.
    pub fn in_common_with<'a>(&'a self, stage: &Stage) -> Vec<&'a str> {
        if stage.common.is_none() {
            return Vec::new();
        }
        self.stages()
            .filter(|other| other.id != stage.id && other.common == stage.common)
            .filter(|other| other.placement == stage.placement)
            .map(|other| other.id.as_str())
            .collect()
    }
}

/// Weights that a process holds once.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Weights<'a> {
    /// The operator's words for what is added and what is done once.
    words: (&'static str, &'static str),
    device: &'a str,
    /// Of the common work, or of one model.
    what: String,
}

/// The models that parameters name, as text.
fn models_of(spec: &OperatorSpec, params: &Params) -> String {
    let names = spec
        .params
        .iter()
        .filter(|spec| spec.ty == ParamType::Model);
    let names = names.filter_map(|spec| params.get(spec.name));
    names.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
