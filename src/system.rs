//! KNOWS the operating system: which account is which, and who owns what.

pub mod accounts;
pub mod owners;

pub use accounts::Peer;
pub use owners::Setup;
