//! JSON Schemas for tools: small, portable, with everything in one place.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::mcp::tools::Schema;

/// The schema of a tool's parameters, with a description for each that needs one.
pub fn input<T: JsonSchema>() -> Schema {
    of::<T>(&["title", "format", "default", "maximum", "minimum"])
}

/// The schema of a tool's answer. Nobody but a validator reads it, so it describes nothing.
pub fn output<T: JsonSchema>() -> Schema {
    of::<T>(&[
        "title",
        "format",
        "default",
        "maximum",
        "minimum",
        "description",
    ])
}

/// The schema of `T` without references, and without the words in `drop`, which cost a model's
/// tokens or break some clients.
fn of<T: JsonSchema>(drop: &[&str]) -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    slim(&mut schema, drop);
    let Value::Object(mut object) = schema else {
        return JsonObject::new().into();
    };
    // What describes the whole stands in the tool's own description.
    object.remove("description");
    object.into()
}

fn slim(schema: &mut Value, drop: &[&str]) {
    let Value::Object(object) = schema else {
        return;
    };
    object.retain(|word, _| !drop.contains(&word.as_str()));
    for (word, inner) in object.iter_mut() {
        if let Value::Object(fields) = inner
            && word == "properties"
        {
            // The keys below are names, not words of the schema language.
            fields.values_mut().for_each(|field| slim(field, drop));
        } else if let Value::Array(options) = inner {
            for option in options {
                slim(option, drop);
            }
        } else {
            slim(inner, drop);
        }
    }
}
