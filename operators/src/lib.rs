//! The clipsieve operators, one file each, and the media, store and table code they stand on.

pub mod aggregate;
pub mod fetch;
pub mod kinds;
pub mod media;
pub mod read_table;
pub mod stores;
pub mod tables;
pub mod write_table;
