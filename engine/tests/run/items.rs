//! What becomes of single items.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{
    Answer, ErrorKind, OperatorError, Outcome, Row, SourceRow, Value,
};

use crate::toy::{Toy, good, number, sleep, tell};

fn bad(message: &str) -> OperatorError {
    OperatorError::bad_input(message)
}

#[test]
fn every_row_comes_out_once_and_in_order() {
    let mut toy = Toy::new();
    let rows = toy.source(100);
    let one = toy.add_one("one", rows);
    let result = toy.tell(&[one]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(
        (report.rows_read, report.succeeded, report.failed),
        (100, 100, 0)
    );
    assert_eq!(report.outputs, ["here"]);
    assert!(table.finished());
    let expected: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
    assert_eq!(table.column("one"), expected);
    let one = report
        .stages
        .iter()
        .find(|stage| stage.id == "one")
        .unwrap();
    assert_eq!((one.values, one.attempts, one.running), (100, 100, 0));
}

#[test]
fn no_rows_are_a_finished_table_too() {
    let mut toy = Toy::new();
    let rows = toy.source(0);
    let result = toy.tell(&[rows]);
    let table = toy.sink(result);
    assert_eq!(toy.run().unwrap().rows_read, 0);
    assert!(table.finished());
    assert!(table.commits().is_empty());
}

#[test]
fn branches_meet_in_port_order() {
    let mut toy = Toy::new();
    let rows = toy.source(50);
    let slow = toy.cpu("slow", &[rows], |call, inputs| {
        sleep(call.item.sequence % 3);
        Ok(Outcome::value(number(&inputs[0])? * 10))
    });
    let quick = toy.add_one("quick", rows);
    let waiting = toy.io("waiting", &[rows], |_, inputs| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Outcome::value(number(&inputs[0])?))
    });
    let less = toy.cpu("less", &[slow, quick, waiting], |_, inputs| {
        Ok(Outcome::value(
            number(&inputs[0])? - 2 * number(&inputs[1])? + number(&inputs[2])?,
        ))
    });
    let table = toy.table_of(&[less, rows]);
    let expected: Vec<_> = (0..50)
        .map(|n| (n * 10 - 2 * (n + 1) + n).to_string())
        .collect();
    assert_eq!(table.column("less"), expected);
}

#[test]
fn skips_and_failures_pass_through_joins_and_are_gathered() {
    let mut toy = Toy::new();
    let rows = toy.source(4);
    let first = toy.cpu("first", &[rows], |call, inputs| match call.item.sequence {
        1 | 3 => Err(bad("first is broken")),
        _ => Ok(Outcome::Value(inputs[0].clone())),
    });
    let second = toy.cpu("second", &[rows], |call, inputs| match call.item.sequence {
        2 | 3 => Ok(Outcome::Skipped("too dark".to_owned())),
        _ => Ok(Outcome::Value(inputs[0].clone())),
    });
    let both = toy.cpu("both", &[second, first], |_, _| Ok(Outcome::value(7_i64)));
    let after = toy.add_one("after", both);
    let result = toy.tell(&[second, after]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(
        table.column("after"),
        [
            "8",
            "failed: first BadInput first is broken after 1",
            "skipped: too dark",
            "failed: first BadInput first is broken after 1",
        ]
    );
    assert_eq!(
        table.column("second"),
        ["0", "1", "skipped: too dark", "skipped: too dark"]
    );
    assert_eq!((report.succeeded, report.failed), (2, 2));
    let both = report
        .stages
        .iter()
        .find(|stage| stage.id == "both")
        .unwrap();
    assert_eq!((both.attempts, both.passed_on, both.failed), (1, 3, 0));
}

#[test]
fn the_first_failure_in_port_order_is_passed_on() {
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let one = toy.cpu("one", &[rows], |_, _| {
        sleep(20);
        Err(bad("slow trouble"))
    });
    let two = toy.cpu("two", &[rows], |_, _| Err(bad("quick trouble")));
    let both = toy.cpu("both", &[one, two], |_, _| Ok(Outcome::value(0_i64)));
    let table = toy.table_of(&[both]);
    assert_eq!(
        table.column("both"),
        ["failed: one BadInput slow trouble after 1"]
    );
}

#[test]
fn a_bad_row_is_a_failed_row() {
    let mut toy = Toy::new();
    let rows = toy.source_of(|| {
        let mut next = 0..3;
        Box::new(move || {
            Ok(next.next().map(|n| match n {
                1 => SourceRow {
                    row: Row::default(),
                    problem: Some(bad("no column `n`")),
                },
                n => good(n),
            }))
        })
    });
    let one = toy.add_one("one", rows);
    let table = toy.table_of(&[one]);
    assert_eq!(
        table.column("one"),
        ["1", "failed: rows BadInput no column `n` after 1", "3"]
    );
}

#[test]
fn only_temporary_errors_are_tried_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut toy = Toy::new();
    let rows = toy.source(3);
    let counted = Arc::clone(&calls);
    let flaky = toy.cpu("flaky", &[rows], move |call, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        match (call.item.sequence, call.attempt) {
            (0, 3) => Ok(Outcome::value(i64::from(call.attempt))),
            (0 | 1, _) => Err(OperatorError::temporary("busy")),
            _ => Err(bad("broken")),
        }
    });
    toy.tune(flaky, |stage| stage.retry.attempts = 3);
    let result = toy.tell(&[flaky]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(
        table.column("flaky"),
        [
            "3",
            "failed: flaky Temporary busy after 3",
            "failed: flaky BadInput broken after 1"
        ]
    );
    assert_eq!(calls.load(Ordering::SeqCst), 7);
    assert_eq!(report.stages[1].attempts, 7);
}

