"""Telling people how far a run is: a log line at once, a progress artifact at most once a second."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

FOR_PEOPLE: Final = {"for_people": True}
"""Marks log records that a terminal should show."""
INTERVAL: Final = 1.0
"""Seconds between two updates of one progress artifact."""


def say(message: str, level: int = logging.INFO) -> None:
    """Log to the run, and to the terminal where a command shows one."""
    try:
        logger = get_run_logger()
    except MissingContextError:
        logger = get_logger("plait")
    logger.log(level, message, extra=FOR_PEOPLE)


class Progress:
    """A progress artifact of the current run; set `done` as often as you like."""

    def __init__(self, total: int, *, description: str) -> None:
        self.done = 0
        self._total = max(total, 1)
        self._description = description
        self._artifact: UUID | None = None
        self._shown = 0

    @asynccontextmanager
    async def following(self) -> AsyncIterator["Progress"]:
        """Show `done` now, about once a second inside, and at the end."""
        await self._show()
        ticker = asyncio.create_task(self._tick())
        try:
            yield self
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker
            await self._show()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._show()

    async def _show(self) -> None:
        percent = 100.0 * min(self.done, self._total) / self._total
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, description=self._description)
        elif self._shown != self.done:
            await aupdate_progress_artifact(self._artifact, progress=percent)
        self._shown = self.done
