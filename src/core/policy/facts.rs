//! Everything that a policy is judged on, and its form for Cedar.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value, Schema,
};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use crate::core::policy::guard::{Part, Place};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::Finding;
use crate::core::statement::{Effect, Name, Statement};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::work::Digest;

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
    /// The capability and the digest of its bundle, where it is not free SQL.
    pub capability: Option<(&'a str, Digest)>,
    /// What the review rules found and what becomes of it.
    pub findings: &'a [Finding],
    /// The rows that would change, where they were measured.
    pub rows: Option<u64>,
    /// Whether it would run at once, on one signature, ahead of its review.
    pub break_glass: bool,
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
    kinds: [(&'static str, EntityTypeName); 3],
    target: EntityTypeName,
    run: EntityUid,
}

pub(super) static VOCABULARY: LazyLock<Option<Vocabulary>> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    let kind = |name: &'static str| Some((name, name.parse().ok()?));
    Some(Vocabulary {
        schema,
        kinds: [kind("Ai")?, kind("Human")?, kind("Service")?],
        target: "Target".parse().ok()?,
        run: r#"Action::"run""#.parse().ok()?,
    })
});

/// Whether an environment of this name is production, which the floor guards.
pub fn is_production(environment: &str) -> bool {
    ["production", "prod", "live"]
        .iter()
        .any(|name| environment.eq_ignore_ascii_case(name))
}

/// One fact, as rules see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fact {
    Number(i64),
    Text(String),
    Texts(BTreeSet<String>),
    Truth(bool),
}

/// The facts as rules see them, each in the place that [`Part::names`] gives it.
#[derive(Debug)]
pub(super) struct Form {
    /// The type and id of who asks.
    pub(super) principal: (&'static str, String),
    /// The target's name.
    pub(super) target: String,
    who: [Fact; 4],
    place: [Fact; 6],
    context: [Fact; 17],
}

impl Part {
    /// The names of the attributes, in order.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Principal => &["name", "kind", "roles", "groups"],
            Self::Resource => &[
                "name",
                "engine",
                "environment",
                "production",
                "labels",
                "allow",
            ],
            Self::Context => &[
                "effect",
                "level",
                "kind",
                "touches",
                "reads",
                "writes",
                "columns_written",
                "functions",
                "has_where",
                "capability",
                "bundle",
                "findings",
                "hour",
                "weekday",
                "rows_known",
                "rows",
                "break_glass",
            ],
        }
    }
}

impl Form {
    /// A form in which nothing but the target is known.
    pub(super) fn of_target(target: &Target) -> Self {
        Self {
            principal: ("", String::new()),
            target: target.name.as_str().to_owned(),
            who: std::array::from_fn(|_| text("")),
            place: place(target),
            context: std::array::from_fn(|_| text("")),
        }
    }

    fn part(&self, part: Part) -> &[Fact] {
        match part {
            Part::Principal => &self.who,
            Part::Resource => &self.place,
            Part::Context => &self.context,
        }
    }

    /// A fact.
    pub(super) fn fact(&self, (part, at): Place) -> Option<&Fact> {
        self.part(part).get(at)
    }

    fn attributes(&self, part: Part) -> impl Iterator<Item = (String, Value)> {
        let named = part.names().iter().zip(self.part(part));
        named.map(|(name, fact)| ((*name).to_owned(), fact.value()))
    }

