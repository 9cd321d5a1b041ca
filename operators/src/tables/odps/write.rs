use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_schema::{DataType, SchemaRef};
use clipsieve_engine::operator::OperatorError;
use clipsieve_odps::{Client, Error, ErrorKind, TableUri, Upload, UploadOptions};

use super::note::Note;
use super::{Service, operator_error};
use crate::tables::columns;
use crate::tables::result::COLUMNS;
use crate::tables::spool;

/// Rows that are sent as one block: about so many bytes of them as JSON, since small blocks make small files and a session
/// takes 20,000 of them.
const BLOCK_BYTES: u64 = 48 << 20;
/// How long the sending of a block may hold up a run that is not at its end.
const AHEAD_PATIENCE: Duration = Duration::from_secs(20);
/// How long no block is sent ahead after one that could not be.
const REST: Duration = Duration::from_secs(60);

/// A table of ODPS that is being written to.
///
/// Its rows wait in a file that grows part by part, and the ledger knows how much of that counts. A block is a stretch of
/// the file, [`BLOCK_BYTES`] long, that the ledger has recorded: no crash takes such rows back, so a block never has to be
/// taken back, and one that is sent again under its number replaces itself. Blocks go up while the run goes on; the last
/// one and the commit follow when all rows are in. A [`Note`] beside the file says which session has which stretches, so
/// that a later process goes on with it. A session that is over (they last a day) is followed by a new one, into which the
/// file is sent again.
pub(in crate::tables) struct OdpsTarget {
    service: Service,
    schema: SchemaRef,
    options: UploadOptions,
    block_bytes: u64,
    /// Whether blocks may be sent before all rows are in: the session of a partition that is missing would make it, and
    /// one that is there is taken for done by whoever waits for it.
    ahead: bool,
    rests_until: Option<Instant>,
    /// The session, if there is one, and what it has.
    session: Option<(Upload, Note)>,
    /// What an earlier process noted, until the session is gone on with.
    noted: Option<Note>,
    /// Where notes are kept for a later process, if they are.
    notes: Option<PathBuf>,
    /// Columns in which a value did not fit, and of which that was said.
    misfits: BTreeSet<String>,
}

impl OdpsTarget {
    /// Looks whether the table has the columns of a result row, and whether it may be written to.
    ///
    /// # Errors
    /// `Config` if not.
    pub fn open(
        uri: &str,
        endpoint: Option<&str>,
        options: UploadOptions,
    ) -> Result<Self, OperatorError> {
        Self::of(Service::open(uri, endpoint)?, options)
    }

    fn of(service: Service, options: UploadOptions) -> Result<Self, OperatorError> {
        let schema = service.schema.arrow().map_err(operator_error)?;
        for column in COLUMNS {
            let there = schema.field_with_name(column);
            if !there.is_ok_and(|field| *field.data_type() == DataType::Utf8) {
                let all: Vec<String> = service
                    .schema
                    .columns
                    .iter()
                    .map(|column| format!("{} {}", column.name, column.kind))
                    .collect();
                return Err(OperatorError::config(format!(
                    "{}: a result row needs the column `{column} string`; the table has: {}",
                    service.table,
                    all.join(", ")
                )));
            }
        }
        let client = &service.client;
        let has_partition = || -> Result<bool, Error> {
            if service.table.partition.is_empty() {
                return Ok(true);
            }
            service
                .runtime
                .block_on(client.has_partition(&service.table))
        };
        // A session that is not committed leaves nothing. One that makes the partition would leave that.
        let ahead = has_partition().map_err(operator_error)?;
        if ahead {
            let session = Upload::open(client, &service.table, UploadOptions::default());
            service.runtime.block_on(session).map_err(operator_error)?;
        } else if !options.create_partition {
            return Err(OperatorError::config(format!(
                "{}: there is no such partition; make it, or set `create_partition: true`",
                service.table
            )));
        }
        Ok(Self {
            service,
            schema,
            options,
            block_bytes: BLOCK_BYTES,
            ahead,
            rests_until: None,
            session: None,
            noted: None,
            notes: None,
            misfits: BTreeSet::new(),
        })
    }

