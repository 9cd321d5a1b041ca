//! The processes of one attempt at a run, as their supervisor sees them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::board::{Asked, Board};
use super::cluster::{Lent, Orders};
use super::connect::listen;
use super::error::{EXIT_JOB_FAILED, EXIT_PEER_LOST, EXIT_TRY_AGAIN};
use super::scratch;
use crate::process;

/// How long the others may take to end by themselves after one lost them: it shows which was the first.
const AFTERMATH: Duration = Duration::from_millis(500);
/// How long members may take to end after process 0 is through.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a process may take to its first heartbeat: it loads libraries and meets the others.
const STARTING: Duration = Duration::from_secs(60);
/// How long a process may be stopped (SIGSTOP) before it counts as dead. Ctrl-Z stops the supervisor as well, so it is not
/// that; and until then the others go on with what they have.
const STOPPED: Duration = Duration::from_secs(1);
/// How much more willingly than others the kernel is to end a member when memory is short.
const OOM_SCORE: &[u8] = b"500";

/// What an attempt's processes are started with.
pub(super) struct Crew<'a> {
    /// How many of the run's processes are here, from `first` on.
    pub count: usize,
    pub first: usize,
    /// Which of its machine's processes the first one here is.
    pub local: usize,
    /// Where all processes of the run listen; empty if all of them are here.
    pub hosts: Vec<String>,
    pub listeners: Vec<std::net::TcpListener>,
    pub token: String,
    pub ledger: Option<&'a Lent>,
    pub only: Option<&'a BTreeSet<u64>>,
    pub scratch: &'a Path,
    /// How long a process may give no sign of life.
    pub silence: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// Process 0 is through, with this code.
    Through(i32),
    /// A process was gone before that.
    Fell(Fall),
}

/// A process that ended the attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fall {
    pub process: usize,
    /// For people.
    pub how: String,
    pub cause: Cause,
}

/// What a fall says of what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// It died before it could say anything. These are the rows that it was working on, with the ranks of the stages: one of
    /// them may be to blame.
    Died(Vec<(u64, usize)>),
    /// It said itself what is wrong, and that would be wrong again.
    Failed,
    /// It said itself that it could not go on; a fresh one may get further.
    GaveUp,
    /// It only lost another one, which is the one that fell.
    LostOthers,
}

impl Fall {
    /// The rows that were being worked on, if one of them may be to blame.
    pub fn marks(&self) -> &[(u64, usize)] {
        match &self.cause {
            Cause::Died(marks) => marks,
            Cause::Failed | Cause::GaveUp | Cause::LostOthers => &[],
        }
    }
}

struct Watched {
    child: Child,
    board: Board,
    status: Option<ExitStatus>,
    beats: u64,
    beaten: Instant,
    stopped: Option<Instant>,
    /// It was found silent, and killed for that.
    silent: Option<String>,
}

/// The processes; killed and cleaned up after on drop, whatever happened.
pub(super) struct Children<'a> {
    first: usize,
    all: Vec<Watched>,
    scratch: &'a Path,
    silence: Duration,
    looked: Instant,
    alarm: Option<Instant>,
}

impl<'a> Children<'a> {
    /// Starts them.
    pub fn start(
        mut crew: Crew<'a>,
        command: &mut dyn FnMut(usize) -> Command,
    ) -> io::Result<Self> {
        while crew.listeners.len() < crew.count {
            let listener = listen("127.0.0.1:0")?;
            crew.hosts.push(listener.local_addr()?.to_string());
            crew.listeners.push(listener);
        }
        let mut children = Self {
            first: crew.first,
            all: Vec::new(),
            scratch: crew.scratch,
            silence: crew.silence,
            looked: Instant::now(),
            alarm: None,
        };
        for (local, listener) in crew.listeners.iter().enumerate() {
            let process = crew.first + local;
            let (board, fd) = Board::shared()?;
            let mut command = command(process);
            let inherit = Orders {
                process,
                local: crew.local + local,
                hosts: &crew.hosts,
                token: &crew.token,
                listener,
                board: &fd,
                ledger: crew.ledger,
                only: crew.only,
            }
            .give(&mut command);
            let quiet = process > 0 || crew.only.is_some();
            children.all.push(Watched {
                child: spawn(command, quiet, inherit)?,
                board,
                status: None,
                beats: 0,
                beaten: Instant::now(),
                stopped: None,
                silent: None,
            });
        }
        Ok(children)
    }

    /// Asks process 0, which lets the rows in, to end early.
    pub fn ask(&self, what: Asked) {
        if self.first == 0
            && let Some(zero) = self.all.first()
        {
            zero.board.ask(what);
        }
    }

    /// Looks at all of them; how the attempt ended, if it has.
    pub fn look(&mut self) -> io::Result<Option<Ended>> {
        let now = Instant::now();
        // This process itself may have been stopped for a while, and they with it.
        if now - self.looked > Duration::from_secs(1) {
            for watched in &mut self.all {
                watched.beaten = now;
                watched.stopped = None;
            }
        }
        self.looked = now;
        for watched in &mut self.all {
            watched.look(now, self.silence)?;
        }
        let all = self.all.iter().all(|watched| watched.status.is_some());
        // How it ends, and how long the others may take to end too.
        let (ended, patience) = match (self.answer(), self.fall()) {
            // What becomes of the others does not matter any more.
            (Some(0), _) => (Ended::Through(0), FAREWELL),
            (Some(code), _) => (Ended::Through(code), Duration::ZERO),
            // It ended because of somebody who has not been seen to end yet.
            (None, Some(fall)) if fall.cause == Cause::LostOthers => (Ended::Fell(fall), AFTERMATH),
            (None, Some(fall)) => (Ended::Fell(fall), Duration::ZERO),
            (None, None) if all => (Ended::Through(0), Duration::ZERO),
            (None, None) => return Ok(None),
        };
        let alarm = *self.alarm.get_or_insert(now + patience);
        let is_over = all || patience.is_zero() || now >= alarm;
        Ok(is_over.then_some(ended))
    }

