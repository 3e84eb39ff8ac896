//! What a receiver's answer means, and when a message is tried again.

use chrono::DateTime;

use crate::core::time::Timestamp;

/// How long to wait after each failure, in milliseconds: 5 s, 30 s, 2 min, 10 min, 1 h. After as many
/// failures and one more, the message is given up.
const WAITS_MS: [i64; 5] = [5_000, 30_000, 120_000, 600_000, 3_600_000];
/// The longest that a receiver can ask us to wait, in milliseconds: one hour.
const LONGEST_MS: i64 = 3_600_000;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// 2xx: the receiver has it.
    Taken,
    /// 410: the receiver wants nothing any more.
    Gone,
    /// Anything else, or no answer. A receiver that is busy may say for how many milliseconds.
    Failed {
        /// Not to be tried again before that many milliseconds.
        wait_ms: Option<i64>,
    },
}

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Nothing: it was delivered.
    Done,
    /// It is given up.
    GiveUp,
    /// Nothing is sent there any more.
    Stop,
    /// Another attempt, after that many milliseconds.
    Again(i64),
}

impl Answer {
    /// Reads a status, and for 429 and 503 the `Retry-After` beside it, in seconds or as a date
    /// (RFC 9110 §10.2.3). Redirects are failures: they are not followed.
    pub fn read(status: u16, retry_after: Option<&str>, now: Timestamp) -> Self {
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            429 | 503 => Self::Failed {
                wait_ms: retry_after.and_then(|text| wait(text.trim(), now)),
            },
            _ => Self::Failed { wait_ms: None },
        }
    }

    /// What happens after the `attempt`th attempt, from 1. `chance` is a random byte that spreads
    /// the attempts over a quarter more than the wait, so that processes do not come all at once.
    pub fn next(self, attempt: u32, chance: u8) -> Next {
        let wait_ms = match self {
            Self::Taken => return Next::Done,
            Self::Gone => return Next::Stop,
            Self::Failed { wait_ms } => wait_ms.unwrap_or(0),
        };
        let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(usual) = WAITS_MS.get(place) else {
            return Next::GiveUp;
        };
        let spread = usual.saturating_mul(i64::from(chance)) / (4 * 255);
        Next::Again(usual.saturating_add(spread).max(wait_ms))
    }
}

fn wait(text: &str, now: Timestamp) -> Option<i64> {
    let ms = if let Ok(seconds) = text.parse::<u32>() {
        i64::from(seconds).saturating_mul(1_000)
    } else {
        let until = DateTime::parse_from_rfc2822(text).ok()?;
        until.timestamp_millis().saturating_sub(now.unix_ms())
    };
    Some(ms.clamp(0, LONGEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(wait_ms: Option<i64>) -> Answer {
        Answer::Failed { wait_ms }
    }

    #[test]
    fn answers_are_read_as_the_specification_has_them() {
        let now = Timestamp::from_unix_ms(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        let table = [
            (200, None, Answer::Taken),
            (204, None, Answer::Taken),
            (301, None, failed(None)),
            (400, None, failed(None)),
            (410, None, Answer::Gone),
            (429, Some("7"), failed(Some(7_000))),
            (429, None, failed(None)),
            (503, Some(date), failed(Some(60_000))),
            (503, Some("999999"), failed(Some(LONGEST_MS))),
            (503, Some("-5"), failed(None)),
            (503, Some("soon"), failed(None)),
            (500, Some("7"), failed(None)),
        ];
        for (status, after, expected) in table {
            assert_eq!(
                Answer::read(status, after, now),
                expected,
                "{status} {after:?}"
            );
        }
    }

    #[test]
    fn attempts_come_later_and_later_and_end() {
        let at = |attempt, chance| failed(None).next(attempt, chance);
        assert_eq!(at(1, 0), Next::Again(5_000));
        assert_eq!(at(1, 255), Next::Again(6_250));
        assert_eq!(at(5, 0), Next::Again(3_600_000));
        assert_eq!(at(6, 0), Next::GiveUp);
        assert_eq!(at(u32::MAX, 0), Next::GiveUp);
        assert_eq!(failed(Some(9_000)).next(1, 0), Next::Again(9_000));
        assert_eq!(failed(Some(9_000)).next(2, 0), Next::Again(30_000));
        assert_eq!(Answer::Taken.next(1, 0), Next::Done);
        assert_eq!(Answer::Gone.next(1, 0), Next::Stop);
    }
}