    /// Goes on with what the note in this file tells of the first `recorded` bytes of rows, and keeps notes there. A new
    /// run has recorded none, and what an earlier one noted was of other rows.
    ///
    /// # Errors
    /// The disk's.
    pub fn resume(&mut self, notes: PathBuf, recorded: u64) -> io::Result<()> {
        if recorded == 0 {
            Note::remove(&notes)?;
        } else {
            self.noted = Note::read(&notes)?.filter(|note| note.sent() <= recorded);
        }
        self.notes = Some(notes);
        Ok(())
    }

    /// Sends a block of the rows that have been recorded, if there is enough for one. What may pass is left for later:
    /// the rows are on the disk.
    ///
    /// # Errors
    /// What will not pass: a key that is refused, say.
    pub fn send_ahead(&mut self, rows: &Path, recorded: u64) -> Result<(), OperatorError> {
        let now = Instant::now();
        let rests = self.rests_until.is_some_and(|until| now < until);
        let sent = match (&self.session, &self.noted) {
            (Some((_, note)), _) | (None, Some(note)) => note.sent(),
            (None, None) => 0,
        };
        if !self.ahead || rests || recorded < sent + self.block_bytes {
            return Ok(());
        }
        match self.send_block(rows, recorded, Some(AHEAD_PATIENCE)) {
            Err(Trouble::Service(error)) if is_over(&error) => self.session = None,
            Err(Trouble::Service(error)) if !error.is_temporary() => {
                return Err(operator_error(error));
            }
            Err(Trouble::Here(error)) if !error.kind.is_temporary() => return Err(error),
            Err(trouble) => {
                tracing::warn!(
                    "rows are sent to {} later, and wait on the disk: {trouble}",
                    self.service.table
                );
                self.rests_until = Some(now + REST);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Sends what has not been sent of the first `bytes` of the rows, and commits all of it at once. Returns where they
    /// are, for people.
    ///
    /// The note says from before the commit that there may be one: a process that is killed there is followed by one that
    /// does this again, and must not add the rows a second time.
    ///
    /// # Errors
    /// What the server answered; nothing of the rows is visible then.
    pub fn finish(&mut self, rows: &Path, bytes: u64) -> Result<String, OperatorError> {
        let place = self.service.table.to_string();
        if self.was_committed()? {
            return Ok(place);
        }
        let mut begun_again = false;
        loop {
            let sent = self
                .session
                .as_ref()
                .map(|(_, note)| (note.sent(), note.ends.len()));
            if sent.is_some_and(|(sent, blocks)| sent == bytes && blocks > 0) {
                break;
            }
            match self.send_block(rows, bytes, None) {
                Ok(()) => {}
                Err(Trouble::Service(error)) if is_over(&error) && !begun_again => {
                    tracing::warn!("begun again: {error}");
                    (self.session, begun_again) = (None, true);
                }
                Err(Trouble::Service(error)) => return Err(operator_error(error)),
                Err(Trouble::Here(error)) => return Err(error),
            }
        }
        let Some((upload, note)) = &mut self.session else {
            return Err(OperatorError::internal("no session was begun"));
        };
        note.committing = true;
        note.keep(self.notes.as_deref())?;
        let Service {
            runtime, client, ..
        } = &self.service;
        runtime
            .block_on(upload.commit(client, note.ends.len() as u64))
            .map_err(operator_error)?;
        Ok(place)
    }

    /// Sends the next block of the rows, at most to `end`.
    fn send_block(
        &mut self,
        rows: &Path,
        end: u64,
        patience: Option<Duration>,
    ) -> Result<(), Trouble> {
        self.begin(patience)?;
        let Some((upload, note)) = &mut self.session else {
            return Err(Trouble::Here(OperatorError::internal(
                "no session was begun",
            )));
        };
        let (from, schema, table) = (note.sent(), &self.schema, &self.service.table);
        let misfits = &mut self.misfits;
        let (mut to, mut batches) = (from, Vec::new());
        if from < end {
            let mut file = File::open(rows)?;
            let at_once = spool::BATCH_BYTES.min(self.block_bytes as usize);
            spool::each_batch(&mut file, from..end, at_once, |rows, at| {
                let unfit = |column: &str, why: String| {
                    if misfits.insert(column.to_owned()) {
                        tracing::warn!("{table}: {why}; null is written there and in rows like it");
                    }
                };
                let batch = columns::batch(schema, rows, unfit).map_err(OperatorError::internal)?;
                batches.push(batch);
                to = at;
                Ok::<_, Trouble>(to - from < self.block_bytes)
            })?;
        } else {
            // A table without rows has a block without rows.
            let none = columns::batch(schema, &[], |_, _| {});
            batches.push(none.map_err(OperatorError::internal)?);
        }
        let Service {
            runtime, client, ..
        } = &self.service;
        let number = note.ends.len() as u64;
        runtime.block_on(within(patience, upload.block(client, number, &batches)))?;
        note.ends.push(to);
        note.keep(self.notes.as_deref())?;
        Ok(())
    }

    /// Sees to it that there is a session: the one that an earlier process noted, if it still has what was sent, or a new
    /// one.
    fn begin(&mut self, patience: Option<Duration>) -> Result<(), Trouble> {
        if self.session.is_some() {
            return Ok(());
        }
        let Service {
            runtime,
            client,
            table,
            ..
        } = &self.service;
        let gone_on = match &self.noted {
            Some(note) => runtime.block_on(within(patience, go_on(client, table, note)))?,
            None => None,
        };
        let session = match gone_on.zip(self.noted.take()) {
            Some(session) => session,
            None => {
                let opened = Upload::open(client, table, self.options);
                let upload = runtime.block_on(within(patience, opened))?;
                let note = Note::new(upload.id());
                note.keep(self.notes.as_deref())?;
                (upload, note)
            }
        };
        self.session = Some(session);
        Ok(())
    }

    /// Whether these rows were committed before, or could have been: that is done now then.
    fn was_committed(&mut self) -> Result<bool, OperatorError> {
        let known = self.session.as_ref().map(|(_, note)| note);
        let Some(note) = known.or(self.noted.as_ref()).filter(|note| note.committing) else {
            return Ok(false);
        };
        let Service {
            runtime,
            client,
            table,
            ..
        } = &self.service;
        let done = runtime.block_on(async {
            let upload = Upload::resume(client, table, &note.session).await?;
            let blocks = note.ends.len() as u64;
            if !upload.was_committed() && !upload.has(client, blocks).await? {
                return Ok(false);
            }
            upload.commit(client, blocks).await.map(|()| true)
        });
        match done {
            Ok(true) => Ok(true),
            // It lost what was sent, and so it was not committed either.
            Ok(false) => {
                (self.session, self.noted) = (None, None);
                Ok(false)
            }
            Err(error) if error.is_temporary() => Err(operator_error(error)),
            // Rows that replace others may come twice.
            Err(error) if self.options.overwrite && is_over(&error) => {
                (self.session, self.noted) = (None, None);
                Ok(false)
            }
            Err(error) if is_over(&error) => {
                let help = match &self.notes {
                    Some(notes) => format!("if not, remove {} to send them again", notes.display()),
                    None => "if not, run this again".to_owned(),
                };
                Err(OperatorError::config(format!(
                    "{table}: session {} was being committed when an attempt ended, and what became of it cannot be told any more ({error}); look whether the rows are there; {help}",
                    note.session
                )))
            }
            Err(error) => Err(operator_error(error)),
        }
    }
}

/// The session of a note, unless it is over or does not have what was sent.
async fn go_on(client: &Client, table: &TableUri, note: &Note) -> Result<Option<Upload>, Error> {
    let upload = match Upload::resume(client, table, &note.session).await {
        Ok(upload) => upload,
        Err(error) if is_over(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = upload.has(client, note.ends.len() as u64).await?;
    Ok(whole.then_some(upload))
}

/// Whether a session cannot be gone on with, and a new one can be begun.
fn is_over(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Expired | ErrorKind::NotFound)
}

async fn within<T>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Trouble> {
    let Some(patience) = patience else {
        return Ok(work.await?);
    };
    match tokio::time::timeout(patience, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Trouble::Here(OperatorError::temporary(format!(
            "the service did not answer within {} s",
            patience.as_secs()
        )))),
    }
}

/// Why a block was not sent.
enum Trouble {
    /// What the service answered.
    Service(Error),
    /// Something of ours: the disk, a row that does not fit.
    Here(OperatorError),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Service(error) => error.fmt(f),
            Trouble::Here(error) => f.write_str(&error.full_message()),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Service(error)
    }
}

/// Of the file of rows.
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let message = format!("rows that were kept are gone: {error}");
        Trouble::Here(OperatorError::temporary(message))
    }
}

impl From<OperatorError> for Trouble {
    fn from(error: OperatorError) -> Self {
        Trouble::Here(error)
    }
}

#[cfg(test)]
mod tests;
