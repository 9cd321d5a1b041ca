//! Rows in and out through the operators, as a run builds them.

#![allow(clippy::unwrap_used)]

mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clipsieve_engine::observe::Tally;
use clipsieve_engine::operator::{
    Answer, BuildContext, Call, Deadline, Delivered, Depot, Disk, Document, ErrorKind, Executor,
    Failure, Item, Models, Operator, OperatorError, OperatorSpec, Outcome, ParamValue, Params,
    Placement, PortKind, Row, Setting, Sink, Source, Store, Stores, Value,
};
use clipsieve_operators::aggregate::AGGREGATE;
use clipsieve_operators::crop_upload::CROP_UPLOAD;
use clipsieve_operators::fetch::FETCH;
use clipsieve_operators::kinds::{REGIONS, VERDICT};
use clipsieve_operators::read_table::READ_TABLE;
use clipsieve_operators::write_table::WRITE_TABLE;
use serde_json::{Value as Json, json};

fn params(values: &[(&'static str, ParamValue)]) -> Params {
    let mut params = Params::default();
    for (name, value) in values {
        params.insert(name, value.clone());
    }
    params
}

fn text(value: impl AsRef<Path>) -> ParamValue {
    ParamValue::Text(value.as_ref().to_str().unwrap().to_owned())
}

fn setting<'a>(
    params: &'a Params,
    inputs: &'a [PortKind],
    models: &'a Models,
    stores: &'a Stores,
) -> Setting<'a> {
    Setting {
        stage: "stage",
        params,
        inputs,
        models,
        stores,
    }
}

fn build(
    spec: &OperatorSpec,
    params: &Params,
    stores: &Stores,
    scratch: &Path,
) -> Result<Operator, OperatorError> {
    build_of_job(spec, params, stores, scratch, &Depot::default())
}

/// Builds a stage of the job whose other stages have this depot.
fn build_of_job(
    spec: &OperatorSpec,
    params: &Params,
    stores: &Stores,
    scratch: &Path,
    depot: &Depot,
) -> Result<Operator, OperatorError> {
    (spec.build)(&BuildContext {
        setting: setting(params, &[], &Models::new(), stores),
        demand: None,
        wishes: &[],
        common: None,
        depot,
        placement: &Placement {
            executor: Executor::Io,
            device: None,
            concurrency: 1,
            acquire_timeout: Duration::from_secs(1),
            threads: 1,
        },
        scratch,
        disk: &Disk::unbounded(),
        tally: &Tally::default(),
    })
}

