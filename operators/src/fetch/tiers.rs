//! The tiers of a fetch: who is asked, and who is left out for a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{ErrorKind, OperatorError};

use super::{Trouble, is_failure};
use crate::stores::{Place, StoreError, StoreErrorKind, wait};

/// Failures one after the other that send a tier to rest.
const TOLERATED: u32 = 5;
/// How long it rests.
const REST: Duration = Duration::from_secs(30);

/// One tier, and how it fared lately.
pub(super) struct Tier {
    pub place: Place,
    /// What the summary calls its files, failures and so on.
    pub hits: String,
    pub failures: String,
    pub outdated: String,
    pub skips: String,
    failed: AtomicU32,
    rests_until: Mutex<Option<Instant>>,
}

impl Tier {
    pub fn new(place: Place) -> Self {
        let name = place.name();
        Self {
            hits: format!("from {name}"),
            failures: format!("passed over {name}"),
            outdated: format!("outdated in {name}"),
            skips: format!("not to look in {name}"),
            place,
            failed: AtomicU32::new(0),
            rests_until: Mutex::new(None),
        }
    }

    /// Whether rows may forbid to look in it.
    pub fn is_alluxio(&self) -> bool {
        self.place.service() == "alluxio"
    }

    /// Notes how a question ended. A tier that fails again and again rests, so that it does not hold up every row.
    pub fn note(&self, trouble: Option<&Trouble>) {
        match trouble {
            Some(Trouble::Here(_)) => {}
            Some(Trouble::Tier(answer)) if is_failure(answer) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) + 1 >= TOLERATED {
                    let mut until = self
                        .rests_until
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *until = Some(Instant::now() + REST);
                }
            }
            _ => self.failed.store(0, Ordering::Relaxed),
        }
    }

    /// Whether it is left out now. After its rest one failure is enough for another.
    pub fn rests(&self) -> bool {
        let until = self
            .rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// The answer of a tier that rests.
    pub fn resting(&self) -> StoreError {
        let message = format!(
            "left out for {} s after {TOLERATED} failures",
            REST.as_secs()
        );
        StoreError::new(StoreErrorKind::Temporary, message)
    }
}

/// Asks every tier whether it answers, before the first row.
///
/// # Errors
/// `Config` if one is set up wrongly or refuses us; `Temporary` if none of them answers. Stores that rows choose are asked
/// when a row does.
pub(super) fn probe(tiers: &[Tier]) -> Result<(), OperatorError> {
    let mut silent = Vec::new();
    for tier in tiers {
        let Some(store) = tier.place.fixed().cloned() else {
            continue;
        };
        let Err(answer) = wait(async move { store.probe().await }) else {
            continue;
        };
        let told = format!("store `{}`: {answer}", tier.place.name());
        if answer.kind != StoreErrorKind::Temporary {
            return Err(OperatorError::config(told));
        }
        tracing::warn!("{told}");
        silent.push(told);
    }
    if !tiers.is_empty() && silent.len() == tiers.len() {
        let message = format!("no tier answers: {}", silent.join("; "));
        return Err(OperatorError::new(ErrorKind::Temporary, message));
    }
    Ok(())
}
