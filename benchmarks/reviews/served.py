"""Served runs that wait suspended: no process for any of them, and each goes on with its own answer."""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from benchmarks.reviews.figures import (
    RESUMER,
    Figures,
    busiest,
    flow_run_processes,
    peak_memory,
    processes_called,
)
from benchmarks.reviews.people import accepted, answer_all, pletor_run
from deployments.local import process_group
from plait.ledger import Ledger
from plait.ledger.review_views import ReviewView, find_reviews, list_reviews
from plait.sandbox.process import start_sandbox

SERVE = """
import sys
from flows.run_with_review import run_with_review
run_with_review.serve(name=sys.argv[1], limit=int(sys.argv[2]), print_starting_message=False)
"""
CHUNK = 200


async def measure(
    runs: int, folder: Path, *, poll: int, at_once: int, window: float, patience: float
) -> Figures:
    """Start the runs, let them suspend, answer all, and judge at the far end."""
    figures = Figures(f"served deployment, runner poll {poll} s", runs)
    with start_sandbox(state=folder / "served.db") as sandbox:
        environment = _environment(sandbox.url, folder, poll)
        name = f"bench-{secrets.token_hex(4)}"
        serve = [sys.executable, "-c", SERVE, name, str(at_once)]
        with process_group(serve, env=environment, log=folder / "serve.log"):
            async with get_client() as client:
                ids = await _start(client, name, runs, folder)
                began = time.monotonic()
                await _until(client, ids, {StateType.PAUSED}, patience)
                figures.facts["suspending all"] = f"{time.monotonic() - began:.0f} s"
                await asyncio.sleep(2)
                figures.processes = flow_run_processes(map(str, ids))
                with _resumer(environment, folder, window) as (pid, log):
                    await asyncio.sleep(min(window, 15))
                    views = await _views(folder)
                    answered = await answer_all(
                        sandbox.url,
                        [(view.messages[0].message_id or "", _own_answer(view.run_key)) for view in views],
                    )
                    took = max(answered.values()) - min(answered.values())
                    figures.facts["answering all"] = f"{took:.1f} s"
                    await _until(client, ids, {StateType.COMPLETED}, patience)
                    await asyncio.sleep(window)
                    figures.resumers, figures.peak = processes_called(RESUMER, str(log)), peak_memory(pid)
                    windows = [json.loads(line) for line in log.read_text().splitlines()]
                await _judge(figures, client, sandbox.url, folder, answered)
                figures.calls = busiest(
                    {route: 60 * count / one["seconds"] for route, count in one["calls"].items()}
                    for one in windows
                )
                figures.facts["resumptions"] = (
                    f"{sum(one['resumed'] for one in windows)} accepted, "
                    f"{sum(one['refused'] for one in windows)} refused and repeated"
                )
                figures.facts["could not be looked at"] = "; ".join(
                    sorted({trouble for one in windows for trouble in one["troubles"]})
                )
    return figures


def _environment(url: str, folder: Path, poll: int) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_RUNNER_POLL_FREQUENCY": str(poll),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PLAIT_PLACET_URL": f"{url}/placet",
        "PLAIT_PLACET_API_KEY": "hp_sandbox",
        "PLAIT_PLETOR_URL": f"{url}/pletor/api/public/v1",
        "PLAIT_PLETOR_API_KEY": "sk-sandbox",
        "PLAIT_LEDGER_URL": str(folder / "served-ledger.db"),
    }


async def _start(client: PrefectClient, name: str, runs: int, folder: Path) -> list[UUID]:
    deployment = None
    async with asyncio.timeout(120):
        while deployment is None:
            try:
                deployment = await client.read_deployment_by_name(f"run-with-review/{name}")
            except ObjectNotFound:
                await asyncio.sleep(0.5)
    ids = []
    for n in range(runs):
        key = f"{name}-{n}"
        parameters = {
            "channel": "Reviews",
            "agent": "Reviewed poster",
            "texts": {"title": f"Poster {n}"},
            "wait": "suspend",
            "run_key": key,
            "folder": str(folder / "out" / key),
        }
        made = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        ids.append(made.id)
    return ids


async def _until(client: PrefectClient, ids: list[UUID], wanted: set[StateType], patience: float) -> None:
    """Until every run is in one of these states; raises where one ends otherwise, or after `patience`."""
    async with asyncio.timeout(patience):
        while True:
            found = await _runs(client, ids)
            bad = [
                run for run in found if run.state and run.state.is_final() and run.state.type not in wanted
            ]
            if bad:
                raise RuntimeError(f"{bad[0].name} is {bad[0].state}")
            if sum(run.state is not None and run.state.type in wanted for run in found) == len(ids):
                return
            await asyncio.sleep(1)


async def _runs(client: PrefectClient, ids: list[UUID]) -> list[FlowRun]:
    found: list[FlowRun] = []
    for start in range(0, len(ids), CHUNK):
        mine = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + CHUNK]))
        found += await client.read_flow_runs(flow_run_filter=mine)
    return found


@contextmanager
def _resumer(environment: dict[str, str], folder: Path, window: float) -> Iterator[tuple[int, Path]]:
    log = folder / "resumed.jsonl"
    log.touch()
    command = [sys.executable, "-m", RESUMER, str(log), str(window)]
    with process_group(command, env=environment, log=folder / "resumer.log") as process:
        yield process.pid, log


async def _views(folder: Path) -> list[ReviewView]:
    async with Ledger.open(folder / "served-ledger.db") as ledger:
        listed = await ledger.ask(partial(list_reviews, which="all", limit=100_000))
        return await ledger.ask(partial(find_reviews, review_ids=[view.id for view in listed]))


def _own_answer(run_key: str) -> dict[str, str]:
    return {"selectedOption": "approve", "comment": f"answer for {run_key}"}


async def _judge(
    figures: Figures, client: PrefectClient, url: str, folder: Path, answered: dict[str, float]
) -> None:
    """Each run with its own answer, none twice; times from the ledger and from Prefect's states."""
    views = await _views(folder)
    spans: dict[str, list[float]] = {"recorded decision": [], "accepted resume": [], "continuation": []}
    for view in views:
        at = answered[view.messages[0].message_id or ""]
        spans["recorded decision"].append((view.decided_at or 0) - at)
        spans["accepted resume"].append((view.resumed_at or 0) - at)
        states = await client.read_flow_run_states(UUID(view.flow_run_id or ""))
        running = [state.timestamp.timestamp() for state in states if state.type is StateType.RUNNING]
        spans["continuation"].append(min(moment for moment in running if moment > at) - at)
        told = (await pletor_run(url, view.subject["run_id"]))["reviews"]
        if [one.get("feedback") for one in told] != [_own_answer(view.run_key)["comment"]]:
            figures.wrong.append(f"{view.run_key} was told {told}")
    figures.spans = spans
    counts = await accepted(url)
    wanted = {
        "pletor.create_run": figures.waiting,
        "pletor.resolve_review": figures.waiting,
        "placet.respond": figures.waiting,
        "placet.post_message": 2 * figures.waiting,
        "placet.store_file": figures.waiting,
    }
    figures.wrong += [f"{name}: {counts.get(name)}" for name, n in wanted.items() if counts.get(name) != n]
    figures.wrong += [f"{figures.processes} processes of waiting runs"] if figures.processes else []
    figures.wrong += [] if figures.resumers == 1 else [f"{figures.resumers} processes of resume_reviews"]
    figures.wrong += [] if len(views) == figures.waiting else [f"{len(views)} questions"]
