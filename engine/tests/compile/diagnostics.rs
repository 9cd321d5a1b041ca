use std::collections::BTreeSet;

use clipsieve_engine::pipeline::Code;

use crate::toy::{Bench, SOUND, TOKEN};

/// A pipeline that is sound but for what stands in the three places.
fn pipeline(sections: &str, counted: &str, more: &str) -> String {
    format!(
        "\
name: small
{sections}stages:
  rows:    {{ op: read_rows, with: {{ uri: rows.jsonl }} }}
  texts:   {{ op: fetch, from: rows }}
  counted: {{ op: count, from: texts{counted} }}
{more}  result:  {{ op: collect, from: [counted] }}
  table:   {{ op: write_rows, from: result, with: {{ uri: out.jsonl }} }}
"
    )
}

fn stage(line: &str) -> String {
    pipeline("", "", &format!("  {line}\n"))
}

fn with(params: &str) -> String {
    pipeline("", &format!(", with: {{ {params} }}"), "")
}

fn setting(text: &str) -> String {
    pipeline("", &format!(", {text}"), "")
}

fn section(text: &str) -> String {
    pipeline(&format!("{text}\n"), "", "")
}

/// What brings each code about. Nothing but that may be reported.
fn cases() -> Vec<(Code, Vec<u8>)> {
    let judged = |model: &str| {
        pipeline(
            "models: { mild: models/mild }\n",
            "",
            &format!("  judged: {{ op: judge, from: counted, with: {{ model: {model} }} }}\n"),
        )
        .replace("from: [counted]", "from: [counted, judged]")
    };
    let many = (0..40).fold(String::new(), |text, _| text + "[");
    let cases: Vec<(Code, String)> = vec![
        (Code::Unreadable, section("description: \"a\u{0}b\"")),
        (Code::Syntax, section("description: [a, b")),
        (Code::Syntax, section("description: a: b")),
        (Code::Syntax, section("params:\n\tx: 1")),
        (Code::Syntax, pipeline("", "", "").replace("uri: rows.jsonl", "uri: ${input}")),
        (Code::Syntax, with("word: a, frames: ${frames}/x")),
        (Code::DuplicateKey, section("description: a\ndescription: b")),
        (Code::DuplicateKey, stage("texts: { op: fetch, from: rows }")),
        (Code::UnsupportedYaml, with("frames: &n 8, word: *n")),
        (Code::UnsupportedYaml, section("params: { <<: {} }")),
        (Code::UnsupportedYaml, with("frames: !!int 8")),
        (Code::TooDeep, format!("name: {many}")),
        (Code::WrongShape, section("limits: [1]")),
        (Code::WrongShape, setting("with: [frames]")),
        (Code::WrongShape, setting("op: [count]").replacen("op: count, ", "", 1)),
        (Code::WrongShape, "".to_string()),
        (Code::WrongShape, "just text".to_string()),
        (Code::WrongShape, section("stores: { near: fs }")),
        (Code::WrongShape, section("? [a]\n: b")),
        (Code::WrongShape, "name: a\n---\nname: b\n".to_string()),
        (Code::UnknownKey, section("parms: {}")),
        (Code::UnknownKey, setting("concurency: 2")),
        (Code::UnknownKey, setting("frames: 8")),
        (Code::UnknownKey, pipeline("", "", "").replace("with: { uri: rows.jsonl }", "uri: rows.jsonl")),
        (Code::MissingKey, with("frames: 8").replace("name: small\n", "")),
        (Code::MissingKey, "name: empty\nstages:\n".to_string()),
        (Code::MissingKey, section("stores: { near: { root: / } }")),
        (Code::BadName, section("params: { Input-Uri: { type: uri, default: a } }\ndescription: \"${Input-Uri}\"")),
        (Code::UnknownVariable, with("frames: \"${fraems}\"")),
        (Code::UnknownVariable, section("params: { a: { type: text, default: \"${b}\" } }\ndescription: \"${a}\"")),
        (Code::BadSubstitution, with("word: \"${\"")),
        (Code::UnsetVariable, with("word: \"${env:NOT_SET}\"")),
        (Code::MissingParam, section("params: { input: { type: uri } }\ndescription: \"${input}\"")),
        (Code::BadParam, section("params: { n: { type: number, default: 1 } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { type: int, default: x } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { type: duration, default: 4 } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { default: x } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { type: choice, default: x } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { type: choice, choices: [a, b], default: x } }\ndescription: \"${n}\"")),
        (Code::BadParam, section("params: { n: { type: int, choices: [1], default: 1 } }\ndescription: \"${n}\"")),
        (Code::UnusedParam, section("params: { n: { type: int, default: 1 } }")),
        (Code::UnknownOperator, stage("more: { op: cuont, from: texts }").replace("[counted]", "[counted, more]")),
        (Code::UnknownParameter, with("fraems: 8")),
        (Code::UnknownParameter, stage("more: { op: collect, from: counted, with: { a: 1 } }\n  file: { op: write_rows, from: more, with: { uri: b } }")),
        (Code::MissingParameter, stage("more: { op: write_rows, from: result }")),
        (Code::WrongType, with("frames: many")),
        (Code::WrongType, with("frames: \"48\"")),
        (Code::WrongType, with("exact: 'true'")),
        (Code::WrongType, with("exact: 1")),
        (Code::WrongType, with("word: true")),
        (Code::WrongType, with("frames:")),
        (Code::WrongType, setting("timeout: 30")),
        (Code::WrongType, setting("when: \"no\"")),
        (Code::WrongType, with("frames: 99999999999999999999999")),
        (Code::OutOfRange, with("frames: 900")),
        (Code::OutOfRange, setting("concurrency: 0")),
        (Code::OutOfRange, section("limits: { items: 0 }")),
        (Code::OutOfRange, setting("retry: { attempts: 0 }")),
        (Code::UnknownModel, judged("mlid")),
        (Code::UnknownStore, pipeline("", "", "").replace("from: rows", "from: rows, with: { store: near }")),
        (Code::BadModel, judged("mild").replace("models/mild", "weights")),
        (Code::BadStore, section("stores: { near: { type: ftp } }")),
        (Code::UnusedModel, section("models: { mild: models/mild }")),
        (Code::UnusedStore, section("stores: { near: { type: fs, root: / } }")),
        (Code::Refused, stage("more: { op: add, from: counted, with: { by: 13 } }").replace("[counted]", "[counted, more]")),
        (Code::BadDefault, stage("more: { op: mismade, from: counted }").replace("[counted]", "[counted, more]")),
        (Code::SecretInFile, section("stores: { near: { type: fs, root: /, password: hunter2 } }")),
        (Code::UnknownInput, stage("more: { op: add, from: cuonted }").replace("[counted]", "[counted, more]")),
        (Code::DuplicateInput, stage("more: { op: add, from: [counted, counted] }").replace("[counted]", "[counted, more]")),
        (Code::SourceCount, stage("again: { op: read_rows, with: { uri: b } }\n  more: { op: fetch, from: again }\n  too: { op: count, from: more }").replace("[counted]", "[counted, too]")),
        (Code::SourceCount, "name: a\nstages:\n  a: { op: add, from: b }\n  b: { op: add, from: a }\n  r: { op: collect, from: b }\n  t: { op: write_rows, from: r, with: { uri: o } }\n".to_string()),
        (Code::NoSink, "name: a\nstages:\n  rows: { op: read_rows, with: { uri: a } }\n".to_string()),
        (Code::Cycle, stage("a: { op: add, from: [counted, c] }\n  b: { op: add, from: a }\n  c: { op: add, from: b }").replace("[counted]", "[counted, c]")),
        (Code::Cycle, stage("a: { op: add, from: a }").replace("[counted]", "[counted, a]")),
        (Code::DeadEnd, stage("more: { op: add, from: counted }")),
        (Code::TakesFromSink, stage("more: { op: add, from: table }").replace("[counted]", "[counted, more]")),
        (Code::MissingInput, stage("more: { op: add }").replace("[counted]", "[counted, more]")),
        (Code::SourceWithInput, pipeline("", "", "").replace("op: read_rows", "op: read_rows, from: rows2").replace("rows2", "counted")),
        (Code::WrongInputs, stage("more: { op: add, from: [counted, texts, rows] }").replace("[counted]", "[counted, more]")),
        (Code::WrongInputs, pipeline("", "", "").replace("[counted]", "[counted, texts]")),
        (Code::WrongInputs, pipeline("", "", "").replace("op: count, from: texts", "op: count, from: rows")),
        (Code::WrongInputs, pipeline("", "", "").replace("from: result", "from: counted")),
        (Code::DuplicateRowKey, judged("mild, key: counted").replace("  result", "  again: { op: judge, from: counted, with: { model: mild, key: counted } }\n  result").replace("judged] }", "judged, again] }")),
        (Code::LostInputs, setting("when: false")),
        (Code::NothingLeft, pipeline("", "", "").replace("op: fetch", "op: fetch, when: false").replace("op: collect, from: [counted]", "op: collect, when: false, from: [counted]")),
        (Code::Unmeetable, judged("mild").replace("from: texts", "from: texts, with: { frames: 4 }")),
        (Code::Inapplicable, setting("device: cpu")),
        (Code::Inapplicable, pipeline("", "", "").replace("op: fetch,", "op: fetch, threads: 2,")),
        (Code::Inapplicable, pipeline("", "", "").replace("op: write_rows,", "op: write_rows, retry: { attempts: 2 },")),
        (Code::BadLimit, section("limits: { memory: 1KB }")),
        (Code::BadLimit, section("limits: { item_timeout: 0s }")),
        (Code::BadLimit, setting("timeout: 0ms")),
        (Code::BadDevice, judged("mild").replace("op: judge,", "op: judge, device: gpu,")),
        (Code::Oversubscribed, setting("threads: 4, concurrency: 4")),
        (Code::LateTimeout, setting("timeout: 1h")),
    ];
    let mut cases: Vec<(Code, Vec<u8>)> = cases
        .into_iter()
        .map(|(code, text)| (code, text.into_bytes()))
        .collect();
    cases.push((Code::Unreadable, b"name: \xff\xfe".to_vec()));
    cases.push((Code::Unreadable, vec![b' '; 2 << 20]));
    cases.push((Code::TooDeep, "- a\n".repeat(60_000).into_bytes()));
    cases
}

