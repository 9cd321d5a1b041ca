//! The calls of a stage that go on, each under a number that is never used again.

/// A table of calls. Places are used again, which costs less than a map at a million calls a second; the number of a call
/// says in its upper half how often its place was used before, so that one that was taken out is not found under the
/// number of one that came later.
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    uses: u32,
    entry: Option<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Table<T> {
    /// Puts an entry in: its number.
    pub fn insert(&mut self, entry: T) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                uses: 0,
                entry: None,
            });
            // A stage never has as many calls at once.
            (self.places.len() - 1) as u32
        });
        let at = &mut self.places[place as usize];
        at.uses = at.uses.wrapping_add(1);
        at.entry = Some(entry);
        u64::from(at.uses) << 32 | u64::from(place)
    }

    /// Takes the entry of this number out, if it is still there.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let place = number as u32;
        let at = self.places.get_mut(place as usize)?;
        if u64::from(at.uses) != number >> 32 {
            return None;
        }
        let entry = at.entry.take()?;
        self.free.push(place);
        Some(entry)
    }

    /// The entry of this number, if it is still there.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let at = self.places.get_mut(number as u32 as usize)?;
        at.entry
            .as_mut()
            .filter(|_| u64::from(at.uses) == number >> 32)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// All entries with their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.places
            .iter_mut()
            .enumerate()
            .filter_map(|(place, at)| {
                let number = u64::from(at.uses) << 32 | place as u64;
                at.entry.as_mut().map(|entry| (number, entry))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_its_own_entry_and_no_later_one() {
        let mut table = Table::default();
        let (a, b) = (table.insert("a"), table.insert("b"));
        assert_eq!(table.remove(a), Some("a"));
        let c = table.insert("c");
        assert_eq!((table.remove(a), table.get_mut(a)), (None, None));
        assert_eq!(table.get_mut(c), Some(&mut "c"));
        let all: Vec<_> = table
            .iter_mut()
            .map(|(number, entry)| (number, *entry))
            .collect();
        assert_eq!(all, [(c, "c"), (b, "b")]);
        assert_eq!((table.remove(c), table.remove(b)), (Some("c"), Some("b")));
        assert!(table.is_empty());
        assert_eq!(table.remove(u64::MAX), None);
    }
}
