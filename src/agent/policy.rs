//! The agent's own policy, which no relay can change: what of the work it lets run, and whether
//! the people whom it wants have signed.

use crate::agent::Agent;
use crate::agent::capability::Planned;
use crate::core::approval::Purpose;
use crate::core::checks::Checks;
use crate::core::policy::decide::{denied, describe, needs_approval};
use crate::core::policy::{Facts, Judgement, Settlement, Uncounted};
use crate::core::principal::Principal;
use crate::core::refusal::Refusal;
use crate::core::signer::Vote;
use crate::core::statement::Statement;
use crate::core::target::Target;

/// What the agent's policy says of work that it has judged itself.
pub(super) fn judge(
    agent: &Agent,
    (requester, purpose): (&Principal, Purpose),
    target: &Target,
    (statement, planned): (&Statement, Option<&Planned>),
) -> Judgement {
    let found = statement.findings.iter().copied();
    let findings = agent.review.apply(&target.environment, found);
    let judgement = agent.policies.current().judge(&Facts {
        principal: requester,
        standing: &agent.principals.of(requester),
        target,
        effect: statement.effect,
        statement,
        capability: planned.map(Planned::named),
        findings: &findings,
        rows: None,
        break_glass: purpose == Purpose::BreakGlass,
        at: agent.clock.now(),
    });
    match planned {
        Some(planned) => planned.tightened(judgement, target),
        None => judgement,
    }
}

/// Whether the approvals that came with the work meet what the agent's policy asks for. `votes` are
/// signatures that this agent has verified itself, against its own trust file.
pub(super) fn approvals_met(
    judgement: &Judgement,
    (checks, votes): (&Checks<Uncounted>, &[Vote]),
    requester: &Principal,
    (target, statement): (&Target, &Statement),
) -> Result<(), Refusal> {
    let effect = statement.effect;
    let what = describe(statement, effect);
    match judgement.settle_with(checks, votes, requester) {
        Settlement::Settled => Ok(()),
        Settlement::Waiting(_) => Err(needs_approval(judgement, target, effect, &what)),
        Settlement::Denied(denial) => Err(denied(judgement, denial, target, &what)),
    }
}
