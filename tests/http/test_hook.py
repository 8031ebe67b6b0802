"""The permit hook: what leaves the machine when, and what the guard is told (effect-protocol.md §4, §8)."""

import asyncio

import httpx
import pytest

from plait.http import RetryPolicy, Transport, Upload
from plait.http.errors import NotFound, NotSent, OutcomeUnknown, RateLimited
from plait.http.guard import send_guard


class Expired(NotSent):
    """As the ledger's own."""


async def test_order_of_a_good_request(server, transport, guard, make_operation):
    """Permit and check come before the headers, a check before the body, `wrote` after the last byte."""
    sent_when_asked = []
    guard.when["permit"] = lambda: _note(sent_when_asked, server)
    await transport.call(make_operation("POST"), json={"a": 1})
    assert guard.log == ["permit", "check", "check", "wrote"]
    assert sent_when_asked == [0]
    assert server.seen[0].body == b'{"a":1}'


async def _note(into, server):
    await asyncio.sleep(0.02)
    into.append(len(server.seen))


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_empty_body_is_checked_too(method, server, transport, guard, make_operation):
    """A request without a body has the same four steps; httpcore announces its empty body as well."""
    await transport.call(make_operation(method))
    assert guard.log == ["permit", "check", "check", "wrote"]
    assert server.seen[0].header("content-type") is None


@pytest.mark.parametrize("warm", [False, True])
async def test_refused_permit_sends_nothing(warm, server, transport, guard, make_operation):
    """A permit that raises leaves 0 bytes at the server, on a fresh and on a pooled connection."""
    if warm:
        await transport.call(make_operation("GET"))
    before = len(server.seen)
    guard.fails["permit"] = Expired("another runner holds it")
    with pytest.raises(Expired):
        await transport.call(make_operation("POST"), json={"a": 1})
    assert guard.log == ["permit", "unsent"]
    await transport.aclose()
    await server.settled()
    assert len(server.seen) == before


async def test_permit_expired_before_headers(server, transport, guard, make_operation):
    """A permit that ran out between commit and write sends nothing and is closed as not sent."""
    guard.checks_left, guard.fails["check"] = 0, Expired("late")
    with pytest.raises(Expired):
        await transport.call(make_operation("POST"), json={"a": 1})
    assert guard.log == ["permit", "check", "unsent"]
    await server.settled()
    assert server.seen == []


async def test_permit_expired_before_body(server, transport, guard, make_operation):
    """A permit that ran out after the headers keeps the body back; the attempt is open but quiet."""
    guard.checks_left, guard.fails["check"] = 1, Expired("late")
    with pytest.raises(OutcomeUnknown) as caught:
        await transport.call(make_operation("POST"), json={"a": 1})
    assert guard.log == ["permit", "check", "check", "gave_up"]
    assert not caught.value.answered
    await server.settled()
    assert [(s.line, s.body, s.whole) for s in server.seen] == [("POST /api/things HTTP/1.1", b"", False)]


async def test_every_chunk_is_checked_and_the_last_above_all(
    server, transport, guard, make_operation, tmp_path
):
    """A permit that runs out before the closing boundary leaves the server with an incomplete form."""
    file = tmp_path / "f.bin"
    file.write_bytes(b"x" * 600_000)
    guard.checks_left, guard.fails["check"] = 5, Expired("late")
    with pytest.raises(OutcomeUnknown):
        await transport.call(make_operation("POST"), upload=Upload("file", file, "f.bin", "text/plain"))
    assert guard.log == ["permit", *["check"] * 6, "gave_up"]  # headers, body, three chunks, the tail
    await server.settled()
    assert not server.seen[0].whole
    assert not server.seen[0].body.endswith(b"--\r\n")


async def test_refused_connection_is_not_sent_and_retried(dead_url, guard, make_operation, clock):
    """Nobody listening: each try is reported unsent, then the error says that nothing left."""
    async with Transport(system="acme", base_url=dead_url, clock=clock, seed=1) as transport:
        with pytest.raises(NotSent):
            await transport.call(make_operation("POST"), json={})
    assert guard.log == ["unsent"] * 5
    assert len(clock.slept) == 4


async def test_429_is_told_before_the_next_permit(server, transport, guard, make_operation, clock):
    """After a 429 the attempt is closed as refused, and the next request takes its own permit."""
    server.steps = [server.answer(429, b'{"detail":"slow"}', retry_after="3"), server.answer()]
    await transport.call(make_operation("POST"), json={})
    one = ["permit", "check", "check", "wrote"]
    assert guard.log == [*one, "refused 429", *one]
    assert sum(clock.slept) >= 3


