//! Who a process is in a run of several, and how it comes to know.
//!
//! A supervisor starts the processes of a run (the same program with the same arguments) and tells each in its environment which
//! one it is, where the others listen, and the secret by which they know each other. It hands over open descriptors: the
//! socket on which the process is called, so that no port can be lost to somebody else in between, and the page on which
//! it is watched ([`Board`]). Members talk to each other, never to the supervisor.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use super::board::Board;
use super::connect::listen;
use super::secret::Secret;
use super::{RunError, RunErrorKind};

const PROCESS: &str = "CLIPSIEVE_PROCESS";
const LOCAL: &str = "CLIPSIEVE_LOCAL_PROCESS";
const HOSTS: &str = "CLIPSIEVE_HOSTS";
const TOKEN: &str = "CLIPSIEVE_TOKEN";
const LISTENER: &str = "CLIPSIEVE_LISTENER";
const BOARD: &str = "CLIPSIEVE_BOARD";
const LEDGER: &str = "CLIPSIEVE_LEDGER";
const LEDGER_TOKEN: &str = "CLIPSIEVE_LEDGER_TOKEN";
const ONLY: &str = "CLIPSIEVE_ONLY";

/// One process of a run that somebody watches over.
#[derive(Clone)]
pub struct Member {
    /// Its index; process 0 reads the rows and writes the results.
    pub process: usize,
    /// Its index among those on this machine.
    pub local: usize,
    /// Where each process listens, `address:port`, by index.
    pub hosts: Vec<String>,
    pub(super) secret: Secret,
    listener: Option<Arc<TcpListener>>,
    /// Where it is watched.
    pub board: Option<Arc<Board>>,
    /// The ledger that it may use, and what proves that.
    pub ledger: Option<Lent>,
    /// It is to work on these rows only.
    pub only: Option<BTreeSet<u64>>,
}

/// A ledger that a supervisor holds for its process 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// Its folder.
    pub folder: PathBuf,
    /// See [`Hold::token`](crate::ledger::Hold::token).
    pub token: String,
}

impl Member {
    /// A process of a run whose processes are started by other means than a supervisor. All of them are given the same
    /// token. Without a listener it binds its own host's address.
    pub fn new(
        process: usize,
        hosts: Vec<String>,
        token: &str,
        listener: Option<TcpListener>,
    ) -> Self {
        Self {
            process,
            local: process,
            hosts,
            secret: Secret::new(token.as_bytes()),
            listener: listener.map(Arc::new),
            board: None,
            ledger: None,
            only: None,
        }
    }

    pub(super) fn listener(&self) -> io::Result<Arc<TcpListener>> {
        match &self.listener {
            Some(listener) => Ok(Arc::clone(listener)),
            None => listen(&self.hosts[self.process]).map(Arc::new),
        }
    }
}

/// What a supervisor tells a process.
pub(super) struct Orders<'a> {
    pub process: usize,
    pub local: usize,
    pub hosts: &'a [String],
    pub token: &'a str,
    pub listener: &'a TcpListener,
    pub board: &'a OwnedFd,
    pub ledger: Option<&'a Lent>,
    pub only: Option<&'a BTreeSet<u64>>,
}

impl Orders<'_> {
    /// Puts them into the environment of a process. Returns the descriptors that it has to inherit.
    pub fn give(&self, command: &mut Command) -> [RawFd; 2] {
        let fds = [self.listener.as_raw_fd(), self.board.as_raw_fd()];
        command
            .env(PROCESS, self.process.to_string())
            .env(LOCAL, self.local.to_string())
            .env(HOSTS, self.hosts.join(","))
            .env(TOKEN, self.token)
            .env(LISTENER, fds[0].to_string())
            .env(BOARD, fds[1].to_string());
        let ledger = self.ledger.filter(|_| self.process == 0);
        match ledger {
            Some(lent) => command
                .env(LEDGER, &lent.folder)
                .env(LEDGER_TOKEN, &lent.token),
            None => command.env_remove(LEDGER).env_remove(LEDGER_TOKEN),
        };
        match self.only {
            Some(rows) => {
                let rows: Vec<String> = rows.iter().map(u64::to_string).collect();
                command.env(ONLY, rows.join(","))
            }
            None => command.env_remove(ONLY),
        };
        fds
    }
}

/// Who this process is, if a supervisor started it; `None` if it was not.
///
/// # Errors
/// The environment says something that no supervisor would.
pub fn role_from_env() -> Result<Option<Member>, RunError> {
    // The descriptors are handed over once; later calls share them.
    static ROLE: OnceLock<Result<Option<Member>, RunError>> = OnceLock::new();
    ROLE.get_or_init(read_role).clone()
}

fn read_role() -> Result<Option<Member>, RunError> {
    if std::env::var_os(PROCESS).is_none() {
        return Ok(None);
    }
    let broken = |name: &str| {
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "the environment variable {name} is missing or broken; a supervisor sets it, nobody else"
            ),
        )
    };
    let text = |name: &str| std::env::var(name).map_err(|_| broken(name));
    let number = |name: &str| text(name)?.parse::<usize>().map_err(|_| broken(name));
    let process = number(PROCESS)?;
    let hosts: Vec<String> = text(HOSTS)?.split(',').map(str::to_owned).collect();
    if process >= hosts.len() {
        return Err(broken(PROCESS));
    }
    let listener = inherited(&text(LISTENER)?, libc::S_IFSOCK).ok_or_else(|| broken(LISTENER))?;
    let board = inherited(&text(BOARD)?, libc::S_IFREG)
        .and_then(|fd| Board::attach(fd).ok())
        .ok_or_else(|| broken(BOARD))?;
    let ledger = match std::env::var_os(LEDGER) {
        None => None,
        Some(folder) => Some(Lent {
            folder: folder.into(),
            token: text(LEDGER_TOKEN)?,
        }),
    };
    let rows = |text: String| {
        let rows = text.split(',').map(str::parse);
        rows.collect::<Result<BTreeSet<u64>, _>>()
            .map_err(|_| broken(ONLY))
    };
    let only = std::env::var(ONLY).ok().map(rows).transpose()?;
    Ok(Some(Member {
        local: number(LOCAL)?,
        board: Some(Arc::new(board)),
        ledger,
        only,
        ..Member::new(process, hosts, &text(TOKEN)?, Some(listener.into()))
    }))
}

/// A descriptor that the supervisor opened for this process, if it is of this kind.
fn inherited(fd: &str, kind: libc::mode_t) -> Option<OwnedFd> {
    let fd: RawFd = fd.parse().ok()?;
    // SAFETY: `stat` is plain data, and `fstat` fills it or fails.
    let fits = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == kind
    };
    if !fits {
        return None;
    }
    // Programs that this one starts have no business with it.
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the supervisor opened it for this process, and it is taken over here only, once.
    Some(unsafe { File::from_raw_fd(fd) }.into())
}
