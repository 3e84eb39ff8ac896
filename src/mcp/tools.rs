//! The tools: one file each, with its parameters, its answer and its call.

mod approval_decide;
pub mod capability;
mod describe_table;
mod health;
pub mod list_tables;
mod request;
pub mod result_page;
pub mod sql_batch;
pub mod sql_execute;
pub mod vector_search;
pub mod vector_upsert;
mod waiting;
mod whoami;

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{InputResponses, JsonObject, Tool as Listed, ToolAnnotations};
use rmcp::service::RequestContext;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::broker::submit::Answer;
use crate::broker::{Broker, Caller};
use crate::core::ids::RequestId;
use crate::core::level::Level;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Request;
use crate::mcp::person::{Abilities, Offers};
use crate::mcp::schema;
use crate::mcp::tasks::Form;

/// The tools there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// Open a request's page, for a person.
    ApprovalDecide,
    /// Call a capability by name.
    CapabilityCall,
    /// The capabilities there are.
    CapabilityList,
    /// One table.
    DescribeTable,
    /// Is everything up?
    Health,
    /// All tables.
    ListTables,
    /// What waits for people.
    Request,
    /// More rows.
    ResultPage,
    /// Run several statements at once.
    SqlBatch,
    /// Run a statement.
    SqlExecute,
    /// The rows with the nearest vectors.
    VectorSearch,
    /// Put in rows with vectors, or change them.
    VectorUpsert,
    /// Who am I?
    Whoami,
}

/// What a call needs beside its arguments.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The deciding part.
    pub(super) broker: &'a Broker,
    /// Who calls.
    pub(super) caller: &'a Caller,
    /// What the set-up holds against.
    pub(super) level: Level,
    /// Fires when the caller gives up.
    pub(super) cancel: CancellationToken,
    /// The call as the protocol knows it.
    pub(super) protocol: &'a RequestContext<RoleServer>,
    /// What the client said that it can do.
    pub(super) abilities: Abilities,
    /// The requests whose page was offered.
    pub(super) offers: &'a Offers,
    /// The request that the client says this call is made again for.
    pub(super) resumed: Option<RequestId>,
    /// What came of what the client was asked for before.
    pub(super) responses: Option<&'a InputResponses>,
}

/// What a call is answered with.
#[derive(Debug)]
pub(super) enum Reply {
    /// The structured content.
    Done(Value),
    /// The client is to open this request's page, and to call again.
    Opens(Box<Request>),
    /// The client asks after this request as a task.
    Task(Box<Request>, Form),
}

impl Reply {
    /// The answer as JSON.
    fn done(answer: &impl Serialize) -> Result<Self, Refusal> {
        to_json(answer).map(Self::Done)
    }
}

impl Tool {
    /// All of them, in the order of the listing.
    pub const ALL: [Self; 13] = [
        Self::ApprovalDecide,
        Self::CapabilityCall,
        Self::CapabilityList,
        Self::DescribeTable,
        Self::Health,
        Self::ListTables,
        Self::Request,
        Self::ResultPage,
        Self::SqlBatch,
        Self::SqlExecute,
        Self::VectorSearch,
        Self::VectorUpsert,
        Self::Whoami,
    ];