    /// The request and the entities that Cedar judges, checked against the schema.
    pub(super) fn for_cedar(&self, words: &Vocabulary) -> Result<(Request, Entities), Unfit> {
        let unfit = |error: &dyn std::fmt::Display| Unfit(error.to_string());
        let (kind, id) = &self.principal;
        let known = words.kinds.iter().find(|(name, _)| name == kind);
        let (_, kind) = known.ok_or_else(|| unfit(kind))?;
        let who = uid(kind, id);
        let target = uid(&words.target, &self.target);
        let context = Context::from_pairs(self.attributes(Part::Context)).map_err(|e| unfit(&e))?;
        let entity = |uid: &EntityUid, part| {
            Entity::new(uid.clone(), self.attributes(part).collect(), HashSet::new())
                .map_err(|e| unfit(&e))
        };
        let principal = entity(&who, Part::Principal)?;
        let resource = entity(&target, Part::Resource)?;
        let schema = Some(&words.schema);
        let request =
            Request::new(who, words.run.clone(), target, context, schema).map_err(|e| unfit(&e))?;
        let entities =
            Entities::from_entities([principal, resource], schema).map_err(|e| unfit(&e))?;
        Ok((request, entities))
    }
}

impl Fact {
    fn value(&self) -> Value {
        match self {
            Self::Number(number) => Value::new_long(*number),
            Self::Text(text) => Value::new_string(text.clone()),
            Self::Texts(texts) => {
                Value::new_set(texts.iter().map(|text| Value::new_string(text.clone())))
            }
            Self::Truth(truth) => Value::new_bool(*truth),
        }
    }
}

impl Facts<'_> {
    /// The effect that counts.
    pub(super) fn effect(&self) -> Effect {
        self.effect.max(self.statement.effect)
    }

    /// The facts as rules see them.
    pub(super) fn form(&self) -> Form {
        let kind = match self.principal.kind() {
            PrincipalKind::Ai => "Ai",
            PrincipalKind::Human => "Human",
            PrincipalKind::Service => "Service",
        };
        Form {
            principal: (kind, self.principal.name().to_owned()),
            target: self.target.name.as_str().to_owned(),
            who: self.who(),
            place: place(self.target),
            context: self.context(),
        }
    }

    fn who(&self) -> [Fact; 4] {
        [
            text(self.principal.name()),
            text(self.principal.kind().as_str()),
            Fact::Texts(self.standing.roles.clone()),
            Fact::Texts(self.standing.groups.clone()),
        ]
    }

    fn context(&self) -> [Fact; 17] {
        let statement = self.statement;
        let reads = both_forms(&statement.reads);
        let writes = both_forms(&statement.writes);
        let time = DateTime::<Utc>::from_timestamp_millis(self.at.unix_ms()).unwrap_or_default();
        let findings = self.findings.iter().map(|f| f.rule.as_str().to_owned());
        // More than fits is more than any rule can name.
        let rows = |rows| i64::try_from(rows).unwrap_or(i64::MAX);
        [
            text(self.effect().as_str()),
            Fact::Number(level(self.effect())),
            text(&statement.kind.to_lowercase()),
            Fact::Texts(reads.union(&writes).cloned().collect()),
            Fact::Texts(reads),
            Fact::Texts(writes),
            Fact::Texts(both_forms(&statement.columns_written)),
            Fact::Texts(both_forms(&statement.functions)),
            Fact::Truth(statement.has_where == Some(true)),
            text(self.capability.map(|(name, _)| name).unwrap_or_default()),
            text(
                &self
                    .capability
                    .map(|(_, bundle)| bundle.to_string())
                    .unwrap_or_default(),
            ),
            Fact::Texts(findings.collect()),
            Fact::Number(time.hour().into()),
            Fact::Number(time.weekday().number_from_monday().into()),
            Fact::Truth(self.rows.is_some()),
            Fact::Number(self.rows.map_or(0, rows)),
            Fact::Truth(self.break_glass),
        ]
    }
}

fn place(target: &Target) -> [Fact; 6] {
    let labels = target.labels.iter();
    let allow = target.allow.iter().map(|effect| effect.as_str().to_owned());
    [
        text(target.name.as_str()),
        text(target.engine.as_str()),
        text(&target.environment),
        Fact::Truth(is_production(&target.environment)),
        Fact::Texts(
            labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        Fact::Texts(allow.collect()),
    ]
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

fn text(text: &str) -> Fact {
    Fact::Text(text.to_owned())
}
