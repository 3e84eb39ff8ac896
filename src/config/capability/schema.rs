//! The JSON Schema of the file, for editors.

use serde_json::{Map, Value, json};

use crate::config::capability::keys::{FILE, Key, Takes};

/// The schema (draft 2020-12).
pub fn schema() -> Value {
    let mut schema = mapping(FILE);
    let head = [
        (
            "$schema",
            json!("https://json-schema.org/draft/2020-12/schema"),
        ),
        ("title", json!("SecondKey capabilities")),
        ("required", json!(["capabilities"])),
    ];
    for (word, value) in head {
        schema.insert(word.to_owned(), value);
    }
    Value::Object(schema)
}

fn mapping(keys: &[Key]) -> Map<String, Value> {
    let property = |key: &Key| {
        let mut schema = value(key.takes);
        schema.insert("description".to_owned(), json!(key.about));
        (key.name.to_owned(), Value::Object(schema))
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema
}

fn value(takes: Takes) -> Map<String, Value> {
    let schema = match takes {
        Takes::Text => json!({"type": "string"}),
        Takes::Truth => json!({"type": "boolean"}),
        Takes::Whole => json!({"type": "integer"}),
        Takes::Size => json!({"anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^[0-9]+ ?(B|[kK]B|KiB|MB|MiB|GB|GiB)?$"},
        ]}),
        Takes::Time => json!({"type": "string", "pattern": "^([0-9.]+(ns|us|µs|ms|s|m|h))+$"}),
        Takes::Word(words) => json!({"enum": words}),
        Takes::List => json!({"type": "array"}),
        Takes::Any => json!({}),
        Takes::Ignored => json!({"deprecated": true}),
        Takes::Section(keys) => Value::Object(mapping(keys)),
        Takes::Sections(keys) => json!({"type": "array", "items": mapping(keys)}),
        Takes::Named(keys) => json!({"type": "object", "additionalProperties": mapping(keys)}),
    };
    if let Value::Object(schema) = schema {
        schema
    } else {
        Map::new()
    }
}
