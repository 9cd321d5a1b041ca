//! What ends a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{Delivered, OperatorError, Outcome, Receipt, Sink};
use clipsieve_engine::run::{EXIT_JOB_FAILED, RunErrorKind, RunOptions, run};

use crate::toy::{Toy, good, sleep};

#[test]
fn a_broken_table_ends_the_job() {
    for workers in [1, 3] {
        for panics in [false, true] {
            let mut toy = Toy::new();
            toy.plan.workers = workers;
            let rows = toy.source_of(move || {
                let mut next = 0..;
                Box::new(move || match next.next() {
                    Some(50) if panics => panic!("the reader is broken"),
                    Some(50) => Err(OperatorError::bad_input("the reader is broken")),
                    n => Ok(n.map(good)),
                })
            });
            let slow = toy.cpu("slow", &[rows], |_, _| {
                sleep(1);
                Ok(Outcome::value(1_i64))
            });
            let result = toy.tell(&[slow]);
            let table = toy.sink(result);
            let started = Instant::now();
            let error = toy.run().unwrap_err();
            assert_eq!(error.kind, RunErrorKind::Source);
            assert!(error.to_string().starts_with("stage `rows`: "), "{error}");
            assert!(
                error.to_string().contains("the reader is broken"),
                "{error}"
            );
            assert!(!table.finished());
            assert!(started.elapsed() < Duration::from_secs(2));
        }
    }
}

