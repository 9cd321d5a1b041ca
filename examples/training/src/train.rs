//! `train`.

use crate::error::Error;

/// Arguments of `train`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `train`.
pub fn run(_: &Args) -> Result<(), Error> {
    Err(Error::Usage("train is not here yet".to_owned()))
}
