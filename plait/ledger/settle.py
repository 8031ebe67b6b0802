"""When is "not there" an answer? Inequality E3 of effect-protocol.md §2, and nothing else."""

from collections.abc import Iterable
from typing import Protocol

from plait.http.operation import Operation
from plait.ledger.timing import Timing


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
