"""When Prefect may run a task again, and after how long.

Prefect has no native way for a task to honour `Retry-After`. Its engine asks
`retry_condition_fn` and only then indexes `retry_delay_seconds`; `FlooredDelays` leans on that
order, and `tests/tasks/test_retry.py` guards it.
"""

import os
import random
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, SupportsIndex

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from plait.http.errors import ConfigurationError
from tasks._progress import say

MAX_WAIT: Final = 600.0
"""Seconds; a failure that asks for a longer wait is not retried, but shown."""
STEPS: Final = (1.0, 5.0, 20.0, 60.0)
"""Seconds between attempts, when nobody asks for more."""

RETRIES_VARIABLE: Final = "PLAIT_TASK_RETRIES"
"""How often a task run may be retried, at most and by default once for each of `STEPS`."""

_floor: ContextVar[float] = ContextVar("retry_floor", default=0.0)


class FlooredDelays(list[float]):
    """Backoff steps with upward jitter, which a `retry_after` can only lengthen."""

    def __init__(self, steps: Sequence[float], *, jitter: float = 0.1, seed: int | None = None) -> None:
        super().__init__(steps)
        self._jitter = jitter
        self._random = random.Random(seed)  # noqa: S311 - spreads retries, guards no secret

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        step = super().__getitem__(index)
        if isinstance(step, list):
            return step
        return max(step, _floor.get()) * (1 + self._jitter * self._random.random())


def retries_allowed() -> int:
    """The limit of the environment; raises `ConfigurationError` where it is no number."""
    given = os.environ.get(RETRIES_VARIABLE) or str(len(STEPS))
    if not given.isdecimal():
        raise ConfigurationError(f"{RETRIES_VARIABLE} is {given!r}; give a number from 0 to {len(STEPS)}")
    return int(given)


def may_retry(error: object, run_count: int) -> bool:
    """Whether a machine may try again after attempt `run_count` (from 1) failed with this error."""
    wait = getattr(error, "retry_after", None) or 0.0
    safe = bool(getattr(error, "retryable", False))
    return safe and wait <= MAX_WAIT and run_count <= min(retries_allowed(), len(STEPS))


def retry_if_safe(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question after a failed attempt; notes how long the error asks to wait."""
    error = state.data
    if not may_retry(error, task_run.run_count):
        return False
    _floor.set(getattr(error, "retry_after", None) or 0.0)
    say(f"{task.name}: {error}; trying again")
    return True
