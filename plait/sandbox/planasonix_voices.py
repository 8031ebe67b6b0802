"""The forms in which the mounts of the Planasonix stand-in answer (planasonix.md §2.3, §8)."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from starlette.responses import JSONResponse, Response

from plait.sandbox.planasonix_settings import PlanasonixSettings, Voice
from plait.sandbox.planasonix_store import Page
from plait.sandbox.planasonix_wire import Call, camel, refused_field

Thing: TypeAlias = Literal["connection", "pipeline", "run", "node", "job", "backfill", "schedule", "webhook"]

_TYPES: Final = {"job": "connection_sync"}
"""The word in `type` of JSON:API where it is not the thing's own name."""
_IDS: Final = {"job": "job_id", "backfill": "backfill_id"}
"""The id's name on the Airflow mount [vendor airflow]; of backfills it is [assumed]."""
_ID_NAMES: Final = frozenset({"id", "job_id", "backfill_id", "run_id", "runId"})
_NESTED: Final = frozenset({"metrics", "progress", "summary", "error"})
_DEFAULT: Final = 50
_JOBS: Final = 20
_HISTORY: Final = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list was asked for, and what is to be said of the rest."""

    page: Page
    cursor: str | None
    """As the request had it."""
    limit: int
    next: tuple[float, int] | None = None
    total: int | None = None

    def continued(self, after: tuple[float, int] | None, total: int | None) -> "Part":
        """The same, with what the list said."""
        return replace(self, next=after, total=total)


def part_of(call: Call, thing: Thing, settings: PlanasonixSettings) -> Part:
    """The limit, cursor and offset of a request (planasonix.md §2.4)."""
    limit = _number(call, "limit", {"job": _JOBS, "run": _HISTORY}.get(thing) if call.voice == "go" else None)
    limit = limit if limit is not None else _JOBS if thing == "job" else _DEFAULT
    limit = min(limit, settings.max_limit)
    everything = call.voice == "go" and thing not in {"run", "job"}
    cursor = call.query("cursor")
    page = Page(
        limit=None if everything else limit,
        after=None if cursor is None else _read_cursor(cursor),
        offset=_number(call, "offset", 0, least=0) or 0,
    )
    return Part(page=page, cursor=cursor, limit=limit)


def _number(call: Call, name: str, default: int | None, least: int = 1) -> int | None:
    text = call.query(name)
    if text is None:
        return default
    if not text.isdecimal() or int(text) < least:
        raise refused_field(name, f"not a number from {least}")
    return int(text)


def _read_cursor(text: str) -> tuple[float, int]:
    try:
        at, seq = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        return float(at), int(seq)
    except (ValueError, TypeError):
        raise refused_field("cursor", "unknown") from None


def _write_cursor(place: tuple[float, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


class Answers:
    """Puts what is shown into the form of the call's voice."""

    def __init__(self, settings: PlanasonixSettings) -> None:
        self._settings = settings

    def one(self, call: Call, thing: Thing, shown: dict[str, Any], status: int = 200) -> Response:
        """One thing."""
        return JSONResponse(self.body(call, thing, shown), status)

    @staticmethod
    def body(call: Call, thing: Thing, shown: dict[str, Any]) -> dict[str, Any]:
        """The JSON of one thing."""
        entry = _entry(call.voice, thing, shown)
        if call.voice in {"air", "go"}:
            return entry
        if call.voice == "docs" and thing in {"job", "backfill"}:
            return {"data": {thing: entry}}
        return {"data": entry}

    def many(self, call: Call, thing: Thing, shown: Sequence[dict[str, Any]], part: Part) -> Response:
        """A part of a list."""
        entries = [_entry(call.voice, thing, each) for each in shown]
        match call.voice:
            case "go":
                return JSONResponse({"data": entries} if thing == "schedule" else entries)
            case "air":
                total = len(entries) if part.total is None else part.total
                return JSONResponse({f"{thing}s": entries, "total": total})
            case _:
                return JSONResponse({"data": entries, "meta": self._meta(call.voice, thing, part)})

    def _meta(self, voice: Voice, thing: Thing, part: Part) -> dict[str, Any]:
        counted = {} if part.total is None else {"total": part.total}
        if voice == "docs" and thing in {"job", "node", "webhook"}:
            return counted
        cursor = self._next_cursor(part)
        ended = cursor is None and self._settings.cursor_end == "absent"
        shown = {} if ended else {"cursor": cursor}
        paged = voice == "spec" or thing == "schedule"
        if self._settings.cursor_place == "page" or (self._settings.cursor_place is None and paged):
            return {**counted, "page": {"limit": part.limit, **shown}}
        return {**counted, **shown}

    def _next_cursor(self, part: Part) -> str | None:
        if part.next is not None:
            return _write_cursor(part.next)
        return part.cursor if self._settings.cursor_repeats else None

    def counts(self, voice: Voice, thing: Thing) -> bool:
        """Whether the voice says how many there are in all."""
        return voice == "air" or (voice == "docs" and thing in {"connection", "pipeline", "job"})


def plain(call: Call, shown: Mapping[str, Any], status: int = 200) -> Response:
    """An object that is no thing of its own, in an envelope where the voice has one."""
    entry = _camel(dict(shown)) if call.voice == "go" else dict(shown)
    return JSONResponse(entry if call.voice in {"air", "go"} else {"data": entry}, status)


def triggered(call: Call, body: dict[str, Any], settings: PlanasonixSettings) -> Response:
    """The 2xx of a trigger, or one that hides what it made (planasonix.md §7.2 no. 4 and 17)."""
    usual = {"air": 201, "go": 200}.get(call.voice, 202)
    status = usual if settings.trigger_status is None else settings.trigger_status
    match settings.trigger_answer:
        case "no_id":
            body = _with_ids(body, None)
        case "empty_id":
            body = _with_ids(body, "")
        case "success_false":
            body = {"success": False, "message": "The request could not be completed"}
    return JSONResponse(body, status)


def _with_ids(body: dict[str, Any], value: str | None) -> dict[str, Any]:
    """The same without its ids, or with other ones."""
    changed: dict[str, Any] = {}
    for name, old in body.items():
        if name in _ID_NAMES:
            if value is not None:
                changed[name] = value
        else:
            changed[name] = _with_ids(old, value) if isinstance(old, dict) else old
    return changed


def _entry(voice: Voice, thing: Thing, shown: dict[str, Any]) -> dict[str, Any]:
    if voice == "spec" or (voice == "docs" and thing == "schedule"):
        attributes = {name: value for name, value in shown.items() if name not in {"id", "type"}}
        if thing in {"connection", "node"}:
            attributes["type"] = shown["type"]
        return {"id": shown["id"], "type": _TYPES.get(thing, thing), "attributes": attributes}
    if voice == "air":
        name = _IDS.get(thing, "id")
        return {name: shown["id"], **{key: value for key, value in shown.items() if key != "id"}}
    if voice == "docs" and thing in {"job", "backfill", "webhook"}:
        return shown
    return _camel(shown)


def _camel(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        camel(name): _camel(value) if name in _NESTED and isinstance(value, dict) else value
        for name, value in shown.items()
    }
