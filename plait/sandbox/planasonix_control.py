"""The sandbox's own routes for Planasonix, under `/_sandbox/planasonix/`: fill it, and be somebody else."""

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from plait.http.errors import InvalidInput
from plait.sandbox.planasonix_desk import Desk
from plait.sandbox.planasonix_fixture import Fixture, Workload
from plait.sandbox.planasonix_records import Connection, Pipeline, Work
from plait.sandbox.planasonix_seeding import Seeded, plant
from plait.sandbox.planasonix_store import Shelf
from plait.sandbox.planasonix_work import Asked


class Foreign(BaseModel):
    """Work that somebody else started: a schedule, a person, another program."""

    model_config = ConfigDict(extra="forbid")

    parent: str
    """Id of the pipeline or the connection."""
    trigger: str = "schedule"
    asked: dict[str, Any] = Field(default_factory=dict)
    """As the request would have it: `variables`, `sync_type`, `metadata`, ..."""


class Started(BaseModel):
    """What was started."""

    id: str


class Change(BaseModel):
    """How the work of some pipelines and connections goes from now on."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str]
    workload: Workload


class Changed(BaseModel):
    """How many there were."""

    changed: int


class Summary(BaseModel):
    """How many there are."""

    items: dict[str, int]
    """By kind."""
    work: dict[str, dict[str, int]]
    """By kind and state."""


def planasonix_router(desk: Desk, seed: int) -> APIRouter:
    """The routes, to be mounted at `/_sandbox/planasonix`."""
    router = APIRouter()

    @router.post("/seed")
    async def fill(fixture: Fixture) -> Seeded:
        """Add what the fixture describes, all of it or nothing."""
        try:
            return await desk.transact(lambda shelf: plant(shelf, fixture, desk.settings, seed))
        except InvalidInput as error:
            raise HTTPException(422, error.message) from error

    @router.post("/runs")
    async def run(foreign: Foreign) -> Started:
        """A run that is not counted as an effect."""
        return Started(id=(await desk.transact(lambda shelf: _start(shelf, desk, "run", foreign))).id)

    @router.post("/jobs")
    async def job(foreign: Foreign) -> Started:
        """A sync job that is not counted as an effect."""
        return Started(id=(await desk.transact(lambda shelf: _start(shelf, desk, "job", foreign))).id)

    @router.post("/workload")
    async def change(wanted: Change) -> Changed:
        """Change how work goes; what has begun keeps its plan."""

        def work(shelf: Shelf) -> int:
            found = [shelf.item(Pipeline, each) or shelf.item(Connection, each) for each in wanted.ids]
            for item in found:
                if item is not None:
                    item.workload = wanted.workload
                    shelf.save(item)
            return sum(item is not None for item in found)

        return Changed(changed=await desk.transact(work))

    @router.get("/summary")
    async def summary() -> Summary:
        """Counts of everything."""
        return await desk.transact(lambda shelf: Summary(items=shelf.item_counts(), work=shelf.work_counts()))

    return router


def _start(shelf: Shelf, desk: Desk, kind: Literal["run", "job"], foreign: Foreign) -> Work:
    model: type[Pipeline | Connection] = Pipeline if kind == "run" else Connection
    parent = shelf.item(model, foreign.parent)
    if parent is None:
        raise HTTPException(404, f"there is no {model.kind} {foreign.parent!r}")
    asked = Asked(kind=kind, parent=parent, trigger=foreign.trigger, body=foreign.asked, at=desk.now())
    return desk.foreman.make(shelf, asked)
