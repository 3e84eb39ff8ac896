//! Reads the rules of a parsed policy: their annotations, their places, what is wrong with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect as Sort, Policy, PolicyId};

use crate::core::limits::Limits;
use crate::core::policy::ask::{self, Fault};
use crate::core::policy::guard::{self, Guard};
use crate::core::policy::problem::Finder;
use crate::core::policy::requirement::Requirement;
use crate::core::policy::words;

/// What a rule says beyond its condition.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its place among the rules.
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) sort: Sort,
    pub(super) ask: Option<Requirement>,
    pub(super) limits: Limits,
    pub(super) reason: Option<String>,
    /// What Cedar judges.
    pub(super) cedar: Policy,
    /// Tests without which it says nothing.
    pub(super) guards: Vec<Guard>,
}

/// Reads the rules of a parsed policy.
pub(super) struct Reader<'r, 't> {
    text: &'t str,
    groups: Option<&'r BTreeSet<String>>,
    finder: &'r mut Finder<'t>,
    names: BTreeMap<String, usize>,
}

/// The rules, and the byte at which each begins.
pub(super) struct Rules {
    pub(super) list: HashMap<PolicyId, Rule>,
    pub(super) starts: HashMap<PolicyId, usize>,
}

const ANNOTATIONS: &str = "the annotations are @id, @reason, @ask and @limit";

impl<'r, 't> Reader<'r, 't> {
    pub(super) fn new(
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

    pub(super) fn rules(mut self, cedar: &cedar_policy::PolicySet) -> Rules {
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
            cedar: policy.clone(),
            guards: Vec::new(),
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
        rule.guards = guard::guards(&form);
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
    pub(super) fn diagnosed(&mut self, error: &DetailedError, start: usize) {
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
