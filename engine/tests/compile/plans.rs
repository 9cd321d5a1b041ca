use std::time::Duration;

use clipsieve_engine::operator::{Executor, ParamValue};
use clipsieve_engine::plan::{Plan, Stage};

use crate::toy::{Bench, SOUND};

fn plan(bench: &Bench, text: &str) -> Plan {
    let plan = bench.compile(text).plan;
    plan.unwrap_or_else(|| panic!("{}", bench.lines(text)))
}

fn stage<'a>(plan: &'a Plan, id: &str) -> &'a Stage {
    plan.graph
        .node_weights()
        .find(|stage| stage.id == id)
        .unwrap()
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.order
        .iter()
        .map(|index| plan.graph[*index].id.as_str())
        .collect()
}

#[test]
fn values_are_filled_in() {
    let plan = plan(&Bench::set("frames", "48"), SOUND);
    assert_eq!(stage(&plan, "counted").params.int("frames"), 48);
    assert_eq!(stage(&plan, "rows").params.text("uri"), "rows.jsonl");
    let texts = stage(&plan, "texts");
    assert_eq!(texts.params.texts("tiers"), ["near"]);
    assert_eq!(texts.params.bytes("cache"), 1_000_000_000);
    assert_eq!(texts.params.duration("pause"), Duration::from_millis(300));
    assert_eq!(texts.retry.attempts, 3);
    assert_eq!(texts.timeout, Duration::from_secs(300));
    assert_eq!(stage(&plan, "counted").params.opt_text("word"), None);
}

#[test]
fn variables_keep_or_take_the_type_of_their_place() {
    let text = SOUND
        .replace(
            "frames: \"${frames}\"",
            "frames: \"${env:FRAMES}\", word: \"${frames} of $${x}\"",
        )
        .replace("by: 5", "by: \"${frames}\"");
    let plan = plan(&Bench::default(), &text);
    assert_eq!(stage(&plan, "counted").params.int("frames"), 32);
    assert_eq!(stage(&plan, "counted").params.text("word"), "32 of ${x}");
    assert_eq!(stage(&plan, "raised").params.int("by"), 32);
}

#[test]
fn a_text_param_is_no_number() {
    let text = SOUND.replace("type: int, default: 32", "type: text, default: 32");
    let lines = Bench::default().lines(text);
    assert_eq!(
        lines,
        "toy.yaml:24:54: error[C033] stages.counted.with.frames: expected a whole number from 1 to 512, got `32` (from `${frames}`)"
    );
}

#[test]
fn stores_keep_their_settings_and_models_their_facts() {
    let plan = plan(&Bench::default(), SOUND);
    assert_eq!(plan.stores["near"].settings["secret"], crate::toy::TOKEN);
    assert_eq!(plan.models["mild"].facts["least"], 8);
}

#[test]
fn demand_flows_from_the_sinks() {
    let plan = plan(&Bench::default(), SOUND);
    assert_eq!(stage(&plan, "mild").demand.as_ref().unwrap()["least"], 8);
    let wishes = &stage(&plan, "counted").wishes;
    assert_eq!(wishes.len(), 1);
    assert_eq!(wishes[0].stage, "mild");
    assert_eq!(stage(&plan, "texts").wishes[0].stage, "counted");
    assert_eq!(stage(&plan, "texts").demand, None);
}

#[test]
fn what_is_switched_off_goes() {
    let compiled = Bench::set("strict", "false").compile(SOUND);
    let plan = compiled.plan.as_ref().unwrap();
    assert_eq!(
        ids(plan),
        [
            "rows", "texts", "counted", "raised", "mild", "summed", "result", "table"
        ]
    );
    assert_eq!(stage(plan, "result").inputs.len(), 2);
    assert_eq!(stage(plan, "result").input_kinds.len(), 2);
    assert!(!plan.models.contains_key("harsh"));
    let off: Vec<_> = compiled.graph.off().collect();
    assert_eq!(off, [("harsh", "`when` is false")]);
}

