//! Plain HTTP/1.1 by hand: every header as it is given, and nothing else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Sends a request to a port of this machine. There is no `Host` unless `headers` have one.
pub(crate) fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // Not every server closes the connection when it is asked to.
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let mut answer = parse(&head);
    let mut body = Vec::new();
    match answer
        .header("content-length")
        .map(|text| text.parse().unwrap())
    {
        Some(length) => reader.take(length).read_to_end(&mut body),
        None => reader.read_to_end(&mut body),
    }
    .unwrap();
    if answer.header("transfer-encoding") == Some("chunked") {
        body = joined(&body);
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    answer
}

/// What was sent in chunks (RFC 9112, section 7.1), as far as it came.
fn joined(mut sent: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = sent.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&sent[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let rest = &sent[end + 2..];
        let chunk = &rest[..size.min(rest.len())];
        body.extend_from_slice(chunk);
        sent = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

fn parse(head: &str) -> Answer {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    Answer {
        status: status.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: lines.filter_map(header).collect(),
        body: String::new(),
    }
}
