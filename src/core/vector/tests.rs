//! What is written for which wish, and which wishes are refused.

use serde_json::{Number, Value, json};

use super::Dialect;
use super::search::{Metric, Search};
use super::upsert::Upsert;
use crate::core::refusal::Code;
use crate::core::schema::{ColumnDescription, IndexDescription, TableDescription};

fn table(name: &str) -> TableDescription {
    let column = |(name, kind): (&str, &str)| ColumnDescription {
        name: name.to_owned(),
        type_name: kind.to_owned(),
        ..ColumnDescription::default()
    };
    let columns = [
        ("id", "integer"),
        ("Na\"me", "text"),
        ("embedding", "vector(3)"),
        ("half", "ext.halfvec"),
        ("distance", "integer"),
    ];
    TableDescription {
        name: name.to_owned(),
        kind: "table".to_owned(),
        columns: columns.map(column).into(),
        primary_key: vec!["id".to_owned()],
        indexes: vec![IndexDescription {
            name: "by_name".to_owned(),
            columns: vec!["\"Na\"\"me\"".to_owned()],
            unique: true,
            condition: None,
        }],
        ..TableDescription::default()
    }
}

fn search(column: &str, embedding: &[i64], conditions: &Value) -> Search {
    Search {
        table: "items".to_owned(),
        column: column.to_owned(),
        embedding: embedding.iter().map(|n| Number::from(*n)).collect(),
        k: 2,
        metric: Metric::L2,
        conditions: conditions.as_object().unwrap().clone(),
        columns: vec![],
    }
}

