//! No value changes on its way: reads through the cursor and rows that a change returns.

use secondkey::core::limits::Limits;
use secondkey::core::statement::Effect;
use serde_json::{Value, json};

use super::fixture::{database, run};

/// Expressions, their value in an answer, and the type that the answer names.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("null::int", json!(null), "integer"),
        ("true", json!(true), "boolean"),
        ("(-32768)::int2", json!(-32768), "smallint"),
        (
            "9007199254740991::int8",
            json!(9_007_199_254_740_991_i64),
            "bigint",
        ),
        (
            "9007199254740992::int8",
            json!("9007199254740992"),
            "bigint",
        ),
        (
            "(-9223372036854775808)::int8",
            json!("-9223372036854775808"),
            "bigint",
        ),
        ("4294967295::oid", json!(4_294_967_295_u32), "oid"),
        ("0.1::float4", json!(0.1), "real"),
        ("1e300::float8", json!(1e300), "double precision"),
        (
            "0.30000000000000004::float8",
            json!(0.30000000000000004),
            "double precision",
        ),
        ("'NaN'::float8", json!("NaN"), "double precision"),
        ("'-Infinity'::float4", json!("-Infinity"), "real"),
        ("1.10::numeric", json!("1.10"), "numeric"),
        ("1.1::numeric(10,2)", json!("1.10"), "numeric(10,2)"),
        ("'NaN'::numeric", json!("NaN"), "numeric"),
        (
            "12345678901234567890.123456789::numeric",
            json!("12345678901234567890.123456789"),
            "numeric",
        ),
        ("'a\"b\\c\u{e9}'::text", json!("a\"b\\c\u{e9}"), "text"),
        ("'ab'::varchar(5)", json!("ab"), "character varying(5)"),
        ("'ab'::char(4)", json!("ab  "), "character(4)"),
        ("'infinity'::date", json!("infinity"), "date"),
        (
            "'-infinity'::timestamptz",
            json!("-infinity"),
            "timestamp with time zone",
        ),
        ("'0044-03-15 BC'::date", json!("0044-03-15 BC"), "date"),
        (
            "'2024-02-29 12:34:56.789'::timestamp(3)",
            json!("2024-02-29 12:34:56.789"),
            "timestamp(3) without time zone",
        ),
        (
            "'12:34:56+02'::timetz",
            json!("12:34:56+02"),
            "time with time zone",
        ),
        (
            "'1 year 2 days 03:04:05'::interval",
            json!("P1Y2DT3H4M5S"),
            "interval",
        ),
        ("'\\x00ff'::bytea", json!("\\x00ff"), "bytea"),
        (
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            "uuid",
        ),
        ("'1.2.3.4'::inet", json!("1.2.3.4"), "inet"),
        ("'10.0.0.0/8'::cidr", json!("10.0.0.0/8"), "cidr"),
        (
            "'08:00:2b:01:02:03'::macaddr",
            json!("08:00:2b:01:02:03"),
            "macaddr",
        ),
        ("b'1010'::bit(4)", json!("1010"), "bit(4)"),
        (
            "'{\"b\": [1, 2.5], \"a\": null}'::jsonb",
            json!({"a": null, "b": [1, 2.5]}),
            "jsonb",
        ),
        (
            "'{\"a\":12345678901234567890}'::json",
            json!("{\"a\":12345678901234567890}"),
            "json",
        ),
        (
            "'{\"a\":1,\"a\":2}'::json",
            json!("{\"a\":1,\"a\":2}"),
            "json",
        ),
        ("'\"x\"'::jsonb", json!("x"), "jsonb"),
        ("array[1,null,3]", json!("{1,NULL,3}"), "integer[]"),
        ("array[['a','b,c']]", json!("{{a,\"b,c\"}}"), "text[]"),
        ("'[1,5)'::int4range", json!("[1,5)"), "int4range"),
        (
            "'{[1,3),[7,9)}'::int4multirange",
            json!("{[1,3),[7,9)}"),
            "int4multirange",
        ),
        ("'x'::mood", json!("x"), "mood"),
        ("row(1,'a b')::pair", json!("(1,\"a b\")"), "pair"),
        ("'Ab'::citext", json!("Ab"), "citext"),
        ("'a=>1'::hstore", json!("\"a\"=>\"1\""), "hstore"),
        ("'(1,2)'::point", json!("(1,2)"), "point"),
        ("'a & b'::tsquery", json!("'a' & 'b'"), "tsquery"),
        ("'<a>1</a>'::xml", json!("<a>1</a>"), "xml"),
        ("'0/16B3748'::pg_lsn", json!("0/16B3748"), "pg_lsn"),
        ("'users'::regclass", json!("users"), "regclass"),
        ("5::even", json!(5), "integer"),
    ]
}

