//! What is bounded: items, places, memory, epochs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{ErrorKind, OperatorError, Outcome};

use crate::toy::{Crowd, Toy, good, sleep};

#[test]
fn credits_bound_the_items_in_flight() {
    let crowd = Crowd::default();
    let mut toy = Toy::new();
    toy.plan.limits.items = 3;
    toy.plan.workers = 2;
    let rows = toy.source(60);
    let all = crowd.clone();
    let enter = toy.io("enter", &[rows], move |call, _| {
        call.item.keep(all.enter());
        async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok(Outcome::value(1_i64))
        }
    });
    toy.tune(enter, |stage| stage.placement.concurrency = 100);
    let table = toy.table_of(&[enter]);
    assert_eq!(table.rows().len(), 60);
    assert_eq!(
        crowd.most(),
        6,
        "3 for each of 2 workers, and all of them used"
    );
}

#[test]
fn a_stage_works_on_as_many_items_as_it_has_places() {
    for places in [1, 3] {
        let (cpu, io, device) = (Crowd::default(), Crowd::default(), Crowd::default());
        let mut toy = Toy::new();
        toy.plan.workers = 2;
        let rows = toy.source(40);
        let crowd = cpu.clone();
        let a = toy.cpu("a", &[rows], move |_, _| {
            let _inside = crowd.enter();
            sleep(2);
            Ok(Outcome::value(1_i64))
        });
        let crowd = io.clone();
        let b = toy.io("b", &[rows], move |_, _| {
            let crowd = crowd.clone();
            async move {
                let _inside = crowd.enter();
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(Outcome::value(1_i64))
            }
        });
        let crowd = device.clone();
        let c = toy.device("c", &[rows], move |_, _| {
            let _inside = crowd.enter();
            sleep(2);
            Ok(Outcome::value(1_i64))
        });
        for stage in [a, b, c] {
            toy.tune(stage, |stage| stage.placement.concurrency = places);
        }
        let result = toy.tell(&[a, b, c]);
        toy.sink(result);
        toy.run().unwrap();
        assert_eq!([cpu.most(), io.most(), device.most()], [places; 3]);
    }
}

#[test]
fn a_slow_item_holds_nothing_up() {
    let mut toy = Toy::new();
    toy.plan.limits.epoch_rows = 4;
    toy.plan.limits.open_epochs = 100;
    let done = Arc::new(AtomicU64::new(0));
    let rows = toy.source(100);
    let seen = Arc::clone(&done);
    let work = toy.cpu("work", &[rows], move |call, _| {
        if call.item.sequence == 0 {
            let started = Instant::now();
            while seen.load(Ordering::SeqCst) < 99 {
                if started.elapsed() > Duration::from_secs(10) {
                    return Err(OperatorError::internal("the others waited for this one"));
                }
                sleep(1);
            }
        }
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::value(1_i64))
    });
    let table = toy.table_of(&[work]);
    assert_eq!(table.column("work"), ["1"; 100]);
}

#[test]
fn device_places_are_waited_for_so_long() {
    let mut toy = Toy::new();
    let rows = toy.source(4);
    let score = toy.device("score", &[rows], |call, _| {
        sleep(if call.item.sequence == 0 { 1_500 } else { 1 });
        Ok(Outcome::value(1_i64))
    });
    toy.tune(score, |stage| {
        stage.placement.concurrency = 1;
        stage.placement.acquire_timeout = Duration::from_millis(300);
    });
    let table = toy.table_of(&[score]);
    let cells = table.column("score");
    assert_eq!(cells[0], "1");
    assert_eq!(
        cells[3],
        "failed: score Exhausted no model instance was free within 300ms (`acquire_timeout`; the stage has 1) after 0"
    );
}

#[test]
fn waiting_in_line_is_not_waiting_for_an_instance() {
    let mut toy = Toy::new();
    let rows = toy.source(8);
    let score = toy.device("score", &[rows], |_, _| {
        sleep(100);
        Ok(Outcome::value(1_i64))
    });
    toy.tune(score, |stage| {
        stage.placement.concurrency = 1;
        stage.placement.acquire_timeout = Duration::from_millis(400);
    });
    let table = toy.table_of(&[score]);
    // The last one was 700 ms in line, and the instance was never busy with one call for longer than 100.
    assert_eq!(table.column("score"), ["1"; 8]);
}

#[test]
fn later_stages_come_first() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut toy = Toy::new();
    toy.plan.threads.cpu = 1;
    let rows = toy.source(8);
    let note = |name: &'static str| {
        let log = Arc::clone(&log);
        move |_: &_, _: &[_]| {
            sleep(10);
            log.lock().unwrap().push(name);
            Ok(Outcome::value(1_i64))
        }
    };
    let first = toy.cpu("first", &[rows], note("first"));
    toy.tune(first, |stage| stage.placement.concurrency = 8);
    let second = toy.cpu("second", &[first], note("second"));
    let result = toy.tell(&[second]);
    toy.sink(result);
    toy.run().unwrap();
    let log = log.lock().unwrap();
    let half = log[..8].iter().filter(|name| **name == "second").count();
    assert!(
        half >= 3,
        "items are finished before new ones begin: {log:?}"
    );
}

