//! Rows that come in the driver's binary form (RETURNING, which no cursor takes), as text: the
//! server itself writes the text of every type that we do not read for certain.

use std::error::Error as StdError;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, Row};

use super::values;
use crate::core::answer::Row as Answer;

/// Values that the server is asked to write in one statement.
const AT_ONCE: usize = 500;

/// Text in a type whose binary form is its text.
pub(super) struct Text(String);

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> FromSql<'a> for Text {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A value in binary form, as it came and as it goes back.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Bytes {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Whether a column's values can be written as text at all.
pub(super) fn can_be_written(kind: &Type) -> bool {
    !matches!(*kind, Type::RECORD | Type::RECORD_ARRAY)
}

/// Rows as the answer holds them.
pub(super) async fn answers(client: &Client, rows: &[Row]) -> Result<Vec<Answer>, Error> {
    let mut places = Vec::new();
    let mut answers: Vec<Answer> = Vec::with_capacity(rows.len());
    for (row_at, row) in rows.iter().enumerate() {
        let mut answer = Answer::with_capacity(row.len());
        for (at, column) in row.columns().iter().enumerate() {
            let kind = column.type_();
            let raw: Option<Bytes> = row.try_get(at)?;
            let known = raw.as_ref().map(|raw| known_text(kind, &raw.0));
            match (raw, known) {
                (Some(raw), Some(None)) => {
                    places.push((row_at, at, raw, kind.clone()));
                    answer.push(serde_json::Value::Null);
                }
                (_, known) => answer.push(values::value(kind, known.flatten().as_deref())),
            }
        }
        answers.push(answer);
    }
    for chunk in places.chunks(AT_ONCE) {
        write(client, chunk, &mut answers).await?;
    }
    Ok(answers)
}

/// Has the server write the values at `places` into the answers.
async fn write(
    client: &Client,
    places: &[(usize, usize, Bytes, Type)],
    answers: &mut [Answer],
) -> Result<(), Error> {
    let columns: Vec<String> = (1..=places.len())
        .map(|n| format!("pg_catalog.format('%s', ${n})"))
        .collect();
    let params: Vec<(&(dyn ToSql + Sync), Type)> = places
        .iter()
        .map(|(_, _, raw, kind)| (raw as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    let written = client
        .query_typed(&format!("select {}", columns.join(", ")), &params)
        .await?;
    for (n, (row_at, at, _, kind)) in places.iter().enumerate() {
        let text: Option<String> = match written.first() {
            Some(row) => row.try_get(n)?,
            None => None,
        };
        if let Some(value) = answers.get_mut(*row_at).and_then(|row| row.get_mut(*at)) {
            *value = values::value(kind, text.as_deref());
        }
    }
    Ok(())
}

/// The text of a value whose binary form is certain; none for the rest.
fn known_text(kind: &Type, raw: &[u8]) -> Option<String> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match *kind {
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => utf8(raw),
        Type::JSONB => raw.strip_prefix(&[1]).and_then(utf8),
        Type::BOOL => Some(if raw == [1] { "t" } else { "f" }.to_owned()),
        Type::INT2 => raw
            .try_into()
            .ok()
            .map(|b| i16::from_be_bytes(b).to_string()),
        Type::INT4 => raw
            .try_into()
            .ok()
            .map(|b| i32::from_be_bytes(b).to_string()),
        Type::INT8 => raw
            .try_into()
            .ok()
            .map(|b| i64::from_be_bytes(b).to_string()),
        _ => None,
    }
}
