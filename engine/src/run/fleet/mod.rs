//! A run over several machines: how their supervisors find each other and act as one.
//!
//! One of them is the master: it has process 0, and the ledger. The others call it at its address (the only one that has to be
//! known before), prove that they have the run's secret, and say where their processes will listen. When all are there the master
//! tells each who is where, and each starts its own processes. From then on both sides give signs of life. Whatever
//! falls, anywhere, the master takes everything down; who still answers starts again with the next attempt, and a
//! machine that is gone is waited for a while and then done without.
//!
//! ```text
//! node                                    master
//! call, prove ──────────────────────────→ prove
//! Join { its build, where its processes listen } ──→
//!                                    ←──  Refused { why }                          … if that is not the master's
//!                                    ←──  Start { all addresses, who you are }     … once all are there
//! Beat … ───────────────────────────────→ ←── Beat …
//! Fell { how } ─────────────────────────→
//!                                    ←──  Down                                     … join again
//!                                    ←──  Over { exit code }
//! ```
//!
//! A link that is cut shows as silence, on both sides. A link that is cut between two machines which are not the master shows in
//! their processes: the kernel is told to give up a connection that does not get through.

mod master;
mod node;
mod wire;

pub use master::Master;
pub(super) use master::Muster;
pub use node::Node;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::run::board::Asked;
    use crate::run::secret::Secret;

    const SECRET: &[u8] = b"0123456789abcdef";

    fn free_port() -> u16 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    }

    #[test]
    fn a_machine_of_another_build_is_refused() {
        for (join, theirs) in [
            (
                r#"{"Join":{"hosts":["127.0.0.1:1"],"build":{"version":"0.0.1","protocol":7}}}"#,
                "clipsieve 0.0.1 (protocol 7)",
            ),
            // As it was said when nobody told his build.
            (
                r#"{"Join":{"hosts":["127.0.0.1:1"]}}"#,
                "an earlier clipsieve",
            ),
        ] {
            let port = free_port();
            let secret = Secret::new(SECRET);
            let times = [Duration::from_millis(300); 3];
            let mut master =
                Master::listen("127.0.0.1", port, 2, None, secret.clone(), times).unwrap();
            let node = std::thread::spawn(move || {
                let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
                secret.call(&mut socket, 1).unwrap();
                writeln!(socket, "{join}").unwrap();
                let mut answer = String::new();
                let mut lines = BufReader::new(socket);
                while !answer.contains("Refused") {
                    answer.clear();
                    assert!(lines.read_line(&mut answer).unwrap() > 0);
                }
                answer
            });
            let failed = master.muster(1, &|| true).err().unwrap().message;
            let answer = node.join().unwrap();
            let why = format!("it runs {theirs}, the master clipsieve ");
            assert!(answer.contains(&why), "{answer}");
            assert!(
                failed.contains(&format!("machine 1 (refused: {why}")),
                "{failed}"
            );
        }
    }

    #[test]
    fn a_node_that_is_refused_does_not_try_again() {
        for said in [
            r#"{"Refused":"it runs another build"}"#,
            // A master that does not know of builds.
            r#"{"Start":{"hosts":["127.0.0.1:1"],"first":0,"purpose":"attempt"}}"#,
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let master = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                Secret::new(SECRET).answer(&mut socket).unwrap();
                writeln!(socket, "{said}").unwrap();
                let mut all = String::new();
                // To the end of the connection.
                let _ = socket.read_to_string(&mut all);
                all
            });
            let node = node(port, None, &|| Asked::GoOn);
            let failed = node.run_with(&mut |_| Command::new("true")).unwrap_err();
            assert!(failed.message.contains("it runs "), "{failed}");
            assert!(failed.message.contains("build"), "{failed}");
            let joined = master.join().unwrap();
            assert!(joined.contains(env!("CARGO_PKG_VERSION")), "{joined}");
        }
    }

    fn node<'a>(port: u16, address: Option<&str>, asked: &'a dyn Fn() -> Asked) -> Node<'a> {
        Node {
            master: format!("127.0.0.1:{port}"),
            machine: 1,
            processes: 1,
            address: address.map(str::to_owned),
            port: None,
            secret: Secret::new(SECRET),
            join: Duration::from_millis(300),
            silence: Duration::from_secs(20),
            scratch: Path::new("/nonexistent"),
            local: 0,
            asked,
        }
    }

    #[test]
    fn a_node_that_cannot_listen_is_told_of_at_both_ends() {
        let port = free_port();
        let secret = Secret::new(SECRET);
        let times = [Duration::from_millis(100); 3];
        let mut master = Master::listen("127.0.0.1", port, 2, None, secret, times).unwrap();
        let started = Instant::now();
        let asked = || match started.elapsed() < Duration::from_secs(5) {
            true => Asked::GoOn,
            false => Asked::Stop,
        };
        // An address of nobody.
        let node = node(port, Some("192.0.2.1"), &asked);
        let failed = node.run_with(&mut |_| Command::new("true")).unwrap_err();
        assert!(
            failed.message.contains("cannot listen on 192.0.2.1"),
            "{failed}"
        );
        let missing = master.muster(1, &|| true).err().unwrap();
        assert!(
            missing.message.contains("it called, but has not joined"),
            "{missing}"
        );
    }
}
