//! What can be said of a clip's quality from its pixels alone, without a model.
//!
//! Each signal is one number a clip. [`still`], [`texture`], [`detail`], [`layout`], [`colour`], [`chroma`] and most of [`effects`]
//! look at one frame at a time, [`change`] at two frames that follow one another, [`course`] at how such changes run on,
//! [`heading`] at which way and how fast things go, [`affine`] and [`misfit`] at how much of them a moving camera over a flat
//! picture explains; [`signal`] lists all and puts the
//! numbers of the frames together to the number of the clip. They work on the gamma-coded 8-bit luma ([`plane::Plane`]);
//! [`colour`], [`chroma`], [`texture::uneven_levels`] and some of [`effects`] on RGB. None uses threads or chance: the same frames
//! give the same number.
//!
//! Two frames of a clip that are the same frame in memory come from a span with fewer frames than were asked for. They
//! are one frame here, or a short window would pass for a frozen one.

pub mod affine;
mod affine_maps;
pub mod change;
pub mod chroma;
pub mod colour;
pub mod course;
pub mod detail;
pub mod effects;
pub mod heading;
pub mod layout;
pub mod misfit;
pub mod plane;
pub mod signal;
pub mod still;
pub mod texture;
