//! The WebSocket (RFC 6455) on which an agent comes in. As long as it has not proven who it is, it can say no
//! more at a time than a handshake needs.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::wire::fleet::{LONGEST_OF_AGENT, LONGEST_STRANGER};

/// What is set aside for what a connection says, in bytes: little, because there may be a thousand, and most say
/// next to nothing.
const READ_BUFFER: usize = 4 * 1024;

/// A connection of whoever says that it is an agent.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A request to change to a WebSocket.
#[derive(Debug)]
pub(super) struct Upgrade {
    on: OnUpgrade,
    accept: String,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let headers = &parts.headers;
        let asks = parts.method == Method::GET
            && says(headers, &header::CONNECTION, "upgrade")
            && says(headers, &header::UPGRADE, "websocket")
            && says(headers, &header::SEC_WEBSOCKET_VERSION, "13");
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks);
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        let on = parts.extensions.remove::<OnUpgrade>();
        match (accept, on) {
            (Some(accept), Some(on)) => Ok(Self { on, accept }),
            (None, _) | (_, None) => Err(StatusCode::UPGRADE_REQUIRED),
        }
    }
}

impl Upgrade {
    /// Agrees, and has the connection served once that is said.
    pub(super) fn serve<F: Future<Output = ()> + Send>(
        self,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> Response<Body> {
        let on = self.on;
        tokio::spawn(async move {
            if let Ok(upgraded) = on.await {
                serve(socket(TokioIo::new(upgraded), LONGEST_STRANGER).await).await;
            }
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        response.body(Body::empty()).unwrap_or_default()
    }
}

/// Lets somebody who has proven who it is say as much at a time as an agent may. What it has said already
/// without being asked is lost, and with it the connection.
pub(super) async fn widened(narrow: Socket) -> Socket {
    socket(narrow.into_inner(), LONGEST_OF_AGENT).await
}

async fn socket(line: TokioIo<Upgraded>, longest: usize) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest));
    WebSocketStream::from_raw_socket(line, Role::Server, Some(config)).await
}

/// Whether a header says this, alone or among others.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|all| {
        all.split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}
