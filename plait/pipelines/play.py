"""One night: what is due is started once, watched to its end, and what became of it is kept.

Everything stands in the ledger: which run an effect started, since when it is at work, how it ended. So a
night that was killed is played again with the same run key, starts nothing twice and forgets nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel

from plait.clock import BootClock, Clock
from plait.failpoints import reach
from plait.http.errors import OutcomeUnknown, PlaitError
from plait.ledger import EffectIncident, EffectInProgress, Effects, Ledger, LedgerUnavailable
from plait.ledger.pipelines import (
    ENDED,
    OPEN,
    Kind,
    RunRecord,
    Triggered,
    keep_outcome,
    keep_triggered,
    run_of,
)
from plait.ledger.store.rows import AnyRow
from plait.pipelines.source import Source
from plait.pipelines.watch import Pace, Watch

PAUSES: Final = (1.0, 5.0, 20.0, 60.0)
"""Seconds between two tries to start a run whose outcome is not known, or that could not be sent."""

_UNCLEAR: Final = (OutcomeUnknown, EffectInProgress, EffectIncident, LedgerUnavailable)
T = TypeVar("T")
Became: TypeAlias = Literal["succeeded", "failed", "cancelled", "running", "refused", "unknown"]
_log = logging.getLogger(__name__)


class Due(BaseModel):
    """Something to run in a night."""

    id: str
    name: str
    kind: Kind = "pipeline"
    critical: bool = False


class Played(BaseModel):
    """What became of one of them. Times are the vendor's."""

    id: str
    name: str
    kind: Kind = "pipeline"
    critical: bool = False
    became: Became
    """`running`: still at work after its deadline. `refused`: the vendor would not start it. `unknown`:
    nobody can tell yet; the same night played again settles it."""
    run_id: str | None = None
    tries: int = 0
    """Runs that were started for it in this night."""
    started_at: float | None = None
    seconds: float | None = None
    rows: int | None = None
    error: str | None = None
    log_tail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a night is played. Times are seconds."""

    night: str
    """The run key."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """For every run; what the vendor calls variables or parameters."""
    concurrency: int = 8
    """Runs at work at a time."""
    deadline: float = 7_200.0
    """From a run's start to the moment at which it counts as late."""
    cancel_late: bool = True
    wait_for_others: bool = True
    """Whether to wait for somebody else's run where the vendor allows one at a time; else ours is refused."""
    retries: int = 0
    """How often what failed is run again, as a new generation."""
    log_lines: int = 20
    """Lines kept of the end of a failed run's log."""
    pace: Pace = field(default_factory=Pace)
    look: float = 10.0
    """For one look at one run, such as that after the deadline."""
    grace: float = 30.0
    """For a run that was asked to stop to have stopped."""


