use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A set of row numbers, held as ranges: rows are done nearly in order, so there are few.
///
/// ```
/// use clipsieve_engine::ledger::RowSet;
///
/// let mut rows = RowSet::default();
/// assert!([4, 2, 3, 9].into_iter().all(|row| rows.insert(row)));
/// assert!(!rows.insert(3), "it is in already");
/// assert_eq!(rows.ranges().collect::<Vec<_>>(), [(2, 5), (9, 10)]);
/// assert_eq!(rows.len(), 4);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct RowSet {
    /// The end of each range by its start; ranges neither touch nor overlap.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RowSet {
    /// Adds a row; whether it was not there before.
    pub fn insert(&mut self, row: u64) -> bool {
        self.insert_range(row, row + 1)
    }

    /// Adds the rows from `start` up to `end`, half-open; `false` and nothing added if one of them is there already.
    pub fn insert_range(&mut self, start: u64, end: u64) -> bool {
        if start >= end {
            return start == end;
        }
        let before = self.ranges.range(..=start).next_back();
        let before = before.map(|(start, end)| (*start, *end));
        let after = self.ranges.range(start..).next();
        let after = after.map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, reaches)| reaches > start)
            || after.is_some_and(|(begins, _)| begins < end)
        {
            return false;
        }
        self.len += end - start;
        let mut joined = (start, end);
        if let Some((begins, _)) = before.filter(|(_, reaches)| *reaches == start) {
            joined.0 = begins;
        }
        if let Some((begins, reaches)) = after.filter(|(begins, _)| *begins == end) {
            self.ranges.remove(&begins);
            joined.1 = reaches;
        }
        self.ranges.insert(joined.0, joined.1);
        true
    }

    /// Adds all rows of another set; `false` if one of them is there already, the set is unusable then.
    pub fn insert_all(&mut self, other: &RowSet) -> bool {
        let mut ranges = other.ranges();
        ranges.all(|(start, end)| self.insert_range(start, end))
    }

    /// Whether a row is in.
    pub fn contains(&self, row: u64) -> bool {
        let before = self.ranges.range(..=row).next_back();
        before.is_some_and(|(_, end)| row < *end)
    }

    /// How many rows are in.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no row is in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The ranges, half-open, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(start, end)| (*start, *end))
    }
}

impl From<Vec<(u64, u64)>> for RowSet {
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        let mut rows = RowSet::default();
        for (start, end) in ranges {
            rows.insert_range(start, end);
        }
        rows
    }
}

impl From<RowSet> for Vec<(u64, u64)> {
    fn from(rows: RowSet) -> Self {
        rows.ranges().collect()
    }
}

impl FromIterator<u64> for RowSet {
    fn from_iter<T: IntoIterator<Item = u64>>(rows: T) -> Self {
        let mut set = RowSet::default();
        for row in rows {
            set.insert(row);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_says(rows in prop::collection::vec(0_u64..60, 0..80)) {
            let mut set = RowSet::default();
            let mut plain = BTreeSet::new();
            for row in rows {
                prop_assert_eq!(set.insert(row), plain.insert(row));
            }
            prop_assert_eq!(set.len(), plain.len() as u64);
            for row in 0..60 {
                prop_assert_eq!(set.contains(row), plain.contains(&row));
            }
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|two| two[0].1 < two[1].0), "{:?}", ranges);
            let text = serde_json::to_string(&set).expect("it can be written");
            prop_assert_eq!(serde_json::from_str::<RowSet>(&text).expect("and read"), set);
        }
    }
}