fn upsert(rows: &Value, on: &[&str]) -> Upsert {
    let rows = rows.as_array().unwrap();
    Upsert {
        table: "items".to_owned(),
        rows: rows
            .iter()
            .map(|row| row.as_object().unwrap().clone())
            .collect(),
        on: on.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[test]
fn a_search_is_one_statement_with_quoted_names_and_values_apart() {
    let wanted = search(
        "embedding",
        &[1, 2, 3],
        &json!({"Na\"me": ["x'", 1], "id": null, "distance": 7}),
    );
    let (text, values) = wanted.write(&table("items"), Dialect::PgVector).unwrap();
    assert_eq!(
        text,
        "SELECT \"id\", \"Na\"\"me\", \"distance\", \"embedding\" <-> $1::vector AS _distance\nFROM \"items\"\n\
         WHERE \"embedding\" IS NOT NULL AND \"Na\"\"me\" IN ($2, $3) AND \"id\" IS NULL AND \"distance\" = $4\n\
         ORDER BY _distance\nLIMIT 2"
    );
    assert_eq!(values, [json!([1, 2, 3]), json!("x'"), json!(1), json!(7)]);
    let mut other = search("half", &[1], &json!({}));
    other.columns = vec!["id".to_owned(), "half".to_owned()];
    let (text, _) = other.write(&table("items"), Dialect::PgVector).unwrap();
    assert_eq!(
        text,
        "SELECT \"id\", \"half\", \"half\" OPERATOR(ext.<->) $1::ext.halfvec AS distance\nFROM \"items\"\n\
         WHERE \"half\" IS NOT NULL\nORDER BY distance\nLIMIT 2"
    );
}

#[test]
fn a_dot_parts_names_only_where_the_caller_has_one_there() {
    let asked = |name: &str, found: &str| {
        let mut wanted = search("embedding", &[1, 2, 3], &json!({}));
        wanted.table = name.to_owned();
        wanted
            .write(&table(found), Dialect::PgVector)
            .map(|(text, _)| text)
    };
    assert!(
        asked("private.notes", "private.notes")
            .unwrap()
            .contains("FROM \"private\".\"notes\"")
    );
    assert!(
        asked("public.a\"; drop", "a\"; drop")
            .unwrap()
            .contains("FROM \"a\"\"; drop\"")
    );
    assert_eq!(
        asked("public.a.b", "a.b").unwrap_err().code,
        Code::InvalidArgument
    );
}

#[test]
fn searches_that_fit_nothing_are_refused() {
    for (wanted, code) in [
        (search("id", &[1], &json!({})), Code::InvalidArgument),
        (
            search("EMBEDDING", &[1, 2, 3], &json!({})),
            Code::UnknownColumn,
        ),
        (
            search("embedding", &[1, 2], &json!({})),
            Code::InvalidParameter,
        ),
        (search("half", &[], &json!({})), Code::InvalidParameter),
        (
            search("embedding", &[1, 2, 3], &json!({"id = id --": 1})),
            Code::UnknownColumn,
        ),
        (
            search("embedding", &[1, 2, 3], &json!({"id": {">": 1}})),
            Code::InvalidArgument,
        ),
        (
            search("embedding", &[1, 2, 3], &json!({"id": []})),
            Code::InvalidArgument,
        ),
    ] {
        assert_eq!(
            wanted
                .write(&table("items"), Dialect::PgVector)
                .unwrap_err()
                .code,
            code
        );
    }
    for k in [0, 1_001] {
        let mut wanted = search("embedding", &[1, 2, 3], &json!({}));
        wanted.k = k;
        assert_eq!(
            wanted
                .write(&table("items"), Dialect::PgVector)
                .unwrap_err()
                .code,
            Code::InvalidArgument
        );
    }
}

#[test]
fn rows_are_put_in_or_changed_by_their_key() {
    let rows = json!([{"id": 1, "embedding": [1, 2, 3]}, {"embedding": null, "id": 2}]);
    let (text, values) = upsert(&rows, &[])
        .write(&table("items"), Dialect::PgVector)
        .unwrap();
    assert_eq!(
        text,
        "INSERT INTO \"items\" (\"embedding\", \"id\")\nVALUES ($1, $2),\n  ($3, $4)\n\
         ON CONFLICT (\"id\") DO UPDATE SET \"embedding\" = EXCLUDED.\"embedding\""
    );
    assert_eq!(values, [json!([1, 2, 3]), json!(1), Value::Null, json!(2)]);
    let (text, _) = upsert(&json!([{"Na\"me": "x"}]), &["Na\"me"])
        .write(&table("items"), Dialect::PgVector)
        .unwrap();
    assert!(
        text.ends_with("ON CONFLICT (\"Na\"\"me\") DO NOTHING"),
        "{text}"
    );
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let many = vec![json!({"id": 1}); 101];
    for (rows, on, code) in [
        (json!([]), &[][..], Code::InvalidArgument),
        (Value::Array(many), &[], Code::InvalidArgument),
        (
            json!([{"id": 1}, {"id": 2, "half": [1]}]),
            &[],
            Code::InvalidArgument,
        ),
        (
            json!([{"embedding": [1, 2, 3]}]),
            &[],
            Code::InvalidArgument,
        ),
        (
            json!([{"id": 1, "embedding": [1, 2]}]),
            &[],
            Code::InvalidParameter,
        ),
        (
            json!([{"id": 1, "embedding": "[1,2,3]"}]),
            &[],
            Code::InvalidParameter,
        ),
        (json!([{"id": 1, "x) --": 2}]), &[], Code::UnknownColumn),
        (
            json!([{"id": 1, "half": [1]}]),
            &["half"],
            Code::InvalidArgument,
        ),
    ] {
        let refused = upsert(&rows, on)
            .write(&table("items"), Dialect::PgVector)
            .unwrap_err();
        assert_eq!(refused.code, code, "{rows}");
    }
    let mut view = table("items");
    view.kind = "view".to_owned();
    upsert(&json!([{"id": 1}]), &[])
        .write(&view, Dialect::PgVector)
        .unwrap_err();
    let mut plain = table("items");
    plain
        .columns
        .retain(|column| !column.type_name.contains("vec"));
    let refused = upsert(&json!([{"id": 1}]), &[])
        .write(&plain, Dialect::PgVector)
        .unwrap_err();
    assert!(
        refused.message.contains("no column of type vector"),
        "{}",
        refused.message
    );
}