const TYPES: &str = "create extension citext; create extension hstore; \
    create type mood as enum ('x', 'y'); create type pair as (a int, b text); \
    create domain even as int check (value > 0); set timezone = 'UTC'";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_keeps_its_value() {
    let Some(database) = database("values").await else {
        return;
    };
    database.admin.batch_execute(TYPES).await.unwrap();
    let executor = database.executor(
        "",
        &[Effect::Read, Effect::Write, Effect::Schema],
        Limits::DEFAULT,
    );
    for (expression, want, kind) in cases() {
        let read = run(&executor, &format!("select {expression} as v"), &[]).await;
        let read = read.unwrap_or_else(|e| panic!("{expression}: {e}"));
        assert_eq!(read.rows, [[want.clone()]], "{expression}");
        assert_eq!(
            read.columns,
            [("v".to_owned(), kind.to_owned())],
            "{expression}"
        );
        let change = format!("insert into secrets values (1, 'x') returning {expression} as v");
        let changed = run(&executor, &change, &[]).await;
        let changed = changed.unwrap_or_else(|e| panic!("{expression}: {e}"));
        assert_eq!(
            (changed.rows, changed.affected),
            (vec![vec![want]], Some(1)),
            "{expression}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_arrive_as_the_server_reads_them() {
    let Some(database) = database("params").await else {
        return;
    };
    database.admin.batch_execute(TYPES).await.unwrap();
    let executor = database.executor("", &[Effect::Read], Limits::DEFAULT);
    for (kind, given, want) in [
        ("int8", json!("9007199254740993"), json!("9007199254740993")),
        ("numeric", json!("1.10"), json!("1.10")),
        ("bool", json!(false), json!(false)),
        (
            "timestamptz",
            json!("2024-01-01T00:00:00+02:00"),
            json!("2023-12-31 22:00:00+00"),
        ),
        (
            "uuid",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("inet", json!("10.0.0.1/8"), json!("10.0.0.1/8")),
        ("int4[]", json!([1, null, 3]), json!("{1,NULL,3}")),
        (
            "text[]",
            json!(["a\"b", "c,d"]),
            json!("{\"a\\\"b\",\"c,d\"}"),
        ),
        ("jsonb", json!({"a": [1, "x"]}), json!({"a": [1, "x"]})),
        ("bytea", json!("\\x00ff"), json!("\\x00ff")),
        ("mood", json!("y"), json!("y")),
        ("even", json!(7), json!(7)),
        ("int4range", json!("[1,5)"), json!("[1,5)")),
        ("float8", json!("NaN"), json!("NaN")),
        ("text", json!(null), json!(null)),
    ] {
        let answer = run(
            &executor,
            &format!("select $1::{kind}"),
            std::slice::from_ref(&given),
        )
        .await;
        let answer = answer.unwrap_or_else(|e| panic!("{kind}: {e}"));
        if kind == "timestamptz" {
            // The offset is the time zone of the role.
            assert!(answer.rows[0][0].is_string());
        } else {
            assert_eq!(answer.rows, [[want]], "{kind}");
        }
    }
    for (kind, given) in [
        ("uuid", json!("4711")),
        ("timestamptz", json!("4711-99")),
        ("mood", json!("4711")),
        ("int4", json!("4711 or 1=1")),
    ] {
        let refusal = run(&executor, &format!("select $1::{kind}"), &[given])
            .await
            .unwrap_err();
        assert_eq!(
            refusal.code.as_str(),
            "invalid_parameter",
            "{kind}: {refusal:?}"
        );
        assert!(refusal.message.contains("$1") && !format!("{refusal:?}").contains("4711"));
    }
}
