//! Capabilities at the agent, which alone knows what they are run as.

use std::sync::Arc;

use tokio::sync::watch;

use crate::agent::collect::{Collected, only_page};
use crate::agent::{Agent, Report};
use crate::capabilities::{ByTarget, Capabilities, unknown};
use crate::core::approval::Called;
use crate::core::capability::{Capability, Offer, masked, unfit};
use crate::core::policy::{Judgement, Requirement, is_production};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Statement};
use crate::core::target::Target;
use crate::core::token::{Claims, Keep, Plan};
use crate::core::work::{Digest, Work};
use crate::exec::Running;

/// What a call of a capability is run as.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) capability: Arc<Capability>,
    pub(super) bundle: Digest,
    /// What stands for it outside.
    line: String,
    offer: Arc<Offer>,
    /// The statement and its values.
    pub(super) sql: Work,
}

impl Agent {
    /// What is offered for a target, and the changes of that.
    pub fn capabilities(&self, target: &str) -> Option<&Arc<Capabilities>> {
        self.capabilities.get(target)
    }

    /// Fires at each change of what any target offers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is offered for a target now.
    pub fn offers(&self, target: &str) -> Arc<[Arc<Offer>]> {
        self.capabilities(target)
            .map(|it| it.offers())
            .unwrap_or_default()
    }

    /// A failure as those may see it who asked; what a capability's database said stays here.
    pub(super) fn told(
        &self,
        planned: Option<&Planned>,
        refusal: Refusal,
        request: &str,
    ) -> Refusal {
        let Some(planned) = planned else {
            return refusal;
        };
        let told = planned.told(refusal, request);
        if told.code == Code::ContractBroken {
            self.nudge.notify_one();
        }
        told
    }

    /// Counts a call whose number is limited.
    pub(super) fn counted(
        &self,
        target: &Target,
        planned: Option<&Planned>,
    ) -> Result<(), Refusal> {
        let Some(Planned { capability, .. }) = planned else {
            return Ok(());
        };
        let all = self.capabilities(target.name.as_str());
        match (all, capability.policy.rate) {
            (Some(all), Some(rate)) => all.count(capability.name.as_str(), rate),
            _ => Ok(()),
        }
    }

    /// What is offered for each target that offers anything.
    pub fn all_capabilities(&self) -> &ByTarget {
        &self.capabilities
    }

    /// What a call is run as; nothing for work that says itself what is run.
    pub(super) fn planned(
        &self,
        target: &Target,
        work: &Work,
        principal: &Principal,
    ) -> Result<Option<Planned>, Refusal> {
        let Work::Capability {
            name,
            bundle,
            salt,
            line,
            ..
        } = work
        else {
            return Ok(None);
        };
        let all = self
            .capabilities(target.name.as_str())
            .ok_or_else(|| unknown(name))?;
        let capability = all.find(name, bundle)?;
        let called = capability
            .called(work.named())
            .map_err(|list| unfit(&list))?;
        let bound = capability.bound(target.engine)?;
        let secret = |reference: &str| all.secret(reference);
        let params = capability.values((&bound, target.engine), &called, principal, secret)?;
        Ok(Some(Planned {
            bundle: *bundle,
            line: line.clone(),
            offer: all.offer(name, bundle)?,
            sql: Work::Sql {
                text: bound.text,
                params,
                salt: *salt,
            },
            capability,
        }))
    }
}

impl Planned {
    pub(super) fn plan(&self) -> Plan {
        let changes = self.capability.counts;
        Plan {
            work: self.sql.clone(),
            keep: Keep {
                most_affected: self.capability.policy.max_affected_rows,
                columns: if changes {
                    self.capability.columns()
                } else {
                    Vec::new()
                },
                note: None,
                nothing: false,
            },
        }
    }

    /// What stands for the statement outside of the agent.
    pub(super) fn masked(&self, statement: &Statement) -> Statement {
        masked(statement.engine, &self.line, statement.effect)
    }

