//! A small SQLite shop for tests that need just some database.

use std::path::Path;

/// How many products it has.
pub(crate) const PRODUCTS: i64 = 3;

/// Makes it.
pub(crate) fn create(file: &Path) {
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch(SHOP).unwrap();
}

/// How many products there are now, read on a connection of its own.
pub(crate) fn products(file: &Path) -> i64 {
    let database = rusqlite::Connection::open(file).unwrap();
    let count = database.query_row("SELECT count(*) FROM products", [], |row| row.get(0));
    count.unwrap()
}

const SHOP: &str = "
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price NUMERIC NOT NULL);
INSERT INTO products (name, price) VALUES ('lamp', 20), ('chair', 45.5), ('desk', 120);
CREATE TABLE orders (id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES products, placed TEXT);
INSERT INTO orders (product_id, placed) VALUES (1, '2026-01-02'), (3, '2026-01-05');
";
