#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::ops::Range;

use clipsieve_engine::operator::ErrorKind;
use clipsieve_odps::retry::Policy;
use clipsieve_odps::{Credentials, Endpoints};
use clipsieve_odps_double::{Account, Double, Fault, Step, Value};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Blocks of some fifteen rows.
const SMALL: u64 = 2000;
const RESULTS: &str = "odps://p/results/ds=1";
const ADDS: UploadOptions = UploadOptions {
    overwrite: false,
    create_partition: true,
};

/// A service whose partition is there, and a folder with a file of rows.
struct Setting {
    double: Double,
    folder: TempDir,
}

impl Setting {
    fn new() -> Self {
        let double = Double::start(Account::default()).unwrap();
        let columns = COLUMNS.map(|name| format!("{name} string"));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        double.create("p", "results", &columns, &["ds"]);
        double.insert("p", "results", "ds=1", Vec::new());
        let folder = tempfile::tempdir().unwrap();
        Self { double, folder }
    }

    /// What a process begins with.
    fn target(&self, options: UploadOptions) -> OdpsTarget {
        let account = self.double.account();
        let credentials = Credentials::from_env(|name| match name {
            "ODPS_ACCESS_ID" => Some(account.access_id.clone()),
            "ODPS_ACCESS_KEY" => Some(account.access_key.clone()),
            _ => None,
        });
        let endpoints = Endpoints {
            rest: self.double.endpoint(),
            ..Endpoints::default()
        };
        let hasty = Policy {
            pause: Duration::from_millis(1),
            server_retries: 1,
            network_pause: Duration::from_millis(1),
            ..Policy::default()
        };
        let client = Client::new(endpoints, credentials.unwrap()).unwrap();
        let table = RESULTS.parse().unwrap();
        let service = Service::of(table, client.with_policy(hasty)).unwrap();
        let mut target = OdpsTarget::of(service, options).unwrap();
        target.block_bytes = SMALL;
        target
    }

    fn rows(&self) -> PathBuf {
        self.folder.path().join("rows")
    }

    fn notes(&self) -> PathBuf {
        self.folder.path().join("notes")
    }

    /// Adds rows of these numbers to the file; its length then.
    fn add(&self, numbers: Range<usize>) -> u64 {
        let mut lines = std::fs::read_to_string(self.rows()).unwrap_or_default();
        for number in numbers {
            let row = json!({"video_id": format!("v{number}"), "info": {"pad": "x".repeat(100)}});
            writeln!(lines, "{row}").unwrap();
        }
        std::fs::write(self.rows(), &lines).unwrap();
        lines.len() as u64
    }

    /// The ids of the committed rows.
    fn committed(&self) -> Vec<String> {
        let rows = self.double.rows("p", "results", "ds=1").unwrap();
        let id = |row: Vec<Value>| match &row[0] {
            Value::Text(id) => id.clone(),
            other => panic!("{other:?}"),
        };
        rows.into_iter().map(id).collect()
    }

    fn blocks(&self) -> usize {
        self.double.count(Step::Block)
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v{number}")).collect()
}

#[test]
fn blocks_go_up_as_the_rows_come_and_show_when_all_are_in() {
    let setting = Setting::new();
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), 0).unwrap();
    let mut bytes = 0;
    for part in 0..10 {
        target.send_ahead(&setting.rows(), bytes).unwrap();
        bytes = setting.add(part * 10..part * 10 + 10);
    }
    assert!(setting.blocks() >= 4, "{} blocks", setting.blocks());
    assert!(setting.committed().is_empty());
    assert_eq!(target.finish(&setting.rows(), bytes).unwrap(), RESULTS);
    assert_eq!(setting.committed(), ids(100));
    // It may have been killed before the ledger came to know of it: once more, in this process and in another one.
    target.finish(&setting.rows(), bytes).unwrap();
    let mut later = setting.target(ADDS);
    later.resume(setting.notes(), bytes).unwrap();
    later.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(100));
    assert_eq!(setting.double.count(Step::Commit), 1);
}

