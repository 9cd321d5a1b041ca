use std::collections::HashMap;
use std::fmt::Write;

use clipsieve_engine::compile::Compiled;
use clipsieve_engine::plan::render::{Format, logical, physical};
use proptest::prelude::*;

use crate::toy::{Bench, SOUND};

/// Everything that can be done with what came out: nothing of it may panic, and a plan is there exactly if no error is.
fn exercise(text: &[u8]) -> Compiled {
    let compiled = Bench::default().compile(text);
    assert_eq!(compiled.plan.is_none(), compiled.errors().next().is_some());
    for format in [Format::Text, Format::Dot, Format::Mermaid] {
        let picture = logical(&compiled.graph, format);
        assert_is_well_formed(&picture, format);
        if let Some(plan) = &compiled.plan {
            assert_is_well_formed(&physical(plan, format), format);
        }
    }
    for found in &compiled.diagnostics {
        assert_eq!(found.to_string().lines().count(), 1);
        if let Some(at) = found.location {
            assert!(at.line >= 1 && at.column >= 1);
        }
    }
    compiled
}

fn assert_is_well_formed(picture: &str, format: Format) {
    if format == Format::Text {
        let widest = picture.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{picture}");
        return;
    }
    for line in picture.lines() {
        let bare = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(bare.matches('"').count() % 2, 0, "{line}");
    }
}

/// Words from which YAML, and trouble with it, is made.
const PIECES: &[&str] = &[
    "name",
    "stages",
    "with",
    "from",
    "op",
    ": ",
    ":\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\n    ",
    "${",
    "}",
    "${frames}",
    "$${",
    "${env:TOKEN}",
    "*a",
    "&a ",
    "<<",
    "!!int ",
    "|",
    ">",
    "'",
    "\"",
    "#",
    "%",
    "\t",
    "\u{0}",
    "\u{1b}",
    "\u{85}",
    "\u{2028}",
    "---",
    "...",
    "? ",
    "~",
    "1e999",
    "0x",
    "9999999999999999999999",
    ".nan",
    "é",
    "😀",
    ",",
    "rows",
    "counted",
    "add",
    "when",
    "\\",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    #[test]
    fn any_yaml_like_text_does_no_harm(text in pieces()) {
        exercise(text.as_bytes());
    }

    #[test]
    fn a_mutated_pipeline_does_no_harm(
        at in 0..SOUND.len(),
        length in 0usize..40,
        piece in pieces(),
    ) {
        let mut text = SOUND.as_bytes().to_vec();
        let end = (at + length).min(text.len());
        text.splice(at..end, piece.bytes());
        exercise(&text);
    }

    #[test]
    fn a_pipeline_with_lines_gone_doubled_or_swapped_does_no_harm(
        edits in prop::collection::vec((0usize..3, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut lines: Vec<&str> = SOUND.lines().collect();
        for (edit, first, second) in edits {
            let (first, second) = (first.index(lines.len()), second.index(lines.len()));
            match edit {
                0 => drop(lines.remove(first)),
                1 => lines.insert(second, lines[first]),
                _ => lines.swap(first, second),
            }
        }
        exercise(lines.join("\n").as_bytes());
    }

    #[test]
    fn any_graph_compiles_in_order(
        inputs in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<Option<prop::sample::Index>>()), 1..30,
        ),
        seed in any::<u64>(),
    ) {
        let text = random_pipeline(&inputs, seed);
        let compiled = exercise(text.as_bytes());
        let plan = compiled.plan.as_ref();
        let plan = plan.unwrap_or_else(|| panic!("{}\n{text}", Bench::default().lines(&text)));
        // Each stage of the file is in exactly one node.
        let stages = plan.stages().map(|stage| stage.stands_for());
        prop_assert_eq!(stages.sum::<usize>(), inputs.len() + 5);
        let position: HashMap<_, _> =
            plan.order.iter().enumerate().map(|(position, index)| (*index, position)).collect();
        for index in &plan.order {
            for input in &plan.graph[*index].inputs {
                prop_assert!(position[input] < position[index]);
            }
        }
    }
}

