//! A webhook against a receiver of the test's own, which says exactly what the test wants.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::core::checks::Checks;
use crate::core::notice::Forbidden;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_123);

/// A receiver that takes one request and answers with these bytes; gives what it was sent.
async fn receiver(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&all).contains("\"timestamp\"") {
            let read = stream.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(all).unwrap()
    });
    (port, received)
}

fn webhook(url: &str, reach: Reach) -> Webhook {
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let form = (Format::Standard, Some(secret));
    Webhook::new(SecretString::from(url), form, reach, vec![]).unwrap()
}

fn here() -> Reach {
    Reach::new(vec!["127.0.0.1".parse().unwrap()])
}

fn test_notice() -> Notice {
    Notice {
        id: "msg_1".into(),
        at: NOW,
        about: None,
    }
}

#[tokio::test]
async fn a_message_is_one_signed_post() {
    let (port, received) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let webhook = webhook(&format!("http://127.0.0.1:{port}/hooks/a?b=c"), here());
    let sent = webhook.send(&test_notice(), NOW).await;
    assert_eq!((sent.answer, sent.status), (Answer::Taken, Some(204)));
    let received = received.await.unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hooks/a?b=c HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: 127.0.0.1:{port}\r\n")),
        "{head}"
    );
    assert!(
        head.contains("\r\nwebhook-timestamp: 1700000000\r\n"),
        "{head}"
    );
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = secret.sign("msg_1", 1_700_000_000, body);
    assert!(
        head.contains(&format!("webhook-signature: {signature}")),
        "{head}"
    );
}

#[tokio::test]
async fn answers_count_by_their_status_alone() {
    let table = [
        ("HTTP/1.1 410 Gone\r\n\r\n", Answer::Gone),
        (
            "HTTP/1.1 429 Slow\r\nRetry-After: 9\r\n\r\n",
            Answer::Failed {
                wait_ms: Some(9_000),
            },
        ),
        (
            "HTTP/1.1 500 Oh\r\nContent-Length: 999999999\r\n\r\nx",
            Answer::Failed { wait_ms: None },
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n",
            Answer::Failed { wait_ms: None },
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
            Answer::Taken,
        ),
        (
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            Answer::Failed { wait_ms: None },
        ),
    ];
    for (answer, expected) in table {
        let (port, received) = receiver(answer).await;
        let webhook = webhook(&format!("http://127.0.0.1:{port}/"), here());
        assert_eq!(
            webhook.send(&test_notice(), NOW).await.answer,
            expected,
            "{answer}"
        );
        received.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_on() {
    let endless: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20)).into());
    let (port, received) = receiver(endless).await;
    let webhook = webhook(&format!("http://127.0.0.1:{port}/"), here());
    assert_eq!(
        webhook.send(&test_notice(), NOW).await.answer,
        Answer::Failed { wait_ms: None }
    );
    // Nobody reads it to its end.
    drop(received);
}

#[tokio::test]
async fn this_machine_is_not_sent_to_however_it_is_spelt() {
    let (port, received) = receiver("HTTP/1.1 200 OK\r\n\r\n").await;
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "localhost.",
    ] {
        for scheme in ["http", "https"] {
            let webhook = webhook(&format!("{scheme}://{host}:{port}/"), Reach::new(vec![]));
            let sent = webhook.send(&test_notice(), NOW).await;
            assert_eq!(sent.answer, Answer::Failed { wait_ms: None }, "{host}");
            let why = sent.why.unwrap();
            let refused = why.contains("not sent to") || why.contains("cannot be looked up");
            assert!(refused, "{host}: {why}");
            assert!(webhook.look_up().await.is_err(), "{host}");
        }
    }
    assert!(!received.is_finished(), "somebody has connected");
    received.abort();
}

/// The same attack with exactly these checks left out: the message arrives.
#[tokio::test]
async fn without_the_guard_this_machine_is_sent_to() {
    let (port, received) = receiver("HTTP/1.1 200 OK\r\n\r\n").await;
    let checks = Checks::all()
        .without(Forbidden::Loopback)
        .without(Forbidden::WithoutTls);
    let webhook = webhook(
        &format!("http://localhost:{port}/"),
        Reach::with(vec![], checks),
    );
    assert_eq!(
        webhook.send(&test_notice(), NOW).await.answer,
        Answer::Taken
    );
    assert!(received.await.unwrap().starts_with("POST / "));
}
