//! When to try again, as the public SDKs do.

use std::time::Duration;

use super::{Error, ErrorKind};

/// How often, and after what pauses.
#[derive(Debug, Clone)]
pub struct Policy {
    /// First pause after an answer that says "later" (308, 429) or "out of order" (408, 5xx); doubled each time.
    pub pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Retries of a server that is out of order.
    pub server_retries: u32,
    /// Retries of a server that says "later": practically for ever, with the longest pause about an hour.
    pub busy_retries: u32,
    /// Retries of a connection that broke, or of an answer whose checksum is wrong.
    pub network_retries: u32,
    /// Pause before each of these.
    pub network_pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(64),
            server_retries: 7,
            busy_retries: 60,
            network_retries: 4,
            network_pause: Duration::from_millis(100),
        }
    }
}

/// What one call has been through so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    server: u32,
    busy: u32,
    network: u32,
}

/// How a call failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// 308 or 429.
    Busy(Error),
    /// 408 or 5xx.
    Server(Error),
    /// The connection, or what came over it.
    Network(Error),
    /// Nothing that another attempt would mend.
    Final(Error),
}

impl Trouble {
    /// Says what was tried.
    pub fn context(self, tried: impl std::fmt::Display) -> Self {
        match self {
            Self::Busy(error) => Self::Busy(error.context(tried)),
            Self::Server(error) => Self::Server(error.context(tried)),
            Self::Network(error) => Self::Network(error.context(tried)),
            Self::Final(error) => Self::Final(error.context(tried)),
        }
    }
}

/// Trouble that no retry mends, unless the error itself says that it may.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Temporary | ErrorKind::Corrupt => Self::Network(error),
            _ => Self::Final(error),
        }
    }
}

impl Attempts {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The trouble itself, with the number of attempts, if there is to be no further one.
    pub async fn pause(&mut self, policy: &Policy, trouble: Trouble) -> Result<(), Error> {
        let (error, count, most) = match trouble {
            Trouble::Busy(error) => (error, &mut self.busy, policy.busy_retries),
            Trouble::Server(error) => (error, &mut self.server, policy.server_retries),
            Trouble::Network(error) => {
                let again = self.network < policy.network_retries;
                self.network += 1;
                if !again {
                    return Err(given_up(error, self.network));
                }
                tracing::warn!(%error, "odps: trying again");
                tokio::time::sleep(policy.network_pause).await;
                return Ok(());
            }
            Trouble::Final(error) => return Err(error),
        };
        *count += 1;
        if *count > most {
            let attempts = *count;
            return Err(given_up(error, attempts));
        }
        let doubled = policy.pause.saturating_mul(1 << (*count - 1).min(16));
        tracing::warn!(%error, "odps: trying again");
        tokio::time::sleep(doubled.min(policy.longest_pause)).await;
        Ok(())
    }

    /// Work went on: what was before does not count against what comes.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn given_up(mut error: Error, attempts: u32) -> Error {
    error.message = format!("{} ({attempts} attempts)", error.message);
    error
}
