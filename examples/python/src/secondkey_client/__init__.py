"""Runs SQL through SecondKey, over its streamable HTTP endpoint.

    with connect("http://127.0.0.1:7300/mcp", token="...") as key:
        for name, price in key.select("SELECT name, price FROM products WHERE price < $1", [50]):
            ...
        key.execute("UPDATE products SET price = $1 WHERE name = $2", [11, "lamp"], reason="sale")

Reads run at once. What needs people is waited for, and raises ApprovalPending once `approval_wait` seconds are over;
ApprovalRejected, Forbidden and the others say what else became of a call. Nothing is ever sent twice by itself.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import SSLContext, create_default_context
from types import TracebackType
from typing import Union
from urllib.parse import urlsplit

__all__ = [
    "ApprovalPending",
    "ApprovalRejected",
    "BatchResult",
    "Client",
    "DatabaseError",
    "Forbidden",
    "IdempotencyConflict",
    "OutcomeUnknown",
    "Refused",
    "Result",
    "SecondKeyError",
    "Statement",
    "Truncated",
    "Unreachable",
    "connect",
]

JSON = Union[None, bool, int, float, str, "list[JSON]", "dict[str, JSON]"]
"""A value as JSON has it. Numbers beyond 2**53 and exact decimals come as text (docs/values.md)."""

_PROTOCOL = "2026-07-28"
_VERSION = "0.1.0"


class SecondKeyError(Exception):
    """Anything that went wrong."""


class Unreachable(SecondKeyError):
    """No answer came. What was sent may have run: look at the data, or repeat it under its idempotency key."""


class Refused(SecondKeyError):
    """The call was refused, or what it ran failed. Nothing of it stands, unless it is an OutcomeUnknown."""

    def __init__(self, code: str, message: str, hint: str | None, sqlstate: str | None) -> None:
        super().__init__(f"{code}: {message}" + (f" ({hint})" if hint else ""))
        self.code = code
        self.message = message
        self.hint = hint
        self.sqlstate = sqlstate


class Forbidden(Refused):
    """The policy does not allow it, whoever signs."""


class ApprovalPending(Refused):
    """People have not decided yet; `request` is the id to `wait` for."""

    @property
    def request(self) -> str | None:
        """The request that waits."""
        words = (word.strip(";,.") for word in self.message.split())
        return next((word for word in words if word.startswith("req_")), None)


class ApprovalRejected(Refused):
    """Somebody said no; the message has what they wrote."""


class DatabaseError(Refused):
    """The database answered with an error; `sqlstate` is its class where it has one."""


class IdempotencyConflict(Refused):
    """The idempotency key was used for something else."""


class OutcomeUnknown(Refused):
    """It was begun, and whether it stands is not known. Look at the data."""


_ERRORS: Mapping[str, type[Refused]] = {
    "approval_pending": ApprovalPending,
    "approval_rejected": ApprovalRejected,
    "approval_required": Forbidden,
    "database_error": DatabaseError,
    "forbidden": Forbidden,
    "idempotency_conflict": IdempotencyConflict,
    "outcome_unknown": OutcomeUnknown,
}


@dataclass(frozen=True)
class Truncated:
    """What an answer leaves out."""

    by: str
    shown: int
    at_least: int
    exact: bool
    handle: str | None
    next: int


@dataclass(frozen=True)
class Result:
    """What a statement answered. Iterating it gives the rows that it holds."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[JSON, ...], ...] = ()
    affected: int | None = None
    truncated: Truncated | None = None
    warnings: tuple[str, ...] = ()
    effect: str = "read"
    request: str = ""
    replayed: bool = False

    def __iter__(self) -> Iterator[tuple[JSON, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def dicts(self) -> list[dict[str, JSON]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row)) for row in self.rows]


@dataclass(frozen=True)
class BatchResult:
    """What the statements of a batch answered, in order; all of them stand."""

    results: tuple[Result, ...]
    effect: str
    request: str
    replayed: bool = False


@dataclass(frozen=True)
class Statement:
    """One statement of a batch."""

    sql: str
    params: Sequence[JSON] = field(default_factory=tuple)


