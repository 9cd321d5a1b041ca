//! What each service does: find, fetch, list, read here and there, put, refuse.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use clipsieve_operators::stores::{Access, Store, StoreErrorKind, wait};
use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::common::repository;
use super::servers::{self, Running, oss, s3, web};

pub fn s3_settings(server: &str, bucket: &str) -> Json {
    json!({
        "type": "s3", "endpoint": server, "bucket": bucket, "timeout": "1s",
        "access_key_id": s3::KEY_ID, "secret_access_key": s3::SECRET,
    })
}

pub fn oss_settings(server: &str, bucket: &str) -> Json {
    json!({
        "type": "oss", "endpoint": server, "bucket": bucket, "addressing": "path",
        "access_key_id": oss::KEY_ID, "access_key_secret": oss::SECRET,
    })
}

fn open(settings: &Json) -> Store {
    Store::open("tested", settings, Access::Read).expect("settings are sound")
}

/// Bytes that are the same nowhere else in the file.
pub fn bytes(length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64)
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    words.take(length).collect()
}

/// What every writable store has to do.
fn behaves(store: &Store) {
    let work = tempfile::tempdir().expect("a folder");
    let from = work.path().join("from");
    for length in [1, 1000, 12 << 20] {
        let body = bytes(length);
        std::fs::write(&from, &body).expect("a file");
        let url = put(store, "a b/猫 100%.mp4", &from);
        assert!(url.ends_with("/a%20b/猫%20100%25.mp4"), "{url}");
        let stored = locate(store, "a b/猫 100%.mp4").expect("it lies there");
        assert_eq!(stored.bytes, length as u64);
        let to = work.path().join("to");
        let (copy, target) = (store.clone(), to.clone());
        let asked = stored.clone();
        wait(async move { copy.download(&asked, &target, ()).await }).expect("it comes back");
        assert!(
            std::fs::read(&to).expect("the copy") == body,
            "{length} bytes differ"
        );

        let mut reader = store.reader(&stored, || true).expect("a reader");
        let at = length as u64 / 3;
        reader.seek(SeekFrom::Start(at)).expect("a place");
        let mut part = vec![0; (length - at as usize).min(5000)];
        reader.read_exact(&mut part).expect("bytes");
        assert!(part == body[at as usize..at as usize + part.len()]);
        assert_eq!(
            reader.seek(SeekFrom::End(0)).expect("the end"),
            length as u64
        );
        assert_eq!(reader.read(&mut part).expect("the end"), 0);
    }
    // Whole, from the first to the last byte, as a stream.
    let stored = locate(store, "a b/猫 100%.mp4").expect("it lies there");
    let mut all = Vec::new();
    let mut reader = store.reader(&stored, || true).expect("a reader");
    reader.read_to_end(&mut all).expect("all bytes");
    assert!(all == bytes(12 << 20));

    let written = bytes(9 << 20);
    let mut writer = store
        .create("a b/made.bin", "application/octet-stream")
        .expect("a writer");
    writer.write_all(&written).expect("bytes");
    writer.finish().expect("it appears");
    let made = locate(store, "a b/made.bin").expect("it lies there");
    assert_eq!(made.bytes, 9 << 20);
    let unfinished = store
        .create("a b/never.bin", "text/plain")
        .expect("a writer");
    drop(unfinished);

    let names = |folder: &'static str| {
        let store = store.clone();
        let found = wait(async move { store.list(folder).await }).expect("a listing");
        let names = found
            .into_iter()
            .map(|file| (file.key.to_string(), file.bytes));
        names.collect::<Vec<_>>()
    };
    let there = vec![
        ("a b/made.bin".to_owned(), 9 << 20),
        ("a b/猫 100%.mp4".to_owned(), 12 << 20),
    ];
    assert_eq!(names(""), there);
    assert_eq!(names("a b"), there);
    let gone = store.clone();
    wait(async move { gone.remove("a b/made.bin").await }).expect("it goes");
    assert_eq!(names("a b/").len(), 1);

    let error = locate(store, "a b/made.bin").expect_err("it is gone");
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
    for path in ["../x", "a/../../x", "/etc/passwd", "%2e%2e/x"] {
        let error = locate(store, path).expect_err("it leaves the store");
        assert_eq!(error.kind, StoreErrorKind::BadInput, "{error}");
    }
    let probed = store.clone();
    wait(async move { probed.probe().await }).expect("it answers");
    let probed = store.clone();
    wait(async move { probed.probe_writing().await }).expect("it takes files");
}

