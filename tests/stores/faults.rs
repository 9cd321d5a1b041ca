//! What a store makes of a network that breaks.

use std::io::{Read, Seek, SeekFrom};

use clipsieve_operators::stores::{Access, Store, StoreErrorKind, wait};

use super::servers::oss::Oss;
use super::servers::proxy::{self, Fault};
use super::servers::{Running, s3};
use super::services::{bytes, locate, oss_settings, put, s3_settings};

/// A bucket `videos` with a file of 18 MiB in it, `a.mp4`.
fn bucket(root: &std::path::Path) -> (Running, Vec<u8>) {
    let bucket = root.join("videos");
    std::fs::create_dir(&bucket).expect("a bucket");
    let server = s3::start(root);
    let body = bytes(18 << 20);
    let from = root.join("from");
    std::fs::write(&from, &body).expect("a file");
    let store = Store::open("s3", &s3_settings(&server.url(), "videos"), Access::Write);
    put(&store.expect("sound settings"), "a.mp4", &from);
    std::fs::remove_file(&from).expect("it goes");
    (server, body)
}

#[test]
fn a_download_over_a_broken_network_is_whole_and_right() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, body) = bucket(root.path());
    let work = tempfile::tempdir().expect("a folder");
    for kind in proxy::ALL {
        let proxy = proxy::start(server.address, &[*kind], 40, "GET ");
        let settings = s3_settings(&proxy.running.url(), "videos");
        let store = Store::open("s3", &settings, Access::Read).expect("sound settings");
        let stored = locate(&store, "a.mp4").expect("it lies there");
        let to = work.path().join("to");
        for _ in 0..2 {
            let (copy, stored, target) = (store.clone(), stored.clone(), to.clone());
            wait(async move { copy.download(&stored, &target, ()).await })
                .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            assert!(
                std::fs::read(&to).expect("the copy") == body,
                "{kind:?}: other bytes"
            );
        }
        assert!(proxy.faults.get() > 0, "{kind:?}: nothing was broken");
        assert_eq!(std::fs::read_dir(work.path()).expect("a folder").count(), 1);
    }
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, body) = bucket(root.path());
    let proxy = proxy::start(server.address, &[Fault::Cut], 40, "GET ");
    let settings = s3_settings(&proxy.running.url(), "videos");
    let store = Store::open("s3", &settings, Access::Read).expect("sound settings");
    let stored = locate(&store, "a.mp4").expect("it lies there");
    let to = root.path().join("to");
    let target = to.clone();
    wait(async move { store.download(&stored, &target, ()).await }).expect("it comes");
    assert!(std::fs::read(&to).expect("the copy") == body);
    assert!(proxy.faults.get() > 0);
    let sent = proxy.sent.get();
    assert!(
        sent < body.len() as u64 * 11 / 10,
        "{sent} bytes were sent for a file of {}",
        body.len()
    );
}

#[test]
fn a_reader_over_a_broken_network_gives_the_right_bytes() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, body) = bucket(root.path());
    let proxy = proxy::start(server.address, proxy::ALL, 20, "GET ");
    let settings = s3_settings(&proxy.running.url(), "videos");
    let store = Store::open("s3", &settings, Access::Read).expect("sound settings");
    let stored = locate(&store, "a.mp4").expect("it lies there");
    let mut reader = store.reader(&stored, || true).expect("a reader");
    let mut piece = vec![0; 100_000];
    for step in 0..40_usize {
        let at = step * 7_654_321 % (body.len() - piece.len());
        reader.seek(SeekFrom::Start(at as u64)).expect("a place");
        reader.read_exact(&mut piece).expect("bytes");
        assert!(piece == body[at..at + piece.len()], "other bytes at {at}");
    }
    assert!(proxy.faults.get() > 0);
}

