"""Forking runners, waiting until they park, striking them, and leaving none behind."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

from benchmarks.chaos.job import LIMIT, Job, Report
from benchmarks.chaos.runner import run

_POLL: Final = 0.006


@dataclass(slots=True)
class Runner:
    """One runner process, seen from outside."""

    job: Job
    process: ForkServerProcess
    struck: str = ""
    """What was done to it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None  # noqa: S101 - for mypy: it was started
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended (it may be stopped)."""
        return self.process.exitcode is None

    @property
    def flag(self) -> Path | None:
        """The mark of its armed point, while it stands there."""
        return next(self.job.flags.glob(f"{self.pid}.*"), None) if self.job.point else None

    @property
    def report(self) -> Report | None:
        """What it said at its end; None for one that did not get that far."""
        with suppress(FileNotFoundError):
            return Report.model_validate_json(self.job.report.read_text())
        return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def release(self) -> None:
        """Let it go on from its point."""
        if (flag := self.flag) is not None:
            flag.unlink(missing_ok=True)

    async def ended(self, seconds: float = LIMIT + 5.0) -> bool:
        """Wait for its end; False when it lives longer."""
        return await until(lambda: not self.alive, seconds)

    async def parked(self, seconds: float = LIMIT) -> bool:
        """Wait until it stands at its point, or has ended without visiting it."""
        await until(lambda: self.flag is not None or not self.alive, seconds)
        return self.flag is not None

    def end(self) -> None:
        """SIGKILL, whatever it is doing."""
        self.signal(signal.SIGKILL)
        self.process.join(5.0)


class Nursery:
    """Starts runners of one run, all forked from one preloaded process."""

    def __init__(self, preload: list[str]) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(preload)
        self._all: list[Runner] = []

    async def start(self, job: Job) -> Runner:
        """A new runner at work."""
        job.flags.mkdir(exist_ok=True)
        process = self._context.Process(target=run, args=(job,), daemon=True)
        await asyncio.to_thread(process.start)
        runner = Runner(job, process)
        self._all = [each for each in self._all if each.alive]
        self._all.append(runner)
        return runner

    def end(self) -> None:
        """Kill whatever still lives."""
        for runner in self._all:
            runner.end()


async def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Poll for something that another process brings about."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(_POLL)
    return True
