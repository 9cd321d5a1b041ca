//! Video files in, frames out: everything that touches ffmpeg.
//!
//! **What is true of a frame here.** A frame that leaves this module is upright RGB in *display* geometry: rotation
//! metadata and the sample aspect ratio have been applied, edit lists have been honoured, and times count from the first
//! frame that is shown. Nothing downstream needs to know how a file was coded.
//!
//! **Which frames.** A request names a span of the video (all of it, or its windows) and how many frames of it are
//! wanted. The frames are picked by index over the frames that *really decode*, in presentation order
//! ([`timeline`]). Containers lie about that number, so [`decode`] predicts it from the packets, decodes, and compares: if
//! the prediction was wrong, and the wrong frames were kept because of it, the file is decoded once more with
//! the timeline now known. One pass serves all requests; a frame is converted once for each distinct [`Fit`] and shared by
//! `Arc` after that, and nothing but the picked frames is ever held. Where the packets of a stream leave nothing in doubt, only
//! those are decoded that lead to a picked frame ([`route`]).
//!
//! **Trust.** The files come from strangers. Only the bytes handed over are ever read ([`medium`], [`source`]): containers that refer to
//! other files or addresses are refused by name. Sizes are bounded before memory is taken, and the caller's
//! [`Interrupt`] is asked at every read, packet and frame, so that no file can hold a thread for ever.
//!
//! **A view** ([`CropRect`]) narrows what is seen: with one, the frames are those of a video that had only ever been
//! that size. [`crop_to_file`] writes the same rectangle as a file of its own.

mod bitstream;
mod convert;
pub mod decode;
pub mod encode;
mod encode_audio;
mod encode_frames;
mod encode_video;
pub mod error;
pub mod frames;
pub mod geometry;
pub mod info;
pub mod interrupt;
pub mod medium;
mod orientation;
mod output;
mod reader;
mod route;
mod sample_table;
mod selection;
pub mod source;
mod survey;
pub mod timeline;
mod trip;
mod window;

pub use decode::{
    CropJob, DecodeOptions, Decoded, Statistics, decode, decode_and_crop, decode_with,
    encoder_footprint_bytes, footprint_bytes,
};
pub use encode::{EncodeOptions, EncodedInfo, crop_to_file};
pub use encode_frames::frames_to_file;
pub use error::MediaError;
pub use frames::{Clip, Frame};
pub use geometry::{CropRect, Fit};
pub use info::{VideoInfo, probe};
pub use interrupt::Interrupt;
pub use medium::{Medium, ReadSeek, Stream};
pub use orientation::Orientation;
pub use selection::{Request, Span};
