//! Connections between the processes of a run.
//!
//! timely would do this itself, but it tries for ever and speaks on standard output. So the sockets are made here, with
//! a deadline, and handed to it. A connection begins with a greeting in which both ends prove that they have the run's
//! secret ([`Secret`]), so that nobody else who finds the port becomes a process of the run. A connection over which
//! nothing gets through ends: timely itself would wait for ever.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::cluster::Member;
use super::{RunError, RunErrorKind};

/// Longest time until all processes are connected. They start together, and connect before they load anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time that a connection may take to say who it is.
const GREETING: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);
/// How long nothing may get through a connection before it is given up.
const DEAD: Duration = Duration::from_secs(20);

/// A socket to each process of the run, `None` for this one.
pub(super) fn connect(member: &Member) -> Result<Vec<Option<TcpStream>>, RunError> {
    connect_within(member, PATIENCE)
}

fn connect_within(member: &Member, patience: Duration) -> Result<Vec<Option<TcpStream>>, RunError> {
    let until = Instant::now() + patience;
    let failed = |peer: usize, error: io::Error| {
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "process {} could not reach process {peer} ({}) within {patience:?}: {error}",
                member.process, member.hosts[peer]
            ),
        )
    };
    let listener = member.listener().map_err(|error| {
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "process {} cannot listen on {}: {error}",
                member.process, member.hosts[member.process]
            ),
        )
    })?;
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    for peer in 0..member.process {
        let socket = call(member, peer, until).map_err(|error| failed(peer, error))?;
        sockets.push(Some(socket));
    }
    sockets.resize_with(member.hosts.len(), || None);
    let missing = |sockets: &[Option<TcpStream>]| {
        let later = member.process + 1..sockets.len();
        later.into_iter().find(|peer| sockets[*peer].is_none())
    };
    while let Some(peer) = missing(&sockets) {
        match listener.accept() {
            // Who does not greet as it should is none of ours.
            Ok((socket, _)) => {
                if let Ok((peer, socket)) = greeted(member, socket) {
                    sockets[peer] = Some(socket);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= until {
                    return Err(failed(peer, io::ErrorKind::TimedOut.into()));
                }
                std::thread::sleep(POLL);
            }
            Err(error) => return Err(failed(peer, error)),
        }
    }
    Ok(sockets)
}

fn call(member: &Member, peer: usize, until: Instant) -> io::Result<TcpStream> {
    loop {
        let called = TcpStream::connect(&member.hosts[peer]).and_then(|mut socket| {
            greet_within(&socket, Some(GREETING))?;
            member.secret.call(&mut socket, member.process as u64)?;
            greet_within(&socket, None)?;
            give_up_dead(&socket)?;
            Ok(socket)
        });
        match called {
            Ok(socket) => return Ok(socket),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(POLL * 10),
        }
    }
}

fn greeted(member: &Member, mut socket: TcpStream) -> io::Result<(usize, TcpStream)> {
    socket.set_nonblocking(false)?;
    greet_within(&socket, Some(GREETING))?;
    let process = member.secret.answer(&mut socket)?;
    greet_within(&socket, None)?;
    give_up_dead(&socket)?;
    let process = usize::try_from(process).unwrap_or(usize::MAX);
    if !(member.process + 1..member.hosts.len()).contains(&process) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok((process, socket))
}

fn greet_within(socket: &TcpStream, time: Option<Duration>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(time)?;
    socket.set_write_timeout(time)
}

/// Has the kernel end the connection when the other machine does not answer any more: one that is asked nothing after
/// half the time, by questions of its own.
fn give_up_dead(socket: &TcpStream) -> io::Result<()> {
    let millis = DEAD.as_millis() as libc::c_int;
    let half = DEAD.as_secs() as libc::c_int / 2;
    for (level, option, value) in [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, half),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, half / 3),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, millis),
    ] {
        // SAFETY: the socket is open, and the value is an int as all of these want.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Binds the socket on which this process is called; `accept` on it does not wait.
pub(super) fn listen(host: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(host)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn members(count: usize, token: &str) -> Vec<Member> {
        let listeners: Vec<_> = (0..count)
            .map(|_| listen("127.0.0.1:0").expect("a free port"))
            .collect();
        let hosts: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("bound").to_string())
            .collect();
        let make = |(process, listener)| Member::new(process, hosts.clone(), token, Some(listener));
        listeners.into_iter().enumerate().map(make).collect()
    }

    #[test]
    fn all_meet_and_strangers_are_ignored() {
        let members = members(3, "secret");
        let mut stranger = TcpStream::connect(&members[0].hosts[0]).expect("it listens");
        stranger.write_all(&[0; 56]).expect("it is read");
        std::thread::scope(|scope| {
            for member in &members {
                scope.spawn(|| {
                    let sockets = connect(member).expect("all are there");
                    for (peer, socket) in sockets.iter().enumerate() {
                        assert_eq!(socket.is_none(), peer == member.process);
                    }
                });
            }
        });
    }

    #[test]
    fn a_missing_process_is_named_after_a_while() {
        let members = members(2, "secret");
        let error =
            connect_within(&members[0], Duration::from_millis(50)).expect_err("nobody calls");
        assert_eq!(error.kind, RunErrorKind::Cluster);
        assert!(
            error.message.contains("could not reach process 1"),
            "{error}"
        );
    }
}
