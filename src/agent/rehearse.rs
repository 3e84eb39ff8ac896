//! Trying a capability that changes something out, for people at the agent: it runs as a call would, in a
//! transaction that is always rolled back. Nobody approves it, because nothing of it stays.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agent::collect::only_page;
use crate::agent::{Agent, policy};
use crate::capabilities::unknown;
use crate::core::approval::Purpose;
use crate::core::audit::EventKind;
use crate::core::ids::{RequestId, TokenId};
use crate::core::policy::Settlement;
use crate::core::policy::decide::{denied, describe};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::core::token::{Claims, VerifiedToken};
use crate::core::work::Work;

/// A call that is to be tried out.
#[derive(Debug)]
pub struct Rehearsal {
    /// The target.
    pub target: String,
    /// The call.
    pub work: Work,
    /// Who tries.
    pub principal: Principal,
    /// What the audit log knows it by.
    pub ids: (RequestId, TokenId),
}

/// What a call would have come to.
#[derive(Debug)]
pub struct Rehearsed {
    /// The rows that it would have changed.
    pub affected: u64,
    /// The rows that it would have answered, cut down to what may leave.
    pub rows: usize,
}

impl Agent {
    /// Runs a change and rolls it back. Its answer is held against the contract, its triggers run, and
    /// `max_affected_rows` counts. What the database says in an error is told as it is: whoever tries sits
    /// at the agent.
    pub async fn rehearse(&self, rehearsal: Rehearsal) -> Result<Rehearsed, Refusal> {
        self.awake()?;
        let Rehearsal {
            target,
            work,
            principal,
            ids,
        } = rehearsal;
        let executor = self.executors.get(&target).ok_or_else(|| {
            Refusal::new(Code::UnknownTarget, "the agent does not serve this target")
        })?;
        let target = executor.target();
        let planned = self.planned(target, &work, &principal)?;
        let planned = planned.ok_or_else(|| unknown(work.text()))?;
        let parsed = self.parser.parse_work(target.engine, &planned.sql).await?;
        let statement = executor.judge(parsed, &planned.sql).await?;
        planned.within(&statement)?;
        let judged = (statement.as_ref(), Some(&planned));
        let judgement = policy::judge(self, (&principal, Purpose::Run), target, judged);
        if let Settlement::Denied(denial) = judgement.settle(&[], &principal) {
            let what = describe(&statement, statement.effect);
            return Err(denied(&judgement, denial, target, &what));
        }
        let now = self.clock.now();
        let claims = Claims {
            jti: ids.1,
            request: ids.0,
            iss: String::new(),
            aud: self.id().clone(),
            target: target.name.as_str().to_owned(),
            sub: principal,
            purpose: Purpose::Run,
            work: work.digest(),
            effect: statement.effect,
            reads: Vec::new(),
            writes: Vec::new(),
            limits: judgement.limits,
            not_before_ms: now.unix_ms(),
            expires_ms: now.unix_ms(),
            document: None,
            approvals: Vec::new(),
        };
        let intent = self
            .draft(EventKind::CapabilityRehearsed, &claims)
            .agent(self.id())
            .effect(statement.effect)
            .policy(&judgement.digest, &judgement.rules)
            .work(&claims.work);
        self.state.log().append(intent).await?;
        let token = VerifiedToken::rehearsal(claims.clone(), work, planned.plan());
        let running =
            Box::pin(executor.run(token, Arc::clone(&statement), CancellationToken::new()));
        let mut collected = only_page(running.await?, claims.limits, statement.effect).await?;
        planned.shaped(&mut collected, Effect::Read)?;
        Ok(Rehearsed {
            affected: collected.affected.unwrap_or(0),
            rows: collected.rows.len(),
        })
    }
}
