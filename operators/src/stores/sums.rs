//! The checksums that stores tell of their files: an ETag that is the MD5 of what lies there, and OSS's CRC-64.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};
use opendal::Metadata;

use super::StoreError;

/// The header in which OSS tells the CRC-64 of a file, also of one that was put in several parts, whose ETag is no MD5.
pub(super) const CRC64_HEADER: &str = "x-oss-hash-crc64ecma";
/// As what it reaches us: opendal hands on the metadata that users gave a file, and of the headers only the usual ones.
pub(super) const CRC64_CARRIER: &str = "x-oss-meta-clipsieve-crc64";
const CRC64_NAME: &str = "clipsieve-crc64";

/// Bytes of a file that are summed at once.
const PIECE_BYTES: usize = 1 << 20;

/// The MD5 that an ETag is: 32 hexadecimal digits in quotes. That of a file put in several parts has a `-` behind them.
pub(super) fn md5_of_etag(etag: Option<&str>) -> Option<String> {
    let digits = etag?.trim_matches('"');
    let is_md5 = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then(|| digits.to_ascii_lowercase())
}

/// The CRC-64 that the store told with these metadata.
pub(super) fn crc64_told(metadata: &Metadata) -> Option<u64> {
    metadata.user_metadata()?.get(CRC64_NAME)?.parse().ok()
}

/// A CRC-64 that is being made, as OSS makes it (ECMA-182, reflected).
pub(super) struct Crc64(crc_fast::Digest);

impl Crc64 {
    pub fn new() -> Self {
        Self(crc_fast::Digest::new(CrcAlgorithm::Crc64Xz))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

/// The CRC-64 of a file, from its beginning.
pub(super) fn crc64_of(file: &File) -> Result<u64, StoreError> {
    let mut sum = Crc64::new();
    each_piece(file, |piece| sum.update(piece))?;
    Ok(sum.value())
}

/// The MD5 of a file, from its beginning.
pub(super) fn md5_of(file: &File) -> Result<String, StoreError> {
    let mut digest = Md5::new();
    each_piece(file, |piece| digest.update(piece))?;
    Ok(hex(&digest.finalize()))
}

fn each_piece(file: &File, mut take: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let read = file
            .read_at(&mut piece, at)
            .map_err(|error| StoreError::of_io("reading what came", &error))?;
        if read == 0 {
            return Ok(());
        }
        take(&piece[..read]);
        at += read as u64;
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_etags_are_sums() {
        let sum = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(
            md5_of_etag(Some(&format!("\"{sum}\""))).as_deref(),
            Some(sum)
        );
        assert_eq!(md5_of_etag(Some(&sum.to_uppercase())).as_deref(), Some(sum));
        assert_eq!(md5_of_etag(Some(&format!("\"{sum}-3\""))), None);
        assert_eq!(md5_of_etag(Some("W/\"1234\"")), None);
        assert_eq!(md5_of_etag(None), None);
    }

    #[test]
    fn the_crc_is_that_of_oss() {
        // From the manual of OSS and the catalogue of CRCs (CRC-64/XZ).
        let mut sum = Crc64::new();
        sum.update(b"1234");
        sum.update(b"56789");
        assert_eq!(sum.value(), 0x995D_C9BB_DF19_39FA);
        assert!(CRC64_CARRIER.ends_with(CRC64_NAME));
    }
}