class Player:
    """Plays what is due of one source."""

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        effects: Callable[[int], Effects],
        rules: Rules,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.started = 0
        """Runs that were not known before: on a second playing of the same night, none."""
        self._ledger = ledger
        self._source = source
        self._effects = effects
        self._rules = rules
        self._clock = clock or BootClock()
        self._watch = Watch(source, pace=rules.pace, clock=self._clock)

    @property
    def polls(self) -> int:
        """Requests that waiting cost."""
        return self._watch.requests

    async def play(
        self, due: Sequence[Due], *, on_settled: Callable[[Played], None] | None = None
    ) -> list[Played]:
        """Run everything once, `concurrency` at a time; no failure of one stops another."""
        waiting = deque(enumerate(due))
        played: dict[int, Played] = {}

        async def work() -> None:
            while waiting:
                index, one = waiting.popleft()
                try:
                    played[index] = await self._one(one)
                except PlaitError as error:  # the ledger does not answer: the next one may fare better
                    played[index] = Played(**one.model_dump(), became="unknown", error=str(error))
                if on_settled is not None:
                    on_settled(played[index])

        async with self._watch, asyncio.TaskGroup() as group:
            for _ in range(min(self._rules.concurrency, len(due))):
                group.create_task(work())
        return [played[index] for index in range(len(due))]

    async def _one(self, due: Due) -> Played:
        played = Played(**due.model_dump(), became="unknown")
        for generation in range(self._rules.retries + 1):
            played = await self._generation(due, generation)
            if played.became != "failed":
                break
        return played

    async def _generation(self, due: Due, generation: int) -> Played:
        try:
            run = await self._start(due, generation)
            triggered = await self._note(run, generation)
        except PlaitError as error:
            unclear = isinstance(
                error, OutcomeUnknown | EffectInProgress | EffectIncident | LedgerUnavailable
            )
            became: Became = "unknown" if unclear else "refused"
            return Played(**due.model_dump(), became=became, tries=generation, error=str(error))
        self.started += triggered.new
        reach("night.triggered")
        ended, late = await self._ended(run, triggered)
        reach("night.ended")
        return await self._collect(due, ended, late, tries=generation + 1)

    async def _start(self, due: Due, generation: int) -> RunRecord:
        """The run that this night started; tries again what is safe to try, until the deadline."""
        recipe = self._source.trigger(due.id, self._rules.values)
        give_up = self._clock.now() + self._rules.deadline
        pauses = iter(PAUSES)
        while True:
            try:
                return self._source.started(await self._effects(generation).perform(recipe), due.id)
            except PlaitError as error:
                left = give_up - self._clock.now()
                blocker = self._source.in_the_way(error) if self._rules.wait_for_others else None
                if blocker is not None and await self._has_ended(blocker, due.id, within=left):
                    continue
                pause = max(error.retry_after or 0.0, next(pauses, PAUSES[-1]))
                if not error.retryable or pause >= left:
                    raise
                _log.info("%s is tried again in %.0f s: %s", due.name, pause, error)
            await self._clock.sleep(pause)

    async def _has_ended(self, blocker: str, pipeline_id: str, *, within: float) -> bool:
        run = RunRecord(id=blocker, pipeline_id=pipeline_id, status="running")
        ended = await self._within(max(within, 0.0), self._watch.ended(run))
        return ended is not None and ended.status in ENDED

    async def _note(self, run: RunRecord, generation: int) -> Triggered:
        database = self._ledger.database
        return await database.write(
            lambda connection: keep_triggered(
                database,
                connection,
                self._source.scope,
                run,
                night=None if run.adopted else self._rules.night,
                generation=generation,
            ),
            commit="sync",
        )

    async def _ended(self, run: RunRecord, triggered: Triggered) -> tuple[RunRecord, str | None]:
        """The run at its end, and why it was not waited for any longer where that is so."""
        row = await self._row(run.id)
        if row is not None and row.status in ENDED:
            return _of_row(row), None
        left = triggered.at + self._rules.deadline - await self._ledger.now()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                return await self._watch.ended(run), None
        except TimeoutError:
            return await self._late(run)
        except PlaitError as error:
            return replace(run, status="unknown"), f"it could not be watched to its end: {error}"

    async def _late(self, run: RunRecord) -> tuple[RunRecord, str | None]:
        """After the deadline: its state counts before the clock; then it is cancelled, if asked for."""
        found = await self._within(self._rules.look, self._source.run(run.id)) or run
        why = f"not done within {self._rules.deadline:g} s"
        if found.status in ENDED:
            return found, f"{why}; cancelled" if found.status == "cancelled" else None
        if not self._rules.cancel_late or run.adopted:
            return found, why
        stopped = await self._within(self._rules.grace, self._cancelled(run))
        if stopped is None or stopped.status not in ENDED:
            return stopped or found, f"{why}; it was asked to stop, and nothing shows that it did"
        return stopped, f"{why}; cancelled" if stopped.status == "cancelled" else None

    async def _cancelled(self, run: RunRecord) -> RunRecord:
        stopped = await self._source.cancel(run.id)
        return stopped if stopped.status in ENDED else await self._watch.ended(run)

    async def _within(self, seconds: float, call: Awaitable[T | None]) -> T | None:
        """The answer, or None where the vendor gives none in time."""
        try:
            async with asyncio.timeout(seconds):
                return await call
        except (PlaitError, TimeoutError) as error:
            _log.warning("%s", str(error) or f"no answer within {seconds:g} s")
            return None

    async def _collect(self, due: Due, run: RunRecord, late: str | None, *, tries: int) -> Played:
        """Rows, duration, error and log tail: from the ledger, or from the vendor and into the ledger."""
        row = await self._row(run.id)
        if run.status in OPEN:
            return _played(due, run, "running", tries, error=late or run.error)
        if run.status == "unknown":
            word = f"its status is {run.word!r}, a word that Plait does not know"
            return _played(due, run, "unknown", tries, error=late or run.error or word)
        if row is None or row.status not in ENDED or _lacks_details(row):
            run, tail = await self._details(run, late)
            await self._ledger.database.write(
                lambda connection: keep_outcome(connection, self._source.scope, run, log_tail=tail),
                commit="sync",
            )
            row = await self._row(run.id)
        reach("night.collected")
        known = run if row is None else _of_row(row)
        tail = None if row is None else row.log_tail
        return _played(due, known, known.status, tries, error=known.error, log_tail=tail or None)

    async def _details(self, run: RunRecord, late: str | None) -> tuple[RunRecord, str | None]:
        found = await self._within(self._rules.look, self._source.run(run.id))
        if found is not None and found.status in ENDED:
            run = found
        tail = ""
        if run.status == "failed" and self._rules.log_lines:
            log = self._source.log_tail(run.id, self._rules.log_lines)
            tail = await self._within(self._rules.look, log) or ""
        return replace(run, error=late or run.error), tail

    async def _row(self, run_id: str) -> AnyRow | None:
        return await self._ledger.database.read(
            lambda connection: run_of(connection, self._source.scope, run_id)
        )


def _lacks_details(row: AnyRow) -> bool:
    """`log_tail` is NULL until the details were asked for, and empty where there is none."""
    return row.log_tail is None


def _of_row(row: AnyRow) -> RunRecord:
    return RunRecord(
        id=row.id,
        pipeline_id=row.pipeline_id,
        status=row.status,
        word=row.word,
        trigger=row.trigger,
        started_at=row.started_at,
        ended_at=row.ended_at,
        seconds=row.seconds,
        rows=row.rows,
        error=row.error,
    )


def _played(
    due: Due,
    run: RunRecord,
    became: Any,
    tries: int,
    *,
    error: str | None,
    log_tail: str | None = None,
) -> Played:
    return Played(
        **due.model_dump(),
        became=became,
        run_id=run.id,
        tries=tries,
        started_at=run.started_at,
        seconds=run.seconds,
        rows=run.rows,
        error=error,
        log_tail=log_tail,
    )
