"""Processes that play a night and die at a failpoint, forked from one that has imported everything once."""

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from plait import failpoints
from plait.ledger import Ledger, Timing
from plait.ledger.pipelines import pipelines
from plait.pipelines.planasonix import PlanasonixPipelines
from plait.pipelines.play import Due, Player, Rules
from plait.pipelines.sync import sync
from plait.pipelines.watch import Pace
from plait.vendors.planasonix.client import connect
from tasks._decision import Decision

NIGHT = "night crashes 2026-11-28"


@dataclass(frozen=True)
class Job:
    """One playing of the night, which dies at the `visit`-th visit of `point`."""

    url: str
    ledger: str
    folder: str
    point: str | None = None
    visit: int = 1
    retries: int = 0


class Plan(BaseModel):
    """What is due."""

    due: list[Due]


class Host:
    """The forking process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def play(self, job: Job) -> int:
        """Fork a player and wait until it is gone: 0, or the number of the signal that ended it, negative."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


async def _play(job: Job) -> list[Any]:
    timing = Timing(landing_cap=0.1, visibility_cap=0.1, lease=5.0)
    async with (
        connect(job.url, api_key="plnx_live_sandbox", dialect="hosted") as client,
        Ledger.open(job.ledger, timing=timing) as ledger,
    ):
        source = PlanasonixPipelines(client)
        if job.point is not None:
            failpoints.arm(job.point, folder=Path(job.folder), visit=job.visit, action="kill")
        await sync(ledger, source)

        async def choose() -> Plan:
            found = await ledger.database.read(lambda c: list(pipelines(c, source.scope)))
            return Plan(due=[Due(id=one.id, name=one.name) for one in found])

        decision = Decision(about="test", inputs={}, model=Plan, choose=choose)
        plan = (await ledger.effects(run_key=NIGHT).perform(decision)).choice
        rules = Rules(night=NIGHT, concurrency=8, retries=job.retries, pace=Pace(fastest=0.05, slowest=0.2))

        def effects(generation: int) -> Any:
            return ledger.effects(run_key=NIGHT, generation=generation)

        played = await Player(ledger, source, effects, rules).play(plan.due)
    return [one.model_dump() for one in played]


def played(folder: Path) -> Sequence[Any]:
    """What the last playing that came to its end told."""
    found: list[Any] = json.loads((folder / "played.json").read_text())
    return found


def main() -> None:
    """Fork a player for each line of input, wait for it, and say how it ended."""
    gc.freeze()  # a player's collector would copy what it shares
    for line in sys.stdin:
        job = Job(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            told = asyncio.run(_play(job))
            (Path(job.folder) / "played.json").write_text(json.dumps(told))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer of this process


if __name__ == "__main__":
    main()
