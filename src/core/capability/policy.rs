//! What a capability's own policy adds. It can only tighten what other policies allow.

use serde::{Deserialize, Serialize};

use crate::core::limits::Limits;

/// How often a capability may be called.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rate {
    /// So many calls.
    pub requests: u32,
    /// In so many milliseconds.
    pub per_ms: u64,
    /// So many at once after a rest.
    pub burst: u32,
}

/// A capability's own policy.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// Whether its statement may only read.
    pub readonly: bool,
    /// Milliseconds, rows and bytes of an answer.
    pub limits: Limits,
    /// A change of more rows is rolled back.
    pub max_affected_rows: Option<u64>,
    /// How often it may be called, by all callers together.
    pub rate: Option<Rate>,
    /// Whether people have to agree to each call, whatever other policies say.
    pub approval: bool,
    /// Whether it is listed. One that is not can still be called by whoever knows its name.
    pub visible: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            readonly: true,
            limits: Limits {
                rows: 100,
                bytes: 1024 * 1024,
                time_ms: 5_000,
            },
            max_affected_rows: None,
            rate: None,
            approval: false,
            visible: true,
        }
    }
}
