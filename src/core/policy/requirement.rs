//! What a rule asks of people: how many, from which groups, with which keys, and who counts.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::checks::Checks;
use crate::core::policy::uncounted::Uncounted;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::{Presence, Surface, Vote};

/// The group that every signer of the trust file is in.
pub const ANYONE: &str = "anyone";

/// One step of a quorum: so many persons of one group.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How many, from 1.
    pub count: u32,
    /// The group, or [`ANYONE`].
    pub group: String,
}

/// Which surfaces a rule accepts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surfaces {
    /// Any.
    #[default]
    Any,
    /// One of the approver's own: the terminal, or the page of their own binary.
    Own,
    /// The terminal alone.
    Terminal,
}

/// What a rule asks for before work may run. All of it has to be met.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The rule that asks.
    pub rule: String,
    /// The steps of the quorum, in the order in which people are asked.
    pub steps: Vec<Step>,
    /// The weakest presence that counts.
    pub presence: Presence,
    /// The surfaces that count.
    pub surfaces: Surfaces,
    /// Whether a human may approve what they asked for themselves.
    pub own_requests: bool,
    /// How many rejections end the request.
    pub deny: u32,
}

/// How far a requirement has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// Each step, in order.
    pub steps: Vec<StepProgress>,
}

/// How far one step has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StepProgress {
    /// The step.
    pub step: Step,
    /// Who counts towards it; never more than it needs.
    pub by: Vec<Principal>,
}

impl Requirement {
    /// One human, whoever it is; in production one whose hardware proves that they were there.
    pub fn one_of_anyone(rule: &str, production: bool) -> Self {
        let mut requirement = Self {
            rule: rule.to_owned(),
            steps: vec![Step {
                count: 1,
                group: ANYONE.to_owned(),
            }],
            presence: Presence::Passphrase,
            surfaces: Surfaces::Any,
            own_requests: false,
            deny: 1,
        };
        if production {
            requirement.as_in_production();
            requirement.surfaces = Surfaces::Own;
        }
        requirement
    }

    /// Makes it what it is in production, whatever the rule says: only a key counts whose hardware
    /// proves that somebody is there.
    pub(super) fn as_in_production(&mut self) {
        self.presence = Presence::Hardware;
    }

    /// Whether whatever meets one meets the other: only the rules differ.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let nameless = |one: &Self| Self {
            rule: String::new(),
            ..one.clone()
        };
        nameless(self) == nameless(other)
    }

    /// Counts votes: distinct persons with distinct keys, none of them in two steps. A person who
    /// fits several steps is counted where it helps most, so that no order of votes is worse.
    ///
    /// Two persons who share one key count as one.
    pub fn met_by(&self, votes: &[Vote], requester: &Principal) -> Progress {
        self.met_with(&Checks::all(), votes, requester)
    }

    /// [`Requirement::met_by`] with these checks; outside of tests there is no other value than all of
    /// them.
    pub fn met_with(
        &self,
        checks: &Checks<Uncounted>,
        votes: &[Vote],
        requester: &Principal,
    ) -> Progress {
        let counted = self.counting(checks, votes, requester);
        let slots: Vec<usize> = (0..)
            .zip(&self.steps)
            .flat_map(|(at, step)| (0..step.count).map(move |_| at))
            .collect();
        let mut matching = Matching {
            fits: |slot: usize, voter: usize| {
                let step = slots.get(slot).and_then(|at| self.steps.get(*at));
                let vote = counted.get(voter);
                step.zip(vote)
                    .is_some_and(|(step, vote)| is_in(&step.group, &vote.groups))
            },
            taken_by: vec![None; counted.len()],
        };
        for slot in 0..slots.len() {
            matching.place(slot, &mut vec![false; counted.len()]);
        }
        let mut steps: Vec<_> = self.steps.iter().map(StepProgress::begun).collect();
        for (vote, slot) in counted.iter().zip(&matching.taken_by) {
            let at = slot.and_then(|slot| slots.get(slot));
            if let Some(step) = at.and_then(|at| steps.get_mut(*at)) {
                step.by.push(vote.signer.clone());
            }
        }
        Progress { steps }
    }

    /// Whether rejections by those who might have approved are enough to end the request. From
    /// which surface and with which presence somebody says no does not matter.
    pub fn rejected_by(&self, rejections: &[Vote]) -> bool {
        let persons: BTreeSet<&Principal> = rejections
            .iter()
            .filter(|vote| vote.signer.kind() == PrincipalKind::Human)
            .filter(|vote| self.steps.iter().any(|s| is_in(&s.group, &vote.groups)))
            .map(|vote| &vote.signer)
            .collect();
        persons.len() >= usize::try_from(self.deny).unwrap_or(usize::MAX)
    }

    /// Why this person's approval would not count, in words for them; nothing if it would.
    pub fn objection(&self, vote: &Vote, requester: &Principal) -> Option<String> {
        let because = self.admits(&Checks::all(), vote, requester).err()?;
        Some(match because {
            Uncounted::Presence => {
                let wanted = match self.presence {
                    Presence::Hardware => "a key whose hardware proves that somebody is there",
                    Presence::Passphrase | Presence::Unattended => {
                        "a key that a passphrase protects"
                    }
                };
                format!("this needs {wanted}")
            }
            Uncounted::Surface => format!("this has to be signed on {}", self.surfaces),
            Uncounted::Group => {
                let groups: Vec<&str> = self.groups().collect();
                format!("this needs somebody of {}", groups.join(" or "))
            }
            Uncounted::Decision
            | Uncounted::Forbidden
            | Uncounted::Key
            | Uncounted::NotHuman
            | Uncounted::OwnRequest
            | Uncounted::Person
            | Uncounted::Quorum => because.to_string(),
        })
    }

    /// Whether a vote counts by itself, whatever others there are.
    fn admits(
        &self,
        checks: &Checks<Uncounted>,
        vote: &Vote,
        requester: &Principal,
    ) -> Result<(), Uncounted> {
        let human = vote.signer.kind() == PrincipalKind::Human;
        checks.demand(human, Uncounted::NotHuman)?;
        let others = vote.signer != *requester || self.own_requests;
        checks.demand(others, Uncounted::OwnRequest)?;
        checks.demand(vote.presence <= self.presence, Uncounted::Presence)?;
        let surface = self.surfaces.accept(vote.surface);
        checks.demand(surface, Uncounted::Surface)?;
        let asked = self.groups().any(|group| is_in(group, &vote.groups));
        checks.demand(asked, Uncounted::Group)
    }

    /// The groups that are asked, step by step.
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.group.as_str())
    }

    /// The votes that count at all, at most one for each person and each key, first come first.
    fn counting<'v>(
        &self,
        checks: &Checks<Uncounted>,
        votes: &'v [Vote],
        requester: &Principal,
    ) -> Vec<&'v Vote> {
        let mut persons = BTreeSet::new();
        let mut keys = BTreeSet::new();
        let mut counting = Vec::new();
        for vote in votes {
            let new_person = !persons.contains(&vote.signer);
            let new_key = !keys.contains(&vote.key);
            let counts = self
                .admits(checks, vote, requester)
                .and_then(|()| checks.demand(new_person, Uncounted::Person))
                .and_then(|()| checks.demand(new_key, Uncounted::Key));
            if counts.is_ok() {
                persons.insert(&vote.signer);
                keys.insert(&vote.key);
                counting.push(vote);
            }
        }
        counting
    }
}

