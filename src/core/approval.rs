//! Approvals: what a person is shown, what they sign, and how the signature is checked.
//!
//! A [`Document`] says everything about one request; a [`Verdict`] names it by digest and says yes or
//! no; a [`SignedVerdict`] carries an SSHSIG over the verdict, by an SSH key or a passkey; and
//! [`verify()`] turns it into a [`VerifiedVerdict`] where a key in the trust file made it.

pub mod acceptance;
pub mod backing;
pub mod document;
pub mod review;
pub mod signature;
pub mod sshsig;
pub mod verdict;
pub mod verify;
pub mod webauthn;

pub use crate::core::signer::Decision;
pub use acceptance::{Acceptance, AcceptanceError, SignedAcceptance, verify_acceptance};
pub use backing::{Backing, BackingError, Defences, Executing, approvals, check_backing};
pub use document::{Called, Document, DocumentError, ParamsSeal, Part, PolicyDigests, Purpose};
pub use review::{
    Finding, ReviewError, ReviewVerdict, SignedReview, VerifiedReview, verify_review,
};
pub use signature::SignatureError;
pub use verdict::{SignedVerdict, Verdict};
pub use verify::{VerdictError, VerifiedVerdict, verify};

/// The SSHSIG namespace of verdicts.
pub const APPROVAL: &str = "approval@secondkey.dev";
/// The SSHSIG namespace of reviews.
pub const REVIEW: &str = "review@secondkey.dev";
/// The SSHSIG namespace of acceptances of changed capabilities.
pub const CAPABILITY: &str = "capability@secondkey.dev";
/// The SSHSIG namespace of trust files.
pub const TRUST: &str = "trust@secondkey.dev";
/// The SSHSIG namespace in which a new key proves that somebody holds it.
pub const ENROL: &str = "enrol@secondkey.dev";

#[cfg(test)]
#[path = "../../tests/it/support/authenticator.rs"]
pub(in crate::core) mod authenticator;
