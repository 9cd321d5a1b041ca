use serde_json::Value as Json;

use super::{BuildContext, Finding, Operator, OperatorError, Setting, Wish};

/// What the compiler may ask of an operator's stages beside their demands: the key they write, what they cost, and which
/// part of their work others can have a part in. An operator that answers none of it says [`Planner::NONE`].
#[derive(Debug, Clone, Copy)]
pub struct Planner {
    /// The key of the result row that a stage's answer is written under. Two of one key in one row are refused.
    pub row_key: Option<fn(&Setting<'_>) -> Option<RowKey>>,
    /// The port whose stage's key a stage's answer is written under, where it has none of its own.
    pub row_key_of_input: Option<usize>,
    /// Whether what a stage gives one consumer does not depend on what others ask of it. Stages that only differ in what
    /// they are asked for are equal then.
    pub serves_each: bool,
    /// What a stage's work is estimated to cost.
    pub cost: Option<fn(&Setting<'_>) -> Option<Cost>>,
    /// Bytes of frames that an ordinary item holds at a stage, given what its consumers wish of it: what can be told before
    /// any item is seen. A run with less than that in `limits.memory` is refused.
    pub item_bytes: Option<fn(&Setting<'_>, &[Wish]) -> u64>,
    /// How stages over the same inputs do a part of their work together.
    pub common: Option<Common>,
}

impl Planner {
    /// Nothing to tell.
    pub const NONE: Planner = Planner {
        row_key: None,
        row_key_of_input: None,
        serves_each: false,
        cost: None,
        item_bytes: None,
        common: None,
    };
}

/// A key of the result row, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    /// The key.
    pub key: String,
    /// The parameter that sets it, if there is one.
    pub param: Option<&'static str>,
}

/// An estimate of what a stage's work costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// What one unit of the work is: `clip`.
    pub unit: &'static str,
    /// Floating-point operations a unit.
    pub flop: u64,
    /// Of these, those of the [common](Common) work.
    pub common_flop: u64,
    /// Bytes of weights.
    pub weight_bytes: u64,
    /// Of these, those of the common work.
    pub common_weight_bytes: u64,
    /// Bytes of input that a unit brings to the device.
    pub input_bytes: u64,
}

/// Work that several stages have in common, however they differ: one backbone under several heads.
///
/// Stages of one operator over the same inputs, with the same settings and the same [`identity`](Common::identity), become
/// one node. It is built once from the contexts of all of them and answers with
/// [`Outcome::Parts`](super::Outcome::Parts), one part a stage; what a part says must be exactly what the stage would have
/// said alone. Stages of the same identity over *different* inputs stay nodes of their own, and can have what is built of
/// the identity in common through [`BuildContext::depot`].
#[derive(Debug, Clone, Copy)]
pub struct Common {
    /// What a stage adds of its own, in a word: `head`.
    pub part: &'static str,
    /// What is done once, in words: `backbone pass`.
    pub pass: &'static str,
    /// Names the common work: by its content, never by where it lies. `None` if the stage has none. Called once a
    /// compilation for each stage that is on; it may read files.
    pub identity: fn(&Setting<'_>) -> Result<Option<Json>, Finding>,
    /// Builds the node of several stages.
    pub build: fn(&[BuildContext<'_>]) -> Result<Operator, OperatorError>,
}
