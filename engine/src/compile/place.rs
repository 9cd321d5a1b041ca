//! **place**: where and how wide everything runs.
//!
//! Before: demands are settled. After: the bounds of the run and the settings of every stage make sense, and if nothing at
//! all was wrong, the plan is there.
//!
//! The cores are divided over the processes. In each, one pool of threads does the work of all stages that compute, also
//! of device stages that are placed on the CPU, so stages never fight for cores; `threads` inside one call are taken out
//! of the stage's width.

use std::collections::BTreeMap;
use std::time::Duration;

use petgraph::graph::DiGraph;

use crate::operator::units::format_duration;
use crate::operator::{Cost, Executor, OperatorSpec, Params, Placement};
use crate::pipeline::{Code, Diagnostic, Location, quoted};
use crate::plan::{Limits, Part, Plan, Retry, Stage, StageIndex, Tap, Threads};

use super::draft::{Draft, Resources};
use super::share::renames;
use super::stage::StageDraft;

/// Items that a stage waiting for disks and networks works on at once, if neither file nor operator says.
const IO_CONCURRENCY: usize = 16;
/// Bytes of disk that a run takes at most, if the file does not say and so much is free.
const DISK_BYTES: u64 = 180_000_000_000;
/// Smallest bound of memory or disk that is not a slip of the pen.
const MIN_BYTES: u64 = 1_000_000;

pub(super) fn place(draft: &mut Draft<'_>) {
    let processes = draft.options.processes.max(1);
    let bounds = bounds(draft, processes);
    let mut placed = Vec::new();
    for index in 0..draft.stages.len() {
        placed.push(
            bounds
                .as_ref()
                .and_then(|(limits, threads)| stage(draft, index, limits, threads)),
        );
    }
    let Some((limits, threads)) = bounds.filter(|_| !draft.has_errors()) else {
        return;
    };
    draft.plan = plan(draft, limits, threads, placed);
}

fn bounds(draft: &mut Draft<'_>, processes: usize) -> Option<(Limits, Threads)> {
    let values = draft.limits.take()?;
    let machine = &draft.options.machine;
    let cores = (machine.cores / processes).max(1);
    let memory = machine.memory_bytes / 4 / processes as u64;
    // What is free is shared with logs, tables and whoever else writes there.
    let disk = DISK_BYTES.min(machine.disk_bytes / 5 * 4) / processes as u64;
    let cpu = count(&values, "cpu_threads").unwrap_or(cores);
    let limits = Limits {
        items: count(&values, "items").unwrap_or((2 * cpu).max(4)),
        memory_bytes: values.opt_bytes("memory").unwrap_or(memory.max(MIN_BYTES)),
        disk_bytes: values.opt_bytes("disk").unwrap_or(disk),
        item_timeout: values.duration("item_timeout"),
        epoch_rows: count(&values, "epoch_rows").unwrap_or(1),
        open_epochs: count(&values, "open_epochs").unwrap_or(1),
    };
    let threads = Threads {
        cpu,
        io: count(&values, "io_threads").unwrap_or(1),
    };
    let mut refuse = |key: &str, message: String| {
        let entry = draft.file.limits.iter().find(|entry| entry.key.text == key);
        let at = entry.map(|entry| entry.value.location);
        draft.report(Diagnostic::error(
            Code::BadLimit,
            format!("limits.{key}"),
            at,
            message,
        ));
    };
    for (key, got, what) in [
        ("memory", limits.memory_bytes, "frame"),
        ("disk", limits.disk_bytes, "file"),
    ] {
        if got < MIN_BYTES && values.opt_bytes(key).is_some() {
            refuse(
                key,
                format!("expected 1MB or more, got {got} bytes: no {what} would fit"),
            );
        }
    }
    if limits.item_timeout.is_zero() {
        refuse(
            "item_timeout",
            "expected more than 0s: every item would fail".to_string(),
        );
    }
    Some((limits, threads))
}

/// A whole number of something, once its range is checked.
fn count(values: &Params, name: &str) -> Option<usize> {
    values
        .opt_int(name)
        .and_then(|value| usize::try_from(value).ok())
}

