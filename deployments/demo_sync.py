"""`make demo-sync`: a night of 40 pipelines on this machine, without an account, leaving nothing behind.

Starts the sandbox and a Prefect server on free loopback ports. Three of the pipelines fail, one hangs, and
all have a history of 14 nights. The night is played with the command the README shows, and then once more; at
the end the sandbox's own count says how often each pipeline was started.
"""

import json
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from deployments.local import (
    PrefectServer,
    asked_for,
    free_port,
    interruptible,
    prefect_environment,
    prefect_server,
    process_group,
)
from plait.http.errors import PlaitError
from plait.sandbox.planasonix_fixture import Fixture, History, PipelineGroup
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.process import SandboxProcess, start_sandbox

FIXTURE: Final = Fixture(
    pipelines=(
        PipelineGroup(name="crm_{n:02d}", count=12, rows=12_000, seconds=1.0),
        PipelineGroup(name="finance_{n:02d}", count=12, rows=4_000, seconds=1.5),
        PipelineGroup(name="shop_{n:02d}", count=12, rows=30_000, seconds=2.0),
        PipelineGroup(name="legacy_{n}", count=3, rows=1_000, seconds=1.0, behaviour="fail"),
        PipelineGroup(name="warehouse_export", rows=9_000, seconds=2.0, behaviour="hang"),
    ),
    history=History(nights=14),
)
OPTIONS: Final = (
    *("--concurrency", "12", "--deadline-minutes", "0.15", "--poll-seconds", "0.5"),
    *("--fail-on", "none"),
)
DUE: Final = 40
INTERRUPTED: Final = 130


def main() -> int:
    """Run the demo; `KEEP=1` in the environment leaves everything open until Ctrl-C."""
    reports = Path("reports").absolute()
    try:
        with interruptible(), ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-demo-")))
            return _run(stack, folder, reports, keep=asked_for("KEEP"))
    except KeyboardInterrupt:
        _say("interrupted; everything was stopped")
        return INTERRUPTED
    except PlaitError as error:
        _say(f"error: {error}")
        return 1


def _run(stack: ExitStack, folder: Path, reports: Path, *, keep: bool) -> int:
    _say(f"starting the sandbox (a stand-in of Planasonix with {DUE} pipelines and 14 nights of history)")
    settings = PlanasonixSettings(fixture=FIXTURE)
    sandbox = stack.enter_context(start_sandbox(state=folder / "sandbox.db", planasonix=settings))
    _say("starting a Prefect server (its first start takes up to 20 s)")
    home = folder / "prefect"
    server = stack.enter_context(prefect_server(free_port(), home=home, log=folder / "prefect.log"))
    _say(f"Prefect UI: {server.ui_url}")
    environment = _environment(home, server, sandbox, folder)
    page = reports / "demo-sync.html"
    night = ("--logical-date", datetime.now(UTC).date().isoformat())
    command = [sys.executable, "-m", "flows.nightly_pipeline_sync", *night, *OPTIONS, "--report", str(page)]
    seen: list[Counter[str]] = []
    for words in ("running", "the same night once more"):
        _say(f"{words}: " + " ".join(["python", *command[1:]]))
        if code := stack.enter_context(process_group(command, env=environment)).wait():
            return code
        seen.append(_started(sandbox))
    shown = _proved(sandbox, *seen)
    _say(f"Chart: {page.with_suffix('.png')}")
    _say(f"Prefect UI: {server.ui_url}" + ("" if keep else " (KEEP=1 leaves it open)"))
    if keep and shown:
        _say(f"sandbox: {sandbox.url}; press Ctrl-C to stop everything")
        threading.Event().wait()
    return 0 if shown else 1


def _environment(home: Path, server: PrefectServer, sandbox: SandboxProcess, folder: Path) -> dict[str, str]:
    return {
        **prefect_environment(home, server),
        "PLAIT_PLANASONIX_URL": f"{sandbox.url}/planasonix/docs/api",
        "PLAIT_PLANASONIX_DIALECT": "hosted",
        "PLAIT_PLANASONIX_API_KEY": "plnx_live_sandbox",
        "PLAIT_LEDGER_URL": str(folder / "ledger.db"),
    }


def _proved(sandbox: SandboxProcess, first: Counter[str], second: Counter[str]) -> bool:
    """Say what the sandbox counted, and whether it is what is promised."""
    runs = Counter(_ask(sandbox, "/_sandbox/planasonix/summary")["work"]["run"])
    at_work, cancelled, again = runs["queued"] + runs["running"], runs["cancelled"], (second - first).total()
    once = len(first) == DUE and set(first.values()) == {1}
    checks = {
        f"{len(first)} pipelines were started, each {'once' if once else 'NOT once'}": once,
        f"runs still at work: {at_work}": at_work == 0,
        f"runs cancelled: {cancelled}, the one that hung": cancelled == 1,
        f"runs started by the second run of the same night: {again}": again == 0,
    }
    for words, holds in checks.items():
        _say(f"{'ok  ' if holds else 'FAIL'} {words}")
    return all(checks.values())


def _started(sandbox: SandboxProcess) -> Counter[str]:
    """How often the sandbox accepted to start each pipeline."""
    found = _ask(sandbox, "/_sandbox/effects?service=planasonix&operation=trigger_run")
    return Counter(effect["marker"] for effect in found["effects"])


def _ask(sandbox: SandboxProcess, path: str) -> Any:
    with urlopen(f"{sandbox.url}{path}", timeout=30) as answer:  # noqa: S310 - our own sandbox on loopback
        return json.load(answer)


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)  # noqa: T201 - the demo talks to the person who started it


if __name__ == "__main__":
    sys.exit(main())