#[test]
fn the_sound_pipeline_is_sound() {
    assert_eq!(Bench::default().lines(SOUND), "");
    assert_eq!(Bench::default().lines(pipeline("", "", "")), "");
}

/// One snapshot of what every code looks like, and a proof that none is missing from it.
#[test]
fn every_code_is_reported_by_some_file() {
    let mut book = String::new();
    let mut seen = BTreeSet::new();
    for (code, text) in cases() {
        let compiled = Bench::default().compile(&text);
        let lines = Bench::default().lines(&text);
        assert!(
            compiled.diagnostics.iter().any(|found| found.code == code),
            "{code} expected:\n{lines}\n{}",
            String::from_utf8_lossy(&text)
        );
        assert_eq!(
            compiled.plan.is_none(),
            compiled.errors().next().is_some(),
            "{lines}"
        );
        seen.insert(code);
        book.push_str(&lines);
        book.push('\n');
    }
    for (name, value) in [
        ("fraems", "1"),
        ("frames", "many"),
        ("frames", "900"),
        ("strict", "no"),
    ] {
        let bench = Bench::set(name, value);
        seen.extend(
            bench
                .compile(SOUND)
                .diagnostics
                .iter()
                .map(|found| found.code),
        );
        book.push_str(&bench.lines(SOUND));
        book.push('\n');
    }
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !seen.contains(code))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    insta::assert_snapshot!(book);
}

