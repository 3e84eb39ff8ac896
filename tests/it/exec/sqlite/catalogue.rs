//! What `list_tables` and `describe_table` say of a SQLite database.

use secondkey::core::refusal::Code;
use secondkey::core::statement::Effect::Read;

use super::rig::Rig;

const SHOP: &str = r#"
    CREATE TABLE customers(id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, "odd ""name" TEXT DEFAULT 'x',
        shout TEXT GENERATED ALWAYS AS (upper(email)) STORED, twice AS (id * 2));
    CREATE TABLE places(a INT, b INT, PRIMARY KEY (b, a)) WITHOUT ROWID;
    CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INT REFERENCES customers ON DELETE CASCADE,
        x INT, y INT, FOREIGN KEY (x, y) REFERENCES places(a, b)) STRICT;
    CREATE INDEX by_mail ON customers(lower(email), id DESC) WHERE id > 10;
    CREATE VIEW "big orders" AS SELECT * FROM orders;
    CREATE VIRTUAL TABLE search USING fts5(body);
    INSERT INTO customers(email) VALUES ('a'), ('b'), ('c');
    ANALYZE;
"#;

#[tokio::test]
async fn tables_are_listed_and_searched() {
    let rig = Rig::with(&[Read], SHOP, &[]);
    let all = rig.executor.list_tables(None, None).await.unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|t| (t.name.as_str(), t.kind.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("big orders", "view"),
            ("customers", "table"),
            ("orders", "table"),
            ("places", "table"),
            ("search", "virtual table"),
        ]
    );
    assert_eq!(all[1].rows_estimate, Some(3));
    assert_eq!(
        rig.executor
            .list_tables(None, Some("ORD"))
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        rig.executor
            .list_tables(Some("other"), None)
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn columns_are_described_with_their_defaults_and_expressions() {
    let rig = Rig::with(&[Read], SHOP, &[]);
    let customers = rig.executor.describe_table("main.Customers").await.unwrap();
    let columns: Vec<_> = customers
        .columns
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.type_name.as_str(),
                c.nullable,
                c.default.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "INTEGER", false, None),
            ("email", "TEXT", false, None),
            ("odd \"name", "TEXT", true, Some("'x'")),
            (
                "shout",
                "TEXT",
                true,
                Some("generated always as (upper(email)) stored")
            ),
            (
                "twice",
                "",
                true,
                Some("generated always as (id * 2) virtual")
            ),
        ]
    );
}

#[tokio::test]
async fn indexes_and_keys_both_ways_are_described() {
    let rig = Rig::with(&[Read], SHOP, &[]);
    let customers = rig.executor.describe_table("customers").await.unwrap();
    assert_eq!(customers.primary_key, ["id"]);
    let index = &customers.indexes[0];
    assert_eq!(index.name, "by_mail");
    assert_eq!(index.columns, ["lower(email)", "id"]);
    assert_eq!(index.condition.as_deref(), Some("id > 10"));
    assert!(customers.indexes[1].unique);
    let from = &customers.referenced_by[0];
    assert_eq!(
        (
            from.table.as_str(),
            &from.columns[..],
            &from.other_columns[..]
        ),
        (
            "orders",
            &["id".to_owned()][..],
            &["customer".to_owned()][..]
        )
    );
    assert_eq!(from.on_delete.as_deref(), Some("cascade"));

    let orders = rig.executor.describe_table("orders").await.unwrap();
    assert_eq!(orders.foreign_keys.len(), 2);
    let pair = orders
        .foreign_keys
        .iter()
        .find(|key| key.table == "places")
        .unwrap();
    assert_eq!(
        (&pair.columns[..], &pair.other_columns[..]),
        (
            &["x".to_owned(), "y".to_owned()][..],
            &["a".to_owned(), "b".to_owned()][..]
        )
    );
    let places = rig.executor.describe_table("\"places\"").await.unwrap();
    assert_eq!(places.primary_key, ["b", "a"]);
    assert!(places.columns.iter().all(|c| !c.nullable));
    assert_eq!(
        rig.executor
            .describe_table("big orders")
            .await
            .unwrap()
            .kind,
        "view"
    );
}

#[tokio::test]
async fn an_unknown_table_comes_with_the_nearest_names() {
    let rig = Rig::with(&[Read], SHOP, &[]);
    let refusal = rig.executor.describe_table("custommer").await.unwrap_err();
    assert_eq!(refusal.code, Code::UnknownTable);
    assert_eq!(refusal.hint.as_deref(), Some("did you mean customers?"));
    let injected = rig
        .executor
        .describe_table("x'); DROP TABLE orders; --")
        .await
        .unwrap_err();
    assert_eq!(injected.code, Code::UnknownTable);
    assert_eq!(rig.executor.list_tables(None, None).await.unwrap().len(), 5);
}
