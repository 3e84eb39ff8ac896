//! A policy: its rules, loaded with every mistake found at once, and judged on facts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Authorizer, Decision, PolicyId, ValidationMode, Validator};

use crate::core::limits::Limits;
use crate::core::policy::facts::{Facts, VOCABULARY, is_production};
use crate::core::policy::judgement::{Denial, Judgement, Outcome, strictest};
use crate::core::policy::memory::Memory;
use crate::core::policy::problem::{Finder, Problem, Problems};
use crate::core::policy::reader::{Reader, Rule};
use crate::core::policy::requirement::{ANYONE, Requirement, Step, Surfaces};
use crate::core::review::Level;
use crate::core::signer::Presence;
use crate::core::statement::Effect;
use crate::core::trust::TrustFile;
use crate::core::work::Digest;

/// What stands in the place of a rule where one signature breaks the glass.
const BREAK_GLASS: &str = "break-glass";
/// The longest text of a policy, in bytes.
pub const LONGEST: usize = 1024 * 1024;

/// The workspace policy of whoever has none of their own.
pub const STARTER: &str = include_str!("starter.cedar");
/// The agent policy of whoever has none of their own.
pub const AGENT_DEFAULT: &str = include_str!("agent-default.cedar");

/// A policy without a mistake in it.
#[derive(Debug)]
pub struct PolicySet {
    text: String,
    rules: HashMap<PolicyId, Rule>,
    digest: Digest,
    memory: Memory,
}

static BUILT_IN: LazyLock<[Option<Arc<PolicySet>>; 2]> = LazyLock::new(|| {
    [
        (STARTER, "starter.cedar"),
        (AGENT_DEFAULT, "agent-default.cedar"),
    ]
    .map(|(text, name)| PolicySet::load(text, name, None).ok().map(Arc::new))
});

impl PolicySet {
    /// The workspace policy that ships with the program.
    pub fn starter() -> Arc<Self> {
        Self::built_in(0)
    }

    /// The agent policy that ships with the program.
    pub fn agent_default() -> Arc<Self> {
        Self::built_in(1)
    }

    fn built_in(number: usize) -> Arc<Self> {
        let loaded = BUILT_IN.get(number).and_then(Option::as_ref);
        loaded.cloned().unwrap_or_else(|| Arc::new(Self::nothing()))
    }

    /// The policy that denies everything.
    fn nothing() -> Self {
        Self {
            text: String::new(),
            rules: HashMap::new(),
            digest: Digest::of(&[]),
            memory: Memory::default(),
        }
    }

    /// Reads a policy like [`PolicySet::load`], and holds the groups that it asks against those of a
    /// trust file, where there is one.
    pub fn load_under(text: &str, file: &str, trust: Option<&TrustFile>) -> Result<Self, Problems> {
        let groups = trust.map(|trust| trust.groups().into_iter().map(str::to_owned).collect());
        Self::load(text, file, groups.as_ref())
    }

    /// Reads a policy, or says everything that is wrong with it. `file` is its name in problems;
    /// `groups` are the groups of the trust file, where there is one.
    pub fn load(
        text: &str,
        file: &str,
        groups: Option<&BTreeSet<String>>,
    ) -> Result<Self, Problems> {
        let single = |message: String| Problems {
            file: file.to_owned(),
            list: vec![Problem {
                line: 1,
                column: 1,
                message,
                hint: String::new(),
            }],
        };
        if text.len() > LONGEST {
            return Err(single(format!("the policy is longer than {LONGEST} bytes")));
        }
        let Some(words) = VOCABULARY.as_ref() else {
            return Err(single("the schema in this program is broken".to_owned()));
        };
        let mut finder = Finder::new(text);
        let cedar = match text.parse::<cedar_policy::PolicySet>() {
            Ok(cedar) => cedar,
            Err(errors) => {
                for error in errors.iter() {
                    finder.diagnosed(&DetailedError::from(error), 0);
                }
                // Nothing can be said of rules that are not rules.
                finder.finish(file)?;
                return Err(single("this cannot be read".to_owned()));
            }
        };
        let rules = Reader::new(text, groups, &mut finder).rules(&cedar);
        let validator = Validator::new(words.schema.clone());
        let result = validator.validate(&cedar, ValidationMode::Strict);
        let start = |id: &PolicyId| rules.starts.get(id).copied().unwrap_or_default();
        for error in result.validation_errors() {
            finder.diagnosed(&DetailedError::from(error), start(error.policy_id()));
        }
        for warning in result.validation_warnings() {
            finder.diagnosed(&DetailedError::from(warning), start(warning.policy_id()));
        }
        finder.finish(file)?;
        Ok(Self {
            text: text.to_owned(),
            rules: rules.list,
            digest: Digest::of(&[text.as_bytes()]),
            memory: Memory::default(),
        })
    }

