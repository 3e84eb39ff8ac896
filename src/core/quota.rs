//! What the holder of one key may use up, and the bucket that it is taken from.
//!
//! A bucket holds what a minute allows, runs full again evenly, and starts full (the "generic cell rate
//! algorithm" of ITU-T I.371: one number says when it is full).

/// What one key may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// Requests in a minute.
    pub per_minute: u32,
    /// Bytes of answers in a minute.
    pub bytes_per_minute: u64,
    /// Statements under way at the same time.
    pub at_once: u32,
    /// Requests that wait for people at the same time.
    pub waiting: u32,
}

impl Allowance {
    /// Of a key that was made without any words about it.
    pub const DEFAULT: Self = Self {
        per_minute: 6_000,
        bytes_per_minute: 1024 * 1024 * 1024,
        at_once: 64,
        waiting: 50,
    };
}

impl Default for Allowance {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A minute, in microseconds.
const MINUTE_US: u64 = 60_000_000;

/// How much may be used now. Times are microseconds since any one point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bucket {
    per_minute: u64,
    /// When it is full.
    full_us: u64,
}

impl Bucket {
    /// A full one. One that nothing fits in lets nothing out.
    pub fn new(per_minute: u64) -> Self {
        Self {
            per_minute,
            full_us: 0,
        }
    }

    /// What it holds when it is full.
    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// What is in it.
    pub fn left(&self, now_us: u64) -> u64 {
        let room = MINUTE_US.saturating_sub(self.full_in_us(now_us));
        let left = u128::from(room) * u128::from(self.per_minute) / u128::from(MINUTE_US);
        u64::try_from(left).unwrap_or(self.per_minute)
    }

    /// How long it takes to be full again.
    pub fn full_in_us(&self, now_us: u64) -> u64 {
        self.full_us.saturating_sub(now_us)
    }

    /// How long until there are `amount` in it again, where it is less now.
    pub fn wait_us(&self, now_us: u64, amount: u64) -> Option<u64> {
        let wanted = self.full_in_us(now_us).saturating_add(self.cost(amount));
        Some(wanted.saturating_sub(MINUTE_US)).filter(|wait| *wait > 0)
    }

    /// Takes `amount` out, also more than there is: what was used is known only afterwards.
    pub fn take(&mut self, now_us: u64, amount: u64) {
        let from = self.full_us.max(now_us);
        self.full_us = from.saturating_add(self.cost(amount));
    }

    /// How long `amount` takes to run in, rounded down.
    fn cost(&self, amount: u64) -> u64 {
        let cost = u128::from(amount) * u128::from(MINUTE_US);
        let cost = cost.checked_div(u128::from(self.per_minute));
        cost.and_then(|cost| u64::try_from(cost).ok())
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_lets_out_what_a_minute_allows_and_runs_full_again() {
        let (mut bucket, start) = (Bucket::new(3), 1_000_000);
        for left in [2, 1, 0] {
            assert_eq!(bucket.wait_us(start, 1), None);
            bucket.take(start, 1);
            assert_eq!(bucket.left(start), left);
        }
        assert_eq!(bucket.wait_us(start, 1), Some(20_000_000));
        assert_eq!(bucket.wait_us(start + 19_999_999, 1), Some(1));
        assert_eq!(bucket.wait_us(start + 20_000_000, 1), None);
        assert_eq!(bucket.left(start + 20_000_000), 1);
        assert_eq!(bucket.left(start + MINUTE_US), 3);
        assert_eq!(bucket.left(start + 9 * MINUTE_US), 3);
    }

    #[test]
    fn what_was_used_beyond_it_is_owed() {
        let mut bucket = Bucket::new(1_000);
        bucket.take(0, 3_000);
        assert_eq!(bucket.left(0), 0);
        assert_eq!(bucket.wait_us(0, 0), Some(2 * MINUTE_US));
        assert_eq!(bucket.wait_us(2 * MINUTE_US, 0), None);
        assert_eq!(bucket.left(3 * MINUTE_US), 1_000);
    }

    #[test]
    fn nothing_overflows() {
        let mut bucket = Bucket::new(u64::MAX);
        bucket.take(u64::MAX, u64::MAX);
        assert_eq!(bucket.left(u64::MAX), u64::MAX);
        let mut none = Bucket::new(0);
        none.take(0, 1);
        assert!(none.wait_us(0, 1).is_some());
        assert_eq!(none.left(0), 0);
    }
}
