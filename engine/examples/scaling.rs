//! How well rows spread over processes that have a simulated device each: it sleeps as long as a row asks for.
//!
//! `cargo run --release -p clipsieve-engine --example scaling -- [processes] [rows a process] [mean ms] [even|heavy]`
//!
//! Efficiency is the time that the devices worked over the time that they had, from the first row to the last. Beside it
//! stands what the same rows would come to if each process had every n-th of them: what the credits are worth.
#![allow(clippy::unwrap_used)]

#[path = "../tests/toy/mod.rs"]
mod toy;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clipsieve_engine::operator::Outcome;
use clipsieve_engine::run::supervisor::Supervision;
use clipsieve_engine::run::{Asked, RunOptions, cluster, run};
use toy::{Toy, number};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let argument = |place: usize, default: usize| {
        args.get(place)
            .map_or(default, |argument| argument.parse().unwrap())
    };
    let (processes, each, mean_ms) = (argument(0, 4), argument(1, 200), argument(2, 20));
    let heavy = args.get(3).is_some_and(|kind| kind == "heavy");
    let member = cluster::role_from_env().unwrap();
    if processes > 1 && member.is_none() {
        let supervision = Supervision {
            processes,
            scratch: &std::env::temp_dir(),
            ledger: None,
            stages: Vec::new(),
            max_restarts: 0,
            silence: Duration::from_secs(60),
            asked: &|| Asked::GoOn,
            fleet: None,
            local: 0,
        };
        let code = supervision.run().unwrap();
        return ExitCode::from(u8::try_from(code).unwrap());
    }
    let first = member.as_ref().is_none_or(|member| member.process == 0);
    let rows = each * processes;
    let mean = Duration::from_millis(mean_ms as u64);
    let services = services(rows, mean, heavy);

    static STARTED: OnceLock<Instant> = OnceLock::new();
    let mut toy = Toy::new();
    toy.plan.processes = processes;
    toy.plan.threads.cpu = 1;
    toy.plan.limits.items = 2;
    toy.plan.limits.open_epochs = 4_096;
    let source = toy.source(rows as u64);
    let device = toy.device("device", &[source], {
        let services = services.clone();
        move |_, inputs| {
            STARTED.get_or_init(Instant::now);
            std::thread::sleep(services[usize::try_from(number(&inputs[0])?).unwrap()]);
            Ok(Outcome::value(1_i64))
        }
    });
    toy.tune(device, |stage| stage.placement.concurrency = 1);
    let result = toy.tell(&[device]);
    let table = toy.sink(result);
    let options = RunOptions {
        member,
        ..RunOptions::default()
    };
    let report = run(&toy.plan, options).unwrap();
    if first {
        assert_eq!(report.succeeded, rows as u64);
        let last = *table.times().last().unwrap();
        let took = last - *STARTED.get().unwrap();
        let work: Duration = services.iter().sum();
        let had = |took: Duration| took.as_secs_f64() * processes as f64;
        let nth = |start: usize| {
            services
                .iter()
                .skip(start)
                .step_by(processes)
                .sum::<Duration>()
        };
        let fixed = (0..processes).map(nth).max().unwrap();
        println!(
            "{processes} processes, {rows} {} rows of {mean:?}: {:.1} % efficient ({:.0} rows/s; every n-th row to each: {:.1} %)",
            if heavy { "heavy-tailed" } else { "even" },
            100.0 * work.as_secs_f64() / had(took),
            rows as f64 / took.as_secs_f64(),
            100.0 * work.as_secs_f64() / had(fixed),
        );
    }
    ExitCode::SUCCESS
}

/// How long each row takes: `mean` all alike, or log-normal with a deviation of 1, of at most ten times the mean.
fn services(rows: usize, mean: Duration, heavy: bool) -> Vec<Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let mut factor = || {
        let (radius, angle) = (
            (-2.0 * uniform().ln()).sqrt(),
            std::f64::consts::TAU * uniform(),
        );
        // The mean of exp(normal) is exp(1/2).
        (radius * angle.cos() - 0.5).exp().min(10.0)
    };
    let one = |_| mean.mul_f64(if heavy { factor() } else { 1.0 });
    (0..rows).map(one).collect()
}
