"""The four rate limiters that vendors use, and the header dialects in which they announce them."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil
from typing import Literal, Protocol, TypeAlias

Algorithm: TypeAlias = Literal["token_bucket", "fixed_window", "sliding_window", "concurrency"]
RetryAfter: TypeAlias = Literal["seconds", "date", "none"]
Reset: TypeAlias = Literal["none", "seconds", "milliseconds", "epoch", "epoch_milliseconds"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass, and what the limiter would announce."""

    allowed: bool
    limit: int
    remaining: int
    wait: float
    """Seconds until a request may pass again (refused) or until the count is whole again (allowed)."""


def _passed(limit: int, remaining: int, wait: float) -> Decision:
    return Decision(allowed=True, limit=limit, remaining=remaining, wait=wait)


def _refused(limit: int, wait: float) -> Decision:
    return Decision(allowed=False, limit=limit, remaining=0, wait=wait)


class Limiter(Protocol):
    """Counts requests; `now` is in seconds of one clock."""

    def take(self, now: float) -> Decision:
        """Let one request pass or refuse it."""

    def release(self) -> None:
        """The request was answered."""


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, at most `limit` of them saved up."""

    rate: float
    limit: int
    _tokens: float = field(init=False)
    _at: float | None = None

    def __post_init__(self) -> None:
        self._tokens = float(self.limit)

    def take(self, now: float) -> Decision:
        """Spend a token if a whole one is there."""
        elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._tokens = min(float(self.limit), self._tokens + elapsed * self.rate)
        if self._tokens < 1.0:
            return _refused(self.limit, (1.0 - self._tokens) / self.rate)
        self._tokens -= 1.0
        return _passed(self.limit, int(self._tokens), (self.limit - self._tokens) / self.rate)

    def release(self) -> None:
        """A spent token stays spent."""


@dataclass(slots=True)
class FixedWindow:
    """`limit` requests in each `window` seconds; windows stand at multiples of their length."""

    limit: int
    window: float
    _number: int = -1
    _used: int = 0

    def take(self, now: float) -> Decision:
        """Count within the current window."""
        number = int(now // self.window)
        if number != self._number:
            self._number, self._used = number, 0
        wait = (number + 1) * self.window - now
        if self._used >= self.limit:
            return _refused(self.limit, wait)
        self._used += 1
        return _passed(self.limit, self.limit - self._used, wait)

    def release(self) -> None:
        """A counted request stays counted."""


@dataclass(slots=True)
class SlidingWindow:
    """`limit` requests in any `window` seconds."""

    limit: int
    window: float
    _passed: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> Decision:
        """Forget what is older than the window, then count."""
        while self._passed and self._passed[0] <= now - self.window:
            self._passed.popleft()
        if len(self._passed) >= self.limit:
            return _refused(self.limit, self._passed[0] + self.window - now)
        self._passed.append(now)
        return _passed(self.limit, self.limit - len(self._passed), self._passed[0] + self.window - now)

    def release(self) -> None:
        """A counted request stays counted."""


@dataclass(slots=True)
class Concurrency:
    """`limit` requests at the same time."""

    limit: int
    _running: int = 0

    def take(self, now: float) -> Decision:  # noqa: ARG002 - the one limiter that needs no clock
        """Pass while a place is free; nobody can say when the next one will be."""
        if self._running >= self.limit:
            return _refused(self.limit, 1.0)
        self._running += 1
        return _passed(self.limit, self.limit - self._running, 0.0)

    def release(self) -> None:
        """Free the place."""
        self._running -= 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a vendor says what its limiter knows."""

    retry_after: RetryAfter = "seconds"
    """On 429: whole seconds (rounded up), an HTTP date, or not at all."""
    reset: Reset = "none"
    """Unit of `X-RateLimit-Reset`; `none` leaves all three `X-RateLimit-` headers out."""

    def headers(self, decision: Decision, wall: float) -> dict[str, str]:
        """The headers of one answer; `wall` is Unix seconds."""
        headers: dict[str, str] = {}
        if self.reset != "none":
            headers["X-RateLimit-Limit"] = str(decision.limit)
            headers["X-RateLimit-Remaining"] = str(decision.remaining)
            headers["X-RateLimit-Reset"] = self._reset(decision.wait, wall)
        if not decision.allowed and self.retry_after == "seconds":
            headers["Retry-After"] = str(ceil(decision.wait))
        if not decision.allowed and self.retry_after == "date":
            moment = datetime.fromtimestamp(wall, UTC) + timedelta(seconds=ceil(decision.wait))
            headers["Retry-After"] = format_datetime(moment, usegmt=True)
        return headers

    def _reset(self, wait: float, wall: float) -> str:
        seconds = wall + wait if self.reset.startswith("epoch") else wait
        return str(ceil(seconds * 1000) if self.reset.endswith("milliseconds") else ceil(seconds))