pub fn locate(
    store: &Store,
    path: &str,
) -> Result<clipsieve_operators::stores::Stored, clipsieve_operators::stores::StoreError> {
    let (store, path) = (store.clone(), path.to_owned());
    wait(async move { store.locate(&path).await })
}

pub fn put(store: &Store, key: &str, from: &Path) -> String {
    let (store, key, from) = (store.clone(), key.to_owned(), from.to_path_buf());
    wait(async move { store.put_file(&key, &from, "video/mp4").await }).expect("it goes up")
}

fn probe(settings: &Json) -> Result<(), clipsieve_operators::stores::StoreError> {
    let store = open(settings);
    wait(async move { store.probe().await })
}

#[test]
fn a_folder_behaves() {
    let root = tempfile::tempdir().expect("a folder");
    behaves(&open(&json!({"type": "fs", "root": root.path()})));
    let left = std::fs::read_dir(root.path().join("a b")).expect("the folder");
    assert_eq!(left.count(), 1, "no half-written file is left");
}

#[test]
fn s3_behaves() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("videos")).expect("a bucket");
    let server = s3::start(root.path());
    let settings = s3_settings(&server.url(), "videos");
    let store = open(&settings);
    assert_eq!(store.url_of("x.mp4"), "s3://videos/x.mp4");
    behaves(&store);

    let mut rooted = settings.clone();
    rooted["root"] = json!("deep/er");
    behaves(&open(&rooted));
    assert_eq!(open(&rooted).url_of("x.mp4"), "s3://videos/deep/er/x.mp4");
}

#[test]
fn alluxio_is_its_s3_endpoint() {
    let root = tempfile::tempdir().expect("a folder");
    let server = web::start(|request| {
        let path = request.uri().path();
        match path {
            "/api/v1/s3/cache/a.mp4" => web::whole(request, "/api/v1/s3/cache/a.mp4", b"video"),
            _ => web::status(StatusCode::NOT_FOUND),
        }
    });
    let store = open(&json!({"type": "alluxio", "endpoint": server.url(), "bucket": "cache"}));
    let stored = locate(&store, "a.mp4").expect("it lies there");
    assert_eq!(stored.bytes, 5);
    assert_eq!(store.url_of("a.mp4"), "alluxio://cache/a.mp4");
    let to = root.path().join("a.mp4");
    let target = to.clone();
    wait(async move { store.download(&stored, &target, ()).await }).expect("it comes");
    assert_eq!(std::fs::read(&to).expect("the copy"), b"video");
}

#[test]
fn oss_behaves_and_leaves_no_upload_open() {
    let server = oss::Oss::start();
    let store = open(&oss_settings(&server.running.url(), "videos"));
    assert_eq!(store.url_of("x.mp4"), "oss://videos/x.mp4");
    behaves(&store);
    assert_eq!(server.refused.get(), 0, "every signature was right");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while server.open_uploads() > 0 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(
        server.open_uploads(),
        0,
        "what was not finished was taken away"
    );
}

#[test]
fn a_wrong_secret_is_refused_and_shown_nowhere() {
    const WRONG: &str = "wr0ng/s3cr3t+";
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("videos")).expect("a bucket");
    let s3 = s3::start(root.path());
    let oss = oss::Oss::start();
    let mut of_s3 = s3_settings(&s3.url(), "videos");
    of_s3["secret_access_key"] = json!(WRONG);
    let mut of_oss = oss_settings(&oss.running.url(), "videos");
    of_oss["access_key_secret"] = json!(WRONG);
    for settings in [of_s3, of_oss] {
        let store = open(&settings);
        let shown = format!("{store:?}");
        let error = probe(&settings).expect_err("the secret is wrong");
        assert_eq!(error.kind, StoreErrorKind::Config, "{error}");
        let found = locate(&store, "a.mp4").expect_err("the secret is wrong");
        assert_eq!(found.kind, StoreErrorKind::Config, "{found}");
        for text in [
            shown,
            error.to_string(),
            found.to_string(),
            format!("{error:?}"),
        ] {
            assert!(!text.contains("wr0ng"), "{text}");
        }
    }
}

