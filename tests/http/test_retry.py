"""Reading the headers, computing the delay, deciding."""

import random
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from plait.http import RateDialect, RetryPolicy
from plait.http.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    ServerFailed,
)
from plait.http.operation import Effect
from plait.http.retry import RetryBudget, backoff, may_retry, parse_wait, read_rate

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
EPOCH = 1792567680  # the same moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("1.5", 1.5),
        ("120", 120),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0),
        ("Wed, 99 Foo 2026 07:28:30 GMT", None),
        (str(EPOCH + 7), 7),
        (str((EPOCH + 7) * 1000), 7),
        (str(EPOCH - 7), 0),
    ],
)
def test_parse_wait(text, seconds):
    """Seconds, dates and epochs become seconds to go, counted from the answer's own Date."""
    assert parse_wait(text, DATE) == seconds


def test_date_without_a_date_header():
    """Without a Date the wait is counted from our own clock."""
    soon = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 55 < parse_wait(soon, None) <= 60


@pytest.mark.parametrize(
    ("headers", "wait", "remaining"),
    [
        ({}, None, None),
        ({"retry-after": "3", "x-ratelimit-reset": "9"}, 3, None),
        ({"x-ratelimit-reset": "9", "x-ratelimit-remaining": "0"}, 9, 0),
        ({"x-ratelimit-reset": str(EPOCH + 4), "x-ratelimit-remaining": "-1"}, 4, None),
    ],
)
def test_read_rate(headers, wait, remaining):
    """`Retry-After` first, then the reset; what cannot be read is not there."""
    reading = read_rate(429, {"date": DATE, **headers}, RateDialect())
    assert (reading.wait, reading.remaining) == (wait, remaining)


def test_milliseconds_come_from_the_dialect():
    """Whether a small number is seconds or milliseconds is declared, never guessed."""
    assert read_rate(200, {"x-ratelimit-reset": "9000"}, RateDialect(reset_unit="milliseconds")).wait == 9


def test_backoff_bounds():
    """Full jitter under a doubling, capped ceiling; what was asked for is never undercut."""
    policy, rng = RetryPolicy(base=0.5, cap=4), random.Random(1)  # noqa: S311 -- jitter
    for retry, ceiling in [(0, 0.5), (1, 1), (2, 2), (3, 4), (9, 4), (2000, 4)]:
        drawn = [backoff(policy, retry, None, rng) for _ in range(200)]
        assert 0 <= min(drawn) < ceiling / 4
        assert ceiling * 3 / 4 < max(drawn) <= ceiling
        assert all(7 <= backoff(policy, retry, 7, rng) <= 7.5 for _ in range(50))


def caused(error, cause):
    """`error`, raised because of `cause`."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "read", "guarded"),
    [
        (RateLimited("x", status=429), True, True),
        (caused(NotSent("x"), httpx.ConnectError("x")), True, True),
        (caused(NotSent("x"), httpx.ConnectTimeout("x")), True, True),
        (caused(NotSent("x"), httpx.PoolTimeout("x")), True, True),
        (NotSent("the permit was refused"), False, False),
        (caused(NotSent("x"), TimeoutError()), False, False),
        (ServerFailed("x", status=500), True, False),
        (ServerFailed("x", status=503), True, False),
        (ServerFailed("x", status=501), False, False),
        (ServerFailed("the connection broke"), True, False),
        (ServerFailed("the connection broke", status=200), True, False),
        (OutcomeUnknown("x"), False, False),
        (DeadlineExceeded("x"), False, False),
        (AuthenticationFailed("x", status=401), False, False),
    ],
)
def test_may_retry(error, read, guarded):
    """A guarded effect is asked again only where provably nothing came of it."""
    assert may_retry(error, guarded=False) is read
    assert may_retry(error, guarded=True) is guarded


def test_budget_ends_a_storm():
    """So many retries in a row and no more; successes give them back slowly, up to the full budget."""
    budget = RetryBudget(RetryPolicy(budget=3, budget_return=0.5))
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]
    budget.succeeded()
    assert not budget.take()
    budget.succeeded()
    assert budget.take()
    for _ in range(100):
        budget.succeeded()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


async def test_reads_are_retried_until_they_succeed(server, transport, make_operation, clock):
    """5xx, a cut answer and a 429 on a read: asked again, and no connection is left over."""
    server.steps = [
        server.answer(503),
        server.cut(b"HTTP/1.1 2"),
        server.answer(429),
        server.answer(200, b'{"a":1}'),
    ]
    assert (await transport.call(make_operation("GET"))).json() == {"a": 1}
    assert len(server.seen) == 4
    assert len(clock.slept) == 3
    pool = transport._network._pool
    assert [c.is_idle() for c in pool.connections] == [True]
    assert pool._requests == []


async def test_attempts_end(server, transport, make_operation):
    """After the last attempt the error is raised with status, words and request id."""
    server.steps = [server.answer(503, b'{"detail":"down for work"}', x_request_id="r-9")]
    with pytest.raises(ServerFailed, match="down for work") as caught:
        await transport.call(make_operation("GET"))
    assert (len(server.seen), caught.value.request_id) == (4, "r-9")
    assert str(caught.value) == "acme.act: down for work (HTTP 503, request r-9)"


async def test_budget_is_shared_by_the_calls_of_a_transport(server, transport, make_operation):
    """While everything fails, a transport stops retrying: no more than the budget in all."""
    server.steps = [server.answer(500)]
    for _ in range(10):
        with pytest.raises(ServerFailed):
            await transport.call(make_operation("GET"))
    assert len(server.seen) == 10 + 20


async def test_waits_together_stay_under_the_limit(server, transport, make_operation, clock):
    """Two waits of 20 s are over the 30 s of one call: the second is the caller's."""
    server.steps = [server.answer(503, retry_after="20")]
    with pytest.raises(ServerFailed) as caught:
        await transport.call(make_operation("GET"))
    assert caught.value.retry_after == 20
    assert 20 <= sum(clock.slept) < 30


async def test_client_errors_are_not_retried(server, transport, make_operation, clock):
    """A 4xx is the vendor's last word."""
    server.steps = [server.answer(401, b'{"detail":"no"}')]
    with pytest.raises(AuthenticationFailed):
        await transport.call(make_operation("GET"))
    assert (len(server.seen), clock.slept) == (1, [])


async def test_deadline_of_a_read(server, transport, make_operation):
    """A read that gets no answer in time says so, may be retried by the caller, and leaves no connection."""
    server.steps = [server.silence]
    with pytest.raises(DeadlineExceeded, match=r"within 0.1 s") as caught:
        await transport.call(make_operation("GET", deadline=0.1))
    assert caught.value.retryable
    assert transport._network._pool.connections == []


async def test_a_call_that_must_keep_its_order_is_sent_once(server, transport, make_operation):
    """A repeat could arrive behind a newer request (placet.md §5.1); only a 429 is asked again."""
    operation = make_operation("PATCH", effect=Effect.IDEMPOTENT, in_order=True)
    server.steps = [server.answer(503), server.answer()]
    with pytest.raises(ServerFailed):
        await transport.call(operation, json={})
    assert len(server.seen) == 1
    server.steps = [server.answer(429, retry_after="1"), server.answer(200, b"{}")]
    await transport.call(operation, json={})
    assert len(server.seen) == 3
