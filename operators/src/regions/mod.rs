//! What spoils a frame, and how to cut it away.
//!
//! Two kinds of detector say what they see: a model says it frame by frame, and [`signals`] says it of all frames
//! together, from the pixels alone ([`borders`], [`blurred_fill`], [`overlays`], [`subtitles`]). [`tracks`] turns what was
//! seen frame by frame into what persists, [`standing`] adds what the mean of the frames shows, [`union`] puts the two
//! detectors together, and [`safe_crop`] finds the largest part of the frame that is free of all of it.

pub mod blurred_fill;
pub mod borders;
pub mod overlays;
pub mod safe_crop;
pub mod seam;
pub mod signals;
pub mod standing;
pub mod subtitles;
pub mod tracks;
pub mod union;

#[cfg(test)]
mod test_scenes;
