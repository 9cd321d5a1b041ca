use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::io_error;
use super::hold::{self, Hold};
use super::{Difference, Identity, LedgerError, Record, Shelf, Standing};
use crate::random;

const ABOUT: &str = "run.json";
const JOURNAL: &str = "journal.jsonl";
/// The form of the files; a ledger of another form is refused.
const FORM: u32 = 1;
/// How long it may be since the holder was seen to be ours, when a record is written.
const TRUST: Duration = Duration::from_secs(5);

/// What `run.json` holds.
#[derive(Serialize, Deserialize)]
struct About {
    form: u32,
    run: String,
    identity: Identity,
}

/// The ledger of a run, open.
pub struct Ledger {
    shelf: Arc<dyn Shelf>,
    token: String,
    seen: Instant,
    run: String,
    identity: Identity,
    standing: Standing,
    /// Length of the journal in bytes, without a torn end.
    length: u64,
    /// Whether there may be something beyond that length.
    torn: bool,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({}, run {})", self.shelf.place(), self.run)
    }
}

impl Ledger {
    /// Opens the ledger that `hold` holds for a run of this identity; a new one is made if there is none.
    ///
    /// # Errors
    /// [`LedgerError::Changed`] if it is of another pipeline and the changes are not accepted; what else keeps it from
    /// being used.
    pub fn open(
        hold: &Hold,
        identity: impl FnOnce(Option<&Identity>) -> Result<Identity, String>,
        accept_changes: bool,
    ) -> Result<Self, LedgerError> {
        let shelf = hold.shelf();
        let Some(mut ledger) = Self::read(&shelf, hold.token())? else {
            let identity = identity(None).map_err(LedgerError::Unreadable)?;
            let about = About {
                form: FORM,
                run: random::token().map_err(|error| io_error(&*shelf, error))?,
                identity,
            };
            let written = serde_json::to_vec_pretty(&about)
                .map_err(io::Error::from)
                .and_then(|bytes| {
                    // A journal without a run is of a ledger whose removal was cut short.
                    shelf.remove(JOURNAL)?;
                    shelf.write(ABOUT, &bytes)
                });
            written.map_err(|error| io_error(&*shelf, error))?;
            return Ok(Self {
                token: hold.token().to_owned(),
                shelf,
                seen: Instant::now(),
                run: about.run,
                identity: about.identity,
                standing: Standing::default(),
                length: 0,
                torn: false,
            });
        };
        let now = identity(Some(&ledger.identity)).map_err(LedgerError::Unreadable)?;
        if !accept_changes {
            ledger.check(&now)?;
        }
        let differences = ledger.identity.differences(&now);
        if !differences.is_empty() {
            ledger.record(Record::Accepted {
                differences,
                identity: now.clone(),
            })?;
            ledger.identity = now;
        }
        Ok(ledger)
    }

    /// Opens a ledger that somebody else (a supervisor) holds with this token, and lends.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
    pub fn lent(shelf: &Arc<dyn Shelf>, token: &str) -> Result<Self, LedgerError> {
        Self::read(shelf, token)?.ok_or_else(|| LedgerError::Damaged {
            place: shelf.place(),
            what: format!("{ABOUT} is missing"),
        })
    }

    /// Checks that what is run now is what the ledger is of.
    ///
    /// # Errors
    /// [`LedgerError::Changed`] if it is not.
    pub fn check(&self, now: &Identity) -> Result<(), LedgerError> {
        let differences = self.identity.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        Err(LedgerError::Changed {
            place: self.place(),
            differences,
        })
    }

