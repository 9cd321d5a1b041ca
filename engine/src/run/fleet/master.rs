use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::wire::{self, BEAT, Build, ToMaster, ToNode};
use crate::random;
use crate::run::children::{Cause, Fall};
use crate::run::secret::Secret;
use crate::run::{RunError, RunErrorKind};

/// The master's side: who is there, and who has to start what.
pub struct Master {
    secret: Secret,
    /// The machines of the run, this one included.
    machines: usize,
    /// Where this machine's processes listen.
    address: String,
    port: Option<u16>,
    /// How long machines are waited for at the start.
    join: Duration,
    /// How long machines that were lost are waited for.
    rejoin: Duration,
    silence: Duration,
    nodes: BTreeMap<usize, Node>,
    /// Why machines that came cannot take part.
    refused: BTreeMap<usize, String>,
    events: Receiver<Event>,
    generation: u64,
    began: bool,
    beaten: Instant,
}

struct Node {
    socket: TcpStream,
    /// Tells this connection from an earlier one of the same machine.
    connection: u64,
    from: String,
    heard: Instant,
    /// Where its processes will listen, once it has joined.
    hosts: Option<Vec<String>>,
    /// Where its processes begin, in the attempt that is on.
    first: Option<usize>,
}

enum Event {
    Called(usize, u64, TcpStream, String),
    Said(usize, u64, Option<ToMaster>),
}

/// What an attempt is made of.
pub(in crate::run) struct Muster {
    pub hosts: Vec<String>,
    pub listeners: Vec<TcpListener>,
    pub token: String,
}

impl Master {
    /// Listens for the other machines on this address and port of this one.
    ///
    /// # Errors
    /// It is no address of this machine, or the port is taken.
    pub fn listen(
        address: &str,
        port: u16,
        machines: usize,
        data_port: Option<u16>,
        secret: Secret,
        times: [Duration; 3],
    ) -> Result<Self, RunError> {
        let failed = |error: io::Error| {
            RunError::new(
                RunErrorKind::Setup,
                format!(
                    "the other machines cannot be awaited on {address}:{port}: {error}; name an address of this machine (`--listen`)"
                ),
            )
        };
        let listener = wire::bind(address, port).map_err(failed)?;
        let (sender, events) = channel();
        let key = secret.clone();
        std::thread::Builder::new()
            .name("clipsieve-fleet".to_owned())
            .spawn(move || accept(&listener, &key, &sender))
            .map_err(failed)?;
        let [join, rejoin, silence] = times;
        Ok(Self {
            secret,
            machines,
            address: address.to_owned(),
            port: data_port,
            join,
            rejoin,
            silence,
            nodes: BTreeMap::new(),
            refused: BTreeMap::new(),
            events,
            generation: 0,
            began: false,
            beaten: Instant::now(),
        })
    }