impl fmt::Display for Requirement {
    /// The grammar of `@ask`, without the options that are as usual: `2 of dba, then 1 of owner`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                f.write_str(", then ")?;
            }
            write!(f, "{} of {}", step.count, step.group)?;
        }
        Ok(())
    }
}

impl Progress {
    /// Whether nothing is missing.
    pub fn is_met(&self) -> bool {
        self.next().is_none()
    }

    /// The first step that still needs somebody.
    pub fn next(&self) -> Option<&StepProgress> {
        self.steps.iter().find(|step| step.missing() > 0)
    }
}

impl StepProgress {
    fn begun(step: &Step) -> Self {
        Self {
            step: step.clone(),
            by: Vec::new(),
        }
    }

    /// How many persons are missing.
    pub fn missing(&self) -> u32 {
        let have = u32::try_from(self.by.len()).unwrap_or(u32::MAX);
        self.step.count.saturating_sub(have)
    }
}

impl Surfaces {
    fn accept(self, surface: Surface) -> bool {
        match self {
            Self::Any => true,
            Self::Own => surface != Surface::RelayPage,
            Self::Terminal => surface == Surface::Terminal,
        }
    }

    /// Those that both accept.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Terminal, _) | (_, Self::Terminal) => Self::Terminal,
            (Self::Own, _) | (_, Self::Own) => Self::Own,
            (Self::Any, Self::Any) => Self::Any,
        }
    }
}

impl fmt::Display for Surfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any surface",
            Self::Own => "a surface of the approver's own",
            Self::Terminal => "a terminal of the approver's own",
        })
    }
}

fn is_in(group: &str, groups: &BTreeSet<String>) -> bool {
    group == ANYONE || groups.contains(group)
}

/// A maximum bipartite matching of slots and voters, one augmenting path at a time (Kuhn).
struct Matching<F> {
    fits: F,
    /// For each voter, the slot that they fill.
    taken_by: Vec<Option<usize>>,
}

impl<F: Fn(usize, usize) -> bool> Matching<F> {
    /// Finds a voter for a slot, if need be by moving others. At most [`super::ask::MOST_PERSONS`]
    /// deep.
    fn place(&mut self, slot: usize, seen: &mut [bool]) -> bool {
        for voter in 0..self.taken_by.len() {
            let unseen = seen.get_mut(voter).filter(|seen| !**seen);
            let Some(mark) = unseen.filter(|_| (self.fits)(slot, voter)) else {
                continue;
            };
            *mark = true;
            let holder = self.taken_by.get(voter).copied().flatten();
            if holder.is_none_or(|holder| self.place(holder, seen)) {
                if let Some(place) = self.taken_by.get_mut(voter) {
                    *place = Some(slot);
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "requirement_tests.rs"]
mod tests;
