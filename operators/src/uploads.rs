//! Where finished files go: a store, a key for each, and the wait until the file lies there.

use std::path::Path;
use std::sync::Arc;

use clipsieve_engine::operator::{Call, ErrorKind, Finding, OperatorError, Row, Setting, Stores};
use sha2::{Digest, Sha256};

use crate::stores::{Access, Place, Store, StoreError, hex, wait_while};
use crate::template::Template;

/// The name in a key that stands for what the file was made of.
const DIGEST: &str = "digest";

/// A store, and how files are called there.
#[derive(Clone)]
pub struct Uploads {
    place: Arc<Place>,
    key: Arc<Template>,
}

impl Uploads {
    /// Files go into the store that the pipeline file calls `store`, under this key. Touches no network.
    ///
    /// # Errors
    /// `Config` if the store cannot be opened for writing, or the key is no template.
    pub fn new(stores: &Stores, store: &str, key: &str) -> Result<Self, OperatorError> {
        Ok(Self {
            place: Arc::new(Place::named(stores, store, Access::Write)?),
            key: Arc::new(Template::parse(key).map_err(OperatorError::config)?),
        })
    }

    /// Puts a small file into the store, so that one that cannot be written to is noticed before the first row. A store
    /// that rows choose is noticed when a row does.
    ///
    /// # Errors
    /// `Config` if the store refuses; `Temporary` if it does not answer.
    pub fn probe(&self) -> Result<(), OperatorError> {
        self.place.fixed().map_or(Ok(()), Store::check_writing)
    }

    /// The path of a row's file in the store. `made_of` is all that decides what the file holds; `{digest}` in the key is
    /// twelve digits of it, so that two rows of one `video_id` do not overwrite each other, and the same row done again
    /// finds its own file.
    ///
    /// # Errors
    /// `BadInput` if a column of the key is missing.
    pub fn key(&self, row: &Row, made_of: &str) -> Result<String, OperatorError> {
        let digest = hex(&Sha256::digest(made_of.as_bytes()));
        self.key.fill_with(row, &[(DIGEST, &digest[..12])])
    }

    /// Puts a file into the row's store. Returns its URL.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn put(&self, row: &Row, key: &str, file: &Path) -> Result<String, StoreError> {
        let store = self.place.of(row)?;
        store.put_file(key, file, media_type(key)).await
    }

    /// As [`put`](Uploads::put), on a thread that waits for it, at most until the call's deadline.
    ///
    /// # Errors
    /// As [`put`](Uploads::put); `Timeout` at the deadline.
    pub fn put_and_wait(
        &self,
        call: &Call,
        key: &str,
        file: &Path,
    ) -> Result<String, OperatorError> {
        let (uploads, item) = (self.clone(), Arc::clone(&call.item));
        let (key, file) = (key.to_owned(), file.to_path_buf());
        let put = async move { uploads.put(&item.row, &key, &file).await };
        let deadline = call.deadline.clone();
        wait_while(put, &|| !deadline.expired()).map_err(|error| match call.deadline.expired() {
            true => OperatorError::new(
                ErrorKind::Timeout,
                "the upload did not finish by the deadline",
            ),
            false => error.into(),
        })
    }
}

/// What is wrong with the parameter `key` of a stage.
pub fn check_key(setting: &Setting<'_>) -> Vec<Finding> {
    let key = setting.params.text("key");
    let mut findings = Vec::new();
    if let Err(message) = Template::parse(key) {
        findings.push(Finding::param("key", message));
    } else if !key.contains('{') {
        let message =
            format!("`{key}` is the same for every row, so each would overwrite the one before");
        let help =
            "use columns or the digest of what the file is made of: `{video_id}-{digest}.mp4`";
        findings.push(Finding::param("key", message).with_help(help));
    }
    if !["mp4", "mkv", "mov"]
        .iter()
        .any(|extension| key.ends_with(&format!(".{extension}")))
    {
        findings.push(Finding::param(
            "key",
            format!("`{key}` does not end in .mp4, .mkv or .mov"),
        ));
    }
    findings
}

/// The media type that a store is told.
fn media_type(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("mkv") => "video/x-matroska",
        Some("mov") => "video/quicktime",
        _ => "video/mp4",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_ids_get_different_keys_and_the_same_row_the_same() {
        let store = clipsieve_engine::operator::Store {
            settings: json!({"type": "memory", "root": "uploads"}),
        };
        let stores = Stores::from([("crops".to_owned(), store)]);
        let uploads = Uploads::new(&stores, "crops", "{video_id}-{digest}.mp4").unwrap();
        let row = Row(json!({"video_id": "1"}).as_object().unwrap().clone());
        let key = |made_of| uploads.key(&row, made_of).unwrap();
        assert_eq!(key("a.mp4 0,0,10,10"), key("a.mp4 0,0,10,10"));
        assert_ne!(key("a.mp4 0,0,10,10"), key("b.mp4 0,0,10,10"));
        assert!(key("a").starts_with("1-") && key("a").len() == "1-.mp4".len() + 12);
        uploads.probe().unwrap();
    }
}
