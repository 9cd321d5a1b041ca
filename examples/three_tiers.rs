//! The pipeline `three-tiers.yaml` with all three tiers on this machine: a folder, an S3 server in Alluxio's place and an OSS
//! that checks signatures. The demo clips are spread over them, as a cache that is half warm would have them.
//!
//! ```text
//! cargo run --release --example three_tiers
//! ```
//!
//! The rows come from a table of ODPS and go to another one, with a copy as Parquet; an ODPS that checks signatures and
//! checksums is among the servers. It starts them on the loopback, runs `pipelines/three-tiers.yaml` as a user would (keys
//! from the environment), and shows the rows and what lies in the bucket of crops afterwards.
//!
//! With arguments this program is `clipsieve` itself, and that is what it starts.

#[path = "../tests/stores/servers/mod.rs"]
mod servers;

use std::path::Path;
use std::process::{Command, ExitCode};

use clipsieve_odps_double::{Account, Double};
use servers::odps::{self, INPUT, RESULT};
use servers::oss::{self, Oss};
use servers::s3;

/// The clips, and the tier that has each, beside OSS, which has all of them.
const CLIPS: [(&str, &str); 5] = [
    ("bigbuckbunny.mp4", "cpfs"),
    ("bunny-pillarbox-logo.mp4", "alluxio"),
    ("bunny-still-zoom.mp4", "alluxio"),
    ("city-low-bitrate.mp4", "oss"),
    ("city.mpg", "oss"),
];

const RESULTS: &str = "odps://demo/results/ds=20261124";

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return clipsieve::main(&clipsieve_operators::registry());
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clips");
    let (cpfs, cache) = (
        work.path().join("cpfs/videos"),
        work.path().join("alluxio/videos"),
    );
    std::fs::create_dir_all(&cpfs).expect("a folder");
    std::fs::create_dir_all(&cache).expect("a folder");
    let far = Oss::start();
    let mut rows = Vec::new();
    for (clip, tier) in CLIPS {
        let body = std::fs::read(clips.join(clip)).expect("a demo clip");
        match tier {
            "cpfs" => std::fs::write(cpfs.join(clip), &body).expect("a file"),
            "alluxio" => std::fs::write(cache.join(clip), &body).expect("a file"),
            _ => {}
        }
        far.put(&format!("videos/{clip}"), body);
        let id = clip.split('.').next().unwrap_or(clip);
        let cells = [id, "videos", clip, "demo", "{\"use_alluxio\": true}"];
        rows.push(odps::input_row(cells));
    }
    let tables = Double::start(Account::default()).expect("a port");
    tables.create("demo", "videos", &INPUT, &["ds"]);
    tables.insert("demo", "videos", "ds=20261124", rows);
    tables.create("demo", "results", &RESULT, &["ds"]);
    let alluxio = s3::start_as_alluxio(&work.path().join("alluxio"));

    let program = std::env::current_exe().expect("a path");
    let sets = [
        "input=odps://demo/videos/ds=20261124".to_owned(),
        format!("output={}", RESULTS),
        format!("copy={}", work.path().join("results.parquet").display()),
        "copied=true".to_owned(),
        format!("cpfs={}", work.path().join("cpfs").display()),
        format!("alluxio={}", alluxio.url()),
        format!("oss={}", far.running.url()),
        "oss_addressing=path".to_owned(),
        "crops=crops".to_owned(),
    ];
    let clipsieve = |command: &[&str]| {
        let mut process = Command::new(&program);
        process
            .args(command)
            .current_dir(work.path())
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", oss::KEY_ID)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", oss::SECRET)
            .envs(odps::environment(&tables));
        if command[0] != "show" {
            process.args(sets.iter().flat_map(|set| ["--set", set.as_str()]));
        }
        println!("$ clipsieve {} …", command.join(" "));
        let status = process.status().expect("this program starts again");
        assert!(status.success(), "clipsieve ended with {status}");
    };
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/three-tiers.yaml");
    let pipeline = pipeline.to_str().expect("a path in UTF-8");
    clipsieve(&["check", "--connect", pipeline]);
    clipsieve(&["run", "--progress", "none", pipeline]);
    clipsieve(&["show", RESULTS]);
    let copy = work.path().join("results.parquet");
    let copied = std::fs::metadata(copy).expect("the copy").len();
    println!("results.parquet: {copied} bytes");
    for key in far.keys("crops/") {
        println!("oss://{key}");
    }
    ExitCode::SUCCESS
}
