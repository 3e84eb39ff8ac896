//! Capabilities as tools: one for each, or `capability_list` and `capability_call` for all of them.

use std::collections::{BTreeMap, BTreeSet};

use rmcp::model::{JsonObject, Tool as Listed, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::broker::capability::{self, Listed as Offered};
use crate::broker::submit::{Answer, Ask, Submitted, Wanted, submit};
use crate::broker::{Broker, Caller, approvals};
use crate::core::capability::{Contract, input, output, tool_name};
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::mcp::tasks::Form;
use crate::mcp::tools::sql_execute::{AnyValue, Truncated};
use crate::mcp::tools::waiting::{Waited, wait};
use crate::mcp::tools::{Context, Reply, Tool};

/// The most tools that are listed without being asked for: clients and models lose their way among more.
pub(in crate::mcp) const MOST_TOOLS: usize = 40;

/// Where a tool's own call names its idempotency key: in `_meta`, because the arguments are the capability's own.
const KEY: &str = "secondkey/idempotency_key";

/// The arguments of `capability_list`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArgs {
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Only what has this in its name or description
    #[serde(default)]
    #[schemars(with = "String")]
    search: Option<String>,
}

/// The arguments of `capability_call`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallArgs {
    name: String,
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, AnyValue>")]
    params: Map<String, Value>,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Why you need it, for the audit log
    #[serde(default)]
    #[schemars(with = "String")]
    reason: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    idempotency_key: Option<String>,
}

/// What there is.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct All {
    capabilities: Vec<One>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct One {
    name: String,
    target: String,
    description: String,
    effect: &'static str,
    /// Whether a person has to agree to each call
    approval: bool,
    #[schemars(with = "BTreeMap<String, AnyValue>")]
    input: Map<String, Value>,
    /// Why it cannot be called now
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    withdrawn: Option<String>,
    /// Not what was accepted
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    changed: bool,
}

/// What a capability answers.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Called")]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<BTreeMap<String, AnyValue>>", default)]
    rows: Option<Vec<Map<String, Value>>>,
    /// Rows changed
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", default)]
    affected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Truncated", default)]
    truncated: Option<Truncated>,
    /// It ran before under this key, and its rows are not kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    replayed: bool,
    request: String,
}

impl Output {
    /// What is told of an answer, by its contract where that is known.
    pub fn of(answer: Answer, contract: Option<&Contract>) -> Self {
        let report = answer.report;
        // What is told once more has no columns, and keeps to its contract all the same.
        let lists = contract.is_some_and(Contract::lists_rows);
        let names: Vec<String> = report
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect();
        let object = |row: Vec<Value>| names.iter().cloned().zip(row).collect();
        let rows = (report.affected.is_none() || !names.is_empty() || lists)
            .then(|| report.rows.into_iter().map(object).collect());
        Self {
            rows,
            affected: report.affected,
            truncated: report.truncated.map(Truncated::from),
            replayed: report.replayed,
            request: answer.request.into(),
        }
    }
}

/// The capabilities that are tools of their own, by the tools' names, and how many are not.
#[derive(Debug)]
pub(in crate::mcp) struct Named {
    pub(in crate::mcp) tools: BTreeMap<String, Offered>,
    pub(in crate::mcp) left_out: usize,
}

/// Names the tools of all capabilities that can be called now. `room` is how many fit.
pub(in crate::mcp) fn named(broker: &Broker, caller: &Caller, room: usize) -> Named {
    let all = capability::list(broker, caller);
    let shown: Vec<Offered> = all
        .into_iter()
        .filter(|one| one.offer.said.contract.visible && one.offer.withdrawn.is_none())
        .collect();
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> = shown
        .iter()
        .map(|one| one.offer.said.contract.tool())
        .filter(|tool| !seen.insert(tool.clone()))
        .collect();
    let mut tools = BTreeMap::new();
    for one in shown {
        let plain = one.offer.said.contract.tool();
        let tool = if twice.contains(&plain) {
            tool_name(&format!(
                "{}.{}",
                one.target.name, one.offer.said.contract.name
            ))
        } else {
            plain
        };
        tools.insert(tool, one);
    }
    let left_out = if tools.len() > room {
        // Two of the places are those of the tools that reach the rest.
        let kept = room.saturating_sub(2);
        let rest: Vec<String> = tools.keys().skip(kept).cloned().collect();
        for tool in &rest {
            tools.remove(tool);
        }
        rest.len()
    } else {
        0
    };
    Named { tools, left_out }
}

