//! The clipsieve operators, one file each, with the media, store and table code they stand on.

pub mod media;
