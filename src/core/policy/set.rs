//! A policy: its rules, loaded with every mistake found at once, and judged on facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Authorizer, Decision, Effect as Sort, Policy, PolicyId, ValidationMode, Validator,
};

use crate::core::limits::Limits;
use crate::core::policy::ask::{self, Fault};
use crate::core::policy::facts::{Facts, VOCABULARY, is_production};
use crate::core::policy::judgement::{Denial, Judgement, Outcome};
use crate::core::policy::problem::{Finder, Problem, Problems};
use crate::core::policy::requirement::Requirement;
use crate::core::policy::words;
use crate::core::review::Level;
use crate::core::signer::Presence;
use crate::core::statement::Effect;
use crate::core::work::Digest;

/// The longest text of a policy, in bytes.
pub const LONGEST: usize = 1024 * 1024;

/// The workspace policy of whoever has none of their own.
pub const STARTER: &str = include_str!("starter.cedar");
/// The agent policy of whoever has none of their own.
pub const AGENT_DEFAULT: &str = include_str!("agent-default.cedar");

/// A policy without a mistake in it.
#[derive(Debug)]
pub struct PolicySet {
    cedar: cedar_policy::PolicySet,
    rules: HashMap<PolicyId, Rule>,
    digest: Digest,
}

/// What a rule says beyond its condition.
#[derive(Debug)]
struct Rule {
    /// Its place among the rules.
    number: usize,
    name: String,
    sort: Sort,
    ask: Option<Requirement>,
    limits: Limits,
    reason: Option<String>,
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
            cedar: cedar_policy::PolicySet::new(),
            rules: HashMap::new(),
            digest: Digest::of(&[]),
        }
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
            cedar,
            rules: rules.list,
            digest: Digest::of(&[text.as_bytes()]),
        })
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
    pub fn judge(&self, facts: &Facts<'_>) -> Judgement {
        self.explain(facts).judgement
    }

    /// Judges, and says which rules match besides those that decide.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
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
        let (request, entities) = facts.for_cedar(words).ok()?;
        let response = Authorizer::new().is_authorized(&request, &self.cedar, &entities);
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
    match (outcome, floor) {
        (Outcome::Deny(rule), Some(floor)) => Outcome::Deny(rule.min(floor)),
        (Outcome::Allow | Outcome::Ask(_), Some(floor)) => Outcome::Deny(floor),
        (Outcome::Ask(mut requirements), None) if is_production(&facts.target.environment) => {
            for requirement in &mut requirements {
                requirement.presence = Presence::Hardware;
            }
            Outcome::Ask(requirements)
        }
        (outcome, None) => outcome,
    }
}

/// Reads the rules of a parsed policy.
struct Reader<'r, 't> {
    text: &'t str,
    groups: Option<&'r BTreeSet<String>>,
    finder: &'r mut Finder<'t>,
    names: BTreeMap<String, usize>,
}

/// The rules, and the byte at which each begins.
struct Rules {
    list: HashMap<PolicyId, Rule>,
    starts: HashMap<PolicyId, usize>,
}

const ANNOTATIONS: &str = "the annotations are @id, @reason, @ask and @limit";

impl<'r, 't> Reader<'r, 't> {
    fn new(
        text: &'t str,
        groups: Option<&'r BTreeSet<String>>,
        finder: &'r mut Finder<'t>,
    ) -> Self {
        Self {
            text,
            groups,
            finder,
            names: BTreeMap::new(),
        }
    }

