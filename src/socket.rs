//! FACE: the agent's Unix socket, and the other end of it.
//!
//! The kernel says who connects; what they say of themselves counts for nothing. An MCP client gets the
//! same server as over its own pipes, as the user that it is; people's commands get the calls of
//! [`crate::wire::people`]. Whatever a connection sends is bounded in size, time and number.

pub mod door;
pub mod link;
pub mod serve;

mod crowd;
mod glass;
mod lines;
mod people;

pub use door::Door;
pub use glass::ran_as;
pub use link::Link;
pub use serve::{Serving, serve};
