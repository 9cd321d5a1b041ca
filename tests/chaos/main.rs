//! Runs under torment: processes killed and stopped, rows that kill, full disks, Ctrl-C. After each the rows are compared with
//! those of a run that was left alone.
//!
//! `cargo test --test chaos` does a little of everything. `make chaos` does more of it: `CLIPSIEVE_CHAOS` is how many times
//! as much, and `CLIPSIEVE_CHAOS_SEED` gives the same torment again.

mod disk;
mod inputs;
mod job;
mod kills;
mod mutants;
mod net;
mod poison;
mod program;
mod stop;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    if std::env::var_os(job::PROGRAM).is_some() {
        return clipsieve::main(&clipsieve_operators::registry().with(&program::TOIL));
    }
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let tests: &[(&str, fn())] = &[
        (
            "a_supervised_run_leaves_nothing_behind",
            stop::a_supervised_run_leaves_nothing_behind,
        ),
        (
            "ctrl_c_finishes_what_is_in_flight",
            stop::ctrl_c_finishes_what_is_in_flight,
        ),
        (
            "ctrl_c_twice_stops_at_once",
            stop::ctrl_c_twice_stops_at_once,
        ),
        (
            "sigterm_has_a_grace_period",
            stop::sigterm_has_a_grace_period,
        ),
        (
            "a_run_without_supervisor_stops_too",
            stop::a_run_without_supervisor_stops_too,
        ),
        ("two_runs_on_one_ledger", stop::two_runs_on_one_ledger),
        (
            "a_changed_pipeline_is_refused",
            stop::a_changed_pipeline_is_refused,
        ),
        (
            "a_changed_input_is_refused",
            stop::a_changed_input_is_refused,
        ),
        ("a_named_ledger_remembers", stop::a_named_ledger_remembers),
        (
            "a_killed_supervisor_takes_all_with_it",
            stop::a_killed_supervisor_takes_all_with_it,
        ),
        (
            "kills_at_random_lose_no_row",
            kills::kills_at_random_lose_no_row,
        ),
        (
            "a_process_that_always_dies_ends_the_run",
            kills::a_process_that_always_dies_ends_the_run,
        ),
        (
            "each_poison_costs_one_row",
            poison::each_poison_costs_one_row,
        ),
        (
            "mutated_pipelines_are_answered",
            inputs::mutated_pipelines_are_answered,
        ),
        (
            "mutated_tables_are_answered",
            inputs::mutated_tables_are_answered,
        ),
        (
            "mutated_models_are_answered",
            inputs::mutated_models_are_answered,
        ),
        (
            "every_mutated_video_has_a_row",
            mutants::every_mutated_video_has_a_row,
        ),
        ("a_full_disk_is_waited_out", disk::a_full_disk_is_waited_out),
        (
            "a_machine_without_the_secret_is_missing",
            net::a_machine_without_the_secret_is_missing,
        ),
        ("machines_come_and_go", net::machines_come_and_go),
    ];
    // A full disk and machines that come and go need root and time: they are for `make chaos`.
    let long = std::env::var_os("CLIPSIEVE_CHAOS").is_some() || !filters.is_empty();
    let count = if long { tests.len() } else { tests.len() - 3 };
    for (name, test) in &tests[..count] {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            let started = Instant::now();
            test();
            println!("test {name} ... ok ({:.1?})", started.elapsed());
        }
    }
    ExitCode::SUCCESS
}

/// How many times as much as usual.
fn more() -> u64 {
    std::env::var("CLIPSIEVE_CHAOS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

fn seed() -> u64 {
    let seed = std::env::var("CLIPSIEVE_CHAOS_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("CLIPSIEVE_CHAOS_SEED={seed}");
    seed
}
