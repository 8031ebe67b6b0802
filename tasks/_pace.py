"""How long to wait between two looks: soon at first, then less and less often."""

import random
from typing import Final

GROWTH: Final = 1.5
JITTER: Final = 0.1


class Pace:
    """Seconds between looks, from `first` to `longest`; `reset` when something moved."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """Look soon again."""
        self._next = self._first

    def pause(self, asked: float | None = None) -> float:
        """The next wait; `asked` is what the vendor wants at least."""
        wait, self._next = self._next, min(self._next * GROWTH, self._longest)
        return max(wait, asked or 0.0) * (1 + JITTER * random.random())  # noqa: S311 - spreads looks
