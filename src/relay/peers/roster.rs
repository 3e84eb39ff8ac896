//! Who is there: a relay tells each other one of the agents that have dialed in to it, as JSON on lines of their own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use crate::broker::fleet::{Fleet, Peer, Present, Pulse, Told};
use crate::core::ids::AgentId;
use crate::relay::peers::line::{Line, Neighbor};

/// How often it is looked whether something has changed.
const LOOK: Duration = Duration::from_millis(50);
/// How many looks without a change until an empty line says that the relay is still there.
const QUIET: u32 = 20;
/// How long a relay may say nothing.
const SILENCE: Duration = Duration::from_secs(4);
/// How long until one that was lost is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// The longest line, in bytes: what one agent offers.
const LONGEST: usize = 64 * 1024 * 1024;

/// What was told of each agent.
type Known = HashMap<AgentId, (Present, Pulse)>;

/// The roster of a fleet, as a body that does not end.
pub(super) fn body(fleet: Arc<Fleet>) -> Body {
    let begin = (fleet, None::<Known>);
    Body::from_stream(stream::unfold(begin, async |(fleet, mut known)| {
        for _ in 0..QUIET {
            let first = known.is_none();
            let lines = news(&fleet, known.get_or_insert_default());
            if first || !lines.is_empty() {
                return Some((
                    Ok::<_, Infallible>(Bytes::from(lines + "\n")),
                    (fleet, known),
                ));
            }
            sleep(LOOK).await;
        }
        Some((Ok(Bytes::from_static(b"\n")), (fleet, known)))
    }))
}

/// What has changed since, as lines.
fn news(fleet: &Fleet, known: &mut Known) -> String {
    let mut told = Vec::new();
    let now: Known = fleet
        .own()
        .into_iter()
        .map(|(present, pulse)| (present.agent.clone(), (present, pulse)))
        .collect();
    for (agent, (present, pulse)) in &now {
        let before = known.get(agent);
        if before.is_none_or(|(before, _)| before != present) {
            told.push(Told::Here(Box::new(present.clone())));
        }
        if before.is_none_or(|(_, before)| before != pulse) {
            told.push(Told::Pulse(pulse.clone()));
        }
    }
    let gone = known.keys().filter(|agent| !now.contains_key(*agent));
    told.extend(gone.cloned().map(Told::Gone));
    *known = now;
    let lines = told
        .iter()
        .filter_map(|one| serde_json::to_string(one).ok());
    lines.map(|line| line + "\n").collect()
}

/// Follows the roster of another relay, for as long as it is not dropped.
pub(super) async fn follow(line: Arc<Line>, (id, workspace): (String, String), fleet: Arc<Fleet>) {
    let peer: Arc<dyn Peer> = Arc::new(Neighbor {
        line: Arc::clone(&line),
        workspace: workspace.clone(),
    });
    let _lost = Lost(Arc::clone(&fleet), id.clone());
    loop {
        let place = (Method::GET, format!("/roster/{workspace}"));
        match line.send(place, &()).await {
            Ok(Ok(response)) if response.status().is_success() => {
                tracing::info!(relay = %id, %workspace, "another relay tells of its agents");
                hear(response.into_body(), (&id, &peer), &fleet).await;
            }
            // It may be about to open the workspace.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(relay = %id, %error, "another relay was lost"),
            Err(refusal) => tracing::debug!(relay = %id, %refusal, "another relay was not found"),
        }
        fleet.lose_peer(&id);
        sleep(AGAIN).await;
    }
}

/// Takes what is told, until nothing comes any more.
async fn hear(mut body: Incoming, (id, peer): (&str, &Arc<dyn Peer>), fleet: &Fleet) {
    let mut kept: Vec<u8> = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        kept.extend_from_slice(&data);
        let Some(end) = kept.iter().rposition(|byte| *byte == b'\n') else {
            if kept.len() > LONGEST {
                return;
            }
            continue;
        };
        let rest = kept.split_off(end + 1);
        for line in kept
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice(line) {
                Ok(told) => fleet.told(id, peer, told),
                Err(error) => {
                    tracing::warn!(relay = id, %error, "what another relay tells cannot be read");
                }
            }
        }
        kept = rest;
    }
}

/// Forgets a relay's agents when it is not followed any more.
struct Lost(Arc<Fleet>, String);

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.lose_peer(&self.1);
    }
}
