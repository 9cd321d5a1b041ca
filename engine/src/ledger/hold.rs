//! Who works on a ledger.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::io_error;
use super::journal::wipe;
use super::{LedgerError, Shelf};
use crate::lock::lock;
use crate::process::{self, Identity};
use crate::random;

const HOLDER: &str = "holder.json";
/// How often a holder gives a sign of life.
const BEAT: Duration = Duration::from_secs(3);
/// A holder of another machine that gives no sign of life for so long is gone.
pub const STALE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);

/// Who holds a ledger, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Nobody else has it.
    pub token: String,
    /// The machine's name.
    pub host: String,
    /// The process.
    process: Identity,
    /// Since when, UTC.
    pub since: String,
    /// Goes up with every sign of life.
    beat: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} on {} since {}",
            self.process.pid, self.host, self.since
        )
    }
}

impl Holder {
    fn this() -> io::Result<Self> {
        Ok(Self {
            token: random::token()?,
            host: process::hostname(),
            process: Identity::this(),
            since: process::now(),
            beat: 0,
        })
    }
}

/// A ledger that is held, until it is dropped. A thread gives the signs of life.
pub struct Hold {
    shelf: Arc<dyn Shelf>,
    holder: Holder,
    stop: Arc<(Mutex<bool>, Condvar)>,
    lost: Arc<AtomicBool>,
    beating: Option<JoinHandle<()>>,
}

impl Hold {
    /// Takes the ledger on this shelf. May wait for [`STALE`] to see whether a holder on another machine is alive.
    ///
    /// # Errors
    /// [`LedgerError::Held`] if somebody else has it; the place cannot be used.
    pub fn take(shelf: Arc<dyn Shelf>) -> Result<Self, LedgerError> {
        Self::take_within(shelf, STALE)
    }

    fn take_within(shelf: Arc<dyn Shelf>, stale: Duration) -> Result<Self, LedgerError> {
        let failed = |error| io_error(&*shelf, error);
        let me = Holder::this().map_err(failed)?;
        let bytes = serde_json::to_vec(&me).map_err(|error| failed(error.into()))?;
        while !shelf.create(HOLDER, &bytes).map_err(failed)? {
            let Some(other) = read(&*shelf).map_err(failed)? else {
                continue;
            };
            if lives(&*shelf, &other, stale).map_err(failed)? {
                return Err(LedgerError::Held {
                    place: shelf.place(),
                    holder: Box::new(other),
                });
            }
            push_out(&*shelf, &other).map_err(failed)?;
        }
        let stop = Arc::<(Mutex<bool>, Condvar)>::default();
        let lost = Arc::<AtomicBool>::default();
        let beating = std::thread::Builder::new().name("clipsieve-hold".to_owned());
        let beating = beating.spawn({
            let (shelf, stop, lost) = (Arc::clone(&shelf), Arc::clone(&stop), Arc::clone(&lost));
            let me = me.clone();
            move || beat(&*shelf, me, &stop, &lost)
        });
        Ok(Self {
            beating: Some(beating.map_err(|error| io_error(&*shelf, error))?),
            shelf,
            holder: me,
            stop,
            lost,
        })
    }

    /// Whether somebody else has taken the ledger, since this process gave no sign of life for too long.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What proves that it is held.
    pub fn token(&self) -> &str {
        &self.holder.token
    }

    /// The shelf.
    pub fn shelf(&self) -> Arc<dyn Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Takes the records of an earlier run away.
    ///
    /// # Errors
    /// The place cannot be written to.
    pub fn wipe(&self) -> Result<(), LedgerError> {
        wipe(&*self.shelf)
    }

    /// Lets go of the ledger and removes it.
    ///
    /// # Errors
    /// The place cannot be written to.
    pub fn clear(mut self) -> Result<(), LedgerError> {
        self.stop_beating();
        wipe(&*self.shelf)?;
        let cleared = self.shelf.clear();
        cleared.map_err(|error| io_error(&*self.shelf, error))
    }

