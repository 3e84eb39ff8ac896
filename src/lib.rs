//! SecondKey runs an AI client's SQL under policy, signed execution tokens and an audit log.
//!
//! Read in this order: [`core`] decides, [`config`] reads, [`store`] remembers, [`exec`] runs,
//! [`agent`] executes, [`broker`] combines, [`notify`] tells people, [`wire`] is what processes say to each other,
//! [`dial`] and [`relay`] are the two ends between an agent and a team's relay, [`mcp`], [`socket`], [`web`] and [`cli`]
//! are the other faces, and [`boot`] puts
//! the parts together. Imports point down only; `docs/architecture.md` is the map.

pub mod agent;
pub mod boot;
pub mod broker;
pub mod capabilities;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod demo;
pub mod dial;
pub mod exec;
pub mod ids;
pub mod mcp;
pub mod notify;
pub mod pg;
pub mod policies;
pub mod reach;
pub mod relay;
pub mod socket;
pub mod store;
pub mod system;
pub mod telemetry;
pub mod web;
pub mod wire;
