//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::mcp::MESSAGE_BYTES;

/// Bytes that a buffer keeps from one line to the next.
const KEPT_BYTES: usize = 64 * 1024;

/// What was read.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::mcp) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// A line that was thrown away, or will be.
    TooLong,
    /// The end of input. Half a line before it is no message.
    End,
}

/// Reads lines.
#[derive(Debug)]
pub(in crate::mcp) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The line in the buffer was handed out.
    done: bool,
    /// The rest of a line that is too long is still to come.
    discarding: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(in crate::mcp) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(KEPT_BYTES, input),
            line: Vec::new(),
            done: false,
            discarding: false,
        }
    }

    /// The next line. May be dropped and called again: no byte is lost.
    pub(in crate::mcp) async fn next(&mut self) -> io::Result<Line<'_>> {
        if self.done {
            self.line.clear();
            self.line.shrink_to(KEPT_BYTES);
            self.done = false;
        }
        loop {
            let ready = self.input.fill_buf().await?;
            if ready.is_empty() {
                return Ok(Line::End);
            }
            let end = ready.iter().position(|byte| *byte == b'\n');
            let (part, _) = ready.split_at(end.unwrap_or(ready.len()));
            let taken = part.len() + usize::from(end.is_some());
            let too_long = self.line.len() + part.len() > MESSAGE_BYTES;
            let was_discarding = self.discarding;
            if !too_long && !was_discarding {
                self.line.extend_from_slice(part);
            }
            self.input.consume(taken);
            self.discarding = (too_long || was_discarding) && end.is_none();
            if too_long && !was_discarding {
                self.done = true;
                return Ok(Line::TooLong);
            }
            if end.is_some() && !was_discarding {
                self.done = true;
                return Ok(Line::Whole(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(input);
        let mut found = Vec::new();
        loop {
            match lines.next().await.unwrap() {
                Line::Whole(line) => found.push(Some(line.to_vec())),
                Line::TooLong => found.push(None),
                Line::End => return found,
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_half_a_line_does_not() {
        let found = all(b"one\n\ntwo\nhalf").await;
        let whole = |text: &[u8]| Some(text.to_vec());
        assert_eq!(found, [whole(b"one"), whole(b""), whole(b"two")]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_once_and_the_next_is_read() {
        for extra in [1, KEPT_BYTES, 5 * KEPT_BYTES + 7] {
            let mut input = vec![b'x'; MESSAGE_BYTES + extra];
            input.extend_from_slice(b"\nnext\n");
            assert_eq!(all(&input).await, [None, Some(b"next".to_vec())], "{extra}");
        }
        let mut input = vec![b'x'; MESSAGE_BYTES];
        input.push(b'\n');
        assert_eq!(all(&input).await, [Some(vec![b'x'; MESSAGE_BYTES])]);
    }
}