fn source_params(values: &[(&'static str, ParamValue)]) -> Params {
    let mut params = params(values);
    for list in ["also", "columns"] {
        if params.get(list).is_none() {
            params.insert(list, ParamValue::List(Vec::new()));
        }
    }
    params
}

fn sink_params(uri: &Path) -> Params {
    params(&[
        ("uri", text(uri)),
        ("overwrite", ParamValue::Bool(false)),
        ("create_partition", ParamValue::Bool(true)),
    ])
}

fn source(values: &[(&'static str, ParamValue)]) -> Result<Box<dyn Source>, OperatorError> {
    let params = source_params(values);
    match build(&READ_TABLE, &params, &Stores::new(), Path::new("/"))? {
        Operator::Source(source) => Ok(source),
        _ => panic!("not a source"),
    }
}

fn sink(uri: &Path) -> Result<Box<dyn Sink>, OperatorError> {
    match build(
        &WRITE_TABLE,
        &sink_params(uri),
        &Stores::new(),
        Path::new("/"),
    )? {
        Operator::Sink(sink) => Ok(sink),
        _ => panic!("not a sink"),
    }
}

fn findings(spec: &OperatorSpec, params: &Params, inputs: &[PortKind]) -> Vec<String> {
    let (models, stores) = (Models::new(), Stores::new());
    let found = spec.check.unwrap()(&setting(params, inputs, &models, &stores));
    found.into_iter().map(|finding| finding.message).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What a run does, in a straight line: read, fetch, aggregate, write. Returns the result rows.
async fn run(input: &Path, output: &Path, tiers: &[&str], stores: &Stores) -> Vec<Json> {
    let scratch = tempfile::tempdir().unwrap();
    let mut source = source(&[("uri", text(input))]).unwrap();
    let tiers = tiers.iter().map(text).collect();
    let compare = ("compare", ParamValue::Bool(true));
    let stream = ("stream", ParamValue::Bool(false));
    let tiers = params(&[("tiers", ParamValue::List(tiers)), compare, stream]);
    let Operator::AsyncTransform(fetch) = build(&FETCH, &tiers, stores, scratch.path()).unwrap()
    else {
        panic!("not waiting work")
    };
    let gather = build(&AGGREGATE, &Params::default(), stores, scratch.path()).unwrap();
    let Operator::Gather(gather) = gather else {
        panic!("not a gather")
    };
    let mut sink = sink(output).unwrap();
    let mut sequence = 0;
    while let Some(read) = source.next_row().unwrap() {
        let item = Arc::new(Item::new(sequence, read.row, Deadline::never()));
        let call = Call {
            item: item.clone(),
            attempt: 1,
            deadline: Deadline::never(),
        };
        let failed = |stage: &str, error: OperatorError| {
            Answer::Failed(Arc::new(Failure {
                stage: stage.to_owned(),
                kind: error.kind,
                error: error.full_message(),
                attempts: 1,
            }))
        };
        let answer = match read.problem {
            Some(problem) => failed("videos", problem),
            None => match fetch.apply(&call, &[Value::new(item.row.clone())]).await {
                Ok(Outcome::Value(value)) => Answer::Value(value),
                Ok(Outcome::Skipped(why)) => Answer::Skipped(why.into()),
                Ok(Outcome::Parts(_)) => panic!("it has no parts"),
                Err(error) => failed("fetched", error),
            },
        };
        let value = gather
            .gather(&item, &[("fetched".to_owned(), answer)])
            .unwrap();
        let document = value.get::<Document>().unwrap().clone();
        let delivered = Delivered {
            sequence,
            result: Ok(document),
        };
        sink.publish(sequence, &[delivered]).unwrap();
        sequence += 1;
    }
    assert_eq!(source.total_rows().unwrap_or(sequence), sequence);
    assert_eq!(sink.finish(&[]).unwrap(), output.display().to_string());
    assert_eq!(names(scratch.path()).len(), 0);
    let written = fs::read_to_string(output).unwrap();
    written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_line_of_a_messy_table_has_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("near"), folder.path().join("far"));
    for (root, file, content) in [
        (&near, "a.mp4", "video"),
        (&far, "b.mp4", "video"),
        (&far, "e.mp4", ""),
    ] {
        fs::create_dir_all(root).unwrap();
        fs::write(root.join(file), content).unwrap();
    }
    let input = folder.path().join("in.jsonl");
    let lines: [&[u8]; 12] = [
        b"\xEF\xBB\xBF{\"video_id\": 1, \"video_path\": \"a.mp4\", \"info\": \"{\\\"k\\\": 1}\"}\r",
        b"",
        b"{\"video_id\": 2, \"video_path\": \"b.mp4\", \"extra\": [1, 2]}",
        b"{\"video_id\": 3, \"video_path\": \"missing.mp4\"}",
        b"{\"video_id\": 4}",
        b"{\"video_id\": 5, \"video_path\": \"a.mp4\", \"info\": \"{\"}",
        b"  \t ",
        b"not json",
        b"[1, 2]",
        b"\xFF\xFE",
        b"{\"video_id\": 6, \"video_path\": \"../in.jsonl\"}",
        b"{\"video_id\": 7, \"video_path\": \"e.mp4\"}",
    ];
    fs::write(&input, lines.join(&b'\n')).unwrap();
    let store = |root: &Path| Store {
        settings: json!({"type": "fs", "root": root}),
    };
    let stores = BTreeMap::from([
        ("near".to_owned(), store(&near)),
        ("far".to_owned(), store(&far)),
    ]);
    let output = folder.path().join("out/rows.jsonl");
    let rows = run(&input, &output, &["near", "far"], &stores).await;

    let told: Vec<(Json, &str, &str)> = rows
        .iter()
        .map(|row| {
            let info = &row["result_info"];
            (
                row["video_id"].clone(),
                info["stage"].as_str().unwrap_or("ok"),
                info["error"].as_str().unwrap_or(""),
            )
        })
        .collect();
    let expected = [
        (json!(1), "ok", ""),
        (json!(2), "ok", ""),
        (
            json!(3),
            "fetched",
            "no tier has \"missing.mp4\" (near: not found; far: not found)",
        ),
        (
            json!(4),
            "videos",
            "column `video_path` is missing; the row has: video_id",
        ),
        (
            json!(5),
            "videos",
            "column `info` holds text that is not JSON",
        ),
        (json!(null), "videos", "line 8 of"),
        (json!(null), "videos", "line 9 of"),
        (json!(null), "videos", "line 10 of"),
        (json!(6), "fetched", "leaves the store's root"),
        (json!(7), "fetched", "far: `e.mp4` is an empty file"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!((&told.0, told.1), (&expected.0, expected.1));
        assert!(
            told.2.contains(expected.2),
            "{told:?} has no {:?}",
            expected.2
        );
    }
    assert_eq!(rows[0]["info"], json!({"k": 1}));
    assert_eq!(rows[1]["extra"], json!([1, 2]));
    assert!(
        rows[1]["video_oss_url"]
            .as_str()
            .unwrap()
            .ends_with("/far/b.mp4")
    );
    assert_eq!(rows[5]["input_text"], json!("not json"));
    assert_eq!(names(output.parent().unwrap()), ["rows.jsonl"]);
}

#[tokio::test]
async fn a_folder_needs_no_stores() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("clips")).unwrap();
    for name in ["b.mp4", "a.mp4"] {
        fs::write(folder.path().join("clips").join(name), "video").unwrap();
    }
    let output = folder.path().join("rows.jsonl");
    let rows = run(&folder.path().join("clips"), &output, &[], &Stores::new()).await;
    let ids: Vec<&Json> = rows.iter().map(|row| &row["video_id"]).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(
        rows.iter()
            .all(|row| row["result_info"]["succeed"] == "true")
    );
    assert_eq!(
        rows[0]["video_oss_url"],
        json!(folder.path().join("clips/a.mp4"))
    );
}

#[test]
fn a_result_never_takes_the_place_of_what_the_job_reads_or_of_another_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let row = "{\"video_path\": \"a\"}\n";
    fs::write(path("same.jsonl"), row).unwrap();
    std::os::unix::fs::symlink(path("same.jsonl"), path("link.jsonl")).unwrap();
    let stores = BTreeMap::from([(
        "s".to_owned(),
        Store {
            settings: json!({"type": "fs", "root": folder.path()}),
        },
    )]);
    let wrote = |input: &Path, outputs: &[&Path]| {
        let depot = Depot::default();
        let input = source_params(&[("uri", text(input))]);
        let scratch = Path::new("/");
        build_of_job(&READ_TABLE, &input, &stores, scratch, &depot).unwrap();
        let mut told = Vec::new();
        for output in outputs {
            let params = sink_params(output);
            let built = build_of_job(&WRITE_TABLE, &params, &stores, scratch, &depot);
            told.push(built.err().map(|error| error.message));
        }
        told.pop().unwrap()
    };
    let same = path("same.jsonl");
    let roundabout = folder.path().join("./same.jsonl");
    for (input, output) in [
        (&*same, &*same),
        (&same, &roundabout),
        (&same, &path("link.jsonl")),
        (folder.path(), &same),
        (&path("*.jsonl"), &same),
        (Path::new("store://s/same.jsonl"), &same),
        (&same, Path::new("store://s/same.jsonl")),
    ] {
        let told = wrote(input, &[output]).unwrap_or_default();
        assert!(
            told.contains("stage `stage` reads it") && told.contains("another `uri`"),
            "{input:?} {output:?}: {told:?}"
        );
    }
    let new = path("new/o.jsonl");
    assert_eq!(wrote(&same, &[&new]), None);
    let told = wrote(&same, &[&new, &path("./new/o.jsonl")]).unwrap();
    assert!(told.contains("writes it too"), "{told}");
    assert_eq!(wrote(&same, &[Path::new("-"), Path::new("-")]), None);
    assert_eq!(fs::read_to_string(&same).unwrap(), row);
}

#[test]
fn a_result_never_takes_the_place_of_a_late_table() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.jsonl");
    let last = folder.path().join("last.jsonl");
    for path in [&table, &last] {
        fs::write(path, "{\"video_path\": \"a\"}\n").unwrap();
    }
    let mut also = vec![text(&table); 300];
    also.push(text(&last));
    let (depot, stores, scratch) = (Depot::default(), Stores::new(), Path::new("/"));
    let input = source_params(&[("uri", text(&table)), ("also", ParamValue::List(also))]);
    build_of_job(&READ_TABLE, &input, &stores, scratch, &depot).unwrap();
    let output = build_of_job(&WRITE_TABLE, &sink_params(&last), &stores, scratch, &depot);
    let told = output.err().unwrap().message;
    assert!(told.contains("stage `stage` reads it"), "{told}");
}

#[test]
fn a_sink_that_is_dropped_leaves_the_old_table() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rows.jsonl");
    fs::write(&table, "old\n").unwrap();
    let delivered = || Delivered {
        sequence: 0,
        result: Err((
            Row(json!({"video_id": 1}).as_object().unwrap().clone()),
            Failure {
                stage: "result".to_owned(),
                kind: ErrorKind::Internal,
                error: "a bug".to_owned(),
                attempts: 1,
            },
        )),
    };
    let mut dropped = sink(&table).unwrap();
    dropped.publish(0, &[delivered()]).unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    drop(dropped);
    assert_eq!(names(folder.path()), ["rows.jsonl"]);
    assert_eq!(fs::read_to_string(&table).unwrap(), "old\n");

    let mut finished = sink(&table).unwrap();
    finished.publish(0, &[delivered(), delivered()]).unwrap();
    finished.finish(&[]).unwrap();
    let written = fs::read_to_string(&table).unwrap();
    assert_eq!(written.lines().count(), 2);
    let row: Json = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    assert_eq!(row["video_id"], json!(1));
    assert_eq!(row["result_info"]["succeed"], json!("false"));
    assert_eq!(row["result_info"]["kind"], json!("internal"));
    assert_eq!(names(folder.path()), ["rows.jsonl"]);
}

