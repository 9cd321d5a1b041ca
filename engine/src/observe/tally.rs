use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// What a stage counts for the people who read the summary: `from oss`, `outdated in cache`. Clones share the counts.
///
/// A name stands where it was first used, so a stage that names its counts when it is built sets their order, and those
/// that stay at zero are told too.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Vec<(String, u64)>>>);

impl Tally {
    /// Adds to a count.
    ///
    /// ```
    /// let tally = clipsieve_engine::observe::Tally::default();
    /// tally.add("from disk", 0);
    /// tally.add("from oss", 2);
    /// assert_eq!(tally.counts()[1], ("from oss".to_owned(), 2));
    /// ```
    pub fn add(&self, name: &str, count: u64) {
        let mut counts = lock(&self.0);
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, total)) => *total += count,
            None => counts.push((name.to_owned(), count)),
        }
    }

    /// All counts, in the order in which they were first named.
    pub fn counts(&self) -> Vec<(String, u64)> {
        lock(&self.0).clone()
    }
}
