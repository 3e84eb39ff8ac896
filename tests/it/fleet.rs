//! A relay and an agent that dials it, each the built program with a state folder of its own; clients come with
//! API keys over HTTP.

mod bridge;
mod hostile;
mod keys;
mod lost;
mod rig;
mod setup;
mod work;
