//! Notifications on the desktop, through the program that the desktop has for that.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::core::notice::{Event, Notice};

/// How long the desktop's own program may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What shows on the desktop: requests that begin to wait, and reviews that are open.
pub const EVENTS: [Event; 2] = [Event::Pending, Event::ReviewOpened];

/// The desktop that this process runs on.
#[derive(Clone, Copy, Debug)]
pub struct Desktop;

impl Desktop {
    /// Shows a message. Says why not, for the log alone: nobody misses what they do not have.
    pub async fn show(self, notice: &Notice) -> Result<(), String> {
        let (title, text) = words(notice);
        let mut command = if cfg!(target_os = "macos") {
            osascript(&title, &text)
        } else {
            notify_send(&title, &text)
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| error.kind().to_string())?;
        match tokio::time::timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(status.to_string()),
            Ok(Err(error)) => Err(error.kind().to_string()),
            Err(_) => Err("it did not end in time".to_owned()),
        }
    }
}

fn words(notice: &Notice) -> (String, String) {
    let title = format!("SecondKey: {}", notice.headline());
    let text = notice
        .about
        .as_ref()
        .map_or_else(String::new, |(_, subject)| {
            format!(
                "{} ({}) on {} ({}), asked by {}\n{}",
                subject.effect,
                subject.kind,
                subject.target,
                subject.environment,
                subject.requester,
                subject.link,
            )
        });
    (title, text)
}

/// The freedesktop.org notification: its body may be read as markup, so that is written out.
fn notify_send(title: &str, text: &str) -> Command {
    let text = text.replace('&', "&amp;");
    let text = text.replace('<', "&lt;").replace('>', "&gt;");
    let mut command = Command::new("notify-send");
    command.args(["--app-name=SecondKey", "--", title, &text]);
    command
}

/// The script takes its texts as arguments, so that none of them is ever part of it.
fn osascript(title: &str, text: &str) -> Command {
    let mut command = Command::new("osascript");
    for line in [
        "on run argv",
        "display notification (item 2 of argv) with title (item 1 of argv)",
        "end run",
    ] {
        command.args(["-e", line]);
    }
    command.args(["--", title, text]);
    command
}