    /// The rules, in their order.
    pub(super) fn rules(&self) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.values().collect();
        rules.sort_by_key(|rule| rule.number);
        rules
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the policy's text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many rules it has.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has no rule, and so denies everything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Judges. Whatever cannot be evaluated is denied; the safety floor holds whatever the rules say.
    ///
    /// Of a batch each statement is judged by itself, and the strictest outcome wins.
    pub fn judge(&self, facts: &Facts<'_>) -> Judgement {
        self.each_part(facts, |part| Explanation {
            judgement: self.judge(part),
            overshadowed: Vec::new(),
        })
        .map_or_else(
            || self.memory.or_else(facts, || self.explain(facts).judgement),
            |explained| explained.judgement,
        )
    }

    /// What is said of each statement of a batch, together; nothing where it is no batch.
    fn each_part(
        &self,
        facts: &Facts<'_>,
        mut explain: impl FnMut(&Facts<'_>) -> Explanation,
    ) -> Option<Explanation> {
        let parts = facts.statement.parts.iter().map(|part| {
            let findings = facts
                .findings
                .iter()
                .filter(|f| part.findings.contains(&f.rule));
            let findings: Vec<_> = findings.copied().collect();
            explain(&Facts {
                statement: part,
                effect: part.effect,
                findings: &findings,
                ..*facts
            })
        });
        parts.reduce(|mut all, part| {
            all.judgement = strictest(all.judgement, part.judgement);
            // One policy said all of it.
            all.judgement.digest = self.digest;
            let new = part
                .overshadowed
                .into_iter()
                .filter(|rule| !all.overshadowed.contains(rule));
            let new: Vec<_> = new.collect();
            all.overshadowed.extend(new);
            all
        })
    }

    /// Judges, and says which rules match besides those that decide.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        self.each_part(facts, |part| self.explain(part))
            .unwrap_or_else(|| self.explain_one(facts))
    }

    fn explain_one(&self, facts: &Facts<'_>) -> Explanation {
        let Some((outcome, mut matched)) = self.matched(facts) else {
            return Explanation {
                judgement: self.judgement(facts, Outcome::Deny(Denial::Error), &[]),
                overshadowed: Vec::new(),
            };
        };
        let limits = matched.iter().map(|rule| rule.limits);
        let limits = limits.fold(Limits::MAX, Limits::intersect);
        let mut overshadowed = Vec::new();
        if matches!(outcome, Outcome::Ask(_)) {
            let plain = matched.iter().filter(|rule| rule.ask.is_none());
            overshadowed = plain.map(|rule| rule.name.clone()).collect();
            matched.retain(|rule| rule.ask.is_some());
        }
        let mut judgement = self.judgement(facts, on_the_floor(facts, outcome), &matched);
        judgement.limits = limits;
        Explanation {
            judgement,
            overshadowed,
        }
    }

