//! Trouble that may pass is waited out: another attempt after a pause, and a longer pause after the next.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::abort::Abort;

/// Longest pause that doubling comes to, unless the first one is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest time that trouble with a table or a ledger is waited out.
const OUTAGE: Duration = Duration::from_secs(600);
/// The first and the longest pause meanwhile.
const OUTAGE_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// How often whoever waits looks whether the job has ended.
const TICK: Duration = Duration::from_millis(50);

/// The pause after this attempt, counted from 1: it doubles each time up to a bound, and is shortened at random by up to
/// half, so that those who failed together do not come back together.
pub(super) fn pause(first: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    let longest = LONGEST.max(first);
    doubled.min(longest).mul_f64(0.5 + random / 2.0)
}

/// Pauses between attempts at a table or a ledger, until trouble has lasted for too long.
pub(super) struct Patience {
    since: Instant,
    pause: Duration,
}

impl Patience {
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            pause: OUTAGE_PAUSES[0],
        }
    }

    /// The pause before the next attempt; `None` if there is to be none.
    pub fn pause(&mut self) -> Option<Duration> {
        let pause = self.pause;
        self.pause = (pause * 2).min(OUTAGE_PAUSES[1]);
        (self.since.elapsed() < OUTAGE).then_some(pause)
    }

    /// Waits for the next attempt; `false` if there is to be none.
    pub fn wait(&mut self, abort: &Abort) -> bool {
        let Some(pause) = self.pause() else {
            return false;
        };
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if abort.is_set() {
                return false;
            }
            std::thread::sleep(TICK);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        let base = Duration::from_millis(100);
        for attempt in 1..40 {
            let full = (base * 2_u32.saturating_pow(attempt - 1).min(1_000)).min(LONGEST);
            let pause = pause(base, attempt);
            assert!(
                pause >= full / 2 && pause <= full,
                "attempt {attempt}: {pause:?}"
            );
        }
        assert_ne!(pause(base, 5), pause(base, 5));
        assert_eq!(pause(Duration::ZERO, 3), Duration::ZERO);
        let long = Duration::from_secs(120);
        assert!((1..5).all(|attempt| (long / 2..=long).contains(&pause(long, attempt))));
    }
}
