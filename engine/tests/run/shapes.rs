//! The same rows from any shape of run.

use std::time::Duration;

use clipsieve_engine::operator::{OperatorError, Outcome};
use clipsieve_engine::plan::StageIndex;
use proptest::prelude::*;

use crate::toy::{Table, Toy, number, sleep};

#[test]
fn one_two_and_four_workers_give_the_same_rows() {
    let mut toy = Toy::new();
    let rows = toy.source(200);
    let flaky = toy.io("flaky", &[rows], |call, inputs| async move {
        match call.item.sequence % 10 {
            3 => Err(OperatorError::bad_input("three")),
            4 => Ok(Outcome::Skipped("four".to_owned())),
            5 if call.attempt == 1 => Err(OperatorError::temporary("five")),
            _ => Ok(Outcome::value(number(&inputs[0])?)),
        }
    });
    toy.tune(flaky, |stage| stage.retry.attempts = 2);
    let one = toy.add_one("one", flaky);
    let other = toy.add_one("other", rows);
    let result = toy.tell(&[one, other, flaky]);
    let table = toy.sink(result);
    let rows = toy.rows_on(1, &table);
    assert_eq!(rows.len(), 200);
    for workers in [2, 4] {
        assert_eq!(toy.rows_on(workers, &table), rows);
    }
}

/// What a stage of a random graph does with an item.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Answer,
    Skip,
    Fail,
    Flake,
    Panic,
    Delay,
}

#[derive(Debug, Clone)]
struct Plot {
    /// For each stage: whether it is a future, how much memory it asks for, and what it takes from, as distances back.
    stages: Vec<(bool, u64, Vec<usize>)>,
    /// What stage and row come to, by a hash of both.
    deeds: Vec<Deed>,
    rows: u64,
    items: usize,
    epoch_rows: usize,
}

fn plot() -> impl Strategy<Value = Plot> {
    let deed = prop_oneof![
        12 => Just(Deed::Answer), 2 => Just(Deed::Skip), 2 => Just(Deed::Fail),
        2 => Just(Deed::Flake), 1 => Just(Deed::Panic), 3 => Just(Deed::Delay),
    ];
    let stage = (
        any::<bool>(),
        0_u64..40,
        prop::collection::vec(1_usize..6, 1..4),
    );
    (
        prop::collection::vec(stage, 5..12),
        prop::collection::vec(deed, 7..40),
        0_u64..32,
        1_usize..6,
        1_usize..12,
    )
        .prop_map(|(stages, deeds, rows, items, epoch_rows)| Plot {
            stages,
            deeds,
            rows,
            items,
            epoch_rows,
        })
}

fn build(plot: &Plot) -> (Toy, Table) {
    let mut toy = Toy::new();
    toy.plan.limits.items = plot.items;
    toy.plan.limits.epoch_rows = plot.epoch_rows;
    // An item may hold all its stages ask for, and not much more.
    toy.plan.limits.memory_bytes = 40 * 12;
    toy.plan.threads.cpu = 2;
    let mut ids = vec![toy.source(plot.rows)];
    for (number, (future, bytes, backs)) in plot.stages.iter().enumerate() {
        let inputs: Vec<StageIndex> = backs
            .iter()
            .map(|back| ids[ids.len().saturating_sub(*back)])
            .collect();
        let (deeds, bytes, id) = (plot.deeds.clone(), *bytes, format!("s{number}"));
        let deed = move |sequence: u64, attempt: u32| {
            let pick = (sequence as usize * 31 + number * 17) % deeds.len();
            match deeds[pick] {
                Deed::Answer => Ok(Some(0)),
                Deed::Delay => Ok(Some(1)),
                Deed::Skip => Ok(None),
                Deed::Fail => Err(OperatorError::bad_input("fails")),
                Deed::Flake if attempt < 3 => Err(OperatorError::temporary("flakes")),
                Deed::Flake => Ok(Some(0)),
                Deed::Panic => panic!("panics"),
            }
        };
        let index = if *future {
            toy.io(&id, &inputs, move |call, inputs| {
                let deed = deed.clone();
                async move {
                    let Some(delay) = deed(call.item.sequence, call.attempt)? else {
                        return Ok(Outcome::Skipped("skips".to_owned()));
                    };
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    let sum = inputs
                        .iter()
                        .map(super::toy::number)
                        .sum::<Result<i64, _>>()?;
                    Ok(Outcome::value(sum % 1_000 + 1))
                }
            })
        } else {
            toy.sized(
                &id,
                &inputs,
                move |_| Ok(bytes),
                move |call, inputs| {
                    let Some(delay) = deed(call.item.sequence, call.attempt)? else {
                        return Ok(Outcome::Skipped("skips".to_owned()));
                    };
                    if delay > 0 {
                        sleep(delay);
                    }
                    let sum = inputs
                        .iter()
                        .map(super::toy::number)
                        .sum::<Result<i64, _>>()?;
                    Ok(Outcome::value(sum % 1_000 + 1))
                },
            )
        };
        toy.tune(index, |stage| {
            stage.retry.attempts = 3;
            stage.retry.backoff = Duration::from_millis(1);
            stage.placement.concurrency = 1 + number % 3;
        });
        ids.push(index);
    }
    let result = toy.tell(&ids);
    let table = toy.sink(result);
    (toy, table)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_conserve_rows_and_do_not_depend_on_workers(plot in plot()) {
        let (toy, table) = build(&plot);
        let rows = toy.rows_on(1, &table);
        prop_assert_eq!(rows.len() as u64, plot.rows);
        prop_assert_eq!(&toy.rows_on(2, &table), &rows);
        prop_assert_eq!(&toy.rows_on(3, &table), &rows);
        let commits = table.commits();
        let mut flat: Vec<u64> = commits.concat();
        flat.sort_unstable();
        prop_assert_eq!(flat, (0..plot.rows).collect::<Vec<_>>());
    }
}