#[test]
fn the_codes_have_a_table() {
    let rows = Code::ALL
        .iter()
        .map(|code| format!("{code} {}", code.meaning()));
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"));
}

#[test]
fn five_mistakes_are_five_diagnostics() {
    let text = "\
name: five
limits: { items: 0 }
stages:
  rows:    { op: read_rows, with: { uri: a } }
  texts:   { op: fetsh, from: rows }
  counted: { op: count, from: texts, with: { frames: 900 } }
  sum:     { op: add, from: [counted, sum2] }
  sum2:    { op: add, from: sum }
  more:    { op: add, from: cuonted }
  result:  { op: collect, from: [sum2, more] }
  table:   { op: write_rows, from: result, with: { uri: out } }
";
    let compiled = Bench::default().compile(text);
    let found: Vec<_> = compiled
        .diagnostics
        .iter()
        .map(|found| (found.location.unwrap().line, found.code))
        .collect();
    assert_eq!(
        found,
        [
            (2, Code::OutOfRange),
            (5, Code::UnknownOperator),
            (6, Code::OutOfRange),
            (7, Code::Cycle),
            (9, Code::UnknownInput),
        ],
        "{}",
        Bench::default().lines(text)
    );
}

#[test]
fn a_bad_parameter_hides_no_other() {
    let text = pipeline(
        "",
        "",
        "  more: { op: judge, from: counted, with: { model: mlid, threshold: 2, limit: 1 } }\n",
    );
    let text = text
        .replace("[counted]", "[counted, more]")
        .replace("from: rows", "from: rows, with: { store: near, pause: 3 }");
    let compiled = Bench::default().compile(&text);
    let found: Vec<_> = compiled
        .diagnostics
        .iter()
        .map(|found| found.code)
        .collect();
    assert_eq!(
        found,
        [
            Code::UnknownStore,
            Code::WrongType,
            Code::UnknownModel,
            Code::OutOfRange,
            Code::UnknownParameter,
        ],
        "{}",
        Bench::default().lines(&text)
    );
}

