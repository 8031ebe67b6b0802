"""Fills a Planasonix stand-in from a fixture; the same seed makes the same world (planasonix.md §8)."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, Final

from pydantic import BaseModel

from plait.http.errors import InvalidInput
from plait.sandbox.planasonix_fixture import Fixture, History, Workload
from plait.sandbox.planasonix_records import Connection, Item, Pipeline, Work
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.planasonix_store import Shelf, made_id, work_row
from plait.sandbox.planasonix_work import failure_of, usual_rows

_BEGINS: Final = time_of_day(2, 0)
_SPREAD: Final = 3 * 3600
"""Seconds after the beginning of a night within which pipelines start."""
_APART: Final = 600
"""Seconds between two runs of one pipeline in one night."""
_QUEUED: Final = 1.0
_DRIFT: Final = 0.01
"""How much longer a pipeline takes each night, at most."""


class Named(BaseModel):
    """Something that was made."""

    id: str
    name: str


class Seeded(BaseModel):
    """What a fixture brought."""

    pipelines: list[Named]
    connections: list[Named]
    runs: int


@dataclass(frozen=True, slots=True)
class _Habit:
    """How the past runs of a pipeline went, more or less."""

    pipeline: Pipeline
    offset: float
    seconds: float
    drift: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """Which run of a pipeline it was."""

    day: date
    night: int
    number: int
    """Of that night, from 0."""


def plant(shelf: Shelf, fixture: Fixture, settings: PlanasonixSettings, seed: int) -> Seeded:
    """Store what the fixture describes.

    Raises:
        InvalidInput: two pipelines, or two connections, of a name; nothing is stored then.
    """
    if fixture.replace:
        shelf.forget(fixture.organization)
    now = time.time()
    connections = list(_connections(fixture, seed, now))
    pipelines = list(_pipelines(fixture, connections, seed, now))
    for kind in (connections, pipelines):
        _check_names(shelf, kind)
    shelf.insert_items(_item_rows([*connections, *pipelines]))
    runs = 0
    if fixture.history is not None and pipelines:
        runs = fixture.history.runs or len(pipelines) * fixture.history.nights
        shelf.insert_work(_history(pipelines, fixture.history, settings, seed))
    return Seeded(
        pipelines=[Named(id=each.id, name=each.name) for each in pipelines],
        connections=[Named(id=each.id, name=each.name) for each in connections],
        runs=runs,
    )


def _connections(fixture: Fixture, seed: int, now: float) -> Iterator[Connection]:
    for group in fixture.connections:
        for name in group.names():
            yield Connection(
                id=made_id(Connection, seed, fixture.organization, name),
                organization=fixture.organization,
                at=now,
                created_at=now,
                name=name,
                type=group.type,
                category=group.category,
                status=group.status,
                config={"host": f"{name.replace('_', '-')}.example.com", "password": "not-a-secret"},
                workload=_load(group),
            )


def _pipelines(fixture: Fixture, connections: list[Connection], seed: int, now: float) -> Iterator[Pipeline]:
    ends = {
        kind: [each.id for each in connections if each.category == kind] for kind in ("source", "destination")
    }
    number = 0
    for group in fixture.pipelines:
        for name in group.names():
            nodes = [
                {"id": kind, "type": kind, "connectionId": ids[number % len(ids)]}
                for kind, ids in ends.items()
                if ids
            ]
            number += 1
            yield Pipeline(
                id=made_id(Pipeline, seed, fixture.organization, name),
                organization=fixture.organization,
                at=now,
                created_at=now,
                name=name,
                project_id=group.project,
                status=group.status,
                tags=list(group.tags),
                nodes=nodes,
                edges=[{"source": "source", "target": "destination"}] if len(nodes) == len(ends) else [],
                workload=_load(group),
            )


def _load(group: Workload) -> Workload:
    return Workload(
        behaviour=group.behaviour, failures=group.failures, seconds=group.seconds, rows=group.rows
    )


def _check_names(shelf: Shelf, made: list[Any]) -> None:
    seen: set[str] = set()
    for each in made:
        if each.name in seen or shelf.item(type(each), each.id) is not None:
            raise InvalidInput(
                f"there is a {each.kind} {each.name!r} already; give the group another `name`, with {{n}} in "
                "it when it has several, or `replace` what is there"
            )
        seen.add(each.name)


def _item_rows(items: list[Item]) -> Iterator[tuple[Any, ...]]:
    # A thousandth apart, so that a list by last change has an order of its own.
    for number, item in enumerate(items):
        item.at -= (len(items) - number) / 1000
        yield item.id, item.kind, item.organization, item.at, item.due_at, item.model_dump_json()


def _history(
    pipelines: list[Pipeline], history: History, settings: PlanasonixSettings, seed: int
) -> Iterator[tuple[Any, ...]]:
    """Night by night, oldest first."""
    habits = [_habit(pipeline, history, settings, seed) for pipeline in pipelines]
    total = history.runs or len(pipelines) * history.nights
    last = (datetime.now(UTC).date() - timedelta(days=1)) if history.until is None else history.until.date()
    for night in range(history.nights):
        day = last - timedelta(days=history.nights - 1 - night)
        count = total * (night + 1) // history.nights - total * night // history.nights
        for number in range(count):
            turn, position = divmod(number, len(habits))
            yield work_row(_past_run(habits[position], history, _Turn(day, night, turn), seed), 0.0)


def _habit(pipeline: Pipeline, history: History, settings: PlanasonixSettings, seed: int) -> _Habit:
    draw = random.Random(f"{seed}:{pipeline.id}")  # noqa: S311 - the same seed makes the same past
    own = pipeline.workload.seconds
    usual = settings.work_seconds if own is None else own
    seconds = usual if history.seconds is None else draw.uniform(*history.seconds)
    return _Habit(pipeline, draw.uniform(0, _SPREAD), seconds, draw.uniform(-_DRIFT, _DRIFT))


def _past_run(habit: _Habit, history: History, turn: _Turn, seed: int) -> Work:
    pipeline = habit.pipeline
    draw = random.Random(f"{seed}:{pipeline.id}:{turn.day}:{turn.number}")  # noqa: S311 - as above
    created = datetime.combine(turn.day, _BEGINS, UTC).timestamp() + habit.offset + turn.number * _APART
    seconds = round(habit.seconds * (1 + habit.drift * turn.night) * draw.uniform(0.85, 1.15), 3)
    fails = draw.random() < history.failing
    return Work(
        id=made_id("run", seed, pipeline.id, turn.day, turn.number),
        organization=pipeline.organization,
        at=created,
        kind="run",
        parent=pipeline.id,
        trigger="schedule",
        asked={},
        state="failed" if fails else "succeeded",
        outcome="failed" if fails else "succeeded",
        starts_at=created + _QUEUED,
        seconds=seconds,
        started_at=created + _QUEUED,
        finished_at=created + _QUEUED + seconds,
        rows=usual_rows(pipeline.workload, draw),
        failure=failure_of(draw) if fails else None,
    )
