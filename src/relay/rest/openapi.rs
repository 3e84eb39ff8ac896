//! The description of the interface (OpenAPI 3.1), written from the table that requests are read by.
//!
//! Whoever shows a key is told of what that key may call, and nobody else of anything else than everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::broker::capability::{self, Listed};
use crate::broker::{Broker, Caller, vectors};
use crate::relay::Relay;
use crate::relay::known::{Shown, known};
use crate::relay::rest::answer::{self, Shape};
use crate::relay::rest::operation::{May, Operation};
use crate::relay::rest::problem::{MEDIA, Said};
use crate::relay::rest::serve::wrong_method;
use crate::relay::rest::{capabilities, executed, key};

/// Answers `/openapi.json`.
pub(super) async fn answer(
    relay: &Arc<Relay>,
    all: &[Operation],
    (method, shown): (&Method, &Shown),
) -> Response {
    if *method != Method::GET {
        return wrong_method(["GET"].into_iter()).into_response();
    }
    let (client, caller) = if shown.anything {
        match known(relay, shown).await {
            Ok((workspace, client)) => {
                if let Err((limit, refused)) = client.meter.admit() {
                    workspace.clients.turned_away().count(limit);
                    return *refused;
                }
                let served = Served::to(workspace.clients.broker(), &client.caller);
                let caller = client.caller.clone();
                (Some(client), Some((caller, served)))
            }
            Err(problem) => return problem.into_response(),
        }
    } else {
        (None, None)
    };
    let written = answer::json(
        StatusCode::OK,
        &document(
            all,
            caller.as_ref().map(|(caller, served)| (caller, served)),
        ),
    );
    let response = written.unwrap_or_else(axum::response::IntoResponse::into_response);
    match client {
        Some(client) => client.meter.counted(response),
        None => response,
    }
}

/// What there is for one caller beside the fixed operations.
pub(in crate::relay) struct Served {
    /// Whether a target takes free SQL.
    free_sql: bool,
    /// Whether there are vectors to search, and to put in.
    vectors: (bool, bool),
    /// What is called by name, by path.
    by_path: BTreeMap<String, Vec<Listed>>,
    /// Whether something can be called by name that has no path of its own.
    unlisted: bool,
}

impl Served {
    fn to(broker: &Broker, caller: &Caller) -> Self {
        let by_path = capabilities::paths(broker, caller);
        let listed = by_path.values().map(Vec::len).sum::<usize>();
        Self {
            vectors: vectors::are_of_use(broker, caller),
            free_sql: capability::takes_free_sql_somewhere(broker),
            unlisted: capability::list(broker, caller).len() > listed,
            by_path,
        }
    }

    /// Whether an operation is of use.
    fn has(&self, operation: &Operation) -> bool {
        match operation.may {
            May::RunSql => self.free_sql,
            May::CallByName => self.unlisted,
            May::SearchVectors => self.vectors.0,
            May::PutVectors => self.vectors.1,
            May::Administer | May::Come | May::Read => true,
        }
    }
}

/// The description of what a caller may call; of everything that is fixed where there is none.
pub(in crate::relay) fn document(all: &[Operation], whose: Option<(&Caller, &Served)>) -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.refer(&Shape::given::<Said>());
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    for operation in all {
        let (may, here) = whose.map_or((true, true), |(caller, served)| {
            (operation.may.allows(caller), served.has(operation))
        });
        let by_path = whose.map(|(_, served)| &served.by_path);
        let by_path = by_path.filter(|all| operation.path == capabilities::PATH && !all.is_empty());
        if !may || !(here || by_path.is_some()) {
            continue;
        }
        let method = operation.method.as_str().to_lowercase();
        let described = described(operation, &mut schemas, &problem);
        for (path, offering) in by_path.into_iter().flatten() {
            let typed = capabilities::typed(&described, offering);
            paths.entry(path).or_default().insert(method.clone(), typed);
        }
        if here {
            let path = paths.entry(operation.path).or_default();
            path.insert(method, described);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "SecondKey relay",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Databases behind policy, human approval and an audit log. Every problem is of RFC 9457.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {"key": {
                "type": "http", "scheme": "bearer",
                "description": "An API key of this relay, or a token of its identity provider",
            }},
        },
    })
}

/// The schemas that were named so far.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Says where a shape stands, which is put there.
    fn refer(&mut self, shape: &Shape) -> Value {
        let schema = self.0.entry(shape.name.clone().into_owned());
        schema.or_insert_with(|| (shape.schema)());
        json!({"$ref": format!("#/components/schemas/{}", shape.name)})
    }
}

/// Adds a field to an object.
fn put(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

fn described(operation: &Operation, schemas: &mut Schemas, problem: &Value) -> Value {
    let mut answers = Map::new();
    for (status, shape, means) in &operation.answers {
        let mut answer = json!({
            "description": means,
            "content": {"application/json": {"schema": schemas.refer(shape)}},
        });
        if *status == StatusCode::ACCEPTED {
            let location = json!({"Location": {
                "description": "The request", "required": true, "schema": {"type": "string"},
            }});
            put(&mut answer, "headers", location);
        } else if operation.keyed {
            let replayed = json!({executed::REPLAYED.as_str(): {
                "description": "`true` where it ran before, under the same idempotency key",
                "schema": {"type": "string"},
            }});
            put(&mut answer, "headers", replayed);
        }
        answers.insert(status.as_str().to_owned(), answer);
    }
    let refused = json!({
        "description": "It came to nothing, and why",
        "content": {MEDIA: {"schema": problem}},
    });
    answers.insert("default".to_owned(), refused);
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": answers,
    });
    let parameters: Vec<Value> = places(operation)
        .chain(asked(operation))
        .chain(operation.keyed.then(key::described))
        .collect();
    if !parameters.is_empty() {
        put(&mut described, "parameters", parameters.into());
    }
    if let Some(body) = &operation.body {
        let taken = json!({
            "required": true,
            "content": {"application/json": {"schema": schemas.refer(body)}},
        });
        put(&mut described, "requestBody", taken);
    }
    described
}

/// The places of the path.
fn places(operation: &Operation) -> impl Iterator<Item = Value> {
    let segments = operation.path.split('/');
    let names = segments.filter_map(|one| one.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": {"type": "string", "minLength": 1},
        })
    })
}

/// The fields of the query.
fn asked(operation: &Operation) -> impl Iterator<Item = Value> {
    let schema = (operation.query.schema)();
    let fields = schema.get("properties").and_then(Value::as_object).cloned();
    let required = schema.get("required").cloned().unwrap_or_default();
    let fields = fields.unwrap_or_default().into_iter();
    fields.map(move |(name, mut schema)| {
        let description = schema.as_object_mut().and_then(|s| s.remove("description"));
        let required = required
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)));
        json!({
            "name": name, "in": "query", "required": required,
            "description": description, "schema": schema,
        })
    })
}
