//! One file of capabilities, and the digests that stand for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::core::answer::{Column, Row};
use crate::core::capability::contract::{Contract, Hints, Offer};
use crate::core::capability::vouched::{Said, Voucher};
use crate::core::capability::{
    Broken, CapabilityName, Parameter, Policy, ResultColumn, Source, Unfit, parameter, result,
};
use crate::core::engine::Engine;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::named::{self, Bound};
use crate::core::statement::{Effect, Shape, Statement};
use crate::core::work::{Digest, canonical_json, tagged};

/// What the file as a whole says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Service {
    /// A title for people.
    pub title: String,
    /// The owner's own version.
    pub version: String,
    /// What it is for.
    pub description: String,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            title: "SecondKey capabilities".to_owned(),
            version: "0.1.0".to_owned(),
            description: String::new(),
        }
    }
}

/// A call that shows how it is meant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Example {
    /// The parameters.
    pub params: Map<String, Value>,
}

/// Who looked at a capability before it was let in. The file says so itself: it is as good as whoever
/// can write the file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reviewed {
    /// Who.
    pub by: String,
    /// When, as a date.
    pub on: String,
}

/// One capability, as its agent knows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Capability {
    /// Its name.
    pub name: CapabilityName,
    /// What it does, for callers.
    pub description: String,
    /// The statement, with `:name` placeholders.
    pub sql: String,
    /// The parameters, in the order of the file.
    pub params: Vec<Parameter>,
    /// Its own policy.
    pub policy: Policy,
    /// Whether its answer says how many rows were changed: it is no query.
    pub counts: bool,
    /// The columns that leave; nothing where none were listed.
    pub result: Option<Vec<ResultColumn>>,
    /// What clients are told of its manners.
    pub hints: Hints,
    /// Calls that show how it is meant.
    pub examples: Vec<Example>,
    /// Who looked at it.
    pub reviewed: Option<Reviewed>,
}

impl Capability {
    /// SHA-256 over all of it, in canonical JSON whose numbers are text.
    pub fn digest(&self) -> Digest {
        // Writing plain data into a value has no way to fail.
        let whole = serde_json::to_value(self).unwrap_or_default();
        Digest::of(&[&canonical_json(&tagged(&whole))])
    }

    /// The worst that it may do, as declared.
    pub fn effect(&self) -> Effect {
        if self.policy.readonly {
            Effect::Read
        } else {
            Effect::Write
        }
    }

    /// What everybody may know of it.
    pub fn contract(&self) -> Contract {
        let callers = self.params.iter().filter(|param| param.is_callers());
        Contract {
            name: self.name.clone(),
            description: self.description.clone(),
            effect: self.effect(),
            params: callers.cloned().collect(),
            columns: self.result.clone(),
            counts: self.counts,
            hints: self.hints,
            approval: self.policy.approval,
            visible: self.policy.visible,
            reviewed: self.reviewed.clone(),
            digest: self.digest(),
        }
    }

    /// The values of a call with the defaults filled in, or everything that is wrong with them.
    pub fn called(&self, given: Map<String, Value>) -> Result<BTreeMap<String, Value>, Vec<Unfit>> {
        parameter::called(&self.params, given)
    }

    /// The statement in the engine's own words.
    pub fn bound(&self, engine: Engine) -> Result<Bound, Refusal> {
        named::bind(engine, &self.sql)
    }

