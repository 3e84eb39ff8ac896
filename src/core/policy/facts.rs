//! Everything that a policy is judged on, and its form for Cedar.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value, Schema,
};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::Finding;
use crate::core::statement::{Effect, Name, Statement};
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// What a policy is judged on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What is known of them.
    pub standing: &'a Standing,
    /// Where it would run.
    pub target: &'a Target,
    /// The effect; at least as bad as the statement's.
    pub effect: Effect,
    /// What the text says.
    pub statement: &'a Statement,
    /// The capability, where it is not free SQL.
    pub capability: Option<&'a str>,
    /// What the review rules found and what becomes of it.
    pub findings: &'a [Finding],
    /// The rows that would change, where they were measured.
    pub rows: Option<u64>,
    /// When.
    pub at: Timestamp,
}

/// The roles and groups of a principal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Roles.
    pub roles: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
}

impl Standing {
    /// Nothing is known.
    pub const NONE: Self = Self {
        roles: BTreeSet::new(),
        groups: BTreeSet::new(),
    };
}

/// Facts that could not be given the form that the schema wants.
#[derive(Debug, thiserror::Error)]
#[error("the facts do not fit the policy's schema: {0}")]
pub(super) struct Unfit(String);

/// The schema that ships with the program.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The fixed names of the schema, parsed once. `None` only when the schema in the program is
/// broken, which a test would show; everything is denied then.
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    kinds: [EntityTypeName; 3],
    target: EntityTypeName,
    run: EntityUid,
}

pub(super) static VOCABULARY: LazyLock<Option<Vocabulary>> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    let kind = |name: &str| name.parse::<EntityTypeName>().ok();
    Some(Vocabulary {
        schema,
        kinds: [kind("Ai")?, kind("Human")?, kind("Service")?],
        target: kind("Target")?,
        run: r#"Action::"run""#.parse().ok()?,
    })
});

/// Whether an environment of this name is production, which the floor guards.
pub fn is_production(environment: &str) -> bool {
    ["production", "prod", "live"]
        .iter()
        .any(|name| environment.eq_ignore_ascii_case(name))
}

impl Facts<'_> {
    /// The effect that counts.
    pub(super) fn effect(&self) -> Effect {
        self.effect.max(self.statement.effect)
    }

    /// The request and the entities that Cedar judges, checked against the schema.
    pub(super) fn for_cedar(&self, words: &Vocabulary) -> Result<(Request, Entities), Unfit> {
        let unfit = |error: &dyn std::fmt::Display| Unfit(error.to_string());
        let [ai, human, service] = &words.kinds;
        let kind = match self.principal.kind() {
            PrincipalKind::Ai => ai,
            PrincipalKind::Human => human,
            PrincipalKind::Service => service,
        };
        let who = uid(kind, self.principal.name());
        let target = uid(&words.target, self.target.name.as_str());
        let context = Context::from_pairs(self.context()).map_err(|e| unfit(&e))?;
        let principal =
            Entity::new(who.clone(), self.who().into(), HashSet::new()).map_err(|e| unfit(&e))?;
        let resource = Entity::new(target.clone(), self.place().into(), HashSet::new())
            .map_err(|e| unfit(&e))?;
        let schema = Some(&words.schema);
        let request =
            Request::new(who, words.run.clone(), target, context, schema).map_err(|e| unfit(&e))?;
        let entities =
            Entities::from_entities([principal, resource], schema).map_err(|e| unfit(&e))?;
        Ok((request, entities))
    }

    fn who(&self) -> [(String, Value); 4] {
        [
            pair("name", text(self.principal.name())),
            pair("kind", text(self.principal.kind().as_str())),
            pair("roles", texts(&self.standing.roles)),
            pair("groups", texts(&self.standing.groups)),
        ]
    }

    fn place(&self) -> [(String, Value); 6] {
        let target = self.target;
        let labels = target.labels.iter();
        let labels = labels.map(|(key, value)| Value::new_string(format!("{key}={value}")));
        let allow = target.allow.iter().map(|effect| text(effect.as_str()));
        [
            pair("name", text(target.name.as_str())),
            pair("engine", text(target.engine.as_str())),
            pair("environment", text(&target.environment)),
            pair(
                "production",
                Value::new_bool(is_production(&target.environment)),
            ),
            pair("labels", Value::new_set(labels)),
            pair("allow", Value::new_set(allow)),
        ]
    }

    fn context(&self) -> [(String, Value); 15] {
        let statement = self.statement;
        let reads = both_forms(&statement.reads);
        let writes = both_forms(&statement.writes);
        let touches: BTreeSet<&String> = reads.union(&writes).collect();
        let time = DateTime::<Utc>::from_timestamp_millis(self.at.unix_ms()).unwrap_or_default();
        let findings = self.findings.iter().map(|f| text(f.rule.as_str()));
        // More than fits is more than any rule can name.
        let rows = self
            .rows
            .map_or(0, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        [
            pair("effect", text(self.effect().as_str())),
            pair("level", Value::new_long(level(self.effect()))),
            pair("kind", text(&statement.kind)),
            pair("touches", texts(touches)),
            pair("reads", texts(&reads)),
            pair("writes", texts(&writes)),
            pair(
                "columns_written",
                texts(&both_forms(&statement.columns_written)),
            ),
            pair("functions", texts(&both_forms(&statement.functions))),
            pair(
                "has_where",
                Value::new_bool(statement.has_where == Some(true)),
            ),
            pair("capability", text(self.capability.unwrap_or_default())),
            pair("findings", Value::new_set(findings)),
            pair("hour", Value::new_long(time.hour().into())),
            pair(
                "weekday",
                Value::new_long(time.weekday().number_from_monday().into()),
            ),
            pair("rows_known", Value::new_bool(self.rows.is_some())),
            pair("rows", Value::new_long(rows)),
        ]
    }
}

fn level(effect: Effect) -> i64 {
    match effect {
        Effect::Read => 0,
        Effect::Write => 1,
        Effect::Schema => 2,
        Effect::Admin => 3,
    }
}

/// Names in lower case, those with a schema also without it: a rule about `payroll` holds for
/// `hr.payroll` and `Payroll` too.
fn both_forms(names: &BTreeSet<Name>) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for name in names {
        if name.schema.is_some() {
            forms.insert(name.to_string().to_lowercase());
        }
        forms.insert(name.name.to_lowercase());
    }
    forms
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn pair(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t String>) -> Value {
    Value::new_set(texts.into_iter().map(|one| text(one)))
}
