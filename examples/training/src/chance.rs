//! Seeded chance, the one that training draws from too.

pub use clipsieve_models::training::chance::{Chance, fnv};
