"""A Planasonix stand-in on loopback with chosen switches, clients of each mount, and its own count."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sandbox_server import serving_sandbox

from plait.http import RetryPolicy
from plait.sandbox.planasonix_fixture import ConnectionGroup, Fixture, PipelineGroup
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.settings import SandboxSettings
from plait.vendors.planasonix.client import PlanasonixClient, connect
from plait.vendors.planasonix.waiting import Patience

KEY = "plnx_live_sandbox"
_CERTIFICATES = ssl.create_default_context()
"""Read once: a client of its own for each test would read them each time."""
QUICK = 0.05
"""Seconds of work, and of queueing, in tests."""
ROOTS = {
    "spec": ("/planasonix/v1", "/planasonix/v1"),
    "docs": ("/planasonix/docs/api", "/planasonix/docs/api/v1"),
    "versioned": ("/planasonix/docs/v1/api", "/planasonix/docs/v1/api/v1"),
    "air": ("/planasonix/air/api/v1", "/planasonix/air/api/v1"),
    "go": ("/planasonix/go/api", "/planasonix/go/api/v1"),
}
"""Where resources and where orchestration are found at each mount."""
DIALECTS = {"spec": "spec", "docs": "hosted", "versioned": "versioned", "air": "flat", "go": "bare"}
"""The client's preset for each mount."""
SOON = Patience(timeout=60, first=0.02, longest=0.1)
ONE_OF_EACH = Fixture(
    connections=(
        ConnectionGroup(name="good", rows=100),
        ConnectionGroup(name="bad", behaviour="fail"),
        ConnectionGroup(name="endless", behaviour="hang"),
        ConnectionGroup(name="paused", status="paused"),
        ConnectionGroup(name="target", category="destination"),
    ),
    pipelines=(
        PipelineGroup(name="good", tags=("nightly",), rows=100),
        PipelineGroup(name="bad", behaviour="fail"),
        PipelineGroup(name="endless", behaviour="hang"),
        PipelineGroup(name="shaky", behaviour="flaky", failures=2),
        PipelineGroup(name="resting", status="paused"),
        PipelineGroup(name="draft", status="draft"),
    ),
)


DEFAULTS = PlanasonixSettings(
    fixture=ONE_OF_EACH, work_seconds=QUICK, queue_seconds=QUICK, cancel_seconds=QUICK, limit=100_000
)
"""Quick, and without a rate limit that tests of other things would reach."""


class World:
    """One running stand-in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._before = 0
        """Effects up to this one are those of an earlier test."""
        self._http = httpx.AsyncClient(base_url=f"{url}/_sandbox", timeout=60, verify=_CERTIFICATES)

    async def start_over(self) -> None:
        """No faults, one of each behaviour and nothing else, and a count that begins at nothing."""
        await self.disarm()
        await self.control("POST", "seed", ONE_OF_EACH.model_dump(mode="json") | {"replace": True})
        rows = (await self._http.get("/effects")).json()["effects"]
        self._before = rows[-1]["seq"] if rows else 0

    async def aclose(self) -> None:
        """Close the control connection."""
        await self._http.aclose()

    def raw(self, key: str = KEY) -> httpx.AsyncClient:
        """Plain HTTP to the sandbox's root: no retries, no redirects."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, verify=_CERTIFICATES)

    def client(self, mount: str = "spec", key: str = KEY, **options: Any) -> PlanasonixClient:
        """A client of a mount, told its dialect; `options` go to `connect`."""
        chosen = {"dialect": DIALECTS[mount], "policy": RetryPolicy(base=0.05, cap=0.2), **options}
        return connect(f"{self.url}{ROOTS[mount][0]}", api_key=key, **chosen)

    async def ids(self, kind: str) -> dict[str, str]:
        """Id of each `pipelines` or `connections`, by name."""
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = await self._http.get(f"{self.url}{ROOTS['go'][0]}/{kind}", headers=headers)
        return {row["name"]: row["id"] for row in answer.json()}

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A control route of Planasonix: `seed`, `runs`, `jobs`, `workload`, `summary`."""
        answer = await self._http.request(method, f"/planasonix/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def fault(self, kind: str, operation: str, **more: Any) -> None:
        """The next request of this operation is struck once, if nothing else is said."""
        rule = {"kind": kind, "service": "planasonix", "operation": operation, "times": 1, **more}
        (await self._http.post("/faults", json=rule)).raise_for_status()

    async def disarm(self) -> None:
        """No more faults."""
        await self._http.delete("/faults")

    async def count(self, operation: str, marker: str | None = None) -> int:
        """Accepted effects of an operation; `marker` is the pipeline's or the connection's id."""
        return len(await self.effects(operation, marker))

    async def effects(self, operation: str, marker: str | None = None) -> list[dict[str, Any]]:
        """The rows of the far end's own count."""
        wanted = {"service": "planasonix", "operation": operation} | ({"marker": marker} if marker else {})
        found: list[dict[str, Any]] = (await self._http.get("/effects", params=wanted)).json()["effects"]
        return [row for row in found if row["seq"] > self._before]


async def until(question: Any, holds: Any) -> Any:
    """What `question` answers once `holds` is true of it."""
    async with asyncio.timeout(60):
        while not holds(found := await question()):
            await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def serving(folder: Path, *, seed: int = 0, **switches: Any) -> AsyncIterator[World]:
    """The whole sandbox in this process, with these switches of Planasonix."""
    quick = {"fixture": ONE_OF_EACH, "work_seconds": QUICK, "queue_seconds": QUICK, "cancel_seconds": QUICK}
    settings = SandboxSettings(
        state=folder / "state.db", seed=seed, planasonix=PlanasonixSettings(**(quick | switches))
    )
    async with serving_sandbox(settings) as url:
        world = World(url)
        try:
            yield world
        finally:
            await world.aclose()