    fn read(shelf: &Arc<dyn Shelf>, token: &str) -> Result<Option<Self>, LedgerError> {
        let failed = |error| io_error(&**shelf, error);
        let damaged = |what: String| LedgerError::Damaged {
            place: shelf.place(),
            what,
        };
        let Some(bytes) = shelf.read(ABOUT).map_err(failed)? else {
            return Ok(None);
        };
        let about: About =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("{ABOUT}: {error}")))?;
        if about.form != FORM {
            return Err(damaged(format!(
                "it has form {}, this program writes form {FORM}",
                about.form
            )));
        }
        let bytes = shelf.read(JOURNAL).map_err(failed)?.unwrap_or_default();
        let mut standing = Standing::default();
        let mut identity = about.identity;
        let mut length = 0;
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let is_whole = line.ends_with(b"\n");
            let is_last = length + line.len() == bytes.len();
            let record: Record = match serde_json::from_slice(line) {
                Ok(record) if is_whole => record,
                Err(error) if !is_last => {
                    return Err(damaged(format!("{JOURNAL}, line {}: {error}", number + 1)));
                }
                // A crash tore the last line: it was never answered for.
                _ => break,
            };
            if let Record::Accepted { identity: now, .. } = &record {
                identity = now.clone();
            }
            standing
                .add(record)
                .map_err(|what| damaged(format!("{JOURNAL}, line {}: {what}", number + 1)))?;
            length += line.len();
        }
        let ledger = Self {
            shelf: Arc::clone(shelf),
            token: token.to_owned(),
            seen: Instant::now(),
            run: about.run,
            identity,
            standing,
            length: length as u64,
            torn: length < bytes.len(),
        };
        ledger.check_holder()?;
        Ok(Some(ledger))
    }

    /// Writes a record; it is on disk when this returns.
    ///
    /// # Errors
    /// The ledger is not ours any more, or cannot be written to; nothing is recorded then, and it may be tried again.
    pub fn record(&mut self, record: Record) -> Result<(), LedgerError> {
        if self.seen.elapsed() > TRUST {
            self.check_holder()?;
            self.seen = Instant::now();
        }
        let shelf = &*self.shelf;
        let append = |torn: bool, length: u64| {
            if torn {
                shelf.cut(JOURNAL, length)?;
            }
            let mut line = serde_json::to_vec(&record)?;
            line.push(b'\n');
            shelf.append(JOURNAL, &line)?;
            Ok(line.len() as u64)
        };
        let appended = append(self.torn, self.length);
        self.torn = appended.is_err();
        self.length += appended.map_err(|error| io_error(shelf, error))?;
        let place = shelf.place();
        self.standing
            .add(record)
            .map_err(|what| LedgerError::Damaged { place, what })
    }

    /// Records what the input is, or checks that it is what it was.
    ///
    /// # Errors
    /// It is another one.
    pub fn input(&mut self, fingerprint: Option<String>) -> Result<(), LedgerError> {
        match &self.standing.input {
            None => self.record(Record::Input { fingerprint }),
            Some(before) if *before == fingerprint => Ok(()),
            Some(before) => Err(LedgerError::OtherInput {
                place: self.shelf.place(),
                difference: Box::new(Difference {
                    path: "input".to_owned(),
                    before: before.clone(),
                    now: fingerprint,
                }),
            }),
        }
    }

    /// What the journal comes to.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What the run is of.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.shelf.place()
    }

    fn check_holder(&self) -> Result<(), LedgerError> {
        let holder = hold::read(&*self.shelf).map_err(|error| io_error(&*self.shelf, error))?;
        if holder.is_some_and(|holder| holder.token == self.token) {
            return Ok(());
        }
        Err(LedgerError::Lost {
            place: self.shelf.place(),
        })
    }
}

/// Takes the records of a run away, for a new one. The holder stays.
///
/// # Errors
/// The place cannot be written to.
pub(super) fn wipe(shelf: &dyn Shelf) -> Result<(), LedgerError> {
    // The run first: a journal without one is none.
    let wiped = shelf.remove(ABOUT).and_then(|()| shelf.remove(JOURNAL));
    wiped.map_err(|error| io_error(shelf, error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::folder;
    use super::*;

    #[test]
    fn who_is_lent_a_ledger_can_tell_that_the_pipeline_changed() {
        let place = tempfile::tempdir().unwrap();
        let hold = Hold::take(folder(place.path())).unwrap();
        let with = |frames: &str| {
            let path = "stages.clip.with.frames".to_owned();
            Identity {
                settings: BTreeMap::from([(path, frames.to_owned())]),
                ..Identity::default()
            }
        };
        Ledger::open(&hold, |_| Ok(with("48")), false).unwrap();
        let lent = Ledger::lent(&hold.shelf(), hold.token()).unwrap();
        lent.check(lent.identity()).unwrap();
        let changed = lent.check(&with("16")).unwrap_err().to_string();
        assert!(
            changed.contains("stages.clip.with.frames: 48 became 16"),
            "{changed}"
        );
    }
}