#[test]
fn a_pause_holds_no_thread_and_no_place() {
    let mut toy = Toy::new();
    toy.plan.threads.cpu = 1;
    let rows = toy.source(8);
    let flaky = toy.cpu("flaky", &[rows], |call, _| match call.attempt {
        1 => Err(OperatorError::temporary("busy")),
        _ => Ok(Outcome::value(1_i64)),
    });
    toy.tune(flaky, |stage| {
        stage.retry.attempts = 2;
        stage.retry.backoff = Duration::from_millis(300);
        stage.placement.concurrency = 1;
    });
    let result = toy.tell(&[flaky]);
    let table = toy.sink(result);
    let started = Instant::now();
    toy.run().unwrap();
    assert_eq!(table.column("flaky"), ["1"; 8]);
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn retries_of_futures_and_their_timeouts() {
    let mut toy = Toy::new();
    let rows = toy.source(3);
    let fetch = toy.io("fetch", &[rows], |call, _| async move {
        match (call.item.sequence, call.attempt) {
            (0, 1) => Err(OperatorError::temporary("reset")),
            (1, _) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok(Outcome::value(0_i64))
            }
            _ => Ok(Outcome::value(i64::from(call.attempt))),
        }
    });
    toy.tune(fetch, |stage| {
        stage.retry.attempts = 2;
        stage.timeout = Duration::from_millis(100);
    });
    let result = toy.tell(&[fetch]);
    let table = toy.sink(result);
    let started = Instant::now();
    toy.run().unwrap();
    assert_eq!(
        table.column("fetch"),
        [
            "2",
            "failed: fetch Timeout did not answer within 100ms (the stage's `timeout`) after 1",
            "1"
        ]
    );
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_call_that_watches_its_deadline_fails_in_its_own_words() {
    let mut toy = Toy::new();
    let rows = toy.source(2);
    let decode = toy.cpu("decode", &[rows], |call, _| {
        if call.item.sequence > 0 {
            return Ok(Outcome::value(1_i64));
        }
        while !call.deadline.expired() {
            sleep(1);
        }
        Err(OperatorError::new(ErrorKind::Timeout, "stopped at frame 7"))
    });
    toy.tune(decode, |stage| stage.timeout = Duration::from_millis(50));
    let table = toy.table_of(&[decode]);
    assert_eq!(
        table.column("decode"),
        ["failed: decode Timeout stopped at frame 7 after 1", "1"]
    );
}

#[test]
fn a_call_that_ignores_its_deadline_costs_its_row_and_nothing_else() {
    let release = Arc::new(Mutex::new(()));
    let held = release.lock().unwrap();
    let mut toy = Toy::new();
    toy.plan.threads.cpu = 1;
    toy.plan.limits.items = 1;
    let rows = toy.source(4);
    let blocked = Arc::clone(&release);
    let stuck = toy.cpu("stuck", &[rows], move |call, _| {
        if call.item.sequence == 1 {
            drop(blocked.lock());
            assert!(call.deadline.expired(), "it was told to stop");
        }
        Ok(Outcome::value(1_i64))
    });
    toy.tune(stuck, |stage| {
        stage.timeout = Duration::from_millis(50);
        stage.placement.concurrency = 1;
    });
    let result = toy.tell(&[stuck]);
    let table = toy.sink(result);
    let started = Instant::now();
    toy.run().unwrap();
    let told = "failed: stuck Timeout did not answer within 50ms (the stage's `timeout`), and went on for 2s after it was told to stop after 1";
    assert_eq!(table.column("stuck"), ["1", told, "1", "1"]);
    assert!(started.elapsed() < Duration::from_secs(5));
    // The late answer finds nobody.
    drop(held);
}

#[test]
fn an_item_has_a_time_of_its_own_and_is_gathered_all_the_same() {
    let mut toy = Toy::new();
    toy.plan.limits.item_timeout = Duration::from_millis(150);
    let rows = toy.source(2);
    let slow = toy.io("slow", &[rows], |call, _| async move {
        let time = if call.item.sequence == 0 { 10_000 } else { 0 };
        tokio::time::sleep(Duration::from_millis(time)).await;
        Ok(Outcome::value(1_i64))
    });
    let late = toy.cpu("late", &[rows], |call, _| {
        sleep(if call.item.sequence == 0 { 200 } else { 0 });
        Ok(Outcome::value(2_i64))
    });
    let after = toy.add_one("after", late);
    let table = toy.table_of(&[slow, after]);
    assert_eq!(
        table.column("slow"),
        [
            "failed: slow Timeout the item's time of 150ms (`limits.item_timeout`) was up after 1",
            "1"
        ]
    );
    let after = &table.column("after");
    assert_eq!(
        after[0],
        "failed: after Timeout the item's time of 150ms (`limits.item_timeout`) was up before its turn came after 0"
    );
}

#[test]
fn panics_become_rows() {
    let mut toy = Toy::new();
    let rows = toy.source(40);
    let cpu = toy.cpu("cpu", &[rows], |call, _| {
        assert!(call.item.sequence % 2 == 0, "odd {}", call.item.sequence);
        Ok(Outcome::value(1_i64))
    });
    let early = toy.io("early", &[rows], |call, _| {
        assert!(call.item.sequence != 5, "before the future");
        async { Ok(Outcome::value(1_i64)) }
    });
    let io = toy.io("io", &[rows], |call, _| async move {
        tokio::task::yield_now().await;
        assert!(call.item.sequence != 6, "in the future");
        Ok(Outcome::value(1_i64))
    });
    let sized = toy.sized(
        "sized",
        &[rows],
        |call| {
            assert!(call.item.sequence != 7, "while measuring");
            Ok(1)
        },
        |_, _| Ok(Outcome::value(1_i64)),
    );
    let table = toy.table_of(&[cpu, early, io, sized]);
    let failed = |column: &str, row: usize, what: &str| {
        let cell = &table.column(column)[row];
        let start = format!("failed: {column} Internal panicked: {what} (");
        assert!(
            cell.starts_with(&start) && cell.contains("items.rs"),
            "{cell}"
        );
    };
    for odd in (1..40).step_by(2) {
        failed("cpu", odd, &format!("odd {odd}"));
    }
    failed("early", 5, "before the future");
    failed("io", 6, "in the future");
    failed("sized", 7, "while measuring");
    let good = |column: &str| {
        table
            .column(column)
            .iter()
            .filter(|cell| *cell == "1")
            .count()
    };
    assert_eq!(["cpu", "early", "io", "sized"].map(good), [20, 39, 39, 39]);
}

#[test]
fn a_gather_that_fails_still_leaves_a_row() {
    let mut toy = Toy::new();
    let rows = toy.source(4);
    let result = toy.gather("result", &[rows], |item, answers| match item.sequence {
        1 => panic!("in the gather"),
        2 => Err(OperatorError::internal("not a number")),
        3 => Ok(Value::new("not a document")),
        _ => Ok(Value::new(tell(item, answers))),
    });
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    let cells = table.column("rows");
    assert_eq!(cells[0], "0");
    assert!(
        cells[1].starts_with("failed: result Internal panicked: in the gather ("),
        "{}",
        cells[1]
    );
    assert_eq!(cells[2], "failed: result Internal not a number");
    assert!(
        cells[3].contains("an input is not a clipsieve_engine"),
        "{}",
        cells[3]
    );
    assert_eq!(report.failed, 3);
}

#[test]
fn a_sink_fed_by_a_stage_that_skips_gets_rows_too() {
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let result = toy.cpu("result", &[rows], |_, _| {
        Ok(Outcome::Skipped("nothing to say".to_owned()))
    });
    let table = toy.sink(result);
    toy.run().unwrap();
    assert_eq!(
        table.column("x"),
        ["failed: result BadInput skipped: nothing to say"]
    );
}

#[test]
fn two_sinks_get_all_rows() {
    let mut toy = Toy::new();
    let rows = toy.source(30);
    let one = toy.add_one("one", rows);
    let first = toy.tell(&[one]);
    let second = toy.gather("second", &[rows], |item, answers: &[(String, Answer)]| {
        Ok(Value::new(tell(item, answers)))
    });
    let (a, b) = (toy.sink(first), toy.sink(second));
    let report = toy.run().unwrap();
    assert_eq!(report.outputs.len(), 2);
    assert_eq!((a.rows().len(), b.rows().len()), (30, 30));
    assert_eq!(report.succeeded, 30);
}
