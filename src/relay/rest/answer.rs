//! What an operation gives, and what types look like in the description.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use crate::core::refusal::{Code, Refusal};
use crate::relay::rest::problem::Problem;

/// What a type looks like (JSON Schema 2020-12, as OpenAPI 3.1 has it).
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The type's name.
    pub(super) name: Cow<'static, str>,
    /// Its schema, with everything in one place.
    pub(super) schema: fn() -> Value,
}

impl Shape {
    /// Of what is read.
    pub(super) fn taken<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name(),
            schema: || schema::<T>(SchemaSettings::draft2020_12()),
        }
    }

    /// Of what is written.
    pub(super) fn given<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name(),
            schema: || schema::<T>(SchemaSettings::draft2020_12().for_serialize()),
        }
    }
}

fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let generator = settings.into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// What an operation gives where it goes well.
pub(super) trait Given: Sized {
    /// The statuses there are, each with what its body looks like and what it means.
    fn shapes() -> Vec<(StatusCode, Shape, &'static str)>;
    /// Writes it.
    fn respond(self) -> Result<Response, Problem>;
    /// Whether the work waits for people.
    fn waits(&self) -> bool {
        false
    }
}

/// The answer.
#[derive(Debug)]
pub(super) struct Done<T>(pub(super) T);

impl<T: JsonSchema + Serialize> Given for Done<T> {
    fn shapes() -> Vec<(StatusCode, Shape, &'static str)> {
        vec![(StatusCode::OK, Shape::given::<T>(), "The answer")]
    }

    fn respond(self) -> Result<Response, Problem> {
        json(StatusCode::OK, &self.0)
    }
}

/// Something that was made.
#[derive(Debug)]
pub(super) struct Made<T>(pub(super) T);

impl<T: JsonSchema + Serialize> Given for Made<T> {
    fn shapes() -> Vec<(StatusCode, Shape, &'static str)> {
        vec![(StatusCode::CREATED, Shape::given::<T>(), "It was made")]
    }

    fn respond(self) -> Result<Response, Problem> {
        json(StatusCode::CREATED, &self.0)
    }
}

/// Writes JSON, which nobody on the way keeps.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(answer);
    let text = text.map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written"))?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((status, headers, text + "\n").into_response())
}