#[test]
fn an_upload_over_a_broken_network_is_whole_and_right() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, body) = bucket(root.path());
    let kinds = [Fault::Error500, Fault::SlowDown, Fault::Reset];
    let proxy = proxy::start(server.address, &kinds, 35, "P");
    let settings = s3_settings(&proxy.running.url(), "videos");
    let store = Store::open("s3", &settings, Access::Write).expect("sound settings");
    let from = root.path().join("from");
    std::fs::write(&from, &body[1..]).expect("a file");
    for name in ["b.mp4", "c.mp4"] {
        put(&store, name, &from);
        let lies = std::fs::read(root.path().join("videos").join(name)).expect("it lies there");
        assert!(lies == body[1..], "{name}: other bytes");
    }
    assert!(proxy.faults.get() > 0);
}

#[test]
fn what_lies_there_already_is_not_sent_again() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, _) = bucket(root.path());
    let from = root.path().join("from");
    std::fs::write(&from, bytes(1 << 20)).expect("a file");
    let proxy = proxy::start(server.address, proxy::ALL, 0, "");
    let settings = s3_settings(&proxy.running.url(), "videos");
    let store = Store::open("s3", &settings, Access::Write).expect("sound settings");
    put(&store, "b.mp4", &from);
    let first = proxy.requests.get();
    put(&store, "b.mp4", &from);
    assert_eq!(proxy.requests.get() - first, 1, "one question was enough");
}

#[test]
fn a_store_that_stays_broken_is_told_so() {
    let root = tempfile::tempdir().expect("a folder");
    let (server, _) = bucket(root.path());
    let proxy = proxy::start(server.address, &[Fault::Error500], 100, "");
    let settings = s3_settings(&proxy.running.url(), "videos");
    let store = Store::open("s3", &settings, Access::Read).expect("sound settings");
    let error = locate(&store, "a.mp4").expect_err("it is broken");
    assert_eq!(error.kind, StoreErrorKind::Temporary, "{error}");
}

#[test]
fn bits_that_change_on_the_way_are_found_by_the_checksum() {
    let work = tempfile::tempdir().expect("a folder");
    let server = Oss::start();
    let (from, to) = (work.path().join("from"), work.path().join("to"));
    // One that goes up in a single piece, and one in parts, whose ETag is no MD5.
    for (length, name) in [(1 << 20, "whole.mp4"), (10 << 20, "parts.mp4")] {
        let body = bytes(length);
        std::fs::write(&from, &body).expect("a file");
        let up = proxy::start_badly(server.running.address, Fault::Flip, 2, "PUT ");
        let settings = oss_settings(&up.running.url(), "videos");
        let store = Store::open("oss", &settings, Access::Write).expect("sound settings");
        put(&store, name, &from);
        let lies = server.get(&format!("videos/{name}"));
        assert!(lies.expect("it lies there") == body, "{name}: other bytes");
        // It lies there already, and the checksum says so.
        let before = up.requests.get();
        put(&store, name, &from);
        assert_eq!(up.requests.get() - before, 1, "{name}: one question");

        let down = proxy::start_badly(server.running.address, Fault::Flip, 2, "GET ");
        let settings = oss_settings(&down.running.url(), "videos");
        let store = Store::open("oss", &settings, Access::Read).expect("sound settings");
        let stored = locate(&store, name).expect("it lies there");
        let target = to.clone();
        wait(async move { store.download(&stored, &target, ()).await }).expect("it comes");
        let copy = std::fs::read(&to).expect("the copy");
        assert!(copy == body, "{name}: other bytes came");
        assert_eq!((up.faults.get(), down.faults.get()), (2, 2));
    }

    // What is wrong every time is an error, and no file.
    let always = proxy::start(server.running.address, &[Fault::Flip], 100, "GET ");
    let settings = oss_settings(&always.running.url(), "videos");
    let store = Store::open("oss", &settings, Access::Read).expect("sound settings");
    let stored = locate(&store, "parts.mp4").expect("it lies there");
    let never = work.path().join("never");
    let target = never.clone();
    let error = wait(async move { store.download(&stored, &target, ()).await })
        .expect_err("the bytes are wrong");
    assert_eq!(error.kind, StoreErrorKind::Temporary, "{error}");
    assert!(error.message.contains("CRC-64 of what came"), "{error}");
    assert!(!never.exists());
}
