//! What is read: tables of any kind, limits, columns of other names, and what stops a job before it starts.

use super::*;

#[test]
fn a_limit_reads_so_many_rows() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("in.jsonl");
    fs::write(&table, "{\"video_path\": \"a\"}\n".repeat(5)).unwrap();
    for (limit, expected) in [(Some(2), 2), (Some(9), 5), (None, 5)] {
        let mut values = vec![("uri", text(&table))];
        values.extend(limit.map(|limit| ("limit", ParamValue::Int(limit))));
        let mut source = source(&values).unwrap();
        assert_eq!(source.total_rows(), Some(expected));
        let mut rows = 0;
        while source.next_row().unwrap().is_some() {
            rows += 1;
        }
        assert_eq!(rows, expected);
    }
}

#[test]
fn several_tables_of_any_format_are_read_as_one_and_bad_rows_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(
        path("a.jsonl"),
        "{\"video_path\": \"a\"}\n{\"video_path\": 5}\n",
    )
    .unwrap();
    fs::write(path("b.csv"), "video_path,info\nb,{oops\nb\n,{}\n").unwrap();
    let mut source = source(&[
        ("uri", text(path("a.jsonl"))),
        ("also", ParamValue::List(vec![text(path("b.csv"))])),
    ])
    .unwrap();
    assert_eq!(source.total_rows(), Some(5));
    let mut told = Vec::new();
    while let Some(row) = source.next_row().unwrap() {
        told.push(row.problem.map_or(String::new(), |problem| problem.message));
    }
    let expected = [
        "",
        "column `video_path` must be text, this is a number",
        "column `info` holds text that is not JSON",
        "b.csv: 1 value, and the header names 2 columns",
        "column `video_path` is empty",
    ];
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told:?} has no {expected:?}");
    }
}

#[test]
fn nothing_to_read_stops_the_job() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    for (uri, why) in [
        ("no/such/folder", "does not exist"),
        (folder.path().to_str().unwrap(), "holds no videos"),
        (
            folder.path().join("*.mp4").to_str().unwrap(),
            "no video and no table matches",
        ),
        (
            folder.path().join("notes.txt").to_str().unwrap(),
            "neither a table nor a video",
        ),
    ] {
        let error = source(&[("uri", text(uri))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(why), "{error}");
    }
}

#[test]
fn a_table_without_rows_stops_the_job_before_a_result_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("e.jsonl", "\n  \n"), ("e.csv", "video_path,info\n")] {
        let table = folder.path().join(name);
        fs::write(&table, content).unwrap();
        let error = source(&[("uri", text(&table))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("there are no rows in"), "{error}");
    }
    let stores = BTreeMap::from([(
        "s".to_owned(),
        Store {
            settings: json!({"type": "fs", "root": folder.path()}),
        },
    )]);
    // A table of a store is not counted: its first row is read, and is not lost by it.
    fs::write(folder.path().join("one.jsonl"), "{\"video_path\": \"a\"}\n").unwrap();
    let of_store = |uri: &str| {
        let params = source_params(&[("uri", text(uri))]);
        build(&READ_TABLE, &params, &stores, Path::new("/"))
    };
    assert!(of_store("store://s/e.jsonl").is_err());
    let Ok(Operator::Source(mut source)) = of_store("store://s/one.jsonl") else {
        panic!("a source")
    };
    assert!(source.next_row().unwrap().is_some() && source.next_row().unwrap().is_none());
}

#[test]
fn a_header_without_the_path_of_the_video_stops_the_job() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, why) in [
        ("a.csv", "id,video_pth\n1,a\n", "Did you mean `video_pth`?"),
        ("b.csv", "id;video_path\n1;a\n", "stand between ';'"),
        ("c.tsv", "id,video_path\n1,a\n", "stand between ','"),
    ] {
        let table = folder.path().join(name);
        fs::write(&table, content).unwrap();
        let error = source(&[("uri", text(&table))]).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("no column `video_path`"), "{error}");
        assert!(error.message.contains(why), "{error}");
    }
}

#[test]
fn a_table_may_call_its_columns_otherwise_and_results_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let columns = |pairs: &[&str]| {
        (
            "columns",
            ParamValue::List(pairs.iter().map(text).collect()),
        )
    };
    for (name, content) in [
        ("t.csv", "id,path\n7,a.mp4\n"),
        (
            "t.jsonl",
            "{\"id\": \"7\", \"path\": \"a.mp4\"}\n{\"id\": \"8\"}\n",
        ),
    ] {
        let table = folder.path().join(name);
        fs::write(&table, content).unwrap();
        let pairs = columns(&["video_path=path", "video_id=id"]);
        let mut source = source(&[("uri", text(&table)), pairs]).unwrap();
        let first = source.next_row().unwrap().unwrap();
        assert!(first.problem.is_none());
        assert_eq!(first.row.text("video_path"), Some("a.mp4"));
        assert_eq!(first.row.text("video_id"), Some("7"));
        // It passes through to the result, which is read in the same way.
        assert_eq!(first.row.text("path"), Some("a.mp4"));
        if let Some(second) = source.next_row().unwrap() {
            let told = second.problem.unwrap().message;
            assert!(told.contains("column `path`, which is to be `video_path`, is missing"));
        }
    }
    let results = folder.path().join("results.jsonl");
    let row = json!({"video_id": "v", "video_oss_url": "clips/a.mp4", "info": {"vfx_filter": {}}, "result_info": {}});
    fs::write(&results, format!("{row}\n")).unwrap();
    let pairs = columns(&["video_path=video_oss_url"]);
    let mut source = source(&[("uri", text(&results)), pairs]).unwrap();
    let again = source.next_row().unwrap().unwrap();
    assert!(again.problem.is_none());
    assert_eq!(again.row.text("video_path"), Some("clips/a.mp4"));
}

#[test]
fn a_late_table_with_another_header_fails_its_rows_and_not_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let clips = folder.path().join("clips");
    fs::create_dir(&clips).unwrap();
    let path = |at: usize| clips.join(format!("{at:03}.csv"));
    for at in 0..300 {
        let header = match at {
            280 => "id,video_pth",
            _ => "id,video_path",
        };
        fs::write(path(at), format!("{header}\n{at},{at}.mp4\n")).unwrap();
    }
    let also = (1..300).map(|at| text(path(at))).collect();
    let also = ("also", ParamValue::List(also));
    for values in [
        vec![("uri", text(&clips))],
        vec![("uri", text(path(0))), also],
    ] {
        let mut source = source(&values).unwrap();
        let (mut rows, mut told) = (0, Vec::new());
        while let Some(row) = source.next_row().unwrap() {
            rows += 1;
            told.extend(row.problem.map(|problem| problem.message));
        }
        assert_eq!(rows, 300);
        assert_eq!(
            told,
            ["column `video_path` is missing; the row has: id, video_pth"]
        );
    }
    // The first one still stops the job.
    fs::write(path(0), "id,video_pth\n0,0.mp4\n").unwrap();
    assert!(source(&[("uri", text(&clips))]).is_err());
}
