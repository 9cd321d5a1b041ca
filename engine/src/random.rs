//! Random numbers that nobody can guess, and how they are written down.

use std::fs::File;
use std::io::{self, Read};

/// Random bytes of the system.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// 128 random bits in hexadecimal.
pub(crate) fn token() -> io::Result<String> {
    Ok(hex(bytes::<16>()?))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