/// Checks and places one stage.
fn stage(
    draft: &mut Draft<'_>,
    index: usize,
    limits: &Limits,
    threads: &Threads,
) -> Option<(Placement, Retry, Duration)> {
    let stage = &draft.stages[index];
    let (spec, values, retry) = (
        stage.spec?,
        stage.setting_values.as_ref()?,
        stage.retry_values.as_ref()?,
    );
    let mut found = inapplicable(stage, spec);
    let (device, problem) = device(draft, stage, spec, values);
    found.extend(problem);
    let timeout = values.opt_duration("timeout");
    for (key, value) in [
        ("timeout", timeout),
        ("acquire_timeout", Some(values.duration("acquire_timeout"))),
    ] {
        if value.is_some_and(|value| value.is_zero()) {
            let message = "expected more than 0s: every item would fail";
            let (path, at) = setting_place(stage, key);
            found.push(Diagnostic::error(Code::BadLimit, path, at, message));
        }
    }
    if let Some(timeout) = timeout.filter(|timeout| *timeout > limits.item_timeout) {
        let message = format!(
            "{} is longer than an item may live, {}",
            format_duration(timeout),
            format_duration(limits.item_timeout)
        );
        let (path, at) = setting_place(stage, "timeout");
        let warning = Diagnostic::warning(Code::LateTimeout, path, at, message);
        found.push(warning.with_help("raise `limits.item_timeout`".to_string()));
    }
    let (concurrency, inner) = width(spec, values, device.as_deref(), threads);
    let is_on_cpu = spec.executor != Executor::Io && device.as_deref().is_none_or(|d| d == "cpu");
    let asks_for_threads = values.opt_int("threads").is_some();
    if is_on_cpu && asks_for_threads && concurrency.saturating_mul(inner) > threads.cpu {
        let message = format!(
            "{concurrency} at once with {inner} threads each, but the process has {} cpu threads",
            threads.cpu
        );
        let (path, at) = setting_place(stage, "threads");
        found.push(Diagnostic::warning(Code::Oversubscribed, path, at, message));
    }
    let placement = Placement {
        executor: spec.executor,
        device,
        concurrency,
        acquire_timeout: values.duration("acquire_timeout"),
        threads: inner,
    };
    let retry = Retry {
        attempts: retry.int("attempts").try_into().unwrap_or(1),
        backoff: retry.duration("backoff"),
    };
    draft.diagnostics.extend(found);
    let timeout = timeout
        .unwrap_or(limits.item_timeout)
        .min(limits.item_timeout);
    Some((placement, retry, timeout))
}

/// Settings that mean nothing for this operator.
fn inapplicable(stage: &StageDraft, spec: &OperatorSpec) -> Vec<Diagnostic> {
    let is_end = spec.is_source() || spec.is_sink();
    let settings = stage.settings.iter().filter_map(|entry| {
        let why = match entry.key.text.as_str() {
            "device" | "acquire_timeout" if spec.executor != Executor::Device => {
                "which does not run on a device"
            }
            "threads" if spec.executor == Executor::Io => "which computes nothing",
            "concurrency" | "threads" | "timeout" if is_end => "which is called from one thread",
            _ => return None,
        };
        Some((entry.key.text.as_str(), entry.key.location, why))
    });
    let retry = stage.retry.first().filter(|_| is_end);
    let retry = retry.map(|entry| ("retry", entry.key.location, "whose errors end the job"));
    settings
        .chain(retry)
        .map(|(key, at, why)| {
            let message = format!("`{key}` means nothing for {}, {why}", quoted(spec.name));
            Diagnostic::error(Code::Inapplicable, stage.path(key), at, message)
        })
        .collect()
}

/// The device of a stage that runs on one, and what is wrong with how it is named.
fn device(
    draft: &Draft<'_>,
    stage: &StageDraft,
    spec: &OperatorSpec,
    values: &Params,
) -> (Option<String>, Option<Diagnostic>) {
    if spec.executor != Executor::Device {
        return (None, None);
    }
    let is_number = |text: &str| text.parse::<u8>().is_ok();
    let text = values.opt_text("device").unwrap_or("auto");
    let device = match text {
        "auto" => &draft.options.machine.device,
        // The GPU of this process, which `auto` names if there is one.
        "cuda" if draft.options.machine.device.starts_with("cuda") => &draft.options.machine.device,
        "cuda" => "cuda:0",
        "cpu" => text,
        _ if text.strip_prefix("cuda:").is_some_and(is_number) => text,
        _ => {
            let entry = stage
                .settings
                .iter()
                .find(|entry| entry.key.text == "device");
            let got = entry.map(|entry| entry.value.shown()).unwrap_or_default();
            let message = format!("expected auto, cpu, cuda or cuda:N, got {got}");
            let (path, at) = setting_place(stage, "device");
            let found = Diagnostic::error(Code::BadDevice, path, at, message);
            return (None, Some(found));
        }
    };
    (Some(device.to_string()), None)
}

/// How many items at once, and how many threads each.
fn width(
    spec: &OperatorSpec,
    values: &Params,
    device: Option<&str>,
    threads: &Threads,
) -> (usize, usize) {
    if spec.is_source() || spec.is_sink() {
        return (1, 1);
    }
    let inner = count(values, "threads").unwrap_or(1);
    let usual = match (spec.concurrency, spec.executor) {
        (0, Executor::Io) => IO_CONCURRENCY,
        (0, Executor::Device) if device != Some("cpu") => 1,
        (0, Executor::Cpu | Executor::Device) => (threads.cpu / inner).max(1),
        (own, _) => own,
    };
    (count(values, "concurrency").unwrap_or(usual), inner)
}

