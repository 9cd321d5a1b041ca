#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use std::path::Path;

use super::*;

fn local(root: &Path, access: Access) -> Store {
    Store::open("disk", &json!({"type": "fs", "root": root}), access).unwrap()
}

fn memory(name: &str) -> Store {
    let settings = json!({"type": "memory", "root": name});
    Store::open("ram", &settings, Access::Write).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn refused(store: &Store, path: &str) -> StoreError {
    store.locate(path).await.unwrap_err()
}

#[tokio::test]
async fn a_local_file_is_used_in_place() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    fs::write(root.path().join("a/b.mp4"), "video").unwrap();
    let store = local(root.path(), Access::Read);
    let real = root.path().canonicalize().unwrap().join("a/b.mp4");
    let absolute = real.to_str().unwrap();
    for path in ["a/b.mp4", "./a//b.mp4", absolute] {
        let stored = store.locate(path).await.unwrap();
        assert_eq!(stored.key.as_str(), "a/b.mp4");
        assert_eq!(stored.bytes, 5);
        assert_eq!(stored.local.as_deref(), Some(real.as_path()));
    }
    assert_eq!(store.url_of("a/b.mp4"), format!("file://{absolute}"));
    assert!(store.url_of("a b#1.mp4").ends_with("/a%20b%231.mp4"));
    assert!(store.url_of("猫.mp4").ends_with("/猫.mp4"));
}

#[tokio::test]
async fn no_path_leads_out_of_a_local_store() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.mp4"), "secret").unwrap();
    let root = tempfile::tempdir_in(outside.path()).unwrap();
    fs::write(root.path().join("in.mp4"), "video").unwrap();
    symlink(outside.path(), root.path().join("folder")).unwrap();
    symlink(
        outside.path().join("secret.mp4"),
        root.path().join("file.mp4"),
    )
    .unwrap();
    symlink("in.mp4", root.path().join("inner.mp4")).unwrap();
    symlink("loop.mp4", root.path().join("loop.mp4")).unwrap();
    let store = local(root.path(), Access::Write);

    let secret = outside.path().join("secret.mp4");
    let climbing = format!("{}/../secret.mp4", root.path().display());
    // A sibling whose name only begins like the root.
    let sibling = format!("{}-b/secret.mp4", root.path().display());
    for path in [
        "../secret.mp4",
        "in/../../secret.mp4",
        "%2e%2e/secret.mp4",
        "%252e%252e/secret.mp4",
        "/etc/passwd",
        secret.to_str().unwrap(),
        &climbing,
        &sibling,
        "folder/secret.mp4",
        "file.mp4",
        "loop.mp4",
        "in.mp4\0",
        "",
    ] {
        let error = refused(&store, path).await;
        assert_eq!(error.kind, StoreErrorKind::BadInput, "{path:?}: {error}");
    }
    let error = refused(&store, "file.mp4").await;
    assert!(error.message.contains("through a symbolic link"), "{error}");
    assert_eq!(store.locate("inner.mp4").await.unwrap().bytes, 5);

    let from = root.path().join("in.mp4");
    for key in [
        "folder/new.mp4",
        "folder/new/new.mp4",
        "../new.mp4",
        "a/../../new.mp4",
    ] {
        let error = store.put_file(key, &from, "video/mp4").await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::BadInput, "{key}: {error}");
    }
    assert_eq!(files(outside.path()).len(), 2);
}

#[tokio::test]
async fn what_is_no_file_is_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("folder.mp4")).unwrap();
    fs::write(root.path().join("empty.mp4"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.mp4")).unwrap();
    let store = local(root.path(), Access::Read);
    for (path, kind, text) in [
        ("no.mp4", StoreErrorKind::NotFound, "looking for `no.mp4`"),
        ("empty.mp4/a.mp4", StoreErrorKind::NotFound, "looking for"),
        ("folder.mp4", StoreErrorKind::BadInput, "is a folder"),
        ("folder.mp4/", StoreErrorKind::BadInput, "names a folder"),
        ("empty.mp4", StoreErrorKind::BadInput, "is an empty file"),
        ("socket.mp4", StoreErrorKind::BadInput, "is a special file"),
    ] {
        let error = refused(&store, path).await;
        assert_eq!(error.kind, kind, "{path}: {error}");
        assert!(error.message.contains(text), "{error}");
    }
    let long = "x".repeat(300);
    assert_eq!(refused(&store, &long).await.kind, StoreErrorKind::BadInput);
}

#[tokio::test]
async fn a_root_that_went_away_is_not_a_missing_file() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path(), Access::Read);
    assert_eq!(
        refused(&store, "a.mp4").await.kind,
        StoreErrorKind::NotFound
    );
    root.close().unwrap();
    let error = refused(&store, "a.mp4").await;
    assert_eq!(error.kind, StoreErrorKind::Temporary, "{error}");
    assert!(error.message.contains("is gone"), "{error}");
}