    /// The tool of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The name a client calls.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApprovalDecide => "approval_decide",
            Self::CapabilityCall => "capability_call",
            Self::CapabilityList => "capability_list",
            Self::DescribeTable => "describe_table",
            Self::Health => "health",
            Self::ListTables => "list_tables",
            Self::Request => "request",
            Self::ResultPage => "result_page",
            Self::SqlBatch => "sql_batch",
            Self::SqlExecute => "sql_execute",
            Self::VectorSearch => "vector_search",
            Self::VectorUpsert => "vector_upsert",
            Self::Whoami => "whoami",
        }
    }

    /// How the tool stands in `tools/list`. `writes` tells whether any target lets writes through.
    pub fn listed(self, writes: bool) -> Listed {
        match self {
            Self::ApprovalDecide => self.list::<approval_decide::Args, approval_decide::Output>(
                true,
                include_str!("../../tools/approval_decide.md"),
            ),
            Self::CapabilityCall => self.list::<capability::CallArgs, capability::Output>(
                false,
                include_str!("../../tools/capability_call.md"),
            ),
            Self::CapabilityList => self.list::<capability::ListArgs, capability::All>(
                true,
                include_str!("../../tools/capability_list.md"),
            ),
            Self::DescribeTable => self
                .list::<describe_table::Args, crate::core::schema::TableDescription>(
                    true,
                    include_str!("../../tools/describe_table.md"),
                ),
            Self::Health => {
                self.list::<Nothing, health::Health>(true, include_str!("../../tools/health.md"))
            }
            Self::ListTables => self.list::<list_tables::Args, list_tables::Tables>(
                true,
                include_str!("../../tools/list_tables.md"),
            ),
            Self::Request => self.list::<request::Args, request::Output>(
                false,
                include_str!("../../tools/request.md"),
            ),
            Self::ResultPage => self.list::<result_page::Args, result_page::Page>(
                true,
                include_str!("../../tools/result_page.md"),
            ),
            Self::SqlBatch => self.list::<sql_batch::Args, sql_batch::Output>(
                !writes,
                include_str!("../../tools/sql_batch.md"),
            ),
            Self::SqlExecute => self.list::<sql_execute::Args, sql_execute::Output>(
                !writes,
                include_str!("../../tools/sql_execute.md"),
            ),
            Self::VectorSearch => self.list::<vector_search::Args, sql_batch::Output>(
                true,
                include_str!("../../tools/vector_search.md"),
            ),
            Self::VectorUpsert => self.list::<vector_upsert::Args, sql_batch::Output>(
                false,
                include_str!("../../tools/vector_upsert.md"),
            ),
            Self::Whoami => {
                self.list::<Nothing, whoami::Whoami>(true, include_str!("../../tools/whoami.md"))
            }
        }
    }

    fn list<A: JsonSchema, O: JsonSchema>(self, read_only: bool, text: &'static str) -> Listed {
        let annotations = ToolAnnotations::new()
            .read_only(read_only)
            .open_world(false);
        let annotations = if read_only {
            annotations
        } else {
            annotations.destructive(true)
        };
        Listed::new(self.name(), text.trim(), schema::input::<A>())
            .with_raw_output_schema(schema::output::<O>())
            .with_annotations(annotations)
    }

    /// Makes the call.
    pub(super) async fn call(
        self,
        arguments: JsonObject,
        context: Context<'_>,
    ) -> Result<Reply, Refusal> {
        match self {
            Self::ApprovalDecide => approval_decide::call(parse(arguments)?, context).await,
            Self::CapabilityCall => capability::call_named(parse(arguments)?, context).await,
            Self::CapabilityList => Reply::done(&capability::list(&parse(arguments)?, &context)),
            Self::DescribeTable => {
                Reply::done(&describe_table::call(parse(arguments)?, &context).await?)
            }
            Self::Health => {
                parse::<Nothing>(arguments)?;
                Reply::done(&health::call(&context).await)
            }
            Self::ListTables => Reply::done(&list_tables::call(parse(arguments)?, &context).await?),
            Self::Request => request::call(parse(arguments)?, context).await,
            Self::ResultPage => Reply::done(&result_page::call(parse(arguments)?, &context).await?),
            Self::SqlBatch => sql_batch::call(parse(arguments)?, context).await,
            Self::SqlExecute => sql_execute::call(parse(arguments)?, context).await,
            Self::VectorSearch => vector_search::call(parse(arguments)?, context).await,
            Self::VectorUpsert => vector_upsert::call(parse(arguments)?, context).await,
            Self::Whoami => {
                parse::<Nothing>(arguments)?;
                Reply::done(&whoami::call(&context).await?)
            }
        }
    }
}

/// What a statement, a batch or a capability answers, as JSON.
pub fn executed(answer: Answer) -> Result<Value, Refusal> {
    if answer.report.capability {
        to_json(&capability::Output::of(answer, None))
    } else if answer.report.parts.is_empty() {
        sql_execute::Output::from(answer).into_json()
    } else {
        to_json(&sql_batch::Output::from(answer))
    }
}

/// What `request` answers to whoever waited, as JSON.
pub(super) fn collected(request: &Request, result: Value) -> Result<Value, Refusal> {
    to_json(&request::collected(request, result))
}

/// No parameters.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

fn parse<A: DeserializeOwned>(arguments: JsonObject) -> Result<A, Refusal> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        Refusal::new(
            Code::InvalidArgument,
            format!(
                "the arguments do not fit: {}",
                without_value(&error.to_string())
            ),
        )
        .hint("see the tool's input schema")
    })
}

/// An error of `serde_json` without the value that it quotes: `invalid type: string "x", expected
/// u32` becomes `invalid type: string, expected u32`.
pub fn without_value(error: &str) -> String {
    let quoting = ["invalid type: ", "invalid value: ", "invalid length "];
    if !quoting.iter().any(|start| error.starts_with(start)) {
        return error.to_owned();
    }
    let what = error
        .find(['"', '`'])
        .map_or(error, |at| error.split_at(at).0);
    match error.rsplit_once(", expected ") {
        Some((_, expected)) if what.len() < error.len() => {
            format!("{}, expected {expected}", what.trim_end())
        }
        _ => error.to_owned(),
    }
}

pub(super) fn to_json(answer: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer could not be written as JSON"))
}

/// The schema type of a listing, shared by whoever needs it.
pub(super) type Schema = Arc<JsonObject>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_the_wrong_type_is_not_repeated() {
        let cases = [
            (
                r#"{"sql": "select 1", "params": "CANARY, expected x"}"#,
                "invalid type: string, expected a sequence",
            ),
            (
                r#"{"sql": 987654321}"#,
                "invalid type: integer, expected a string",
            ),
            (
                r#"{"sql": "select 1", "max_rows": -987654321}"#,
                "invalid value: integer, expected u32",
            ),
            (
                r#"{"sql": "select 1", "max_rows": 98765432.5}"#,
                "invalid type: floating point, expected u32",
            ),
            (
                r#"{"sql": "select 1", "timeout_ms": {"CANARY": 1}}"#,
                "invalid type: map, expected u32",
            ),
            ("{}", "missing field `sql`"),
        ];
        for (arguments, expected) in cases {
            let arguments = serde_json::from_str(arguments).unwrap();
            let refusal = parse::<sql_execute::Args>(arguments).unwrap_err();
            assert_eq!(
                refusal.message,
                format!("the arguments do not fit: {expected}")
            );
        }
    }
}
