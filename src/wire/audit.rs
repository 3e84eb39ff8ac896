//! What a relay shows of its audit log to those whose acts are in it, so that they can see later whether it still is
//! the same log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::work::Digest;

/// Where somebody's own entries are asked for.
pub const OWN: &str = "/v1/audit/own";
/// Where the digests of all entries are asked for.
pub const LEAVES: &str = "/v1/audit/leaves";
/// The most entries that one answer has looked at.
pub const MOST_LOOKED_AT: u64 = 5_000;
/// The most digests in one answer.
pub const MOST_LEAVES: u64 = 10_000;

/// What somebody did, and what became of their requests.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Own {
    /// Whose log.
    pub workspace: String,
    /// Whose entries, and whose clients'.
    pub principal: String,
    /// Each with `sequence`, `body`, `leaf` and `link`, the oldest first.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    pub entries: Vec<Box<RawValue>>,
    /// Every entry up to this number was looked at; ask on from here while it is less than the head's.
    pub until: u64,
    /// How far the log has come: a signed note (C2SP).
    pub head: String,
    /// The public keys that sign such notes or once did, each as the 64 hexadecimal digits of an Ed25519 key (RFC 8032).
    pub keys: Vec<String>,
}

/// The leaves of the log: SHA-256(0x00 || body) of each entry. They say nothing of what is in it, and all links follow
/// from them: SHA-256(previous link || leaf).
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Leaves {
    /// In order, each as 64 hexadecimal digits. Fewer than were asked for: the log ends there.
    #[schemars(with = "Vec<String>")]
    pub leaves: Vec<Digest>,
}
