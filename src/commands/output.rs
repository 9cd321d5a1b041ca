//! Results go to stdout, all else to stderr; whoever closes stdout has seen enough.

use std::io::{self, Write};

/// Writes results to stdout. A closed pipe is success.
///
/// # Errors
/// Any other trouble with stdout.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Tells of something on stderr; nothing can be done if even that fails.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
