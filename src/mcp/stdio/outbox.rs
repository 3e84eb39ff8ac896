//! What goes out: whole lines, in the order in which they were pushed.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex as Lock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

/// Lines on their way out.
#[derive(Debug)]
pub(in crate::mcp) struct Outbox<W> {
    waiting: Lock<Vec<u8>>,
    writing: Mutex<Writing<W>>,
}

#[derive(Debug)]
struct Writing<W> {
    output: W,
    bytes: Vec<u8>,
    /// How much of `bytes` is written.
    written: usize,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(in crate::mcp) fn new(output: W) -> Self {
        Self {
            waiting: Lock::default(),
            writing: Mutex::new(Writing {
                output,
                bytes: Vec::new(),
                written: 0,
            }),
        }
    }

    /// Adds a line. It goes out with the next flush, by whomever.
    pub(in crate::mcp) fn push(&self, message: &impl Serialize) {
        match serde_json::to_vec(message) {
            Ok(mut line) => {
                line.push(b'\n');
                self.waiting().append(&mut line);
            }
            Err(error) => tracing::error!(%error, "an answer could not be written as JSON"),
        }
    }

    /// Writes everything that was pushed before. May be dropped: the next one goes on where this
    /// stopped.
    pub(in crate::mcp) async fn flush(&self) -> io::Result<()> {
        let mut writing = self.writing.lock().await;
        loop {
            while let Some(rest) = writing.bytes.get(writing.written..)
                && !rest.is_empty()
            {
                let Writing {
                    output,
                    bytes,
                    written,
                } = &mut *writing;
                let rest = bytes.get(*written..).unwrap_or_default();
                match output.write(rest).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => *written += count,
                }
            }
            writing.written = 0;
            writing.bytes = std::mem::take(&mut *self.waiting());
            if writing.bytes.is_empty() {
                return writing.output.flush().await;
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the other end of a pipe or socket is closed.
pub(in crate::mcp) fn nobody_reads(output: impl AsFd) -> bool {
    let mut looked = [PollFd::new(&output, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut looked, Some(&now)).is_ok() && looked.iter().any(|fd| fd.revents().intersects(gone))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rmcp::model::{EmptyResult, RequestId, ServerJsonRpcMessage, ServerResult};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn answer(id: i64) -> ServerJsonRpcMessage {
        let result = ServerResult::EmptyResult(EmptyResult {});
        ServerJsonRpcMessage::response(result, RequestId::Number(id))
    }

    #[tokio::test]
    async fn a_flush_that_is_dropped_loses_and_repeats_nothing() {
        let (near, mut far) = tokio::io::duplex(7);
        let outbox = Outbox::new(near);
        let expected: Vec<u8> = (0..50)
            .flat_map(|id| {
                outbox.push(&answer(id));
                [serde_json::to_vec(&answer(id)).unwrap(), b"\n".to_vec()].concat()
            })
            .collect();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            tokio::select! {
                biased;
                flushed = outbox.flush() => flushed.unwrap(),
                () = tokio::task::yield_now() => {}
            }
            let mut some = [0; 5];
            let count = far.read(&mut some).await.unwrap();
            got.extend_from_slice(&some[..count]);
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn a_closed_reader_is_seen_on_pipes_and_sockets() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!nobody_reads(&writer));
        drop(reader);
        assert!(nobody_reads(&writer));
        let (near, far) = UnixStream::pair().unwrap();
        assert!(!nobody_reads(&near));
        drop(far);
        assert!(nobody_reads(&near));
    }
}
