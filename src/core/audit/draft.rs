//! Drafts: what happened, before it has a place in the log.
//!
//! A draft takes typed facts only, so that no parameter value, row or credential finds its way in
//! by accident.

use serde_json::{Map, Value, json};

use crate::core::answer::integer;
use crate::core::approval::Purpose;
use crate::core::audit::kind::EventKind;
use crate::core::ids::{AgentId, RequestId, TokenId};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Statement};
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// The longest text of one fact or target name, in characters; a redacted statement may be longer.
const LONGEST_TEXT: usize = 256;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a draft records nothing until it is appended"]
pub struct Draft {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Who did it.
    pub principal: Option<Principal>,
    /// The request it belongs to.
    pub request: Option<RequestId>,
    /// The target it is about.
    pub target: Option<String>,
    facts: Map<String, Value>,
}

impl Draft {
    /// A draft that says when and what, and nothing else yet.
    pub fn new(at: Timestamp, kind: EventKind) -> Self {
        Self {
            at,
            kind,
            principal: None,
            request: None,
            target: None,
            facts: Map::new(),
        }
    }

    /// Adds who did it.
    pub fn by(mut self, principal: &Principal) -> Self {
        self.principal = Some(principal.clone());
        self
    }

    /// Adds the request it belongs to.
    pub fn request(mut self, request: &RequestId) -> Self {
        self.request = Some(request.clone());
        self
    }

    /// Adds the target it is about, as the caller named it.
    pub fn target(mut self, name: &str) -> Self {
        self.target = Some(tidy(name));
        self
    }

    /// Adds a statement: its redacted text, its effect, and why.
    pub fn statement(self, statement: &Statement) -> Self {
        let reasons = statement.reasons.iter();
        let reasons = reasons.map(|r| json!({ "because": r.because, "effect": r.effect.as_str() }));
        let reasons = Value::Array(reasons.collect());
        self.put("statement", statement.redacted.as_str().into())
            .effect(statement.effect)
            .put("reasons", reasons)
    }

    /// Adds an effect alone.
    pub fn effect(self, effect: Effect) -> Self {
        self.put("effect", effect.as_str().into())
    }

    /// Adds the work digest.
    pub fn work(self, work: &Digest) -> Self {
        self.put("work", work.to_string().into())
    }

    /// Adds how many parameter values were sent, and the commitment to them.
    pub fn params(self, count: usize, commitment: &Digest) -> Self {
        self.number("params", count as u64)
            .put("params_commitment", commitment.to_string().into())
    }

    /// Adds a code alone.
    pub fn code(self, code: Code) -> Self {
        self.put("code", code.as_str().into())
    }

    /// Adds why it was refused or failed: the codes, not the sentence, which can quote a database.
    pub fn refusal(self, refusal: &Refusal) -> Self {
        let draft = self.code(refusal.code);
        match &refusal.sqlstate {
            Some(sqlstate) => draft.text("sqlstate", sqlstate),
            None => draft,
        }
    }

    /// Marks what breaks the glass. What waits for its approvals is what is usual, and not marked.
    pub fn purpose(self, purpose: Purpose) -> Self {
        match purpose {
            Purpose::Run => self,
            Purpose::BreakGlass => self.put("purpose", purpose.as_str().into()),
        }
    }

    /// Adds the execution token.
    pub fn token(self, token: &TokenId) -> Self {
        self.put("token", token.as_str().into())
    }

    /// Adds the digest of the policy that decided, and the rules in it that did.
    pub fn policy(self, digest: &Digest, rules: &[String]) -> Self {
        let rules = rules.iter().map(|rule| Value::from(tidy(rule)));
        let rules = Value::Array(rules.collect());
        self.put("policy", digest.to_string().into())
            .put("rules", rules)
    }

    /// Adds the agent.
    pub fn agent(self, agent: &AgentId) -> Self {
        self.put("agent", agent.as_str().into())
    }

    /// Adds how many rows were returned or changed.
    pub fn rows(self, rows: u64) -> Self {
        self.number("rows", rows)
    }

    /// Adds how many bytes were returned.
    pub fn bytes(self, bytes: u64) -> Self {
        self.number("bytes", bytes)
    }

    /// Adds how long it took.
    pub fn elapsed_ms(self, elapsed: u64) -> Self {
        self.number("elapsed_ms", elapsed)
    }

    /// Adds another count.
    pub fn number(self, name: &'static str, value: u64) -> Self {
        self.put(name, integer(value.into()))
    }

    /// Adds a short text of the program's own making: a version, a key id, a relation. Never a
    /// parameter value, a row or a credential.
    pub fn text(self, name: &'static str, value: &str) -> Self {
        self.put(name, tidy(value).into())
    }

    /// What was added.
    pub fn facts(&self) -> &Map<String, Value> {
        &self.facts
    }

    fn put(mut self, name: &str, value: Value) -> Self {
        self.facts.insert(name.to_owned(), value);
        self
    }
}

/// Without control characters, and no longer than an entry needs.
fn tidy(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(LONGEST_TEXT).map(clean).collect()
}