/// A pipeline of `add` stages over random earlier ones, written down in random order.
fn random_pipeline(
    inputs: &[(prop::sample::Index, Option<prop::sample::Index>)],
    seed: u64,
) -> String {
    let mut lines = vec![
        "  rows: { op: read_rows, with: { uri: a } }\n".to_string(),
        "  texts: { op: fetch, from: rows }\n".to_string(),
        "  s0: { op: count, from: texts }\n".to_string(),
        "  table: { op: write_rows, from: result, with: { uri: b } }\n".to_string(),
    ];
    for (count, (first, second)) in inputs.iter().enumerate() {
        let first = first.index(count + 1);
        let second = second
            .map(|second| second.index(count + 1))
            .filter(|second| *second != first);
        let second = second
            .map(|second| format!(", s{second}"))
            .unwrap_or_default();
        lines.push(format!(
            "  s{}: {{ op: add, from: [s{first}{second}] }}\n",
            count + 1
        ));
    }
    let mut all = String::new();
    for index in 0..=inputs.len() {
        write!(all, "s{index}, ").unwrap();
    }
    lines.push(format!("  result: {{ op: collect, from: [{all}] }}\n"));
    // A fixed shuffle by the seed: the order of the file must not matter.
    let mut state = seed | 1;
    for index in (1..lines.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        lines.swap(index, (state >> 33) as usize % (index + 1));
    }
    format!("name: random\nstages:\n{}", lines.concat())
}

#[test]
fn keys_renamed_dropped_or_doubled_are_all_reported() {
    let value: serde_json::Value =
        serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(SOUND).unwrap()).unwrap();
    let mut count = 0;
    for path in paths(&value, &[]) {
        for edit in [
            Edit::Drop,
            Edit::Rename,
            Edit::Null,
            Edit::List,
            Edit::Number,
        ] {
            let mut edited = value.clone();
            apply(&mut edited, &path, edit);
            // JSON is YAML.
            let text = serde_json::to_string_pretty(&edited).unwrap();
            let compiled = exercise(text.as_bytes());
            // The settings of a store are the operators' business.
            let is_free = path[0] == "description" || (path[0] == "stores" && path.len() > 2);
            if edit == Edit::Rename && !is_free {
                assert!(
                    !compiled.diagnostics.is_empty(),
                    "renaming {path:?} goes unnoticed"
                );
            }
            count += 1;
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn a_doubled_key_is_reported_at_its_second_place() {
    for (index, line) in SOUND.lines().enumerate() {
        if line.ends_with(':') {
            continue;
        }
        let mut lines: Vec<&str> = SOUND.lines().collect();
        lines.insert(index + 1, line);
        let lines = Bench::default().lines(lines.join("\n"));
        let place = format!("toy.yaml:{}:", index + 2);
        assert!(
            lines.starts_with(&place) && lines.contains("C003"),
            "{line}: {lines}"
        );
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Edit {
    Drop,
    Rename,
    Null,
    List,
    Number,
}

fn paths(value: &serde_json::Value, path: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let mut path = path.to_vec();
        path.push(key.clone());
        all.push(path.clone());
        all.extend(paths(value, &path));
    }
    all
}

fn apply(value: &mut serde_json::Value, path: &[String], edit: Edit) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents
        .iter()
        .fold(value, |value, key| &mut value[key.as_str()]);
    let map = parent.as_object_mut().unwrap();
    match edit {
        Edit::Drop => drop(map.shift_remove(last)),
        Edit::Rename => {
            let value = map.shift_remove(last).unwrap();
            map.insert(format!("{last}X"), value);
        }
        Edit::Null => map[last] = serde_json::Value::Null,
        Edit::List => map[last] = serde_json::json!(["a", 1, null]),
        Edit::Number => map[last] = serde_json::json!(-7),
    }
}

#[test]
fn hostile_files_end_soon() {
    let started = std::time::Instant::now();
    let deep = |open: &str, count: usize| open.repeat(count);
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_string(), |text, n| {
        format!("{text}a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)
    });
    let many_stages: String = (0..20_000).map(|n| format!("  s{n}: {{}}\n")).collect();
    let many_names: String = (0..10_000).map(|n| format!("stage_number_{n}, ")).collect();
    for text in [
        deep("[", 500_000),
        deep("{a: ", 200_000),
        deep("- ", 400_000),
        deep("? ", 400_000),
        deep("a:\n ", 1000),
        bomb,
        format!("name: {}", "9".repeat(500_000)),
        format!("name: \"{}\"", "\\u0041".repeat(100_000)),
        format!("name: {}", "${".repeat(200_000)),
        format!("name: a\nstages:\n{many_stages}"),
        format!("name: a\nstages:\n{many_stages}").replace("{}", "{ op: x, from: zzz }"),
        format!("name: a\nstages:\n  x: {{ op: add, from: [{many_names}] }}\n"),
        "'".repeat(900_000),
        "\"".repeat(900_000),
        ": ".repeat(400_000),
        "#".repeat(900_000),
        "\n".repeat(900_000),
        "&".repeat(900_000),
        "%".repeat(900_000),
        "a: >\n".to_string() + &" \n".repeat(400_000),
    ] {
        let start: String = text.chars().take(30).collect();
        let before = started.elapsed();
        exercise(text.as_bytes());
        let took = started.elapsed() - before;
        assert!(took.as_secs() < 20, "{start:?} took {took:?}");
    }
}