#[test]
fn what_only_fed_stages_that_are_off_goes_too() {
    let text = SOUND.replace("from: [counted, raised]", "from: counted");
    let compiled = Bench::set("strict", "false").compile(&text);
    let off: Vec<_> = compiled.graph.off().collect();
    assert_eq!(
        off,
        [
            ("raised", "only stages that are off take from it"),
            ("harsh", "`when` is false")
        ]
    );
    // A stage that needs what is off goes with it.
    let text = SOUND.replace(
        "from: counted, with: { by: 5 }",
        "from: counted, when: false",
    );
    let compiled = Bench::default().compile(&text);
    let off: Vec<_> = compiled.graph.off().map(|(id, _)| id).collect();
    assert_eq!(off, ["raised", "harsh", "summed"]);
}

#[test]
fn stages_that_are_off_are_validated() {
    let text = SOUND.replace("threshold: 0.9", "threshold: 9");
    assert!(
        Bench::set("strict", "false")
            .lines(text)
            .contains("stages.harsh.with.threshold")
    );
}

#[test]
fn cores_are_divided_over_processes() {
    let bench = Bench {
        processes: 2,
        workers: 3,
        ..Bench::default()
    };
    let plan = plan(&bench, SOUND);
    assert_eq!((plan.processes, plan.workers), (2, 3));
    assert_eq!((plan.threads.cpu, plan.threads.io), (4, 2));
    assert_eq!(plan.limits.items, 12);
    assert_eq!(plan.limits.memory_bytes, 2 << 30);
    assert_eq!(stage(&plan, "counted").placement.concurrency, 4);
    let mild = &stage(&plan, "mild").placement;
    assert_eq!((mild.concurrency, mild.threads), (4, 1));
    let harsh = &stage(&plan, "harsh").placement;
    assert_eq!((harsh.concurrency, harsh.threads), (2, 2));
    assert_eq!(harsh.device.as_deref(), Some("cpu"));
    assert_eq!(harsh.acquire_timeout, Duration::from_secs(300));
    assert_eq!(stage(&plan, "texts").placement.concurrency, 6);
    assert_eq!(stage(&plan, "texts").placement.executor, Executor::Io);
    assert_eq!(stage(&plan, "table").placement.concurrency, 1);
}

#[test]
fn defaults_fit_the_machine() {
    let bench = Bench {
        cores: 1,
        processes: 4,
        device: "cuda:0",
        ..Bench::default()
    };
    let text = SOUND
        .replace("  items: 12\n  memory: 2GiB\n", "")
        .replace("limits:\n", "limits: {}\n");
    let plan = plan(&bench, &text.replace("    concurrency: 6\n", ""));
    assert_eq!(plan.threads.cpu, 1);
    assert_eq!(plan.limits.items, 4);
    assert_eq!(plan.limits.memory_bytes, 1 << 30);
    assert_eq!(plan.limits.item_timeout, Duration::from_secs(1200));
    assert_eq!((plan.limits.epoch_rows, plan.limits.open_epochs), (16, 64));
    assert_eq!(stage(&plan, "texts").placement.concurrency, 16);
    let harsh = &stage(&plan, "harsh").placement;
    assert_eq!(harsh.device.as_deref(), Some("cuda:0"));
    assert_eq!(harsh.concurrency, 1);
    assert_eq!(stage(&plan, "counted").timeout, Duration::from_secs(1200));
}

#[test]
fn ports_keep_the_order_of_from() {
    let plan = plan(&Bench::default(), SOUND);
    let summed = stage(&plan, "summed");
    let from: Vec<_> = summed
        .inputs
        .iter()
        .map(|index| plan.graph[*index].id.as_str())
        .collect();
    assert_eq!(from, ["counted", "raised"]);
    let ids: Vec<_> = summed.taps.iter().map(|tap| tap.id.as_str()).collect();
    assert_eq!(ids, from);
    for index in &plan.order {
        for edge in plan.graph.edges(*index) {
            use petgraph::visit::EdgeRef;
            assert_eq!(plan.graph[edge.target()].inputs[*edge.weight()], *index);
        }
    }
}

#[test]
fn the_last_set_wins_and_values_are_typed() {
    let bench = Bench {
        sets: vec![
            ("frames".into(), "1".into()),
            ("frames".into(), "20".into()),
        ],
        ..Bench::default()
    };
    let plan = plan(&bench, SOUND);
    assert_eq!(
        stage(&plan, "counted").params.get("frames"),
        Some(&ParamValue::Int(20))
    );
}