#[test]
fn memory_stays_within_its_budget() {
    let used = Arc::new(AtomicU64::new(0));
    let peak = Arc::new(AtomicU64::new(0));
    let mut toy = Toy::new();
    toy.plan.limits.memory_bytes = 100;
    let rows = toy.source(60);
    struct Held(Arc<AtomicU64>, u64);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Ordering::SeqCst);
        }
    }
    let size = |sequence: u64| 10 + sequence % 7 * 10;
    let (now, most) = (Arc::clone(&used), Arc::clone(&peak));
    let decode = toy.sized(
        "decode",
        &[rows],
        move |call| Ok(size(call.item.sequence)),
        move |call, _| {
            let bytes = size(call.item.sequence);
            most.fetch_max(
                now.fetch_add(bytes, Ordering::SeqCst) + bytes,
                Ordering::SeqCst,
            );
            call.item.keep(Held(Arc::clone(&now), bytes));
            sleep(1);
            Ok(Outcome::value(1_i64))
        },
    );
    let result = toy.tell(&[decode]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(table.column("decode"), ["1"; 60]);
    assert!(
        report.memory_peak_bytes <= 100,
        "{}",
        report.memory_peak_bytes
    );
    assert!(
        report.memory_peak_bytes >= 80,
        "it is made use of: {}",
        report.memory_peak_bytes
    );
    // What is kept by the item is dropped before its grant is given back.
    assert!(peak.load(Ordering::SeqCst) <= 100, "{peak:?}");
}

#[test]
fn what_never_fits_fails_with_the_numbers() {
    let mut toy = Toy::new();
    toy.plan.limits.memory_bytes = 100;
    let rows = toy.source(3);
    let big = |call: &clipsieve_engine::operator::Call| {
        Ok(if call.item.sequence == 1 { 101 } else { 60 })
    };
    let one = |_: &_, _: &[_]| Ok(Outcome::value(1_i64));
    let decode = toy.sized("decode", &[rows], big, one);
    let again = toy.sized("again", &[decode], |call| Ok(call.item.sequence * 30), one);
    let table = toy.table_of(&[again]);
    assert_eq!(
        table.column("again"),
        [
            "1",
            "failed: decode Exhausted the item needs 101 bytes of memory, and 100 are allowed; raise `limits.memory` after 1",
            "failed: again Exhausted the item needs 60 bytes of memory beside the 60 bytes that it holds, and 100 are allowed; raise `limits.memory` after 1",
        ]
    );
}

#[test]
fn items_that_hold_memory_and_want_more_do_not_wait_for_each_other() {
    for workers in [1, 2] {
        let mut toy = Toy::new();
        toy.plan.workers = workers;
        toy.plan.limits.memory_bytes = 100;
        toy.plan.threads.cpu = 2;
        let rows = toy.source(60);
        let work = |_: &_, _: &[_]| {
            sleep(1);
            Ok(Outcome::value(1_i64))
        };
        let first = toy.sized("first", &[rows], |_| Ok(30), work);
        let left = toy.sized("left", &[first], |_| Ok(30), work);
        let right = toy.sized("right", &[first], |_| Ok(30), work);
        for stage in [first, left, right] {
            // One place each: a place must not be held while waiting for memory.
            toy.tune(stage, |stage| stage.placement.concurrency = 1);
        }
        let result = toy.tell(&[left, right]);
        let table = toy.sink(result);
        let started = Instant::now();
        let report = toy.run().unwrap();
        assert_eq!(table.column("left"), ["1"; 60]);
        assert_eq!(table.column("right"), ["1"; 60]);
        assert!(started.elapsed() < Duration::from_secs(5));
        // Beyond the budget by the last grants of one item at most.
        assert!(
            report.memory_peak_bytes <= 160,
            "{}",
            report.memory_peak_bytes
        );
    }
}

#[test]
fn memory_of_a_call_that_never_comes_back_is_not_hoped_for() {
    let release = Arc::new(Mutex::new(()));
    let held = release.lock().unwrap();
    let mut toy = Toy::new();
    toy.plan.limits.memory_bytes = 100;
    let rows = toy.source(6);
    let blocked = Arc::clone(&release);
    let decode = toy.sized(
        "decode",
        &[rows],
        |_| Ok(80),
        move |call, _| {
            if call.item.sequence == 0 {
                drop(blocked.lock());
            }
            Ok(Outcome::value(1_i64))
        },
    );
    toy.tune(decode, |stage| stage.timeout = Duration::from_millis(50));
    let table = toy.table_of(&[decode]);
    let cells = table.column("decode");
    assert!(
        cells[0].starts_with("failed: decode Timeout"),
        "{}",
        cells[0]
    );
    assert_eq!(cells[1..], ["1"; 5]);
    drop(held);
}

