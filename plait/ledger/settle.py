"""When "not there" is an answer (inequality E3 of effect-protocol.md §2), and how long it is doubted."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

from plait.http.operation import Effect, Operation
from plait.ledger.timing import Timing

SWEEPS: Final = 3
"""Looks after an absent verdict, for what lands later than its operation declares."""
UNANSWERED_SWEEPS: Final = 12
"""After so many looks the sweep ends although the last of them could not tell."""
WIDER: Final = 4
"""Each sweep comes so many times later than the one before."""
LONGEST_SWEEP: Final = 6 * 3600.0
"""Seconds between two sweeps at most, while a process may still write."""


class AttemptTimes(Protocol):
    """The part of an attempt that E3 looks at."""

    @property
    def send_by(self) -> float: ...  # noqa: D102 - named by the table
    @property
    def quiet_at(self) -> float | None: ...  # noqa: D102
    @property
    def answered(self) -> bool: ...  # noqa: D102


def quiet_at(attempt: AttemptTimes, timing: Timing) -> float | None:
    """E2: from when on this attempt certainly writes nothing; None while nobody can say."""
    known = [attempt.quiet_at] if attempt.quiet_at is not None else []
    if timing.max_pause is not None:
        known.append(attempt.send_by + timing.max_pause)
    return min(known, default=None)


def absent_from(attempts: Iterable[AttemptTimes], operation: Operation, timing: Timing) -> float | None:
    """E3: the earliest start of a look whose "absent" counts, given the unclosed attempts.

    Zero when there are none; None while one of them may still write.
    """
    bound = 0.0
    for attempt in attempts:
        quiet = quiet_at(attempt, timing)
        if quiet is None:
            return None
        landing = 0.0 if attempt.answered and operation.ends_with_answer else timing.landing(operation)
        bound = max(bound, quiet + landing + timing.visibility(operation) + timing.step)
    return bound


def first_sweep(operation: Operation, timing: Timing, now: float) -> float | None:
    """When an attempt judged absent at `now` is looked for once more.

    None where no look could tell, or nothing of the operation can land late.
    """
    if operation.effect is Effect.BLIND or operation.landing + operation.visibility == 0:
        return None
    return now + timing.landing(operation) + timing.visibility(operation)


def next_sweep(
    attempts: Iterable[AttemptTimes],
    operation: Operation,
    timing: Timing,
    *,
    looked_at: float,
    sweeps: int,
    answered: bool,
) -> float | None:
    """When to sweep again after a look that began at `looked_at`, the `sweeps`-th; None: that was the last.

    The last one comes D + L after the process of each attempt was proved dead or reported itself, and is
    one that was `answered`, unless too many in a row were not.
    """
    reach = timing.landing(operation) + timing.visibility(operation) + timing.step
    later: float = looked_at + min(reach * WIDER**sweeps, LONGEST_SWEEP)
    enough = absent_from(attempts, operation, replace(timing, max_pause=None))
    if enough is None:
        return later
    if looked_at < enough:
        return enough
    return None if sweeps >= (SWEEPS if answered else UNANSWERED_SWEEPS) else later