    /// The values to send, in the order of the placeholders: the call's, the claims of whoever calls, and
    /// the secrets that `secret` knows by their reference.
    pub fn values(
        &self,
        (bound, engine): (&Bound, Engine),
        called: &BTreeMap<String, Value>,
        principal: &Principal,
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Value>, Refusal> {
        let value = |name: &String| {
            let parameter = self.params.iter().find(|it| it.name == *name)?;
            let value = match &parameter.source {
                Source::Caller { .. } => called.get(name).cloned()?,
                Source::Claim(claim) => Value::String(claim.of(principal)),
                Source::Secret(reference) => Value::String(secret(reference)?),
            };
            // Only PostgreSQL knows arrays and objects as values; the others read JSON text.
            let whole = engine == Engine::Postgres || !(value.is_array() || value.is_object());
            Some(if whole {
                value
            } else {
                Value::String(value.to_string())
            })
        };
        let missing = |name: &String| {
            Refusal::new(
                Code::InvalidParameter,
                format!("there is no value for the parameter `{name}`"),
            )
        };
        let all = bound.order.iter();
        all.map(|name| value(name).ok_or_else(|| missing(name)))
            .collect()
    }

    /// What a look at the statement says against it, in words for whoever wrote it; else takes note of whether
    /// it counts. Needs a big stack, as [`crate::core::statement::parse`] does.
    pub fn lint(&mut self, engine: Engine) -> Vec<(String, String)> {
        let bound = match self.bound(engine) {
            Ok(bound) => bound,
            Err(refusal) => return vec![(refusal.message, refusal.hint.unwrap_or_default())],
        };
        let mut faults = self.misnamed(&bound);
        match crate::core::statement::parse(engine, &bound.text) {
            Err(refusal) => faults.push((refusal.message, refusal.hint.unwrap_or_default())),
            Ok(statement) => {
                self.counts = statement.shape != Shape::Query;
                faults.extend(self.unlike(&statement));
            }
        }
        faults
    }

    fn misnamed(&self, bound: &Bound) -> Vec<(String, String)> {
        let used: BTreeSet<&String> = bound.order.iter().collect();
        let declared: BTreeSet<&String> = self.params.iter().map(|it| &it.name).collect();
        let undeclared = used.difference(&declared).map(|name| {
            (
                format!("the statement uses `:{name}`, which is not declared"),
                "declare it under `params`; before a name that is no parameter write a blank after the colon".to_owned(),
            )
        });
        let unused = declared.difference(&used).map(|name| {
            (
                format!("the parameter `{name}` is not used in the statement"),
                format!("write `:{name}` where its value belongs, or take the parameter out"),
            )
        });
        undeclared.chain(unused).collect()
    }

    /// What a statement does that was not declared.
    fn unlike(&self, statement: &Statement) -> Option<(String, String)> {
        let because = statement.because();
        if self.policy.readonly && statement.effect > Effect::Read {
            return Some((
                format!("the statement does more than read: {because}"),
                "write `policy: { readonly: false }` if it is meant to".to_owned(),
            ));
        }
        if statement.effect > Effect::Write {
            return Some((
                format!("a capability reads or writes rows, and this does more: {because}"),
                "have a person do it".to_owned(),
            ));
        }
        if self.policy.readonly && statement.shape != Shape::Query {
            return Some((
                "a capability that reads is a query".to_owned(),
                "write a `SELECT`".to_owned(),
            ));
        }
        if statement.shape == Shape::Query && self.policy.max_affected_rows.is_some() {
            return Some((
                "`max_affected_rows` stands on a query".to_owned(),
                "take it out; `max_rows` limits what a query returns".to_owned(),
            ));
        }
        None
    }

    /// The columns that may leave, and the rows cut down to them.
    pub fn shaped(
        &self,
        columns: &[Column],
        rows: Vec<Row>,
    ) -> Result<(Vec<Column>, Vec<Row>), Broken> {
        result::shaped(self.result.as_deref().unwrap_or_default(), columns, rows)
    }

    /// The names of the columns that leave.
    pub fn columns(&self) -> Vec<String> {
        let listed = self.result.iter().flatten();
        listed.map(|column| column.name.clone()).collect()
    }

    /// Whether a result with these columns can keep the contract.
    pub fn holds(&self, columns: &[Column]) -> Result<(), Broken> {
        result::places(self.result.as_deref().unwrap_or_default(), columns).map(drop)
    }
}

/// All capabilities of one target, as one file declares them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    service: Service,
    capabilities: BTreeMap<String, Arc<Capability>>,
    digest: Digest,
}

impl Bundle {
    /// These capabilities.
    pub fn new(service: Service, capabilities: Vec<Capability>) -> Self {
        let capabilities: BTreeMap<String, Arc<Capability>> = capabilities
            .into_iter()
            .map(|it| (it.name.as_str().to_owned(), Arc::new(it)))
            .collect();
        let digests: BTreeMap<&String, Digest> = capabilities
            .iter()
            .map(|(name, capability)| (name, capability.digest()))
            .collect();
        let digest = Digest::of(&[&canonical_json(&json!({
            "capabilities": digests,
            "service": service,
            "version": 1,
        }))]);
        Self {
            service,
            capabilities,
            digest,
        }
    }

    /// What the file says of itself.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// SHA-256 over what every capability and the service is.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The capability of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Capability>> {
        self.capabilities.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Capability>> {
        self.capabilities.values()
    }

    /// What is offered to callers in the words of `voucher`, each with the reason why it is withdrawn, where it is,
    /// and whether it is another than the one that was accepted.
    pub fn offers(
        &self,
        voucher: &Voucher,
        withdrawn: &BTreeMap<String, String>,
        changed: &BTreeSet<String>,
    ) -> Arc<[Arc<Offer>]> {
        let offer = |(name, capability): (&String, &Arc<Capability>)| {
            let said = Said {
                agent: voucher.agent.clone(),
                target: voucher.target.clone(),
                bundle: self.digest,
                version: self.service.version.clone(),
                contract: capability.contract(),
            };
            Offer {
                vouched: said.vouch(&voucher.key),
                said,
                withdrawn: withdrawn.get(name).cloned(),
                changed: changed.contains(name),
            }
        };
        self.capabilities.iter().map(offer).map(Arc::new).collect()
    }
}
