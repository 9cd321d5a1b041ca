//! The caller's way to end work on a file: a deadline, a cancelled job.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::MediaError;

/// A cheap handle that answers "should this stop now?". It is asked at every read, packet and frame.
#[derive(Clone, Default)]
pub struct Interrupt(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Interrupt {
    /// Never stops.
    pub fn never() -> Self {
        Self(None)
    }

    /// Stops as soon as `raised` says true. It is asked often, from any thread: keep it quick, and let it not panic.
    pub fn new(raised: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(raised)))
    }

    /// Stops when `deadline` has passed.
    pub fn at(deadline: Instant) -> Self {
        Self::new(move || Instant::now() >= deadline)
    }

    /// Whether to stop now.
    pub fn is_raised(&self) -> bool {
        self.0.as_ref().is_some_and(|raised| raised())
    }

    /// [`MediaError::Interrupted`] when it is time to stop; `during` says what was being done.
    pub(crate) fn check(&self, during: impl FnOnce() -> String) -> Result<(), MediaError> {
        if self.is_raised() {
            return Err(MediaError::Interrupted { during: during() });
        }
        Ok(())
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt")
            .field(&self.0.as_ref().map(|_| ".."))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_raises_once_it_has_passed() {
        assert!(!Interrupt::never().is_raised());
        assert!(!Interrupt::at(Instant::now() + Duration::from_secs(3600)).is_raised());
        let late = Interrupt::at(Instant::now());
        assert!(late.is_raised());
        let error = late.check(|| "decoding frame 3 of a.mp4".into());
        assert!(
            matches!(error, Err(MediaError::Interrupted { during }) if during.contains("frame 3"))
        );
    }
}
