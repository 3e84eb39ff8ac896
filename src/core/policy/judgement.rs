//! What a policy says of one piece of work.

use serde::{Deserialize, Serialize};

use crate::core::checks::Checks;
use crate::core::limits::Limits;
use crate::core::policy::requirement::{Progress, Requirement};
use crate::core::policy::uncounted::Uncounted;
use crate::core::principal::Principal;
use crate::core::review::Finding;
use crate::core::signer::Vote;
use crate::core::work::Digest;

/// What a policy says, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[must_use = "a judgement that nobody reads protects nothing"]
pub struct Judgement {
    /// What becomes of the work.
    pub outcome: Outcome,
    /// The rules that decided, by name.
    pub rules: Vec<String>,
    /// What matching rules say to the caller, each once.
    pub reasons: Vec<String>,
    /// The limits of all matching rules at once; [`Limits::MAX`] where none sets one.
    pub limits: Limits,
    /// The digest of the policy: SHA-256 of its text. Of a combination: see [`strictest`].
    pub digest: Digest,
    /// What the review rules found.
    pub findings: Vec<Finding>,
}

/// What becomes of the work.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may run.
    Allow,
    /// It may run once all of these are met; there is at least one.
    Ask(Vec<Requirement>),
    /// It may not run.
    Deny(Denial),
}

/// Why work may not run. Ordered by what is said first when there are several.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// Its effect is `admin`, which the target's configuration does not allow.
    Admin,
    /// A rule forbids it.
    Rule,
    /// The policy could not be evaluated.
    Error,
    /// A review rule blocks it.
    Review,
    /// No rule allows it.
    NoRule,
}

impl Denial {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Rule => "rule",
            Self::Error => "error",
            Self::Review => "review",
            Self::NoRule => "no_rule",
        }
    }
}

/// Where a judgement and the votes so far leave the work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settlement {
    /// It may run now.
    Settled,
    /// People are missing; one progress for each requirement, in order.
    Waiting(Vec<Progress>),
    /// It may not run, whoever signs.
    Denied(Denial),
}

impl Judgement {
    /// Holds the votes against what is required.
    pub fn settle(&self, votes: &[Vote], requester: &Principal) -> Settlement {
        self.settle_with(&Checks::all(), votes, requester)
    }

    /// [`Judgement::settle`] with these checks; outside of tests there is no other value than all of
    /// them.
    pub fn settle_with(
        &self,
        checks: &Checks<Uncounted>,
        votes: &[Vote],
        requester: &Principal,
    ) -> Settlement {
        match &self.outcome {
            Outcome::Allow => Settlement::Settled,
            Outcome::Deny(denial) => match checks.demand(false, Uncounted::Forbidden) {
                Ok(()) => Settlement::Settled,
                Err(_) => Settlement::Denied(*denial),
            },
            Outcome::Ask(requirements) => {
                let counted = requirements
                    .iter()
                    .map(|one| one.met_with(checks, votes, requester));
                let progress: Vec<_> = counted.collect();
                let met = !progress.is_empty() && progress.iter().all(Progress::is_met);
                match checks.demand(met, Uncounted::Quorum) {
                    Ok(()) => Settlement::Settled,
                    Err(_) => Settlement::Waiting(progress),
                }
            }
        }
    }

    /// The same, asking one more: work that would run waits, and what asks others or is refused stays so.
    pub fn also_asking(mut self, requirement: Requirement) -> Self {
        match &mut self.outcome {
            Outcome::Allow => {
                self.rules = vec![requirement.rule.clone()];
                self.outcome = Outcome::Ask(vec![requirement]);
            }
            Outcome::Ask(asked) => {
                if !asked.iter().any(|one| one.asks_the_same(&requirement)) {
                    asked.push(requirement);
                }
            }
            Outcome::Deny(_) => {}
        }
        self
    }

    /// The requirements; none where nobody is asked.
    pub fn requirements(&self) -> &[Requirement] {
        match &self.outcome {
            Outcome::Ask(requirements) => requirements,
            Outcome::Allow | Outcome::Deny(_) => &[],
        }
    }
}

/// Both judgements at once: deny before ask before allow, the requirements of both, the limits of
/// both. The digest is SHA-256 over the two digests' bytes, `a` first.
pub fn strictest(a: Judgement, b: Judgement) -> Judgement {
    let digest = Digest::of(&[a.digest.as_bytes(), b.digest.as_bytes()]);
    let limits = a.limits.intersect(b.limits);
    let mut findings = a.findings;
    findings.extend(b.findings);
    findings.sort();
    findings.dedup();
    // Of a refusal, only those rules count that refuse; of a question, only those that ask.
    let (outcome, parts) = match (a.outcome, b.outcome) {
        (Outcome::Deny(x), Outcome::Deny(y)) => (Outcome::Deny(x.min(y)), (true, true)),
        (Outcome::Deny(x), _) => (Outcome::Deny(x), (true, false)),
        (_, Outcome::Deny(y)) => (Outcome::Deny(y), (false, true)),
        (Outcome::Ask(mut x), Outcome::Ask(y)) => {
            // The same votes would meet both.
            let new = y
                .into_iter()
                .filter(|one| !x.iter().any(|other| other.asks_the_same(one)));
            let new: Vec<_> = new.collect();
            x.extend(new);
            (Outcome::Ask(x), (true, true))
        }
        (Outcome::Ask(x), Outcome::Allow) => (Outcome::Ask(x), (true, false)),
        (Outcome::Allow, Outcome::Ask(y)) => (Outcome::Ask(y), (false, true)),
        (Outcome::Allow, Outcome::Allow) => (Outcome::Allow, (true, true)),
    };
    let joined = |x: Vec<String>, y: Vec<String>| {
        let mut all = if parts.0 { x } else { Vec::new() };
        let new = y.into_iter().filter(|_| parts.1);
        for one in new {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    };
    Judgement {
        outcome,
        rules: joined(a.rules, b.rules),
        reasons: joined(a.reasons, b.reasons),
        limits,
        digest,
        findings,
    }
}