#[test]
fn what_the_file_says_wrong_is_found_before_anything_is_touched() {
    let uri = |uri: &str| source_params(&[("uri", text(uri))]);
    assert!(findings(&READ_TABLE, &uri("no/such/folder"), &[]).is_empty());
    assert!(findings(&READ_TABLE, &uri("ftp://b/t"), &[])[0].contains("not supported"));
    let columns = ("columns", ParamValue::List(vec![text("video_pth=path")]));
    let wrong = source_params(&[("uri", text("clips")), columns]);
    assert!(findings(&READ_TABLE, &wrong, &[])[0].contains("did you mean `video_path`?"));
    assert!(findings(&WRITE_TABLE, &uri("-"), &[]).is_empty());
    assert!(findings(&WRITE_TABLE, &uri("new/rows.jsonl"), &[]).is_empty());
    assert!(findings(&WRITE_TABLE, &uri("rows.parquet"), &[]).is_empty());
    assert!(findings(&WRITE_TABLE, &uri("rows.xls"), &[])[0].contains(".jsonl, .ndjson"));
    let tiers =
        |names: &[&str]| params(&[("tiers", ParamValue::List(names.iter().map(text).collect()))]);
    assert!(findings(&FETCH, &tiers(&["a", "b"]), &[]).is_empty());
    assert_eq!(
        findings(&FETCH, &tiers(&["a", "b", "a"]), &[]),
        ["store `a` is asked twice"]
    );
    let none = Params::default();
    assert!(findings(&AGGREGATE, &none, &[REGIONS, VERDICT, VERDICT]).is_empty());
    assert_eq!(findings(&AGGREGATE, &none, &[REGIONS, REGIONS]).len(), 1);
}

