use std::collections::{BTreeMap, BTreeSet};

use crate::operator::{Model, Models, ParamType, ParamValue, Store, Stores};
use crate::pipeline::{Diagnostic, Entry, Key, Location, Node};
use crate::plan::{LogicalGraph, LogicalInput, LogicalStage, Plan};

use super::nearest::suggestion;
use super::stage::StageDraft;
use super::typed::Values;
use super::{Options, Source};

/// What the passes work on: the pipeline as far as it is understood.
pub(super) struct Draft<'a> {
    pub source: Source<'a>,
    pub options: &'a Options<'a>,
    pub diagnostics: Vec<Diagnostic>,
    /// The sections as written. Filled by parse; substitute replaces variables in it.
    pub file: File,
    /// Values from the environment that went into the file, with the variables' names. Never to be printed.
    pub secrets: Vec<(String, String)>,
    pub models: BTreeMap<String, Named<Model>>,
    pub stores: BTreeMap<String, Named<Store>>,
    pub limits: Values,
    /// Whether stages share work unless they say otherwise.
    pub share: bool,
    /// The stages, in the order of the file.
    pub stages: Vec<StageDraft>,
    pub plan: Option<Plan>,
}

/// A model or store of the file.
pub(super) struct Named<T> {
    /// Where its name stands.
    pub at: Location,
    /// `None` if it cannot be used.
    pub value: Option<T>,
}

/// Models and stores that can be used.
#[derive(Default)]
pub(super) struct Resources {
    pub models: Models,
    pub stores: Stores,
}

/// The sections of a file.
#[derive(Default)]
pub(super) struct File {
    /// Whether it could be read as a mapping; if not, there is nothing to say of what stands in it.
    pub is_read: bool,
    /// Where the key `stages` stands.
    pub stages_at: Option<Location>,
    pub name: Option<Node>,
    pub description: Option<Node>,
    pub share: Option<Node>,
    /// A param's name and the keys of its declaration.
    pub params: Vec<(Key, Vec<Entry>)>,
    pub stores: Vec<Entry>,
    pub models: Vec<Entry>,
    pub limits: Vec<Entry>,
}

impl<'a> Draft<'a> {
    pub fn new(source: Source<'a>, options: &'a Options<'a>) -> Self {
        Self {
            source,
            options,
            diagnostics: Vec::new(),
            file: File::default(),
            secrets: Vec::new(),
            models: BTreeMap::new(),
            stores: BTreeMap::new(),
            limits: Values::default(),
            share: true,
            stages: Vec::new(),
            plan: None,
        }
    }

    /// Reports a finding.
    pub fn report(&mut self, found: Diagnostic) {
        self.diagnostics.push(found);
    }

