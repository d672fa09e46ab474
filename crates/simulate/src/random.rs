//! Random numbers by seed.

use std::ops::RangeInclusive;

/// A generator of random numbers (splitmix64). The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Returns the generator of a part of the simulation, which does not depend on how many numbers
    /// other parts have drawn.
    #[must_use]
    pub fn of(seed: u64, part: u64, number: u64) -> Self {
        Self(mix(mix(mix(seed) ^ part) ^ number))
    }

    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number of a range.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end() - range.start() + 1;
        range.start() + self.draw() % span
    }

    /// Returns true this many times of a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.draw() % 1000 < permille
    }

    /// Returns one of several values.
    pub fn pick<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let at = self.draw() % (others.len() as u64 + 1);
        let other = at.checked_sub(1).and_then(|at| others.get(at as usize));
        other.copied().unwrap_or(first)
    }
}

/// Mixes the bits of a number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut bits = number;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
