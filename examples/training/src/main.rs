//! `clipsieve-training`: from a folder of photographs and a folder of footage to starter weights.
//!
//! `generate` makes labelled clips into a cache ([`dataset`]), `train` and `regions` train models on it, `validate` says
//! how well signals and models tell the labels apart on sources that training never saw.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod augment;
mod chance;
mod clips;
mod dataset;
mod error;
mod fit_combine;
mod generate;
mod ranking;
mod regions;
mod sources;
mod train;
mod validate;

#[derive(Parser)]
#[command(name = "clipsieve-training", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes labelled clips from photographs, footage and drawn scenes
    Generate(generate::Args),
    /// Trains the classifiers on generated clips
    Train(train::Args),
    /// Makes labelled overlays and trains the regions detector
    Regions(regions::Args),
    /// Says how well each signal tells the labels of a cache apart
    Validate(validate::Args),
    /// Fits the rule that lets a decision rest on a network and on signals
    FitCombine(fit_combine::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Regions(args) => regions::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::FitCombine(args) => fit_combine::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
