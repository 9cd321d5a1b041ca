//! Rows in and out.
//!
//! An input row is `{video_id, oss_bucket, video_path, video_tag, info}`, a result row is `{video_id, oss_bucket,
//! video_oss_url, video_tag, info, result_info}`; every other column of the input passes through. What makes a row one of
//! these stands in [`InputRow`] and [`ResultRow`], whatever table it comes from or goes to.
//!
//! Rows come from a folder, a glob or a video file ([`files`]), or from a table, whose formats stand in one list,
//! [`FORMATS`]: an entry opens a reader (an engine [`Source`](clipsieve_engine::operator::Source)) and a [`RowWriter`].
//! A reader never stops at a bad row: it hands it on with what is wrong, so that one result row comes out for it too.
//! A writer shows its table when it is whole ([`Output`]).

pub mod files;
mod format;
mod input;
mod jsonl;
mod lines;
mod output;
mod result;

pub use format::{FORMATS, Format, RowWriter, check_uri, create, open, writable};
pub use input::InputRow;
pub use jsonl::{JsonlReader, JsonlWriter};
pub use lines::LONGEST_LINE_BYTES;
pub use output::Output;
pub use result::{Machine, ResultRow};
