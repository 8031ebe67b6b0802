"""`python -m benchmarks.chaos`: kill, fault, re-run until settled, judge at the far end."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, get_args

from rich.console import Console

from benchmarks.chaos import baselines
from benchmarks.chaos.cases import Case, make_case
from benchmarks.chaos.job import Engine
from benchmarks.chaos.judge import Verdict
from benchmarks.chaos.lane import Lane
from benchmarks.chaos.ledgers import Kind, Ledgers, open_ledgers
from benchmarks.chaos.play import Play
from benchmarks.chaos.processes import Nursery
from benchmarks.chaos.report import Totals
from plait.failpoints import POINTS

_CASES_A_KILL: Final = 4
"""A run gives up after so many cases for each kill asked for."""
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


@dataclass(slots=True)
class Chaos:
    """One run: cases in seed order, several at once, until there were enough kills."""

    options: Options
    ledgers: Ledgers
    folder: Path
    console: Console
    totals: Totals
    failed: list[str] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    async def run(self) -> None:
        """Play everything; afterwards no process of ours lives."""
        starting = asyncio.Semaphore(2)
        nursery = Nursery([f"benchmarks.chaos.{name}" for name in self._preloaded()])
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1 if self.options.case is not None else self.options.lanes):
                    lane = Lane(self.folder / f"lane{number}", self.options.seed, starting)
                    group.create_task(self._serve(lane, nursery))
        finally:
            nursery.end()

    def _preloaded(self) -> list[str]:
        """What a runner needs, imported before it is forked."""
        engine = self.options.engine
        baseline = ["baselines"] if engine != "plait" else []
        return ["warm", *baseline, *(["prefect_runner"] if engine.startswith("prefect") else [])]

    async def _serve(self, lane: Lane, nursery: Nursery) -> None:
        try:
            while (case := self._next()) is not None:
                await lane.renew()
                await self._play(case, lane, nursery)
        finally:
            await lane.aclose()

    def _next(self) -> Case | None:
        options = self.options
        number = next(self._numbers)
        if options.case is not None:
            return make_case(options.seed, options.case, options.runners) if number == 0 else None
        enough = self.totals.sum.kills >= options.kills or number > options.kills * _CASES_A_KILL
        enough = enough and number >= len(POINTS)  # the first row is played to its end
        return None if enough else make_case(options.seed, number, options.runners)

    async def _play(self, case: Case, lane: Lane, nursery: Nursery) -> None:
        options = self.options
        point = case.point if options.engine == "plait" else baselines.point_of(case.point)
        if options.engine != "plait":
            case = baselines.adapted(case, options.engine)
        play = Play(
            case, options.engine, options.runners, lane, self.ledgers, nursery, self.folder / case.token
        )
        began = time.monotonic()
        try:
            verdict = await play.run()
        except Exception as error:
            error.add_note(f"in seed {options.seed} {case.describe()}")
            raise
        self.totals.add(case, point, verdict)
        self._tell(case, verdict, play, time.monotonic() - began)
        await asyncio.to_thread(play.clean)

    def _tell(self, case: Case, verdict: Verdict, play: Play, seconds: float) -> None:
        if self.options.case is not None:
            self.console.print(f"{case.describe()}: {verdict} in {seconds:.1f} s", markup=False)
            self.console.print(play.words(), markup=False, highlight=False)
        if verdict.wrong and self.options.engine == "plait":
            said = f"FAILED seed {case.seed} {case.describe()}\n  " + "\n  ".join(verdict.wrong)
            self.failed.append(said)
            self.console.print(f"{said}\n{play.words()}", markup=False, highlight=False)
        elif not verdict.struck:
            self.console.print(f"passed by: {case.describe()}", markup=False, highlight=False)
        if self.totals.cases % _TELL_EVERY == 0:
            print(f"{self.totals.cases} cases: {self.totals.line}", file=sys.stderr, flush=True)


def main() -> int:
    """Run, print the line and the table; 1 when the engine failed a case."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that all is tidied up
    console = Console(width=150)
    points = POINTS if options.engine == "plait" else baselines.POINTS
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plait-chaos-") as folder:
        if options.engine != "plait":
            console.print(baselines.ABOUT[options.engine], markup=False)
            baselines.prepare(Path(folder))
        with open_ledgers(options.database, Path(folder)) as ledgers:
            chaos = Chaos(options, ledgers, Path(folder), console, Totals(len(points)))
            asyncio.run(chaos.run())
    totals = chaos.totals
    console.print(totals.table(points))
    cases = sum(sum(row.values()) for row in totals.by_point.values())
    console.print(
        f"engine={options.engine} db={options.database} runners={options.runners} seed={options.seed}: "
        f"{cases} cases struck, {totals.missed} passed their point by, {time.monotonic() - began:.0f} s",
        markup=False,
        highlight=False,
    )
    for said in chaos.failed:
        console.print(said, f"again: --seed {options.seed} --case N", markup=False, highlight=False)
    console.print(totals.line, markup=False, highlight=False)
    return 1 if chaos.failed else 0


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
