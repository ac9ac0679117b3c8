//! A small seeded generator: the same seed gives the same choices everywhere.

use std::time::{SystemTime, UNIX_EPOCH};

/// Splitmix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.next() % end).expect("a small number")
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How long a test of this kind is: `DAGCACHE_TEST_STEPS` (or its like) in the environment, else `usual`.
pub(crate) fn steps(variable: &str, usual: usize) -> usize {
    let said = std::env::var(variable).ok();
    said.map_or(usual, |text| text.parse().expect(variable))
}

/// `DAGCACHE_TEST_SEED`, else one of the clock: each run looks somewhere else.
pub(crate) fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    match std::env::var("DAGCACHE_TEST_SEED") {
        Ok(text) => text.parse().expect("DAGCACHE_TEST_SEED is a number"),
        Err(_) => u64::from(now().expect("a clock").subsec_nanos()),
    }
}

/// Says what a campaign came to, to those who asked to see it (`--nocapture`).
#[expect(
    clippy::print_stdout,
    reason = "kept back by the test runner unless asked for"
)]
pub(crate) fn tell(what: &str) {
    println!("{what}");
}