    /// The help that goes with an unknown name. Looking for near names takes time; a file with this many mistakes is no
    /// pipeline.
    pub fn suggestion<'n>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Option<String> {
        const MANY: usize = 100;
        if self.diagnostics.len() > MANY {
            return None;
        }
        suggestion(name, known)
    }

    /// Whether anything found so far keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// A text from outside the engine, with everything that came from the environment taken out.
    pub fn redact(&self, text: &str) -> String {
        // Longest first: one value may be part of another.
        let mut secrets: Vec<_> = self.secrets.iter().filter(|(_, v)| !v.is_empty()).collect();
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        secrets
            .into_iter()
            .fold(text.to_string(), |text, (name, value)| {
                text.replace(value.as_str(), &format!("${{env:{name}}}"))
            })
    }

    /// The id of a stage.
    pub fn id(&self, index: usize) -> String {
        self.stages[index].key.text.clone()
    }

    /// The stages that take from this one, in the order of the file.
    pub fn consumers(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.stages.len()).filter(move |consumer| {
            let inputs = &self.stages[*consumer].inputs;
            inputs.iter().any(|input| input.stage == Some(index))
        })
    }

    /// The stages that are on of those that this one takes from, in port order.
    pub fn inputs_on(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let inputs = self.stages[index].inputs.iter();
        inputs
            .filter_map(|input| input.stage)
            .filter(|from| self.stages[*from].off.is_none())
    }

    /// Stages that are not switched off, inputs before consumers, otherwise in the order of the file. Stages of a cycle,
    /// and those behind one, are left out.
    pub fn order(&self) -> Vec<usize> {
        let mut placed = vec![false; self.stages.len()];
        let mut order = Vec::new();
        let ready = |placed: &[bool], index: usize| {
            let mut inputs = self.stages[index].inputs.iter();
            inputs.all(|input| {
                let from = input.stage.map(|stage| (stage, &self.stages[stage]));
                from.is_none_or(|(stage, draft)| placed[stage] || draft.off.is_some())
            })
        };
        while let Some(next) = (0..self.stages.len()).find(|index| {
            !placed[*index] && self.stages[*index].off.is_none() && ready(&placed, *index)
        }) {
            placed[next] = true;
            order.push(next);
        }
        order
    }

    /// The models and stores that can be used.
    pub fn resources(&self) -> Resources {
        let models = self.models.iter();
        let stores = self.stores.iter();
        Resources {
            models: models
                .filter_map(|(name, model)| Some((name.clone(), model.value.clone()?)))
                .collect(),
            stores: stores
                .filter_map(|(name, store)| Some((name.clone(), store.value.clone()?)))
                .collect(),
        }
    }

    /// The models and stores that stages use which are not switched off.
    pub fn used_resources(&self) -> Resources {
        let mut resources = self.resources();
        let names = |wanted: ParamType| {
            let mut names = BTreeSet::new();
            for stage in self.stages.iter().filter(|stage| stage.off.is_none()) {
                let specs = stage.spec.map_or(&[][..], |spec| spec.params);
                for spec in specs {
                    let value = stage
                        .params
                        .as_ref()
                        .and_then(|params| params.get(spec.name));
                    if let Some(value) = value {
                        collect_names(&wanted, &spec.ty, value, &mut names);
                    }
                }
            }
            names
        };
        let (models, stores) = (names(ParamType::Model), names(ParamType::Store));
        resources.models.retain(|name, _| models.contains(name));
        resources.stores.retain(|name, _| stores.contains(name));
        resources
    }

    /// The graph to look at. The diagnostics have to be complete.
    pub fn logical(&self) -> LogicalGraph {
        let text = |node: &Option<Node>| Some(node.as_ref()?.label()?.to_string());
        // As it was written: what a pass split is one stage again.
        let written = |stage: usize| self.stages[stage].rest_of.unwrap_or(stage);
        let stages = self.stages.iter().filter(|stage| stage.rest_of.is_none());
        let stages = stages.map(|stage| LogicalStage {
            id: stage.key.text.clone(),
            op: text(&stage.op).unwrap_or_default(),
            spec: stage.spec,
            inputs: stage
                .inputs
                .iter()
                .map(|input| LogicalInput {
                    name: input.name.clone(),
                    stage: input.stage.map(written),
                })
                .collect(),
            output: stage.output,
            off: stage.off.clone(),
            diagnostics: self
                .diagnostics
                .iter()
                .filter(|found| found.concerns_stage(&stage.key.text))
                .cloned()
                .collect(),
        });
        LogicalGraph {
            name: text(&self.file.name).unwrap_or_default(),
            description: text(&self.file.description),
            stages: stages.collect(),
        }
    }
}

/// The store that a URI names: what lies in one is called `store://NAME/PATH`.
pub(super) fn store_in(uri: &str) -> Option<&str> {
    uri.strip_prefix("store://")?.split('/').next()
}

/// Adds the names that a value gives for something of the wanted type.
fn collect_names(
    wanted: &ParamType,
    ty: &ParamType,
    value: &ParamValue,
    names: &mut BTreeSet<String>,
) {
    match (ty, value) {
        (ParamType::List(inner), ParamValue::List(values)) => {
            for value in values {
                collect_names(wanted, inner, value, names);
            }
        }
        (ty, ParamValue::Text(name)) if ty == wanted => {
            names.insert(name.clone());
        }
        (ParamType::Uri, ParamValue::Text(uri)) if *wanted == ParamType::Store => {
            names.extend(store_in(uri).map(str::to_owned));
        }
        _ => {}
    }
}
