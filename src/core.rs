//! DECIDES. Pure: values in, decisions out. No async, clock, environment, file, socket or driver,
//! and no import from any other layer.

pub mod account;
pub mod answer;
pub mod approval;
pub mod audit;
pub mod checks;
pub mod engine;
pub mod exact;
pub mod handshake;
pub mod ids;
pub mod level;
pub mod limits;
pub mod notice;
pub mod policy;
pub mod principal;
pub mod quantity;
pub mod quota;
pub mod refusal;
pub mod report;
pub mod request;
pub mod review;
pub mod schema;
pub mod signer;
pub mod statement;
pub mod target;
pub mod time;
pub mod token;
pub mod trust;
pub mod visible;
pub mod work;
