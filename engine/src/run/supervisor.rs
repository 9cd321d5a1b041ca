//! The process that starts the processes of a run, watches them, and starts them again.
//!
//! timely shares fate: when one process is gone, the others cannot go on. So the supervisor takes them all down and starts them
//! again, and the ledger says from where. It watches for three things: a process that ended, one that is stopped, and
//! one that gives no sign of life; the last two would leave timely waiting for ever. Processes die with their supervisor, however
//! it ends, because the kernel is asked to see to that.
//!
//! A row that is being worked on at two deaths is suspected, and all such rows are worked on alone, one after the
//! other, in a fresh process. If that dies too, the row it was at is the one that kills: its result row says so, and nobody
//! works on it again. Rows that were only near a death come to their result that way.
//!
//! Restarts are not bounded in number but in vain: after [`Supervision::max_restarts`] of them in a row without a single
//! row committed the run ends. It can be continued even then.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::board::Asked;
use super::children::{Cause, Children, Crew, Ended, Fall};
use super::cluster::Lent;
use super::error::{EXIT_JOB_FAILED, EXIT_STOPPED};
use super::fleet::{Master, Muster};
use super::patience::{Patience, pause};
use super::{RunError, RunErrorKind};
use crate::ledger::{Hold, Ledger, LedgerError, Record, Verdict, Working};
use crate::operator::units::counted;
use crate::process;
use crate::random;

/// At how many deaths a row has to be worked on to be suspected.
const SUSPECT: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(10);
/// How long processes may take to commit what is done when they are to stop at once.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a run is watched over.
pub struct Supervision<'a> {
    /// How many processes.
    pub processes: usize,
    /// The folder under which they make temporary files.
    pub scratch: &'a Path,
    /// The ledger, if the run has one; without it nothing is started again.
    pub ledger: Option<HeldLedger>,
    /// The ids of the plan's stages, in its order.
    pub stages: Vec<String>,
    /// Restarts in a row without a row committed, before the run is given up.
    pub max_restarts: u32,
    /// How long a process may give no sign of life.
    pub silence: Duration,
    /// What somebody outside wants of the run; asked often.
    pub asked: &'a dyn Fn() -> Asked,
    /// The other machines, if there are some; this one is their master.
    pub fleet: Option<RefCell<Master>>,
    /// Which of its machine's processes the first one is, where several supervisors share a machine.
    pub local: usize,
}

/// A ledger and where its processes find it.
pub struct HeldLedger {
    /// The hold on it.
    pub hold: Hold,
    /// What is lent to process 0.
    pub lent: Lent,
}

