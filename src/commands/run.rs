//! `clipsieve run`: a pipeline to its last row.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use clipsieve_engine::observe::Observer;
use clipsieve_engine::operator::{ParamValue, Registry};
use clipsieve_engine::plan::Plan;
use clipsieve_engine::run::cluster::{self, Member};
use clipsieve_engine::run::{RunError, RunOptions, RunReport, run as run_plan};
use serde_json::json;

use super::{Exit, output, pipeline, snippets};
use crate::cli::{Run, TextOrJson};
use crate::progress::ProgressLine;

/// Runs the command. With several processes this one only starts them and waits.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Run, registry: &Registry) -> io::Result<Exit> {
    let member = match cluster::role_from_env() {
        Ok(member) => member,
        Err(error) => return Ok(died(&error)),
    };
    let rank = member.as_ref().map_or(0, |member| member.process);
    let loaded = match pipeline::load(&arguments.pipeline, registry, rank) {
        Ok(loaded) => loaded,
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Usage);
        }
    };
    // The members of a cluster would only repeat what the launcher has said.
    if member.is_none() {
        let findings = snippets::render(&loaded, io::stderr().is_terminal());
        if !findings.is_empty() {
            output::tell(findings.trim_end());
        }
    }
    let Some(mut plan) = loaded.compiled.plan else {
        return Ok(Exit::Usage);
    };
    if let Some(limit) = arguments.limit {
        limit_rows(&mut plan, limit);
    }
    if plan.processes > 1 && member.is_none() {
        return Ok(
            match cluster::launch(plan.processes, &std::env::temp_dir()) {
                Ok(code) => Exit::from_code(code),
                Err(error) => died(&error),
            },
        );
    }
    work(arguments, &plan, member)
}

/// Runs the plan in this process: alone, or as one of several.
fn work(arguments: &Run, plan: &Plan, member: Option<Member>) -> io::Result<Exit> {
    let leads = member.as_ref().is_none_or(|member| member.process == 0);
    let observer = Arc::new(Observer::new(plan));
    let line = leads.then(|| ProgressLine::start(arguments.progress, &observer));
    let result = run_plan(
        plan,
        RunOptions {
            scratch: None,
            observer: Some(Arc::clone(&observer)),
            member,
        },
    );
    drop(line);
    let report = match result {
        Ok(report) => report,
        Err(error) => return Ok(died(&error)),
    };
    if !leads {
        return Ok(Exit::Done);
    }
    let told = match arguments.format {
        TextOrJson::Text => summary(&report),
        TextOrJson::Json => format!("{:#}\n", as_json(&report)),
    };
    if writes_to_stdout(plan) {
        output::tell(told.trim_end());
    } else {
        output::print(&told)?;
    }
    let allowed = arguments.max_failures * report.rows_read as f64;
    if report.failed as f64 > allowed {
        let share = 100.0 * report.failed as f64 / report.rows_read.max(1) as f64;
        output::tell(&format!(
            "error: {} of {} rows failed ({share:.1} %), more than --max-failures {} allows",
            report.failed, report.rows_read, arguments.max_failures
        ));
        return Ok(Exit::TooManyFailures);
    }
    Ok(Exit::Done)
}

/// Has the source read at most so many rows.
fn limit_rows(plan: &mut Plan, limit: i64) {
    for stage in plan.graph.node_weights_mut() {
        let has_limit = stage.spec.params.iter().any(|param| param.name == "limit");
        if stage.spec.is_source() && has_limit {
            let limit = stage
                .params
                .opt_int("limit")
                .map_or(limit, |own| own.min(limit));
            stage.params.insert("limit", ParamValue::Int(limit));
        }
    }
}

/// Whether the rows themselves go to stdout: the summary must then stay out of them.
fn writes_to_stdout(plan: &Plan) -> bool {
    plan.graph
        .node_weights()
        .any(|stage| stage.spec.is_sink() && stage.params.opt_text("uri") == Some("-"))
}

fn died(error: &RunError) -> Exit {
    output::tell(&format!("error: {error}"));
    Exit::Died
}

/// What a person wants to know at the end.
fn summary(report: &RunReport) -> String {
    let seconds = report.elapsed.as_secs_f64();
    let mut text = format!(
        "{} rows in {seconds:.1} s: {} succeeded, {} failed\n",
        report.rows_read, report.succeeded, report.failed
    );
    for stage in &report.stages {
        if let Some(counts) = counts(&stage.tally) {
            text.push_str(&format!("{}: {counts}\n", stage.id));
        }
    }
    for output in &report.outputs {
        text.push_str(&format!("rows are in {output}\n"));
    }
    text
}

/// `310 from disk, 0 from oss`: what a stage counted, if it counted anything at all.
fn counts(tally: &[(String, u64)]) -> Option<String> {
    if tally.iter().all(|(_, count)| *count == 0) {
        return None;
    }
    let counts = tally.iter().map(|(name, count)| format!("{count} {name}"));
    Some(counts.collect::<Vec<_>>().join(", "))
}

fn as_json(report: &RunReport) -> serde_json::Value {
    let stages: Vec<_> = report
        .stages
        .iter()
        .map(|stage| {
            json!({
                "id": stage.id,
                "op": stage.op,
                "values": stage.values,
                "skipped": stage.skipped,
                "failed": stage.failed,
                "attempts": stage.attempts,
                "busy_seconds": stage.busy.as_secs_f64(),
                "queued_seconds": stage.queued.as_secs_f64(),
                "longest_seconds": stage.longest.as_secs_f64(),
                "counts": stage.tally.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            })
        })
        .collect();
    json!({
        "rows": report.rows_read,
        "succeeded": report.succeeded,
        "failed": report.failed,
        "seconds": report.elapsed.as_secs_f64(),
        "memory_peak_bytes": report.memory_peak_bytes,
        "disk_peak_bytes": report.disk_peak_bytes,
        "outputs": report.outputs,
        "stages": stages,
    })
}
