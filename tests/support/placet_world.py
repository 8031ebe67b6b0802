"""A Placet stand-in on loopback, its clients, the people who answer, and its own counts."""

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from sandbox_server import serving_sandbox

from plait.clock import BootClock
from plait.http import RetryPolicy, Transport
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.settings import SandboxSettings
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.models import Message, MessageContent

CHANNEL = "cmsandboxreviews000000000"
ESCALATION = "cmsandboxescalation000000"
FOREIGN = "cmsandboxother00000000000"
QUICK = PlacetSettings(throttle=False, wait_step=0.05, local_webhooks=True)


def picture(red: int, green: int, blue: int, size: int = 64) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + bytes((red, green, blue)) * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PNG = picture(240, 140, 80)


class World:
    """One running stand-in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.base_url = f"{url}/placet"
        page = {"X-Reviewer": "page"}
        self.people = httpx.AsyncClient(base_url=f"{url}/placet/reviewer", headers=page, timeout=60)
        self._control = httpx.AsyncClient(base_url=f"{url}/_sandbox", timeout=60)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.people.aclose()
        await self._control.aclose()

    def client(self, key: str = "hp_sandbox", **options: Any) -> PlacetClient:
        """A client with this key; `options` go to the transport."""
        transport = Transport(
            system="placet",
            base_url=self.base_url,
            headers={"x-api-key": key},
            policy=options.pop("policy", None) or RetryPolicy(base=0.05, cap=0.2),
            **options,
        )
        return PlacetClient(transport)

    def raw(self, key: str | None = "hp_sandbox") -> httpx.AsyncClient:
        """Plain HTTP: no retries, no redirects."""
        headers = {} if key is None else {"x-api-key": key}
        return httpx.AsyncClient(base_url=f"{self.base_url}/api/v1", headers=headers, timeout=60)

    async def answer(self, message: Message, response: dict[str, Any], **beside: Any) -> int:
        """A person answers; gives the status."""
        body = {"response": response, **beside}
        return (await self.people.post(f"/messages/{message.id}/respond", json=body)).status_code

    async def fault(self, kind: str, operation: str, **more: Any) -> None:
        """The next request of this operation is struck once, if nothing else is said."""
        rule = {"kind": kind, "service": "placet", "operation": operation, "times": 1, **more}
        (await self._control.post("/faults", json=rule)).raise_for_status()

    async def disarm(self) -> None:
        """No more faults."""
        await self._control.delete("/faults")

    async def count(self, operation: str, key: str | None = None) -> int:
        """Accepted effects of an operation, of those under this key of ours, or on this thing."""
        query = {"service": "placet", "operation": operation}
        found = (await self._control.get("/effects", params=query)).json()["effects"]
        return sum(key in {None, row["external_key"], row["entity_id"]} for row in found)


class FastClock:
    """The machine's clock, so many times as fast."""

    def __init__(self, speed: float) -> None:
        self._clock = BootClock()
        self._speed = speed

    def now(self) -> float:
        """Seconds of this clock."""
        return self._clock.now() * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""
        await self._clock.sleep(seconds / self._speed)


async def ask(client: PlacetClient, review: Any, text: str = "What now?", **more: Any) -> Message:
    """Post a review."""
    return await client.post_message(CHANNEL, MessageContent(text=text, review=review, **more))


@asynccontextmanager
async def serving(folder: Path, settings: PlacetSettings = QUICK) -> AsyncIterator[World]:
    """The whole sandbox in this process, with these switches of Placet."""
    async with serving_sandbox(SandboxSettings(state=folder / "state.db", seed=7, placet=settings)) as url:
        world = World(url)
        try:
            yield world
        finally:
            await world.aclose()
