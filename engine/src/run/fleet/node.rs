use std::io;
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::wire::{self, BEAT, ToMaster, ToNode};
use crate::run::board::Asked;
use crate::run::children::{Children, Crew, Ended};
use crate::run::panics::EXIT_STOPPED;
use crate::run::secret::Secret;
use crate::run::supervisor::again;
use crate::run::{RunError, RunErrorKind};

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

    /// Sockets for the processes.
    fn listen(&self, address: &str) -> io::Result<(Vec<TcpListener>, Vec<String>)> {
        wire::listeners(address, self.port, self.processes).map_err(|error| {
            let what = format!(
                "its processes cannot listen on {address}: {error}; name an address of this machine (`--listen`)"
            );
            io::Error::new(error.kind(), what)
        })
    }

    /// One connection to the master, to its end. Processes never outlive it.
    fn take_part(
        &self,
        mut socket: TcpStream,
        command: &mut dyn FnMut(usize) -> Command,
    ) -> io::Result<Parted> {
        let (sender, said) = channel();
        wire::listen_to(&socket, sender, |message: Option<ToNode>| message)?;
        let address = match &self.address {
            Some(address) => address.clone(),
            None => socket.local_addr()?.ip().to_string(),
        };
        let mut children: Option<Children<'_>> = None;
        let (mut listeners, hosts) = self.listen(&address)?;
        wire::send(&mut socket, &ToMaster::Join { hosts })?;
        let mut heard = Instant::now();
        let mut beaten = Instant::now();
        let parted = loop {
            match said.recv_timeout(POLL) {
                Ok(Some(message)) => {
                    heard = Instant::now();
                    match message {
                        ToNode::Beat => {}
                        ToNode::Start {
                            hosts,
                            first,
                            purpose,
                        } => {
                            let crew = Crew {
                                count: self.processes,
                                first,
                                local: self.local,
                                hosts,
                                listeners: std::mem::take(&mut listeners),
                                token: self.secret.derive(&purpose).to_hex(),
                                ledger: None,
                                only: None,
                                scratch: self.scratch,
                                silence: self.silence,
                            };
                            children = Some(Children::start(crew, command)?);
                        }
                        ToNode::Down => {
                            children = None;
                            let (sockets, hosts) = self.listen(&address)?;
                            listeners = sockets;
                            wire::send(&mut socket, &ToMaster::Join { hosts })?;
                        }
                        ToNode::Over(code) => break Parted::Over(code),
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
                wire::send(&mut socket, &ToMaster::Beat)?;
            }
            if (self.asked)() != Asked::GoOn {
                wire::send(&mut socket, &ToMaster::Leaving)?;
                break Parted::Over(EXIT_STOPPED);
            }
            let ended = match &mut children {
                Some(children) => children.look()?,
                None => None,
            };
            if let Some(Ended::Fell(fall)) = ended {
                children = None;
                tracing::warn!("process {} {}", fall.process, fall.how);
                wire::send(&mut socket, &ToMaster::Fell(fall))?;
            } else if ended.is_some() {
                // They are through; the master will say that the run is over.
                children = None;
            }
        };
        drop(children);
        let _ = socket.shutdown(Shutdown::Both);
        Ok(parted)
    }
}
