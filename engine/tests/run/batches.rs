//! Units of many items and stages go through a batcher together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{BatchError, OperatorError};

use crate::toy::{Toy, ToyBatcher, sleep};

/// So many units as the number says, all of one shape, each the number itself.
fn units(number: i64) -> Result<Vec<(u64, i64)>, OperatorError> {
    Ok((0..number).map(|_| (0, number)).collect())
}

#[test]
fn batches_are_filled_across_windows_and_items() {
    let mut toy = Toy::new();
    let first = AtomicBool::new(true);
    // The first batch takes long: all others are in line when it is done.
    let batcher = Arc::new(ToyBatcher::new(4, move |_| {
        if first.swap(false, Ordering::SeqCst) {
            sleep(300);
        }
        Ok(())
    }));
    let rows = toy.source(6);
    let score = toy.batched("score", &[rows], &batcher, units);
    toy.tune(score, |stage| stage.placement.concurrency = 1);
    let table = toy.table_of(&[score]);
    let squares: Vec<String> = (0..6).map(|n| (2 * n * n).to_string()).collect();
    assert_eq!(table.column("score"), squares);
    let batches = batcher.batches();
    assert_eq!(batches.concat().len(), 15);
    // One that was there first, and then full ones: 5 + 4 + 3 + 2 units are in line.
    let full = batches.iter().filter(|batch| batch.len() == 4).count();
    assert!(full >= 3, "{batches:?}");
    assert!(
        batches.iter().any(|batch| batch.first() != batch.last()),
        "some batch holds units of two items: {batches:?}"
    );
}

#[test]
fn stages_over_one_batcher_have_one_line_and_shapes_stay_apart() {
    let mut toy = Toy::new();
    let first = AtomicBool::new(true);
    // The first batch takes long: the items of both stages are in line when it is done.
    let batcher = Arc::new(ToyBatcher {
        max_wait: Duration::from_millis(20),
        ..ToyBatcher::new(8, move |_| {
            if first.swap(false, Ordering::SeqCst) {
                sleep(500);
            }
            Ok(())
        })
    });
    let rows = toy.source(20);
    let pair = |number: i64| vec![(number as u64 % 2, number); 2];
    let one = toy.batched("one", &[rows], &batcher, move |number| Ok(pair(number)));
    let two = toy.batched("two", &[rows], &batcher, move |number| {
        Ok(pair(100 + number))
    });
    for stage in [one, two] {
        toy.tune(stage, |stage| stage.placement.concurrency = 1);
    }
    let table = toy.table_of(&[one, two]);
    let answers =
        |more: i64| -> Vec<String> { (0..20).map(|n| (4 * (n + more)).to_string()).collect() };
    assert_eq!(table.column("one"), answers(0));
    assert_eq!(table.column("two"), answers(100));
    let batches = batcher.batches();
    assert_eq!(batches.concat().len(), 80);
    for batch in &batches {
        assert!(batch.len() <= 8);
        let is_alike = |number: &i64| number % 2 == batch[0] % 2;
        assert!(batch.iter().all(is_alike), "{batch:?}");
    }
    let is_of_both = |batch: &Vec<i64>| {
        let of_two = batch.iter().filter(|number| **number >= 100).count();
        of_two > 0 && of_two < batch.len()
    };
    assert!(batches.iter().any(is_of_both), "{batches:?}");
}

#[test]
fn a_batch_that_is_too_large_is_halved() {
    let mut toy = Toy::new();
    let batcher = Arc::new(ToyBatcher::new(16, |numbers| match numbers.len() {
        0..=3 => Ok(()),
        _ => Err(BatchError::TooLarge(OperatorError::temporary("no room"))),
    }));
    let rows = toy.source(12);
    let score = toy.batched("score", &[rows], &batcher, units);
    toy.tune(score, |stage| stage.placement.concurrency = 2);
    let result = toy.tell(&[score]);
    let table = toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(report.failed, 0);
    let squares: Vec<String> = (0..12).map(|n| (2 * n * n).to_string()).collect();
    assert_eq!(table.column("score"), squares);
    let too_large = batcher
        .batches()
        .iter()
        .filter(|batch| batch.len() > 3)
        .count();
    // 16, 8, 4, each at most once for each instance.
    assert!((1..=6).contains(&too_large), "{too_large}");
}