#[test]
fn a_failed_commit_ends_the_job_while_calls_go_on() {
    let mut toy = Toy::new();
    toy.plan.workers = 2;
    toy.plan.limits.epoch_rows = 4;
    let rows = toy.source(10_000);
    let work = toy.cpu("work", &[rows], |call, _| {
        while call.item.sequence % 50 == 40 && !call.deadline.expired() {
            sleep(1);
        }
        Ok(Outcome::value(1_i64))
    });
    let result = toy.tell(&[work]);
    let table = toy.sink(result);
    table.fail_commit(3);
    let started = Instant::now();
    let error = toy.run().unwrap_err();
    // A supervisor would not begin again after it.
    assert_eq!(error.kind, RunErrorKind::SinkRefused);
    assert_eq!(error.exit_code(), EXIT_JOB_FAILED);
    assert!(
        error.to_string().ends_with("`: the disk is full"),
        "{error}"
    );
    assert_eq!(table.commits().len(), 3, "what was committed stays");
    assert!(!table.finished());
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_stage_that_cannot_warm_up_ends_the_job_before_the_first_row() {
    for panics in [false, true] {
        let touched = Arc::new(AtomicBool::new(false));
        let mut toy = Toy::new();
        let rows = toy.source(10);
        let touch = Arc::clone(&touched);
        let first = toy.cpu("first", &[rows], move |_, _| {
            touch.store(true, Ordering::SeqCst);
            Ok(Outcome::value(1_i64))
        });
        let model = toy.warm("model", &[first], move || {
            assert!(!panics, "no such device");
            Err(OperatorError::config("no such device"))
        });
        let result = toy.tell(&[model]);
        toy.sink(result);
        let error = toy.run().unwrap_err();
        assert_eq!(error.kind, RunErrorKind::WarmUp);
        assert!(error.to_string().starts_with("stage `model`: "), "{error}");
        assert!(error.to_string().contains("no such device"), "{error}");
        assert!(!touched.load(Ordering::SeqCst));
    }
}

#[test]
fn a_stage_that_cannot_be_built_ends_the_job() {
    for panics in [false, true] {
        let mut toy = Toy::new();
        let rows = toy.source(10);
        let spec = toy.plan.graph[rows].spec;
        let broken = toy.stage("broken", spec, &[rows], move |_| {
            assert!(!panics, "no weights");
            Err(OperatorError::config("no weights"))
        });
        toy.plan.graph[broken].spec = {
            let other = toy.add_one("other", rows);
            toy.plan.graph[other].spec
        };
        let result = toy.tell(&[broken]);
        toy.sink(result);
        let error = toy.run().unwrap_err();
        assert_eq!(
            (error.kind, error.stage.as_deref()),
            (RunErrorKind::WarmUp, Some("broken"))
        );
        assert!(error.message.contains("no weights"), "{error}");
    }
}

#[test]
fn a_refused_output_is_told_before_models_are_read() {
    let built = Arc::new(AtomicBool::new(false));
    let mut toy = Toy::new();
    let rows = toy.source(10);
    let other = toy.add_one("other", rows);
    let spec = toy.plan.graph[other].spec;
    let is_built = Arc::clone(&built);
    let model = toy.stage("model", spec, &[rows], move |_| {
        is_built.store(true, Ordering::SeqCst);
        Err(OperatorError::config("no weights"))
    });
    let result = toy.tell(&[model, other]);
    toy.sink(result);
    let sink = *toy.plan.order.last().unwrap();
    let sink = toy.plan.graph[sink].spec;
    toy.stage("refused", sink, &[result], |_| {
        Err(OperatorError::config("no such folder"))
    });
    let error = toy.run().unwrap_err();
    assert_eq!(error.stage.as_deref(), Some("refused"), "{error}");
    assert!(!built.load(Ordering::SeqCst));
}

#[test]
fn an_operator_that_is_not_what_it_says_is_refused() {
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let one = toy.add_one("one", rows);
    toy.tune(one, |stage| {
        stage.placement.executor = clipsieve_engine::operator::Executor::Io
    });
    let result = toy.tell(&[one]);
    toy.sink(result);
    let error = toy.run().unwrap_err();
    assert!(error.message.contains("builds something else"), "{error}");
}

#[test]
fn plans_without_ends_are_refused() {
    let mut toy = Toy::new();
    let rows = toy.source(1);
    toy.tell(&[rows]);
    assert_eq!(
        toy.run().unwrap_err().message,
        "a run needs a source and a sink"
    );
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let result = toy.tell(&[rows]);
    toy.sink(result);
    toy.plan.processes = 2;
    assert!(
        toy.run()
            .unwrap_err()
            .message
            .contains("the launcher has to start them")
    );
}

#[test]
fn futures_that_block_all_threads_end_the_job() {
    let mut toy = Toy::new();
    toy.plan.threads.io = 1;
    let rows = toy.source(3);
    let blocks = toy.io("blocks", &[rows], |_, _| async {
        sleep(6_000);
        Ok(Outcome::value(1_i64))
    });
    toy.tune(blocks, |stage| stage.timeout = Duration::from_millis(50));
    let result = toy.tell(&[blocks]);
    toy.sink(result);
    let started = Instant::now();
    let error = toy.run().unwrap_err();
    assert_eq!(
        (error.kind, error.stage.as_deref()),
        (RunErrorKind::Stuck, Some("blocks"))
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_finish_that_fails_is_an_error() {
    struct Unfinished;
    impl Sink for Unfinished {
        fn resume(&mut self, _: &[Receipt]) -> crate::toy::Result<()> {
            Ok(())
        }
        fn publish(&mut self, _: u64, _: &[Delivered]) -> crate::toy::Result<Receipt> {
            Ok(Receipt::Null)
        }
        fn finish(&mut self, _: &[Receipt]) -> crate::toy::Result<String> {
            Err(OperatorError::config("cannot rename"))
        }
    }
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let result = toy.tell(&[rows]);
    toy.sink(result);
    let sink = *toy.plan.order.last().unwrap();
    let spec = toy.plan.graph[sink].spec;
    let other = toy.stage("unfinished", spec, &[result], |_| {
        Ok(clipsieve_engine::operator::Operator::Sink(Box::new(
            Unfinished,
        )))
    });
    let error = toy.run().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("stage `{}`: cannot rename", toy.plan.graph[other].id)
    );
}

#[test]
fn temporary_files_are_removed_in_the_end() {
    for fails in [false, true] {
        let parent = tempfile::tempdir().unwrap();
        let mut toy = Toy::new();
        let rows = toy.source(3);
        let spec = {
            let other = toy.add_one("other", rows);
            toy.plan.graph[other].spec
        };
        let writes = toy.stage("writes/../it", spec, &[rows], move |context| {
            std::fs::write(context.scratch.join("file"), "text").unwrap();
            match fails {
                true => Err(OperatorError::config("no")),
                false => Err(OperatorError::config("also no")),
            }
        });
        let result = toy.tell(&[writes]);
        toy.sink(result);
        let options = RunOptions {
            scratch: Some(parent.path().to_owned()),
            ..RunOptions::default()
        };
        run(&toy.plan, options).unwrap_err();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
