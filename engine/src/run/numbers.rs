//! Maps by numbers that are counted up: nobody chooses them, so they need no hash that withstands an enemy.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by a counted number. At a million look-ups a second the default hash shows in the profile.
pub(super) type ByNumber<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// Spreads counted numbers over the map: the upper bits, which it looks at too, have to differ.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the golden ratio's bits.
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32);
    }
}
