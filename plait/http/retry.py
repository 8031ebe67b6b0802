"""Whether and when to ask again: read the header, compute the delay, decide."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import httpx

from plait.http.errors import NotSent, PlaitError, RateLimited, ServerFailed

CONNECT_FAILURES: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What httpx raises before a byte of the request can have left."""

_LASTING: Final = frozenset({501, 505, 507, 508, 510, 511})
"""Failures that asking again does not mend."""

_EPOCH_MS: Final = 1e11
_EPOCH_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient the transport is. Times are seconds."""

    attempts: int = 5
    """Requests of one call in all."""
    base: float = 0.5
    cap: float = 8.0
    """The n-th backoff is drawn from 0 to `base * 2**n`, at most `cap`."""
    max_inline_wait: float = 30.0
    """All waits of one call together; a longer one is the caller's, who can give its worker back."""
    budget: float = 20.0
    """Retries in a row that one transport may make while nothing succeeds."""
    budget_return: float = 0.2
    """What a success puts back into the budget."""


@dataclass(frozen=True, slots=True)
class RateDialect:
    """How a vendor announces its limits. The names hold for every vendor in contracts/."""

    limit: str = "x-ratelimit-limit"
    remaining: str = "x-ratelimit-remaining"
    reset: str = "x-ratelimit-reset"
    reset_unit: Literal["seconds", "milliseconds"] = "seconds"
    """Of a small reset number; large ones are epoch seconds or milliseconds (pletor.md §2.3)."""
    window: float | None = None
    """Seconds of the vendor's window, where it is known: no reset lies further ahead."""


@dataclass(frozen=True, slots=True)
class RateReading:
    """What one answer says about its rate limit; durations in seconds from that answer."""

    status: int
    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    retry_after: float | None = None

    @property
    def wait(self) -> float | None:
        """How long to wait: `Retry-After` first, then the reset."""
        return self.reset_in if self.retry_after is None else self.retry_after


def parse_wait(text: str | None, date: str | None, *, small_unit: float = 1.0) -> float | None:
    """Seconds to go, from a number, an epoch or an HTTP date; None where it cannot be read.

    Moments are taken relative to the answer's own `Date`, so that no clock of ours matters.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        moment = _timestamp(text)
        return None if moment is None else max(0.0, moment - _answered_at(date))
    if not math.isfinite(number) or number < 0:
        return None
    if number > _EPOCH_S:
        seconds = number / 1000 if number > _EPOCH_MS else number
        return max(0.0, seconds - _answered_at(date))
    return number * small_unit


def _timestamp(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, IndexError, OverflowError):
        return None


def _answered_at(date: str | None) -> float:
    known = _timestamp(date) if date else None
    return datetime.now(UTC).timestamp() if known is None else known


def read_rate(status: int, headers: Mapping[str, str], dialect: RateDialect) -> RateReading:
    """What the headers of an answer announce, in the units of the vendor's dialect."""
    date = headers.get("date")
    small = 0.001 if dialect.reset_unit == "milliseconds" else 1.0
    reset = parse_wait(headers.get(dialect.reset), date, small_unit=small)
    if reset is not None and dialect.window is not None:
        reset = min(reset, dialect.window)
    return RateReading(
        status=status,
        limit=_count(headers.get(dialect.limit)),
        remaining=_count(headers.get(dialect.remaining)),
        reset_in=reset,
        retry_after=parse_wait(headers.get("retry-after"), date),
    )


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def backoff(policy: RetryPolicy, retry: int, retry_after: float | None, rng: random.Random) -> float:
    """Seconds before retry number `retry` (from 0): full jitter, and never less than was asked for."""
    ceiling = min(policy.cap, policy.base * 2.0 ** min(retry, 32))
    jitter = rng.uniform(0, ceiling)
    return jitter if retry_after is None else retry_after + min(jitter, policy.base)


def may_retry(error: PlaitError, *, guarded: bool) -> bool:
    """Whether the same request may be sent again without its effect coming twice."""
    if isinstance(error, RateLimited):
        return True
    if isinstance(error, NotSent):
        return isinstance(error.__cause__, CONNECT_FAILURES)
    return isinstance(error, ServerFailed) and error.status not in _LASTING and not guarded


class RetryBudget:
    """A token bucket that ends retry storms: a retry takes one, a success gives a little back."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._full = policy.budget
        self._return = policy.budget_return
        self._left = policy.budget

    def take(self) -> bool:
        """Take one retry, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def succeeded(self) -> None:
        """Put a part of a retry back."""
        self._left = min(self._full, self._left + self._return)
