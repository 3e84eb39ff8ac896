//! Filing: the document that people will sign, and the request that waits for them.

use std::collections::BTreeSet;

use crate::broker::submit::Prepared;
use crate::broker::{Broker, Caller};
use crate::core::approval::document::VERSION;
use crate::core::approval::{Document, ParamsSeal, Part, PolicyDigests, Purpose};
use crate::core::ids::RequestId;
use crate::core::policy::Judgement;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{self, APPROVED_MS, Asked, BREAK_GLASS_MS, PENDING_MS, Request, Values};
use crate::core::statement::{Name, Statement};
use crate::core::time::Timestamp;
use crate::ids::random;

/// What a request is made of.
pub(super) struct Filing<'a> {
    pub(super) request: &'a RequestId,
    pub(super) prepared: &'a Prepared,
    /// What the agent found that the work can do.
    pub(super) found: &'a Statement,
    /// What both policies say; it asks for somebody.
    pub(super) judgement: &'a Judgement,
    pub(super) policies: PolicyDigests,
}

/// Writes the request down; from here on it waits for people.
pub(super) async fn file(
    broker: &Broker,
    caller: &Caller,
    filing: &Filing<'_>,
) -> Result<(), Refusal> {
    let Filing {
        request,
        prepared,
        found,
        judgement,
        policies,
    } = filing;
    let now = broker.clock.now();
    let document = document(broker, caller, filing, now)?;
    let expires = Timestamp::from_unix_ms(document.expires_ms);
    let text = String::from_utf8(document.canonical()).unwrap_or_default();
    let requirements = serde_json::to_string(judgement.requirements())
        .map_err(|_| Refusal::new(Code::Internal, "the requirements cannot be written"))?;
    let asked = Asked {
        purpose: document.purpose,
        id: (*request).clone(),
        workspace: document.workspace,
        requester: document.requester,
        target: document.target,
        environment: document.environment,
        engine: document.engine,
        agent: document.executor,
        effect: document.effect,
        kind: document.kind,
        statement: found.redacted.clone(),
        reason: document.reason,
        work: document.work,
        document: request::Document::new(text, expires),
        requirements,
        workspace_policy: policies.workspace,
        agent_policy: policies.agent,
    };
    let values = Values {
        params: prepared.work.params().to_vec(),
        salt: prepared.work.salt(),
    };
    let change = Request::submit(asked, now).then(|request| request.pend(now))?;
    broker.state.requests().file(change, Some(&values)).await?;
    Ok(())
}

/// From when on no signature over a document made now counts.
fn expires(now: Timestamp, purpose: Purpose) -> Timestamp {
    match purpose {
        // Whoever signs in the last minute leaves an hour to collect.
        Purpose::Run => now.plus_ms(PENDING_MS).plus_ms(APPROVED_MS),
        // Whoever signs sits in front of it.
        Purpose::BreakGlass => now.plus_ms(BREAK_GLASS_MS),
    }
}

fn document(
    broker: &Broker,
    caller: &Caller,
    filing: &Filing<'_>,
    now: Timestamp,
) -> Result<Document, Refusal> {
    let Prepared {
        target,
        lane,
        work,
        fingerprint,
        statement,
        limits,
        reason,
        purpose,
        called,
    } = filing.prepared;
    let found = filing.found;
    let names = |one: &BTreeSet<Name>, other: &BTreeSet<Name>| {
        one.union(other).map(ToString::to_string).collect()
    };
    let document = Document {
        version: VERSION,
        purpose: *purpose,
        workspace: broker.state.log().workspace().to_owned(),
        request: filing.request.clone(),
        executor: lane.id().clone(),
        target: target.name.as_str().to_owned(),
        engine: target.engine,
        environment: target.environment.clone(),
        requester: caller.principal.clone(),
        reason: reason.clone(),
        work: fingerprint.digest,
        statement: work.text().to_owned(),
        capability: called.clone(),
        parts: Part::all(work, found),
        params: fingerprint.commitment.map(|commitment| ParamsSeal {
            count: u32::try_from(work.count()).unwrap_or(u32::MAX),
            commitment,
        }),
        effect: found.effect.max(statement.effect),
        kind: found.kind.clone(),
        because: found.because(),
        reads: names(&statement.reads, &found.reads),
        writes: names(&statement.writes, &found.writes),
        limits: limits
            .intersect(target.limits)
            .intersect(filing.judgement.limits),
        policy: filing.policies.clone(),
        preview: None,
        nonce: hex::encode(
            random::<16>()
                .map_err(|_| Refusal::new(Code::Internal, "no randomness from the system"))?,
        ),
        created_ms: now.unix_ms(),
        expires_ms: expires(now, *purpose).unix_ms(),
    };
    document.check()?;
    Ok(document)
}