class Client:
    """A connection to one server. Not for several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        target: str | None = None,
        approval_wait: float = 600.0,
        timeout: float = 120.0,
        ssl: SSLContext | None = None,
        name: str = "secondkey-client",
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError("the URL is http://HOST:PORT/mcp or https://HOST/mcp")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("a token goes over https to any other machine")
        self._path = parts.path or "/mcp"
        self._token = token
        self._target = target
        self._approval_wait = approval_wait
        self._name = name
        self._numbers = itertools.count(1)
        host, port = parts.hostname, parts.port
        self._connect: Callable[[], HTTPConnection]
        if parts.scheme == "https":
            context = ssl or create_default_context()
            self._connect = lambda: HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            self._connect = lambda: HTTPConnection(host, port, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forgets the token."""
        self._token = ""

    def select(
        self,
        sql: str,
        params: Sequence[JSON] = (),
        *,
        target: str | None = None,
        max_rows: int | None = None,
    ) -> Result:
        """Runs a statement and gives all of its rows, page after page."""
        first = self.execute(sql, params, target=target, max_rows=max_rows)
        rows, cut = list(first.rows), first.truncated
        while cut is not None and cut.handle is not None:
            page = self._call("result_page", {"handle": cut.handle, "from": cut.next})
            more = _result(page)
            if not more.rows and more.truncated is not None:
                break
            rows.extend(more.rows)
            cut = more.truncated
        return Result(
            columns=first.columns,
            rows=tuple(rows),
            affected=first.affected,
            truncated=cut,
            warnings=first.warnings,
            effect=first.effect,
            request=first.request,
            replayed=first.replayed,
        )

    def execute(
        self,
        sql: str,
        params: Sequence[JSON] = (),
        *,
        target: str | None = None,
        reason: str | None = None,
        max_rows: int | None = None,
        timeout_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> Result:
        """Runs one statement, once people have agreed where they have to. Gives its first page of rows."""
        return _result(
            self._run(
                "sql_execute",
                {
                    "sql": sql,
                    "params": list(params),
                    "target": target or self._target,
                    "reason": reason,
                    "max_rows": max_rows,
                    "timeout_ms": timeout_ms,
                    "idempotency_key": idempotency_key,
                },
            )
        )

    def batch(
        self,
        statements: Sequence[Statement | tuple[str, Sequence[JSON]] | str],
        *,
        target: str | None = None,
        reason: str | None = None,
        timeout_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> BatchResult:
        """Runs up to 50 statements in one transaction: all of them stand, or this raises and none does."""
        one: list[JSON] = [_statement(statement) for statement in statements]
        answer = self._run(
            "sql_batch",
            {
                "statements": one,
                "target": target or self._target,
                "reason": reason,
                "timeout_ms": timeout_ms,
                "idempotency_key": idempotency_key,
            },
        )
        return BatchResult(
            results=tuple(_result(_object(part)) for part in _list(answer.get("results"))),
            effect=str(answer.get("effect", "")),
            request=str(answer.get("request", "")),
            replayed=answer.get("replayed") is True,
        )

    def vector_search(
        self,
        table: str,
        column: str,
        embedding: Sequence[float],
        k: int,
        *,
        metric: str | None = None,
        where: Mapping[str, JSON] | None = None,
        columns: Sequence[str] = (),
        target: str | None = None,
        reason: str | None = None,
    ) -> Result:
        """The `k` rows whose vectors are nearest, with their `distance`.

        `metric` is cosine (which it is if you do not say), l2, inner_product or l1. `where` has a value, a list of
        values or None by column. The answer holds all columns but vectors, unless `columns` names some.
        """
        return _result(
            self._run(
                "vector_search",
                {
                    "table": table,
                    "column": column,
                    "embedding": list(embedding),
                    "k": k,
                    "metric": metric,
                    "where": dict(where or {}),
                    "columns": list(columns),
                    "target": target or self._target,
                    "reason": reason,
                },
            )
        )

    def vector_upsert(
        self,
        table: str,
        rows: Sequence[Mapping[str, JSON]],
        *,
        on: Sequence[str] = (),
        target: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Result:
        """Puts in up to 100 rows, or changes those whose key is there; vectors are lists of numbers.

        The key is the primary key, unless `on` names the columns of a unique index. `affected` says how many.
        """
        return _result(
            self._run(
                "vector_upsert",
                {
                    "table": table,
                    "rows": [dict(row) for row in rows],
                    "on": list(on),
                    "target": target or self._target,
                    "reason": reason,
                    "idempotency_key": idempotency_key,
                },
            )
        )

    def wait(self, request: str) -> Result:
        """Waits for a request of one statement that an ApprovalPending named, and runs it once it is approved."""
        return _result(self._wait(request, time.monotonic() + self._approval_wait))

    def tables(self, *, target: str | None = None, search: str | None = None) -> list[dict[str, JSON]]:
        """The tables and views of a target."""
        answer = self._call("list_tables", {"target": target or self._target, "search": search})
        return [_object(table) for table in _list(answer.get("tables"))]

    def _run(self, tool: str, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
        end = time.monotonic() + self._approval_wait
        try:
            return self._call(tool, arguments)
        except ApprovalPending as pending:
            if pending.request is None:
                raise
            return self._wait(pending.request, end)

    def _wait(self, request: str, end: float) -> dict[str, JSON]:
        while True:
            try:
                answer = self._call("request", {"action": "wait", "id": request})
            except ApprovalPending:
                # The server itself waits a while; this keeps a server that does not from being asked at once again.
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)
            else:
                return _object(answer.get("result"))

    def _call(self, tool: str, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
        given: dict[str, JSON] = {name: value for name, value in arguments.items() if value is not None}
        about: dict[str, JSON] = {
            "io.modelcontextprotocol/protocolVersion": _PROTOCOL,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": self._name, "version": _VERSION},
        }
        message: dict[str, JSON] = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": "tools/call",
            "params": {"name": tool, "arguments": given, "_meta": about},
        }
        answer = self._post(tool, json.dumps(message).encode())
        if "error" in answer:
            error = _object(answer["error"])
            raise Refused("protocol_error", str(error.get("message", "")), None, None)
        result = _object(answer.get("result"))
        if result.get("isError") is True:
            raise _refusal(result)
        return _object(result.get("structuredContent"))

    def _post(self, tool: str, body: bytes) -> dict[str, JSON]:
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": _PROTOCOL,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        connection = self._connect()
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"no answer: {error}") from error
        finally:
            connection.close()
        if response.status in (401, 403):
            raise Forbidden("forbidden", f"the server does not take this token ({response.status})", None, None)
        if response.status == 429:
            hint = f"try again after {response.headers.get('Retry-After', 'some')} s"
            raise Refused("limit_reached", "this key has used up its limits", hint, None)
        if response.status >= 500:
            raise Unreachable(f"the server answered {response.status}")
        return _message(text, response.headers.get("Content-Type", ""))


def connect(
    url: str,
    *,
    token: str,
    target: str | None = None,
    approval_wait: float = 600.0,
    timeout: float = 120.0,
    ssl: SSLContext | None = None,
) -> Client:
    """A client of `secondkey mcp --http` on this machine, or of a relay. Asks nothing yet.

    `approval_wait` is how many seconds a call waits for people; `timeout` has to be longer than a statement and the
    server's own wait for them.
    """
    return Client(url, token=token, target=target, approval_wait=approval_wait, timeout=timeout, ssl=ssl)


def _message(text: str, kind: str) -> dict[str, JSON]:
    """The answer out of a body: JSON, or the last message with an id in a stream of events."""
    try:
        if not kind.startswith("text/event-stream"):
            return _object(json.loads(text))
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        messages = [_object(json.loads(one)) for one in data if one]
        return next(message for message in reversed(messages) if "id" in message and "method" not in message)
    except (ValueError, StopIteration) as error:
        raise Unreachable("the server's answer cannot be read") from error


def _refusal(result: dict[str, JSON]) -> Refused:
    texts = (_object(block).get("text") for block in _list(result.get("content")))
    text = next((one for one in texts if isinstance(one, str)), "")
    try:
        error = _object(_object(json.loads(text)).get("error"))
    except ValueError:
        return Refused("error", text, None, None)
    code = str(error.get("code", "error"))
    kind = _ERRORS.get(code, Refused)
    return kind(code, str(error.get("message", "")), _text(error.get("hint")), _text(error.get("sqlstate")))


def _result(answer: dict[str, JSON]) -> Result:
    cut = answer.get("truncated")
    affected = answer.get("affected")
    return Result(
        columns=tuple(str(_object(column).get("name", "")) for column in _list(answer.get("columns"))),
        rows=tuple(tuple(_list(row)) for row in _list(answer.get("rows"))),
        affected=affected if isinstance(affected, int) else None,
        truncated=None if cut is None else _truncated(_object(cut)),
        warnings=tuple(str(warning) for warning in _list(answer.get("warnings"))),
        effect=str(answer.get("effect", "read")),
        request=str(answer.get("request", "")),
        replayed=answer.get("replayed") is True,
    )


def _truncated(cut: dict[str, JSON]) -> Truncated:
    def number(name: str) -> int:
        value = cut.get(name)
        return value if isinstance(value, int) else 0

    return Truncated(
        by=str(cut.get("by", "")),
        shown=number("shown"),
        at_least=number("at_least"),
        exact=cut.get("exact") is True,
        handle=_text(cut.get("handle")),
        next=number("next"),
    )


def _statement(statement: Statement | tuple[str, Sequence[JSON]] | str) -> dict[str, JSON]:
    if isinstance(statement, str):
        return {"sql": statement}
    if isinstance(statement, Statement):
        return {"sql": statement.sql, "params": list(statement.params)}
    sql, params = statement
    return {"sql": sql, "params": list(params)}


def _object(value: JSON) -> dict[str, JSON]:
    if not isinstance(value, dict):
        raise Unreachable("the server's answer has another form than it should")
    return value


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _text(value: JSON) -> str | None:
    return value if isinstance(value, str) else None