fn setting_place(stage: &StageDraft, key: &str) -> (String, Location) {
    let entry = stage.settings.iter().find(|entry| entry.key.text == key);
    let at = entry.map_or(stage.key.location, |entry| entry.value.location);
    (stage.path(key), at)
}

/// The plan of a draft without errors.
fn plan(
    draft: &Draft<'_>,
    limits: Limits,
    threads: Threads,
    mut placed: Vec<Option<(Placement, Retry, Duration)>>,
) -> Option<Plan> {
    let mut graph: DiGraph<Stage, usize> = DiGraph::new();
    let mut nodes: Vec<Option<StageIndex>> = vec![None; draft.stages.len()];
    let mut order = Vec::new();
    let resources = draft.used_resources();
    for index in draft.order() {
        let stage = &draft.stages[index];
        if stage.seat.node != index {
            continue;
        }
        let (placement, retry, timeout) = placed[index].take()?;
        let (mut inputs, mut taps) = (Vec::new(), BTreeMap::new());
        let on = |from: &usize| draft.stages[*from].off.is_none();
        let inputs_on = stage.inputs.iter().filter_map(|input| input.stage);
        for from in inputs_on.filter(on) {
            let Some(node) = nodes[draft.stages[from].seat.node] else {
                continue;
            };
            if let Some(tap) = tap(draft, from) {
                taps.insert(inputs.len(), tap);
            }
            inputs.push(node);
        }
        let parts = parts(draft, index, &resources)?;
        let node = graph.add_node(Stage {
            id: stage.key.text.clone(),
            spec: stage.spec?,
            params: stage.params.clone()?,
            inputs: inputs.clone(),
            input_kinds: stage.input_kinds.clone()?,
            output: stage.output,
            placement,
            retry,
            timeout,
            demand: stage.demand.clone(),
            wishes: stage.wishes.clone(),
            aliases: ids(draft, &stage.aliases),
            cost: cost(stage, &resources, &parts),
            parts,
            taps,
            common: stage.common.clone(),
        });
        for (port, input) in inputs.into_iter().enumerate() {
            graph.add_edge(input, node, port);
        }
        nodes[index] = Some(node);
        order.push(node);
    }
    Some(Plan {
        name: draft.file.name.as_ref()?.text()?.to_string(),
        graph,
        order,
        written_from: written_from(draft),
        limits,
        processes: draft.options.processes.max(1),
        workers: draft.options.workers.max(1),
        threads,
        models: resources.models,
        stores: resources.stores,
    })
}

/// What each stage that is on takes from, as written.
fn written_from(draft: &Draft<'_>) -> BTreeMap<String, Vec<String>> {
    let on = |stage: &usize| draft.stages[*stage].off.is_none();
    let all = draft.order().into_iter().map(|index| {
        let stage = &draft.stages[index];
        let inputs = stage.inputs.iter().filter_map(|input| input.stage);
        let inputs: Vec<usize> = inputs.filter(on).collect();
        (stage.key.text.clone(), ids(draft, &inputs))
    });
    all.collect()
}

fn ids(draft: &Draft<'_>, stages: &[usize]) -> Vec<String> {
    let ids = stages
        .iter()
        .map(|stage| draft.stages[*stage].key.text.clone());
    ids.collect()
}

/// The stages that a node answers for, if they differ; nothing if they do not.
fn parts(draft: &Draft<'_>, node: usize, resources: &Resources) -> Option<Vec<Part>> {
    let parts = &draft.stages[node].parts;
    if parts.len() < 2 {
        return Some(Vec::new());
    }
    let part = |index: &usize| {
        let stage = &draft.stages[*index];
        Some(Part {
            id: stage.key.text.clone(),
            params: stage.params.clone()?,
            wishes: stage.wishes.clone(),
            aliases: ids(draft, &stage.aliases),
            cost: cost(stage, resources, &[]),
        })
    };
    parts.iter().map(part).collect()
}

/// What a stage costs, or what its parts cost if they have the common work done once.
fn cost(stage: &StageDraft, resources: &Resources, parts: &[Part]) -> Option<Cost> {
    let hook = stage.spec?.planner.cost?;
    let mut cost = hook(&stage.setting(resources)?)?;
    for other in parts.iter().skip(1).filter_map(|part| part.cost) {
        cost.flop += other.flop.saturating_sub(other.common_flop);
        cost.weight_bytes += other.weight_bytes.saturating_sub(other.common_weight_bytes);
    }
    Some(cost)
}

/// How a stage is taken from whose work another one does, or whose node has parts.
fn tap(draft: &Draft<'_>, from: usize) -> Option<Tap> {
    let stage = &draft.stages[from];
    let node = &draft.stages[stage.seat.node];
    let part = (node.parts.len() > 1).then_some(stage.seat.part);
    (part.is_some() || stage.seat.node != from).then(|| Tap {
        id: stage.key.text.clone(),
        part,
        renames: renames(draft, from),
    })
}
