//! `generate`.

use crate::error::Error;

/// Arguments of `generate`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `generate`.
pub fn run(_: &Args) -> Result<(), Error> {
    Err(Error::Usage("generate is not here yet".to_owned()))
}
