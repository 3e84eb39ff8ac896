//! The bridge between a client's pipes and an agent's socket. It passes bytes and reads none of them:
//! no credential, no state folder, no policy is on this side.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rmcp::transport::stdio_pipes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::mcp::stdio::outbox::nobody_reads;

/// How often it is looked whether a client that sends no more still reads.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes that are passed on at once.
const CHUNK: usize = 64 * 1024;

/// How a bridge ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The client had nothing more to say, and has all its answers; or it is gone.
    Client,
    /// The agent closed the connection before the client did.
    Agent,
}

/// Passes bytes both ways until one side ends. `reader` and `writer` are a connection after its hello.
pub async fn bridge(reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf) -> io::Result<Ended> {
    let (input, output) = stdio_pipes();
    let up = up(input, writer);
    let down = down(reader, output);
    tokio::pin!(up, down);
    tokio::select! {
        // The agent's answers have ended while the client could still ask.
        ended = &mut down => return ended,
        sent = &mut up => sent?,
    }
    tokio::select! {
        // The agent closes once it has answered everything.
        ended = &mut down => ended.map(|_| Ended::Client),
        () = abandoned() => Ok(Ended::Client),
    }
}

/// Everything that the client says; then the agent is told that there is no more.
async fn up(
    mut input: impl tokio::io::AsyncRead + Unpin,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let copied = copy(&mut input, &mut writer).await;
    match copied {
        // The agent's end is told by what it says last, and by the silence after.
        Err(error) if is_gone(&error) => std::future::pending().await,
        other => other?,
    }
    let shut = writer.shutdown().await;
    // The write half is kept: dropping it says no more than the shutdown did.
    match shut {
        Err(error) if !is_gone(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Everything that the agent says. Says which of the two has ended.
async fn down(
    mut reader: BufReader<OwnedReadHalf>,
    mut output: impl tokio::io::AsyncWrite + Unpin,
) -> io::Result<Ended> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(0) => return Ok(Ended::Agent),
            Ok(count) => count,
            Err(error) if is_gone(&error) => return Ok(Ended::Agent),
            Err(error) => return Err(error),
        };
        let said = chunk.get(..count).unwrap_or_default();
        let passed = match output.write_all(said).await {
            Ok(()) => output.flush().await,
            Err(error) => Err(error),
        };
        match passed {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(Ended::Client),
            Err(error) => return Err(error),
        }
    }
}

async fn copy(
    input: &mut (impl tokio::io::AsyncRead + Unpin),
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = input.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        writer
            .write_all(chunk.get(..count).unwrap_or_default())
            .await?;
    }
}

/// Ends when nobody reads the answers any more.
async fn abandoned() {
    while !nobody_reads(io::stdout().as_fd()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_gone(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::BrokenPipe
        || kind == io::ErrorKind::ConnectionReset
        || kind == io::ErrorKind::NotConnected
}