#[test]
fn a_missing_root_is_named_for_reading_and_made_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new");
    let settings = json!({"type": "fs", "root": root});
    let error = Store::open("disk", &settings, Access::Read).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Config);
    assert!(error.message.contains(root.to_str().unwrap()), "{error}");
    assert!(!root.exists());
    local(&root, Access::Write);
    assert!(root.is_dir());

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let settings = json!({"type": "fs", "root": file});
    let error = Store::open("disk", &settings, Access::Read).unwrap_err();
    assert!(error.message.contains("is not a folder"), "{error}");
}

#[test]
fn a_store_is_found_by_its_name() {
    let stores = Stores::from([(
        "crops".to_owned(),
        clipsieve_engine::operator::Store {
            settings: json!({"type": "fs", "root": "/no/such/folder"}),
        },
    )]);
    let error = Store::named(&stores, "crop", Access::Read).unwrap_err();
    assert!(error.message.ends_with("it has: crops"), "{error}");
    let error = Store::named(&stores, "crops", Access::Read).unwrap_err();
    assert!(
        error
            .message
            .starts_with("store `crops`: the store's `root`"),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_appears_whole_and_replaces() {
    let root = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("crop.mp4");
    let store = local(root.path(), Access::Write);
    let large = vec![7u8; (8 << 20) + 123];
    fs::write(&from, &large).unwrap();
    let url = store
        .put_file("a/b/crop.mp4", &from, "video/mp4")
        .await
        .unwrap();
    let there = root.path().canonicalize().unwrap().join("a/b/crop.mp4");
    assert_eq!(url, format!("file://{}", there.display()));
    assert_eq!(fs::read(&there).unwrap(), large);
    fs::write(&from, "second").unwrap();
    store
        .put_file("a/b/crop.mp4", &from, "video/mp4")
        .await
        .unwrap();
    assert_eq!(fs::read(&there).unwrap(), b"second");
    assert_eq!(files(there.parent().unwrap()), ["crop.mp4"]);
}

#[tokio::test]
async fn a_failed_upload_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let store = local(root.path(), Access::Write);
    let missing = root.path().join("missing.mp4");
    store
        .put_file("a.mp4", &missing, "video/mp4")
        .await
        .unwrap_err();
    // The renaming fails: a folder is in the way.
    fs::create_dir_all(root.path().join("taken/sub")).unwrap();
    let from = root.path().join("from.mp4");
    fs::write(&from, "video").unwrap();
    store
        .put_file("taken", &from, "video/mp4")
        .await
        .unwrap_err();
    assert_eq!(files(root.path()), ["from.mp4", "taken"]);
}

#[tokio::test]
async fn a_memory_store_is_one_place_for_all_who_name_it() {
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("a.mp4");
    fs::write(&from, "video").unwrap();
    let url = memory("one")
        .put_file("x/a.mp4", &from, "video/mp4")
        .await
        .unwrap();
    assert_eq!(url, "memory://one/x/a.mp4");

    let store = memory("one");
    let stored = store.locate("x/a.mp4").await.unwrap();
    assert_eq!((stored.bytes, &stored.local), (5, &None));
    assert_eq!(
        refused(&memory("two"), "x/a.mp4").await.kind,
        StoreErrorKind::NotFound
    );
    assert_eq!(
        refused(&store, "../x/a.mp4").await.kind,
        StoreErrorKind::BadInput
    );
    assert_eq!(
        refused(&store, "/x/a.mp4").await.kind,
        StoreErrorKind::BadInput
    );

    let to = work.path().join("copy.mp4");
    fs::write(&to, "old").unwrap();
    store.download(&stored, &to, ()).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"video");
    assert_eq!(files(work.path()), ["a.mp4", "copy.mp4"]);
}

#[tokio::test]
async fn a_download_of_another_size_is_temporary_and_leaves_the_old_file() {
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("a.mp4");
    fs::write(&from, "video").unwrap();
    let store = memory("short");
    store.put_file("a.mp4", &from, "video/mp4").await.unwrap();
    let mut stored = store.locate("a.mp4").await.unwrap();
    stored.bytes = 9;
    let error = store.download(&stored, &from, ()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Temporary);
    assert!(error.message.starts_with("reading `a.mp4`: "), "{error}");
    assert_eq!(files(work.path()), ["a.mp4"]);
    assert_eq!(fs::read(&from).unwrap(), b"video");
}
