//! Clips made to order: what moves, what is done to it, and how it becomes a file and a sample.
//!
//! A clip is a [`Film`](film::Film): a function from a time to a picture, so that effects wrap films and films cut between
//! films. [`real`] films what moves as the world does (footage, photographs with depth, drawn scenes), [`still`] what a
//! simulated camera makes of one picture; [`effects`], [`damage`] and [`turned`] spoil films; [`sample`] draws recipes and
//! takes every clip through an encoder, the decoder and the sampler of the pipeline.

pub mod added;
pub mod bars;
pub mod damage;
pub mod effects;
pub mod film;
pub mod lettering;
pub mod noise;
pub mod picture;
pub mod real;
pub mod sample;
pub mod scene;
pub mod stickers;
pub mod still;
pub mod transitions;
pub mod turned;
