//! Whether the parts a call needs are up.

use futures::future::join_all;

use crate::broker::{Broker, Caller, requests, reviews};
use crate::core::audit::EventKind;
use crate::core::target::Target;

/// More open reviews than this are not counted.
pub const MOST_REVIEWS: usize = 100;

/// What was found.
#[derive(Debug)]
pub struct Health {
    /// The audit log could be written just now.
    pub audit: bool,
    /// Policies whose file is broken, so that an older state of it is in force.
    pub broken_policies: Vec<&'static str>,
    /// Reviews of what broke the glass that nobody has closed, counted up to [`MOST_REVIEWS`].
    pub open_reviews: usize,
    /// How many requests wait for people; nothing where they cannot be read.
    pub waiting: Option<u64>,
    /// Each target.
    pub targets: Vec<TargetHealth>,
}

/// One target.
#[derive(Debug)]
pub struct TargetHealth {
    /// Its name.
    pub name: String,
    /// What is wrong with it; nothing when it answers.
    pub problem: Option<String>,
}

/// Asks every target and the audit log, all at once.
pub async fn look(broker: &Broker, caller: &Caller) -> Health {
    let named = broker.link.targets();
    let targets = join_all(named.iter().map(|target| reach(broker, target))).await;
    let draft = broker.draft(EventKind::HealthChecked, caller);
    let audit = broker.state.log().append(draft).await.is_ok();
    let own = broker.link.policies();
    let policies = [
        ("workspace", broker.policies.problem().is_some()),
        ("agent", own.is_some_and(|own| own.problem().is_some())),
    ];
    let stale = policies.into_iter().filter(|(_, broken)| *broken);
    Health {
        audit,
        waiting: requests::waiting(&broker.state, None).await.ok(),
        broken_policies: stale.map(|(name, _)| name).collect(),
        open_reviews: open_reviews(broker).await,
        targets,
    }
}

/// How many reviews are open, counted up to [`MOST_REVIEWS`]. None where that cannot be read: the audit log,
/// which lies in the same file, says so.
pub async fn open_reviews(broker: &Broker) -> usize {
    let state = broker.state.clone();
    let open = tokio::task::spawn_blocking(move || reviews::open(&state, MOST_REVIEWS)).await;
    open.ok()
        .and_then(Result::ok)
        .map_or(0, |page| page.requests.len())
}

async fn reach(broker: &Broker, target: &Target) -> TargetHealth {
    let reached = match broker.link.lane(target, None).await {
        Ok(lane) => lane.reach(target).await,
        Err(refusal) => Err(refusal),
    };
    TargetHealth {
        name: target.name.as_str().to_owned(),
        problem: reached.err().map(|refusal| refusal.message),
    }
}