#[test]
fn no_room_even_for_one_is_the_items_error() {
    let mut toy = Toy::new();
    let batcher = Arc::new(ToyBatcher::new(2, |numbers| match numbers.contains(&3) {
        true => Err(BatchError::TooLarge(OperatorError::temporary("no room"))),
        false => Ok(()),
    }));
    let rows = toy.source(5);
    let score = toy.batched("score", &[rows], &batcher, |number| Ok(vec![(0, number)]));
    toy.tune(score, |stage| stage.retry.attempts = 2);
    let table = toy.table_of(&[score]);
    assert_eq!(
        table.column("score"),
        [
            "0",
            "2",
            "4",
            "failed: score Temporary no room after 2",
            "8"
        ]
    );
}

#[test]
fn what_is_bad_in_a_batch_fails_alone() {
    let mut toy = Toy::new();
    let batcher = Arc::new(ToyBatcher {
        max_wait: Duration::from_millis(100),
        ..ToyBatcher::new(8, |numbers| {
            if numbers.contains(&2) {
                return Err(OperatorError::bad_input("two").into());
            }
            assert!(!numbers.contains(&5), "five");
            Ok(())
        })
    });
    let rows = toy.source(8);
    let score = toy.batched("score", &[rows], &batcher, |number| match number {
        1 => Err(OperatorError::bad_input("cannot be cut")),
        7 => Ok(Vec::new()),
        _ => Ok(vec![(0, number)]),
    });
    let table = toy.table_of(&[score]);
    let mut cells = table.column("score");
    let panicked = cells.remove(5);
    assert!(
        panicked.starts_with("failed: score Internal panicked: five"),
        "{panicked}"
    );
    assert_eq!(
        cells,
        [
            "0",
            "failed: score BadInput cannot be cut after 1",
            "failed: score BadInput two after 1",
            "6",
            "8",
            "12",
            "0"
        ]
    );
}

#[test]
fn a_batch_that_never_comes_back_fails_its_items_and_no_others() {
    let mut toy = Toy::new();
    let batcher = Arc::new(ToyBatcher::new(2, |numbers| {
        if numbers.contains(&0) {
            sleep(4_000);
        }
        Ok(())
    }));
    let rows = toy.source(6);
    let score = toy.batched("score", &[rows], &batcher, |number| Ok(vec![(0, number)]));
    toy.tune(score, |stage| {
        stage.placement.concurrency = 2;
        stage.timeout = Duration::from_millis(200);
    });
    let table = toy.table_of(&[score]);
    let cells = table.column("score");
    assert!(
        cells[0].starts_with("failed: score Timeout did not answer within 200ms"),
        "{cells:?}"
    );
    let failed = cells.iter().filter(|cell| cell.starts_with("failed"));
    assert!(failed.count() <= 2, "{cells:?}");
    assert_eq!(cells[5], "10");
}

#[test]
fn an_item_that_cannot_get_an_instance_fails_when_it_is_first_in_line() {
    let mut toy = Toy::new();
    let batcher = Arc::new(ToyBatcher::new(1, |numbers| {
        sleep(if numbers.contains(&0) { 1_200 } else { 1 });
        Ok(())
    }));
    let rows = toy.source(3);
    let score = toy.batched("score", &[rows], &batcher, |number| Ok(vec![(0, number)]));
    toy.tune(score, |stage| {
        stage.placement.concurrency = 1;
        stage.placement.acquire_timeout = Duration::from_millis(300);
    });
    let table = toy.table_of(&[score]);
    let cells = table.column("score");
    assert_eq!(cells[0], "0");
    assert!(
        cells[2].starts_with("failed: score Exhausted no model instance was free within 300ms"),
        "{cells:?}"
    );
}

#[test]
fn a_unit_that_hangs_alone_gives_its_thread_up() {
    let mut toy = Toy::new();
    toy.plan.threads.cpu = 1;
    let batcher = Arc::new(ToyBatcher::new(2, |numbers| match numbers {
        [_, _] => Err(OperatorError::bad_input("not together").into()),
        [2] => {
            sleep(20_000);
            Ok(())
        }
        _ => Ok(()),
    }));
    let rows = toy.source(1);
    let score = toy.batched("score", &[rows], &batcher, |_| Ok(vec![(0, 1), (0, 2)]));
    toy.tune(score, |stage| {
        stage.placement.device = Some("cpu".to_owned());
        stage.placement.concurrency = 1;
        stage.timeout = Duration::from_millis(200);
    });
    let started = Instant::now();
    // Its row is made on the one thread that there is.
    let table = toy.table_of(&[score]);
    let cells = table.column("score");
    assert!(cells[0].starts_with("failed: score Timeout"), "{cells:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}
