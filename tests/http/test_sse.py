"""Server-sent events at every byte (planck.md §5.5, §7)."""

import asyncio

import pytest

from plait.http import Event
from plait.http.errors import DeadlineExceeded, MalformedResponse, OutcomeUnknown, StreamTruncated
from plait.http.operation import Effect, Timeouts
from plait.http.sse import SseParser

STREAM = (
    '\ufeffevent: start\ndata: {"a":\ndata: 1}\n\n: a comment\n\nevent:bare\r\ndata:no space\r\n\r\n'
    "event: ping\n\nretry: 5\n\nid: 7\n\n\n\rdata: caf\u00e9 \u2028 \u0085 \u6771\r\r"
    "field: ignored\n\ndata\n\nevent: stop\ndata: {}\n\n"
).encode()
EVENTS = [
    Event("start", '{"a":\n1}'),
    Event("bare", "no space"),
    Event("ping", ""),
    Event("message", "caf\u00e9 \u2028 \u0085 \u6771"),
    Event("message", ""),
    Event("stop", "{}"),
]


def parse(*chunks):
    """The events of all chunks."""
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_any_split_reads_the_same(ending):
    """Cut in two at every byte, or given byte by byte, with each line ending: the same events."""
    stream = (
        STREAM
        if ending == b"\n"
        else STREAM.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", ending)
    )
    assert parse(stream) == EVENTS
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == EVENTS
    for cut in range(len(stream) + 1):
        assert parse(stream[:cut], stream[cut:]) == EVENTS


def test_cut_off_gives_only_whole_events():
    """Ended at any byte, the events given are the first ones, each whole."""
    for cut in range(len(STREAM)):
        got = parse(STREAM[:cut])
        assert got == EVENTS[: len(got)]
        assert len(got) < len(EVENTS)


def test_last_event_without_blank_line_is_discarded():
    """An event counts only with its blank line."""
    assert parse(b"event: stop\ndata: {}\n") == []


def test_cr_line_is_given_at_once():
    """A line ended by CR does not wait for the next byte."""
    assert parse(b"data: x\r\r") == [Event("message", "x")]


