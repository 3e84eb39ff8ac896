//! Watching: a line and the bell for each request that begins to wait for people.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::cli::desk::Desk;
use crate::cli::requests::{json, print};
use crate::cli::{Exit, Failure, output};
use crate::core::ids::RequestId;
use crate::core::request::Status;
use crate::store::requests::{Filter, Summary};

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);
/// The most requests that are looked at; older ones have been told of long before.
const MOST: usize = 1_000;

/// Goes on until the process is stopped. What waits already is told first.
pub(super) async fn run(desk: &Desk, json: bool) -> Result<Exit, Failure> {
    let mut told = BTreeSet::new();
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        tell(desk, json, &mut told).await?;
        tokio::select! {
            _ = &mut stop => return Ok(Exit::Done),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn tell(desk: &Desk, json: bool, told: &mut BTreeSet<RequestId>) -> Result<(), Failure> {
    let waiting = Filter {
        statuses: vec![Status::Pending],
        limit: MOST,
        ..Filter::default()
    };
    let page = desk.list(waiting).await?;
    let waits: BTreeSet<RequestId> = page.requests.iter().map(|one| one.id.clone()).collect();
    told.retain(|id| waits.contains(id));
    for summary in page.requests.iter().rev() {
        if told.insert(summary.id.clone()) {
            output::say(&line(summary, json))?;
        }
    }
    Ok(())
}

fn line(summary: &Summary, json: bool) -> String {
    if json {
        return json::summary(summary);
    }
    let bell = if io::stdout().is_terminal() {
        "\u{7}"
    } else {
        ""
    };
    format!("{bell}{}", print::one(summary))
}