    /// Waits for the machines and tells them to start. `on` is asked whether to go on waiting.
    pub(in crate::run) fn muster(
        &mut self,
        count: usize,
        on: &dyn Fn() -> bool,
    ) -> Result<Option<Muster>, RunError> {
        let patience = if self.began { self.rejoin } else { self.join };
        let until = Instant::now() + patience;
        loop {
            self.hear();
            self.beat();
            let here = self.nodes.values().filter(|node| node.hosts.is_some());
            if here.count() + 1 >= self.machines {
                break;
            }
            if !on() {
                return Ok(None);
            }
            if Instant::now() >= until {
                if self.began {
                    tracing::warn!("going on without {}", self.missing());
                    break;
                }
                return Err(RunError::new(
                    RunErrorKind::Setup,
                    format!(
                        "not all machines came within {patience:?}: {} missing; here are {}",
                        self.missing(),
                        self.present()
                    ),
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.began = true;
        self.generation += 1;
        let failed = |error: io::Error| {
            RunError::new(
                RunErrorKind::Setup,
                format!("no socket for the processes on {}: {error}", self.address),
            )
        };
        let (listeners, mut hosts) =
            wire::listeners(&self.address, self.port, count).map_err(failed)?;
        let random = random::token().map_err(failed)?;
        let purpose = format!("attempt {} {random}", self.generation);
        for node in self.nodes.values_mut() {
            node.first = None;
            if let Some(theirs) = node.hosts.take() {
                node.first = Some(hosts.len());
                hosts.extend(theirs);
            }
        }
        for node in self.nodes.values_mut() {
            if let Some(first) = node.first {
                let start = ToNode::Start {
                    hosts: hosts.clone(),
                    first,
                    purpose: purpose.clone(),
                    build: Build::this(),
                };
                // Silence will show if it did not get there.
                let _ = wire::send(&mut node.socket, &start);
            }
        }
        Ok(Some(Muster {
            hosts,
            listeners,
            token: self.secret.derive(&purpose).to_hex(),
        }))
    }

    /// What befell another machine or its processes, if something did.
    pub(in crate::run) fn look(&mut self) -> Option<Fall> {
        self.beat();
        if let Some(fall) = self.hear() {
            return Some(fall);
        }
        let silence = self.silence;
        let silent = self
            .nodes
            .iter()
            .find(|(_, node)| node.first.is_some() && node.heard.elapsed() > silence)
            .map(|(machine, _)| *machine)?;
        self.lose(
            silent,
            &format!("gave no sign of life for {silence:?}; it is dead or the link is cut"),
        )
    }

    /// Has all other machines take their processes down.
    pub(in crate::run) fn take_down(&mut self) {
        self.tell_all(&ToNode::Down);
    }

    /// Tells all other machines that the run is over.
    pub(in crate::run) fn over(&mut self, code: i32) {
        self.tell_all(&ToNode::Over(code));
    }

    fn tell_all(&mut self, message: &ToNode) {
        for node in self.nodes.values_mut() {
            node.first = None;
            let _ = wire::send(&mut node.socket, message);
        }
    }

    fn beat(&mut self) {
        if self.beaten.elapsed() < BEAT {
            return;
        }
        // This process itself may have stood still, and the others' signs of life with it.
        if self.beaten.elapsed() > BEAT * 3 {
            for node in self.nodes.values_mut() {
                node.heard = Instant::now();
            }
        }
        self.beaten = Instant::now();
        for node in self.nodes.values_mut() {
            let _ = wire::send(&mut node.socket, &ToNode::Beat);
        }
    }

    /// Takes in what the others said; the first fall among it.
    fn hear(&mut self) -> Option<Fall> {
        while let Ok(event) = self.events.try_recv() {
            let fall = match event {
                Event::Called(machine, connection, socket, from) => {
                    // An earlier connection of the same machine is dead, whatever it seems.
                    let fall = self.lose(machine, "came back, so it was gone");
                    let node = Node {
                        socket,
                        connection,
                        from,
                        heard: Instant::now(),
                        hosts: None,
                        first: None,
                    };
                    self.nodes.insert(machine, node);
                    fall
                }
                Event::Said(machine, connection, said) => self.take_in(machine, connection, said),
            };
            if fall.is_some() {
                return fall;
            }
        }
        None
    }

    fn take_in(&mut self, machine: usize, connection: u64, said: Option<ToMaster>) -> Option<Fall> {
        let node = self.nodes.get_mut(&machine)?;
        if node.connection != connection {
            return None;
        }
        node.heard = Instant::now();
        match said {
            Some(ToMaster::Beat) => None,
            Some(ToMaster::Join { hosts, build }) => {
                match Build::refusal(&build, &Build::this()) {
                    None => {
                        node.hosts = Some(hosts);
                        self.refused.remove(&machine);
                    }
                    Some(why) => self.refuse(machine, why),
                }
                None
            }
            // Of an earlier attempt it does not matter any more.
            Some(ToMaster::Fell(fall)) => node.first.take().map(|_| fall),
            Some(ToMaster::Leaving) => {
                // Nobody waits for it.
                self.machines = self.machines.saturating_sub(1).max(1);
                self.lose(machine, "was told to end")
            }
            None => self.lose(machine, "is not connected any more"),
        }
    }

    /// Sends a machine away that cannot take part.
    fn refuse(&mut self, machine: usize, why: String) {
        let Some(mut node) = self.nodes.remove(&machine) else {
            return;
        };
        // It hangs up when it has read that; if it does not understand it, too.
        let _ = wire::send(&mut node.socket, &ToNode::Refused(why.clone()));
        let told = format!("machine {machine} ({}) is refused: {why}", node.from);
        // It may come again and again.
        if self.refused.insert(machine, why).is_none() {
            tracing::error!("{told}");
        }
    }

    /// Forgets a machine; a fall, if its processes were part of the attempt.
    fn lose(&mut self, machine: usize, how: &str) -> Option<Fall> {
        let node = self.nodes.remove(&machine)?;
        let _ = node.socket.shutdown(std::net::Shutdown::Both);
        node.first.map(|first| Fall {
            process: first,
            how: format!("is on machine {machine} ({}), which {how}", node.from),
            cause: Cause::Died(Vec::new()),
        })
    }

    fn missing(&self) -> String {
        let missing = (1..self.machines).filter(|machine| {
            self.nodes
                .get(machine)
                .is_none_or(|node| node.hosts.is_none())
        });
        let missing: Vec<String> = missing.map(|machine| machine.to_string()).collect();
        match missing.len() {
            1 => format!("machine {}", missing[0]),
            _ => format!("machines {}", missing.join(", ")),
        }
    }

    fn present(&self) -> String {
        let nodes = self.nodes.iter();
        let mut present = vec![format!("machine 0 ({}, the master)", self.address)];
        present.extend(nodes.map(|(machine, node)| match node.hosts {
            Some(_) => format!("machine {machine} ({})", node.from),
            None => format!(
                "machine {machine} ({}; it called, but has not joined)",
                node.from
            ),
        }));
        let refused = self.refused.iter();
        present.extend(refused.map(|(machine, why)| format!("machine {machine} (refused: {why})")));
        present.join(", ")
    }
}

/// Takes calls; who cannot prove that it belongs to the run is hung up on.
fn accept(listener: &TcpListener, secret: &Secret, events: &Sender<Event>) {
    for (connection, socket) in listener.incoming().enumerate() {
        let Ok(mut socket) = socket else { continue };
        let (secret, events) = (secret.clone(), events.clone());
        // Each on a thread of its own: one that says nothing holds up nobody.
        let greet = move || -> io::Result<()> {
            wire::prepare(&socket)?;
            let from = socket.peer_addr()?.to_string();
            let machine = match secret.answer(&mut socket) {
                Ok(machine) => usize::try_from(machine).unwrap_or(usize::MAX),
                Err(error) => {
                    tracing::warn!("{from} called, and is not of this run: {error}");
                    return Err(error);
                }
            };
            wire::settle(&socket)?;
            let connection = connection as u64;
            let reader = socket.try_clone()?;
            if events
                .send(Event::Called(machine, connection, socket, from))
                .is_err()
            {
                return Ok(());
            }
            wire::listen_to(&reader, events, move |said| {
                Event::Said(machine, connection, said)
            })
        };
        let _ = std::thread::Builder::new()
            .name("clipsieve-fleet".to_owned())
            .spawn(greet);
    }
}
