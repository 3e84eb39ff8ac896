//! JSON Schemas of a capability's input and answer.

use serde_json::{Map, Value, json};

use crate::core::capability::rules::described;
use crate::core::capability::{Contract, Parameter, Source};

/// The schema of the arguments. `extra` holds further properties, such as a reason.
pub fn input(contract: &Contract, extra: Map<String, Value>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for parameter in &contract.params {
        properties.insert(parameter.name.clone(), parameter.schema());
        let default_free = matches!(&parameter.source, Source::Caller { required, default }
            if default.is_none() && (*required || !parameter.nullable));
        if default_free {
            required.push(Value::String(parameter.name.clone()));
        }
    }
    properties.extend(extra);
    let mut schema = object(properties);
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    schema
}

impl Parameter {
    /// The schema of what a caller sends for it.
    pub fn schema(&self) -> Value {
        let one = described(self.kind.scalar, &self.rules);
        let mut schema = Map::new();
        if self.kind.array {
            schema.insert("type".to_owned(), json!("array"));
            schema.insert("items".to_owned(), one);
        } else if let Value::Object(one) = one {
            schema = one;
        }
        if self.nullable {
            let one = std::mem::take(&mut schema);
            schema.insert("anyOf".to_owned(), json!([one, {"type": "null"}]));
        }
        if !self.description.is_empty() {
            schema.insert("description".to_owned(), json!(self.description));
        }
        if let Source::Caller {
            default: Some(default),
            ..
        } = &self.source
        {
            schema.insert("default".to_owned(), default.clone());
        }
        Value::Object(schema)
    }
}

/// The schema of the answer.
pub fn output(contract: &Contract) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = vec![json!("request")];
    if contract.lists_rows() {
        let columns = contract.columns.iter().flatten();
        let columns: Map<String, Value> = columns
            .map(|column| (column.name.clone(), column.schema()))
            .collect();
        let names: Vec<Value> = columns.keys().cloned().map(Value::String).collect();
        let mut row = object(columns);
        if !names.is_empty() {
            row.insert("required".to_owned(), Value::Array(names));
        }
        properties.insert("rows".to_owned(), json!({"type": "array", "items": row}));
        properties.insert("truncated".to_owned(), json!({"type": "object"}));
        required.push(json!("rows"));
    }
    if contract.counts {
        properties.insert("affected".to_owned(), json!({"type": "integer"}));
        required.push(json!("affected"));
    }
    properties.insert("replayed".to_owned(), json!({"type": "boolean"}));
    properties.insert("request".to_owned(), json!({"type": "string"}));
    let mut schema = object(properties);
    schema.insert("required".to_owned(), Value::Array(required));
    schema
}

fn object(properties: Map<String, Value>) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}
