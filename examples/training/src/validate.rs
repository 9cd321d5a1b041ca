//! `validate`.

use crate::error::Error;

/// Arguments of `validate`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `validate`.
pub fn run(_: &Args) -> Result<(), Error> {
    Err(Error::Usage("validate is not here yet".to_owned()))
}
