//! Rows in and out.
//!
//! An input row is `{video_id, oss_bucket, video_path, video_tag, info}`, a result row is `{video_id, oss_bucket,
//! video_oss_url, video_tag, info, result_info}`; every other column of the input passes through. What makes a row one of
//! these stands in [`InputRow`] and [`ResultRow`], whatever table it comes from or goes to.
//!
//! Rows come from a folder, a glob or a video file ([`files`]), or from tables, whose formats stand in one list,
//! [`FORMATS`]: an entry opens a reader (an engine [`Source`](clipsieve_engine::operator::Source)) over the bytes of a
//! table ([`Blob`]) and writes a table of rows that were kept for it ([`Spool`]). A reader never stops at a bad row: it
//! hands it on with what is wrong, so that one result row comes out for it too. A table shows when it is whole
//! ([`Output`]). Tables of ODPS have no bytes; what is special of them stands in one file.

mod blob;
mod cells;
mod claims;
mod columns;
mod csv;
pub mod files;
mod format;
mod input;
mod jsonl;
mod lines;
mod names;
mod odps;
mod open;
mod output;
mod parquet;
mod result;
mod several;
mod spool;
mod stored;
mod write;

pub use blob::Blob;
pub use claims::Claims;
pub use csv::CsvReader;
pub use format::{FORMATS, Format};
pub use input::InputRow;
pub use jsonl::{JsonlReader, JsonlWriter};
pub use lines::LONGEST_LINE_BYTES;
pub use names::Names;
pub use odps::OdpsReader;
pub use open::{Intake, Reading, check_uri, open, open_all};
pub use output::Output;
pub use parquet::ParquetReader;
pub use result::{Machine, ResultRow};
pub use several::Several;
pub use spool::Spool;
pub use stored::store_of;
pub use write::{RowWriter, WAITING, Writing, check_target, create};
