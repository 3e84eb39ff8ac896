#!/usr/bin/env python3
"""The client of `examples/python` against a server of `items` on a PostgreSQL with pgvector, which lets changes through.

    published_vectors.py URL TOKEN

Prints one JSON object.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/python/src"))

from secondkey_client import Refused, connect  # noqa: E402

url, token = sys.argv[1:]
seen = {}
with connect(url, token=token) as key:
    near = key.vector_search("items", "embedding", [0, 1, 1], 2, metric="l2", where={"kind": "seat"}, columns=["name"])
    seen["near"] = near.dicts()
    rows = [{"id": 1, "embedding": [0, 0, 1]}, {"id": 7, "embedding": [0.5, 0.5, 0]}]
    put = key.vector_upsert("items", rows, reason="new", idempotency_key="new")
    seen["put"] = [put.affected, put.effect]
    seen["again"] = key.vector_upsert("items", rows, reason="new", idempotency_key="new").replayed
    seen["by_name"] = key.vector_upsert("items", [{"id": 3, "name": "chair", "half": [1, 1, 1]}], on=["name"]).affected
    seen["cosine"] = key.vector_search("items", "embedding", [0, 0, 9], 1).dicts()
    try:
        key.vector_search("items", "embedding", [1.0], 1)
    except Refused as error:
        seen["refused"] = error.code
print(json.dumps(seen))
