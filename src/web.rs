//! FACE: the web page of local mode, at `http://localhost:7321`.
//!
//! It shows requests, history, the audit log and whom this folder trusts, and takes signatures of
//! passkeys. Reading needs a session, which a one-time link opens; a session alone decides nothing: what
//! counts is a signature of a key in the trust file. The origin is fixed, because passkeys are bound
//! to it.

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

pub use serve::{keep_serving, serve_alone};
pub use site::{PORT, Site, link};
