//! What the log says.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, OnceLock};

use clipsieve_engine::operator::{OperatorError, Outcome, SourceRow};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::toy::{Toy, good};

/// Keeps what is logged down to debug, `LEVEL field=value … message`, whoever logs it. Other tests do so too: whoever looks
/// here looks for ids of his own.
struct Book;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Subscriber for Book {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("clipsieve") && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        if line.0.contains("stage=logged_") {
            LINES.lock().unwrap().push(line.0);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value}").unwrap();
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

/// What is said of a stage, once this has run the plan.
fn said(toy: &Toy, stage: &str) -> Vec<String> {
    static BOOK: OnceLock<()> = OnceLock::new();
    BOOK.get_or_init(|| tracing::subscriber::set_global_default(Book).unwrap());
    toy.run().unwrap();
    let stage = format!(" stage={stage} ");
    let lines = LINES.lock().unwrap();
    let lines = lines.iter().map(|line| format!("{line} "));
    lines.filter(|line| line.contains(&stage)).collect()
}

fn of_level<'a>(lines: &'a [String], level: &str) -> Vec<&'a String> {
    lines
        .iter()
        .filter(|line| line.starts_with(level))
        .collect()
}

fn named(n: u64) -> SourceRow {
    let mut row = good(n);
    row.row
        .0
        .insert("video_id".to_owned(), json!(format!("v{n}")));
    row
}

#[test]
fn the_first_failures_of_a_stage_are_told_with_the_names_of_their_rows() {
    let mut toy = Toy::new();
    let rows = toy.source_of(|| {
        let mut next = 0..30;
        Box::new(move || Ok(next.next().map(named)))
    });
    let broken = toy.cpu("logged_broken", &[rows], |_, _| {
        Err(OperatorError::bad_input("no such file"))
    });
    let result = toy.tell(&[broken]);
    toy.sink(result);
    let lines = said(&toy, "logged_broken");
    let errors = of_level(&lines, "ERROR");
    let (of_rows, others): (Vec<_>, Vec<_>) =
        errors.into_iter().partition(|line| line.contains(" row=v"));
    assert_eq!((of_rows.len(), others.len()), (10, 1), "{lines:#?}");
    assert!(of_rows[0].contains("no such file"), "{lines:#?}");
    assert!(
        others[0].contains("further ones are in the rows"),
        "{lines:#?}"
    );
    let rest = of_level(&lines, "DEBUG");
    assert_eq!(rest.len(), 20, "{lines:#?}");
    assert!(
        rest.iter()
            .all(|line| line.contains("failed: no such file"))
    );
    let infos = of_level(&lines, "INFO");
    assert_eq!(infos.len(), 1, "{lines:#?}");
    assert!(
        infos[0].contains("30 in, 0 out, 0 skipped, 30 failed in 30 calls; busy "),
        "{lines:#?}"
    );
}

#[test]
fn rows_that_cannot_be_read_are_told_so_too() {
    let mut toy = Toy::new();
    let rows = toy.source_of(|| {
        let mut next = 0..12;
        Box::new(move || {
            Ok(next.next().map(|n| SourceRow {
                problem: Some(OperatorError::bad_input("no such column")),
                ..named(n)
            }))
        })
    });
    toy.tune(rows, |stage| stage.id = "logged_rows".to_owned());
    let result = toy.tell(&[rows]);
    toy.sink(result);
    let lines = said(&toy, "logged_rows");
    assert_eq!(of_level(&lines, "ERROR").len(), 11, "{lines:#?}");
    assert_eq!(of_level(&lines, "DEBUG").len(), 2, "{lines:#?}");
}

#[test]
fn another_attempt_is_told_and_so_is_every_answer_in_detail() {
    let mut toy = Toy::new();
    let rows = toy.source_of(|| {
        let mut next = 0..1;
        Box::new(move || Ok(next.next().map(named)))
    });
    let again = toy.cpu("logged_again", &[rows], |call, _| match call.attempt {
        1 => Err(OperatorError::temporary("busy")),
        _ => Ok(Outcome::value(1_i64)),
    });
    toy.tune(again, |stage| stage.retry.attempts = 2);
    let result = toy.tell(&[again]);
    toy.sink(result);
    let lines = said(&toy, "logged_again");
    let is_told = |level: &str, text: &str| {
        let mut told = of_level(&lines, level).into_iter();
        told.any(|line| line.contains(text))
    };
    assert!(is_told("INFO", "trying again: busy"), "{lines:#?}");
    assert!(is_told("WARN", "recovered from: busy"), "{lines:#?}");
    assert!(is_told("DEBUG", "answered"), "{lines:#?}");
    assert!(
        lines.iter().filter(|line| line.contains("row=v0")).count() == 3,
        "{lines:#?}"
    );
    assert!(
        is_told("INFO", "1 in, 1 out, 0 skipped, 0 failed in 2 calls"),
        "{lines:#?}"
    );
}
