//! The recipes of `docs/notifications.md`, followed to the letter as far as a test can.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::{SOON, ask, serving, told_at};
use crate::stories::approval::World;
use crate::support::receiver::{Receiver, SECRET};
use crate::support::{checkout, skip};

/// The blocks of a language below a heading of the recipes.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let doc = std::fs::read_to_string(checkout().join("docs/notifications.md")).unwrap();
    let section = doc.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut found = Vec::new();
    for rest in section.split(&format!("```{language}\n")).skip(1) {
        found.push(rest.split("```").next().unwrap().to_owned());
    }
    found
}

/// Follows a chat's recipe, with the address in the file that it names; gives the message.
async fn chat(heading: &str, file: &str) -> Value {
    let receiver = Receiver::start(vec![]);
    // The chat is on this machine for once.
    let recipe = blocks(heading, "toml").concat() + "allow_private = [\"127.0.0.1\"]\n";
    let world = World::with("0s", &recipe).await;
    let url = format!("http://127.0.0.1:{}/services/T0/B0/secret\n", receiver.port);
    std::fs::write(world.program.folder.path().join(file), url).unwrap();
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let message = receiver.wait_for(1, SOON).await.remove(0);
    assert_eq!(message.header("content-type"), Some("application/json"));
    assert_eq!(message.header("webhook-signature"), None);
    for canary in ["15.5", "lamp", "spring sale"] {
        assert!(!message.body.contains(canary), "{}", message.body);
    }
    server.finish().await;
    message.json()
}

#[tokio::test]
async fn slack_is_told_in_its_own_form() {
    let message = chat("Slack", "slack-webhook-url").await;
    let text = message["text"].as_str().unwrap();
    assert_eq!(
        text,
        "A request waits for approval: write on shop (unspecified)"
    );
    // Slack's own limits: https://api.slack.com/reference/block-kit/blocks
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    for block in blocks {
        let known = ["section", "context"].contains(&block["type"].as_str().unwrap());
        assert!(known, "{block}");
        let fields = block["fields"].as_array().map_or(0, Vec::len);
        assert!(fields <= 10, "{block}");
    }
}

#[tokio::test]
async fn teams_is_told_in_its_own_form() {
    let message = chat("Microsoft Teams", "teams-workflow-url").await;
    assert_eq!(message["type"], "message");
    let attachment = &message["attachments"][0];
    assert_eq!(
        attachment["contentType"],
        "application/vnd.microsoft.card.adaptive"
    );
    let card = &attachment["content"];
    assert_eq!(
        (&card["type"], &card["version"]),
        (&"AdaptiveCard".into(), &"1.4".into())
    );
    // What a workflow of Teams shows: https://adaptivecards.io/explorer
    for element in card["body"].as_array().unwrap() {
        let known = ["TextBlock", "RichTextBlock"].contains(&element["type"].as_str().unwrap());
        assert!(known, "{element}");
    }
    assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
}

/// A mail server that takes everything, and keeps what it was sent.
fn mail_server() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&mails);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            take_mail(&stream.unwrap(), &shared);
        }
    });
    (port, mails)
}

/// RFC 5321, as far as one client needs it.
fn take_mail(mut stream: &TcpStream, mails: &Mutex<String>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    stream.write_all(b"220 test\r\n").unwrap();
    while let Some(Ok(line)) = lines.next() {
        let reply: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "data" | "DATA" => {
                stream.write_all(b"354 go on\r\n").unwrap();
                let text = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| line != ".");
                let text: Vec<String> = text.collect();
                mails.lock().unwrap().push_str(&text.join("\n"));
                b"250 taken\r\n"
            }
            "quit" | "QUIT" => b"221 bye\r\n",
            _ => b"250 fine\r\n",
        };
        stream.write_all(reply).unwrap();
    }
}

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The receiver of the recipe, on a port of its own.
fn mail_receiver(smtp: u16, secret: &str) -> Option<(Running, u16)> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let script = blocks("Mail", "python").remove(0);
    let child = Command::new("python3")
        .args(["-c", &script])
        .env("WEBHOOK_SECRET", secret)
        .env("MAIL_FROM", "secondkey@example.com")
        .env("MAIL_TO", "dba@example.com")
        .env("SMTP_HOST", "127.0.0.1")
        .env("SMTP_PORT", smtp.to_string())
        .env("PORT", port.to_string())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let running = Running(child);
    for _ in 0..1_500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((running, port));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the receiver of the recipe does not listen");
}

#[tokio::test]
async fn mail_is_sent_by_the_receiver_of_the_recipe() {
    let (smtp, mails) = mail_server();
    let Some((_running, port)) = mail_receiver(smtp, SECRET) else {
        skip("stories::notify::recipes::mail", "python3 is not installed");
        return;
    };
    let recipe = blocks("Mail", "toml").remove(0);
    assert!(recipe.contains("http://127.0.0.1:7322/"), "{recipe}");
    let world = told_at(&format!("http://127.0.0.1:{port}/"), "[\"127.0.0.1/32\"]").await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let log = super::wait_until_settled(&world, 1).await;
    assert_eq!(super::count(&log, "notification.failed"), 0, "{log:#?}");
    server.finish().await;
    let mail = mails.lock().unwrap().clone();
    assert!(
        mail.contains("Subject: SecondKey: request.pending"),
        "{mail}"
    );
    assert!(mail.contains("target: shop"), "{mail}");
    assert!(
        !mail.contains("spring sale") && !mail.contains("15.5"),
        "{mail}"
    );
}

#[tokio::test]
async fn the_receiver_of_the_recipe_takes_nothing_that_is_signed_otherwise() {
    let (smtp, mails) = mail_server();
    let other = "whsec_b3RoZXIgdGhhbiB3aGF0IGlzIGV4cGVjdGVk";
    let Some((_running, port)) = mail_receiver(smtp, other) else {
        skip("stories::notify::recipes::mail", "python3 is not installed");
        return;
    };
    let world = told_at(&format!("http://127.0.0.1:{port}/"), "[\"127.0.0.1/32\"]").await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let failed = super::wait_for(&world.program, "notification.failed").await;
    assert_eq!(failed["facts"]["status"], 401, "{failed}");
    server.finish().await;
    assert_eq!(*mails.lock().unwrap(), "");
}
