//! What an agent and a relay agree on about long polling.

use std::time::Duration;

/// Where a connection is opened.
pub const PATH: &str = "/agent/poll";
/// How long a relay keeps an agent waiting for something to send.
pub const WAIT: Duration = Duration::from_secs(15);
/// A connection for which nobody asks for so long is over.
pub const IDLE: Duration = Duration::from_secs(40);
/// The most bytes of one request or answer.
pub const MOST_BYTES: usize = 256 * 1024;
