//! Several tables as one.

use std::collections::VecDeque;

use clipsieve_engine::operator::{OperatorError, Source, SourceRow};

use super::{Blob, Format, Intake};

/// More tables than this are not counted before they are read.
const COUNTED: usize = 256;

/// The rows of several tables, one table after another, each opened when the one before it has ended.
pub struct Several {
    now: Option<Box<dyn Source>>,
    later: VecDeque<Opens>,
    total_rows: Option<u64>,
    fingerprint: Option<String>,
}

/// A table that is opened when its turn comes.
pub(super) type Opens = Box<dyn Fn(When) -> Result<Box<dyn Source>, OperatorError> + Send>;

/// When a table is opened.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// With the first one: what is wrong with its columns stops the job before it starts.
    First,
    /// After the rows of others: what is wrong with its columns is told of its rows.
    Later,
}

impl Several {
    /// These tables, in this order. Up to 256 of them are opened once to count their rows, so that a bad one stops the
    /// job before it starts; of more only the first.
    ///
    /// # Errors
    /// `Config` if one that is opened cannot be.
    pub(super) fn new(tables: Vec<Opens>) -> Result<Self, OperatorError> {
        let mut later: VecDeque<Opens> = tables.into();
        let mut total_rows = (later.len() <= COUNTED).then_some(0);
        let mut fingerprint = Some(format!("{} tables", later.len()));
        if total_rows.is_some() {
            for open in &later {
                let table = open(When::First)?;
                let both = total_rows.zip(table.total_rows());
                total_rows = both.map(|(total, rows)| total + rows);
                let both = fingerprint.zip(table.fingerprint());
                fingerprint = both.map(|(all, this)| format!("{all}; {this}"));
            }
        }
        let now = later.pop_front().map(|open| open(When::First));
        let now = now.transpose()?;
        Ok(Self {
            now,
            later,
            total_rows,
            fingerprint,
        })
    }

    /// Files of known formats.
    pub(super) fn files(
        files: Vec<(&'static Format, Blob)>,
        intake: &Intake,
    ) -> Result<Self, OperatorError> {
        let opens = |(format, blob): (&'static Format, Blob)| -> Opens {
            let intake = intake.clone();
            Box::new(move |when| intake.at(when).open(format, &blob))
        };
        Self::new(files.into_iter().map(opens).collect())
    }
}

impl Source for Several {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        while let Some(now) = &mut self.now {
            if let Some(row) = now.next_row()? {
                return Ok(Some(row));
            }
            let next = self.later.pop_front().map(|open| open(When::Later));
            self.now = next.transpose()?;
        }
        Ok(None)
    }

    fn total_rows(&self) -> Option<u64> {
        self.total_rows
    }

    fn fingerprint(&self) -> Option<String> {
        self.fingerprint.clone()
    }
}
