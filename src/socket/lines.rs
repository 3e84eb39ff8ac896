//! Lines of bounded length, one JSON object on each.

use std::io;

use serde::Serialize;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};

/// Reads one line without its end; nothing at the end of input. A longer line is an error, after which
/// the connection is of no more use; so is a call that is dropped on the way.
pub(super) async fn read(
    reader: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_until(b'\n', &mut line).await?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(line));
    }
    if line.len() > longest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the line is too long",
        ));
    }
    // Half a line is none.
    Ok(None)
}

/// The line that says something.
pub(super) fn line(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes one line.
pub(super) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    what: &impl Serialize,
) -> io::Result<()> {
    writer.write_all(&line(what)?).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_whole_or_none_and_never_too_long() {
        let mut input = &b"one\n\nfour!\nhalf"[..];
        assert_eq!(read(&mut input, 4).await.unwrap(), Some(b"one".to_vec()));
        assert_eq!(read(&mut input, 4).await.unwrap(), Some(Vec::new()));
        assert!(read(&mut input, 4).await.is_err());
        let mut input = &b"four\nhalf"[..];
        assert_eq!(read(&mut input, 4).await.unwrap(), Some(b"four".to_vec()));
        assert_eq!(read(&mut input, 4).await.unwrap(), None);
    }
}
