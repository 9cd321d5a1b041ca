//! What can be said of a clip's quality from its pixels alone, without a model.
//!
//! Each signal is one number a clip. [`still`] looks at one frame at a time, [`change`] at two frames that follow one
//! another, [`affine`] at how much of that change a moving camera over a flat picture explains; [`signal`] lists them and
//! puts the numbers of the frames together to the number of the clip. All work on the gamma-coded 8-bit luma
//! ([`plane::Plane`]), and none uses threads or chance: the same frames give the same number.
//!
//! Two frames of a clip that are the same frame in memory come from a span with fewer frames than were asked for. They
//! are one frame here, or a short window would pass for a frozen one.

pub mod affine;
pub mod change;
pub mod plane;
pub mod signal;
pub mod still;
