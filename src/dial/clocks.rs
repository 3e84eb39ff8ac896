//! How far the relay's clock is from this agent's.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::core::refusal::{Code, Refusal};

/// The most that two clocks may differ, in milliseconds.
pub(super) const MOST_MS: i64 = 5_000;

/// The difference that surely is there, in milliseconds; positive where the relay is ahead.
#[derive(Debug, Default)]
pub(super) struct Clocks(AtomicI64);

impl Clocks {
    /// Takes a sign of life that left here at `sent`, met the relay's clock at `relay`, and was back at
    /// `now`. What the way may have taken is given in their favour.
    pub(super) fn compare(&self, (sent, relay, now): (i64, i64, i64)) {
        let behind = sent.saturating_sub(relay);
        let ahead = relay.saturating_sub(now);
        let difference = if ahead > 0 {
            ahead
        } else if behind > 0 {
            -behind
        } else {
            0
        };
        let before = self.0.swap(difference, Ordering::Relaxed);
        if before.abs() <= MOST_MS && difference.abs() > MOST_MS {
            tracing::warn!(
                difference_ms = difference,
                "clock_skew: the relay's clock is another"
            );
        }
    }

    /// Refuses where they are too far apart for a token's times to mean anything.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let difference = self.0.load(Ordering::Relaxed);
        if difference.abs() <= MOST_MS {
            return Ok(());
        }
        let sentence = format!(
            "the clocks of relay and agent are {} seconds apart, and the agent takes no order",
            difference.abs() / 1_000
        );
        Err(Refusal::new(Code::ClockSkew, sentence)
            .hint("set both clocks right, by NTP for example"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_way_is_no_skew_and_a_wrong_clock_is() {
        let clocks = Clocks::default();
        clocks.compare((1_000, 20_000, 40_000));
        assert!(clocks.check().is_ok());
        for (sent, relay, now) in [(1_000, 9_000, 1_010), (20_000, 9_000, 20_010)] {
            clocks.compare((sent, relay, now));
            assert_eq!(clocks.check().unwrap_err().code, Code::ClockSkew);
        }
        clocks.compare((1_000, 6_005, 1_010));
        assert!(clocks.check().is_ok());
    }
}