    fn rules(mut self, cedar: &cedar_policy::PolicySet) -> Rules {
        let mut rules = Rules {
            list: HashMap::new(),
            starts: HashMap::new(),
        };
        for template in cedar.templates() {
            let at = self.text.find(&template.to_cedar()).unwrap_or_default();
            self.finder
                .add(at, "a rule cannot have slots like `?principal`", "");
        }
        // Cedar numbers rules in the order of the text: policy0, policy1, ...
        let number = |policy: &Policy| -> usize {
            let digits = policy.id().to_string();
            digits
                .trim_start_matches("policy")
                .parse()
                .unwrap_or(usize::MAX)
        };
        let mut policies: Vec<_> = cedar.policies().map(|p| (number(p), p)).collect();
        policies.sort_by_key(|(number, _)| *number);
        if policies.is_empty() {
            self.finder.add(
                0,
                "this policy has no rule, so it would deny everything",
                "",
            );
        }
        let mut from = 0;
        for (number, policy) in policies {
            let source = policy.to_cedar().unwrap_or_default();
            let rest = self.text.get(from..).unwrap_or_default();
            let at = from + rest.find(&source).unwrap_or_default();
            from = at + source.len();
            let rule = self.rule(number, policy, (at, &source));
            rules.starts.insert(policy.id().clone(), at);
            rules.list.insert(policy.id().clone(), rule);
        }
        rules
    }

    fn rule(&mut self, number: usize, policy: &Policy, (at, source): (usize, &str)) -> Rule {
        let (line, _) = self.finder.place(at);
        let mut rule = Rule {
            number,
            name: format!("line {line}"),
            sort: policy.effect(),
            ask: None,
            limits: Limits::MAX,
            reason: None,
        };
        if let Some(name) = policy.annotation("id") {
            name.clone_into(&mut rule.name);
            if let Some(first) = self.names.insert(rule.name.clone(), line) {
                let message = format!("the rule in line {first} is called `{name}` too");
                self.finder
                    .add(at, message, "give each rule an id of its own");
            }
        }
        for (name, value) in policy.annotations() {
            let here = at + source.find(&format!("@{name}")).unwrap_or_default();
            self.annotation(name, value, here, &mut rule);
        }
        let form = policy.to_json().unwrap_or_default();
        for (word, wrong) in words::mistakes(&form) {
            let here = at + source.find(&format!("\"{word}\"")).unwrap_or_default();
            self.finder
                .add(here, format!("`{word}` never matches: {wrong}"), "");
        }
        rule
    }

    fn annotation(&mut self, name: &str, value: &str, at: usize, rule: &mut Rule) {
        let forbids = rule.sort == Sort::Forbid;
        match name {
            "id" | "reason" if value.trim().is_empty() => {
                self.finder.add(at, format!("@{name} needs a text"), "");
            }
            "id" => {}
            "reason" => rule.reason = Some(value.to_owned()),
            "ask" | "limit" if forbids => {
                let message = format!("a `forbid` cannot have @{name}");
                self.finder
                    .add(at, message, "write `permit` to ask or to limit");
            }
            "ask" => match ask::ask(&rule.name, value, self.groups) {
                Ok(requirement) => rule.ask = Some(requirement),
                Err(faults) => self.faults(at, name, faults),
            },
            "limit" => match ask::limit(value) {
                Ok(limits) => rule.limits = limits,
                Err(faults) => self.faults(at, name, faults),
            },
            _ => self
                .finder
                .add(at, format!("@{name} is not known"), ANNOTATIONS),
        }
    }

    fn faults(&mut self, at: usize, name: &str, faults: Vec<Fault>) {
        for fault in faults {
            self.finder
                .add(at, format!("in @{name}: {}", fault.message), fault.hint);
        }
    }
}

impl Finder<'_> {
    /// Adds what Cedar found, at its own place, else at `start`.
    fn diagnosed(&mut self, error: &DetailedError, start: usize) {
        let at = error
            .source_locations
            .first()
            .map_or(start, |label| label.loc.start);
        // Cedar names a rule by its number, which means nothing to a person.
        let message = match error.message.split_once("`, ") {
            Some((prefix, rest)) if prefix.starts_with("for policy `") => rest,
            _ => error.message.as_str(),
        };
        let label = error
            .source_locations
            .first()
            .and_then(|label| label.label.as_deref());
        let message = match label.filter(|label| !message.contains(*label)) {
            Some(label) => format!("{message} ({label})"),
            None => message.to_owned(),
        };
        self.add(at, message, error.help.clone().unwrap_or_default());
        for related in &error.related {
            self.diagnosed(related, start);
        }
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
