//! The clipsieve operators, one file each, and the media, store and table code they stand on.

pub mod kinds;
pub mod media;
pub mod stores;
pub mod tables;
