use clipsieve_engine::ledger::Identity;
use clipsieve_engine::plan::render::{Format, physical};
use clipsieve_engine::plan::{Plan, Stage};

use crate::toy::Bench;

/// Five judges over one count and two over another, with one backbone between them; `twin` is equal to `mild`, and what
/// it takes from is equal to what `mild` takes from.
const FILE: &str = "\
name: shared
models: { mild: models/mild, harsh: models/harsh, odd: models/odd/one }
stages:
  rows:    { op: read_rows, with: { uri: rows.jsonl } }
  texts:   { op: fetch, from: rows }
  counted: { op: count, from: texts }
  again:   { op: count, from: texts }
  more:    { op: count, from: texts, with: { frames: 32 } }
  mild:    { op: judge, from: counted, with: { model: mild } }
  harsh:   { op: judge, from: again, with: { model: harsh } }
  strict:  { op: judge, from: counted, with: { model: harsh, threshold: 0.9 } }
  twin:    { op: judge, from: again, with: { model: mild } }
  other:   { op: judge, from: more, with: { model: mild } }
  odd:     { op: judge, from: counted, with: { model: odd } }
  result:  { op: collect, from: [mild, harsh, strict, twin, other, odd, again] }
  table:   { op: write_rows, from: result, with: { uri: results.jsonl } }
";

fn plan(text: &str) -> Plan {
    let bench = Bench::default();
    bench
        .compile(text)
        .plan
        .unwrap_or_else(|| panic!("{}", bench.lines(text)))
}

fn ids(plan: &Plan) -> Vec<&str> {
    let order = plan.order.iter();
    order.map(|index| plan.graph[*index].id.as_str()).collect()
}

fn stage<'a>(plan: &'a Plan, id: &str) -> &'a Stage {
    let mut stages = plan.graph.node_weights();
    stages.find(|stage| stage.id == id).unwrap()
}

#[test]
fn equal_stages_and_stages_with_work_in_common_are_one_node() {
    let plan = plan(FILE);
    assert_eq!(
        ids(&plan),
        [
            "rows", "texts", "counted", "more", "mild", "other", "odd", "result", "table"
        ]
    );
    assert_eq!(stage(&plan, "counted").aliases, ["again"]);
    let mild = stage(&plan, "mild");
    let parts: Vec<_> = mild.parts.iter().map(|part| part.id.as_str()).collect();
    assert_eq!(parts, ["mild", "harsh", "strict"]);
    assert_eq!(mild.parts[0].aliases, ["twin"]);
    // Asked by the five judges that take from either.
    assert_eq!(stage(&plan, "counted").wishes.len(), 5);
    let shared = plan.shared();
    assert_eq!((shared[0].parts, shared[0].passes), (6, 3));
    // 60 alone; 9 + 3 * 1, 10 and 10 together.
    assert_eq!(shared[0].saved_percent(), 46);
    // The backbones of two folders, and the heads of three models.
    assert_eq!(shared[0].weight_bytes, 2 * 345_000_000 + 3 * 55_000_000);
    assert_eq!(plan.equal_stages(), 2);
    assert_eq!(plan.in_common_with(stage(&plan, "other")), ["mild"]);
}

#[test]
fn taps_say_which_part_and_under_which_names() {
    let plan = plan(FILE);
    let result = stage(&plan, "result");
    let taps: Vec<_> = result
        .taps
        .iter()
        .map(|tap| (tap.id.as_str(), tap.part, tap.renames.len()))
        .collect();
    assert_eq!(
        taps,
        [
            ("mild", Some(0), 0),
            // Its own name for the node, and for what the node takes from.
            ("harsh", Some(1), 2),
            ("strict", Some(2), 1),
            ("twin", Some(0), 2),
            ("other", None, 0),
            ("odd", None, 0),
            ("again", None, 1),
        ]
    );
    let pairs = |port: usize| result.taps[port].renames.clone();
    let pair = |from: &str, to: &str| (from.to_string(), to.to_string());
    assert_eq!(pairs(3), [pair("mild", "twin"), pair("counted", "again")]);
    assert_eq!(pairs(6), [pair("counted", "again")]);
}