def test_event_size_is_bounded():
    """An event that never ends is refused, as one line or as many."""
    for chunk in (b"x" * 10, b"data: x\n"):
        parser = SseParser(limit=100)
        for _ in range(100 // len(chunk)):
            assert list(parser.feed(chunk)) == []
        with pytest.raises(MalformedResponse, match="larger than 100"):
            list(parser.feed(chunk * 2))


def test_broken_utf8_does_not_lose_the_event():
    """Bytes that are no UTF-8 become the replacement character, as WHATWG says."""
    assert parse(b"data: a\xff\n\n") == [Event("message", "a\ufffd")]


def test_event_json():
    """Data is read as JSON; a ping has none; anything else is said to be malformed."""
    assert Event("x", '{"a": 1}').json() == {"a": 1}
    assert Event("ping", "").json() is None
    with pytest.raises(MalformedResponse, match="'x' is not JSON: 'nope'"):
        Event("x", "nope").json()


def sse(*chunks, end=b"0\r\n\r\n", status=200, kind="text/event-stream; charset=latin-1"):
    """Send the chunks as an event stream, then `end`."""

    async def step(writer):
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for chunk in chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(end)
        await writer.drain()
        writer.close()

    return step


async def collect(transport, op, into=None):
    """Read a stream to its end; what came before an error is in `into`."""
    events = [] if into is None else into
    async with transport.stream(op, json={}) as stream:
        async for event in stream:
            events.append(event)
    return events


async def test_stream_over_the_wire(server, transport, make_operation):
    """Bytes one at a time, under another declared charset, are read as UTF-8 to a clean end."""
    server.steps = [sse(*(STREAM[i : i + 1] for i in range(len(STREAM))))]
    assert await collect(transport, make_operation("POST")) == EVENTS
    assert server.seen[0].header("accept") == "text/event-stream"


@pytest.mark.parametrize("effect", ["read", "findable"])
async def test_torn_stream_is_truncated(effect, server, transport, guard, make_operation):
    """A connection that ends without the last chunk is `StreamTruncated`; an effect's guard hears of it."""
    server.steps = [sse(STREAM, end=b"")]
    events = []
    with pytest.raises(StreamTruncated) as caught:
        await collect(transport, make_operation("POST", effect=Effect(effect)), events)
    assert events == EVENTS
    assert caught.value.operation == "act"
    told = ["permit", "check", "check", "wrote", "gave_up"] if effect == "findable" else []
    assert guard.log == told


async def test_reset_in_the_middle(server, transport, make_operation):
    """A reset is no clean end."""

    async def step(writer):
        await sse(b"data: 1\n\n", end=b"")(_Kept(writer))
        writer.transport.abort()

    server.steps = [step]
    with pytest.raises(StreamTruncated):
        await collect(transport, make_operation("POST"))


class _Kept:
    def __init__(self, writer):
        self.write, self.drain = writer.write, writer.drain

    def close(self):
        """Leave it open."""


async def test_leaving_early_closes_the_connection(server, transport, guard, make_operation):
    """A consumer that has seen enough leaves no connection behind, and nothing was given up."""
    server.steps = [sse(STREAM, end=b"")]
    async with transport.stream(make_operation("POST"), json={}) as stream:
        assert await anext(aiter(stream)) == EVENTS[0]
    await server.settled()
    assert guard.log == ["permit", "check", "check", "wrote"]
    assert transport._network._pool.connections == []


async def test_a_consumers_own_error_gives_the_effect_up(server, transport, guard, make_operation):
    """Whatever ends the block with an exception: socket closed, guard told, the exception unchanged."""
    server.steps = [sse(STREAM)]
    with pytest.raises(ZeroDivisionError):
        async with transport.stream(make_operation("POST"), json={}):
            raise ZeroDivisionError
    assert guard.log[-1] == "gave_up"


async def test_json_in_place_of_a_stream(server, transport, make_operation):
    """A JSON content type is offered as a whole answer."""
    server.steps = [server.answer(200, b'{"id": "m"}')]
    async with transport.stream(make_operation("POST"), json={}) as stream:
        assert stream.is_json
        assert (await stream.answer()).json() == {"id": "m"}
        with pytest.raises(MalformedResponse):
            aiter(stream)


@pytest.mark.parametrize("effect", ["read", "findable"])
async def test_html_in_place_of_a_stream(effect, server, transport, make_operation):
    """A proxy's page with status 200 is neither: malformed, for an effect unknown, with its title."""
    server.steps = [server.answer(200, b"<html><title>Sign in</title></html>", content_type="text/html")]
    kind = OutcomeUnknown if effect == "findable" else MalformedResponse
    with pytest.raises(kind, match="Sign in") as caught:
        await collect(transport, make_operation("POST", effect=Effect(effect)))
    assert getattr(caught.value, "answered", True)


async def test_status_is_checked_before_the_content_type(server, transport, make_operation):
    """A 500 that calls itself an event stream is a failure, not an empty stream."""
    server.steps = [sse(b"data: 1\n\n", status=500)]
    with pytest.raises(OutcomeUnknown) as caught:
        await collect(transport, make_operation("POST"))
    assert (caught.value.status, caught.value.answered) == (500, True)


@pytest.mark.parametrize(("effect", "kind"), [("read", DeadlineExceeded), ("findable", OutcomeUnknown)])
async def test_a_stream_that_only_pings_ends_at_the_deadline(effect, kind, server, transport, make_operation):
    """Pings are life for the read timeout, and never for the deadline."""

    async def ping(writer):
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(1000):
            writer.write(b": ping\n\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    server.steps = [ping]
    with pytest.raises(kind, match=r"within 0.2 s"):
        await collect(transport, make_operation("POST", effect=Effect(effect), deadline=0.2))


@pytest.mark.parametrize(("effect", "kind"), [("read", DeadlineExceeded), ("findable", OutcomeUnknown)])
async def test_silence_ends_at_the_read_timeout(effect, kind, server, transport, make_operation):
    """A stream that falls silent is given up after the operation's read timeout."""

    async def silent(writer):
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n")
        await server.silence(writer)

    server.steps = [silent]
    op = make_operation("POST", effect=Effect(effect), timeouts=Timeouts(read=0.1))
    with pytest.raises(kind, match=r"silent for 0.1 s"):
        await collect(transport, op)
