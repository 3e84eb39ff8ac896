//! The wire guard: it follows the server's message framing and ends a connection on which one
//! message is larger than a row may be, before the driver reserves memory for it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The largest message from the server, in bytes.
pub(super) const LARGEST_MESSAGE: u32 = 16 * 1024 * 1024;
/// What the guard's error says.
const TOO_LARGE: &str = "a message of the server is larger than the wire guard allows";
/// Bytes in front of each message: its kind and its length.
const HEADER: usize = 5;

/// What the guard is looking at.
#[derive(Debug)]
enum Stage {
    /// The one byte that answers a request for TLS.
    TlsAnswer,
    /// Messages.
    Framing {
        /// The header as far as it has come.
        header: [u8; HEADER],
        /// How much of it has come.
        have: usize,
        /// How much of the message's body is still to come.
        body: u32,
    },
    /// Somebody else's framing (TLS records).
    Off,
}

/// A stream that is guarded.
#[derive(Debug)]
pub(super) struct Guard<S> {
    stream: S,
    stage: Stage,
    tripped: Tripped,
}

/// Whether the guard has ended a connection; the driver itself forgets why one ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Tripped(Arc<AtomicBool>);

impl Tripped {
    /// Whether it has.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<S> Guard<S> {
    /// Guards a stream on which the server's messages start at once.
    pub(super) fn messages(stream: S, tripped: Tripped) -> Self {
        Self {
            stream,
            stage: Stage::Framing {
                header: [0; HEADER],
                have: 0,
                body: 0,
            },
            tripped,
        }
    }

    /// Guards a stream on which the server first says whether it speaks TLS.
    pub(super) fn before_tls(stream: S, tripped: Tripped) -> Self {
        Self {
            stream,
            stage: Stage::TlsAnswer,
            tripped,
        }
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if matches!(self.stage, Stage::TlsAnswer) {
            let Some((answer, after)) = rest.split_first() else {
                return Ok(());
            };
            self.stage = match answer {
                b'S' => Stage::Off,
                _ => Stage::Framing {
                    header: [0; HEADER],
                    have: 0,
                    body: 0,
                },
            };
            rest = after;
        }
        if let Stage::Framing { header, have, body } = &mut self.stage {
            frame(header, have, body, rest).inspect_err(|_| self.tripped.set())?;
        }
        Ok(())
    }
}

/// Follows `bytes` through the framing.
fn frame(
    header: &mut [u8; HEADER],
    have: &mut usize,
    body: &mut u32,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        if *body > 0 {
            let skip = bytes
                .len()
                .min(usize::try_from(*body).unwrap_or(usize::MAX));
            *body -= u32::try_from(skip).unwrap_or(*body);
            bytes = bytes.get(skip..).unwrap_or_default();
            continue;
        }
        let Some((byte, after)) = bytes.split_first() else {
            break;
        };
        if let Some(place) = header.get_mut(*have) {
            *place = *byte;
        }
        *have += 1;
        bytes = after;
        if *have == HEADER {
            let [_, a, b, c, d] = *header;
            let length = u32::from_be_bytes([a, b, c, d]);
            if length > LARGEST_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LARGE));
            }
            *body = length.saturating_sub(4);
            *have = 0;
        }
    }
    Ok(())
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.follow(fresh))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Guard<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Makes TLS streams whose decrypted side is guarded.
pub(super) struct GuardedTls<T>(pub(super) T, pub(super) Tripped);

impl<S, T> TlsConnect<S> for GuardedTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
    T::Stream: 'static,
    T::Error: 'static,
{
    type Stream = Guard<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let tripped = self.1;
        let connecting = self.0.connect(stream);
        Box::pin(async move { Ok(Guard::messages(connecting.await?, tripped)) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read_through(bytes: &[u8], before_tls: bool) -> io::Result<usize> {
        let mut guard = if before_tls {
            Guard::before_tls(bytes, Tripped::default())
        } else {
            Guard::messages(bytes, Tripped::default())
        };
        let mut read = [0; 7];
        let mut total = 0;
        loop {
            match guard.read(&mut read).await? {
                0 => return Ok(total),
                n => total += n,
            }
        }
    }

    #[tokio::test]
    async fn messages_pass_and_a_huge_one_ends_the_stream() {
        let small = b"T\0\0\0\x08abcdD\0\0\0\x04";
        assert_eq!(read_through(small, false).await.unwrap(), small.len());
        let mut huge = small.to_vec();
        huge.extend(b"D\x7f\0\0\0abc");
        assert!(read_through(&huge, false).await.is_err());
        huge.insert(0, b'N');
        assert!(read_through(&huge, true).await.is_err());
        huge.insert(0, b'S');
        assert!(read_through(&huge, true).await.is_ok());
    }
}
