"""Pacing: how fast requests may leave, declared by us or told by the vendor."""

from typing import Final, Protocol

from plait.clock import BootClock, Clock
from plait.http.errors import RateLimited
from plait.http.retry import RateReading

_LONGEST_PAUSE: Final = 60.0
_SCOUT_TIME: Final = 0.6
_TOO_MANY: Final = 429


class Gate(Protocol):
    """One per system, credential and limit class."""

    async def acquire(self, max_wait: float) -> int:
        """Wait for a permit; gives the epoch to report with.

        Raises `RateLimited` when the vendor told us to stay away for more than `max_wait` seconds.
        """

    async def report(self, epoch: int, reading: RateReading) -> None:
        """Tell what an answer said. A 429 counts only if its request left in the current epoch."""


class LocalGate:
    """A gate of this process alone; does nothing until a rate is declared or a vendor complains.

    A declared rate is kept evenly, catching up at most two permits. After a pause one request
    goes first, and the others wait for its answer, or 0.6 s.
    """

    def __init__(self, rate: float | None = None, clock: Clock | None = None) -> None:
        self._gap = None if rate is None else 1.0 / rate
        self._clock = clock or BootClock()
        self._next = float("-inf")
        self._stop_until = float("-inf")
        self._scout_until: float | None = None
        self._proved = True
        self._epoch = 0
        self._fails = 0

    async def acquire(self, max_wait: float) -> int:
        """See `Gate`; turns of an even pace are waited for however long they take."""
        while True:
            await self._pause(max_wait)
            turn = self._turn()
            if turn is None:
                return self._epoch
            await self._clock.sleep(turn - self._clock.now())
            if self._clock.now() >= self._stop_until:
                return self._epoch

    async def _pause(self, max_wait: float) -> None:
        while (wait := self._stop_until - self._clock.now()) > 0 or not self._proved:
            if wait > max_wait:
                raise RateLimited(
                    f"the vendor asked for a pause; try again in {wait:.0f} s", status=429, retry_after=wait
                )
            if wait <= 0:
                wait = (self._scout_until or 0.0) - self._clock.now()
                if wait <= 0:
                    self._scout_until = self._clock.now() + _SCOUT_TIME
                    return
            await self._clock.sleep(wait)

    def _turn(self) -> float | None:
        """The moment of our permit, or None where there is nothing to wait for."""
        if self._gap is None:
            return None
        now = self._clock.now()
        self._next = max(self._next, now - 2 * self._gap) + self._gap
        return self._next if self._next > now else None

    async def report(self, epoch: int, reading: RateReading) -> None:
        """See `Gate`."""
        now = self._clock.now()
        if reading.status == _TOO_MANY:
            if epoch == self._epoch:
                self._cut(now, reading.wait)
            return
        if epoch == self._epoch:
            self._fails, self._proved = 0, True
        if reading.remaining == 0 and reading.reset_in and self._gap is None:
            self._stop_until = max(self._stop_until, now + min(reading.reset_in, _LONGEST_PAUSE))

    def _cut(self, now: float, asked: float | None) -> None:
        self._fails += 1
        self._epoch += 1
        own = 0.1 * 2.0 ** min(self._fails, 16) if self._fails > 1 else 0.0
        pause = min(own if asked is None else asked, _LONGEST_PAUSE)
        self._stop_until = now + pause
        self._scout_until = None
        self._proved = pause <= 0
