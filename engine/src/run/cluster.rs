//! Several processes on one machine: the launcher and its members.
//!
//! The process that a person starts is the launcher. It binds a loopback port for each member, starts the members (the same
//! program with the same arguments, and who they are in the environment), and waits. Each member is handed its listening
//! socket open, so no port can be lost to somebody else in between. Members talk to each other, never to the launcher.
//!
//! The members share their fate: the first that dies takes the run with it. They die with the launcher too, however it
//! ends, because the kernel is asked to see to that.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::connect::listen;
use super::panics::{EXIT_JOB_FAILED, EXIT_PEER_LOST};
use super::{RunError, RunErrorKind, scratch};

const PROCESS: &str = "CLIPSIEVE_PROCESS";
const HOSTS: &str = "CLIPSIEVE_HOSTS";
const TOKEN: &str = "CLIPSIEVE_TOKEN";
const LISTENER: &str = "CLIPSIEVE_LISTENER";

/// How long the others may take to end by themselves after one died: it shows which was the first.
const AFTERMATH: Duration = Duration::from_millis(500);
/// How long members may take to end after process 0 is through.
const FAREWELL: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// One process of a run of several.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its index; process 0 reads the rows and writes the results.
    pub process: usize,
    /// Where each process listens, `address:port`, by index.
    pub hosts: Vec<String>,
    pub(super) token: String,
    listener: Option<Arc<TcpListener>>,
}

impl Member {
    /// A process of a run whose processes are started by other means than [`launch`]. All of them are given the same
    /// token. Without a listener it binds its own host's address.
    pub fn new(
        process: usize,
        hosts: Vec<String>,
        token: &str,
        listener: Option<TcpListener>,
    ) -> Self {
        Self {
            process,
            hosts,
            token: token.to_owned(),
            listener: listener.map(Arc::new),
        }
    }

    pub(super) fn listener(&self) -> io::Result<Arc<TcpListener>> {
        match &self.listener {
            Some(listener) => Ok(Arc::clone(listener)),
            None => listen(&self.hosts[self.process]).map(Arc::new),
        }
    }
}

/// Who this process is, if a launcher started it; `None` if it was not.
///
/// # Errors
/// The environment says something that no launcher would.
pub fn role_from_env() -> Result<Option<Member>, RunError> {
    // The listener is handed over once; later calls share it.
    static ROLE: OnceLock<Result<Option<Member>, RunError>> = OnceLock::new();
    ROLE.get_or_init(read_role).clone()
}

fn read_role() -> Result<Option<Member>, RunError> {
    let Ok(process) = std::env::var(PROCESS) else {
        return Ok(None);
    };
    let broken = |name: &str| {
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "the environment variable {name} is missing or broken; a launcher sets it, nobody else"
            ),
        )
    };
    let process: usize = process.parse().map_err(|_| broken(PROCESS))?;
    let hosts = std::env::var(HOSTS).map_err(|_| broken(HOSTS))?;
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    if process >= hosts.len() {
        return Err(broken(PROCESS));
    }
    let token = std::env::var(TOKEN).map_err(|_| broken(TOKEN))?;
    let fd: RawFd = std::env::var(LISTENER)
        .ok()
        .and_then(|fd| fd.parse().ok())
        .filter(|fd| is_socket(*fd))
        .ok_or_else(|| broken(LISTENER))?;
    // SAFETY: the launcher opened this socket for this process, and it is taken over here only, once.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    // Programs that this one starts have no business with it.
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(Some(Member::new(process, hosts, &token, Some(listener))))
}

fn is_socket(fd: RawFd) -> bool {
    // SAFETY: `stat` is plain data, and `fstat` fills it or fails.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFSOCK
    }
}

/// Starts this program again `processes` times with the same arguments, as the members of one run, and waits for them.
/// `scratch` is the folder under which they make temporary files. Returns the exit code of process 0.
///
/// # Errors
/// A member could not be started, or one died.
pub fn launch(processes: usize, scratch: &Path) -> Result<i32, RunError> {
    let program = std::env::current_exe().map_err(|error| {
        RunError::new(
            RunErrorKind::Cluster,
            format!("this program cannot be found again: {error}"),
        )
    })?;
    launch_with(processes, scratch, |_| {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        command
    })
}

/// The same with commands of the caller's making, one for each process.
///
/// # Errors
/// As [`launch`].
pub fn launch_with(
    processes: usize,
    scratch: &Path,
    mut command: impl FnMut(usize) -> Command,
) -> Result<i32, RunError> {
    let failed = |error: io::Error| {
        RunError::new(
            RunErrorKind::Cluster,
            format!("the processes of the run cannot be started: {error}"),
        )
    };
    let listeners = (0..processes.max(1))
        .map(|_| listen("127.0.0.1:0"))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    let hosts = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?
        .join(",");
    let token = token().map_err(failed)?;
    let mut members = Members {
        children: Vec::new(),
        scratch,
    };
    for (process, listener) in listeners.iter().enumerate() {
        let mut command = command(process);
        command
            .env(PROCESS, process.to_string())
            .env(HOSTS, &hosts)
            .env(TOKEN, &token);
        let child = spawn(command, process, listener).map_err(failed)?;
        members.children.push((child, None));
    }
    drop(listeners);
    members.wait()
}

fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn spawn(mut command: Command, process: usize, listener: &TcpListener) -> io::Result<Child> {
    let fd = listener.as_raw_fd();
    command.env(LISTENER, fd.to_string());
    if process > 0 {
        // Results come from process 0 alone; what another one prints belongs to the messages.
        command.stdin(Stdio::null()).stdout(Stdio::from(
            std::os::fd::AsFd::as_fd(&io::stderr()).try_clone_to_owned()?,
        ));
    }
    let launcher = std::process::id();
    // SAFETY: between fork and exec, only calls that are safe in signal handlers are made.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
                || libc::fcntl(fd, libc::F_SETFD, 0) != 0
            {
                return Err(io::Error::last_os_error());
            }
            // The launcher may have died before the kernel was asked to tell.
            if libc::getppid().cast_unsigned() != launcher {
                libc::_exit(EXIT_PEER_LOST);
            }
            Ok(())
        });
    }
    command.spawn()
}

/// The children of a launcher; killed and cleaned up after on drop, whatever happened.
struct Members<'a> {
    children: Vec<(Child, Option<ExitStatus>)>,
    scratch: &'a Path,
}

impl Members<'_> {
    /// Waits until process 0 is through, or a member died.
    fn wait(mut self) -> Result<i32, RunError> {
        let mut alarm: Option<Instant> = None;
        loop {
            self.poll()?;
            let first = self.children[0].1;
            let all = self.children.iter().all(|(_, status)| status.is_some());
            let (after, died) = match self.culprit() {
                Some(_) => (AFTERMATH, true),
                None if first.is_some() => (FAREWELL, false),
                None => {
                    std::thread::sleep(POLL);
                    continue;
                }
            };
            let alarm = *alarm.get_or_insert_with(|| Instant::now() + after);
            if !all && Instant::now() < alarm {
                std::thread::sleep(POLL);
                continue;
            }
            return match (died.then(|| self.culprit()).flatten(), first) {
                // It has said itself what was wrong.
                (Some((0, status)), _) if status.code() == Some(EXIT_JOB_FAILED) => {
                    Ok(EXIT_JOB_FAILED)
                }
                (Some((process, status)), _) => Err(self.report(process, status)),
                (None, first) => Ok(first.and_then(|status| status.code()).unwrap_or(0)),
            };
        }
    }

    fn poll(&mut self) -> Result<(), RunError> {
        for (child, status) in &mut self.children {
            if status.is_none() {
                *status = child.try_wait().map_err(|error| {
                    RunError::new(
                        RunErrorKind::Cluster,
                        format!("a process of the run cannot be waited for: {error}"),
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The member that died first, as far as can be told: one that was killed, then one that failed, then one that only
    /// lost its peer.
    fn culprit(&self) -> Option<(usize, ExitStatus)> {
        let weight = |status: &ExitStatus| match status.code() {
            None => 0,
            Some(EXIT_PEER_LOST) => 2,
            Some(_) => 1,
        };
        let died = |process: usize, status: &ExitStatus| match status.code() {
            // What else process 0 ends with is its answer to whoever started the launcher.
            Some(code) if process == 0 => matches!(code, EXIT_JOB_FAILED | EXIT_PEER_LOST),
            Some(code) => code != 0,
            None => true,
        };
        let ended = self.children.iter().enumerate();
        ended
            .filter_map(|(process, (_, status))| Some((process, (*status)?)))
            .filter(|(process, status)| died(*process, status))
            .min_by_key(|(_, status)| weight(status))
    }

    fn report(&self, process: usize, status: ExitStatus) -> RunError {
        let how = match (status.signal(), status.code()) {
            (Some(libc::SIGKILL), _) => {
                "was killed (signal 9; the system does that when memory is short)".to_owned()
            }
            (Some(signal), _) => format!("died of signal {signal}"),
            (None, Some(EXIT_JOB_FAILED)) => "failed; what it said stands above".to_owned(),
            (None, code) => format!("ended with code {}", code.unwrap_or(-1)),
        };
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "process {process} of {} {how}, and the run ended with it",
                self.children.len()
            ),
        )
    }
}

impl Drop for Members<'_> {
    fn drop(&mut self) {
        for (child, status) in &mut self.children {
            if status.is_none() {
                // Fails only when it is gone already.
                let _ = child.kill();
                let _ = child.wait();
            }
            scratch::remove_of(self.scratch, child.id());
        }
    }
}