#[test]
fn a_store_that_is_not_there_stops_the_job() {
    let stores = BTreeMap::from([(
        "cpfs".to_owned(),
        Store {
            settings: json!({"type": "fs", "root": "/no/such/mount"}),
        },
    )]);
    let tiers = params(&[("tiers", ParamValue::List(vec![text("cpfs")]))]);
    let error = build(&FETCH, &tiers, &stores, Path::new("/"))
        .err()
        .unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("store `cpfs`: "), "{error}");
    assert!(error.message.contains("/no/such/mount"), "{error}");
}

#[test]
fn crops_that_cannot_be_encoded_stop_the_job_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let stores = BTreeMap::from([(
        "crops".to_owned(),
        Store {
            settings: json!({"type": "fs", "root": folder.path()}),
        },
    )]);
    let warmed = |encoder: &str, preset: &str, key: &str| {
        let params = params(&[
            ("store", text("crops")),
            ("key", text(key)),
            ("encoder", text(encoder)),
            ("preset", text(preset)),
            ("quality", ParamValue::Int(20)),
            ("margin", ParamValue::Float(0.0)),
            ("min_side", ParamValue::Int(64)),
            ("min_area", ParamValue::Float(0.4)),
        ]);
        match build(&CROP_UPLOAD, &params, &stores, folder.path()).unwrap() {
            Operator::Transform(crop) => crop.warm_up(),
            _ => panic!("a crop is a transform"),
        }
    };
    warmed("libx264", "veryfast", "{video_id}.mp4").unwrap();
    for (encoder, preset, key, named) in [
        ("libx264x", "veryfast", "{video_id}.mp4", "libx264x"),
        ("libx264", "veryfats", "{video_id}.mp4", "libx264"),
        ("libx264", "veryfast", "{video_id}.webm", "webm"),
    ] {
        let error = warmed(encoder, preset, key).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(
            error.message.contains("see `encoder`, `preset`") && error.message.contains(named),
            "{error}"
        );
    }
}

#[test]
fn specs_are_complete() {
    for spec in [&READ_TABLE, &FETCH, &AGGREGATE, &WRITE_TABLE] {
        assert!(!spec.summary.is_empty() && !spec.doc.is_empty());
        assert!(spec.example.contains(&format!("op: {}", spec.name)));
        assert!(spec.params.iter().all(|param| !param.doc.is_empty()));
    }
    assert!(READ_TABLE.is_source() && WRITE_TABLE.is_sink() && AGGREGATE.is_gather());
    assert_eq!(FETCH.concurrency, 6);
}
