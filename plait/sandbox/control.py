"""The sandbox's own routes under `/_sandbox/`: what happened, what shall go wrong, what this is."""

import os
from collections import Counter
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ValidationError

from plait.http.errors import InvalidInput
from plait.sandbox.fault_rules import RULES, FaultRule
from plait.sandbox.faults import FaultPlane, Fired, RuleState
from plait.sandbox.labels import Index, routes
from plait.sandbox.services import SERVICES
from plait.sandbox.settings import SandboxSettings
from plait.sandbox.store import EffectRow, Store


class Health(BaseModel):
    """The sandbox accepts requests."""

    status: str = "ok"
    pid: int
    seed: int


class Effects(BaseModel):
    """Accepted effects: the judge of "exactly once"."""

    total: int
    by_operation: dict[str, int]
    effects: list[EffectRow]


class Faults(BaseModel):
    """The rules in force."""

    seed: int
    rules: list[RuleState]


class FaultLog(BaseModel):
    """The last thousand faults that fired; the whole log is the file beside the state."""

    seed: int
    fired: list[Fired]


class Dropped(BaseModel):
    """How many rules were dropped."""

    dropped: int


def read_rules(raw: Any) -> list[FaultRule]:
    """One rule or a list of rules.

    Raises:
        InvalidInput: says which field of which rule cannot be used.
    """
    try:
        return RULES.validate_python(raw if isinstance(raw, list) else [raw])
    except ValidationError as error:
        problems = "; ".join(_problem(each["loc"], each["msg"]) for each in error.errors())
        raise InvalidInput(f"the fault rules cannot be used: {problems}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    number, *inside = location or (0,)
    kind = f" ({inside[0]})" if inside else ""
    field = f", field {'.'.join(map(str, inside[1:]))!r}" if len(inside) > 1 else ""
    return f"rule {int(number) + 1}{kind}{field}: {message}"


def control_router(settings: SandboxSettings, store: Store, plane: FaultPlane) -> APIRouter:
    """The routes, to be mounted at `/_sandbox`."""
    router = APIRouter()
    router.include_router(_fault_router(settings.seed, plane), prefix="/faults")

    @router.get("")
    @router.get("/", include_in_schema=False)
    async def index() -> Index:
        """What this is and how sure each behaviour is."""
        services = {service.name: service.base_path for service in SERVICES}
        return Index(seed=settings.seed, services=services, routes=routes())

    @router.get("/health")
    async def health() -> Health:
        """Whether the sandbox accepts requests."""
        return Health(pid=os.getpid(), seed=settings.seed)

    @router.get("/effects")
    async def effects(
        service: str | None = None, operation: str | None = None, marker: str | None = None
    ) -> Effects:
        """Accepted effects in commit order, narrowed by what is given."""
        rows = await store.transact(
            lambda transaction: transaction.effects(service=service, operation=operation, marker=marker)
        )
        counts = Counter(f"{row.service}.{row.operation}" for row in rows)
        return Effects(total=len(rows), by_operation=dict(counts), effects=rows)

    return router


def _fault_router(seed: int, plane: FaultPlane) -> APIRouter:
    router = APIRouter()

    @router.post("")
    async def arm(request: Request) -> Faults:
        """Add one rule or a list of rules; all of them, or none when one cannot be used."""
        try:
            states = plane.arm(read_rules(await request.json()))
        except InvalidInput as error:
            raise HTTPException(422, error.message) from error
        except ValueError as error:
            raise HTTPException(422, f"the body is not JSON: {error}") from error
        return Faults(seed=seed, rules=states)

    @router.get("")
    async def faults() -> Faults:
        """The rules in force with their counts."""
        return Faults(seed=seed, rules=plane.states())

    @router.get("/log")
    async def fault_log() -> FaultLog:
        """What fired, oldest first."""
        return FaultLog(seed=seed, fired=plane.recent())

    @router.delete("")
    async def disarm_all() -> Dropped:
        """Drop every rule."""
        return Dropped(dropped=plane.disarm())

    @router.delete("/{rule_id}")
    async def disarm(rule_id: str) -> Dropped:
        """Drop one rule."""
        if not (dropped := plane.disarm(rule_id)):
            raise HTTPException(404, f"there is no fault rule {rule_id!r}")
        return Dropped(dropped=dropped)

    return router
