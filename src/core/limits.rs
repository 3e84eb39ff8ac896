//! Limits on one run: what is shown, how long it may take.

use serde::{Deserialize, Serialize};

/// The largest statement text, in bytes.
pub const STATEMENT_BYTES: usize = 256 * 1024;
/// The largest number of parameters of one statement.
pub const PARAMETERS: usize = 1_000;

/// Limits on one run. All of them hold at once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Limits {
    /// Rows on the first page.
    pub rows: u32,
    /// Bytes of JSON text on one page.
    pub bytes: u32,
    /// Milliseconds the statement may run at the server.
    pub time_ms: u32,
}

impl Limits {
    /// What a user meets without configuring anything.
    pub const DEFAULT: Self = Self {
        rows: 200,
        bytes: 64 * 1024,
        time_ms: 30_000,
    };
    /// No configuration and no caller goes beyond these.
    pub const MAX: Self = Self {
        rows: 10_000,
        bytes: 8 * 1024 * 1024,
        time_ms: 600_000,
    };

    /// The stricter of the two in every dimension.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self {
            rows: self.rows.min(other.rows),
            bytes: self.bytes.min(other.bytes),
            time_ms: self.time_ms.min(other.time_ms),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
