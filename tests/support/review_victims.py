"""Processes that take a Pletor run through its review, and are killed at a named point.

They are forked from one process that has imported everything, so that a victim costs no imports.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from review_world import CHANNEL, PATIENCE, World

from plait import failpoints
from plait.ledger.review_views import list_reviews
from plait.vendors.pletor.models import Run as PletorRun
from plait.vendors.pletor.models import RunInput
from tasks import effects_of
from tasks.pletor import list_agents
from tasks.pletor_runs import follow_run, start_run
from tasks.reviews import Asking, act_on_decisions, ask_reviews, wait_for_decision

ASKING = Asking(channel_id=CHANNEL, title="Sale", agent="Poster", expires_in=3600.0, max_rounds=3)

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["tasks.reviews", "tasks.pletor_runs", "plait.sandbox.server", "uvicorn"])
"""What this module imports from installed packages: the fork server does not know pytest's own path."""


async def decide_and_resolve(world: World) -> PletorRun:
    """The steps of `run_with_review` from its start to Pletor's end, as plain calls: no Prefect server."""
    where, who = (world.placet, world.pletor), "Reviewed poster"
    async with effects_of(world.ledger, run_key="run") as opened:
        agent = next(one for one in await list_agents.fn(world.pletor) if one.name == who)
        started = await start_run.fn(world.pletor, agent.id, [RunInput.text("title", "Spring sale")])
        handled: list[str] = []
        while True:
            run = await follow_run.fn(world.pletor, started.id, handled=handled)
            if run.ended:
                every = await opened.ledger.ask(partial(list_reviews, which="all"))
                await act_on_decisions.fn(*where, run.id, [view.id for view in every])
                return run
            ids = await ask_reviews.fn(*where, run.id, ASKING, handled=handled)
            await wait_for_decision.fn(*where, run.id, ids)
            acted = await act_on_decisions.fn(*where, run.id, ids)
            done = {one.review_id for one in acted if one.became == "brought"}
            handled += [
                review.id for review, asked in zip(run.due_reviews, ids, strict=True) if asked in done
            ]


def _run(url: str, folder: str, point: str | None, visit: int) -> None:
    """In the victim: note every point, or park at the given visit of one of them."""
    gc.freeze()  # its collector would copy what it shares
    logging.disable(logging.CRITICAL)
    here = Path(folder)
    if point is None:
        failpoints.hook = lambda name: _note(here / "points", name)
    else:
        failpoints.arm(point, folder=here, visit=visit)

    async def work() -> None:
        world = World(url, here)
        try:
            await decide_and_resolve(world)
        finally:
            await world.aclose()

    asyncio.run(work())


def _note(path: Path, name: str) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(f"{name}\n")


def _suspend(url: str, folder: str, flow_run_id: UUID) -> None:
    """In the victim: execute the run until Prefect has accepted its suspension, and die at that."""
    gc.freeze()
    logging.disable(logging.CRITICAL)
    from prefect import flow_runs  # noqa: PLC0415 - only this victim needs a Prefect server

    from flows.run_with_review import run_with_review  # noqa: PLC0415 - the same

    propose = flow_runs.propose_state

    async def propose_and_die(*given: Any, **named: Any) -> None:
        await propose(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    flow_runs.propose_state = propose_and_die

    async def work() -> None:
        world = World(url, Path(folder))
        async with get_client() as client:
            flow_run = await client.read_flow_run(flow_run_id)
        await run_flow(run_with_review, flow_run=flow_run, parameters=world.arguments(wait="suspend"))

    asyncio.run(work())


async def killed_while_suspending(world: World, flow_run_id: UUID) -> None:
    """Execute a run of `run_with_review` in a process that dies inside Prefect's suspension."""
    process = _forkserver.Process(target=_suspend, args=(world.url, str(world.folder), flow_run_id))
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join, PATIENCE)
    assert -signal.SIGKILL == process.exitcode
    process.close()


@asynccontextmanager
async def victim(url: str, folder: Path, point: str | None, visit: int = 0) -> AsyncIterator[BaseProcess]:
    """A running victim; killed when the block is left."""
    process = _forkserver.Process(target=_run, args=(url, str(folder), point, visit))
    await asyncio.to_thread(process.start)
    try:
        yield process
    finally:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.join, 30)
        process.close()


async def parked(folder: Path, process: BaseProcess, point: str) -> None:
    """Until the victim stands at its point. Raises where it ends without coming there."""
    flag = folder / f"{process.pid}.{point}"
    async with asyncio.timeout(PATIENCE):
        while not flag.exists():
            if not process.is_alive():
                raise AssertionError(f"the victim ended with {process.exitcode} before it came to {point}")
            await asyncio.sleep(0.02)
