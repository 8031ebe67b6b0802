"""Questions of plain scripts: all wait in the ledger, and one process takes up the answers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.reviews.figures import RESUMER, SCRIPT, Figures, busiest, peak_memory, processes_called
from benchmarks.reviews.people import accepted, answer_all
from benchmarks.reviews.script import review_id
from deployments.local import free_port, process_group
from plait.ledger import Ledger
from plait.ledger.review_views import count_open_reviews, find_reviews
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.process import start_sandbox


async def measure(count: int, folder: Path, *, window: float, patience: float) -> Figures:
    """Ask without Placet's limit (it would take hours), then answer and read under it."""
    figures = Figures("plain scripts", count)
    port, state = free_port(), folder / "scripts.db"
    environment = {
        **os.environ,
        "PLAIT_PLACET_URL": f"http://127.0.0.1:{port}/placet",
        "PLAIT_PLACET_API_KEY": "hp_sandbox",
        "PLAIT_LEDGER_URL": str(folder / "scripts-ledger.db"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    began = time.monotonic()
    with start_sandbox(state=state, port=port, placet=PlacetSettings(throttle=False)):
        await asyncio.to_thread(_script, environment, "ask", count)
    figures.facts["asking"] = f"{time.monotonic() - began:.0f} s, without Placet's limit"
    with start_sandbox(state=state, port=port) as sandbox:
        log = folder / "scripts.jsonl"
        log.touch()
        command = [sys.executable, "-m", RESUMER, str(log), str(window)]
        with process_group(command, env=environment, log=folder / "scripts-resumer.log") as process:
            await _windows(log, 1, patience)
            rest = _rates(log)[-1]
            figures.processes = processes_called(SCRIPT, str(count))
            ids = await _messages(folder, count)
            answered = await answer_all(
                sandbox.url, [(message_id, _own_answer(n)) for n, message_id in enumerate(ids)]
            )
            figures.facts["answering all"] = f"{max(answered.values()) - min(answered.values()):.0f} s"
            await _until_decided(folder, patience)
            await _windows(log, len(_rates(log)) + 1, patience)
            figures.resumers = processes_called(RESUMER, str(log))
            figures.peak = peak_memory(process.pid)
        figures.calls = busiest(_rates(log))
        figures.facts["at rest"] = ", ".join(f"{route} {rate:.0f}/min" for route, rate in rest.items())
        await _judge(figures, environment, sandbox.url, answered)
    return figures


def _script(environment: dict[str, str], what: str, count: int) -> str:
    command = [sys.executable, "-m", SCRIPT, what, str(count)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _own_answer(number: int) -> dict[str, str]:
    word = "approve" if number % 2 else "reject"
    return {"selectedOption": word, "comment": f"answer {number}"}


async def _messages(folder: Path, count: int) -> list[str]:
    async with Ledger.open(folder / "scripts-ledger.db") as ledger:
        ids = [review_id(number) for number in range(count)]
        views = await ledger.ask(partial(find_reviews, review_ids=ids))
    return [view.messages[0].message_id or "" for view in views]


async def _until_decided(folder: Path, patience: float) -> None:
    async with asyncio.timeout(patience), Ledger.open(folder / "scripts-ledger.db") as ledger:
        while True:
            if not await ledger.ask(count_open_reviews):
                return
            await asyncio.sleep(1)


async def _windows(log: Path, count: int, patience: float) -> None:
    async with asyncio.timeout(patience):
        while True:
            if len(_rates(log)) >= count:
                return
            await asyncio.sleep(0.5)


def _rates(log: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [{route: 60 * n / one["seconds"] for route, n in one["calls"].items()} for one in lines]


async def _judge(figures: Figures, environment: dict[str, str], url: str, answered: dict[str, float]) -> None:
    """Each script with its own answer, used once; and what the sandbox accepted."""
    async with Ledger.open(environment["PLAIT_LEDGER_URL"]) as ledger:
        ids = [review_id(number) for number in range(figures.waiting)]
        views = await ledger.ask(partial(find_reviews, review_ids=ids))
    figures.spans["recorded decision"] = [
        (view.decided_at or 0) - answered[view.messages[0].message_id or ""] for view in views
    ]
    began = time.monotonic()
    figures.wrong += [f"{figures.processes} processes of scripts"] if figures.processes else []
    figures.wrong += [] if figures.resumers == 1 else [f"{figures.resumers} processes of resume_reviews"]
    first = await asyncio.to_thread(_script, environment, "go-on", figures.waiting)
    figures.facts["all scripts going on"] = f"{time.monotonic() - began:.0f} s"
    second = await asyncio.to_thread(_script, environment, "go-on", figures.waiting)
    for what, said, wanted in (("go-on", first, f"{figures.waiting} 0"), ("go-on again", second, "0 0")):
        figures.wrong += [] if said.strip() == wanted else [f"{what}: {said.strip()}, not {wanted}"]
    counts = await accepted(url)
    for name in ("placet.post_message", "placet.respond"):
        figures.wrong += [] if counts[name] == figures.waiting else [f"{name}: {counts[name]}"]
