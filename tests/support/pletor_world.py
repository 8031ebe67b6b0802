"""A Pletor stand-in on loopback with chosen switches, its clients, and its own count of effects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sandbox_server import serving_sandbox

from plait.http import RetryPolicy, Transport
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.settings import SandboxSettings
from plait.vendors.pletor.client import DIALECT, PletorClient, authorization
from plait.vendors.pletor.models import Run, RunInput

BASE = "/pletor/api/public/v1"
TITLE = RunInput.text("title", "Spring sale")
QUICK = 0.05


class World:
    """One running stand-in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=f"{url}/_sandbox", timeout=60)

    async def aclose(self) -> None:
        """Close the control connection."""
        await self._http.aclose()

    def client(self, key: str = "sk-sandbox", **options: Any) -> PletorClient:
        """A client with this key; `options` go to the transport or, where they are its own, to the client."""
        own = {name: options.pop(name) for name in ("send_review_keys", "organization") if name in options}
        transport = Transport(
            system="pletor",
            base_url=f"{self.url}{BASE}",
            headers=options.pop("headers", None) or authorization(api_key=key),
            dialect=DIALECT,
            policy=options.pop("policy", None) or RetryPolicy(base=0.05, cap=0.2),
            **options,
        )
        return PletorClient(transport, **own)

    def raw(self, key: str = "sk-sandbox") -> httpx.AsyncClient:
        """Plain HTTP: no retries, no redirects."""
        return httpx.AsyncClient(base_url=f"{self.url}{BASE}", headers={"X-Api-Key": key}, timeout=60)

    async def fault(self, kind: str, operation: str, **more: Any) -> None:
        """The next request of this operation is struck once, if nothing else is said."""
        rule = {"kind": kind, "service": "pletor", "operation": operation, "times": 1, **more}
        (await self._http.post("/faults", json=rule)).raise_for_status()

    async def disarm(self) -> None:
        """No more faults."""
        await self._http.delete("/faults")

    async def count(self, operation: str, external_key: str | None = None) -> int:
        """Accepted effects of an operation."""
        return len(await self.effects(operation, external_key))

    async def effects(self, operation: str, external_key: str | None = None) -> list[dict[str, Any]]:
        """The rows of the far end's own count."""
        found = (await self._http.get("/effects", params={"operation": operation})).json()["effects"]
        return [row for row in found if external_key in {None, row["external_key"]}]


async def ended(client: PletorClient, run_id: str) -> Run:
    """The run once it has ended."""
    return await _until(client, run_id, lambda run: run.ended)


async def asking(client: PletorClient, run_id: str, count: int = 1) -> Run:
    """The run once it shows so many reviews."""
    return await _until(client, run_id, lambda run: len(run.due_reviews) == count)


async def _until(client: PletorClient, run_id: str, holds: Any) -> Run:
    async with asyncio.timeout(60):
        while not holds(run := await client.get_run(run_id)):
            await asyncio.sleep(0.02)
    return run


@asynccontextmanager
async def serving(folder: Path, **switches: Any) -> AsyncIterator[World]:
    """The whole sandbox in this process, with these switches of Pletor."""
    settings = SandboxSettings(
        state=folder / "state.db", pletor=PletorSettings(**({"work_seconds": QUICK} | switches))
    )
    async with serving_sandbox(settings) as url:
        world = World(url)
        try:
            yield world
        finally:
            await world.aclose()
