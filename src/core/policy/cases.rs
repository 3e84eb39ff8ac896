//! Cases: questions to a policy with the answers that its author expects, kept beside it as data.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde::Deserialize;

use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::policy::facts::{Facts, Standing};
use crate::core::policy::judgement::{Judgement, Outcome};
use crate::core::policy::set::{Explanation, PolicySet};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::Settings;
use crate::core::statement::{Effect, Statement};
use crate::core::target::{Target, TargetName};
use crate::core::time::Timestamp;

/// A file of cases: `[[case]]` in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The cases.
    #[serde(default, rename = "case")]
    pub list: Vec<Case>,
}

/// One question and the answer that is expected. What is not written is as usual: an AI asks for
/// free SQL on a PostgreSQL target called `main` in the environment `test`, where reads run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about, for people.
    #[serde(default)]
    pub name: String,
    /// The statement.
    pub sql: String,
    /// What has to come of it: `allow`, `deny`, `ask`, or `ask` with the quorums:
    /// `ask 2 of dba, then 1 of owner`, several joined by ` and `.
    pub expect: String,
    /// The rules that have to decide; not looked at when it is not written.
    pub rules: Option<Vec<String>>,
    /// Who asks.
    #[serde(default = "an_ai", rename = "as")]
    pub principal: Principal,
    /// Their roles.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// Their groups.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// The target's name.
    #[serde(default = "main_target")]
    pub target: TargetName,
    /// Its engine.
    #[serde(default = "postgres")]
    pub engine: Engine,
    /// Its environment.
    #[serde(default = "test_environment")]
    pub environment: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The effects that its configuration allows.
    #[serde(default = "reads")]
    pub allow: BTreeSet<Effect>,
    /// The rows that a preview measured.
    pub rows: Option<u64>,
    /// Whether it breaks the glass.
    #[serde(default)]
    pub break_glass: bool,
    /// When, as RFC 3339: `2026-05-04T09:30:00Z`, which is what is usual.
    pub at: Option<String>,
}

/// Cases that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file is not what it should be.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A time that is none.
    #[error("`{0}` is not a time; write it like `2026-05-04T09:30:00Z`")]
    Time(String),
}

/// Monday, 4 May 2026, 09:30 UTC.
const USUAL_MS: i64 = 1_777_887_000_000;

impl Cases {
    /// Reads a file of cases.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        let cases: Self = toml::from_str(text)?;
        for case in &cases.list {
            case.time()?;
        }
        Ok(cases)
    }
}

impl Case {
    fn time(&self) -> Result<Timestamp, CasesError> {
        let Some(text) = &self.at else {
            return Ok(Timestamp::from_unix_ms(USUAL_MS));
        };
        let time = DateTime::parse_from_rfc3339(text);
        let time = time.map_err(|_| CasesError::Time(text.clone()))?;
        Ok(Timestamp::from_unix_ms(time.timestamp_millis()))
    }

    /// Asks a policy. `statement` is this case's SQL, parsed.
    pub fn ask(
        &self,
        policy: &PolicySet,
        statement: &Statement,
    ) -> Result<Explanation, CasesError> {
        let target = Target {
            name: self.target.clone(),
            engine: self.engine,
            environment: self.environment.clone(),
            labels: self.labels.clone(),
            allow: self.allow.clone(),
            limits: Limits::DEFAULT,
            trusted: BTreeSet::new(),
            sync_reads: false,
            only_capabilities: false,
        };
        let standing = Standing {
            roles: self.roles.clone(),
            groups: self.groups.clone(),
        };
        let found = statement.findings.iter().copied();
        let findings = Settings::DEFAULT.apply(&self.environment, found);
        Ok(policy.explain(&Facts {
            principal: &self.principal,
            standing: &standing,
            target: &target,
            effect: statement.effect,
            statement,
            capability: None,
            findings: &findings,
            rows: self.rows,
            break_glass: self.break_glass,
            at: self.time()?,
        }))
    }

    /// What is wrong with the answer; nothing when it is as expected.
    pub fn objection(&self, answer: &Judgement) -> Option<String> {
        let got = written(&answer.outcome);
        let word = got.split(' ').next().unwrap_or_default();
        if self.expect != got && self.expect != word {
            return Some(format!("expected `{}` and got `{got}`", self.expect));
        }
        let rules = self
            .rules
            .as_ref()
            .filter(|rules| **rules != answer.rules)?;
        Some(format!(
            "expected `{}` to decide and it was `{}`",
            rules.join("`, `"),
            answer.rules.join("`, `")
        ))
    }
}

/// An outcome as cases write it: `allow`, `deny (rule)`, `ask 1 of dba and 1 of owner`.
pub fn written(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Allow => "allow".to_owned(),
        Outcome::Deny(denial) => format!("deny ({})", denial.as_str()),
        Outcome::Ask(asks) => {
            let asks: Vec<_> = asks.iter().map(ToString::to_string).collect();
            format!("ask {}", asks.join(" and "))
        }
    }
}

fn an_ai() -> Principal {
    Principal::new(PrincipalKind::Ai, "ada/claude-code")
}

fn main_target() -> TargetName {
    TargetName::main()
}

fn postgres() -> Engine {
    Engine::Postgres
}

fn test_environment() -> String {
    "test".to_owned()
}

fn reads() -> BTreeSet<Effect> {
    BTreeSet::from([Effect::Read])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::parse;

    #[test]
    fn a_case_says_what_differs() {
        let cases = Cases::parse(
            r#"
            [[case]]
            sql = "delete from orders where id = 1"
            expect = "ask"
            [[case]]
            sql = "delete from orders where id = 1"
            expect = "allow"
            [[case]]
            sql = "delete from orders where id = 1"
            environment = "production"
            expect = "ask 1 of anyone"
            rules = ["writes-ask"]
            "#,
        );
        let starter = PolicySet::starter();
        let objections: Vec<_> = cases
            .unwrap()
            .list
            .iter()
            .map(|case| {
                let statement = parse(case.engine, &case.sql).unwrap();
                case.objection(&case.ask(&starter, &statement).unwrap().judgement)
            })
            .collect();
        assert_eq!(
            objections,
            [
                None,
                Some("expected `allow` and got `ask 1 of anyone`".to_owned()),
                Some("expected `writes-ask` to decide and it was `production-asks`".to_owned()),
            ]
        );
    }

    #[test]
    fn the_usual_time_is_a_monday_morning() {
        let text = Timestamp::from_unix_ms(USUAL_MS).to_string();
        assert_eq!(text, "2026-05-04T09:30:00.000Z");
        assert!(Cases::parse("[[case]]\nsql = ''\nexpect = 'allow'\nat = 'noon'").is_err());
    }
}
