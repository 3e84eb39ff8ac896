//! The prompt that teaches a model to explore before it queries.

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, GetPromptRequestParams, GetPromptResult, ListPromptsResult, Prompt, PromptArgument,
    PromptMessage, Role,
};
use serde_json::Value;

use crate::broker::Broker;

const NAME: &str = "explore";
const TEXT: &str = include_str!("../../tools/explore.md");

/// The one prompt there is.
pub(super) fn list() -> ListPromptsResult {
    let question = PromptArgument::new("question")
        .with_description("What you want to know")
        .with_required(true);
    let target =
        PromptArgument::new("target").with_description("Which target, if there are several");
    let prompt = Prompt::new(
        NAME,
        Some("Answer a question from a database, looking before querying"),
        Some(vec![question, target]),
    );
    ListPromptsResult::with_all_items(vec![prompt]).with_cache_scope(CacheScope::Private)
}

/// The prompt with its blanks filled in.
pub(super) fn read(
    broker: &Broker,
    request: &GetPromptRequestParams,
) -> Result<GetPromptResult, ErrorData> {
    if request.name != NAME {
        return Err(ErrorData::invalid_params(
            format!("unknown prompt: {}", request.name),
            None,
        ));
    }
    let argument = |name: &str| {
        request
            .arguments
            .as_ref()
            .and_then(|all| all.get(name))
            .and_then(Value::as_str)
    };
    let question = argument("question")
        .ok_or_else(|| ErrorData::invalid_params("the argument `question` is missing", None))?;
    let target = broker.target(argument("target")).map_err(|refusal| {
        ErrorData::invalid_params(refusal.hint.unwrap_or(refusal.message), None)
    })?;
    let text = TEXT
        .trim()
        .replace("{target}", target.name.as_str())
        .replace("{engine}", target.engine.as_str())
        .replace("{placeholder}", target.engine.placeholder())
        .replace("{question}", question);
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(
        Role::User,
        text,
    )]))
}