impl Supervision<'_> {
    /// Starts this program again with the same arguments, as the processes of the run, until the run is at its end.
    /// Returns the exit code of process 0.
    ///
    /// # Errors
    /// A process could not be started; one died, and the run cannot be or was not to be continued.
    pub fn run(&self) -> Result<i32, RunError> {
        self.run_with(&mut again()?)
    }

    /// The same with commands of the caller's making, one for each process.
    ///
    /// # Errors
    /// As [`Supervision::run`].
    pub fn run_with(&self, command: &mut dyn FnMut(usize) -> Command) -> Result<i32, RunError> {
        let ended = self.go_on(command);
        if let Some(fleet) = &self.fleet {
            let code = ended.as_ref().copied().unwrap_or(EXIT_JOB_FAILED);
            fleet.borrow_mut().over(code);
        }
        ended
    }

    fn go_on(&self, command: &mut dyn FnMut(usize) -> Command) -> Result<i32, RunError> {
        let mut vain = 0;
        let mut gained = self.gained()?;
        loop {
            self.record(&Record::Attempt {
                at: process::now(),
                processes: self.processes,
            })?;
            let fall = match self.attempt(self.processes, None, command)? {
                Ended::Through(code) => return Ok(code),
                Ended::Fell(fall) => fall,
            };
            let told = format!("process {} {}", fall.process, fall.how);
            // What a process says itself is wrong would be wrong again.
            if self.ledger.is_none() || fall.cause == Cause::Failed {
                return Err(cluster(format!("{told}, and the run ended with it")));
            }
            if (self.asked)() != Asked::GoOn {
                tracing::warn!("{told}");
                return Ok(EXIT_STOPPED);
            }
            self.bury(&fall)?;
            let now = self.gained()?;
            vain = if now > gained { 0 } else { vain + 1 };
            gained = now;
            let (rows, _) = now;
            if vain > self.max_restarts {
                return Err(cluster(format!(
                    "{told}; {vain} attempts in a row came to nothing, so the run is given up; {rows} rows are done, and running it again goes on behind them"
                )));
            }
            let (pause, when) = match vain {
                0 => (Duration::ZERO, "at once".to_owned()),
                vain => {
                    let pause = pause(FIRST_PAUSE, vain);
                    (pause, format!("in {pause:.1?}"))
                }
            };
            tracing::warn!("{told}; {rows} rows are done, going on {when}");
            if !self.wait(pause) || !self.try_suspects(command)? {
                return Ok(EXIT_STOPPED);
            }
        }
    }

    /// One attempt, to its end.
    fn attempt(
        &self,
        processes: usize,
        only: Option<&BTreeSet<u64>>,
        command: &mut dyn FnMut(usize) -> Command,
    ) -> Result<Ended, RunError> {
        let failed = |error: io::Error| {
            cluster(format!(
                "the processes of the run cannot be started or waited for: {error}"
            ))
        };
        // Rows are tried alone on this machine.
        let fleet = self.fleet.as_ref().filter(|_| only.is_none());
        let go_on = || (self.asked)() == Asked::GoOn;
        let muster = match fleet {
            Some(fleet) => match fleet.borrow_mut().muster(processes, &go_on)? {
                Some(muster) => muster,
                None => return Ok(Ended::Through(EXIT_STOPPED)),
            },
            None => Muster {
                hosts: Vec::new(),
                listeners: Vec::new(),
                token: random::token().map_err(failed)?,
            },
        };
        let _down = Down(fleet);
        let crew = Crew {
            count: processes,
            first: 0,
            local: self.local,
            hosts: muster.hosts,
            listeners: muster.listeners,
            token: muster.token,
            ledger: self.ledger.as_ref().map(|ledger| &ledger.lent),
            only,
            scratch: self.scratch,
            silence: self.silence,
        };
        let mut children = Children::start(crew, command).map_err(failed)?;
        let mut stop_by: Option<Instant> = None;
        loop {
            if let Some(ended) = children.look().map_err(failed)? {
                return Ok(ended);
            }
            // The others are to hear from here while rows are tried alone, too.
            let elsewhere = self.fleet.as_ref().map(|fleet| fleet.borrow_mut().look());
            if let Some(fall) = elsewhere.flatten() {
                return Ok(Ended::Fell(fall));
            }
            let asked = (self.asked)();
            children.ask(asked);
            if asked == Asked::Stop {
                let by = *stop_by.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if Instant::now() > by {
                    return Ok(Ended::Through(EXIT_STOPPED));
                }
            }
            if self
                .ledger
                .as_ref()
                .is_some_and(|ledger| ledger.hold.is_lost())
            {
                return Err(RunError::new(
                    RunErrorKind::Ledger,
                    "the ledger was taken over by another run, since this one gave no sign of life",
                ));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Works on all suspected rows alone. `false` if the run is to end meanwhile.
    fn try_suspects(&self, command: &mut dyn FnMut(usize) -> Command) -> Result<bool, RunError> {
        loop {
            let standing = self.with_ledger(|ledger| Ok(ledger.standing().clone()))?;
            let suspects: BTreeMap<u64, (u32, String)> = standing
                .deaths
                .into_iter()
                .filter(|(row, (deaths, _))| {
                    *deaths >= SUSPECT && !standing.verdicts.contains_key(row)
                })
                .collect();
            let only: BTreeSet<u64> = suspects.keys().copied().collect();
            let Some(first) = only.first().copied() else {
                return Ok(true);
            };
            tracing::warn!(
                "{} that were being worked on at several deaths are tried alone",
                counted(only.len(), "row")
            );
            let fall = match self.attempt(1, Some(&only), command)? {
                Ended::Through(0) if (self.asked)() == Asked::GoOn => continue,
                Ended::Through(0 | EXIT_STOPPED) => return Ok(false),
                // It has said itself what is wrong, and it would say so again.
                Ended::Through(_) => {
                    return Err(cluster("rows cannot be tried alone".to_owned()));
                }
                Ended::Fell(fall) => fall,
            };
            if (self.asked)() != Asked::GoOn {
                return Ok(false);
            }
            // It has said itself that something else than a row is in its way. All rows are tried again then, and that in
            // vain ends the run.
            let Cause::Died(marks) = &fall.cause else {
                tracing::warn!("rows could not be tried alone: the process {}", fall.how);
                return Ok(true);
            };
            // If it died between calls: of the first row, as far as can be told.
            let row = marks.first().map_or(first, |(row, _)| *row);
            let stage = marks.last().map_or_else(
                || suspects.get(&row).map(|(_, stage)| stage.clone()),
                |(_, rank)| self.stages.get(*rank).cloned(),
            );
            let deaths = suspects.get(&row).map_or(0, |(deaths, _)| *deaths) + 1;
            let verdict = Verdict {
                row,
                stage: stage.unwrap_or_default(),
                how: fall.how,
                deaths,
            };
            tracing::warn!(
                row,
                "a row kills the process that works on it ({}, stage `{}`); its result row says so",
                verdict.how,
                verdict.stage
            );
            self.record(&Record::Verdict(verdict))?;
        }
    }

    fn bury(&self, fall: &Fall) -> Result<(), RunError> {
        let working = fall.marks().iter().map(|(row, rank)| Working {
            row: *row,
            stage: self.stages.get(*rank).cloned().unwrap_or_default(),
        });
        self.record(&Record::Death {
            how: fall.how.clone(),
            working: working.collect(),
        })
    }

    /// Waits, unless the run is to end.
    fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if (self.asked)() != Asked::GoOn {
                return false;
            }
            if let Some(fleet) = &self.fleet {
                fleet.borrow_mut().look();
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// Works with the ledger as it is now, again and again while the trouble may pass. No process of the run has it open
    /// meanwhile. Nothing is done if the run has none.
    fn with_ledger<T: Default>(
        &self,
        work: impl Fn(&mut Ledger) -> Result<T, LedgerError>,
    ) -> Result<T, RunError> {
        let Some(HeldLedger { hold, .. }) = &self.ledger else {
            return Ok(T::default());
        };
        let mut patience = Patience::new();
        // It knows what of a record that failed has to be taken away.
        let mut ledger = None;
        loop {
            let worked = match &mut ledger {
                Some(ledger) => work(ledger),
                None => Ledger::lent(&hold.shelf(), hold.token())
                    .and_then(|opened| work(ledger.insert(opened))),
            };
            let error = match worked {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let pause = patience.pause().filter(|_| error.is_temporary());
            let Some(pause) = pause else {
                return Err(error.into());
            };
            tracing::warn!("trying again: {error}");
            if !self.wait(pause) {
                return Err(error.into());
            }
        }
    }

    fn record(&self, record: &Record) -> Result<(), RunError> {
        self.with_ledger(|ledger| ledger.record(record.clone()))
    }

    /// Rows that are done, and verdicts on rows that kill: neither has to be come by again.
    fn gained(&self) -> Result<(u64, usize), RunError> {
        self.with_ledger(|ledger| {
            let standing = ledger.standing();
            Ok((standing.rows.len(), standing.verdicts.len()))
        })
    }
}

/// This program with the same arguments.
pub(super) fn again() -> Result<impl FnMut(usize) -> Command, RunError> {
    let program = std::env::current_exe()
        .map_err(|error| cluster(format!("this program cannot be found again: {error}")))?;
    Ok(move |_| {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        command
    })
}

/// Has the other machines take their processes down, however the attempt ended.
struct Down<'a>(Option<&'a RefCell<Master>>);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if let Some(fleet) = self.0 {
            fleet.borrow_mut().take_down();
        }
    }
}

fn cluster(message: String) -> RunError {
    RunError::new(RunErrorKind::Cluster, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::{Identity, folder};
    use crate::run::EXIT_TRY_AGAIN;

    fn supervision(place: &Path, records: &[Record]) -> Supervision<'static> {
        let hold = Hold::take(folder(place)).unwrap();
        let mut ledger = Ledger::open(&hold, |_| Ok(Identity::default()), false).unwrap();
        for record in records {
            ledger.record(record.clone()).unwrap();
        }
        let lent = Lent {
            folder: place.to_owned(),
            token: hold.token().to_owned(),
        };
        Supervision {
            processes: 1,
            scratch: Path::new("/nonexistent"),
            ledger: Some(HeldLedger { hold, lent }),
            stages: vec!["kills".to_owned()],
            max_restarts: 5,
            silence: Duration::from_secs(20),
            asked: &|| Asked::GoOn,
            fleet: None,
            local: 0,
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn trouble_with_the_ledger_that_passes_is_waited_out() {
        let place = tempfile::tempdir().unwrap();
        let supervision = supervision(place.path(), &[]);
        let journal = place.path().join("journal.jsonl");
        // What is no file cannot be read.
        std::fs::create_dir(&journal).unwrap();
        let error = Ledger::lent(&folder(place.path()), "").unwrap_err();
        assert_eq!(RunError::from(error).exit_code(), EXIT_TRY_AGAIN);
        let code = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                std::fs::remove_dir(&journal).unwrap();
            });
            supervision.run_with(&mut |_| shell("exit 0"))
        });
        assert_eq!(code, Ok(0));
    }

    #[test]
    fn no_row_is_blamed_for_what_a_process_says_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let death = Record::Death {
            how: "died".to_owned(),
            working: vec![Working {
                row: 7,
                stage: "kills".to_owned(),
            }],
        };
        let supervision = supervision(place.path(), &[death.clone(), death]);
        let mut scripts = ["kill -9 $$", "exit 6", "exit 0"].into_iter();
        let code = supervision.run_with(&mut |_| shell(scripts.next().unwrap()));
        assert_eq!(code, Ok(0));
        let verdicts = supervision.with_ledger(|ledger| Ok(ledger.standing().verdicts.len()));
        assert_eq!(verdicts, Ok(0));
    }
}
