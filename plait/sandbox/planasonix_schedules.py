"""Schedules of the Planasonix stand-in, which do start runs (planasonix.md §3.5)."""

from typing import Any, Final

from starlette.responses import Response

from plait.sandbox.planasonix_cron import Cron, zone_of
from plait.sandbox.planasonix_desk import Desk, belonging, owned
from plait.sandbox.planasonix_records import Pipeline, Schedule
from plait.sandbox.planasonix_store import Page, Shelf
from plait.sandbox.planasonix_voices import part_of
from plait.sandbox.planasonix_wire import Call, refused_field
from plait.sandbox.planasonix_work import next_time

_FREQUENCIES: Final = frozenset({"hourly", "daily", "weekly", "monthly", "custom"})
_BOOLEANS: Final = {"true": 1, "false": 0}
_LAST: Final = Page(limit=1)


class Schedules:
    """Schedules."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_all(self, call: Call) -> Response:
        """By last change, newest first [assumed]."""
        part = part_of(call, "schedule", self._desk.settings)
        where = belonging(call)
        if (pipeline := call.query("pipeline_id")) is not None:
            where = where.also("json_extract(data, '$.pipeline_id') = ?", pipeline)
        if (enabled := call.query("enabled")) is not None:
            if enabled.lower() not in _BOOLEANS:
                raise refused_field("enabled", "not true or false")
            where = where.also("json_extract(data, '$.enabled') = ?", _BOOLEANS[enabled.lower()])
        found, part = await self._desk.listed(call, "schedule", Schedule, where, part)

        def work(shelf: Shelf) -> list[dict[str, Any]]:
            return [self._shown(shelf, call, each) for each in found]

        return self._desk.answers.many(call, "schedule", await self._desk.transact(work), part)

    async def get(self, call: Call) -> Response:
        """One."""

        def work(shelf: Shelf) -> dict[str, Any]:
            return self._shown(shelf, call, _schedule_of(shelf, call))

        return self._desk.answers.one(call, "schedule", await self._desk.transact(work))

    async def create(self, call: Call) -> Response:
        """A new one; a pipeline may have several."""
        now = self._desk.now()
        pipeline_id = call.text("pipeline_id", required=True)
        expression = call.text("cron_expression", required=True)
        zone = call.text("timezone", required=call.voice == "docs") or "UTC"
        frequency = call.text("frequency", required=call.voice == "go") or "custom"
        enabled = call.value("enabled") if call.has("enabled") else True

        def work(shelf: Shelf) -> dict[str, Any]:
            made = Schedule(
                id=shelf.new_id(Schedule),
                organization=call.organization,
                at=now,
                created_at=now,
                pipeline_id=owned(shelf, call, Pipeline, str(pipeline_id)).id,
                cron_expression=str(expression),
                frequency=frequency,
                timezone=zone,
                enabled=_boolean(enabled),
            )
            _check(made)
            made.next_at = next_time(made, now)
            shelf.add(made)
            shelf.transaction.record(call.operation, entity_id=made.id, marker=made.pipeline_id)
            return self._shown(shelf, call, made)

        return self._desk.answers.one(call, "schedule", await self._desk.transact(work), 201)

    async def update(self, call: Call) -> Response:
        """What is left out stays [vendor sched], or is wiped like what is sent empty [vendor go]."""
        wiping = self._desk.settings.schedule_put == "wipe"

        def change(schedule: Schedule) -> None:
            for name in ("cron_expression", "frequency", "timezone"):
                if wiping:
                    setattr(schedule, name, call.text(name) or "")
                elif call.text(name) is not None:
                    setattr(schedule, name, call.text(name))
            if call.has("enabled"):
                schedule.enabled = _boolean(call.value("enabled"))
            if not wiping:
                _check(schedule)

        return await self._change(call, change)

    async def enable(self, call: Call) -> Response:
        """Resume."""
        return await self._change(call, lambda schedule: setattr(schedule, "enabled", True))

    async def disable(self, call: Call) -> Response:
        """Pause; what is queued or running goes on."""
        return await self._change(call, lambda schedule: setattr(schedule, "enabled", False))

    async def delete(self, call: Call) -> Response:
        """For good; runs in flight go on."""

        def work(shelf: Shelf) -> None:
            schedule = _schedule_of(shelf, call)
            shelf.delete(schedule)
            shelf.transaction.record(call.operation, entity_id=schedule.id, marker=schedule.id)

        await self._desk.transact(work)
        return Response(status_code=204)

    async def _change(self, call: Call, change: Any) -> Response:
        now = self._desk.now()

        def work(shelf: Shelf) -> dict[str, Any]:
            schedule = _schedule_of(shelf, call)
            change(schedule)
            schedule.at = now
            schedule.next_at = next_time(schedule, now)
            shelf.save(schedule)
            shelf.transaction.record(call.operation, entity_id=schedule.id, marker=schedule.id)
            return self._shown(shelf, call, schedule)

        return self._desk.answers.one(call, "schedule", await self._desk.transact(work))

    def _shown(self, shelf: Shelf, call: Call, schedule: Schedule) -> dict[str, Any]:
        showing = self._desk.showing(call.voice)
        if call.voice != "go":
            return showing.schedule(schedule, None, None)
        pipeline = shelf.item(Pipeline, schedule.pipeline_id)
        where = belonging(call).also("kind = ? AND parent = ?", "run", schedule.pipeline_id)
        last, _ = shelf.works(where.also("json_extract(data, '$.trigger') = ?", "schedule"), _LAST)
        return showing.schedule(schedule, pipeline.name if pipeline else None, next(iter(last), None))


def _schedule_of(shelf: Shelf, call: Call) -> Schedule:
    return owned(shelf, call, Schedule, call.parameter("schedule_id"))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refused_field("enabled", "not a boolean")
    return value


def _check(schedule: Schedule) -> None:
    """400 for an expression, a time zone or a frequency that is none."""
    try:
        Cron.parse(schedule.cron_expression)
    except ValueError as error:
        raise refused_field("cronExpression", str(error)) from None
    try:
        zone_of(schedule.timezone)
    except ValueError as error:
        raise refused_field("timezone", str(error)) from None
    if schedule.frequency not in _FREQUENCIES:
        raise refused_field("frequency", f"not one of {', '.join(sorted(_FREQUENCIES))}")