/// How a capability stands in `tools/list`.
pub(in crate::mcp) fn listed(tool: &str, one: &Offered, several_targets: bool) -> Listed {
    let contract = &one.offer.said.contract;
    let mut text = contract.description.clone();
    if text.is_empty() {
        text = format!("The capability {}.", contract.name);
    }
    if several_targets {
        text.push_str("\nOn the target ");
        text.push_str(one.target.name.as_str());
        text.push('.');
    }
    if contract.approval {
        text.push_str("\nA person has to agree: `approval_pending` gives an id for `request`.");
    }
    let reads = contract.effect == Effect::Read;
    let hints = contract.hints;
    let mut annotations = ToolAnnotations::new()
        .read_only(hints.read_only.unwrap_or(reads))
        .open_world(hints.open_world.unwrap_or(false));
    if !reads {
        annotations = annotations.destructive(hints.destructive.unwrap_or(true));
    }
    if let Some(idempotent) = hints.idempotent {
        annotations = annotations.idempotent(idempotent);
    }
    Listed::new(tool.to_owned(), text, input(contract, reason(one)))
        .with_raw_output_schema(output(contract).into())
        .with_annotations(annotations)
}

/// Whether a tool's arguments have a reason beside the parameters.
fn has_reason(one: &Offered) -> bool {
    let contract = &one.offer.said.contract;
    contract.effect > Effect::Read && contract.params.iter().all(|it| it.name != "reason")
}

fn reason(one: &Offered) -> Map<String, Value> {
    let property = json!({"type": "string", "description": "Why, for people and the audit log"});
    let it = has_reason(one).then(|| ("reason".to_owned(), property));
    it.into_iter().collect()
}

/// Calls a capability by its own tool.
pub(in crate::mcp) async fn call(
    one: &Offered,
    mut arguments: JsonObject,
    context: Context<'_>,
) -> Result<Reply, Refusal> {
    let reason = if has_reason(one) {
        match arguments.remove("reason") {
            Some(Value::String(reason)) => Some(reason),
            None => None,
            Some(_) => {
                let message = "the parameters do not fit: `reason` must be text";
                return Err(Refusal::new(Code::InvalidParameter, message));
            }
        }
    } else {
        None
    };
    let ask = Ask {
        what: Wanted::Capability {
            name: one.offer.said.contract.name.as_str().to_owned(),
            params: arguments,
        },
        target: Some(one.target.name.as_str().to_owned()),
        reason,
        max_rows: None,
        timeout_ms: None,
        key: key(&context)?,
    };
    run(ask, Some(&one.offer.said.contract), context).await
}

/// The idempotency key in a call's `_meta`.
fn key(context: &Context<'_>) -> Result<Option<String>, Refusal> {
    match context.protocol.meta.get(KEY) {
        None => Ok(None),
        Some(Value::String(key)) => Ok(Some(key.clone())),
        Some(_) => {
            let message = format!("`{KEY}` in `_meta` must be text");
            Err(Refusal::new(Code::InvalidArgument, message))
        }
    }
}

/// `capability_call`.
pub(super) async fn call_named(args: CallArgs, context: Context<'_>) -> Result<Reply, Refusal> {
    let CallArgs {
        name,
        params,
        target,
        reason,
        idempotency_key,
    } = args;
    let found = capability::named(context.broker, context.caller, &name, target);
    let ask = Ask {
        what: Wanted::Capability { name, params },
        target: found.target,
        reason,
        max_rows: None,
        timeout_ms: None,
        key: idempotency_key,
    };
    let contract = found.offer.as_deref().map(|offer| &offer.said.contract);
    run(ask, contract, context).await
}

async fn run(
    ask: Ask,
    contract: Option<&Contract>,
    context: Context<'_>,
) -> Result<Reply, Refusal> {
    let Context { broker, caller, .. } = context;
    let request = if let Some(id) = &context.resumed {
        approvals::resumed(broker, caller, id, ask).await?
    } else {
        match Box::pin(submit(broker, caller, ask, context.cancel.clone())).await? {
            Submitted::Ran(answer) => return Reply::done(&Output::of(*answer, contract)),
            Submitted::Filed(id) => approvals::own(broker, caller, &id).await?,
        }
    };
    match wait(&context, request).await? {
        Waited::Ran(answer) => Reply::done(&Output::of(*answer, contract)),
        Waited::Opens(request) => Ok(Reply::Opens(request)),
        Waited::Task(request) => Ok(Reply::Task(request, Form::Statement)),
    }
}

