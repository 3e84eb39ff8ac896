//! The courier: takes what waits, sends it, and says in the audit log what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::audit::{Draft, EventKind};
use crate::core::notice::{Event, Next, Notice, Subject};
use crate::core::request::Status;
use crate::core::time::Timestamp;
use crate::ids::random;
use crate::notify::{Desktop, Sent, Webhook, desktop};
use crate::store::notices::{Leased, Settled};
use crate::store::{State, StoreError};

/// How often to look whether something waits.
const LOOK: Duration = Duration::from_secs(1);
/// How often to say that this process still speaks for its destinations.
const SPEAK: Duration = Duration::from_hours(1);

/// Sends the messages of one state folder.
#[derive(Debug)]
pub struct Courier {
    state: State,
    page_url: String,
    desktop: Option<Desktop>,
    webhook: Option<Webhook>,
}

/// One way to tell people.
#[derive(Debug)]
enum Channel {
    Desktop(Desktop),
    Webhook(Box<Webhook>),
}

/// A channel of a state folder, at work.
#[derive(Debug)]
struct Round {
    state: State,
    page_url: Arc<str>,
    channel: Channel,
    destination: String,
}

impl Courier {
    /// With the ways to tell people that are configured; `page_url` is where the links lead.
    pub fn new(
        state: State,
        page_url: String,
        desktop: Option<Desktop>,
        webhook: Option<Webhook>,
    ) -> Self {
        Self {
            state,
            page_url,
            desktop,
            webhook,
        }
    }

    /// Sends whatever waits, until `closing` fires. Nothing that goes wrong here disturbs what else the
    /// process does.
    pub async fn run(self, closing: CancellationToken) {
        let Self {
            state,
            page_url,
            desktop,
            webhook,
        } = self;
        let page_url: Arc<str> = page_url.into();
        let round = |channel: Channel| {
            let identity = match &channel {
                Channel::Desktop(_) => b"desktop".to_vec(),
                Channel::Webhook(webhook) => webhook.identity(),
            };
            Round {
                destination: state.destination(&[&identity]),
                state: state.clone(),
                page_url: Arc::clone(&page_url),
                channel,
            }
        };
        let channels = [
            desktop.map(Channel::Desktop),
            webhook.map(|webhook| Channel::Webhook(Box::new(webhook))),
        ];
        let rounds = channels
            .into_iter()
            .flatten()
            .map(|channel| round(channel).go());
        // An attempt that is under way is left: its lease lapses, and another process tries again.
        tokio::select! {
            () = closing.cancelled() => {}
            _ = futures::future::join_all(rounds) => {}
        }
    }
}

