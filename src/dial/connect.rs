//! The WebSocket on which an agent is asked.

use std::io;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::core::refusal::Refusal;
use crate::reach::{self, Address, Line};
use crate::wire::fleet::LONGEST_OF_RELAY;

/// Where agents come in at a relay.
const PATH: &str = "/agent";

/// A connection to a relay.
pub(super) type Socket = WebSocketStream<Line>;

/// Connects, and agrees on a WebSocket.
pub(super) async fn connect(address: &Address) -> Result<Socket, Refusal> {
    // Read anew each time: certificates change while an agent lives.
    let trusted = address.trusted().await?;
    let line = address.connect(&trusted).await?;
    let scheme = if trusted.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{PATH}", address.host());
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_OF_RELAY))
        .max_frame_size(Some(LONGEST_OF_RELAY));
    let upgrade = client_async_with_config(url, line, Some(config));
    let upgrade = async { upgrade.await.map_err(io::Error::other) };
    let (socket, _) = Box::pin(reach::step("no relay answers there", upgrade)).await?;
    Ok(socket)
}
