//! Seeded chance that stays the same from one version of a library to the next: a sample is known by its seed.

/// A stream of chance (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of item `index` of the stream named `name` under `seed`: it depends on nothing else.
    pub fn of(seed: u64, name: &str, index: u64) -> Self {
        let mut hash = Self(seed ^ fnv(name.as_bytes()));
        let first = hash.bits();
        Self(first ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A stream of its own, for a part whose use of chance must not shift what follows.
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }

    /// 0 up to, but not, 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Evenly from `low` up to `high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Evenly in the logarithm, from `low` up to `high`; both above 0.
    pub fn log_range(&mut self, low: f32, high: f32) -> f32 {
        self.range(low.ln(), high.ln()).exp()
    }

    /// A whole number from 0 up to, but not, `count`; 0 for a count of 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True with this probability.
    pub fn is(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> f32 {
        if self.is(0.5) { 1.0 } else { -1.0 }
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none: a bug.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One of these by its weight.
    ///
    /// # Panics
    /// If there is none: a bug.
    pub fn weighted<'a, T>(&mut self, from: &'a [(f32, T)]) -> &'a T {
        let total: f32 = from.iter().map(|(weight, _)| weight).sum();
        let mut left = self.unit() * total;
        for (weight, value) in from {
            left -= weight;
            if left < 0.0 {
                return value;
            }
        }
        &from[from.len() - 1].1
    }

    /// Puts these in another order, each as probable as any.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }

    /// Normally distributed with mean 0 and deviation 1, nearly: the sum of four even numbers.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 3f32.sqrt()
    }
}

/// FNV-1a, 64 bit.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_another() {
        let draw = |mut chance: Chance| (0..5).map(|_| chance.bits()).collect::<Vec<_>>();
        assert_eq!(
            draw(Chance::of(1, "shared", 7)),
            draw(Chance::of(1, "shared", 7))
        );
        assert_ne!(
            draw(Chance::of(1, "shared", 7)),
            draw(Chance::of(1, "shared", 8))
        );
        assert_ne!(
            draw(Chance::of(1, "shared", 7)),
            draw(Chance::of(1, "rotation", 7))
        );
        assert_ne!(
            draw(Chance::of(1, "shared", 7)),
            draw(Chance::of(2, "shared", 7))
        );
    }

    #[test]
    fn numbers_stay_in_their_ranges_and_fill_them() {
        let mut chance = Chance::new(3);
        let drawn: Vec<f32> = (0..2000).map(|_| chance.range(-2.0, 3.0)).collect();
        assert!(drawn.iter().all(|x| (-2.0..3.0).contains(x)));
        assert!(drawn.iter().any(|x| *x < -1.9) && drawn.iter().any(|x| *x > 2.9));
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[chance.between(0, 4)] = true);
        assert_eq!(seen, [true; 5]);
        let heavy = [(0.0, 'a'), (2.0, 'b')];
        assert!((0..100).all(|_| *chance.weighted(&heavy) == 'b'));
        let normal: Vec<f32> = (0..4000).map(|_| chance.normal()).collect();
        let square = normal.iter().map(|x| x * x).sum::<f32>() / 4000.0;
        assert!((square - 1.0).abs() < 0.1, "{square}");
        let mut order: Vec<usize> = (0..50).collect();
        chance.shuffle(&mut order);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