#[test]
fn a_bucket_that_is_not_there_is_no_missing_file() {
    let server = oss::Oss::start();
    let settings = oss_settings(&server.running.url(), oss::NO_BUCKET);
    let error = probe(&settings).expect_err("no such bucket");
    assert_eq!(error.kind, StoreErrorKind::Config, "{error}");
    assert!(error.message.contains("NoSuchBucket"), "{error}");

    let settings = s3_settings("http://127.0.0.1:9", "videos");
    let error = probe(&settings).expect_err("nobody listens there");
    assert_eq!(error.kind, StoreErrorKind::Temporary, "{error}");
}

/// The store of a web server and the file that it has.
fn web_store(server: &Running, more: Json) -> Store {
    let mut settings = json!({"type": "http", "endpoint": server.url(), "timeout": "2s"});
    for (key, value) in more.as_object().expect("settings") {
        settings[key] = value.clone();
    }
    open(&settings)
}

#[test]
fn a_server_without_ranges_is_read_whole() {
    let body = bytes(12 << 20);
    let served = body.clone();
    let server = web::start(move |request| web::whole(request, "/a.mp4", &served));
    let store = web_store(&server, json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("a.mp4");
    let stored = locate(&store, "a.mp4").expect("it lies there");
    let (copy, target, asked) = (store.clone(), to.clone(), stored.clone());
    wait(async move { copy.download(&asked, &target, ()).await }).expect("it comes");
    assert!(std::fs::read(&to).expect("the copy") == body);
    // Reading here and there needs ranges, and bytes of another place are never taken for the right ones.
    let mut reader = store.reader(&stored, || true).expect("a reader");
    reader.seek(SeekFrom::Start(1 << 20)).expect("a place");
    let error = reader
        .read(&mut [0; 10])
        .expect_err("the server answers no ranges");
    assert!(
        error
            .to_string()
            .contains("does not answer ranged requests"),
        "{error}"
    );
}

#[test]
fn redirects_to_other_hosts_are_refused_unless_allowed() {
    let elsewhere = web::start(|request| web::whole(request, "/secret.mp4", b"not for you"));
    let port = elsewhere.address.port();
    let away = format!("http://localhost:{port}/secret.mp4");
    let server = web::start(move |request| match request.uri().path() {
        "/away.mp4" => web::redirect(&away),
        "/moved.mp4" => web::redirect("/here.mp4"),
        _ => web::whole(request, "/here.mp4", b"video"),
    });
    let store = web_store(&server, json!({}));
    assert_eq!(locate(&store, "moved.mp4").expect("the same host").bytes, 5);
    let error = locate(&store, "away.mp4").expect_err("another host");
    assert!(error.message.contains("redirect_hosts"), "{error}");
    let allowed = web_store(
        &server,
        json!({"redirect_hosts": format!("localhost:{port}")}),
    );
    assert_eq!(
        locate(&allowed, "away.mp4").expect("it is allowed").bytes,
        11
    );
    let other = web_store(&server, json!({"redirect_hosts": "example.com"}));
    assert!(locate(&other, "away.mp4").is_err());
}

#[test]
fn a_web_server_cannot_be_written_to_or_listed() {
    let server = web::start(|_| servers::web::status(StatusCode::NOT_FOUND));
    let settings = json!({"type": "http", "endpoint": server.url()});
    let error = Store::open("web", &settings, Access::Write).expect_err("read only");
    assert_eq!(error.kind, StoreErrorKind::Config, "{error}");
    let store = open(&settings);
    let error = wait(async move { store.list("").await }).expect_err("no listing");
    assert!(error.message.contains("cannot list"), "{error}");
}

/// Alibaba's SDK signs for itself, and this OSS takes it: so the signatures that it takes from clipsieve are right too.
#[test]
fn the_oss_of_these_tests_takes_what_alibabas_sdk_signs() {
    let packages = repository("third_party/test-python");
    if !packages.exists() {
        println!(
            "skipped: no {}; scripts/test_tools.sh installs the SDK",
            packages.display()
        );
        return;
    }
    let server = oss::Oss::start();
    let judged = std::process::Command::new("python3")
        .arg(repository("tests/stores/judge.py"))
        .args([&server.running.url(), oss::KEY_ID, oss::SECRET])
        .env("PYTHONPATH", &packages)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("python3 starts");
    let told = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success(), "{told}");
    assert_eq!(
        server.refused.get(),
        1,
        "the wrong secret, and nothing else, was refused"
    );
    assert_eq!(server.open_uploads(), 0);
}