async def test_slash_redirect_is_told_before_the_next_permit(server, transport, guard, make_operation):
    """A 307 to the same address with a slash did nothing: refused, then asked again with the body."""
    server.steps = [server.answer(307, b"", location=f"{server.url}/things/"), server.answer()]
    await transport.call(make_operation("POST"), json={"a": 1})
    one = ["permit", "check", "check", "wrote"]
    assert guard.log == [*one, "refused 307", *one]
    assert [s.line for s in server.seen] == ["POST /api/things HTTP/1.1", "POST /api/things/ HTTP/1.1"]
    assert server.seen[1].body == b'{"a":1}'


async def test_rejection_leaves_the_attempt_to_the_ledger(server, transport, guard, make_operation):
    """A 4xx is raised as what it is; the guard is told nothing more."""
    server.steps = [server.answer(404, b'{"detail":"Document not found"}')]
    with pytest.raises(NotFound, match="Document not found"):
        await transport.call(make_operation("POST"), json={})
    assert guard.log == ["permit", "check", "check", "wrote"]


async def test_long_429_is_raised_at_once(server, transport, guard, make_operation, clock):
    """A pause over 30 s is the caller's to wait: `RateLimited` with the seconds, nothing slept."""
    server.steps = [server.answer(429, b"", retry_after="120")]
    with pytest.raises(RateLimited) as caught:
        await transport.call(make_operation("POST"), json={})
    assert caught.value.retry_after == 120
    assert clock.slept == []
    assert guard.log == ["permit", "check", "check", "wrote"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 302, 303, 408])
async def test_ambiguous_answer_is_unknown_but_answered(status, server, transport, guard, make_operation):
    """A 5xx, a strange redirect or a 408 on an effect is never sent again, and says that it was an answer."""
    server.steps = [server.answer(status, b'{"detail":"boom"}', location="/elsewhere", x_request_id="r-1")]
    with pytest.raises(OutcomeUnknown) as caught:
        await transport.call(make_operation("POST"), json={})
    error = caught.value
    assert (error.status, error.answered, error.request_id) == (status, True, "r-1")
    assert guard.log == ["permit", "check", "check", "wrote", "gave_up"]
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{}",
        b"HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\nab",
    ],
)
async def test_lost_answer_is_unknown(torn, server, transport, guard, make_operation):
    """An answer cut off anywhere is unknown; one request only; the socket is closed before we say so."""
    server.steps = [server.cut(torn)]
    with pytest.raises(OutcomeUnknown) as caught:
        await transport.call(make_operation("POST"), json={})
    assert not caught.value.answered
    assert guard.log == ["permit", "check", "check", "wrote", "gave_up"]
    assert len(server.seen) == 1


async def test_deadline_on_an_effect(server, transport, guard, make_operation):
    """Our own deadline after the request left: unknown, and told only once the descriptor is closed."""
    server.steps = [server.silence]
    sockets = []
    guard.when["wrote"] = lambda: _note_socket(transport, sockets)
    guard.when["gave_up"] = lambda: _note_closed(sockets)
    with pytest.raises(OutcomeUnknown, match=r"within 0.15 s"):
        await transport.call(make_operation("POST", deadline=0.15), json={})
    assert guard.log[-1] == "gave_up"
    assert sockets[1:] == [-1]
    assert transport._network._pool.connections == []


async def _note_socket(transport, into):
    connection = transport._network._pool.connections[0]._connection
    into.append(connection._network_stream.get_extra_info("socket"))


async def _note_closed(into):
    into.append(into[0].fileno())


async def test_connect_to_a_proxy_is_not_our_request(server, guard, make_operation, monkeypatch):
    """The CONNECT that opens a tunnel takes no permit; a tunnel without TLS behind it is not sent."""
    monkeypatch.setenv("https_proxy", server.url.removesuffix("/api"))
    server.steps = [server.cut(b"HTTP/1.1 200 OK\r\n\r\n")]
    policy = RetryPolicy(attempts=1)
    async with Transport(system="acme", base_url="https://vendor.example", policy=policy) as transport:
        with pytest.raises(NotSent):
            await transport.call(make_operation("POST"), json={})
    assert server.seen[0].line == "CONNECT vendor.example:443 HTTP/1.1"
    assert guard.log == ["unsent"]


