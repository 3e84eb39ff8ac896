//! FACE: the web page, at `http://localhost:7321` of this machine, or at the address of a relay.
//!
//! It shows requests, history, the audit log and whom this folder trusts, and takes signatures of
//! passkeys. Reading needs a session, which a one-time link opens; a session alone decides nothing: what
//! counts is a signature of a key in the trust file. The origin is fixed, because passkeys are bound
//! to it.

mod address;
mod answer;
mod assets;
mod audit;
mod enrol;
mod enter;
mod guard;
mod highlight;
mod inbox;
mod request;
mod review;
mod router;
mod serve;
mod session;
mod site;
mod text;
mod timeline;
mod trust;
mod vote;
mod words;

pub use address::Address;
pub use router::router;
pub use serve::{keep_serving, serve_alone};
pub use session::Visitor;
pub use site::{PORT, Site, link};
