//! Whether a trust file has the people that a policy asks for at all.

use std::fmt;

use crate::core::policy::facts::{Form, is_production};
use crate::core::policy::reader::Rule;
use crate::core::policy::requirement::{Requirement, StepProgress};
use crate::core::policy::set::PolicySet;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::{Surface, Vote};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::trust::{KeyKind, Purpose, Signer, SignerKey, TrustFile};

/// A rule whose quorum no votes of a trust file's signers can meet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutOfReach {
    /// What it asks for, and by which rule.
    pub requirement: Requirement,
    /// The first step that lacks somebody, with those who could sign for it.
    pub short: StepProgress,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requirement { rule, .. } = &self.requirement;
        write!(
            f,
            "the rule `{rule}` asks {}, which can never be met: ",
            self.requirement
        )?;
        let people: Vec<String> = self.short.by.iter().map(ToString::to_string).collect();
        match people.as_slice() {
            [] => f.write_str("nobody")?,
            some => write!(f, "only {}", some.join(" and "))?,
        }
        let group = &self.short.step.group;
        write!(
            f,
            " can sign for `{group}` with a key and on a screen that the rule takes"
        )
    }
}

impl PolicySet {
    /// The rules whose quorum can never be met by those whom the trust file names, in their order.
    /// Whoever may not sign yet is counted; whoever may no longer is not.
    ///
    /// Where the targets are known, only rules that can be about one of them are looked at, with what
    /// production demands of keys.
    pub fn out_of_reach(
        &self,
        trust: &TrustFile,
        now: Timestamp,
        targets: Option<&[&Target]>,
    ) -> Vec<OutOfReach> {
        let votes = best_votes(trust, now);
        // Whose request it is makes the people only fewer, and is not known here.
        let nobody = Principal::new(PrincipalKind::Ai, "");
        let short = |rule: &Rule| {
            let requirement = wanted(rule, targets)?;
            let short = requirement.met_by(&votes, &nobody).next()?.clone();
            Some(OutOfReach { requirement, short })
        };
        self.rules().into_iter().filter_map(short).collect()
    }
}

/// What a rule asks, at its strictest, if it asks anything that can be about one of the targets.
fn wanted(rule: &Rule, targets: Option<&[&Target]>) -> Option<Requirement> {
    let mut requirement = rule.ask.clone()?;
    let Some(targets) = targets else {
        return Some(requirement);
    };
    let can_be_about = |target: &Target| {
        let form = Form::of_target(target);
        let mut tests = rule.guards.iter().filter(|test| test.is_about_the_target());
        tests.all(|test| test.holds(&form))
    };
    let mut about = targets
        .iter()
        .filter(|target| can_be_about(target))
        .peekable();
    about.peek()?;
    if about.any(|target| is_production(&target.environment)) {
        requirement.as_in_production();
    }
    Some(requirement)
}

/// The best vote that each key can give.
fn best_votes(trust: &TrustFile, now: Timestamp) -> Vec<Vote> {
    let may =
        |signer: &&Signer| signer.purposes.contains(&Purpose::Approve) && !signer.has_ended(now);
    let signers = trust.signers.iter().filter(may);
    let keys = signers.flat_map(|signer| signer.keys.iter().map(move |key| (signer, key)));
    keys.map(|(signer, key)| Vote {
        signer: signer.name.clone(),
        key: key.public.fingerprint(),
        groups: signer.groups.clone(),
        surface: best_surface(trust, key),
        presence: key.presence,
    })
    .collect()
}

/// The screen of the approver's own, where the key can be used on one.
pub fn best_surface(trust: &TrustFile, key: &SignerKey) -> Surface {
    match &key.kind {
        KeyKind::Ssh => Surface::Terminal,
        KeyKind::Passkey { origins, .. } if origins.is_disjoint(&trust.origins.own) => {
            Surface::RelayPage
        }
        KeyKind::Passkey { .. } => Surface::OwnPage,
    }
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
