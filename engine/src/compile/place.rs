//! **place**: where and how wide everything runs.
//!
//! Before: demands are settled. After: the bounds of the run and the settings of every stage make sense, and if nothing at
//! all was wrong, the plan is there.
//!
//! The cores are divided over the processes. In each, one pool of threads does the work of all stages that compute, also
//! of device stages that are placed on the CPU, so stages never fight for cores; `threads` inside one call are taken out
//! of the stage's width.

use std::time::Duration;

use crate::operator::units::format_duration;
use crate::operator::{Executor, OperatorSpec, Params, Placement};
use crate::pipeline::{Code, Diagnostic, Location, quoted};
use crate::plan::{Limits, Retry, Threads};

use super::assemble::assemble;
use super::draft::Draft;
use super::stage::StageDraft;

/// Items that a stage waiting for disks and networks works on at once, if neither file nor operator says.
const IO_CONCURRENCY: usize = 16;
/// Bytes of disk that a run takes at most, if the file does not say and so much is free.
const DISK_BYTES: u64 = 180_000_000_000;
/// Smallest bound of memory or disk that is not a slip of the pen.
const MIN_BYTES: u64 = 1_000_000;

/// How a stage runs.
pub(super) struct Placed {
    pub placement: Placement,
    pub retry: Retry,
    /// Longest time one attempt may take.
    pub timeout: Duration,
}

pub(super) fn place(draft: &mut Draft<'_>) {
    let processes = draft.options.processes.max(1);
    let (limits, threads) = bounds(draft, processes);
    let mut placed = Vec::new();
    for index in 0..draft.stages.len() {
        placed.push(stage(draft, index, &limits, &threads));
    }
    if !draft.has_errors() {
        draft.plan = assemble(draft, limits, threads, placed);
    }
}

fn bounds(draft: &mut Draft<'_>, processes: usize) -> (Limits, Threads) {
    let values = draft.limits.params.clone();
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
    (limits, threads)
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
) -> Option<Placed> {
    let stage = &draft.stages[index];
    let spec = stage.spec?;
    let (values, retry) = (&stage.setting_values.params, &stage.retry_values.params);
    // A warning weighs one number against another: it says nothing where one of them is only a default.
    let warns = draft.limits.are_sound && stage.setting_values.are_sound;
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
    if let Some(timeout) = timeout.filter(|timeout| warns && *timeout > limits.item_timeout) {
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
    if warns && is_on_cpu && asks_for_threads && concurrency.saturating_mul(inner) > threads.cpu {
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
    Some(Placed {
        placement,
        retry,
        timeout,
    })
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
