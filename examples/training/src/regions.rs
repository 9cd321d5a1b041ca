//! `regions`.

use crate::error::Error;

/// Arguments of `regions`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `regions`.
pub fn run(_: &Args) -> Result<(), Error> {
    Err(Error::Usage("regions is not here yet".to_owned()))
}
