//! Those who dial `/agent` without a key that anybody knows: how much they are listened to, that they keep no agent
//! out, and that they do not fill the audit log.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::runtime::Builder;

use super::rig::Fleet;

/// Connects from one of this machine's own addresses.
fn connect_from(address: [u8; 4], port: u16) -> TcpStream {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        let relay = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect(relay).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

/// A WebSocket at `/agent`, or nothing where there is no place.
fn dial(address: [u8; 4], port: u16) -> Option<TcpStream> {
    let mut stream = connect_from(address, port);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let head = format!(
        "GET /agent HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        said.extend(byte);
    }
    said.starts_with(b"HTTP/1.1 101").then_some(stream)
}

/// The head of a text frame of a client, masked with zeros (RFC 6455, section 5.2).
fn head(length: u64) -> Vec<u8> {
    [&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()
}

fn everything(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    drop(stream.read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn nobody_listens_to_a_long_message_of_a_stranger() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    // Only its head: whoever would listen to it waits for the rest.
    let mut stream = dial([127, 0, 0, 1], fleet.port).unwrap();
    stream.write_all(&head(20 * 1024 * 1024)).unwrap();
    let said = everything(stream);
    assert!(said.contains("it is too long"), "{said}");
}

#[test]
fn strangers_do_not_keep_an_agent_out() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    fleet.start_agent();
    let (port, stop) = (fleet.port, Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    // From one address, and as many as it gets, whenever one of them is let go.
    let strangers = std::thread::spawn(move || {
        let mut held = Vec::new();
        let mut turned_away = 0;
        while !stopped.load(Ordering::Relaxed) {
            match dial([127, 0, 0, 2], port) {
                Some(stream) => held.push(stream),
                None => turned_away += 1,
            }
            if held.len() > 500 {
                held.drain(..250);
            }
        }
        turned_away
    });
    fleet.kill_agent();
    fleet.start_agent();
    stop.store(true, Ordering::Relaxed);
    assert!(strangers.join().unwrap() > 0, "there was room for all");
}

#[test]
fn a_thousand_refusals_are_two_entries() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    for _ in 0..1_000 {
        let mut stream = dial([127, 0, 0, 1], fleet.port).unwrap();
        stream.write_all(&[&head(2)[..], b"{}"].concat()).unwrap();
        assert!(everything(stream).contains("refused"));
    }
    fleet.stop_relay();
    let log = fleet.run(&["audit", "list", "-n", "2000", "--json"], "relay");
    let refused: Vec<_> = log
        .lines()
        .filter(|line| line.contains("agent.refused"))
        .collect();
    assert!(refused.len() <= 6, "{refused:?}");
    // All are accounted for: those that have an entry of their own, and those that were counted.
    let further = |line: &&str| {
        let (_, count) = line.split_once("\"further\":")?;
        let count = count.split(|c: char| !c.is_ascii_digit()).next()?;
        count.parse::<usize>().ok()
    };
    let counted = refused.iter().map(|line| further(line).unwrap_or(1));
    assert_eq!(counted.sum::<usize>(), 1_000, "{refused:?}");
    assert!(refused.iter().all(|line| line.contains("127.0.0.1")));
}
