use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::wire::{self, BEAT, Build, ToMaster, ToNode};
use crate::run::board::Asked;
use crate::run::children::{Children, Crew, Ended};
use crate::run::secret::Secret;
use crate::run::supervisor::again;
use crate::run::{EXIT_STOPPED, RunError, RunErrorKind};

const POLL: Duration = Duration::from_millis(10);
const REDIAL: Duration = Duration::from_millis(500);

/// The side of every machine but the master.
pub struct Node<'a> {
    /// Where the master listens, `address:port`.
    pub master: String,
    /// Which machine this is, from 1.
    pub machine: usize,
    /// How many processes it has.
    pub processes: usize,
    /// Where they are to listen; where the connection to the master begins if `None`.
    pub address: Option<String>,
    /// The first of their ports; any if `None`.
    pub port: Option<u16>,
    /// The secret of the run.
    pub secret: Secret,
    /// How long the master may be away.
    pub join: Duration,
    /// How long a process, or the master, may give no sign of life.
    pub silence: Duration,
    /// The folder under which processes make temporary files.
    pub scratch: &'a Path,
    /// Which of its machine's processes the first one is, where several nodes share a machine.
    pub local: usize,
    /// What somebody outside wants of the run.
    pub asked: &'a dyn Fn() -> Asked,
}

/// How a connection to the master ended.
enum Parted {
    Over(i32),
    Lost(String),
    /// It would be the same again.
    Refused(String),
}

