//! Runs under torment: processes killed and stopped, rows that kill, disks full and slow, clocks that jump, stores that are
//! away, links that are cut, Ctrl-C. After each the rows are compared with those of a run that was left alone.
//!
//! `cargo test --test chaos` does a little of everything. `make chaos` does it at length, with `CLIPSIEVE_CHAOS=1`; names behind it pick
//! tests, as in `make chaos TESTS=kills`. `CLIPSIEVE_CHAOS_SEED` gives the same torment again, `CLIPSIEVE_CHAOS_MUTANTS` and
//! `CLIPSIEVE_CHAOS_ROWS` say how many mutated videos, and how many rows for the search for leaks.

mod clock;
mod disk;
mod inputs;
mod job;
mod kills;
mod leaks;
mod mutants;
mod net;
mod outage;
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
    let short: &[Test] = &[
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
            "mutated_containers_are_answered",
            inputs::mutated_containers_are_answered,
        ),
        (
            "every_mutated_video_has_a_row",
            mutants::every_mutated_video_has_a_row,
        ),
        ("a_full_disk_is_waited_out", disk::a_full_disk_is_waited_out),
        (
            "a_slow_disk_slows_and_no_more",
            disk::a_slow_disk_slows_and_no_more,
        ),
    ];
    // These take minutes.
    let long: &[Test] = &[
        (
            "clocks_that_jump_are_no_matter",
            clock::clocks_that_jump_are_no_matter,
        ),
        (
            "a_store_that_is_away_is_waited_for",
            outage::a_store_that_is_away_is_waited_for,
        ),
        (
            "a_machine_without_the_secret_is_missing",
            net::a_machine_without_the_secret_is_missing,
        ),
        ("machines_come_and_go", net::machines_come_and_go),
        (
            "many_rows_leave_nothing_behind",
            leaks::many_rows_leave_nothing_behind,
        ),
    ];
    let all = is_long() || !filters.is_empty();
    let wanted = |(name, _): &&Test| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let tests = short.iter().chain(long.iter().filter(|_| all));
    for (name, test) in tests.filter(wanted) {
        let started = Instant::now();
        test();
        println!("test {name} ... ok ({:.1?})", started.elapsed());
    }
    ExitCode::SUCCESS
}

/// A test and what it is called.
type Test = (&'static str, fn());

/// Whether tests are to be as long as they prove something, and not as short as a suite wants them.
fn is_long() -> bool {
    std::env::var_os("CLIPSIEVE_CHAOS").is_some()
}

/// What an environment variable says, if it does.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn seed() -> u64 {
    let seed = number("CLIPSIEVE_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("CLIPSIEVE_CHAOS_SEED={seed}");
    seed
}
