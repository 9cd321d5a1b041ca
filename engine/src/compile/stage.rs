use crate::operator::{OperatorSpec, Params, PortKind, Setting, Wish};
use crate::pipeline::{Entry, Key, Location, Node};

use super::draft::Resources;
use super::typed::Values;

/// One stage, as far as it is understood.
pub(super) struct StageDraft {
    /// Its id and where that stands.
    pub key: Key,
    // As written (parse), variables filled in (substitute).
    pub op: Option<Node>,
    pub from: Vec<Node>,
    pub with: Vec<Entry>,
    pub when: Option<Node>,
    pub settings: Vec<Entry>,
    pub retry: Vec<Entry>,
    /// Whether `from` was written soundly; if not, nothing can be said of what it takes.
    pub from_is_sound: bool,
    pub with_is_sound: bool,
    // Understood (resolve).
    pub spec: Option<&'static OperatorSpec>,
    /// Its parameters, if all of them are sound.
    pub params: Option<Params>,
    pub setting_values: Values,
    pub retry_values: Values,
    pub switched_on: bool,
    /// What it takes from (shape).
    pub inputs: Vec<InputDraft>,
    /// The kinds of its inputs, if they are known and fit (types).
    pub input_kinds: Option<Vec<PortKind>>,
    /// The kind of its output, if it is known (types).
    pub output: Option<PortKind>,
    /// Why it is left out (prune).
    pub off: Option<String>,
    // What it asks for and is asked for (demand).
    pub demand: Option<serde_json::Value>,
    pub wishes: Vec<Wish>,
    // Who does its work (share).
    pub seat: Seat,
    /// Of a node: for each part of its answer, the stages whose answer that is. They are equal; its own part comes first, and
    /// in each part the stage that stands for the others.
    pub parts: Vec<Vec<usize>>,
    /// What it has in common with others.
    pub common: Option<serde_json::Value>,
    /// The stage whose work it ends (split); it does not stand in the file.
    pub rest_of: Option<usize>,
}

/// The node that does a stage's work, and which part of the node's answer is the stage's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seat {
    pub node: usize,
    pub part: usize,
}

/// One entry of `from`.
pub(super) struct InputDraft {
    pub name: String,
    pub location: Location,
    /// Its path: `stages.result.from[2]`.
    pub path: String,
    /// The stage of that name, if there is one.
    pub stage: Option<usize>,
}

impl StageDraft {
    /// A stage of which nothing but the id is known.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            op: None,
            from: Vec::new(),
            with: Vec::new(),
            when: None,
            settings: Vec::new(),
            retry: Vec::new(),
            from_is_sound: true,
            with_is_sound: true,
            spec: None,
            params: None,
            setting_values: Values::default(),
            retry_values: Values::default(),
            switched_on: true,
            inputs: Vec::new(),
            input_kinds: None,
            output: None,
            off: None,
            demand: None,
            wishes: Vec::new(),
            seat: Seat::default(),
            parts: Vec::new(),
            common: None,
            rest_of: None,
        }
    }

    /// What its operator is told of it, if all of that is sound.
    pub fn setting<'s>(&'s self, resources: &'s Resources) -> Option<Setting<'s>> {
        Some(Setting {
            stage: &self.key.text,
            params: self.params.as_ref()?,
            inputs: self.input_kinds.as_ref()?,
            models: &resources.models,
            stores: &resources.stores,
        })
    }

    /// The path of the stage, or of a key in it.
    pub fn path(&self, key: &str) -> String {
        let path = format!("stages.{}", self.key.text);
        if key.is_empty() {
            path
        } else {
            format!("{path}.{key}")
        }
    }

    /// Whether it is known to give nothing.
    pub fn is_sink(&self) -> bool {
        self.spec.is_some_and(OperatorSpec::is_sink)
    }

    /// Whether it is known to take nothing.
    pub fn is_source(&self) -> bool {
        self.spec.is_some_and(OperatorSpec::is_source)
    }

    /// Where a finding about one of its parameters stands: the parameter if it is written, else the stage.
    pub fn place_of(&self, param: Option<&str>) -> (String, Location) {
        let Some(param) = param else {
            return (self.path(""), self.key.location);
        };
        let entry = self.with.iter().find(|entry| entry.key.text == param);
        let at = entry.map_or(self.key.location, |entry| entry.value.location);
        (self.path(&format!("with.{param}")), at)
    }
}
