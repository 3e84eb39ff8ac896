//! What the doctor says of how people are told.

use std::path::Path;
use std::sync::Arc;

use crate::boot;
use crate::cli::Failure;
use crate::clock::SystemClock;
use crate::config::Notify;
use crate::core::notice::Answer;
use crate::core::refusal::Refusal;
use crate::core::time::Clock as _;
use crate::exec::Check;
use crate::notify::{Webhook, try_out};
use crate::store::State;

/// Examines it; `send` says whether a test message goes out.
pub(super) async fn examine(
    notify: Notify,
    state_dir: &Path,
    send: bool,
) -> Result<Vec<Check>, Failure> {
    let mut checks = vec![Check::good(if notify.desktop {
        "each request that begins to wait shows on this desktop"
    } else {
        "nothing shows on a desktop: there is none here, or it is switched off"
    })];
    match notify.webhook {
        None if send => checks.push(Check::bad(
            "there is no webhook to send a test message to",
            "add `[notify.webhook]` to the configuration; see docs/notifications.md",
        )),
        None => checks.push(Check::good("no webhook is configured")),
        Some(config) => {
            let webhook = boot::webhook(config)?;
            checks.push(reachable(&webhook).await);
            if send {
                checks.push(sent(&webhook, state_dir).await?);
            }
        }
    }
    Ok(checks)
}

async fn reachable(webhook: &Webhook) -> Check {
    let host = webhook.host();
    match webhook.look_up().await {
        Ok(_) => Check::good(format!(
            "the webhook's host {host} has an address that may be sent to"
        )),
        Err(why) => Check::bad(
            format!("the webhook's host {host} cannot be sent to: {why}"),
            "mend `notify.webhook.url`; an address that is not public has to be named in `allow_private`",
        ),
    }
}

async fn sent(webhook: &Webhook, state_dir: &Path) -> Result<Check, Failure> {
    let clock = Arc::new(SystemClock);
    let now = clock.now();
    let state = if State::exists(state_dir) {
        Some(State::open(state_dir, clock).map_err(Refusal::from)?)
    } else {
        None
    };
    let sent = try_out(webhook, state.as_ref(), now).await;
    if let Some(state) = state {
        state.close().await.map_err(Refusal::from)?;
    }
    let host = webhook.host();
    Ok(match sent.answer {
        Answer::Taken => Check::good(format!("{host} took a test message: {sent}")),
        Answer::Gone | Answer::Failed { .. } => Check::bad(
            format!("{host} did not take a test message: {sent}"),
            "see whether the address, the format and the secret are what the receiver expects",
        ),
    })
}
