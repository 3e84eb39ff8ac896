//! How to get to a PostgreSQL server: what its URL says, the line to it, and TLS on that line.

mod address;
mod socket;
mod tls;

use std::time::Duration;

pub use address::{Address, Place};
pub use socket::Socket;

/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
