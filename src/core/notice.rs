//! Notices: what people are told outside of this program when something happens to a request, how it
//! is written for each kind of receiver and signed, where it may be sent, and when it is tried again.
//!
//! A notice says that there is something to look at, and never what it says: no statement text, no
//! parameter value, no reason in the requester's own words. Its link carries no authority.

pub mod event;
pub mod message;
pub mod reach;
pub mod retry;
pub mod signature;

mod teams;

pub use event::Event;
pub use message::{Format, Notice, Subject};
pub use reach::{Forbidden, Network, Reach};
pub use retry::{Answer, Next};
pub use signature::SigningSecret;