    /// What process 0 says of the run as a whole, if it is here and has said it.
    fn answer(&self) -> Option<i32> {
        let zero = self.all.first().filter(|_| self.first == 0)?;
        let code = zero.status?.code()?;
        (!matches!(code, EXIT_TRY_AGAIN | EXIT_PEER_LOST)).then_some(code)
    }

    /// The member that died first, as far as can be told: one that was killed, then one that failed, then one that only
    /// lost its peer.
    fn fall(&self) -> Option<Fall> {
        let weight = |status: &ExitStatus| match status.code() {
            None => 0,
            Some(EXIT_PEER_LOST) => 2,
            Some(_) => 1,
        };
        let ended = self.all.iter().enumerate();
        let (local, status) = ended
            .filter_map(|(local, watched)| Some((local, watched.status?)))
            .filter(|(_, status)| status.code() != Some(0))
            .min_by_key(|(_, status)| weight(status))?;
        let watched = &self.all[local];
        let cause = match status.code() {
            None => Cause::Died(watched.board.marks()),
            Some(EXIT_JOB_FAILED) => Cause::Failed,
            Some(EXIT_PEER_LOST) => Cause::LostOthers,
            Some(_) => Cause::GaveUp,
        };
        let how = match (&watched.silent, status.signal(), status.code()) {
            (Some(why), ..) => why.clone(),
            (None, Some(libc::SIGKILL), _) => {
                "was killed (signal 9; the system does that when memory is short)".to_owned()
            }
            (None, Some(signal), _) => format!("died of signal {signal}{}", name_of(signal)),
            (None, None, Some(EXIT_PEER_LOST)) => "lost the others".to_owned(),
            (None, None, Some(code)) => {
                format!("failed (code {code}); what it said stands above")
            }
            (None, None, None) => "ended".to_owned(),
        };
        Some(Fall {
            process: self.first + local,
            how,
            cause,
        })
    }
}

impl Watched {
    fn look(&mut self, now: Instant, silence: Duration) -> io::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        self.status = self.child.try_wait()?;
        if self.status.is_some() {
            return Ok(());
        }
        let beats = self.board.beats();
        if beats != self.beats {
            self.beats = beats;
            self.beaten = now;
            self.stopped = None;
            return Ok(());
        }
        let quiet = now - self.beaten;
        let patience = if beats == 0 { STARTING } else { silence };
        if quiet > STOPPED / 2 && process::is_stopped(self.child.id()) {
            let since = *self.stopped.get_or_insert(now);
            if now - since >= STOPPED / 2 {
                self.silent = Some("was stopped (as by SIGSTOP)".to_owned());
            }
        }
        if quiet > patience {
            self.silent = Some(format!("gave no sign of life for {patience:?}"));
        }
        if self.silent.is_some() {
            // A stopped process ends of this signal too.
            self.child.kill()?;
            self.status = Some(self.child.wait()?);
        }
        Ok(())
    }
}

impl Drop for Children<'_> {
    fn drop(&mut self) {
        // All first, and then the waiting: they take their memory down at the same time.
        for watched in self.all.iter_mut().filter(|it| it.status.is_none()) {
            // Fails only when it is gone already.
            let _ = watched.child.kill();
        }
        for watched in &mut self.all {
            if watched.status.is_none() {
                let _ = watched.child.wait();
            }
            scratch::remove_of(self.scratch, watched.child.id());
        }
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => " (SIGSEGV: it touched memory that it must not)",
        libc::SIGBUS => " (SIGBUS: a mapped file was cut short, or memory is broken)",
        libc::SIGABRT => " (SIGABRT: it gave itself up, as when memory cannot be had)",
        libc::SIGILL => " (SIGILL: an instruction that this machine does not have)",
        libc::SIGFPE => " (SIGFPE: an impossible calculation)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}

fn spawn(mut command: Command, quiet: bool, inherit: [RawFd; 2]) -> io::Result<Child> {
    if quiet {
        // Results come from process 0 alone; what another one prints belongs to the messages.
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        command.stdin(Stdio::null()).stdout(Stdio::from(stderr));
    }
    let supervisor = std::process::id();
    // SAFETY: between fork and exec, only calls that are safe in signal handlers are made.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            for fd in inherit {
                if libc::fcntl(fd, libc::F_SETFD, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            // When memory is short, a member is to go and not the one who can start it again. A wish: it may be refused.
            let file = libc::open(
                c"/proc/self/oom_score_adj".as_ptr(),
                libc::O_WRONLY | libc::O_CLOEXEC,
            );
            if file >= 0 {
                libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
                libc::close(file);
            }
            // The supervisor may have died before the kernel was asked to tell.
            if libc::getppid().cast_unsigned() != supervisor {
                libc::_exit(EXIT_PEER_LOST);
            }
            Ok(())
        });
    }
    command.spawn()
}
