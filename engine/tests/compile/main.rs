//! The compiler from outside: files in, diagnostics, plans and pictures out.
#![allow(clippy::unwrap_used)]

mod diagnostics;
mod pictures;
mod plans;
mod properties;
mod share;
mod toy;