    /// Its name and bundle, as policies see them.
    pub(super) fn named(&self) -> (&str, Digest) {
        (self.capability.name.as_str(), self.bundle)
    }

    /// What a document has to say of it.
    pub(super) fn called(&self) -> Called {
        Called::of(&self.offer)
    }

    /// Refuses a statement that turns out to do more than its capability declares.
    pub(super) fn within(&self, statement: &Statement) -> Result<(), Refusal> {
        let declared = self.capability.effect();
        if statement.effect <= declared {
            return Ok(());
        }
        let name = &self.capability.name;
        tracing::warn!(capability = %name, "it {}", statement.because());
        Err(Refusal::new(
            Code::ClassificationMismatch,
            format!(
                "the capability `{name}` is declared as `{declared}`, and the database shows more"
            ),
        )
        .hint("tell the person who looks after it; the agent's log has the details"))
    }

    /// What the agent's policy says, tightened by the capability's own.
    pub(super) fn tightened(&self, mut judgement: Judgement, target: &Target) -> Judgement {
        let policy = &self.capability.policy;
        judgement.limits = judgement.limits.intersect(policy.limits);
        if policy.approval {
            let production = is_production(&target.environment);
            judgement = judgement.also_asking(Requirement::one_of_anyone("capability", production));
        }
        judgement
    }

    /// The answer cut down to what may leave.
    pub(super) fn shaped(&self, collected: &mut Collected, effect: Effect) -> Result<(), Refusal> {
        let rows = std::mem::take(&mut collected.rows);
        let shaped = self.capability.shaped(&collected.columns, rows);
        let (columns, rows) = shaped.map_err(|broken| {
            let name = &self.capability.name;
            let made = if effect > Effect::Read {
                "the change was made and stands, and "
            } else {
                ""
            };
            let message = format!("{made}the answer of `{name}` breaks its contract: {broken}");
            Refusal::new(Code::ContractBroken, message).hint("tell the person who looks after it")
        })?;
        if self.capability.counts {
            collected.affected = Some(collected.affected.unwrap_or(0));
        }
        collected.columns = columns;
        collected.rows = rows;
        Ok(())
    }

    /// A failure without what the database said, which stays in the agent's log.
    fn told(&self, refusal: Refusal, request: &str) -> Refusal {
        let name = &self.capability.name;
        let tells = [
            Code::ClassificationMismatch,
            Code::DatabaseError,
            Code::Internal,
            Code::InvalidParameter,
            Code::ParameterCount,
            Code::SyntaxError,
        ];
        let code = if matches!(refusal.code, Code::UnknownColumn | Code::UnknownTable) {
            Code::ContractBroken
        } else if tells.contains(&refusal.code) {
            refusal.code
        } else {
            return refusal;
        };
        tracing::warn!(capability = %name, request, "{}: {}", refusal.code, refusal.message);
        let mut told = Refusal::new(
            code,
            format!("the capability `{name}` failed; its agent's log says why, under {request}"),
        )
        .hint("tell the person who looks after it");
        told.sqlstate = refusal.sqlstate;
        told
    }

    /// Leaves out of a report what tells of the statement.
    pub(super) fn hush(&self, mut report: Report) -> Report {
        report.findings.clear();
        report.effect = self.capability.effect();
        report.capability = true;
        report
    }

    /// The one page of an answer, cut down to what may leave.
    pub(super) async fn collect(
        &self,
        running: Running,
        claims: &Claims,
        effect: Effect,
    ) -> Result<Collected, Refusal> {
        let mut collected = only_page(running, claims.limits, effect).await?;
        self.shaped(&mut collected, effect)?;
        Ok(collected)
    }
}

/// Refuses free SQL, and a look at the catalogue, where nothing but capabilities runs.
pub fn takes_free_sql(target: &Target) -> Result<(), Refusal> {
    if !target.only_capabilities {
        return Ok(());
    }
    let sentence = format!("nothing but capabilities runs on `{}`", target.name);
    Err(Refusal::new(Code::Forbidden, sentence).hint("call one of them; each is a tool of its own"))
}