    fn stop_beating(&mut self) {
        let Some(thread) = self.beating.take() else {
            return;
        };
        let (stopped, wake) = &*self.stop;
        *lock(stopped) = true;
        wake.notify_all();
        // It panics only by a bug, and the hold ends.
        let _ = thread.join();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.beating.is_none() {
            return;
        }
        self.stop_beating();
        let ours = read(&*self.shelf)
            .ok()
            .flatten()
            .is_some_and(|holder| holder.token == self.holder.token);
        if ours {
            // A holder that stays behind is found to be dead.
            let _ = self.shelf.remove(HOLDER);
        }
    }
}

fn beat(shelf: &dyn Shelf, mut me: Holder, stop: &(Mutex<bool>, Condvar), lost: &AtomicBool) {
    let (stopped, wake) = stop;
    let mut is_stopped = lock(stopped);
    loop {
        is_stopped = wake
            .wait_timeout(is_stopped, BEAT)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        if *is_stopped {
            return;
        }
        match read(shelf) {
            Ok(Some(holder)) if holder.token == me.token => {}
            Ok(_) => {
                lost.store(true, Ordering::Relaxed);
                return;
            }
            // A place that cannot be read now may be read in a moment.
            Err(_) => continue,
        }
        me.beat += 1;
        if let Ok(bytes) = serde_json::to_vec(&me) {
            // Missing one is no harm; whoever writes a record finds out whether it may.
            let _ = shelf.write(HOLDER, &bytes);
        }
    }
}

/// Whether a holder is alive: by its process, or by its signs of life if that is on another machine.
fn lives(shelf: &dyn Shelf, holder: &Holder, stale: Duration) -> io::Result<bool> {
    if let Some(lives) = holder.process.lives() {
        return Ok(lives);
    }
    tracing::warn!(
        "the ledger {} is held by {holder}; waiting {stale:?} for a sign of life",
        shelf.place()
    );
    let until = Instant::now() + stale;
    while Instant::now() < until {
        std::thread::sleep(POLL.min(stale));
        if read(shelf)?.as_ref() != Some(holder) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the file of a dead holder away. Of several who try, one does it; a holder that came in between is put back.
fn push_out(shelf: &dyn Shelf, dead: &Holder) -> io::Result<()> {
    let aside = format!("holder-{}.json", random::token()?);
    if !shelf.rename(HOLDER, &aside)? {
        return Ok(());
    }
    if let Some(bytes) = shelf.read(&aside)? {
        let moved = serde_json::from_slice::<Holder>(&bytes).ok();
        if moved.is_some_and(|moved| moved.token != dead.token) {
            shelf.create(HOLDER, &bytes)?;
        }
    }
    shelf.remove(&aside)
}

/// Who holds the ledger now.
pub(super) fn read(shelf: &dyn Shelf) -> io::Result<Option<Holder>> {
    let Some(bytes) = shelf.read(HOLDER)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{HOLDER} holds something else ({error}); remove it if no run is on"),
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::folder;
    use super::*;

    #[test]
    fn only_one_holds_a_ledger_and_a_dead_one_loses_it() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ledger");
        let hold = Hold::take(folder(&path)).unwrap();
        let refused = Hold::take(folder(&path)).err().unwrap();
        let text = refused.to_string();
        assert!(
            text.contains(&format!(
                "process {} on {}",
                std::process::id(),
                process::hostname()
            )),
            "{text}"
        );
        drop(hold);
        let mut dead = Holder::this().unwrap();
        dead.process = dead.process.dead();
        let shelf = folder(&path);
        let bytes = serde_json::to_vec(&dead).unwrap();
        assert!(shelf.create(HOLDER, &bytes).unwrap());
        Hold::take(folder(&path)).unwrap().clear().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_holder_elsewhere_is_watched() {
        let temporary = tempfile::tempdir().unwrap();
        let shelf = folder(temporary.path().join("ledger"));
        let mut other = Holder::this().unwrap();
        other.process = other.process.elsewhere();
        shelf
            .create(HOLDER, &serde_json::to_vec(&other).unwrap())
            .unwrap();
        std::thread::scope(|scope| {
            let first =
                scope.spawn(|| Hold::take_within(Arc::clone(&shelf), Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(200));
            other.beat += 1;
            shelf
                .write(HOLDER, &serde_json::to_vec(&other).unwrap())
                .unwrap();
            let refused = first.join().unwrap().err().unwrap();
            assert!(matches!(refused, LedgerError::Held { .. }), "{refused}");
        });
        Hold::take_within(shelf, Duration::from_millis(20)).unwrap();
    }
}
