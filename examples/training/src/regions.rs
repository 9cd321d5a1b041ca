//! `regions`: makes frames with overlays on them, and trains the detector that finds them.
//!
//! Every sample is drawn when it is needed, from its number and the seed alone: nothing is cached, no frame is seen twice,
//! and a run that was cut off goes on with the very batches that would have followed.
//!
//! | part | what it does |
//! |---|---|
//! | [`scene`] | photographs, footage and drawn scenes, with signs, windows and edges in them that are no overlays |
//! | [`average`] | scenes as they look on the average over a video |
//! | [`borders`], [`logos`], [`subtitles`], [`watermarks`] | one class each, in many kinds |
//! | [`design`] | what is put over a scene, with its labels |
//! | [`samples`] | scene, design, the wear of encoding: batches |
//! | [`train`], [`validate`] | the loop; average precision by class and recall by kind |
//! | [`videos`] | whole videos with labels, to judge the pipeline with |

mod average;
mod borders;
mod design;
mod fonts;
mod ink;
mod logos;
mod samples;
mod scene;
mod sheet;
mod subtitles;
mod train;
mod validate;
mod videos;
mod watermarks;
mod words;

use std::path::PathBuf;

use clap::Subcommand;

use crate::dataset::Split;
use crate::error::Error;
use crate::sources::Sources;
use fonts::Fonts;

/// Arguments of `regions`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Trains the detector, or goes on where a run stopped
    Train(train::Args),
    /// Draws samples with their labels onto one picture, to look at
    Sheet(sheet::Args),
    /// Makes whole videos with overlays and their labels, for `clipsieve evaluate`
    Videos(videos::Args),
}

/// What samples are made of.
#[derive(clap::Args)]
struct Material {
    /// Folder of photographs; may be given several times
    #[arg(long)]
    photos: Vec<PathBuf>,
    /// Folder of footage; may be given several times
    #[arg(long)]
    footage: Vec<PathBuf>,
    /// Folder of photographs to validate with, and nothing else: then all of `--photos` is trained on
    #[arg(long)]
    val_photos: Vec<PathBuf>,
    /// Folder of footage to validate with, and nothing else: then all of `--footage` is trained on
    #[arg(long)]
    val_footage: Vec<PathBuf>,
    /// Folder of fonts
    #[arg(long, default_value = "/usr/share/fonts")]
    fonts: PathBuf,
    /// What all chance is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Material {
    fn sources(&self, split: Split) -> Result<Sources, Error> {
        let say = |what: String| eprintln!("{what}");
        let apart = !self.val_photos.is_empty() || !self.val_footage.is_empty();
        let (photos, footage) = match split {
            Split::Val if apart => (&self.val_photos, &self.val_footage),
            _ => (&self.photos, &self.footage),
        };
        let share = (!apart).then_some((self.seed, split));
        let mut sources = Sources::load(photos, footage, share, &say)?;
        samples::without_bars(&mut sources);
        Ok(sources)
    }

    fn load_fonts(&self) -> Result<Fonts, Error> {
        Fonts::load(&self.fonts, &|what| eprintln!("{what}"))
    }
}

/// Runs `regions`.
pub fn run(args: &Args) -> Result<(), Error> {
    match &args.work {
        Work::Train(args) => train::run(args),
        Work::Sheet(args) => sheet::run(args),
        Work::Videos(args) => videos::run(args),
    }
}
