"""Runs of pipelines at the Planasonix stand-in (planasonix.md §3.3)."""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from starlette.responses import PlainTextResponse, Response

from plait.sandbox.planasonix_desk import Desk, belonging, pipeline_of
from plait.sandbox.planasonix_records import State, Work
from plait.sandbox.planasonix_shown import log_lines
from plait.sandbox.planasonix_store import Filter, Shelf
from plait.sandbox.planasonix_voices import part_of, plain, triggered
from plait.sandbox.planasonix_wire import Call, Refusal, missing, refused_field
from plait.sandbox.planasonix_work import Asked

_STATES: Final[tuple[State, ...]] = ("queued", "running", "succeeded", "failed", "cancelled")
_IDLE: Final = frozenset({"draft", "archived"})
_ONE_DAY: Final = timedelta(days=1)


class Runs:
    """Triggering, listing, reading and cancelling runs."""

    def __init__(self, desk: Desk, storage: str) -> None:
        self._desk = desk
        self._storage = storage
        """Path under which logs are fetched where they are given as an address."""

    async def trigger(self, call: Call) -> Response:
        """A new run each time: no source shows a guard (planasonix.md §6.1)."""
        values = call.object("parameters" if call.voice == "go" else "variables") or {}
        asked = {"variables": values, "environment_id": call.text("environment_id")}
        now = self._desk.now()

        def work(shelf: Shelf) -> Work:
            pipeline = pipeline_of(shelf, call)
            refusing = pipeline.status == "paused" and self._desk.settings.paused_pipeline == "409"
            if pipeline.status in _IDLE or refusing:
                raise Refusal(409, "conflict", f"The pipeline is {pipeline.status}")
            return self._desk.foreman.run(
                shelf, call.operation, Asked(kind="run", parent=pipeline, body=asked, at=now)
            )

        run = await self._desk.transact(work)
        shown = self._desk.showing(call.voice).run(run, whole=False)
        match call.voice:
            case "go":
                body: dict[str, Any] = {"success": True, "message": "Pipeline started", "runId": run.id}
            case "air":
                body = {"run_id": run.id, "status": shown["status"]}
            case "docs":
                body = {"data": {"runId": run.id, "pipelineId": run.parent, "status": shown["status"]}}
            case _:
                body = self._desk.answers.body(call, "run", shown)
        return triggered(call, body, self._desk.settings)

    async def list_all(self, call: Call) -> Response:
        """Of all pipelines, newest first [inferred]."""
        where = belonging(call).also("kind = ?", "run")
        if (pipeline := call.query("pipeline_id")) is not None:
            where = where.also("parent = ?", pipeline)
        return await self._list(call, where)

    async def list_of_pipeline(self, call: Call) -> Response:
        """Of one pipeline, newest first [inferred]."""

        def work(shelf: Shelf) -> str:
            return pipeline_of(shelf, call).id

        pipeline = await self._desk.transact(work)
        return await self._list(call, belonging(call).also("kind = ? AND parent = ?", "run", pipeline))

    async def _list(self, call: Call, where: Filter) -> Response:
        part = part_of(call, "run", self._desk.settings)
        showing = self._desk.showing(call.voice)
        where = in_state(call, where, showing.settings.words_of(call.voice).runs.model_dump())
        found, part = await self._desk.listed_work(call, "run", _within(call, where), part)
        wanted = self._desk.settings.list_metrics
        whole = call.voice != "docs" if wanted is None else wanted
        shown = [showing.run(each, whole=whole) for each in found]
        return self._desk.answers.many(call, "run", shown, part)

    async def get(self, call: Call) -> Response:
        """One, with metrics, and its error if it failed."""
        run = await self._desk.transact(lambda shelf: _run_of(shelf, call))
        return self._desk.answers.one(call, "run", self._desk.showing(call.voice).run(run))

    async def nodes(self, call: Call) -> Response:
        """The nodes of a run; a list without pages."""
        run = await self._desk.transact(lambda shelf: _run_of(shelf, call))
        shown = self._desk.showing(call.voice).nodes(run)
        return self._desk.answers.many(call, "node", shown, part_of(call, "node", self._desk.settings))

    async def logs(self, call: Call) -> Response:
        """Lines, text or an address, as the deployment has it [vendor runs]."""
        run = await self._desk.transact(lambda shelf: _run_of(shelf, call))
        lines = _after(log_lines(run), call)
        match self._desk.settings.logs:
            case "urls":
                base = f"{call.request.url.scheme}://{call.request.url.netloc}"
                return plain(call, {"urls": [f"{base}{self._storage}/{run.id}.log"]})
            case "text":
                return PlainTextResponse("".join(map(text_line, lines)))
            case _:
                content = "".join(f"{json.dumps(line)}\n" for line in lines)
                return Response(content, media_type="application/x-ndjson")

    async def cancel(self, call: Call) -> Response:
        """A request to cancel; 409 or 400 for a finished run."""

        def work(shelf: Shelf) -> Work:
            return self._desk.foreman.cancel(shelf, call.operation, _run_of(shelf, call))

        run = await self._desk.transact(work)
        shown = self._desk.showing(call.voice).run(run, whole=False)
        return self._desk.answers.one(call, "run", shown, 202)


def _run_of(shelf: Shelf, call: Call) -> Work:
    run = shelf.work("run", call.parameter("run_id"))
    if run is None or run.organization != call.organization:
        raise missing("Run")
    return run


def in_state(call: Call, where: Filter, words: dict[str, str]) -> Filter:
    """By the status words of the voice; several states may share one."""
    wanted = call.query("status")
    if wanted is None:
        return where
    states = [state for state in _STATES if words[state] == wanted]
    if not states:
        raise refused_field("status", f"not one of {', '.join(dict.fromkeys(words.values()))}")
    return where.also(f"state IN ({', '.join('?' * len(states))})", *states)


def _within(call: Call, where: Filter) -> Filter:
    """By `from` and `to`, or by `dateRange`; a date without a time is all of its day, in UTC [inferred]."""
    first, last = call.query("from"), call.query("to")
    if (span := call.query("date_range")) is not None:
        first, dots, last = span.partition("..")
        if not dots:
            raise refused_field("dateRange", "not two dates with .. between them")
    if first:
        where = where.also("at >= ?", _instant(first, "from", end=False))
    if last:
        where = where.also("at <= ?", _instant(last, "to", end=True))
    return where


def _instant(text: str, name: str, *, end: bool) -> float:
    try:
        if len(text) == len("2025-03-01"):
            day = date.fromisoformat(text) + (_ONE_DAY if end else timedelta())
            return datetime.combine(day, time(), UTC).timestamp() - (0.001 if end else 0.0)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise refused_field(name, "not a date or time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _after(lines: list[dict[str, Any]], call: Call) -> list[dict[str, Any]]:
    """Lines of the node that is asked for, behind the time or the cursor that is."""
    if (node := call.query("node_id")) is not None:
        lines = [line for line in lines if line["node_id"] == node]
    since = call.query("since")
    if since is None:
        return lines
    for position, line in enumerate(lines):
        if line["cursor"] == since:
            return lines[position + 1 :]
    after = _instant(since, "since", end=False)
    return [line for line in lines if datetime.fromisoformat(line["timestamp"]).timestamp() >= after]


def text_line(line: dict[str, Any]) -> str:
    """A line of a log as text."""
    return f"{line['timestamp']} {line['level'].upper()} {line['message']}\n"
