//! Clients that take their time, or say too much: raw bytes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::rig::Fleet;

/// Says the first bytes and then one every second, until the relay ends the connection; what it said, and
/// after how long.
fn dribble(port: u16, first: &str, more: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let began = Instant::now();
    stream.write_all(first.as_bytes()).unwrap();
    let mut said = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stream.write_all(more.as_bytes()).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
        assert!(
            began.elapsed() < Duration::from_secs(50),
            "it was never cut off"
        );
    }
    (String::from_utf8_lossy(&said).into_owned(), began.elapsed())
}

#[test]
fn whoever_is_slow_or_endless_is_cut_off() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    let (port, key) = (fleet.port, fleet.key.clone());
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let body = std::thread::spawn(move || dribble(port, &head, " "));
    let heads = std::thread::spawn(move || dribble(port, "GET /healthz HTTP/1.1\r\nHost: x", "x"));
    let mute = std::thread::spawn(move || dribble(port, "", ""));

    let long = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(500_000)
    );
    let (said, _) = dribble(port, &long, "");
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 431"),
        "{said}"
    );
    let many = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    let (said, _) = dribble(port, &many, "");
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let large = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n",
        fleet.key
    );
    let (said, _) = dribble(port, &large, &" ".repeat(3_000_000));
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 413"),
        "{said}"
    );
    // Without a key the body is of no interest.
    let stranger =
        "POST /mcp HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n";
    let (said, took) = dribble(port, stranger, "");
    assert!(
        said.starts_with("HTTP/1.1 401") && took < Duration::from_secs(10),
        "{said} {took:?}"
    );

    let (_, took) = heads.join().unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let (_, took) = mute.join().unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let (said, took) = body.join().unwrap();
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(
        took > Duration::from_secs(15) && took < Duration::from_secs(40),
        "{took:?}"
    );
    assert_eq!(fleet.get("/healthz"), 200);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    let port = fleet.port;
    let one = format!(
        "GET /mcp-{} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n",
        "x".repeat(32)
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // More requests than their answers fit into what lies between the two.
    let many = one.repeat(1_000);
    let mut asked = 0_usize;
    while stream.write_all(many.as_bytes()).is_ok() {
        asked += 1_000;
        assert!(asked < 10_000_000, "the relay never waited for its client");
    }
    std::thread::sleep(Duration::from_secs(35));
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut said = Vec::new();
    let ended = std::io::Read::read_to_end(&mut stream, &mut said);
    // The end of the connection, not of patience.
    let waited = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!ended.as_ref().is_err_and(waited), "{ended:?}");
    let answers = String::from_utf8_lossy(&said).matches("HTTP/1.1").count();
    assert!(answers < asked, "{answers} of {asked}");
    assert_eq!(fleet.get("/healthz"), 200);
}
