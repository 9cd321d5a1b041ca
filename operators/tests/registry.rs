//! The contract that every operator of the registry keeps: whoever adds one is held to it without writing a test.

use std::collections::BTreeSet;
use std::path::Path;

use clipsieve_engine::compile::{Compiled, Machine, Options, Source, compile};
use clipsieve_engine::operator::{Fallback, OperatorSpec, ParamType, PortKind, Ports};
use clipsieve_operators::{kinds, registry};

/// A stage that gives each kind, in an order in which they can be written down.
const GIVERS: [(PortKind, &str, &str); 8] = [
    (
        PortKind::RECORD,
        "videos",
        "{ op: read_table, with: { uri: clips } }",
    ),
    (kinds::VIDEO, "fetched", "{ op: fetch, from: videos }"),
    (
        kinds::REGIONS,
        "regions",
        "{ op: detect_regions, from: fetched }",
    ),
    (kinds::FRAMES, "decoded", "{ op: decode, from: fetched }"),
    (kinds::CLIP, "clip", "{ op: sample, from: decoded }"),
    (kinds::CLIPS, "segments", "{ op: windows, from: decoded }"),
    (
        kinds::MEASUREMENT,
        "measured",
        "{ op: measure, from: clip }",
    ),
    (
        PortKind::DOCUMENT,
        "result",
        "{ op: aggregate, from: [regions, measured, seg_measured] }",
    ),
];

fn compiled(text: &str) -> Compiled {
    let registry = registry();
    let options = Options {
        registry: &registry,
        sets: &[],
        env: &|_| None,
        machine: Machine {
            cores: 4,
            memory_bytes: 8 << 30,
            disk_bytes: 1 << 40,
            device: "cpu".to_string(),
        },
        processes: 1,
        workers: 1,
    };
    compile(
        &Source {
            name: "example.yaml",
            text: text.as_bytes(),
        },
        &options,
    )
}

/// A whole pipeline around an operator's example.
fn around(spec: &OperatorSpec) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let (id, _) = spec
        .example
        .split_once(':')
        .expect("an example is `id: { … }`");
    let mut stages: Vec<(String, String)> = GIVERS
        .iter()
        .map(|(_, id, stage)| (id.to_string(), stage.to_string()))
        .collect();
    stages.insert(
        7,
        (
            "seg_measured".into(),
            "{ op: measure, from: segments }".into(),
        ),
    );
    stages.push((
        "table".into(),
        "{ op: write_table, from: result, with: { uri: out.jsonl } }".into(),
    ));
    if spec.example.contains("network") {
        stages.insert(
            7,
            (
                "network".into(),
                "{ op: classify, from: clip, with: { model: simcam } }".into(),
            ),
        );
    }
    let example = spec.example[id.len() + 1..].trim().to_string();
    let output = match spec.ports {
        Ports::Fixed(ways) => ways[0].output,
        Ports::Gather { output, .. } => Some(output),
    };
    match stages.iter_mut().find(|(known, _)| known == id) {
        Some((_, stage)) => *stage = example,
        None => {
            let at = stages
                .iter()
                .position(|(known, _)| known == "result")
                .expect("an aggregate");
            let result = stages[at].1.clone();
            let gathered = match output {
                Some(kinds::VERDICT | kinds::MEASUREMENT | kinds::REGIONS | kinds::VIDEO) => {
                    id.to_string()
                }
                Some(kinds::CLIP | kinds::CLIPS) => {
                    stages.insert(
                        at,
                        (
                            "judged".into(),
                            format!("{{ op: measure, from: {id}, with: {{ key: judged }} }}"),
                        ),
                    );
                    "judged".to_string()
                }
                other => panic!(
                    "`{}`: the example gives {other:?} and is not called as in the other examples",
                    spec.name
                ),
            };
            let at = stages
                .iter()
                .position(|(known, _)| known == "result")
                .expect("an aggregate");
            stages[at].1 = result.replace("regions,", &format!("regions, {gathered},"));
            let at = if spec.name == "combine" {
                at
            } else {
                at.min(7)
            };
            stages.insert(at, (id.to_string(), example));
        }
    }
    let model = fixtures.join("vjepa2-tiny");
    let mut text = format!(
        "name: example\nstores:\n  crops: {{ type: fs, root: crops }}\n  cpfs: {{ type: fs, root: /mnt/cpfs }}\n  cache: {{ type: fs, root: /mnt/cache }}\nmodels:\n  vfx: {}\n  simcam: {}\nstages:\n",
        model.display(),
        model.display()
    );
    for (id, stage) in stages {
        text.push_str(&format!("  {id}: {stage}\n"));
    }
    text
}

#[test]
fn names_are_words_and_unique() {
    let mut seen = BTreeSet::new();
    for spec in registry().iter() {
        assert!(seen.insert(spec.name), "`{}` is listed twice", spec.name);
        assert!(
            spec.name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_'),
            "`{}`",
            spec.name
        );
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{}.rs", spec.name));
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|_| panic!("`{}` does not live in {}", spec.name, file.display()));
        assert!(
            text.contains(&format!(" {}: OperatorSpec", spec.name.to_uppercase())),
            "{} has no constant of its name",
            file.display()
        );
    }
    assert!(seen.len() >= 12);
}

