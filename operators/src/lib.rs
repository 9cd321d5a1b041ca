//! The clipsieve operators, one file each, and what they stand on.
//!
//! An operator is a file with a constant of its name and a line in [`registry`]. Beside the operators lie `media`
//! (everything that touches FFmpeg), `stores` (files near and far), `tables` (rows in and out), `regions` and `signals`
//! (what can be seen in frames without a model), and the few types they share: [`kinds`] for what flows on the edges,
//! [`demand`] for what samplers ask of the decoder.

pub mod connect;
pub mod demand;
pub mod kinds;
pub mod media;
pub mod regions;
pub mod rule;
pub mod signals;
pub mod stores;
pub mod tables;

mod backbones;
mod json;
mod model_cache;
mod model_files;
mod sampling;
mod template;
#[cfg(test)]
mod test_stage;
mod uploads;
mod videos;

pub mod aggregate;
pub mod classify;
pub mod combine;
pub mod crop_upload;
pub mod decode;
pub mod detect_regions;
pub mod fetch;
pub mod measure;
pub mod read_table;
pub mod reverse;
pub mod sample;
pub mod upload;
pub mod windows;
pub mod write_table;

use clipsieve_engine::operator::{Registry, ResourceChecks};

/// All operators of clipsieve, in the order in which a pipeline uses them.
pub fn registry() -> Registry {
    Registry::new(
        [
            &read_table::READ_TABLE,
            &fetch::FETCH,
            &detect_regions::DETECT_REGIONS,
            &crop_upload::CROP_UPLOAD,
            &decode::DECODE,
            &sample::SAMPLE,
            &windows::WINDOWS,
            &reverse::REVERSE,
            &classify::CLASSIFY,
            &measure::MEASURE,
            &combine::COMBINE,
            &aggregate::AGGREGATE,
            &write_table::WRITE_TABLE,
        ],
        ResourceChecks {
            model: model_files::model,
            store: stores::check_settings,
        },
    )
    .continued(crop_upload::UPLOAD_BEHIND_DECODE)
}

/// What `device: auto` means for the process with this rank on its machine: `cuda:N` if there is a GPU that libtorch can
/// use (processes take them in turn), else `cpu`.
pub fn default_device(local_rank: usize) -> String {
    clipsieve_models::DeviceChoice::Auto
        .resolve(local_rank)
        .map_or_else(|_| "cpu".to_string(), |device| device.id())
}
