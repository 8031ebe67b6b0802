"""What it costs to bring definitions and run history into the ledger, and to find that nothing has changed.

Each sync runs in a process of its own against the sandbox, so that its peak memory is its own; requests are
those that left its sockets, retries included. The second size, a tenth, shows whether memory grows with it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.table import Table

from plait.http.address import base_address
from plait.http.sockets import connections
from plait.ledger import Ledger
from plait.pipelines.planasonix import PlanasonixPipelines
from plait.pipelines.sync import sync
from plait.sandbox.planasonix_fixture import Fixture, History, PipelineGroup
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.process import start_sandbox
from plait.vendors.planasonix.client import connect

KEY: Final = "plnx_live_bench"
NIGHTS: Final = 20
SHARE: Final = 0.02
"""What the second sync may ask of what the first asked."""


@dataclass(frozen=True)
class Cost:
    """One sync."""

    requests: int
    written: int
    seconds: float
    peak: float
    """MiB."""
    above: float
    """MiB above what the process took before it began."""


class Counting(httpx.AsyncBaseTransport):
    """Counts what leaves."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.requests = 0
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        self.requests += 1
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def main() -> None:
    """Measure and print; exits with 1 where the second sync asks more than its share, or writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pipelines", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--child", nargs=2, metavar=("ADDRESS", "LEDGER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        address, ledger = options.child
        print(json.dumps(asdict(asyncio.run(_sync(address, Path(ledger))))))
        return
    table = Table(title="Definitions and run history into the ledger (SQLite), asked of the sandbox")
    for name in (
        "pipelines",
        "runs",
        "sync",
        "requests",
        "rows written",
        "seconds",
        "peak MiB",
        "above start",
    ):
        table.add_column(name, justify="left" if name == "sync" else "right")
    _measure(table, options.pipelines // 10, options.runs // 10)
    kept = _measure(table, options.pipelines, options.runs)
    Console(width=110).print(table)
    if not kept:
        sys.exit(1)


def _measure(table: Table, pipelines: int, runs: int) -> bool:
    fixture = Fixture(
        pipelines=(PipelineGroup(count=pipelines, name="pipeline_{n}"),),
        history=History(nights=NIGHTS, runs=runs),
    )
    settings = PlanasonixSettings(fixture=fixture, limit=1_000_000)
    with (
        tempfile.TemporaryDirectory(prefix="plait-bench-") as folder,
        start_sandbox(state=Path(folder) / "s.db", planasonix=settings, timeout=300) as box,
    ):
        given = [f"{box.url}/planasonix/docs", str(Path(folder) / "ledger.db")]
        first, second = _child(given), _child(given)
    for name, cost in (("first", first), ("unchanged", second)):
        asked = (
            f"{cost.requests:,}"
            if cost is first
            else f"{cost.requests} ({cost.requests / first.requests:.2%})"
        )
        figures = (f"{cost.written:,}", f"{cost.seconds:.1f}", f"{cost.peak:.0f}", f"{cost.above:.1f}")
        table.add_row(f"{pipelines:,}", f"{runs:,}", name, asked, *figures)
    return second.written == 0 and second.requests <= SHARE * first.requests


def _child(given: list[str]) -> Cost:
    command = [sys.executable, "-m", "benchmarks.sync", "--child", *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(**json.loads(done.stdout))


async def _sync(address: str, path: Path) -> Cost:
    counting = Counting(connections(base_address(address)))
    async with (
        connect(address, api_key=KEY, dialect="hosted", http=counting) as client,
        Ledger.open(path) as ledger,
    ):
        before, began = _peak(), time.perf_counter()
        synced = await sync(ledger, PlanasonixPipelines(client))
        seconds = time.perf_counter() - began
    return Cost(counting.requests, synced.written, seconds, _peak(), _peak() - before)


def _peak() -> float:
    """The most memory this process ever held, in MiB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