#[test]
fn waiting_for_memory_ends_with_the_items_time() {
    let mut toy = Toy::new();
    toy.plan.limits.memory_bytes = 100;
    toy.plan.limits.item_timeout = Duration::from_millis(300);
    let rows = toy.source(2);
    let hold = toy.sized(
        "hold",
        &[rows],
        |_| Ok(80),
        |call, _| {
            sleep(if call.attempt == 1 { 250 } else { 0 });
            Ok(Outcome::value(1_i64))
        },
    );
    let slow = toy.cpu("slow", &[hold], |_, _| {
        sleep(250);
        Ok(Outcome::value(1_i64))
    });
    let table = toy.table_of(&[slow]);
    let cells = table.column("slow");
    let waited = |cell: &&String| {
        cell.contains("Exhausted the item's time (`limits.item_timeout`) was up while it waited for 80 bytes of memory")
    };
    assert_eq!(cells.iter().filter(waited).count(), 1, "{cells:?}");
}

#[test]
fn a_failed_call_gives_its_memory_back_and_a_retry_keeps_it() {
    let mut toy = Toy::new();
    toy.plan.limits.memory_bytes = 100;
    let rows = toy.source(20);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let decode = toy.sized(
        "decode",
        &[rows],
        move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(60)
        },
        |call, _| match call.item.sequence % 3 {
            0 => Err(OperatorError::new(ErrorKind::BadInput, "broken")),
            1 if call.attempt == 1 => Err(OperatorError::temporary("busy")),
            _ => Ok(Outcome::value(1_i64)),
        },
    );
    toy.tune(decode, |stage| stage.retry.attempts = 2);
    let result = toy.tell(&[decode]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(
        table
            .column("decode")
            .iter()
            .filter(|cell| *cell == "1")
            .count(),
        13
    );
    assert_eq!(report.memory_peak_bytes, 60);
    // A retry is not measured again, nor is an item that had to wait.
    assert_eq!(asked.load(Ordering::SeqCst), 20);
}

#[test]
fn parts_are_sorted_and_hold_each_row_once() {
    let mut toy = Toy::new();
    toy.plan.workers = 3;
    let rows = toy.source(95);
    let jumble = toy.io("jumble", &[rows], |call, _| async move {
        tokio::time::sleep(Duration::from_millis(call.item.sequence * 7 % 13)).await;
        Ok(Outcome::value(1_i64))
    });
    let result = toy.tell(&[jumble]);
    let tables = [toy.sink(result), toy.sink(result)];
    toy.run().unwrap();
    for table in &tables {
        let parts = table.commits();
        assert!(parts.iter().all(|part| part.is_sorted()));
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..95).collect::<Vec<_>>());
    }
    assert_eq!(
        tables[0].commits(),
        tables[1].commits(),
        "a part is the same for all sinks"
    );
}

#[test]
fn rows_that_are_not_committed_are_bounded() {
    let entered = Arc::new(AtomicU64::new(0));
    let mut toy = Toy::new();
    toy.plan.limits.items = 50;
    toy.plan.limits.epoch_rows = 5;
    toy.plan.limits.open_epochs = 2;
    let rows = toy.source(40);
    let count = Arc::clone(&entered);
    let work = toy.io("work", &[rows], move |call, _| {
        count.fetch_max(call.item.sequence, Ordering::SeqCst);
        let count = Arc::clone(&count);
        async move {
            if call.item.sequence == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                assert_eq!(count.load(Ordering::SeqCst), 9, "two epochs of five rows");
            } else if call.item.sequence < 10 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            Ok(Outcome::value(1_i64))
        }
    });
    toy.tune(work, |stage| stage.placement.concurrency = 100);
    let table = toy.table_of(&[work]);
    assert_eq!(table.column("work"), ["1"; 40]);
}

#[test]
fn neither_slow_input_nor_a_slow_item_keeps_others_from_being_committed() {
    let mut toy = Toy::new();
    let rows = toy.source_of(|| {
        let mut next = 0..4;
        Box::new(move || {
            let n = next.next();
            if n == Some(3) {
                sleep(300);
            }
            Ok(n.map(good))
        })
    });
    let work = toy.io("work", &[rows], |call, _| async move {
        if call.item.sequence == 0 {
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        Ok(Outcome::value(1_i64))
    });
    let table = toy.table_of(&[work]);
    let commits = table.commits();
    assert_eq!(commits.last().unwrap(), &[0]);
    let before = &commits[..commits.len() - 1];
    assert!(before.iter().flatten().all(|row| *row != 0));
    let times = table.times();
    assert!(times[before.len() - 1] - times[0] > Duration::from_millis(200));
    assert!(times[before.len()] - times[before.len() - 1] > Duration::from_millis(200));
}
