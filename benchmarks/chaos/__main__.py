"""`python -m benchmarks.chaos`: kill, fault, re-run until settled, judge at the far end."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from rich.console import Console

from benchmarks.chaos import baselines
from benchmarks.chaos.cases import Case, Manner, make_case
from benchmarks.chaos.job import OURS, Engine
from benchmarks.chaos.judge import Verdict
from benchmarks.chaos.lane import MANNERS, Lane
from benchmarks.chaos.ledgers import Kind, Ledgers, open_ledgers
from benchmarks.chaos.play import Play
from benchmarks.chaos.processes import Nursery
from benchmarks.chaos.report import Totals
from plait.failpoints import POINTS

_CASES_A_KILL: Final = 4
"""A run gives up after so many cases for each kill asked for, or for each point."""
_TELL_EVERY: Final = 25


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    kills: int
    seed: int
    database: Kind
    runners: int
    engine: Engine
    case: int | None
    lanes: int

    @property
    def ours(self) -> bool:
        """Whether the engine is judged in full, and not a baseline."""
        return self.engine in OURS

    def again(self, number: int) -> str:
        """The command that plays one case of this run again."""
        return (
            f"make chaos SEED={self.seed} CASE={number} DB={self.database} RUNNERS={self.runners} "
            f"ENGINE={self.engine}"
        )


@dataclass(slots=True)
class Chaos:
    """One run: cases in seed order, several at once, until there were enough kills."""

    options: Options
    ledgers: Ledgers
    folder: Path
    console: Console
    totals: Totals
    failed: list[str] = field(default_factory=list)
    _number: int = 0
    _aimed_at: list[str] = field(default_factory=list)
    """Points of the cases being played."""

    async def run(self) -> None:
        """Play everything; afterwards no process of ours lives."""
        starting = asyncio.Semaphore(2)
        nursery = Nursery([f"benchmarks.chaos.{name}" for name in self._preloaded()])
        shared = {
            manner: Lane(self.folder / manner, self.options.seed, starting, manner)
            for manner in MANNERS
            if manner != "plain"
        }
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1 if self.options.case is not None else self.options.lanes):
                    lane = Lane(self.folder / f"lane{number}", self.options.seed, starting)
                    group.create_task(self._serve(shared | {"plain": lane}, nursery))
        finally:
            nursery.end()
            for lane in shared.values():
                await lane.aclose()

    def _preloaded(self) -> list[str]:
        """What a runner needs, imported before it is forked."""
        engine = self.options.engine
        baseline = [] if self.options.ours else ["baselines"]
        prefect = ["prefect_runner"] if engine.startswith("prefect") else []
        return [*baseline, *prefect, "warm"]

    async def _serve(self, lanes: dict[Manner, Lane], nursery: Nursery) -> None:
        try:
            while (case := self._next()) is not None:
                lane = lanes[case.manner]
                self._aimed_at.append(self._point(case))
                async with lane.playing:
                    await lane.renew()
                    await self._play(case, lane, nursery)
                self._aimed_at.remove(self._point(case))
        finally:
            await lanes["plain"].aclose()

    def _next(self) -> Case | None:
        """The next of the plan; after enough kills only what is aimed at a point that was not hit yet."""
        options = self.options
        most = 1 if options.case is not None else max(options.kills, len(POINTS)) * _CASES_A_KILL
        while self._number < most:
            few = self.totals.sum.kills < options.kills or self._number < len(POINTS)
            lacking = self.totals.planned - self.totals.points - set(self._aimed_at)
            if not (few or lacking):
                break
            planned = self._number if options.case is None else options.case
            case = make_case(options.seed, planned, options.runners)
            self._number += 1
            if few or self._point(case) in lacking:
                return case
        return None

    def _point(self, case: Case) -> str:
        return case.point if self.options.ours else baselines.point_of(case.point)

    async def _play(self, case: Case, lane: Lane, nursery: Nursery) -> None:
        options = self.options
        point = self._point(case)
        if not options.ours:
            case = baselines.adapted(case, options.engine)
        play = Play(
            case, options.engine, options.runners, lane, self.ledgers, nursery, self.folder / case.token
        )
        began = time.monotonic()
        try:
            verdict = await play.run()
        except Exception as error:
            error.add_note(f"in {case.describe()}; again: {options.again(case.number)}")
            raise
        self.totals.add(case, point, verdict)
        self._tell(case, verdict, play, time.monotonic() - began)
        await asyncio.to_thread(play.clean)

    def _tell(self, case: Case, verdict: Verdict, play: Play, seconds: float) -> None:
        if self.options.case is not None:
            self.console.print(f"{case.describe()}: {verdict} in {seconds:.1f} s", markup=False)
            self.console.print(play.words(), markup=False, highlight=False)
        if verdict.wrong and self.options.ours:
            wrong = "\n  ".join(verdict.wrong)
            again = self.options.again(case.number)
            said = f"FAILED seed {case.seed} {case.describe()}\n  {wrong}\n  again: {again}"
            self.failed.append(said)
            self.console.print(f"{said}\n{play.words()}", markup=False, highlight=False)
        elif not verdict.struck:
            self.console.print(f"passed by: {case.describe()}", markup=False, highlight=False)
        if self.totals.cases % _TELL_EVERY == 0:
            print(f"{self.totals.cases} cases: {self.totals.line}", file=sys.stderr, flush=True)


def main() -> int:
    """Run, print the line and the table; 1 when the engine failed a case, or no blow at a point struck."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that all is tidied up
    console = Console(width=150)
    points = POINTS if options.ours else baselines.POINTS
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plait-chaos-") as folder:
        if about := baselines.ABOUT[options.engine]:
            console.print(about, markup=False)
        if not options.ours:
            baselines.prepare(Path(folder))
        with open_ledgers(options.database, Path(folder)) as ledgers:
            totals = Totals(len(points), baseline=not options.ours)
            chaos = Chaos(options, ledgers, Path(folder), console, totals)
            asyncio.run(chaos.run())
    console.print(totals.table(points))
    cases = sum(sum(row.values()) for row in totals.by_point.values())
    console.print(
        f"engine={options.engine} db={options.database} runners={options.runners} seed={options.seed}: "
        f"{cases} cases struck, {totals.missed} passed their point by, {time.monotonic() - began:.0f} s",
        markup=False,
        highlight=False,
    )
    for said in chaos.failed:
        console.print(said, markup=False, highlight=False)
    if totals.not_hit:
        console.print(f"NOT HIT: {', '.join(totals.not_hit)}", markup=False, highlight=False)
    console.print(totals.line, markup=False, highlight=False)
    return 1 if chaos.failed or (options.ours and totals.not_hit) else 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs to deliver")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--db", choices=get_args(Kind), default="sqlite")
    parser.add_argument("--runners", type=int, choices=(1, 2), default=2)
    parser.add_argument("--engine", choices=get_args(Engine), default="plait")
    parser.add_argument("--case", type=int, default=None, help="replay this case of the seed alone")
    parser.add_argument("--lanes", type=int, default=8, help="cases at once")
    given = parser.parse_args()
    return Options(given.kills, given.seed, given.db, given.runners, given.engine, given.case, given.lanes)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
