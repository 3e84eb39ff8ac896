//! Serving MCP on standard input and output, or on one connection of a socket.

use std::io;
use std::os::fd::AsFd as _;

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use crate::mcp::Server;
use crate::mcp::stdio::Pipe;
use crate::mcp::stdio::outbox::nobody_reads;

/// Serves one client until its input ends; what it asked for before that is answered first. When
/// the client is gone, or `closing` fires, its reads are cancelled instead.
pub async fn stdio(server: Server, closing: CancellationToken) -> io::Result<()> {
    serve(server, Pipe::open(), closing).await
}

/// Serves one client of a socket, like [`stdio`]. What of its bytes was read already is in `reader`.
pub async fn connection(
    server: Server,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    closing: CancellationToken,
) -> io::Result<()> {
    // A second name of the same socket, to look at it while the first is busy.
    let looked_at = writer.as_ref().as_fd().try_clone_to_owned()?;
    let gone = move || nobody_reads(&looked_at);
    serve(server, Pipe::between(reader, writer, gone), closing).await
}

async fn serve(server: Server, pipe: Pipe, closing: CancellationToken) -> io::Result<()> {
    let mut conversation = Box::pin(converse(server, pipe.clone(), closing.clone()));
    tokio::select! {
        outcome = &mut conversation => return outcome,
        () = pipe.abandoned() => {
            tracing::info!("the client is gone");
            closing.cancel();
        }
    }
    conversation.await
}

async fn converse(server: Server, pipe: Pipe, closing: CancellationToken) -> io::Result<()> {
    loop {
        let greeted = server.clone().serve_with_ct(pipe.clone(), closing.clone());
        match Box::pin(greeted).await {
            Ok(running) => {
                running.waiting().await.map_err(io::Error::other)?;
                return Ok(());
            }
            // A client that says something before its greeting, or whose greeting was refused in an
            // answer, may try again.
            Err(
                ServerInitializeError::ExpectedInitializeRequest(Some(_))
                | ServerInitializeError::InitializeFailed(_),
            ) => {}
            // A client that leaves before it has greeted has done nothing wrong.
            Err(
                ServerInitializeError::ConnectionClosed(_)
                | ServerInitializeError::TransportError { .. }
                | ServerInitializeError::Cancelled,
            ) => return Ok(()),
            // Its message repeats what the client sent.
            Err(_) => return Err(io::Error::other("the client's greeting was not understood")),
        }
    }
}
