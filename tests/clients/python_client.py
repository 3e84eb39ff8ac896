#!/usr/bin/env python3
"""The Python SDK against a server: lists the tools, runs one statement, is refused another.

    python_client.py MODE stdio COMMAND ARG ...
    python_client.py MODE http URL TOKEN

MODE is `legacy` or `auto`. Prints one JSON object.
"""
import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

READ = "SELECT count(*) AS n FROM products"
WRITE = "DELETE FROM products"


async def main(mode, kind, *rest):
    if kind == "stdio":
        server = StdioServerParameters(command=rest[0], args=list(rest[1:]))
    else:
        headers = {"Authorization": f"Bearer {rest[1]}"}
        server = streamable_http_client(rest[0], http_client=httpx2.AsyncClient(headers=headers))
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        read = await client.call_tool("sql_execute", {"sql": READ})
        write = await client.call_tool("sql_execute", {"sql": WRITE})
        print(json.dumps({
            "protocol": client.protocol_version,
            "tools": [tool.name for tool in tools.tools],
            "read": answer(read),
            "write": answer(write),
        }))


def answer(result):
    text = "".join(block.text for block in result.content if block.type == "text")
    return {"error": bool(result.is_error), "structured": result.structured_content, "text": text}


asyncio.run(main(*sys.argv[1:]))