#[test]
fn everything_is_documented() {
    for spec in registry().iter() {
        let name = spec.name;
        assert!(
            !spec.summary.is_empty()
                && !spec.summary.ends_with('.')
                && !spec.summary.contains('\n'),
            "`{name}`: {}",
            spec.summary
        );
        assert!(spec.doc.len() > 80, "`{name}` says too little of itself");
        let mut seen = BTreeSet::new();
        for param in spec.params {
            assert!(
                seen.insert(param.name),
                "`{name}` declares `{}` twice",
                param.name
            );
            assert!(
                param.doc.len() > 15 && param.doc.ends_with('.'),
                "`{name}.{}`: {}",
                param.name,
                param.doc
            );
            if let ParamType::Int { min, max } = param.ty {
                assert!(min < max, "`{name}.{}`", param.name);
            }
            if param.fallback == Fallback::Required {
                assert!(
                    spec.example.contains(param.name),
                    "`{name}`: the example leaves out the required `{}`",
                    param.name
                );
            }
        }
    }
}

#[test]
fn every_example_compiles_in_a_pipeline() {
    for spec in registry().iter() {
        let text = around(spec);
        let compiled = compiled(&text);
        let errors: Vec<_> = compiled.errors().map(ToString::to_string).collect();
        assert!(
            errors.is_empty(),
            "`{}`\n{text}\n{}",
            spec.name,
            errors.join("\n")
        );
        let plan = compiled.plan.expect("a plan without errors");
        assert!(
            plan.graph
                .node_weights()
                .any(|stage| stage.spec.name == spec.name),
            "`{}` is not in\n{text}",
            spec.name
        );
    }
}

#[test]
fn a_second_rule_over_one_network_is_refused_for_both_write_its_key() {
    let spec = registry().get("combine").expect("combine");
    let text = around(spec);
    let (id, example) = spec.example.split_once(':').expect("`id: { … }`");
    let twice = text
        .replace(
            &format!("  {id}:{example}\n"),
            &format!("  {id}:{example}\n  again:{example}\n"),
        )
        .replace(
            &format!("regions, {id},"),
            &format!("regions, {id}, again,"),
        );
    assert_ne!(text, twice);
    let compiled = compiled(&twice);
    let said: Vec<String> = compiled.errors().map(ToString::to_string).collect();
    let [said] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(
        said.contains("C061")
            && said.contains(&format!("so does `{id}`"))
            && said.contains("give one of them another `key`"),
        "{said}"
    );
    let named = example.replacen("with: {", "with: { key: second,", 1);
    let apart =
        self::compiled(&twice.replace(&format!("  again:{example}"), &format!("  again:{named}")));
    let said: Vec<String> = apart.errors().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_rule_that_could_judge_no_row_is_refused_before_there_are_any() {
    let text = around(registry().get("combine").expect("combine"));
    assert!(compiled(&text).plan.is_some());
    let said = |changes: &[(&str, &str)]| -> Vec<String> {
        let mut wrong = text.clone();
        for (from, to) in changes {
            assert!(wrong.contains(from), "{from} is not in\n{wrong}");
            wrong = wrong.replace(from, to);
        }
        compiled(&wrong).errors().map(ToString::to_string).collect()
    };
    let swapped = said(&[("[network, measured]", "[measured, network]")]);
    assert!(
        swapped[0].contains("got (measurement, verdict)"),
        "{swapped:?}"
    );
    let uneven = said(&[("[network, measured]", "[network, seg_measured]")]);
    assert!(
        uneven[0].contains("got (verdict, measurements)"),
        "{uneven:?}"
    );
    let measured = "measured: { op: measure, from: clip";
    let fewer = said(&[(
        measured,
        &format!("{measured}, with: {{ signals: [sharpness] }}"),
    )]);
    let [fewer] = fewer.as_slice() else {
        panic!("{fewer:?}");
    };
    assert!(
        fewer.contains("`motion` is not computed, and the rule of stage `simcam` needs it")
            && fewer.contains("stages.measured.with.signals"),
        "{fewer}"
    );
    // A network of the same architecture that tells something else.
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vjepa2-tiny");
    for entry in std::fs::read_dir(&fixture).expect("a fixture").flatten() {
        let copy = folder.path().join(entry.file_name());
        std::fs::copy(entry.path(), copy).expect("copied");
    }
    let config = folder.path().join("config.json");
    let of_others = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, of_others.replace("LABEL_1", "LABEL_9")).expect("written");
    let other = said(&[
        (
            &*format!("vfx: {}\n", fixture.display()),
            &*format!("vfx: {}\n", folder.path().display()),
        ),
        (
            "network: { op: classify, from: clip, with: { model: simcam } }",
            "network: { op: classify, from: clip, with: { model: vfx } }",
        ),
    ]);
    let [other] = other.as_slice() else {
        panic!("{other:?}");
    };
    assert!(
        other.contains("`vfx` tells LABEL_0, LABEL_9") && other.contains("tells LABEL_0, LABEL_1"),
        "{other}"
    );
}

