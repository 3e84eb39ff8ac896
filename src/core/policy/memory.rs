//! A memory of judgements: a model sends the same statement many times, and Cedar takes far longer
//! than a look-up. What is remembered is the judgement of exactly the same facts, by one policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use crate::core::engine::Engine;
use crate::core::policy::facts::{Facts, Standing};
use crate::core::policy::judgement::Judgement;
use crate::core::principal::Principal;
use crate::core::review::Finding;
use crate::core::statement::{Effect, Name};
use crate::core::work::Digest;

/// Judgements remembered; then all are forgotten.
const REMEMBERED: usize = 512;
/// Facts with more names than this are not remembered, so that the memory stays small.
const MOST_NAMES: usize = 64;

/// Everything that a policy can see of the facts.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    principal: Principal,
    standing: (BTreeSet<String>, BTreeSet<String>),
    target: (String, Engine, String),
    labels: BTreeMap<String, String>,
    allow: BTreeSet<Effect>,
    effect: Effect,
    kind: String,
    reads: BTreeSet<Name>,
    writes: BTreeSet<Name>,
    columns_written: BTreeSet<Name>,
    functions: BTreeSet<Name>,
    has_where: Option<bool>,
    capability: Option<(String, Digest)>,
    findings: Vec<Finding>,
    rows: Option<u64>,
    break_glass: bool,
    /// The hour of the day and the day of the week: all that a rule sees of the time.
    time: (u32, u32),
}

impl Key {
    fn of(facts: &Facts<'_>) -> Option<Self> {
        let statement = facts.statement;
        let names = statement.reads.len()
            + statement.writes.len()
            + statement.columns_written.len()
            + statement.functions.len();
        if names > MOST_NAMES {
            return None;
        }
        let time = DateTime::<Utc>::from_timestamp_millis(facts.at.unix_ms()).unwrap_or_default();
        let Standing { roles, groups } = facts.standing;
        let target = facts.target;
        Some(Self {
            principal: facts.principal.clone(),
            standing: (roles.clone(), groups.clone()),
            target: (
                target.name.as_str().to_owned(),
                target.engine,
                target.environment.clone(),
            ),
            labels: target.labels.clone(),
            allow: target.allow.clone(),
            effect: facts.effect(),
            kind: statement.kind.clone(),
            reads: statement.reads.clone(),
            writes: statement.writes.clone(),
            columns_written: statement.columns_written.clone(),
            functions: statement.functions.clone(),
            has_where: statement.has_where,
            capability: facts
                .capability
                .map(|(name, bundle)| (name.to_owned(), bundle)),
            findings: facts.findings.to_vec(),
            rows: facts.rows,
            break_glass: facts.break_glass,
            time: (time.hour(), time.weekday().number_from_monday()),
        })
    }
}

/// What one policy has said lately.
#[derive(Debug, Default)]
pub(super) struct Memory {
    judged: Mutex<BTreeMap<Key, Judgement>>,
}

impl Memory {
    /// What was said of the same facts, else what `judge` says of them.
    pub(super) fn or_else(
        &self,
        facts: &Facts<'_>,
        judge: impl FnOnce() -> Judgement,
    ) -> Judgement {
        let Some(key) = Key::of(facts) else {
            return judge();
        };
        if let Some(known) = self.lock().get(&key) {
            return known.clone();
        }
        let judgement = judge();
        let mut judged = self.lock();
        if judged.len() >= REMEMBERED {
            judged.clear();
        }
        judged.insert(key, judgement.clone());
        judgement
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Judgement>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