async def test_deadline_while_the_permit_is_taken(server, transport, guard, make_operation):
    """A ledger too slow for the deadline: nothing left, so it is not sent."""
    guard.when["permit"] = lambda: asyncio.sleep(30)
    with pytest.raises(NotSent):
        await transport.call(make_operation("POST", deadline=0.1), json={})
    assert guard.log == ["permit", "unsent"]
    assert server.seen == []


async def test_cancellation_in_flight(server, transport, guard, make_operation):
    """A cancelled call closes its socket and tells the guard to the end, though cancelled twice."""
    server.steps = [server.silence]
    told, wrote = asyncio.Event(), asyncio.Event()
    guard.when["wrote"] = lambda: _set(wrote)

    async def slow():
        await asyncio.sleep(0.05)
        told.set()

    guard.when["gave_up"] = slow
    call = asyncio.create_task(transport.call(make_operation("POST"), json={}))
    await wrote.wait()
    call.cancel()
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert told.is_set()
    assert guard.log == ["permit", "check", "check", "wrote", "gave_up"]
    assert transport._network._pool.connections == []


async def _set(event, then=0.0):
    event.set()
    await asyncio.sleep(then)


async def test_cancellation_before_the_permit(transport, guard, make_operation):
    """A call cancelled while it takes its permit is reported unsent."""
    asked = asyncio.Event()
    guard.when["permit"] = lambda: _set(asked, 30)
    call = asyncio.create_task(transport.call(make_operation("POST"), json={}))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert guard.log == ["permit", "unsent"]


async def test_a_guard_that_cannot_be_told_does_not_hide_the_outcome(
    server, transport, guard, make_operation
):
    """The ledger is down while we give up: the outcome is still what is raised."""
    server.steps = [server.cut(b"")]
    guard.fails["gave_up"] = OSError("disk full")
    with pytest.raises(OutcomeUnknown):
        await transport.call(make_operation("POST"), json={})


async def test_reads_ask_no_permit(transport, guard, make_operation):
    """A look made while an effect's guard is set takes no permit."""
    await transport.call(make_operation("GET"))
    assert guard.log == []


async def test_effect_without_a_guard_is_still_unknown(server, transport, make_operation):
    """A client used on its own calls an ambiguous outcome what it is."""
    assert send_guard.get() is None
    server.steps = [server.cut(b"")]
    with pytest.raises(OutcomeUnknown):
        await transport.call(make_operation("POST"), json={})
    assert len(server.seen) == 1


async def test_custom_transport_takes_the_permit_before_handing_over(guard, make_operation):
    """An in-process server sends no events: permit and check come before it sees the request."""
    async with Transport(
        system="a", base_url="http://x", http=httpx.MockTransport(lambda _: _served(guard))
    ) as inside:
        await inside.call(make_operation("POST"), json={})
        guard.fails["permit"] = Expired("no")
        with pytest.raises(Expired):
            await inside.call(make_operation("POST"), json={})
    assert guard.log == ["permit", "check", "served", "permit", "unsent"]


def _served(guard):
    guard.log.append("served")
    return httpx.Response(200, json={})


async def test_failpoints_lie_in_the_order_of_the_protocol(
    server, transport, armed, make_operation, tmp_path
):
    """A chaos run can stop a call at each named place, in this order, around the guard's steps."""
    file = tmp_path / "f.bin"
    file.write_bytes(b"x")
    await transport.call(make_operation("POST"), upload=Upload("file", file, "f.bin", "text/plain"))
    assert armed == [
        "pool.wait",
        "connect.after",
        "hook.before_permit",
        "permit",
        "check",
        "check1.after",
        "headers.after_write",
        "check",
        "check2.after",
        "chunk.between",
        "check",
        "body.last_chunk.before",
        "check",
        "body.after_write",
        "wrote",
        "answer.headers",
        "answer.mid_body",
        "answer.read",
    ]
    armed.clear()
    server.steps = [server.cut(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{}")]
    with pytest.raises(OutcomeUnknown):
        await transport.call(make_operation("POST"))
    assert armed[-3:] == ["giveup.before_close", "giveup.after_close", "gave_up"]


async def test_closing_discards_what_was_not_sent(server, transport, guard, make_operation, tmp_path):
    """Giving up in the middle of an upload resets the connection instead of flushing it (SO_LINGER)."""
    file = tmp_path / "f.bin"
    file.write_bytes(b"x" * 3_000_000)
    guard.checks_left, guard.fails["check"] = 6, Expired("late")
    with pytest.raises(OutcomeUnknown):
        await transport.call(make_operation("POST"), upload=Upload("file", file, "f.bin", "text/plain"))
    await server.settled()
    assert server.resets == 1
