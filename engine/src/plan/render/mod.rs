//! Pictures of a pipeline: what the dry run prints.
//!
//! Two views. `logical` shows the stages as the file writes them, sound or not: operators, the kinds on the edges, what is
//! switched off, what is wrong with which stage. `physical` shows a plan: all that a run will use. Each comes as text for a
//! terminal of 80 columns, as Graphviz `dot` and as Mermaid.
//!
//! No picture shows the settings of a store beyond its type and root: they may hold credentials.

mod boxes;
mod dot;
mod facts;
mod lanes;
mod layout;
mod mermaid;
mod text_logical;
mod text_physical;

use super::{LogicalGraph, Plan};

/// How a picture is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for a terminal of 80 columns.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, as Markdown pages draw it.
    Mermaid,
}

/// The stages as the file writes them, with what is wrong.
pub fn logical(graph: &LogicalGraph, format: Format) -> String {
    match format {
        Format::Text => text_logical::render(graph),
        Format::Dot => dot::render(&boxes::logical(graph)),
        Format::Mermaid => mermaid::render(&boxes::logical(graph)),
    }
}

/// All that a run of this plan will use.
pub fn physical(plan: &Plan, format: Format) -> String {
    match format {
        Format::Text => text_physical::render(plan),
        Format::Dot => dot::render(&boxes::physical(plan)),
        Format::Mermaid => mermaid::render(&boxes::physical(plan)),
    }
}
