//! Values: none is changed on its way out, and what goes in comes back.

use secondkey::core::refusal::Code;
use secondkey::core::statement::Effect::{Read, Write};
use serde_json::{Value, json};

use super::rig::Rig;

#[tokio::test]
async fn every_kind_of_value_has_one_form() {
    let rig = Rig::new(&[Read]);
    for (expression, type_name, expected) in [
        ("NULL", "any", json!(null)),
        ("42", "integer", json!(42)),
        (
            "9007199254740991",
            "integer",
            json!(9_007_199_254_740_991_i64),
        ),
        ("9007199254740992", "integer", json!("9007199254740992")),
        (
            "-9223372036854775808",
            "integer",
            json!("-9223372036854775808"),
        ),
        ("1.0", "real", json!(1.0)),
        ("0.1", "real", json!(0.1)),
        ("1e999", "real", json!("Infinity")),
        ("-1e999", "real", json!("-Infinity")),
        ("1e999 - 1e999", "any", json!(null)),
        ("'a''b\n\u{1f40e}'", "text", json!("a'b\n\u{1f40e}")),
        ("''", "text", json!("")),
        ("x'00ff41'", "blob", json!({"blob": "00ff41"})),
        ("'x''00ff41'''", "text", json!("x'00ff41'")),
        (
            "CAST(x'ff41' AS TEXT)",
            "text",
            json!({"text_bytes": "ff41"}),
        ),
        ("CAST(x'410042' AS TEXT)", "text", json!("A\u{0}B")),
        ("json('{\"a\": 1}')", "text", json!("{\"a\":1}")),
        ("true", "integer", json!(1)),
    ] {
        let answer = rig
            .run(&format!("SELECT {expression} AS v"), &[])
            .await
            .unwrap();
        assert_eq!(answer.columns[0].type_name, type_name, "{expression}");
        assert_eq!(answer.rows(), [[expected]], "{expression}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_their_column_say_what_they_are() {
    let schema = "CREATE TABLE loose(i INTEGER, r DOUBLE, t TEXT, n NUMERIC, x);
        INSERT INTO loose VALUES ('abc', 'Infinity', 5, '12.50', 9007199254740993),
          (9007199254740993, 1e999, 1e999, 9007199254740993, 1e999);";
    let rig = Rig::with(&[Read], schema, &[]);
    let answer = rig.run("SELECT * FROM loose", &[]).await.unwrap();
    let types: Vec<_> = answer
        .columns
        .iter()
        .map(|c| c.type_name.as_str())
        .collect();
    assert_eq!(types, ["INTEGER", "DOUBLE", "TEXT", "NUMERIC", "integer"]);
    assert_eq!(
        answer.rows(),
        [
            vec![
                json!("abc"),
                json!({"text": "Infinity"}),
                json!("5"),
                json!(12.5),
                json!("9007199254740993")
            ],
            vec![
                json!("9007199254740993"),
                json!("Infinity"),
                json!("Inf"),
                json!({"integer": "9007199254740993"}),
                json!({"real": "Infinity"}),
            ],
        ]
    );
    let mixed = "SELECT 9007199254740993 AS v UNION ALL SELECT '9007199254740993'";
    assert_eq!(
        rig.rows(mixed, &[]).await,
        [
            [json!("9007199254740993")],
            [json!({"text": "9007199254740993"})]
        ]
    );
}

#[tokio::test]
async fn parameters_arrive_as_they_were_sent() {
    let rig = Rig::new(&[Read]);
    for (value, kind) in [
        (json!(null), "null"),
        (json!(7), "integer"),
        (json!(1.5), "real"),
        (json!("x'; DROP TABLE users; --"), "text"),
        (json!(""), "text"),
        (json!("a\u{0}b"), "text"),
        (json!({"blob": "00ff"}), "blob"),
    ] {
        let rows = rig
            .rows("SELECT typeof($1), $1", std::slice::from_ref(&value))
            .await;
        assert_eq!(rows, [[json!(kind), value]]);
    }
    assert_eq!(
        rig.rows("SELECT $1, $2", &[json!(true), json!(false)])
            .await,
        [[json!(1), json!(0)]]
    );
    let largest = json!(i64::MAX);
    assert_eq!(
        rig.rows("SELECT $1", &[largest]).await,
        [[json!(i64::MAX.to_string())]]
    );
}

#[tokio::test]
async fn placeholders_take_the_values_their_numbers_say() {
    let rig = Rig::new(&[Read]);
    let two = [json!("one"), json!("two")];
    for (sql, expected) in [
        ("SELECT $2, $1", ["two", "one"]),
        ("SELECT ?2, ?1", ["two", "one"]),
        ("SELECT :2, :1", ["two", "one"]),
        ("SELECT ?2, $1", ["two", "one"]),
        ("SELECT ?, ?", ["one", "two"]),
        ("SELECT :b, :a", ["one", "two"]),
        ("SELECT @x, $y", ["one", "two"]),
        ("SELECT ?2, :x", ["two", "?"]),
    ] {
        let expected: Vec<Value> = expected.iter().map(|v| json!(v)).collect();
        match rig.run(sql, &two).await {
            Ok(answer) => assert_eq!(answer.rows(), [expected], "{sql}"),
            // `:x` is the third here, and the first is never used.
            Err(refusal) => {
                assert_eq!((refusal.code, sql), (Code::ParameterCount, "SELECT ?2, :x"));
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_number_of_values_names_both_numbers() {
    let rig = Rig::new(&[Read]);
    for (sql, params, message) in [
        ("SELECT $1", vec![], "1 placeholder and 0 values were given"),
        (
            "SELECT 1",
            vec![json!(1)],
            "0 placeholders and 1 value was given",
        ),
        (
            "SELECT ?, ?",
            vec![json!(1)],
            "2 placeholders and 1 value was given",
        ),
        (
            "SELECT ?1, ?3",
            vec![json!(1), json!(2)],
            "go up to 3 but none has the number 2",
        ),
    ] {
        let refusal = rig.run(sql, &params).await.expect_err(sql);
        assert_eq!(refusal.code, Code::ParameterCount, "{sql}");
        assert!(
            refusal.message.contains(message),
            "{sql}: {}",
            refusal.message
        );
    }
}

#[tokio::test]
async fn a_value_that_has_no_type_in_sqlite_is_refused_by_its_number_alone() {
    let rig = Rig::new(&[Read, Write]);
    for value in [
        json!(["s3cret"]),
        json!({"s3cret": 1}),
        json!({"blob": "s3cret"}),
        json!({"blob": "00", "s3cret": 1}),
        json!(9_223_372_036_854_775_808_u64),
    ] {
        let refusal = rig
            .run("SELECT $1, $2", &[json!(1), value])
            .await
            .unwrap_err();
        assert_eq!(refusal.code, Code::InvalidParameter);
        let told = format!("{refusal:?}");
        assert!(
            told.contains("parameter 2") && !told.contains("s3cret"),
            "{told}"
        );
        assert!(!told.contains("9223372036854775808"), "{told}");
    }
}
