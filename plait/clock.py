"""Elapsed time that goes on while the machine sleeps."""

import asyncio
import sys
import time
from typing import Protocol

_CLOCK_ID = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME


class Clock(Protocol):
    """A source of elapsed seconds and a way to wait; tests hand in a virtual one."""

    def now(self) -> float:
        """Seconds since an arbitrary moment, suspend included."""

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""


class BootClock:
    """The machine's own clock (effect-protocol.md §1): `CLOCK_BOOTTIME`, on macOS `CLOCK_MONOTONIC`."""

    def now(self) -> float:
        """Seconds since boot."""
        return time.clock_gettime(_CLOCK_ID)

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`, never negative."""
        await asyncio.sleep(max(0.0, seconds))