#[test]
fn a_parameter_of_another_fit_is_refused() {
    let text = around(registry().get("sample").expect("sample"));
    let clip = "with: { frames: 48, size: 256 }";
    assert!(text.contains(clip), "{text}");
    let with = |fit: &str| {
        let own = format!("with: {{ size: 256, resize_short: 292, fit: {fit} }}");
        let compiled = compiled(&text.replace(clip, &own));
        compiled
            .errors()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(with("crop"), [""; 0]);
    for fit in ["letterbox", "whole", "middle"] {
        let said = with(fit);
        let [said] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(
            said.contains("stages.clip.with.resize_short") && said.contains(fit),
            "{said}"
        );
    }
}

#[test]
fn two_crops_of_one_row_are_refused_for_both_write_its_key() {
    let spec = registry().get("crop_upload").expect("crop_upload");
    let text = around(spec);
    let (id, example) = spec.example.split_once(':').expect("`id: { … }`");
    let twice = text.replace(
        &format!("  {id}:{example}\n"),
        &format!("  {id}:{example}\n  again:{example}\n"),
    );
    let from = twice.find("op: aggregate, from: [").expect("an aggregate") + 22;
    let twice = format!("{}{id}, again, {}", &twice[..from], &twice[from..]);
    let said: Vec<String> = compiled(&twice).errors().map(ToString::to_string).collect();
    assert!(said.iter().any(|said| said.contains("C061")), "{said:?}");
}

#[test]
fn a_sampler_takes_its_geometry_from_the_model_behind_it() {
    let spec = registry().get("classify").expect("classify");
    let plan = compiled(&around(spec)).plan.expect("a plan");
    let demand = |id: &str| {
        let stage = plan
            .graph
            .node_weights()
            .find(|stage| stage.id == id)
            .expect("a stage");
        stage.demand.clone().expect("a demand")
    };
    // The tiny model takes 8 frames of 64 px; nobody asks anything of the windows but `measure`.
    assert_eq!(
        (
            demand("clip")["frames"].as_u64(),
            demand("clip")["size"].as_u64()
        ),
        (Some(8), Some(64))
    );
    assert_eq!(
        (
            demand("segments")["frames"].as_u64(),
            demand("segments")["size"].as_u64()
        ),
        (Some(48), Some(256))
    );
}

#[test]
fn a_sampler_that_contradicts_its_model_is_refused_with_both_numbers() {
    let text = around(registry().get("classify").expect("classify")).replace(
        "{ op: sample, from: decoded }",
        "{ op: sample, from: decoded, with: { size: 224 } }",
    );
    let compiled = compiled(&text);
    let errors: Vec<_> = compiled.errors().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("224")
            && errors[0].contains("64")
            && errors[0].contains("stages.clip.with.size"),
        "{}",
        errors[0]
    );
}

#[test]
fn the_upload_of_a_crop_follows_the_pass_that_encodes_it() {
    let text = "\
name: crops
stores:
  crops: { type: memory }
stages:
  videos: { op: read_table, with: { uri: clips } }
  fetched: { op: fetch, from: videos }
  regions: { op: detect_regions, from: fetched }
  cropped: { op: crop_upload, from: [fetched, regions], with: { store: crops }, retry: { attempts: 5 } }
  decoded: { op: decode, from: cropped }
  clip: { op: sample, from: decoded }
  measured: { op: measure, from: clip }
  result: { op: aggregate, from: [regions, cropped, measured] }
  table: { op: write_table, from: result, with: { uri: out.jsonl } }
";
    let taken_from = |text: &str, id: &str| -> Option<Vec<String>> {
        let compiled = compiled(text);
        let shown: Vec<&str> = compiled
            .graph
            .stages
            .iter()
            .map(|stage| &*stage.id)
            .collect();
        assert!(
            !shown.contains(&"cropped.upload"),
            "the file has no such stage"
        );
        let plan = compiled
            .plan
            .unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
        let stage = plan.graph.node_weights().find(|stage| stage.id == id)?;
        let names = stage
            .inputs
            .iter()
            .map(|input| plan.graph[*input].id.clone());
        Some(names.collect())
    };
    let upload = taken_from(text, "cropped.upload");
    assert_eq!(
        upload.as_deref(),
        Some(&["cropped".to_owned(), "decoded".to_owned()][..])
    );
    assert_eq!(
        taken_from(text, "result").as_ref().map(|from| &*from[1]),
        Some("cropped.upload")
    );
    assert_eq!(
        taken_from(text, "decoded"),
        Some(vec!["cropped".to_owned()])
    );
    // Nothing to upload, or nobody who decodes behind the crop: one stage.
    let bare = text
        .replace(", with: { store: crops }", "")
        .replace("stores:\n  crops: { type: memory }\n", "");
    assert_eq!(taken_from(&bare, "cropped.upload"), None);
    let before = text.replace("decode, from: cropped", "decode, from: fetched");
    assert_eq!(taken_from(&before, "cropped.upload"), None);
    assert_eq!(
        taken_from(&before, "result").as_ref().map(|from| &*from[1]),
        Some("cropped")
    );
}