impl Node<'_> {
    /// Starts this program again with the same arguments, as this machine's processes, until the run is over. Returns the
    /// exit code of the run.
    ///
    /// # Errors
    /// The master is not there, or has gone for too long.
    pub fn run(&self) -> Result<i32, RunError> {
        self.run_with(&mut again()?)
    }

    /// The same with commands of the caller's making.
    ///
    /// # Errors
    /// The master is not there, or has gone for too long.
    pub fn run_with(&self, command: &mut dyn FnMut(usize) -> Command) -> Result<i32, RunError> {
        let mut since = Instant::now();
        let mut told = String::new();
        loop {
            if (self.asked)() != Asked::GoOn {
                return Ok(EXIT_STOPPED);
            }
            let why = match self.dial() {
                Ok(socket) => match self.take_part(socket, command) {
                    Ok(Parted::Over(code)) => return Ok(code),
                    Ok(Parted::Refused(why)) => return Err(self.failed(&why)),
                    Ok(Parted::Lost(why)) => {
                        since = Instant::now();
                        told.clear();
                        why
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(self.failed(&error.to_string()));
                }
                Err(error) => error.to_string(),
            };
            if since.elapsed() > self.join {
                return Err(self.failed(&why));
            }
            if why != told {
                tracing::warn!("this machine is not in the run, trying again: {why}");
                told = why;
            }
            std::thread::sleep(REDIAL);
        }
    }

    fn failed(&self, why: &str) -> RunError {
        RunError::new(
            RunErrorKind::Cluster,
            format!(
                "machine {} could not join the run of the master at {} within {:?}: {why}",
                self.machine, self.master, self.join
            ),
        )
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.master.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(mut socket) => {
                    wire::prepare(&socket)?;
                    self.secret.call(&mut socket, self.machine as u64)?;
                    wire::settle(&socket)?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// One connection to the master, to its end. Processes never outlive it.
    fn take_part(
        &self,
        socket: TcpStream,
        command: &mut dyn FnMut(usize) -> Command,
    ) -> io::Result<Parted> {
        let (sender, said) = channel();
        wire::listen_to(&socket, sender, |message: Option<ToNode>| message)?;
        let address = match &self.address {
            Some(address) => address.clone(),
            None => socket.local_addr()?.ip().to_string(),
        };
        let mut link = Link {
            node: self,
            children: None,
            socket,
            address,
            listeners: Vec::new(),
        };
        link.join()?;
        let mut heard = Instant::now();
        let mut beaten = Instant::now();
        let parted = loop {
            match said.recv_timeout(POLL) {
                Ok(Some(message)) => {
                    heard = Instant::now();
                    if let Some(parted) = link.obey(message, command)? {
                        break parted;
                    }
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                    break Parted::Lost("the connection ended".to_owned());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if heard.elapsed() > self.silence {
                // Unless this process itself stood still.
                if beaten.elapsed() < BEAT * 3 {
                    let silence = self.silence;
                    break Parted::Lost(format!("it gave no sign of life for {silence:?}"));
                }
                heard = Instant::now();
            }
            if beaten.elapsed() >= BEAT {
                beaten = Instant::now();
                wire::send(&mut link.socket, &ToMaster::Beat)?;
            }
            if (self.asked)() != Asked::GoOn {
                wire::send(&mut link.socket, &ToMaster::Leaving)?;
                break Parted::Over(EXIT_STOPPED);
            }
            link.look()?;
        };
        link.children = None;
        let _ = link.socket.shutdown(Shutdown::Both);
        Ok(parted)
    }
}

/// A connection to the master, and the processes of an attempt.
struct Link<'a> {
    node: &'a Node<'a>,
    // Dropped before the connection, which they must not outlive.
    children: Option<Children<'a>>,
    socket: TcpStream,
    /// Where processes listen.
    address: String,
    /// The sockets for those of the next attempt.
    listeners: Vec<TcpListener>,
}

impl Link<'_> {
    /// Makes sockets for the processes of the next attempt, and says where they are.
    fn join(&mut self) -> io::Result<()> {
        let (node, address) = (self.node, &self.address);
        let sockets = wire::listeners(address, node.port, node.processes);
        let (listeners, hosts) = sockets.map_err(|error| {
            let what = format!(
                "its processes cannot listen on {address}: {error}; name an address of this machine (`--listen`)"
            );
            io::Error::new(error.kind(), what)
        })?;
        self.listeners = listeners;
        let build = Build::this();
        wire::send(&mut self.socket, &ToMaster::Join { hosts, build })
    }

    /// Does what the master says; how the connection ends, if it does.
    fn obey(
        &mut self,
        message: ToNode,
        command: &mut dyn FnMut(usize) -> Command,
    ) -> io::Result<Option<Parted>> {
        let node = self.node;
        match message {
            ToNode::Beat => {}
            ToNode::Refused(why) => return Ok(Some(Parted::Refused(why))),
            ToNode::Start {
                hosts,
                first,
                purpose,
                build,
            } => {
                // A master that does not compare them itself.
                if let Some(why) = Build::refusal(&Build::this(), &build) {
                    return Ok(Some(Parted::Refused(why)));
                }
                let crew = Crew {
                    count: node.processes,
                    first,
                    local: node.local,
                    hosts,
                    listeners: std::mem::take(&mut self.listeners),
                    token: node.secret.derive(&purpose).to_hex(),
                    ledger: None,
                    only: None,
                    scratch: node.scratch,
                    silence: node.silence,
                };
                self.children = Some(Children::start(crew, command)?);
            }
            ToNode::Down => {
                self.children = None;
                self.join()?;
            }
            ToNode::Over(code) => return Ok(Some(Parted::Over(code))),
        }
        Ok(None)
    }

    /// Looks at the processes, and tells if one fell.
    fn look(&mut self) -> io::Result<()> {
        let ended = match &mut self.children {
            Some(children) => children.look()?,
            None => None,
        };
        match ended {
            None => {}
            // The master will say that the run is over.
            Some(Ended::Through(_)) => self.children = None,
            Some(Ended::Fell(fall)) => {
                self.children = None;
                tracing::warn!("process {} {}", fall.process, fall.how);
                wire::send(&mut self.socket, &ToMaster::Fell(fall))?;
            }
        }
        Ok(())
    }
}
