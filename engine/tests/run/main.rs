//! The run, seen from outside: toy plans in, rows out.
#![allow(clippy::unwrap_used)]

#[path = "../toy/mod.rs"]
mod toy;

mod batches;
mod bounds;
mod items;
mod jobs;
mod logs;
mod parts;
mod shapes;
