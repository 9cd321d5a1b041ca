//! A file of a store as a file here, for as long as somebody reads it.

use std::path::Path;
use std::sync::Arc;

use clipsieve_engine::operator::{Call, Disk, DiskSpace};

use super::Trouble;
use crate::media::Medium;
use crate::stores::{Store, StoreError, Stored};

/// A copy that was made of a file, and the space it takes. The file goes first.
struct LocalCopy {
    _file: tempfile::TempPath,
    _space: Arc<DiskSpace>,
}

/// Downloads a file into a folder as soon as there is space for it. The copy goes away with the last that holds the medium.
///
/// # Errors
/// What the store answered, or what is wrong with the disk.
pub(super) async fn bring(
    store: &Store,
    stored: &Stored,
    call: &Call,
    disk: &Disk,
    folder: &Path,
) -> Result<Medium, Trouble> {
    let space = disk.reserve(&call.item, stored.bytes).await;
    let space = Arc::new(space.map_err(Trouble::Here)?);
    // Reserves the name, and removes the file when it is dropped: with the last stage's video, or with this future.
    let copy = tempfile::Builder::new()
        .prefix("fetch-")
        .suffix(&extension(stored.key.as_str()))
        .tempfile_in(folder)
        .map_err(|error| {
            let doing = format!("writing in {}", folder.display());
            Trouble::Here(StoreError::of_io(&doing, &error).into())
        })?
        .into_temp_path();
    store.download(stored, &copy, Arc::clone(&space)).await?;
    let path = copy.to_path_buf();
    let copy = Arc::new(LocalCopy {
        _file: copy,
        _space: space,
    });
    Ok(Medium::temporary(path, copy))
}

/// A file's extension with its dot, if it is a plain one: decoders look at it.
fn extension(key: &str) -> String {
    Path::new(key)
        .extension()
        .and_then(|extension| extension.to_str())
        .filter(|extension| {
            extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        .map(|extension| format!(".{extension}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_extensions_are_kept() {
        assert_eq!(extension("a/b.mp4"), ".mp4");
        assert_eq!(extension("a/b"), "");
        assert_eq!(extension("a/b.mp4 x"), "");
        assert_eq!(extension("a.b/c"), "");
        assert_eq!(extension("a.abcdefghi"), "");
    }
}