/// `capability_list`.
pub(super) fn list(args: &ListArgs, context: &Context<'_>) -> All {
    let wanted = (args.target.as_deref(), args.search.as_deref());
    let all = capability::shown(context.broker, context.caller, wanted);
    let all = all.iter().map(|one| One {
        input: input(&one.offer.said.contract, Map::new()),
        name: one.offer.said.contract.name.as_str().to_owned(),
        target: one.target.name.as_str().to_owned(),
        description: one.offer.said.contract.description.clone(),
        effect: one.offer.said.contract.effect.as_str(),
        approval: one.offer.said.contract.approval,
        withdrawn: one.offer.withdrawn.clone(),
        changed: one.offer.changed,
    });
    All {
        capabilities: all.collect(),
    }
}

/// Whether a tool is of use to this caller: as far as capabilities go, and where there are vectors to search or to
/// put in.
pub(in crate::mcp) fn is_of_use(tool: Tool, targets: (bool, bool), vectors: (bool, bool)) -> bool {
    let (free_sql, by_name) = targets;
    let (search, upsert) = vectors;
    match tool {
        Tool::DescribeTable
        | Tool::ListTables
        | Tool::ResultPage
        | Tool::SqlBatch
        | Tool::SqlExecute => free_sql,
        Tool::CapabilityCall | Tool::CapabilityList => by_name,
        Tool::VectorSearch => search,
        Tool::VectorUpsert => upsert,
        Tool::ApprovalDecide | Tool::Health | Tool::Request | Tool::Whoami => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::agent::Report;
    use crate::core::answer::Column;
    use crate::core::capability::{
        BUILT_IN_TOOLS, Capability, CapabilityName, Hints, Kind, Policy, ResultColumn, Scalar,
    };
    use crate::core::ids::RequestId;

    #[test]
    fn no_capability_can_take_the_name_of_a_tool() {
        let reserved: BTreeSet<&str> = BUILT_IN_TOOLS.into();
        for tool in Tool::ALL {
            assert!(reserved.contains(tool.name()), "{}", tool.name());
        }
    }

    fn capability(result: Option<Vec<ResultColumn>>, counts: bool) -> Capability {
        Capability {
            name: CapabilityName::try_from("one".to_owned()).unwrap(),
            description: String::new(),
            sql: "select 1".into(),
            params: vec![],
            policy: Policy::default(),
            counts,
            result,
            hints: Hints::default(),
            examples: vec![],
            reviewed: None,
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(|n| json!(n)),
            "[0-9a-zN.-]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_column() -> impl Strategy<Value = ResultColumn> {
        let scalar = prop::sample::select(Scalar::ALL.to_vec());
        let both = (any::<bool>(), any::<bool>());
        ("[a-d]", scalar, both).prop_map(|(name, scalar, (array, nullable))| ResultColumn {
            name,
            kind: Kind { scalar, array },
            nullable,
            description: String::new(),
        })
    }

    proptest! {
        /// Whatever rows a database answers, what is told of them is what was declared, or nothing is.
        #[test]
        fn an_answer_is_as_declared_or_there_is_none(
            listed in prop::option::of(prop::collection::vec(any_column(), 0..4)),
            names in prop::collection::vec("[a-d]", 0..5),
            cells in prop::collection::vec(prop::collection::vec(any_value(), 0..6), 0..4),
            affected in prop::option::of(any::<u32>()),
        ) {
            let mut seen = BTreeSet::new();
            let listed = listed.map(|all| all.into_iter().filter(|one| seen.insert(one.name.clone())).collect());
            let capability = capability(listed, affected.is_some());
            let columns: Vec<Column> = names
                .into_iter()
                .map(|name| Column { name, type_name: "any".into() })
                .collect();
            let Ok((columns, rows)) = capability.shaped(&columns, cells) else {
                return Ok(());
            };
            let contract = capability.contract();
            let report = Report {
                effect: Effect::Read,
                columns,
                rows,
                affected: affected.map(u64::from),
                truncated: None,
                findings: vec![],
                capability: true,
                parts: vec![],
                replayed: false,
                elapsed: Duration::ZERO,
            };
            let answer = Answer { request: RequestId::new(1, [1; 10]), report };
            let told = serde_json::to_value(Output::of(answer, Some(&contract))).unwrap();
            let schema = Value::Object(output(&contract));
            let schema = jsonschema::validator_for(&schema).unwrap();
            prop_assert!(schema.is_valid(&told), "{}", told);
        }
    }
}
