//! The WebSocket on which an agent is asked, on a line of its own or carried by long polls.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::either::Either;

use crate::core::refusal::Refusal;
use crate::dial::polls;
use crate::reach::{self, Address, Line, Trusted};
use crate::wire::fleet::LONGEST_OF_RELAY;

/// Where agents come in at a relay.
const PATH: &str = "/agent";

/// A connection to a relay.
pub(super) type Socket = WebSocketStream<Either<Line, DuplexStream>>;

/// How the bytes of a connection get there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// On a connection of its own.
    Line,
    /// By plain requests.
    Polls,
}

/// A relay that answers at its address.
pub(super) struct Reached<'a> {
    address: &'a Address,
    trusted: Trusted,
    line: Line,
}

impl<'a> Reached<'a> {
    /// Connects to it.
    pub(super) async fn at(address: &'a Address) -> Result<Self, Refusal> {
        // Read anew each time: certificates change while an agent lives.
        let trusted = address.trusted().await?;
        let line = address.connect(&trusted).await?;
        Ok(Self {
            address,
            trusted,
            line,
        })
    }

    /// Agrees on a WebSocket.
    pub(super) async fn socket(self, way: Way) -> Result<Socket, Refusal> {
        let scheme = if self.trusted.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{PATH}", self.address.host());
        let line = match way {
            Way::Line => Either::Left(self.line),
            Way::Polls => {
                drop(self.line);
                Either::Right(polls::open(self.address, &self.trusted).await?)
            }
        };
        agree(url, line).await
    }
}

async fn agree<S: AsyncRead + AsyncWrite + Unpin>(
    url: String,
    line: S,
) -> Result<WebSocketStream<S>, Refusal> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_OF_RELAY))
        .max_frame_size(Some(LONGEST_OF_RELAY));
    let upgrade = client_async_with_config(url, line, Some(config));
    let upgrade = async { upgrade.await.map_err(io::Error::other) };
    let (socket, _) = Box::pin(reach::step("no relay answers there", upgrade)).await?;
    Ok(socket)
}
