//! Pipeline files, tables, configurations, weights and videos with bytes changed: a seeded runner of mutations (no coverage
//! guides it). Whatever stands in them, the answer is a result or an error, never a panic, and it comes soon.
//!
//! A little of each belongs to the suite. `make fuzz` goes on with each for `CLIPSIEVE_FUZZ_SECONDS`. The frames of ODPS are
//! mutated where they are read, in `odps/src/mutants.rs`.

use std::path::Path;
use std::time::{Duration, Instant};

use clipsieve_engine::compile::{Machine, Options, Source as Text, compile};
use clipsieve_engine::operator::Source;
use clipsieve_models::{ModelConfig, Weights};
use clipsieve_operators::media::{self, DecodeOptions, Fit, Interrupt, Request, Span};
use clipsieve_operators::tables::JsonlReader;

use crate::job::Seeded;
use crate::mutants::mutate;

const SOON: Duration = Duration::from_secs(10);

/// Feeds mutants of these seeds, so many or as long as was asked for; says which one it was when something goes wrong.
fn feed(what: &str, seeds: &[Vec<u8>], count: u64, mut eat: impl FnMut(&[u8])) {
    let seed = crate::seed();
    let mut random = Seeded(seed);
    let time: Option<u64> = crate::number("CLIPSIEVE_FUZZ_SECONDS");
    let until = time.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // Kept while it is eaten: of what ends the process, too, it is known what it was.
    let path = std::env::temp_dir().join(format!("clipsieve-{what}-{seed}"));
    let mut slowest = Duration::ZERO;
    let mut number = 0;
    while until.map_or(number < count, |until| Instant::now() < until) {
        let pick = random.below(seeds.len() as u64) as usize;
        let mut bytes = seeds[pick].clone();
        mutate(&mut bytes, &mut random);
        std::fs::write(&path, &bytes).expect("the mutant is kept");
        let started = Instant::now();
        let eaten = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eat(&bytes)));
        slowest = slowest.max(started.elapsed());
        assert!(
            eaten.is_ok() && slowest <= SOON,
            "{what}: mutant {number} of seed {seed}, kept as {}",
            path.display()
        );
        number += 1;
    }
    let _ = std::fs::remove_file(&path);
    println!("  {number} of {what}, the slowest took {slowest:.1?}");
}

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn mutated_pipelines_are_answered() {
    let seeds =
        ["regions", "video-quality", "stage2"].map(|name| read(&format!("pipelines/{name}.yaml")));
    let registry = clipsieve_operators::registry();
    let sets = [("input".to_owned(), "clips".to_owned())];
    feed("pipeline", &seeds, 1500, |bytes| {
        let options = Options {
            registry: &registry,
            sets: &sets,
            env: &|_| None,
            machine: Machine {
                cores: 2,
                memory_bytes: 1 << 33,
                disk_bytes: 1 << 40,
                device: "cpu".to_owned(),
            },
            processes: 1,
            workers: 1,
        };
        let text = Text {
            name: "mutant.yaml",
            text: bytes,
        };
        compile(&text, &options);
    });
}

pub fn mutated_tables_are_answered() {
    let good = (0..20)
        .map(|number| crate::job::poisoned(number, "ä\u{1f3ac}\\\"\n").to_string())
        .collect::<Vec<_>>()
        .join("\r\n");
    let seeds = [
        good.into_bytes(),
        b"\xEF\xBB\xBF{}\n\n[1]\nnull\n{\"a\":{\"b\":[1e999,-0]}}".to_vec(),
    ];
    feed("table", &seeds, 3000, |bytes| {
        let mut reader = JsonlReader::new(bytes, "mutant".to_owned(), 4096);
        // A reader of bytes in memory never gives up, and has a row for each line that is not blank.
        let mut rows = 0;
        while reader.next_row().expect("it can be read").is_some() {
            rows += 1;
        }
        let lines = bytes.split(|byte| *byte == b'\n').count();
        assert!(rows <= lines, "{rows} rows of {lines} lines");
    });
}

pub fn mutated_models_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let [config, weights] =
        ["config.json", "model.safetensors"].map(|name| folder.path().join(name));
    for model in ["vjepa2-tiny", "yolov8n"] {
        let good = |name: &str| read(&format!("tests/fixtures/{model}/{name}"));
        feed("config", &[good("config.json")], 500, |bytes| {
            std::fs::write(&config, bytes).expect("a configuration");
            let _ = ModelConfig::read(folder.path());
        });
        std::fs::write(&config, good("config.json")).expect("a configuration");
        // The beginning, which says where everything is, is what can be wrong; the numbers behind are numbers anyhow.
        let mut head = good("model.safetensors");
        head.truncate(64 << 10);
        feed("weights", &[head], 200, |bytes| {
            std::fs::write(&weights, bytes).expect("weights");
            if let Ok(weights) = Weights::open(folder.path()) {
                let names: Vec<String> = weights.names().map(str::to_owned).collect();
                for name in &names {
                    let _ = weights.get(name, &[1]);
                }
            }
        });
    }
}

const CONTAINERS: &[(&str, &[&str])] = &[
    (
        "mp4",
        &[
            "plain.mp4",
            "edit.mp4",
            "open.mp4",
            "vfr.mp4",
            "sound.mp4",
            "jpeg.mov",
        ],
    ),
    ("ts", &["stream.ts", "resized.ts"]),
    ("webm", &["odd.webm", "tagged.mkv"]),
    ("avi", &["sound.avi"]),
    ("gif", &["palette.gif"]),
];

/// Container and codec at once, in this process: what ffmpeg does to memory would show here, at the latest under a sanitizer.
pub fn mutated_containers_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    for (group, names) in CONTAINERS {
        let seeds: Vec<Vec<u8>> = names
            .iter()
            .map(|name| read(&format!("tests/fixtures/media/{name}")))
            .collect();
        let path = folder.path().join(format!("mutant.{group}"));
        let request = |span| Request {
            span,
            frames: 4,
            fit: Fit::ResizeShort {
                short: 32,
                crop: 32,
            },
        };
        let requests = [
            request(Span::Video),
            request(Span::Windows {
                length_seconds: 1.0,
                stride_seconds: 0.5,
            }),
        ];
        feed(group, &seeds, 60, |bytes| {
            std::fs::write(&path, bytes).expect("a mutant");
            let interrupt = Interrupt::at(Instant::now() + SOON / 2);
            let _ = media::probe(&path, &interrupt);
            let [routed, full] = [true, false].map(|seek| {
                let options = DecodeOptions { seek, threads: 1 };
                media::decode_with(&path, None, &requests, &options, &interrupt)
            });
            // Both ways may disagree over a damaged file; each has as many clips as were asked for, or none.
            for decoded in [routed, full].into_iter().flatten() {
                assert_eq!(decoded.clips.len(), requests.len());
            }
        });
    }
}
