use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::children::Fall;

/// How often either end gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// Longest time that a greeting, or the sending of a message, may take.
const PROMPTLY: Duration = Duration::from_secs(5);

/// The number of what is said between machines, here and between their processes; it grows with every change to it.
const PROTOCOL: u32 = 2;

/// Which version a machine has. Machines of different versions would misunderstand each other; of two builds of one version,
/// with other operators say, this does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Build {
    version: String,
    protocol: u32,
}

impl Build {
    /// That of this program.
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
        }
    }

    /// Why the machines do not go together, if they do not.
    pub fn refusal(node: &Build, master: &Build) -> Option<String> {
        (node != master).then(|| {
            format!(
                "it runs {node}, the master {master}; all machines of a run need the same build"
            )
        })
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            // It did not say.
            0 => f.write_str("an earlier clipsieve"),
            protocol => write!(f, "clipsieve {} (protocol {protocol})", self.version),
        }
    }
}

/// What a node tells the master.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum ToMaster {
    /// It is ready, and its processes will listen here.
    Join {
        hosts: Vec<String>,
        #[serde(default)]
        build: Build,
    },
    /// It lives.
    Beat,
    /// One of its processes ended the attempt.
    Fell(Fall),
    /// It was told to end, and will.
    Leaving,
}

/// What the master tells a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum ToNode {
    /// Start the processes: these are all, those of the node begin at `first`, and this is what their secret is made of.
    Start {
        hosts: Vec<String>,
        first: usize,
        purpose: String,
        #[serde(default)]
        build: Build,
    },
    /// It cannot take part, and this is why.
    Refused(String),
    /// It lives.
    Beat,
    /// Take the processes down and join again.
    Down,
    /// The run is over, with this exit code.
    Over(i32),
}

/// Makes a greeted connection one for messages: nothing waits for ever on it.
pub(super) fn settle(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(Some(PROMPTLY))
}

/// Makes a new connection one for a greeting.
pub(super) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PROMPTLY))?;
    socket.set_write_timeout(Some(PROMPTLY))
}

pub(super) fn send(socket: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Reads messages on a thread of its own until the connection ends; the end is `None`.
pub(super) fn listen_to<M, T>(
    socket: &TcpStream,
    to: Sender<T>,
    wrap: impl Fn(Option<M>) -> T + Send + 'static,
) -> io::Result<()>
where
    M: for<'de> Deserialize<'de>,
    T: Send + 'static,
{
    let mut lines = BufReader::new(socket.try_clone()?);
    std::thread::Builder::new()
        .name("clipsieve-fleet".to_owned())
        .spawn(move || {
            let mut line = String::new();
            loop {
                line.clear();
                let read = lines.read_line(&mut line);
                let message = match read {
                    Ok(0) | Err(_) => None,
                    Ok(_) => serde_json::from_str(&line).ok(),
                };
                let last = message.is_none();
                if to.send(wrap(message)).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(())
}

/// Sockets on which processes of a run are called, on this address of this machine; from `port` on, or on any ports.
pub(super) fn listeners(
    address: &str,
    port: Option<u16>,
    count: usize,
) -> io::Result<(Vec<TcpListener>, Vec<String>)> {
    let mut sockets = Vec::new();
    let mut hosts = Vec::new();
    for index in 0..count {
        let port = port.map_or(0, |port| port.saturating_add(index as u16));
        let socket = bind(address, port)?;
        socket.set_nonblocking(true)?;
        hosts.push(socket.local_addr()?.to_string());
        sockets.push(socket);
    }
    Ok((sockets, hosts))
}

/// Binds one of the addresses of a name.
pub(super) fn bind(address: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (address, port).to_socket_addrs()? {
        match TcpListener::bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
