"""One case from its preparation to its verdict."""

import asyncio
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.chaos.cases import SINGLE, WINDOW, Case
from benchmarks.chaos.job import LEASE, OURS, Engine, Job, Report
from benchmarks.chaos.judge import GRACE, Evidence, Verdict, count, judge
from benchmarks.chaos.lane import Lane
from benchmarks.chaos.ledgers import Ledgers, Written
from benchmarks.chaos.processes import Nursery, Runner
from benchmarks.chaos.work import Work
from plait.ledger import LedgerUnavailable
from plait.ledger.store import AnyRow

STOPS: Final = {"stop_short": 0.3, "stop_window": 1.4, "stop_long": LEASE + 0.9}
"""Seconds: within every bound, beyond the send window, beyond the lease and E3 as well."""
NAMED_WITHIN: Final = 15.0
"""Seconds in which the other runner must say which stopped process it waits for."""
_LOCKED: Final = "database is locked"
_SWEEPERS: Final = 10
ROUNDS_FOR: Final = 45.0
"""Seconds after the last blow in which every effect must be settled."""


@dataclass(slots=True)
class Play:
    """A case being played against one lane."""

    case: Case
    engine: Engine
    runners: int
    lane: Lane
    ledgers: Ledgers
    nursery: Nursery
    folder: Path
    _url: str = ""
    _work: Work | None = None
    _started: int = 0
    _killed: list[int] = field(default_factory=list)
    _struck: int = 0
    """Blows to a runner that stood at the case's point."""
    _struck_at: float = 0.0
    _before: tuple[AnyRow, ...] = ()
    _erred: bool = False
    _wrong: list[str] = field(default_factory=list)
    _all: list[Runner] = field(default_factory=list)

    async def run(self) -> Verdict:
        """Play it; every process it started has ended afterwards."""
        try:
            return await self._run()
        finally:
            for runner in self._all:
                runner.end()

    async def _run(self) -> Verdict:
        self.folder.mkdir(parents=True)
        self._url = self.ledgers.url(self.folder)
        await self.lane.set_faults(())
        self._work = await self.lane.prepare(Work(kind=self.case.kind, token=self.case.token))
        await self.lane.set_faults(self.case.rules)
        alive = await self._blow()
        finished = await self._settle(alive)
        return await self._judge(finished)

    def clean(self) -> None:
        """Remove what it wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def words(self) -> str:
        """What the runners printed, for a failure's report."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text()[-2500:]}" for log in logs if log.stat().st_size)

    # ------------------------------------------------------------ the blow

    async def _blow(self) -> list[Runner]:
        case = self.case
        if case.kind == "sweep":
            return await self._sweep()
        if case.prelude:
            first = await self._start(point=case.prelude)
            if await first.parked():
                await self._kill(first)
        armed = [await self._armed()]
        if case.rival == "race":
            armed.append(await self._armed())
        if case.action == "fail":
            return await self._let_fail(armed[0])
        if await armed[0].parked() and case.stranger:
            await self.lane.add_stranger(self._prepared)
        others: list[Runner] = []
        if case.rival == "standby" and case.action not in STOPS:
            others.append(await self._start())
            await asyncio.sleep(case.delay)
        for runner in armed:
            if await runner.parked():
                others += await self._strike(runner)
        self._struck_at = time.time()
        return [runner for runner in (*armed, *others) if runner.alive]

    async def _strike(self, runner: Runner) -> list[Runner]:
        """One blow to a runner that stands at the case's point."""
        self._struck += 1
        match self.case.action:
            case "kill":
                await self._kill(runner)
                return []
            case "cancel":
                runner.signal(signal.SIGTERM)
                runner.release()
                return []
            case _:
                return await self._stop(runner)

    async def _kill(self, runner: Runner) -> None:
        runner.signal(signal.SIGKILL)
        await runner.ended(5.0)
        self._killed.append(runner.pid)

    async def _let_fail(self, runner: Runner) -> list[Runner]:
        """The commit fails inside the process, as a database does that refuses or forgets to answer."""
        others = [await self._start()] if self.case.rival != "none" else []
        await runner.ended()
        self._struck += runner.flag is not None
        self._struck_at = time.time()
        return others

    async def _stop(self, runner: Runner) -> list[Runner]:
        """SIGSTOP, another runner meanwhile, SIGCONT."""
        runner.signal(signal.SIGSTOP)
        runner.release()
        others: list[Runner] = []
        if self.engine != "naive-retry":  # which claims no coordination
            sweeps = self.case.kind == "sweep"
            others.append(await self._start(patience=2.0 if self._must_name else None, sweeps=sweeps))
        await asyncio.sleep(STOPS[self.case.action])
        if self._must_name:
            await others[0].ended(NAMED_WITHIN)
            self._check_named(runner, others[0])
        # A stopped process may hold SQLite's lock: then nobody wrote what could be written over.
        with suppress(LedgerUnavailable):
            self._before = tuple((await self._read()).effects)
        runner.signal(signal.SIGCONT)
        return others

    @property
    def _must_name(self) -> bool:
        """Whether only the stopped process's death could tell, so that its name must be said."""
        case = self.case
        ours = self.engine in OURS and case.action == "stop_long"
        return ours and case.point in WINDOW and case.kind in SINGLE

    def _check_named(self, stopped: Runner, other: Runner) -> None:
        report = other.report
        if report is None and _LOCKED in other.job.log.read_text():
            return  # stopped with SQLite's lock in hand: the other could not even ask, and said that
        told = report.effects[0] if report else None
        if told is None or told.status == "done" or f"process {stopped.pid} on host" not in told.message:
            self._wrong.append(
                f"process {stopped.pid} stood still with a permit, and the other runner was told {told}"
            )

    async def _sweep(self) -> list[Runner]:
        """A stopped runner's attempt is judged absent by time, then the sweeper is struck at its look."""
        alive: list[Runner] = []
        stopped = await self._start(point=self.case.prelude)
        if await stopped.parked():
            stopped.signal(signal.SIGSTOP)
            other = await self._start(max_pause=0.2)
            await other.ended()
            await self._kill(stopped)
            alive = await self._strike_the_sweeper()
            await self._sweep_what_is_due()
        self._struck_at = time.time()
        return alive

    async def _strike_the_sweeper(self) -> list[Runner]:
        """The first look is due D + L after the verdict: try until a sweeper stands before it."""
        for _ in range(_SWEEPERS):
            sweeper = await self._start(point=self.case.point, sweeps=True)
            if await sweeper.parked():
                return [sweeper, *await self._strike(sweeper)]
            await asyncio.sleep(0.5)
        return []

    async def _sweep_what_is_due(self) -> None:
        """The dead sweeper's look is made by the next one, and finds nothing amiss."""
        for _ in range(_SWEEPERS):
            sweeper = await self._start(sweeps=True)
            await sweeper.ended()
            if sweeper.report is not None and not sweeper.report.sweeps_due:
                return
            await asyncio.sleep(0.5)
        self._wrong.append("a sweep that is due is not made")

    # ------------------------------------------------------------ to the end

    async def _settle(self, alive: list[Runner]) -> bool:
        """Fresh runners, again and again, until one was told of the end of every effect."""
        end = time.monotonic() + (ROUNDS_FOR if self.engine in OURS else LEASE + GRACE)
        if self.engine not in OURS and await self._ends_well(alive, end):
            return True  # a scheduler runs again what failed, not what succeeded
        while True:
            fresh = [await self._start() for _ in range(1 if self.case.rival == "none" else self.runners)]
            for runner in (*alive, *fresh):
                await runner.ended(max(0.1, end - time.monotonic()))
            if any(self._is_over(runner.report) for runner in fresh):
                return True
            self._erred |= not any(runner.alive for runner in fresh)
            if time.monotonic() > end:
                return False
            alive = []
            await asyncio.sleep(0.2)

    async def _ends_well(self, alive: list[Runner], end: float) -> bool:
        for runner in alive:
            await runner.ended(max(0.1, end - time.monotonic()))
        return any(self._is_over(runner.report) for runner in alive)

    def _is_over(self, report: Report | None) -> bool:
        if report is None:
            return False
        blind = self.case.kind == "chat"
        return all(told.status == "done" or (blind and told.status == "unknown") for told in report.effects)

    async def _judge(self, finished: bool) -> Verdict:
        intended = self._prepared.intended()
        operations = {one.operation for one in intended}
        evidence = Evidence(
            case=self.case,
            intended=intended,
            accepted={name: await self.lane.accepted(name) for name in operations},
            written=await self._read(),
            struck_at=self._struck_at,
            finished=finished,
            before=self._before,
            killed=frozenset(self._killed),
            erred=self._erred,
        )
        verdict = judge(evidence) if self.engine in OURS else _of_baseline(evidence)
        verdict.kills, verdict.struck = len(self._killed), self._struck
        verdict.wrong += self._wrong
        return verdict

    # ------------------------------------------------------------ small things

    @property
    def _prepared(self) -> Work:
        assert self._work is not None  # noqa: S101 - for mypy: `run` prepared it
        return self._work

    async def _armed(self) -> Runner:
        case = self.case
        return await self._start(
            point=case.point, visit=case.visit, action="fail" if case.action == "fail" else "park"
        )

    async def _start(self, *, patience: float | None = None, **changes: object) -> Runner:
        self._started += 1
        job = Job(
            engine=self.engine,
            work=self._prepared,
            name=f"r{self._started}",
            folder=self.folder,
            sandbox=self.lane.url,
            ledger=self._url,
            processes=self.folder / "processes",
            **changes,  # type: ignore[arg-type]
        )
        runner = await self.nursery.start(job if patience is None else replace(job, patience=patience))
        self._all.append(runner)
        return runner

    async def _read(self) -> Written:
        if self.engine not in OURS:
            return Written([], [])
        return await asyncio.to_thread(self.ledgers.read, self._url, self.case.token)


def _of_baseline(evidence: Evidence) -> Verdict:
    """Without a ledger only the far end speaks."""
    verdict = Verdict()
    for intended in evidence.intended:
        accepted = count(evidence, intended, verdict)
        verdict.settled += evidence.finished
        if not accepted and evidence.finished:
            verdict.lost += 1
    verdict.failed += evidence.erred and not evidence.finished
    verdict.blocked += not (evidence.erred or evidence.finished)
    return verdict