impl Round {
    /// Goes on until there is nothing to speak for any more.
    async fn go(self) {
        let mut told = false;
        loop {
            match self.hour().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if told => tracing::debug!(%error, "people are not told"),
                Err(error) => {
                    tracing::warn!(%error, "people are not told; trying again");
                    told = true;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Speaks for the destination, and sends what waits for an hour. Says whether to go on.
    async fn hour(&self) -> Result<bool, StoreError> {
        let events = match &self.channel {
            Channel::Desktop(_) => desktop::EVENTS.as_slice(),
            Channel::Webhook(webhook) => webhook.events(),
        };
        let notices = self.state.notices();
        notices
            .speak_for(&self.destination, events.iter().copied())
            .await?;
        let end = tokio::time::Instant::now() + SPEAK;
        while tokio::time::Instant::now() < end {
            while self.waiting().await? {
                let lease = random::<16>().map(hex::encode);
                let lease = lease.map_err(|_| StoreError::Closed)?;
                // Another process may have been faster.
                let Some(leased) = notices.lease(&self.destination, lease).await? else {
                    break;
                };
                if !self.tell(leased).await? {
                    return Ok(false);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    async fn waiting(&self) -> Result<bool, StoreError> {
        let (notices, destination) = (self.state.notices().clone(), self.destination.clone());
        let look = tokio::task::spawn_blocking(move || notices.waiting(&destination));
        look.await.map_err(|_| StoreError::Closed)?
    }

    /// Sends one message. Says whether more may be sent there.
    async fn tell(&self, leased: Leased) -> Result<bool, StoreError> {
        let (requests, id) = (self.state.requests().clone(), leased.request.clone());
        let found = tokio::task::spawn_blocking(move || requests.get(&id)).await;
        let notices = self.state.notices();
        let request = match found {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => {
                tracing::debug!(request = %leased.request, %error, "nobody is told of this");
                notices.settle(leased, Settled::Over, None).await?;
                return Ok(true);
            }
            Err(_) => return Err(StoreError::Closed),
        };
        let subject = Subject::of(&request, leased.until, &self.page_url);
        let notice = Notice {
            id: leased.id.clone(),
            at: leased.at,
            about: Some((leased.event, subject)),
        };
        match &self.channel {
            Channel::Desktop(desktop) => {
                // What is over needs nobody's attention any more.
                let due = leased.event != Event::Pending || request.status() == Status::Pending;
                let shown = if due {
                    desktop.show(&notice).await
                } else {
                    Ok(())
                };
                if let Err(why) = shown {
                    tracing::debug!(why, "the desktop shows no notification");
                }
                notices.settle(leased, Settled::Over, None).await?;
                Ok(true)
            }
            Channel::Webhook(webhook) => {
                let sent = webhook.send(&notice, self.state.now()).await;
                self.settle(webhook, leased, &sent).await
            }
        }
    }

    async fn settle(
        &self,
        webhook: &Webhook,
        leased: Leased,
        sent: &Sent,
    ) -> Result<bool, StoreError> {
        let now = self.state.now();
        let chance = random::<1>().map_or(0, |[byte]| byte);
        let next = sent.answer.next(leased.attempt, chance);
        let (kind, settled) = match next {
            Next::Done => (EventKind::NotificationDelivered, Settled::Over),
            Next::GiveUp => (EventKind::NotificationAbandoned, Settled::Over),
            Next::Stop => (EventKind::NotificationAbandoned, Settled::Stop),
            Next::Again(ms) => (
                EventKind::NotificationFailed,
                Settled::Again(now.plus_ms(ms)),
            ),
        };
        if kind != EventKind::NotificationDelivered {
            tracing::warn!(host = webhook.host(), request = %leased.request, %sent, ?next, "a webhook failed");
        }
        let draft = entry(now, (kind, leased.event.as_str()), webhook, sent)
            .request(&leased.request)
            .number("attempt", u64::from(leased.attempt));
        let notices = self.state.notices();
        notices.settle(leased, settled, Some(draft)).await?;
        Ok(settled != Settled::Stop)
    }
}

/// What the log says of an attempt: the receiver's host, and never its path, query or secret.
fn entry(
    now: Timestamp,
    (kind, event): (EventKind, &str),
    webhook: &Webhook,
    sent: &Sent,
) -> Draft {
    let draft = Draft::new(now, kind)
        .text("channel", "webhook")
        .text("event", event)
        .text("host", webhook.host());
    let draft = match sent.status {
        Some(status) => draft.number("status", u64::from(status)),
        None => draft,
    };
    match &sent.why {
        Some(why) => draft.text("why", why),
        None => draft,
    }
}

/// Sends a message that only tries whether messages arrive, once, and records that where there is a
/// state folder.
pub async fn try_out(webhook: &Webhook, state: Option<&State>, now: Timestamp) -> Sent {
    let random = random::<16>().map_or_else(|_| now.unix_ms().to_string(), hex::encode);
    let notice = Notice {
        id: format!("msg_{random}_test"),
        at: now,
        about: None,
    };
    let sent = webhook.send(&notice, now).await;
    if let Some(state) = state {
        let kind = match sent.answer.next(u32::MAX, 0) {
            Next::Done => EventKind::NotificationDelivered,
            Next::GiveUp | Next::Stop | Next::Again(_) => EventKind::NotificationAbandoned,
        };
        let draft = entry(now, (kind, notice.kind()), webhook, &sent);
        if let Err(error) = state.log().append(draft).await {
            tracing::warn!(%error, "the test message is not in the audit log");
        }
    }
    sent
}
