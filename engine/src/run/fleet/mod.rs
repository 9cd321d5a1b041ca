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
//! Join { where its processes listen } ──→
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
    use std::net::TcpListener;
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::run::board::Asked;
    use crate::run::secret::Secret;

    #[test]
    fn a_node_that_cannot_listen_is_told_of_at_both_ends() {
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let port = free().unwrap().port();
        let secret = Secret::new(b"0123456789abcdef");
        let times = [Duration::from_millis(100); 3];
        let mut master = Master::listen("127.0.0.1", port, 2, None, secret.clone(), times).unwrap();
        let started = Instant::now();
        let node = Node {
            master: format!("127.0.0.1:{port}"),
            machine: 1,
            processes: 1,
            // An address of nobody.
            address: Some("192.0.2.1".to_owned()),
            port: None,
            secret,
            join: Duration::from_millis(300),
            silence: Duration::from_secs(20),
            scratch: Path::new("/nonexistent"),
            local: 0,
            asked: &|| match started.elapsed() < Duration::from_secs(5) {
                true => Asked::GoOn,
                false => Asked::Stop,
            },
        };
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
