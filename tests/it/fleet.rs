//! A relay and an agent that dials it, each the built program with a state folder of its own; clients come with
//! API keys over HTTP.

mod agent;
mod away;
mod backup;
mod bridge;
mod capabilities;
mod certificates;
mod fair;
mod faults;
mod herd;
mod history;
mod hostile;
mod isolation;
mod keys;
mod ledger;
mod limits;
mod lost;
mod metrics;
mod oidc;
mod openapi;
mod page;
mod polling;
mod principals;
mod rest;
mod rest_capabilities;
mod rest_page;
mod rig;
mod rotation;
mod servers;
mod setup;
mod slow;
mod strangers;
mod tls;
mod tokens;
mod vectors;
mod work;
