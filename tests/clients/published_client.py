#!/usr/bin/env python3
"""The client of `examples/python` against a server of the shop, which lets changes of `orders` through and asks
people about those of `products`.

    published_client.py URL TOKEN

Prints one JSON object, and `WAITS` before it as soon as a person is wanted.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/python/src"))

from secondkey_client import (  # noqa: E402
    ApprovalPending,
    DatabaseError,
    Refused,
    Statement,
    connect,
)

url, token = sys.argv[1:]
seen = {}
with connect(url, token=token, approval_wait=60) as key:
    seen["tables"] = sorted(table["name"] for table in key.tables())
    cheap = key.select("SELECT name, price FROM products WHERE price < $1 ORDER BY id", [50])
    seen["columns"], seen["cheap"] = cheap.columns, cheap.dicts()
    paged = key.select(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n", max_rows=30
    )
    seen["paged"] = [len(paged), paged.rows[-1][0], paged.truncated is None]
    try:
        key.select("SELECT nam FROM products")
    except Refused as error:
        seen["unknown"] = error.code
    batch = key.batch(
        [
            ("DELETE FROM orders WHERE id = $1", [1]),
            Statement("INSERT INTO orders (product_id, placed) VALUES ($1, $2)", [2, "2026-02-03"]),
            "SELECT count(*) FROM orders",
        ]
    )
    seen["batch"] = [one.affected for one in batch.results] + [batch.results[2].rows[0][0]]
    try:
        key.batch(["DELETE FROM orders", "INSERT INTO orders (product_id) VALUES (NULL)"])
    except DatabaseError as error:
        seen["broken"] = error.message
    with connect(url, token=token, approval_wait=0) as hasty:
        try:
            hasty.execute("UPDATE products SET price = 1 WHERE id = 1", reason="hasty", idempotency_key="sale")
        except ApprovalPending as pending:
            seen["pending"] = pending.request
    print("WAITS", flush=True)
    changed = key.execute("UPDATE products SET price = 1 WHERE id = 1", reason="hasty", idempotency_key="sale")
    seen["changed"] = [changed.affected, changed.request == seen["pending"]]
    again = key.execute("UPDATE products SET price = 1 WHERE id = 1", reason="hasty", idempotency_key="sale")
    seen["again"] = [again.affected, again.replayed]
    try:
        key.execute("DROP TABLE orders", target="nowhere")
    except Refused as error:
        seen["nowhere"] = error.code
print(json.dumps(seen))