    /// What the rules alone say, and all rules that say so, in their order. `None` when something
    /// cannot be evaluated: Cedar leaves out a rule that fails, a `forbid` too, so that one failure
    /// is enough to trust nothing.
    fn matched(&self, facts: &Facts<'_>) -> Option<(Outcome, Vec<&Rule>)> {
        let words = VOCABULARY.as_ref()?;
        let form = facts.form();
        let in_question = self.rules.values();
        let in_question = in_question.filter(|rule| rule.guards.iter().all(|g| g.holds(&form)));
        let policies = in_question.map(|rule| rule.cedar.clone());
        let policies = cedar_policy::PolicySet::from_policies(policies).ok()?;
        let (request, entities) = form.for_cedar(words).ok()?;
        let response = Authorizer::new().is_authorized(&request, &policies, &entities);
        let diagnostics = response.diagnostics();
        if diagnostics.errors().next().is_some() {
            return None;
        }
        let matched: Option<Vec<&Rule>> =
            diagnostics.reason().map(|id| self.rules.get(id)).collect();
        let mut matched = matched?;
        matched.sort_by_key(|rule| rule.number);
        let outcome = match response.decision() {
            Decision::Deny if matched.is_empty() => Outcome::Deny(Denial::NoRule),
            Decision::Deny => Outcome::Deny(Denial::Rule),
            Decision::Allow => {
                let asks: Vec<_> = matched.iter().filter_map(|rule| rule.ask.clone()).collect();
                if asks.is_empty() {
                    Outcome::Allow
                } else {
                    Outcome::Ask(asks)
                }
            }
        };
        Some((outcome, matched))
    }

    fn judgement(&self, facts: &Facts<'_>, outcome: Outcome, rules: &[&Rule]) -> Judgement {
        let mut reasons: Vec<String> = Vec::new();
        for reason in rules.iter().filter_map(|rule| rule.reason.as_ref()) {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
        Judgement {
            outcome,
            rules: rules.iter().map(|rule| rule.name.clone()).collect(),
            reasons,
            limits: Limits::MAX,
            digest: self.digest,
            findings: facts.findings.to_vec(),
        }
    }
}

/// A judgement, with what it does not say.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The judgement.
    pub judgement: Judgement,
    /// Plain permits that match too and change nothing, because others ask.
    pub overshadowed: Vec<String>,
}

/// The safety floor, which holds whatever the rules say: `admin` is for the target's configuration
/// to allow, a blocking finding blocks, and in production a key has to prove that somebody is there.
fn on_the_floor(facts: &Facts<'_>, outcome: Outcome) -> Outcome {
    let blocked = facts.findings.iter().any(|f| f.level == Level::Block);
    let admin = facts.effect() == Effect::Admin && !facts.target.allow.contains(&Effect::Admin);
    let floor = [
        admin.then_some(Denial::Admin),
        blocked.then_some(Denial::Review),
    ];
    let floor = floor.into_iter().flatten().min();
    let outcome = if facts.break_glass {
        at_once(outcome)
    } else {
        outcome
    };
    match (outcome, floor) {
        (Outcome::Deny(rule), Some(floor)) => Outcome::Deny(rule.min(floor)),
        (Outcome::Allow | Outcome::Ask(_), Some(floor)) => Outcome::Deny(floor),
        (Outcome::Ask(mut requirements), None) if is_production(&facts.target.environment) => {
            requirements
                .iter_mut()
                .for_each(Requirement::as_in_production);
            Outcome::Ask(requirements)
        }
        (outcome, None) => outcome,
    }
}

/// Where somebody breaks the glass, one signature takes the place of everybody whom the rules ask, and it may
/// be the requester's own. How it has to be given is still for the rules to say, and what they refuse
/// stays refused. That the signer is marked for it in the trust file is seen to where the signature is
/// verified.
fn at_once(outcome: Outcome) -> Outcome {
    let asked = match outcome {
        Outcome::Deny(denial) => return Outcome::Deny(denial),
        Outcome::Allow => Vec::new(),
        Outcome::Ask(requirements) => requirements,
    };
    let presence = asked.iter().map(|one| one.presence).min();
    let surfaces = asked.iter().map(|one| one.surfaces);
    Outcome::Ask(vec![Requirement {
        rule: BREAK_GLASS.to_owned(),
        steps: vec![Step {
            count: 1,
            group: ANYONE.to_owned(),
        }],
        presence: presence.unwrap_or(Presence::Passphrase),
        surfaces: surfaces.fold(Surfaces::Any, Surfaces::stricter),
        own_requests: true,
        deny: 1,
    }])
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
