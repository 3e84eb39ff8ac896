//! Trust: whose signatures count, for what, and how that list changes.
//!
//! An executor pins one [`TrustFile`]. The next version counts only when the trust admins of the one
//! before signed it ([`next`]), so anybody may carry it and nobody else can make it.

pub mod allowed_signers;
pub mod chain;
pub mod fault;
pub mod file;
pub mod proposal;

pub use chain::{TrustError, first, first_with, next, next_with};
pub use fault::Fault;
pub use file::{KeyKind, LONGEST, Origins, Purpose, SignedTrust, Signer, SignerKey, TrustFile};
pub use proposal::{Proposal, ProposalError, SignedProposal};
