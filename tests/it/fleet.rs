//! A relay and an agent that dials it, each the built program with a state folder of its own; clients come with
//! API keys over HTTP.

mod bridge;
mod certificates;
mod hostile;
mod keys;
mod limits;
mod lost;
mod metrics;
mod rig;
mod setup;
mod slow;
mod work;
