//! A strict stand-in for ODPS (MaxCompute) on loopback, for tests.
//!
//! It holds tables in memory and answers as much of the metadata service (below `/api`) and of the Tunnel (beside it) as
//! the official client needs. It checks every signature (versions 2 and 4) and every checksum (of records and of Arrow
//! frames), shows nothing that is not committed, and refuses what the real service refuses: partitions that are not there,
//! blocks that came damaged, commits with missing blocks, a second commit. [`Fault`]s make it misbehave.
//!
//! What it cannot show is what only the real service decides: quotas, permissions, limits on blocks.

mod api;
mod http;
mod metadata;
mod rows;
mod sign;
mod tables;
mod tunnel;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use rows::{Row, Value};
use tables::State;
pub use tables::{Column, Table};

/// Whose requests are answered.
#[derive(Clone)]
pub struct Account {
    /// The access id.
    pub access_id: String,
    /// The access key.
    pub access_key: String,
    /// The token that has to come with each request, if one does.
    pub sts_token: Option<String>,
    /// The region, if signatures of version 4 are known.
    pub region: Option<String>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            access_id: "double-id".to_owned(),
            access_key: "double-key".to_owned(),
            sts_token: None,
            region: None,
        }
    }
}

/// What is being asked, for [`Fault`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Anything of the metadata service.
    Metadata,
    /// A new download session, or a look at one.
    Download,
    /// Rows of a download session.
    Rows,
    /// A new upload session.
    Upload,
    /// A block of rows.
    Block,
    /// A look at an upload session.
    Look,
    /// A commit.
    Commit,
}

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status instead of doing it.
    Status(u16),
    /// Does it, and ends the connection after so many bytes of the answer's body.
    CutAnswer(usize),
    /// Does it, and ends the connection without an answer.
    NoAnswer,
    /// Flips a bit of this byte of the answer's body.
    Flip(usize),
    /// Says that the download session is not ready yet.
    Initiating,
    /// Says that the session is expired.
    Expired,
    /// Leaves out the last rows, with sound checksums.
    FewerRows,
}

/// A running double. Dropping it stops it.
pub struct Double {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    account: Account,
}

impl Double {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(account: Account) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped, known) = (Arc::clone(&state), Arc::clone(&stop), account.clone());
        std::thread::spawn(move || {
            http::serve(listener, stopped, move |request| {
                api::answer(&request, &known, &shared, address)
            });
        });
        Ok(Self {
            address,
            stop,
            state,
            account,
        })
    }

    /// The endpoint of the metadata service; it names that of the Tunnel.
    pub fn endpoint(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Whose requests are answered.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Makes a table, in place of one of that name. Columns are `name type`, with the types `string`, `bigint`, `double`,
    /// `boolean` and `datetime`; a table without partition keys has one partition, `""`.
    pub fn create(&self, project: &str, table: &str, columns: &[&str], partition_keys: &[&str]) {
        let table_of = Table::new(columns, partition_keys);
        self.state()
            .tables
            .insert((project.to_owned(), table.to_owned()), table_of);
    }

    /// Puts rows into a partition (`ds=1`, or `""`), which is made if it is missing.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn insert(&self, project: &str, table: &str, partition: &str, rows: Vec<Row>) {
        let mut state = self.state();
        let table = state
            .tables
            .get_mut(&(project.to_owned(), table.to_owned()));
        table
            .expect("a table of that name")
            .put(partition, rows, false);
    }

    /// The rows of a partition, as far as they are committed; `None` if it is not there.
    pub fn rows(&self, project: &str, table: &str, partition: &str) -> Option<Vec<Row>> {
        let state = self.state();
        let table = state.tables.get(&(project.to_owned(), table.to_owned()))?;
        Some(table.partitions.get(partition)?.as_ref().clone())
    }

    /// Misbehaves at the next requests for this step, one fault each.
    pub fn misbehave(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        self.state()
            .faults
            .extend(faults.into_iter().map(|fault| (step, fault)));
    }

    /// How many requests for a step were answered, faults included.
    pub fn count(&self, step: Step) -> usize {
        self.state()
            .steps
            .iter()
            .filter(|known| **known == step)
            .count()
    }

    /// The versions of signatures that were seen, in order.
    pub fn signatures(&self) -> Vec<u8> {
        self.state().signatures.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

/// Why a request is refused.
pub(crate) struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
        }
    }
}
