//! What spoils a frame, and how to cut it away.
//!
//! Two kinds of detector say what they see: a model says it frame by frame, and [`signals`] says it of all frames
//! together, from the pixels alone. [`tracks`] turns what was seen frame by frame into what persists, and [`safe_crop`]
//! finds the largest part of the frame that is free of all of it.

pub mod safe_crop;
pub mod tracks;
