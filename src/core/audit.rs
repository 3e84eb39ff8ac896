//! The audit log's format: what an entry is, how entries are chained, and how a chain is checked.
//!
//! One log per workspace with one total order. A [`Draft`] is what happened; an [`Entry`] is a draft
//! that has its place:
//!
//! - *body*: the RFC 8785 bytes of `{at, facts, kind, principal, request, sequence, target, version,
//!   workspace}`; every member is always there, `null` where it does not apply.
//! - *leaf*: SHA-256(0x00 || body), as in RFC 6962 §2.1.
//! - *link*: SHA-256(previous link || leaf). The link before the first entry is the SHA-256 of the
//!   log's origin line (see [`origin`]), so that no entry of one workspace fits into another's log.
//!
//! The leaf is kept beside the body: a body can be removed later and the chain still holds. A
//! [`Head`] signs how far the chain had come at some time.

pub mod draft;
pub mod entry;
pub mod head;
pub mod kind;
pub mod verify;

pub use draft::Draft;
pub use entry::{Body, Content, Entry, Stored};
pub use head::{Head, HeadError};
pub use kind::EventKind;
pub use verify::{Break, Checker, Verified, verify};

use crate::core::work::Digest;

/// The version of the body's format.
pub const VERSION: u8 = 1;

/// The line that names a workspace's log, in its heads and as the seed of its chain.
pub fn origin(workspace: &str) -> String {
    format!("secondkey/audit/{workspace}")
}

/// The link before a log's first entry.
pub fn first_link(workspace: &str) -> Digest {
    Digest::of(&[origin(workspace).as_bytes()])
}
