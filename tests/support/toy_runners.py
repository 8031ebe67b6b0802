"""Real runner processes against the toy vendor, stopped, continued and killed at a failpoint.

`python toy_runners.py` reads one job (JSON) a line and forks a runner for each: the import is paid
for once. A runner writes what came of its effect to `<folder>/<name>.json`.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from toy_vendor import QUICK, MakeThing, Vendor

from plait import failpoints
from plait.http import Transport
from plait.http.errors import PlaitError
from plait.http.operation import Effect, Operation
from plait.ledger import Ledger, Timing

STOPPABLE = replace(QUICK, lease=1.0, patience=20.0)
"""Short enough to be overslept."""
WINDOW = 0.5


class Make(MakeThing):
    """The toy's effect with a short window for its permit, and time to spare for a busy machine."""

    @property
    def operation(self) -> Operation:
        return replace(super().operation, send_window=WINDOW, deadline=30.0)


@dataclass(frozen=True)
class Job:
    """One effect for one process, which parks at the `visit`-th visit of `point`."""

    name: str
    ledger: str
    vendor: str
    folder: str
    effect: str = "findable"
    unit: str | None = None
    point: str | None = None
    visit: int = 1
    timing: dict[str, Any] = field(default_factory=lambda: asdict(STOPPABLE))


class ByName(Vendor):
    """The toy vendor with a script for each name, and posts counted by name."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, list[str]] = {}
        self.posted: list[str] = []

    async def _post(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        self.posted.append(body["name"])
        script = self.scripts.get(body["name"], [])
        self.script.appendleft(script.pop(0) if script else "ok")
        return await super()._post(writer, body)

    def made(self, name: str) -> int:
        """How many things of this name there are."""
        return sum(thing.name == name for thing in self.things)


class Host:
    """The forking process; it has imported everything once."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def fork(self, job: Job) -> int:
        """A runner for this job; its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(job), dict(os.environ)]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Runners:
    """The runners of one test; none of them outlives it."""

    def __init__(self, host: Host, folder: Path, ledger: str, vendor: str) -> None:
        self.host, self.folder, self.ledger, self.vendor = host, folder, ledger, vendor
        self.pids: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self.pids:
            self.kill(name)

    def start(self, name: str, **options: Any) -> None:
        """Fork a runner for the effect `name`."""
        self.pids[name] = self.host.fork(Job(name, self.ledger, self.vendor, str(self.folder), **options))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one runner."""
        with suppress(ProcessLookupError):
            os.kill(self.pids[name], number)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until the process is gone and its locks with it."""
        self.signal(name, signal.SIGKILL)
        until = time.monotonic() + 5
        while Path(f"/proc/{self.pids[name]}").exists() and time.monotonic() < until:
            time.sleep(0.005)

    def parked(self, name: str, point: str) -> bool:
        """Whether this runner stands at its failpoint."""
        return self._flag(name, point).exists()

    def stop(self, name: str) -> None:
        """SIGSTOP."""
        self.signal(name, signal.SIGSTOP)

    def go_on(self, name: str, point: str) -> None:
        """Open the failpoint, and SIGCONT."""
        self._flag(name, point).unlink()
        self.signal(name, signal.SIGCONT)

    def result_file(self, name: str) -> Path:
        """Where the runner writes what came of it."""
        return self.folder / f"{name}.json"

    def result(self, name: str) -> Any:
        """The thing as JSON, or `{"error": class, "message": text}`."""
        return json.loads(self.result_file(name).read_text())

    def _flag(self, name: str, point: str) -> Path:
        return self.folder / f"{self.pids[name]}.{point}"


async def perform(job: Job) -> Any:
    """What one runner does."""
    timing = Timing(**job.timing)
    async with (
        Ledger.open(job.ledger, timing=timing) as ledger,
        Transport(system="toy", base_url=job.vendor) as transport,
    ):
        recipe = Make(transport, job.name, Effect(job.effect), job.unit)
        if job.point is not None:
            failpoints.arm(job.point, folder=Path(job.folder), visit=job.visit)
        try:
            return (await ledger.effects(run_key="r").perform(recipe)).model_dump()
        except PlaitError as error:
            return {"error": type(error).__name__, "message": str(error)}


def _child(job: Job) -> None:
    made = asyncio.run(perform(job))
    target = Path(job.folder) / f"{job.name}.json"
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(made))
    draft.replace(target)


def main() -> None:
    """Fork a runner per line of input, and say its pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the runners: no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.closerange(0, 2)
            job, environment = json.loads(line)
            os.environ.update(environment)
            _child(Job(**job))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201 - the answer of this process


if __name__ == "__main__":
    main()