#[test]
fn a_later_process_goes_on_with_the_session() {
    let setting = Setting::new();
    let bytes = setting.add(0..50);
    for sent in 1..=3 {
        let mut target = setting.target(ADDS);
        target.resume(setting.notes(), bytes).unwrap();
        target.send_ahead(&setting.rows(), bytes).unwrap();
        assert_eq!(setting.blocks(), sent);
    }
    // Killed when the block had arrived and the note had not: it is sent again, with more rows, and replaces itself.
    let mut note = Note::read(&setting.notes()).unwrap().unwrap();
    assert_eq!(note.ends.len(), 3);
    note.ends.pop();
    note.keep(Some(&setting.notes())).unwrap();
    let bytes = setting.add(50..60);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), bytes).unwrap();
    target.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(60));
    // One for each look whether the table may be written to, and one for the rows.
    assert_eq!(setting.double.count(Step::Upload), 4 + 1);
}

#[test]
fn a_session_that_is_over_is_followed_by_one_that_gets_all_rows() {
    let setting = Setting::new();
    let bytes = setting.add(0..60);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), bytes).unwrap();
    target.send_ahead(&setting.rows(), bytes).unwrap();
    setting.double.misbehave(Step::Block, [Fault::Expired]);
    target.send_ahead(&setting.rows(), bytes).unwrap();
    target.send_ahead(&setting.rows(), bytes).unwrap();
    // Now for a process that finds it so.
    drop(target);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), bytes).unwrap();
    setting.double.misbehave(Step::Look, [Fault::Expired]);
    target.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(60));
    assert_eq!(setting.double.count(Step::Upload), 2 + 3);
}

#[test]
fn what_may_pass_holds_nobody_up_and_what_will_not_ends_the_run() {
    let setting = Setting::new();
    let bytes = setting.add(0..60);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), 0).unwrap();
    setting
        .double
        .misbehave(Step::Block, [Fault::Status(503), Fault::Status(503)]);
    target.send_ahead(&setting.rows(), bytes).unwrap();
    let tried = setting.blocks();
    target.send_ahead(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.blocks(), tried, "it rests");
    target.rests_until = None;
    setting.double.misbehave(Step::Block, [Fault::Status(403)]);
    let error = target.send_ahead(&setting.rows(), bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.message.contains("403"), "{error}");
}

#[test]
fn a_commit_of_which_nobody_knows_is_not_done_twice() {
    let setting = Setting::new();
    let bytes = setting.add(0..5);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), 0).unwrap();
    // Killed right before it, as far as can be told.
    setting.double.misbehave(Step::Commit, [Fault::Status(403)]);
    target.finish(&setting.rows(), bytes).unwrap_err();
    let mut later = setting.target(ADDS);
    later.resume(setting.notes(), bytes).unwrap();
    setting.double.misbehave(Step::Look, [Fault::Expired]);
    let error = later.finish(&setting.rows(), bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("cannot be told any more"), "{error}");
    assert!(error.message.contains("notes"), "{error}");
    // The session can be asked again.
    later.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(5));
    // Rows that replace others may come twice.
    let replaces = UploadOptions {
        overwrite: true,
        ..ADDS
    };
    let mut again = setting.target(replaces);
    again.resume(setting.notes(), bytes).unwrap();
    setting.double.misbehave(Step::Look, [Fault::Expired]);
    again.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(5));
    assert_eq!(setting.double.count(Step::Commit), 3);
}

#[test]
fn a_partition_that_is_missing_shows_with_its_rows() {
    let setting = Setting::new();
    let columns = COLUMNS.map(|name| format!("{name} string"));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    setting.double.create("p", "results", &columns, &["ds"]);
    let bytes = setting.add(0..60);
    let mut target = setting.target(ADDS);
    target.resume(setting.notes(), bytes).unwrap();
    target.send_ahead(&setting.rows(), bytes).unwrap();
    assert!(setting.double.rows("p", "results", "ds=1").is_none());
    target.finish(&setting.rows(), bytes).unwrap();
    assert_eq!(setting.committed(), ids(60));
    assert!(setting.blocks() > 3);
}

#[test]
fn a_table_without_rows_is_committed_too() {
    let setting = Setting::new();
    setting.double.insert("p", "results", "ds=1", vec![]);
    let mut target = setting.target(ADDS);
    target.finish(&setting.rows(), 0).unwrap();
    assert!(setting.committed().is_empty());
    assert_eq!(setting.double.count(Step::Commit), 1);
}
