//! What is learnt, whatever the network.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor, no_grad_guard};

use super::adamw::{AdamW, Step};
use super::checkpoint;
use super::schedule::Schedule;
use crate::error::{ModelError, Result};

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Decoupled weight decay of matrices; norms and biases have none.
    pub decay: f64,
    /// Gradients are scaled down to this norm, all of them taken together.
    pub max_norm: f64,
    /// Factors of the learning rate for tensors whose names end so: AdamW moves every number by about the rate, which
    /// is much for filters that start from small, meaningful numbers.
    pub factors: &'static [(&'static str, f64)],
    /// Share of the average that a step keeps; less in the first steps, `(1 + step) / (10 + step)` at most.
    pub average_kept: f64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps made so far, this one included.
    pub step: u64,
    /// The loss before the step.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The norm of all gradients before it was limited; the step was left out when it is not finite.
    pub norm: f64,
}

/// Weights in f32 on the CPU or a GPU, with all that training knows about them.
pub struct Learner {
    recipe: Recipe,
    weights: BTreeMap<String, Tensor>,
    average: BTreeMap<String, Tensor>,
    adam: AdamW,
    step: u64,
}

/// Tensors of a network that are measured and not learnt: BatchNorm's statistics.
fn is_statistic(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}

impl Learner {
    /// Learning starts from these weights, which are copied.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    pub fn new(start: &BTreeMap<String, Tensor>, recipe: Recipe) -> Result<Self> {
        let copies = || -> Result<BTreeMap<String, Tensor>> {
            start
                .iter()
                .map(|(name, tensor)| {
                    let tensor = tensor.f_detach()?.f_to_kind(Kind::Float)?;
                    let mut copy = tensor.f_zeros_like()?;
                    copy.f_copy_(&tensor)?;
                    Ok((name.clone(), copy))
                })
                .collect()
        };
        let weights = copies()?;
        let adam = AdamW::new(&weights)?;
        for (name, weight) in &weights {
            let _ = weight.f_set_requires_grad(!is_statistic(name))?;
        }
        Ok(Learner {
            recipe,
            average: copies()?,
            adam,
            weights,
            step: 0,
        })
    }

    /// The weights by name, in f32, with gradients: to build a network over
    /// ([`Parameters::over`](crate::Parameters::over)), and to write BatchNorm's statistics to.
    pub fn weights(&self) -> &BTreeMap<String, Tensor> {
        &self.weights
    }

    /// The moving average of the weights: what is validated and shipped.
    pub fn average(&self) -> &BTreeMap<String, Tensor> {
        &self.average
    }

    /// Makes the average what the weights are: after they were set from elsewhere.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn average_anew(&mut self) -> Result<()> {
        let _no_grad = no_grad_guard();
        for (name, average) in &mut self.average {
            if let Some(weight) = self.weights.get(name) {
                average.f_copy_(weight)?;
            }
        }
        Ok(())
    }

    /// Steps made so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Goes one step down the gradient of `loss`, a number computed from [`Learner::weights`].
    ///
    /// # Errors
    /// When libtorch refuses (no graph, memory).
    pub fn descend(&mut self, loss: &Tensor) -> Result<Progress> {
        loss.f_backward()?;
        let rate = self.recipe.schedule.rate(self.step);
        self.step += 1;
        let step = Step {
            number: self.step,
            rate,
            decay: self.recipe.decay,
            max_norm: self.recipe.max_norm,
            factors: self.recipe.factors,
        };
        let norm = self.adam.step(&mut self.weights, &step)?;
        self.follow()?;
        Ok(Progress {
            step: self.step,
            loss: loss.f_double_value(&[])?,
            rate,
            norm,
        })
    }

    /// Moves the average towards the weights.
    fn follow(&mut self) -> Result<()> {
        let _no_grad = no_grad_guard();
        let early = (1 + self.step) as f64 / (10 + self.step) as f64;
        let moved = 1.0 - self.recipe.average_kept.min(early);
        for (name, average) in &mut self.average {
            if let Some(weight) = self.weights.get(name) {
                let _ = average.f_lerp_(weight, moved)?;
            }
        }
        Ok(())
    }

    /// The four sets of tensors, as a checkpoint names them.
    fn sets(&self) -> [(&'static str, &BTreeMap<String, Tensor>); 4] {
        [
            ("weights", &self.weights),
            ("average", &self.average),
            ("first", &self.adam.first),
            ("second", &self.adam.second),
        ]
    }

    /// Writes everything to a file, which appears whole or not at all; `notes` are kept with it.
    ///
    /// # Errors
    /// [`ModelError::Write`] when the disk refuses; when libtorch does (memory).
    pub fn save(&self, file: &Path, notes: &Value) -> Result<()> {
        let sets = self.sets();
        let tensors = sets.iter().flat_map(|(set, tensors)| {
            let named = move |(name, tensor)| (format!("{set}.{name}"), tensor);
            tensors.iter().map(named)
        });
        let about = json!({ "step": self.step, "notes": notes });
        checkpoint::write(file, tensors, Kind::Float, Some(&about))
    }

    /// Goes on from a file of [`Learner::save`], which this learner's weights must fit; gives its notes.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read; [`ModelError::Weights`] when it is of another network.
    pub fn resume(&mut self, file: &Path) -> Result<Value> {
        let (mut held, about) = checkpoint::read(file)?;
        let mut problems = Vec::new();
        let _no_grad = no_grad_guard();
        for (set, tensors) in self.sets() {
            for (name, tensor) in tensors {
                let name = format!("{set}.{name}");
                match held.remove(&name) {
                    Some(saved) if saved.size() == tensor.size() => {
                        tensor.shallow_clone().f_copy_(&saved)?;
                    }
                    Some(saved) => problems.push(format!(
                        "{name}: found shape {:?}, expected {:?}",
                        saved.size(),
                        tensor.size()
                    )),
                    None => problems.push(format!("{name}: there is no such tensor")),
                }
            }
        }
        let step = about.get("step").and_then(Value::as_u64);
        let Some(step) = step.filter(|_| problems.is_empty()) else {
            problems.push("this is no checkpoint of this network (start another folder)".into());
            return Err(ModelError::Weights {
                file: file.to_path_buf(),
                problems,
            });
        };
        self.step = step;
        Ok(about.get("notes").cloned().unwrap_or_default())
    }
}
