//! The `fs` service: a folder of the local file system, or a mount (CPFS, NFS, FUSE).

use std::path::Path;

use opendal::Operator;
use opendal::services::Fs;

use super::service::SettingSpec;
use super::{Access, LocalRoot, Opened, Service, SettingKind, Settings, StoreError};

pub(super) const FS: Service = Service {
    name: "fs",
    summary: "a folder of the local file system or of a mount; its files are used in place",
    settings: &[SettingSpec::needed(
        "root",
        SettingKind::OfRow,
        "The folder; a relative one starts at the working directory. May use the row's columns.",
    )],
    open,
};

fn open(settings: &Settings, access: Access) -> Result<Opened, StoreError> {
    let root = settings.required("root")?;
    let path = Path::new(root);
    // opendal makes a missing root itself; for reading that would hide a mount that is not there.
    if access == Access::Read {
        let found = std::fs::metadata(path).map_err(|error| {
            StoreError::config(format!(
                "the store's `root` {root:?} cannot be used: {error}; make the folder, mount it, or name another"
            ))
        })?;
        if !found.is_dir() {
            return Err(StoreError::config(format!(
                "the store's `root` {root:?} is not a folder"
            )));
        }
    } else {
        std::fs::create_dir_all(path).map_err(|error| {
            StoreError::config(format!(
                "the store's `root` {root:?} cannot be made: {error}; make the folder, or name another"
            ))
        })?;
    }
    let unusable =
        |error| StoreError::of_io(&format!("opening the store's `root` {root:?}"), &error);
    let real = path.canonicalize().map_err(unusable)?;
    let spelled = std::path::absolute(path).map_err(unusable)?;
    let operator = Operator::new(Fs::default().root(&real.to_string_lossy()))
        .map_err(|error| StoreError::of_service("opening the store", &error))?;
    Ok(Opened {
        operator,
        base_url: format!("file://{}", real.display())
            .trim_end_matches('/')
            .to_owned(),
        local_root: Some(LocalRoot { real, spelled }),
    })
}
