"""The gate of one process (pacing-notes: even pace, epochs, scout)."""

import asyncio

import pytest

from plait.http import LocalGate, RateReading
from plait.http.errors import RateLimited

TOO_MANY = 429


async def test_nothing_declared_waits_for_nothing(clock):
    """Without a rate and without complaints every permit is immediate."""
    gate = LocalGate(clock=clock)
    for _ in range(100):
        assert await gate.acquire(30) == 0
    assert clock.slept == []


async def test_declared_rate_is_even(clock):
    """At 10/s a hundred permits take ten seconds, after a catch-up of at most two."""
    gate, start = LocalGate(10, clock=clock), clock.now()
    for _ in range(100):
        await gate.acquire(30)
    assert clock.now() - start == pytest.approx(9.8, abs=0.11)
    assert all(0 <= wait <= 0.1001 for wait in clock.slept)


async def test_idle_time_is_not_saved_up(clock):
    """After a minute of rest at most two permits come at once."""
    gate = LocalGate(10, clock=clock)
    await gate.acquire(30)
    clock.time += 60
    start = clock.now()
    for _ in range(12):
        await gate.acquire(30)
    assert clock.now() - start == pytest.approx(1.0, abs=0.11)


async def test_retry_after_stops_everybody_then_a_scout_goes_first(clock):
    """After a pause one goes; the others follow when it was answered."""
    gate = LocalGate(clock=clock)
    await gate.report(0, RateReading(status=TOO_MANY, retry_after=5))
    start = clock.now()
    assert await gate.acquire(30) == 1
    assert clock.now() - start == 5
    second = asyncio.create_task(gate.acquire(30))
    await asyncio.sleep(0)
    await gate.report(1, RateReading(status=200))
    await second
    assert clock.now() - start == pytest.approx(5.6)
    await gate.acquire(30)
    assert clock.now() - start == pytest.approx(5.6)


async def test_long_pause_is_the_callers(clock):
    """A pause over the caller's patience is raised with its length, not slept."""
    gate = LocalGate(clock=clock)
    await gate.report(0, RateReading(status=TOO_MANY, retry_after=45))
    with pytest.raises(RateLimited) as caught:
        await gate.acquire(30)
    assert caught.value.retry_after == 45
    assert clock.slept == []


async def test_stale_429_changes_nothing(clock):
    """Of a burst of 429 only the first counts: the others left in an older epoch."""
    gate = LocalGate(clock=clock)
    for _ in range(20):
        await gate.report(0, RateReading(status=TOO_MANY))
    assert await gate.acquire(30) == 1
    assert clock.slept == []
    await gate.report(1, RateReading(status=TOO_MANY))
    await gate.acquire(30)
    assert clock.slept == [pytest.approx(0.4)]


async def test_spent_window_is_waited_out(clock):
    """`Remaining: 0` with a reset holds the next request until then."""
    gate = LocalGate(clock=clock)
    await gate.report(0, RateReading(status=200, remaining=0, reset_in=2.5))
    await gate.acquire(30)
    assert clock.slept == [2.5]


async def test_transport_uses_one_gate_per_limit_class(server, transport, make_operation, clock):
    """A 429 in one limit class does not hold up another."""
    server.steps = [server.answer(429, retry_after="45"), server.answer()]
    with pytest.raises(RateLimited):
        await transport.call(make_operation("GET", limit_class="runs"))
    with pytest.raises(RateLimited, match=r"acme.act: the vendor asked for a pause; try again in 45 s"):
        await transport.call(make_operation("GET", limit_class="runs"))
    await transport.call(make_operation("GET", limit_class="files"))
    assert len(server.seen) == 2
    assert clock.slept == []
