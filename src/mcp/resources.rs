//! Resources: the schema of each target, and of each table.

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde::Serialize;
use serde_json::json;

use crate::broker::{Broker, Caller, catalogue};
use crate::core::refusal::{Code, Refusal};

/// Tables listed as resources of their own for each target; the template reaches the rest.
const LISTED_TABLES: usize = 100;
const JSON: &str = "application/json";
const TABLE_TEMPLATE: &str = "secondkey://{target}/tables/{table}";

/// The schema of each target, then its tables. A target that is down still has its schema listed.
pub(super) async fn list(broker: &Broker, caller: &Caller) -> ListResourcesResult {
    let mut resources = Vec::new();
    for target in broker.link.targets().iter() {
        let name = target.name.as_str();
        resources.push(
            Resource::new(
                format!("secondkey://{name}/schema"),
                format!("{name} schema"),
            )
            .with_description(format!("Tables and views of {name}"))
            .with_mime_type(JSON),
        );
        let tables = catalogue::list_tables(broker, caller, Some(name), None, None).await;
        for table in tables.unwrap_or_default().iter().take(LISTED_TABLES) {
            let uri = format!("secondkey://{name}/tables/{}", escape(&table.name));
            resources
                .push(Resource::new(uri, format!("{name}.{}", table.name)).with_mime_type(JSON));
        }
    }
    ListResourcesResult::with_all_items(resources).with_cache_scope(CacheScope::Private)
}

/// The template that reaches every table.
pub(super) fn templates() -> ListResourceTemplatesResult {
    let template = ResourceTemplate::new(TABLE_TEMPLATE, "table")
        .with_description("Columns, keys, indexes and comments of one table or view")
        .with_mime_type(JSON);
    ListResourceTemplatesResult::with_all_items(vec![template])
        .with_cache_scope(CacheScope::Private)
}

/// Reads one of them.
pub(super) async fn read(
    broker: &Broker,
    caller: &Caller,
    uri: &str,
) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || ErrorData::resource_not_found("unknown resource", Some(json!({ "uri": uri })));
    let path = uri.strip_prefix("secondkey://").ok_or_else(unknown)?;
    let (target, rest) = path.split_once('/').ok_or_else(unknown)?;
    let text = if rest == "schema" {
        let tables = catalogue::list_tables(broker, caller, Some(target), None, None).await;
        json_text(tables, unknown)?
    } else {
        let table = rest.strip_prefix("tables/").ok_or_else(unknown)?;
        let table = unescape(table).ok_or_else(unknown)?;
        let table = catalogue::describe_table(broker, caller, Some(target), &table).await;
        json_text(table, unknown)?
    };
    Ok(
        ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(JSON)])
            .with_cache_scope(CacheScope::Private),
    )
}

fn json_text(
    found: Result<impl Serialize, Refusal>,
    unknown: impl Fn() -> ErrorData,
) -> Result<String, ErrorData> {
    match found {
        Ok(found) => serde_json::to_string(&found)
            .map_err(|_| ErrorData::internal_error("the resource could not be written", None)),
        Err(refusal) if matches!(refusal.code, Code::UnknownTable | Code::UnknownTarget) => {
            Err(unknown())
        }
        Err(refusal) => Err(ErrorData::internal_error(
            refusal.message.clone(),
            serde_json::to_value(&refusal).ok(),
        )),
    }
}

/// A table's name inside a URI (RFC 3986 §2.1).
fn escape(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

fn unescape(text: &str) -> Option<String> {
    let pairs = format!("v={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_table_name_survives_a_uri() {
        for name in [
            "orders",
            "shop.order items",
            "a+b/c?d#e%f&g=h",
            "naïve\"quote",
        ] {
            let escaped = escape(name);
            assert!(!escaped.contains(['/', '?', '#', ' ', '"']), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
    }
}
