"""Taking answers out of their envelopes, whichever dialect they come in (planasonix.md §2.3, §7.1 C2, C9)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plait.http import Answer
from plait.http.errors import MalformedResponse
from plait.vendors.planasonix.models import LogLine, RunLogs

_SOLE: Final = frozenset(
    {"job", "backfill", "run", "pipeline", "connection", "schedule", "webhook", "results"}
)
"""Names under which `data` may hold the one thing that was asked for."""
_LISTS: Final = (
    "data",
    "jobs",
    "runs",
    "nodes",
    "pipelines",
    "connections",
    "schedules",
    "webhooks",
    "connectors",
    "items",
)
_LINES: Final = ("lines", "logs", "entries", "chunks", "data")
_TEXTS: Final = ("text", "content", "log", "chunk")
_ADDRESSES: Final = ("urls", "files")
_SECOND: Final = 2


@dataclass(frozen=True, slots=True)
class Listed:
    """One answer to a list call."""

    rows: list[Any]
    cursor: str | None
    """Where the next page begins; None at the end, and where the server has no cursors."""
    total: int | None
    bare: bool
    """A plain array: nothing tells whether it is everything."""


def unwrap(body: Any) -> Any:
    """One thing, without `data`, without a sole name around it, its JSON:API attributes beside its id."""
    if isinstance(body, Mapping) and isinstance(body.get("data"), Mapping):
        body = body["data"]
    if isinstance(body, Mapping) and len(body) == 1:
        ((name, inner),) = body.items()
        body = inner if name in _SOLE and isinstance(inner, Mapping) else body
    return flat(body)


def flat(entry: Any) -> Any:
    """A JSON:API resource as a flat object; its own `type` only names the kind of resource."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("attributes"), Mapping):
        return entry
    own = {name: value for name, value in entry.items() if name not in {"attributes", "type"}}
    return {**entry["attributes"], **own}


def listed(answer: Answer) -> Listed:
    """The rows of a list with what leads to the next ones; `MalformedResponse` where there is no list."""
    body = answer.json()
    if isinstance(body, list):
        return Listed([flat(row) for row in body], None, None, bare=True)
    rows, around = _rows(body, _SECOND)
    if rows is None:
        raise MalformedResponse(
            f"a list was expected, not {_kind(body)}",
            system=answer.operation.system,
            operation=answer.operation.name,
            status=answer.status,
        )
    meta = _mapping(around.get("meta")) or _mapping(body.get("meta"))
    page = _mapping(meta.get("page"))
    cursor = _first(page, meta, around, "cursor") or _first(page, meta, around, "next_cursor")
    total = _first(around, meta, page, "total")
    bare = not meta and total is None and cursor is None
    return Listed(
        [flat(row) for row in rows],
        cursor if isinstance(cursor, str) else None,
        total if isinstance(total, int) and not isinstance(total, bool) else None,
        bare=bare,
    )


def _rows(body: Any, depth: int) -> tuple[list[Any] | None, Mapping[str, Any]]:
    """The list in an object, and the object that holds it."""
    if not isinstance(body, Mapping) or depth == 0:
        return None, {}
    for name in _LISTS:
        if isinstance(body.get(name), list):
            return body[name], body
    return _rows(body.get("data"), depth - 1)


def _first(*places_and_name: Any) -> Any:
    *places, name = places_and_name
    return next((place[name] for place in places if place.get(name) is not None), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _kind(body: Any) -> str:
    return "an object without one" if isinstance(body, Mapping) else type(body).__name__


def read_logs(answer: Answer) -> RunLogs:
    """A run's log as text, as JSON lines, or as addresses: the deployment decides (planasonix.md §3.3)."""
    text = answer.content.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return _of_entries([line for line in text.splitlines() if line.strip()], None)
    if isinstance(body, list):
        return _of_entries(body, None)
    if not isinstance(body, Mapping):
        return RunLogs(lines=[LogLine(message=str(body))] if body not in (None, "") else [])
    return _of_object(body)


def _of_object(body: Mapping[str, Any]) -> RunLogs:
    inner = flat(body["data"]) if isinstance(body.get("data"), Mapping) else body
    meta = _mapping(body.get("meta"))
    cursor = _first(_mapping(meta.get("page")), meta, inner, "cursor")
    cursor = cursor if isinstance(cursor, str) else None
    for name in (*_LINES, *_ADDRESSES):
        if isinstance(inner.get(name), list):
            return _of_entries(inner[name], cursor)
    for name in _TEXTS:
        if isinstance(inner.get(name), str):
            lines = [_line(line) for line in inner[name].splitlines() if line.strip()]
            return RunLogs(lines=lines, cursor=cursor)
    return _of_entries([inner] if inner else [], cursor)


def _of_entries(entries: list[Any], cursor: str | None) -> RunLogs:
    found = RunLogs(cursor=cursor)
    for entry in map(flat, entries):
        address = entry.get("url") if isinstance(entry, Mapping) else entry
        if isinstance(address, str) and address.startswith(("https://", "http://")) and " " not in address:
            found.urls.append(address)
        elif isinstance(entry, Mapping):
            found.lines.append(LogLine.model_validate(entry))
        else:
            found.lines += [_line(line) for line in str(entry).splitlines() if line.strip()]
    if found.cursor is None and found.lines:
        found.cursor = found.lines[-1].cursor
    return found


def _line(text: str) -> LogLine:
    """A line of text, or of JSON."""
    if text.lstrip().startswith("{"):
        try:
            return LogLine.model_validate(json.loads(text))
        except (ValueError, RecursionError):
            pass  # a line of text that begins with a brace
    return LogLine(message=text)