#[test]
fn a_set_length_of_time_is_told_to_have_a_unit() {
    let text = section("params: { wait: { type: duration, default: 4s } }")
        .replace("op: fetch,", "op: fetch, timeout: \"${wait}\",");
    let lines = Bench::set("wait", "30").lines(&text);
    assert!(lines.ends_with("(add a unit: 30s)"), "{lines}");
}

#[test]
fn places_are_exact() {
    let text = "\
name: places
stages:
  rows:
    op: read_rows
    with:
      uri: a
  texts: { op: fetch, from: rows, with: { tiers: [near, \"farr\"] } }
  counted:
    op: count
    from:
      - texts
    with:
      frames: 1000
  result: { op: collect, from: counted }
  table: { op: write_rows, from: result, with: { uri: out } }
";
    let compiled = Bench::default().compile(text);
    let places: Vec<_> = compiled
        .diagnostics
        .iter()
        .map(|found| found.location.unwrap())
        .collect();
    let lines: Vec<&str> = text.lines().collect();
    let covered: Vec<&str> = places
        .iter()
        .map(|at| &lines[at.line - 1][at.column - 1..at.column - 1 + at.length.unwrap()])
        .collect();
    assert_eq!(covered, ["\"farr\"", "1000"]);
}

#[test]
fn secrets_are_never_quoted() {
    let files = [
        section("stores: { near: { type: \"${env:TOKEN}\", root: / } }"),
        section("stores: { near: { type: fs, root: \"${env:TOKEN}\" } }"),
        section("models: { mild: \"x/${env:TOKEN}\" }"),
        with("frames: \"${env:TOKEN}\""),
        with("exact: \"a${env:TOKEN}\""),
        setting("when: \"${env:TOKEN}\""),
        setting("timeout: \"${env:TOKEN}\""),
        section("params: { p: { type: int, default: \"${env:TOKEN}\" } }\ndescription: \"${p}\""),
        stage("more: { op: \"${env:TOKEN}\", from: \"${env:TOKEN}\" }"),
        pipeline("", "", "").replace(
            "from: rows",
            "from: rows, with: { store: \"${env:TOKEN}\" }",
        ),
        pipeline("", "", "").replace(
            "from: rows",
            "from: rows, with: { tiers: [\"${env:TOKEN}\"] }",
        ),
    ];
    for text in files {
        let lines = Bench::default().lines(&text);
        assert!(lines.contains("error"), "{text}");
        assert!(!lines.contains(TOKEN), "{lines}");
        let json = serde_json::to_string(&Bench::default().compile(&text).diagnostics).unwrap();
        assert!(!json.contains(TOKEN), "{json}");
    }
}

#[test]
fn diagnostics_are_json_too() {
    let compiled = Bench::default().compile(with("fraems: 8"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&compiled.diagnostics).unwrap());
}

#[test]
fn of_a_file_that_cannot_be_read_nothing_else_is_said() {
    let lines = Bench::set("input", "clips").lines(SOUND.replace("name: toy-judge", "name: [a"));
    assert!(
        lines.lines().count() == 1 && lines.contains("error[C002]"),
        "{lines}"
    );
}

#[test]
fn a_list_of_stages_is_told_by_itself() {
    let (sections, _) = SOUND.split_once("stages:").unwrap();
    let lines = Bench::default().lines(format!("{sections}stages:\n  - id: rows\n"));
    assert!(
        lines.lines().count() == 1
            && lines.contains("error[C006] stages: expected a mapping")
            && lines.ends_with("(write `videos: { op: … }` instead of `- id: videos`)"),
        "{lines}"
    );
}

#[test]
fn a_count_of_attempts_is_shown_in_its_place() {
    let text = SOUND.replace("retry: { attempts: 3, backoff: 2s }", "retry: 3");
    let lines = Bench::default().lines(text);
    assert!(
        lines.lines().count() == 1 && lines.ends_with("(write `retry: { attempts: 3 }`)"),
        "{lines}"
    );
}

#[test]
fn stages_that_give_a_missing_input_are_named() {
    for from in ["texts", "counted"] {
        let text = SOUND.replace(
            "summed:  { op: add, from: [counted, raised] }",
            &format!("summed:  {{ op: weigh, from: {from} }}"),
        );
        let lines = Bench::default().lines(text);
        assert!(
            lines.lines().count() == 1 && lines.ends_with("(write `from: [texts, counted]`)"),
            "{lines}"
        );
    }
}

/// The codes that a file brings about, and the lines, for a message.
fn codes(bench: &Bench, text: &str) -> (Vec<Code>, String) {
    let compiled = bench.compile(text);
    let codes = compiled.diagnostics.iter().map(|found| found.code);
    (codes.collect(), bench.lines(text))
}

#[test]
fn mistakes_in_bounds_and_settings_hide_no_other() {
    let text = SOUND
        .replace("items: 12", "item: 12\n  item_timeout: 5\n  disk: 1KB")
        .replace("concurrency: 6", "device: cuda")
        .replace(
            "op: judge, from: counted,",
            "op: judge, timeout: 5, device: gpu, from: counted,",
        )
        .replace("timeout: 300s", "timeout: 1h");
    let (codes, lines) = codes(&Bench::default(), &text);
    // That the hour is longer than an item may live is not known.
    assert_eq!(
        codes,
        [
            Code::UnknownParameter,
            Code::WrongType,
            Code::BadLimit,
            Code::Inapplicable,
            Code::WrongType,
            Code::BadDevice,
        ],
        "{lines}"
    );
}

#[test]
fn a_store_without_a_type_is_told_the_types() {
    let store = |settings: &str| {
        let text = section(&format!("stores: {{ near: {{ {settings} }} }}"));
        let text = text.replace("from: rows", "from: rows, with: { store: near }");
        Bench::default().lines(text)
    };
    assert_eq!(
        store("root: /"),
        "toy.yaml:2:17: error[C008] stores.near.type: `type` is missing; known types: fs"
    );
    assert_eq!(
        store("typ: fs, root: /"),
        "toy.yaml:2:19: error[C007] stores.near.typ: unknown key `typ`; `type` is missing; known types: fs (did you mean `type`?)"
    );
}

#[test]
fn a_param_whose_set_is_misspelt_is_not_missing_too() {
    let text = SOUND.replace(
        "{ type: uri, default: rows.jsonl, help",
        "{ type: uri, help",
    );
    let (found, lines) = codes(&Bench::set("inpt", "x"), &text);
    assert_eq!(found, [Code::UnknownSet], "{lines}");
    // It may be given all the same, or another one be missing.
    let mut bench = Bench::set("inpt", "x");
    bench.sets.push(("input".to_owned(), "y".to_owned()));
    assert_eq!(codes(&bench, &text).0, [Code::UnknownSet]);
    let (found, lines) = codes(&Bench::set("other", "x"), &text);
    assert_eq!(found, [Code::UnknownSet, Code::MissingParam], "{lines}");
}

#[test]
fn of_what_no_stage_takes_nothing_is_demanded() {
    let more = |from: &str| {
        SOUND.replace(
            "  summed:",
            &format!("  idle: {{ op: choosy, from: {from} }}\n  summed:"),
        )
    };
    let (found, lines) = codes(&Bench::default(), &more("counted"));
    assert_eq!(found, [Code::DeadEnd], "{lines}");
    // Its only consumer may have misspelt it.
    let text = more("counted").replace("from: [counted, raised]", "from: [idel, raised]");
    let (found, lines) = codes(&Bench::default(), &text);
    assert_eq!(found, [Code::UnknownInput], "{lines}");
}

#[test]
fn of_many_words_only_some_are_told() {
    let lines = |signals: &str| {
        Bench::default().lines(SOUND.replace(
            "op: add, from: [counted, raised]",
            &format!("op: measure, from: counted{signals}"),
        ))
    };
    let told = lines(", with: { signals: [sharpnes] }");
    assert!(
        told.ends_with(
            "expected one of 14 words, got `sharpnes` (did you mean `sharpness`? `clipsieve operators measure` lists them)"
        ),
        "{told}"
    );
    let told = lines(", with: { signals: [loudness] }");
    assert!(
        told.ends_with(
            "expected one of sharpness, noise, banding, flicker, freeze, black, white, hue, grain, blocks and 4 more, got `loudness` (`clipsieve operators measure` lists them)"
        ),
        "{told}"
    );
    let told = lines("");
    assert!(
        told.ends_with("grain, blocks and 4 more (`clipsieve operators measure` lists them)"),
        "{told}"
    );
}

#[test]
fn choices_of_a_param_are_told_with_the_nearest() {
    let text = |default: &str| {
        let declared = format!("type: choice, choices: [soft, hard], default: {default}");
        section(&format!(
            "params: {{ n: {{ {declared} }} }}\ndescription: \"${{n}}\""
        ))
    };
    let lines = Bench::default().lines(text("sotf"));
    assert!(
        lines.ends_with("expected one of soft, hard, got `sotf` (did you mean `soft`?)"),
        "{lines}"
    );
    assert!(!Bench::default().lines(text("x")).contains("did you mean"));
}

#[test]
fn values_with_other_units_and_words_are_told_how_to_be_written() {
    let text = SOUND
        .replace("memory: 2GiB", "disk: 10gb")
        .replace("timeout: 300s", "timeout: 2sec")
        .replace("threshold: 0.9", "threshold: 50%")
        .replace("when: \"${strict}\"", "when: yes");
    let lines = Bench::set("strict", "off").lines(text);
    for meant in ["10GB", "2s", "0.5", "true", "false"] {
        let help = format!("(did you mean `{meant}`?)");
        assert!(lines.contains(&help), "{help}\n{lines}");
    }
}
