"""Sync jobs and backfills of connections at the Planasonix stand-in (planasonix.md §3.4)."""

from datetime import datetime
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from plait.sandbox.planasonix_desk import Desk, belonging, connection_of
from plait.sandbox.planasonix_records import Work
from plait.sandbox.planasonix_runs import in_state
from plait.sandbox.planasonix_store import Shelf
from plait.sandbox.planasonix_voices import part_of, plain, triggered
from plait.sandbox.planasonix_wire import Call, Refusal, missing, refused_field
from plait.sandbox.planasonix_work import Asked, key_of

_CHOICES: Final = {"sync_type": ("incremental", "full"), "priority": ("low", "normal", "high")}


class Jobs:
    """Triggering, listing, reading and cancelling jobs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def trigger(self, call: Call) -> Response:
        """A job, or the one that the key stands for (planasonix.md §6.1)."""
        asked = self._asked(call, texts=("pipeline_id",), lists=("streams",))
        key, now = self._key(call), self._desk.now()

        def work(shelf: Shelf) -> Work:
            connection = connection_of(shelf, call)
            if connection.status == "paused":
                raise Refusal(409, "conflict", "The connection is paused")
            scope = call.organization
            if self._desk.settings.key_scope == "connection":
                scope = f"{scope}/{connection.id}"
            return self._desk.foreman.sync(
                shelf,
                call.operation,
                Asked(kind="job", parent=connection, trigger="api", body=asked, at=now),
                key_of(scope, key, {**asked, "connection": connection.id}),
            )

        job = await self._desk.transact(work)
        shown = self._desk.showing(call.voice).job(job)
        if call.voice == "air":
            shown = {"id": shown["id"], "status": shown["status"]}
        body = self._desk.answers.body(call, "job", shown)
        return triggered(call, body, self._desk.settings)

    async def backfill(self, call: Call) -> Response:
        """A backfill; no key is known (planasonix.md §6)."""
        asked = self._asked(call, texts=("start_at", "end_at"), lists=("tables",))
        for name in ("start_at", "end_at"):
            _check_time(call.text(name, required=True) or "", name)
        now = self._desk.now()

        def work(shelf: Shelf) -> Work:
            parent = connection_of(shelf, call)
            made = self._desk.foreman.make(shelf, Asked(kind="backfill", parent=parent, body=asked, at=now))
            shelf.transaction.record(call.operation, entity_id=made.id, marker=parent.id)
            return made

        made = await self._desk.transact(work)
        shown = self._desk.showing(call.voice).backfill(made)
        return triggered(call, self._desk.answers.body(call, "backfill", shown), self._desk.settings)

    def _asked(self, call: Call, *, texts: tuple[str, ...], lists: tuple[str, ...]) -> dict[str, Any]:
        asked: dict[str, Any] = {name: call.text(name) for name in (*texts, *_CHOICES)}
        for name, choices in _CHOICES.items():
            if asked[name] is not None and asked[name] not in choices:
                raise refused_field(name, f"not one of {', '.join(choices)}")
        if asked["priority"] == "high" and self._desk.settings.tier != "enterprise":
            raise Refusal(403, "forbidden", "Priority high needs the Enterprise plan")
        asked |= {name: call.list(name) for name in lists}
        asked["metadata"] = call.object("metadata")
        return {name: value for name, value in asked.items() if value is not None}

    def _key(self, call: Call) -> str | None:
        place = self._desk.settings.key_place
        in_body = None if place == "header" else call.text("idempotency_key")
        in_header = None if place == "body" else call.request.headers.get("idempotency-key")
        return in_body or in_header

    async def list_all(self, call: Call) -> Response:
        """Newest first [inferred], by limit and offset."""
        part = part_of(call, "job", self._desk.settings)
        where = belonging(call).also("kind = ?", "job")
        if (connection := call.query("connection_id")) is not None:
            where = where.also("parent = ?", connection)
        where = in_state(call, where, self._desk.settings.words_of(call.voice).jobs.model_dump())
        found, part = await self._desk.listed_work(call, "job", where, part)
        showing = self._desk.showing(call.voice)
        return self._desk.answers.many(call, "job", [showing.job(each) for each in found], part)

    async def get(self, call: Call) -> Response:
        """The job as it stands."""
        job = await self._desk.transact(lambda shelf: _job_of(shelf, call))
        return self._desk.answers.one(call, "job", self._desk.showing(call.voice).job(job))

    async def results(self, call: Call) -> Response:
        """What it has done so far."""
        job = await self._desk.transact(lambda shelf: _job_of(shelf, call))
        return plain(call, self._desk.showing(call.voice).results(job))

    async def cancel(self, call: Call) -> Response:
        """A request to cancel; 409 or 400 for a finished job."""

        def work(shelf: Shelf) -> Work:
            return self._desk.foreman.cancel(shelf, call.operation, _job_of(shelf, call))

        job = await self._desk.transact(work)
        shown = self._desk.showing(call.voice).job(job)
        if call.voice == "air":
            return JSONResponse({"job_id": job.id, "status": shown["status"]})
        return self._desk.answers.one(call, "job", shown)


def _job_of(shelf: Shelf, call: Call) -> Work:
    job = shelf.work("job", call.parameter("job_id"))
    if job is None or job.organization != call.organization:
        raise missing("Job")
    return job


def _check_time(text: str, name: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise refused_field(name, "not a time") from None
