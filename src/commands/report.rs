//! What `run` tells at its end.

use std::collections::BTreeMap;

use clipsieve_engine::run::RunReport;
use serde_json::json;

use crate::words::counted;

/// What a person wants to know at the end.
pub fn summary(report: &RunReport) -> String {
    let seconds = report.elapsed.as_secs_f64();
    let before = match report.rows_before {
        0 => String::new(),
        before => format!(" ({before} of them by earlier attempts)"),
    };
    let mut text = format!(
        "{}{before} in {seconds:.1} s: {} succeeded, {} failed\n",
        counted(report.rows_read, "row"),
        report.succeeded,
        report.failed
    );
    if !report.finished {
        text.push_str("stopped before the last row; the same command again goes on from here\n");
    }
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

/// The same for machines.
pub fn as_json(report: &RunReport) -> serde_json::Value {
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
                "counts": stage.tally.iter().cloned().collect::<BTreeMap<_, _>>(),
            })
        })
        .collect();
    json!({
        "finished": report.finished,
        "rows": report.rows_read,
        "rows_before": report.rows_before,
        "succeeded": report.succeeded,
        "failed": report.failed,
        "seconds": report.elapsed.as_secs_f64(),
        "memory_peak_bytes": report.memory_peak_bytes,
        "disk_peak_bytes": report.disk_peak_bytes,
        "outputs": report.outputs,
        "stages": stages,
    })
}