#[test]
fn sharing_can_be_switched_off() {
    let off = format!("share: false\n{FILE}");
    assert_eq!(ids(&plan(&off)).len(), 13);
    assert!(stage(&plan(&off), "mild").common.is_none());
    // One stage may say otherwise, either way.
    let own = FILE.replace("{ model: harsh } }", "{ model: harsh }, share: false }");
    let own = plan(&own);
    assert_eq!(ids(&own).len(), 10);
    assert_eq!(stage(&own, "mild").parts.len(), 2);
    let some = FILE
        .replace("from: texts }", "from: texts, share: true }")
        .replace("name: shared", "name: shared\nshare: false");
    assert_eq!(plan(&some).equal_stages(), 1);
    let lines = Bench::default().lines(format!("share: perhaps\n{FILE}"));
    assert!(
        lines.contains("error[C033] share: expected true or false"),
        "{lines}"
    );
}

#[test]
fn stages_that_differ_in_how_they_run_or_what_they_ask_are_not_one() {
    for change in [
        "retry: { attempts: 2 }",
        "timeout: 5s",
        "device: cpu",
        "concurrency: 3",
    ] {
        let text = FILE.replace(
            "{ model: harsh } }",
            &format!("{{ model: harsh }}, {change} }}"),
        );
        assert_eq!(ids(&plan(&text)).len(), 10, "{change}");
    }
}

#[test]
fn the_proof_is_printed() {
    insta::assert_snapshot!(physical(&plan(FILE), Format::Text));
}

#[test]
fn two_stages_of_one_key_are_refused_with_both_places() {
    let text = FILE.replace(
        "with: { model: mild } }\n  other",
        "with: { model: mild, key: mild } }\n  other",
    );
    assert_eq!(
        Bench::default().lines(&text),
        "toy.yaml:12:64: error[C061] stages.twin.with.key: writes `mild` of the row, and so does `mild` (line 9) (give one of them another `key`)"
    );
    // What is off writes nothing.
    let off = text.replace("key: mild } }", "key: mild }, when: false }");
    assert_eq!(Bench::default().lines(off), "");
}

#[test]
fn what_a_run_is_known_by_does_not_hang_on_sharing() {
    let identity = |text: &str| Identity::of(&plan(text), None).unwrap();
    let before = identity(FILE);
    let off = before.differences(&identity(&format!("share: false\n{FILE}")));
    assert!(off.is_empty(), "{off:?}");
    for (from, to, told) in [
        (
            "[mild, harsh, strict, twin,",
            "[twin, harsh, strict, mild,",
            "stages.result.from: mild, harsh, strict, twin, other, odd, again became twin, harsh, strict, mild, other, odd, again",
        ),
        (
            "threshold: 0.9",
            "threshold: 0.8",
            "stages.strict.with.threshold: 0.9 became 0.8",
        ),
        (
            "again:   { op: count, from: texts }",
            "again:   { op: count, from: texts, with: { exact: true } }",
            "stages.again.with.exact: false became true",
        ),
    ] {
        let differences = before.differences(&identity(&FILE.replace(from, to)));
        let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(all, [told]);
    }
    // A parameter that an earlier program did not have, at its default and then set.
    let exact = "stages.again.with.exact";
    let mut earlier = before.clone();
    assert_eq!(
        earlier.settings.remove(exact).as_deref(),
        Some("false"),
        "{before:?}"
    );
    assert!(before.defaults.contains(exact), "{before:?}");
    earlier.defaults.clear();
    assert_eq!(earlier.differences(&before), []);
}

#[test]
fn files_of_models_that_lie_elsewhere_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut plan = plan(FILE);
    for model in plan.models.values_mut() {
        model.elsewhere.insert("backbone".to_owned(), file.clone());
    }
    let identity = |bytes: &str, known: Option<&Identity>| {
        std::fs::write(&file, bytes).unwrap();
        Identity::of(&plan, known).unwrap()
    };
    let before = identity("one", None);
    let now = identity("another", Some(&before));
    let paths: Vec<String> = before
        .differences(&now)
        .into_iter()
        .map(|difference| difference.path)
        .collect();
    assert_eq!(
        paths,
        [
            "models.harsh.backbone",
            "models.mild.backbone",
            "models.odd.backbone"
        ]
    );
}
