"""When Prefect may run a task again, and after how long.

Prefect has no native way for a task to honour `Retry-After`. Its engine asks
`retry_condition_fn` and only then indexes `retry_delay_seconds`; `FlooredDelays` leans on that
order, and `tests/tasks/test_retry.py` guards it.
"""

import random
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, SupportsIndex

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

MAX_WAIT: Final = 600.0
"""Seconds; a failure that asks for a longer wait is not retried, but shown."""
STEPS: Final = (1.0, 5.0, 20.0, 60.0)
"""Seconds between attempts, when nobody asks for more."""

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


def retry_if_safe(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error that failed the attempt allows a machine to try again."""
    del task, task_run
    error = state.data
    wait = getattr(error, "retry_after", None) or 0.0
    _floor.set(wait)
    return bool(getattr(error, "retryable", False)) and wait <= MAX_WAIT
