//! Whole runs over stores that break: every row right, none lost or twice, the disk under its budget, nothing left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::common::{clipsieve_with, repository, rows};
use super::servers::oss::{self, Oss};
use super::servers::{Count, proxy, s3, web};

/// Clips that differ in what is measured of them.
const CLIPS: [&str; 5] = ["plain.mp4", "groups.mp4", "open.mp4", "vfr.mp4", "deep.mp4"];
/// Bytes of downloaded files that may lie on the disk at once: three or four of the files.
const DISK: u64 = 1_000_000;

/// A clip with so many bytes behind it that mean nothing: the file is larger, its frames are the same.
fn padded(clip: &str, bytes: usize) -> Vec<u8> {
    padded_to(&repository("tests/fixtures/media").join(clip), bytes)
}

/// The file at this path with so many bytes behind it.
pub fn padded_to(clip: &Path, bytes: usize) -> Vec<u8> {
    let mut file = fs::read(clip).expect("a clip");
    file.extend((bytes as u32 + 8).to_be_bytes());
    file.extend(b"free");
    file.extend((0..bytes).map(|at| (at * 31 + bytes) as u8));
    file
}

fn pipeline(stores: &str, tiers: &str) -> String {
    format!(
        "name: faults
params:
  input: {{ type: uri }}
  output: {{ type: uri }}
stores:
{stores}
limits: {{ disk: {DISK}, items: 24 }}
stages:
  videos: {{ op: read_table, with: {{ uri: \"${{input}}\" }} }}
  fetched: {{ op: fetch, from: videos, with: {{ {tiers} }}, retry: {{ attempts: 4, backoff: 100ms }} }}
  decoded: {{ op: decode, from: fetched }}
  clip: {{ op: sample, from: decoded, with: {{ frames: 4, size: 32 }} }}
  measured: {{ op: measure, from: clip, with: {{ signals: [brightness, contrast, motion] }} }}
  result: {{ op: aggregate, from: measured }}
  table: {{ op: write_table, from: result, with: {{ uri: \"${{output}}\" }} }}
"
    )
}

/// What is measured of each clip, from the clips themselves.
fn expected(folder: &Path) -> BTreeMap<&'static str, Json> {
    let table = folder.join("clips.jsonl");
    let lines = CLIPS.map(|clip| {
        let path = repository("tests/fixtures/media").join(clip);
        json!({"video_id": clip, "video_path": path}).to_string() + "\n"
    });
    fs::write(&table, lines.concat()).expect("a table");
    let file = folder.join("local.yaml");
    fs::write(&file, pipeline("  none: { type: memory }", "tiers: []")).expect("a file");
    let out = folder.join("clips-out.jsonl");
    run(folder, &file, &table, &out, &[]);
    let found = rows(&out);
    let measured = CLIPS.map(|clip| {
        let row = found
            .iter()
            .find(|row| row["video_id"] == clip)
            .expect("a row");
        (clip, row["info"]["measure"].clone())
    });
    let measured = BTreeMap::from(measured);
    let different: Vec<&Json> = measured.values().collect();
    assert!(
        different[0] != different[1] && different[1] != different[2],
        "{measured:?}"
    );
    measured
}

fn run(
    folder: &Path,
    pipeline: &Path,
    input: &Path,
    output: &Path,
    environment: &[(&str, &str)],
) -> std::process::Output {
    let arguments = [
        "run".to_owned(),
        pipeline.display().to_string(),
        "--progress=none".to_owned(),
        "-v".to_owned(),
        "--set".to_owned(),
        format!("input={}", input.display()),
        "--set".to_owned(),
        format!("output={}", output.display()),
    ];
    let done = clipsieve_with(folder, &arguments, environment);
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    done
}

/// Bytes of the files in a folder and the folders in it; files that go away meanwhile count nothing.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_in(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Looks at a folder again and again; the most bytes that were in it.
fn watch(folder: PathBuf) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let most = AtomicU64::new(0);
    let watching = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            most.fetch_max(bytes_in(&folder), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
        most.into_inner()
    });
    (over, watching)
}

/// `CLIPSIEVE_TEST_ROWS` makes it 500; that takes longer than a test should.
fn row_count() -> usize {
    let set = std::env::var("CLIPSIEVE_TEST_ROWS").ok();
    set.and_then(|rows| rows.parse().ok()).unwrap_or(100)
}

#[test]
fn rows_survive_stores_that_break() {
    let work = tempfile::tempdir().expect("a folder");
    let expected = expected(work.path());
    let scratch = work.path().join("tmp");
    let near = work.path().join("near");
    let cache = work.path().join("s3/cache/v");
    for folder in [&scratch, &near.join("v"), &cache] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let far = Oss::start();
    let count = row_count();
    let mut table = String::new();
    let mut from = BTreeMap::<&str, u64>::new();
    for index in 0..count {
        let clip = CLIPS[index % CLIPS.len()];
        let path = format!("v/{index:03}.mp4");
        let body = padded(clip, 150_000 + index * 7919 % 150_000);
        // A tenth nearby, a half in the cache, of which some are outdated; all of it far away.
        let tier = match index % 10 {
            0 => {
                fs::write(near.join(&path), &body).expect("a file");
                "near"
            }
            1..=5 => {
                fs::write(cache.join(format!("{index:03}.mp4")), &body).expect("a file");
                "cache"
            }
            6 => {
                fs::write(cache.join(format!("{index:03}.mp4")), &body[1..]).expect("a file");
                "far"
            }
            _ => "far",
        };
        *from.entry(tier).or_default() += 1;
        far.put(&format!("videos-{}/{path}", index % 2), body);
        let row = json!({
            "video_id": format!("{index:03}"), "oss_bucket": format!("videos-{}", index % 2),
            "video_path": path, "video_tag": clip, "info": {"use_alluxio": true},
        });
        table.push_str(&format!("{row}\n"));
    }
    let input = work.path().join("in.jsonl");
    fs::write(&input, table).expect("a table");

    let server = s3::start(&work.path().join("s3"));
    let cache_proxy = proxy::start(server.address, proxy::ALL, 20, "");
    // OSS tells checksums, so it may also send wrong bytes.
    let kinds = [proxy::ALL, &[proxy::Fault::Flip]].concat();
    let far_proxy = proxy::start(far.running.address, &kinds, 20, "");
    let stores = format!(
        "  near: {{ type: fs, root: \"{}\" }}
  cache:
    type: s3
    endpoint: {}
    bucket: cache
    timeout: 500ms
    access_key_id: \"${{env:S3_ID}}\"
    secret_access_key: \"${{env:S3_KEY}}\"
  far:
    type: oss
    endpoint: {}
    bucket: \"{{oss_bucket}}\"
    addressing: path
    timeout: 500ms
    access_key_id: \"${{env:OSS_ID}}\"
    access_key_secret: \"${{env:OSS_KEY}}\"",
        near.display(),
        cache_proxy.running.url(),
        far_proxy.running.url()
    );
    let file = work.path().join("faults.yaml");
    fs::write(&file, pipeline(&stores, "tiers: [near, cache, far]")).expect("a file");
    let out = work.path().join("out.jsonl");
    let environment = [
        ("TMPDIR", scratch.to_str().expect("text")),
        ("S3_ID", s3::KEY_ID),
        ("S3_KEY", s3::SECRET),
        ("OSS_ID", oss::KEY_ID),
        ("OSS_KEY", oss::SECRET),
    ];
    let (over, watching) = watch(scratch.clone());
    let done = run(work.path(), &file, &input, &out, &environment);
    over.store(true, Ordering::Relaxed);
    let most = watching.join().expect("the watch ends");

    let found = rows(&out);
    assert_eq!(found.len(), count, "one row for each");
    let mut seen = BTreeMap::new();
    for row in &found {
        let id = row["video_id"].as_str().expect("an id").to_owned();
        assert!(seen.insert(id, ()).is_none(), "twice: {row}");
        assert_eq!(row["result_info"]["succeed"], "true", "{row}");
        let clip = row["video_tag"].as_str().expect("the clip");
        assert_eq!(row["info"]["measure"], expected[clip], "{row}");
    }
    assert!(
        most > DISK / 4,
        "{most} bytes at most: nothing was downloaded"
    );
    assert!(
        most <= DISK,
        "{most} bytes lay on the disk, {DISK} are allowed"
    );
    let left: Vec<_> = fs::read_dir(&scratch).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?} is left");
    let faults = cache_proxy.faults.get() + far_proxy.faults.get();
    assert!(
        faults > count as u64 / 4,
        "only {faults} requests were broken"
    );

    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = told
        .lines()
        .find(|line| line.starts_with("fetched: "))
        .expect("the counts");
    println!("{line}; {faults} faults; at most {most} bytes on the disk");
    assert!(
        line.contains(&format!("{} from near", from["near"])),
        "{line}"
    );
    // Nothing of what was printed or written holds a secret.
    let printed = [
        &done.stdout[..],
        &done.stderr[..],
        &fs::read(&out).expect("the rows"),
    ]
    .concat();
    let printed = String::from_utf8_lossy(&printed);
    for secret in [s3::SECRET, oss::SECRET, "s3cr3t"] {
        assert!(!printed.contains(secret), "a secret was printed");
    }
}

#[test]
fn the_last_tier_is_asked_however_often_it_failed() {
    let work = tempfile::tempdir().expect("a folder");
    let root = work.path().join("s3");
    fs::create_dir_all(root.join("videos")).expect("a bucket");
    for name in (0..6).map(|at| format!("bad-{at}.mp4")) {
        fs::write(root.join("videos").join(name), padded("plain.mp4", 8)).expect("a file");
    }
    fs::write(root.join("videos/good.mp4"), padded("plain.mp4", 8)).expect("a file");
    let server = s3::start(&root);
    let proxy = proxy::start(server.address, &[proxy::Fault::Error500], 100, "bad-");
    let stores = format!(
        "  far: {{ type: s3, endpoint: \"{}\", bucket: videos, access_key_id: \"${{env:ID}}\", secret_access_key: \"${{env:KEY}}\" }}",
        proxy.running.url()
    );
    let one_by_one = pipeline(&stores, "tiers: [far]")
        .replace("retry: { attempts: 4, backoff: 100ms }", "concurrency: 1");
    let file = work.path().join("last.yaml");
    fs::write(&file, one_by_one).expect("a file");
    let line = |name: &str| json!({"video_id": name, "video_path": name}).to_string() + "\n";
    let mut table: String = (0..6).map(|at| line(&format!("bad-{at}.mp4"))).collect();
    table += &line("good.mp4");
    fs::write(work.path().join("in.jsonl"), table).expect("a table");
    let (input, out) = (work.path().join("in.jsonl"), work.path().join("out.jsonl"));
    let keys = [("ID", s3::KEY_ID), ("KEY", s3::SECRET)];
    run(work.path(), &file, &input, &out, &keys);
    let succeeded = |row: &Json| row["result_info"]["succeed"] == "true";
    for row in rows(&out) {
        assert_eq!(succeeded(&row), row["video_id"] == "good.mp4", "{row}");
    }
    assert_eq!(rows(&out).len(), 7);
}

#[test]
fn a_row_may_forbid_alluxio_and_a_bad_path_never_leaves_the_store() {
    let work = tempfile::tempdir().expect("a folder");
    fs::write(work.path().join("secret.mp4"), padded("plain.mp4", 8)).expect("a file");
    let root = work.path().join("s3");
    fs::create_dir_all(root.join("far")).expect("a bucket");
    fs::write(root.join("far/a.mp4"), padded("plain.mp4", 8)).expect("a file");
    let server = s3::start(&root);
    let asked = Count::default();
    let counted = asked.clone();
    let alluxio = web::start(move |request| {
        counted.add(u64::from(request.uri().path().ends_with("/a.mp4")));
        web::status(StatusCode::NOT_FOUND)
    });
    let stores = format!(
        "  near: {{ type: alluxio, endpoint: \"{}\", bucket: cache }}
  far: {{ type: s3, endpoint: \"{}\", bucket: far, access_key_id: \"${{env:ID}}\", secret_access_key: \"${{env:KEY}}\" }}",
        alluxio.url(),
        server.url(),
    );
    let file = work.path().join("forbid.yaml");
    fs::write(&file, pipeline(&stores, "tiers: [near, far]")).expect("a file");
    let input = work.path().join("in.jsonl");
    let row = |id: &str, path: &str, info: Json| {
        json!({"video_id": id, "video_path": path, "info": info}).to_string() + "\n"
    };
    let table = [
        row("far", "a.mp4", json!({"use_alluxio": false})),
        row("text", "a.mp4", json!("{\"use_alluxio\": \"false\"}")),
        row("up", "../../secret.mp4", json!({})),
        row("encoded", "%2e%2e/%2e%2e/secret.mp4", json!({})),
        row(
            "absolute",
            work.path().join("secret.mp4").to_str().expect("text"),
            json!({}),
        ),
    ];
    fs::write(&input, table.concat()).expect("a table");
    let out = work.path().join("out.jsonl");
    let done = run(
        work.path(),
        &file,
        &input,
        &out,
        &[("ID", s3::KEY_ID), ("KEY", s3::SECRET)],
    );
    let found = rows(&out);
    for row in &found {
        let is_good = matches!(row["video_id"].as_str(), Some("far" | "text"));
        assert_eq!(row["result_info"]["succeed"], is_good.to_string(), "{row}");
    }
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(told.contains("2 not to look in near"), "{told}");
    assert_eq!(asked.get(), 0, "Alluxio was asked all the same");

    // Nor to compare sizes; and where there is nothing else, the row says so.
    let stores = format!("  disk: {{ type: fs, root: s3/far }}\n{stores}");
    for (tiers, error) in [
        ("[disk, near]", None),
        ("[near]", Some("all tiers are of type alluxio")),
    ] {
        fs::write(&file, pipeline(&stores, &format!("tiers: {tiers}"))).expect("a file");
        fs::write(&input, row("a", "a.mp4", json!({"use_alluxio": false}))).expect("a table");
        let environment = [("ID", s3::KEY_ID), ("KEY", s3::SECRET)];
        run(work.path(), &file, &input, &out, &environment);
        let told = rows(&out)[0]["result_info"].clone();
        assert_eq!(told["succeed"], error.is_none().to_string(), "{told}");
        assert!(
            told["error"]
                .as_str()
                .unwrap_or("")
                .contains(error.unwrap_or("")),
            "{told}"
        );
    }
    assert_eq!(asked.get(), 0, "Alluxio was asked for a size");
}

#[test]
fn a_wrong_key_stops_the_job_before_it_starts_and_check_tells() {
    let work = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(work.path().join("s3/videos")).expect("a bucket");
    let server = s3::start(&work.path().join("s3"));
    let stores = format!(
        "  far: {{ type: s3, endpoint: \"{}\", bucket: videos, access_key_id: \"${{env:ID}}\", secret_access_key: \"${{env:KEY}}\" }}",
        server.url()
    );
    let file = work.path().join("wrong.yaml");
    fs::write(&file, pipeline(&stores, "tiers: [far]")).expect("a file");
    fs::write(
        work.path().join("in.jsonl"),
        "{\"video_path\": \"a.mp4\"}\n",
    )
    .expect("a table");
    let command = |first: &[&str], key: &str| {
        let more = [
            file.to_str().expect("text"),
            "--set",
            "input=in.jsonl",
            "--set",
            "output=out.jsonl",
        ];
        let arguments: Vec<&str> = first.iter().copied().chain(more).collect();
        clipsieve_with(work.path(), &arguments, &[("ID", s3::KEY_ID), ("KEY", key)])
    };
    let text = |output: &std::process::Output| {
        let both = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8_lossy(&both).into_owned()
    };
    let wrong = command(&["run"], "wr0ng/s3cr3t");
    assert_eq!(wrong.status.code(), Some(3), "{}", text(&wrong));
    assert!(text(&wrong).contains("store `far`"), "{}", text(&wrong));
    assert!(!text(&wrong).contains("wr0ng"), "{}", text(&wrong));
    assert!(!work.path().join("out.jsonl").exists());

    let checked = command(&["check", "--connect"], "wr0ng/s3cr3t");
    assert_eq!(checked.status.code(), Some(3), "{}", text(&checked));
    assert!(
        text(&checked).contains("error: store `far`"),
        "{}",
        text(&checked)
    );
    assert!(!text(&checked).contains("wr0ng"), "{}", text(&checked));
    let checked = command(&["check", "--connect"], s3::SECRET);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(
        text(&checked).contains("store `far`: answers"),
        "{}",
        text(&checked)
    );
    let graph = command(&["graph"], s3::SECRET);
    assert!(!text(&graph).contains(s3::SECRET), "{}", text(&graph));
}

#[test]
fn a_secret_in_the_file_is_refused_and_its_line_is_not_shown() {
    let work = tempfile::tempdir().expect("a folder");
    let stores =
        "  far: { type: s3, bucket: b, access_key_id: \"${env:ID}\", secret_access_key: hunter2 }";
    let file = work.path().join("literal.yaml");
    fs::write(&file, pipeline(stores, "tiers: [far]")).expect("a file");
    let arguments = [
        "check",
        file.to_str().expect("text"),
        "--set",
        "input=a",
        "--set",
        "output=b.jsonl",
    ];
    let done = clipsieve_with(work.path(), &arguments, &[("ID", "id")]);
    let text = String::from_utf8_lossy(&[&done.stdout[..], &done.stderr[..]].concat()).into_owned();
    assert_eq!(done.status.code(), Some(2), "{text}");
    assert!(
        text.contains("C043") && text.contains("secret_access_key"),
        "{text}"
    );
    assert!(text.contains("${env:NAME}"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_pipeline_of_three_tiers_takes_each_file_from_the_nearest() {
    let work = tempfile::tempdir().expect("a folder");
    let (cpfs, cache) = (
        work.path().join("cpfs/videos"),
        work.path().join("alluxio/videos"),
    );
    fs::create_dir_all(&cpfs).expect("a folder");
    fs::create_dir_all(&cache).expect("a folder");
    let far = Oss::start();
    let mut table = String::new();
    for (clip, tier) in [
        ("plain.mp4", "cpfs"),
        ("vfr.mp4", "alluxio"),
        ("open.mp4", "oss"),
    ] {
        let body = padded(clip, 100);
        match tier {
            "cpfs" => fs::write(cpfs.join(clip), &body).expect("a file"),
            "alluxio" => fs::write(cache.join(clip), &body).expect("a file"),
            _ => {}
        }
        far.put(&format!("videos/{clip}"), body);
        let row = json!({"video_id": clip, "oss_bucket": "videos", "video_path": clip});
        table.push_str(&format!("{row}\n"));
    }
    // A bucket that no tier has, and one that is no bucket.
    for bucket in ["nowhere", "a/../b"] {
        let row = json!({"video_id": bucket, "oss_bucket": bucket, "video_path": "plain.mp4"});
        table.push_str(&format!("{row}\n"));
    }
    let input = work.path().join("rows.jsonl");
    fs::write(&input, table).expect("a table");
    let alluxio = s3::start_as_alluxio(&work.path().join("alluxio"));
    let out = work.path().join("out.jsonl");
    let sets = [
        format!("input={}", input.display()),
        format!("output={}", out.display()),
        format!("cpfs={}", work.path().join("cpfs").display()),
        format!("alluxio={}", alluxio.url()),
        format!("oss={}", far.running.url()),
        "oss_addressing=path".to_owned(),
        "crops=crops".to_owned(),
    ];
    let pipeline = repository("pipelines/three-tiers.yaml")
        .display()
        .to_string();
    let mut arguments = vec!["run", "--progress=none", &pipeline];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
    let environment = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", oss::KEY_ID),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", oss::SECRET),
    ];
    let done = clipsieve_with(work.path(), &arguments, &environment);
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{told}{said}");
    assert!(
        told.contains("fetched: 1 from cpfs, 1 from alluxio, 1 from oss"),
        "{told}{said}"
    );
    let found = rows(&out);
    for row in &found {
        let is_there = row["video_id"]
            .as_str()
            .is_some_and(|id| id.ends_with(".mp4"));
        assert_eq!(row["result_info"]["succeed"], is_there.to_string(), "{row}");
    }
    assert_eq!(far.refused.get(), 0, "every signature was right");
}
