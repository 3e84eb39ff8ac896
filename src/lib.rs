//! SecondKey runs an AI client's SQL under policy, signed execution tokens and an audit log.
//!
//! Read in this order: [`core`] decides, [`config`] reads, [`store`] remembers, [`exec`] runs,
//! [`broker`] combines, [`agent`] executes, [`mcp`] and [`cli`] are the faces, and [`boot`] puts
//! the parts together. Imports point down only; `docs/architecture.md` is the map.

pub mod config;
pub mod core;
pub mod exec;
pub mod store;
