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
