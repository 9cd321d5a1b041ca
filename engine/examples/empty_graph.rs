//! How many items a second go through ten stages that do nothing: what the engine itself costs.
//!
//! `cargo run --release -p clipsieve-engine --example empty_graph -- [rows] [workers] [cpu threads] [cpu|io]`
#![allow(clippy::unwrap_used)]

#[path = "../tests/toy/mod.rs"]
mod toy;

use clipsieve_engine::operator::Outcome;
use toy::Toy;

/// The program's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |place: usize, default: usize| args.get(place).map_or(default, |arg| arg.parse().unwrap());
    let rows = number(0, 200_000);
    let io = args.get(3).is_some_and(|kind| kind == "io");
    let mut toy = Toy::new();
    toy.plan.workers = number(1, 1);
    toy.plan.threads.cpu = number(2, 1);
    toy.plan.limits.items = 1_024;
    toy.plan.limits.epoch_rows = 1_024;
    let mut last = toy.source(rows as u64);
    for stage in 0..10 {
        let id = format!("s{stage}");
        last = if io {
            toy.io(&id, &[last], |_, _| async { Ok(Outcome::value(1_i64)) })
        } else {
            toy.cpu(&id, &[last], |_, _| Ok(Outcome::value(1_i64)))
        };
        toy.tune(last, |stage| stage.placement.concurrency = 1_024);
    }
    let result = toy.tell(&[last]);
    toy.sink(result);
    let report = toy.run().unwrap();
    assert_eq!(report.succeeded, rows as u64);
    println!(
        "{} rows, {} workers, {} cpu threads: {:.0} rows/s",
        rows,
        toy.plan.workers,
        toy.plan.threads.cpu,
        rows as f64 / report.elapsed.as_secs_f64()
    );
}
