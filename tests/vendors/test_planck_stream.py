"""The grammar of streamed answers, frame by frame and byte by byte (planck.md §5, §7)."""

import asyncio
import json

import pytest

from plait.content.blocks import (
    ChartBlock,
    CodeBlock,
    ImageBlock,
    OpaqueBlock,
    TableBlock,
    TextBlock,
    ToolUseBlock,
)
from plait.http import Event, Transport
from plait.http.errors import OutcomeUnknown, StreamTruncated
from plait.http.sse import SseParser
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.operations import SEND_MESSAGE
from plait.vendors.planck.stream import Assembler, BlockFinished, BlockStarted, Finished, TextDelta

TABLE = {"columns": ["a", "b"], "rows": [[1, 2]]}


def frame(name, data):
    """One event as it travels."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def start(index, kind="text", **fields):
    """A block begins."""
    return ("content_block_start", {"index": index, "type": kind, **fields})


def delta(index, text):
    """More text of a block."""
    return ("content_block_delta", {"index": index, "delta": {"type": "text_delta", "text": text}})


def piece(index, text):
    """More JSON of a block."""
    return (
        "content_block_delta",
        {"index": index, "delta": {"type": "input_json_delta", "partial_json": text}},
    )


def stop(index):
    """A block ends."""
    return ("content_block_stop", {"index": index})


BEGIN = ("message_start", {"id": "m1", "role": "assistant"})
END = ("message_stop", {"id": "m1", "credits_consumed": 1})
HELLO = [BEGIN, start(0), delta(0, "Hel"), delta(0, "lo"), stop(0), END]


def assemble(events):
    """All items of some events, given as name and data."""
    assembler = Assembler(SEND_MESSAGE)
    return [item for name, data in events for item in assembler.feed(Event(name, json.dumps(data)))]


def message_of(events):
    """The finished message."""
    [*_, last] = assemble(events)
    assert isinstance(last, Finished)
    return last.message


def test_items_come_in_the_order_of_the_stream():
    """Start, text, finish, then the message with its cost."""
    started, first, second, finished, done = assemble(HELLO)
    assert started == BlockStarted(0, "text")
    assert (first, second) == (TextDelta(0, "Hel"), TextDelta(0, "lo"))
    assert finished == BlockFinished(0, TextBlock(text="Hello"))
    assert (done.message.id, done.message.text, done.message.credits_consumed) == ("m1", "Hello", 1.0)


TEXTS = {
    "the plain case": (HELLO, ["Hello"]),
    "nested fields": (
        [
            ("message_start", {"type": "message_start", "message": {"id": "m1", "role": "assistant"}}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            delta(0, "Hello"),
            stop(0),
            END,
        ],
        ["Hello"],
    ),
    "text in the start goes before the deltas": (
        [BEGIN, start(0, text="He"), delta(0, "llo"), stop(0), END],
        ["Hello"],
    ),
    "no stop": ([BEGIN, start(0), delta(0, "Hello"), END], ["Hello"]),
    "no message_start": ([start(0), delta(0, "Hello"), stop(0), END], ["Hello"]),
    "a delta for an unopened index": ([BEGIN, delta(0, "Hello"), END], ["Hello"]),
    "a delta without an index": (
        [BEGIN, start(3), ("content_block_delta", {"delta": {"type": "text_delta", "text": "Hello"}}), END],
        ["Hello"],
    ),
    "a delta that is a string": (
        [BEGIN, start(0), ("content_block_delta", {"index": 0, "delta": "Hello"}), END],
        ["Hello"],
    ),
    "a flat delta": (
        [BEGIN, start(0), ("content_block_delta", {"index": 0, "text": "Hello"}), END],
        ["Hello"],
    ),
    "index gaps, the wrong way round": (
        [BEGIN, start(7), delta(7, "B"), start(2), delta(2, "A"), END],
        ["A", "B"],
    ),
    "interleaved": (
        [BEGIN, start(0), start(1), delta(1, "B"), delta(0, "A"), delta(1, "b"), stop(1), stop(0), END],
        ["A", "Bb"],
    ),
    "a repeated start": (
        [BEGIN, start(0), delta(0, "He"), start(0), delta(0, "llo"), stop(0), END],
        ["Hello"],
    ),
    "an index used again after its stop": (
        [BEGIN, start(0), delta(0, "A"), stop(0), start(0), delta(0, "B"), stop(0), END],
        ["A", "B"],
    ),
    "a stop twice": ([BEGIN, start(0), delta(0, "A"), stop(0), stop(0), END], ["A"]),
    "a delta after its stop": ([BEGIN, start(0), delta(0, "He"), stop(0), delta(0, "llo"), END], ["Hello"]),
    "pings, unknown events and deltas": (
        [
            BEGIN,
            ("ping", {}),
            ("weather", {"type": "message_stop"}),
            start(0),
            ("content_block_delta", {"index": 0, "delta": {"type": "smell_delta", "text": "rose"}}),
            delta(0, "Hello"),
            ("message_delta", {"delta": {"stop_reason": "end"}}),
            END,
        ],
        ["Hello"],
    ),
    "a block with no deltas": ([BEGIN, start(0), stop(0), END], [""]),
    "no blocks": ([BEGIN, END], []),
}


@pytest.mark.parametrize(("events", "texts"), TEXTS.values(), ids=TEXTS)
def test_text_survives_every_tolerated_defect(events, texts):
    """No letter is lost or doubled, and the blocks are in the order of their indices."""
    message = message_of(events)
    assert [block.text for block in message.content] == texts


PAYLOADS = {
    "whole in the start": [start(0, "table", **TABLE)],
    "in one delta": [
        start(0, "table"),
        ("content_block_delta", {"index": 0, "delta": {"type": "table_delta", **TABLE}}),
    ],
    "in one delta, nested": [
        start(0, "table"),
        ("content_block_delta", {"index": 0, "delta": {"type": "table_delta", "table": TABLE}}),
    ],
    "as JSON pieces": [start(0, "table"), piece(0, json.dumps(TABLE)[:9]), piece(0, json.dumps(TABLE)[9:])],
    "as text pieces": [start(0, "table"), delta(0, json.dumps(TABLE)[:9]), delta(0, json.dumps(TABLE)[9:])],
    "a plural name": [start(0, "tables", **TABLE)],
}


@pytest.mark.parametrize("events", PAYLOADS.values(), ids=PAYLOADS)
def test_a_table_is_read_however_it_travels(events):
    """All three ways of planck.md §3.2 give the same block."""
    [block] = message_of([BEGIN, *events, stop(0), END]).content
    assert isinstance(block, TableBlock)
    assert block.rows == [[1, 2]]


def test_other_kinds_are_read():
    """Code by text, a tool's input by JSON pieces, a chart and a picture whole."""
    events = [
        start(0, "code", language="sql"),
        delta(0, "SELECT "),
        delta(0, "1"),
        start(1, "tool_use", id="t", name="search"),
        piece(1, '{"q": 1}'),
        start(2, "chart", spec={"mark": "bar"}),
        start(3, "image", data="AA==", media_type="image/png"),
    ]
    code, tool, chart, image = message_of([BEGIN, *events, END]).content
    assert isinstance(code, CodeBlock)
    assert code.code == "SELECT 1"
    assert isinstance(tool, ToolUseBlock)
    assert tool.input == {"q": 1}
    assert isinstance(chart, ChartBlock)
    assert isinstance(image, ImageBlock)


def test_citations_join_their_text():
    """Citations come in the start or as deltas of their own."""
    cite = (
        "content_block_delta",
        {"index": 0, "delta": {"type": "citations_delta", "citation": {"document_name": "a.pdf"}}},
    )
    [block] = message_of([BEGIN, start(0), delta(0, "x"), cite, END]).content
    assert [citation.document_name for citation in block.citations] == ["a.pdf"]


@pytest.mark.parametrize("broken", ['{"columns": [', "[1, 2]", "nonsense"])
def test_a_block_that_never_parses_stays_as_its_raw_text(broken):
    """One bad table does not cost the answer."""
    text, table = message_of(
        [BEGIN, start(0), delta(0, "x"), start(1, "table"), piece(1, broken), END]
    ).content
    assert text.text == "x"
    assert table == OpaqueBlock(kind="table", raw=broken)


def test_an_unknown_block_stays_opaque():
    """Its fields are in the raw text."""
    [block] = message_of([BEGIN, start(0, "hologram", depth=3), END]).content
    assert isinstance(block, OpaqueBlock)
    assert json.loads(block.raw) == {"type": "hologram", "depth": 3}


@pytest.mark.parametrize(
    ("data", "credits_consumed"),
    [
        ({}, None),
        ({"credits_consumed": None}, None),
        ({"credits_consumed": 0}, 0.0),
        ({"credits_consumed": 0.25}, 0.25),
        ({"credits_consumed": True}, None),
        ({"credits_consumed": -1}, None),
        ({"credits_consumed": "many"}, None),
        ({"usage": {"credits_consumed": 2}}, 2.0),
    ],
)
def test_unknown_credits_are_none_and_never_zero(data, credits_consumed):
    """A cost is only what the server says."""
    assert message_of([BEGIN, ("message_stop", data)]).credits_consumed == credits_consumed


def test_data_only_frames_go_by_their_type():
    """Without `event:` lines the type counts, if it is the name of an event."""
    assembler = Assembler(SEND_MESSAGE)
    frames = [
        {"type": name, **{k: v for k, v in data.items() if k != "type"}}
        for name, data in HELLO
        if name != "content_block_start"
    ]
    frames.insert(1, {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}})
    frames.insert(2, {"type": "text", "text": "not an event"})
    items = [item for data in frames for item in assembler.feed(Event("message", json.dumps(data)))]
    assert items[-1].message.text == "Hello"
    assert assembler.feed(Event("message", "[DONE]")) == []


def test_a_flat_start_without_its_event_line_is_not_lost():
    """Its `type` is the block's, so only the index tells what it is."""
    data = {"type": "table", "index": 0, **TABLE}
    assembler = Assembler(SEND_MESSAGE)
    assert assembler.feed(Event("message", json.dumps(data))) == [BlockStarted(0, "table")]
    assert assembler.partial().content[0].type == "table"


@pytest.mark.parametrize(
    ("data", "words", "code"),
    [
        ({"error": {"type": "overloaded", "message": "too much"}}, "too much", "overloaded"),
        ({"error": "too much"}, "too much", None),
        ({"detail": "too much"}, "too much", None),
        ({"detail": [{"msg": "too much"}]}, "too much", None),
    ],
)
def test_an_error_event_is_a_typed_error(data, words, code):
    """The question may be stored by then, so what became of it is not known."""
    with pytest.raises(OutcomeUnknown, match=words) as raised:
        assemble([BEGIN, ("error", data)])
    assert raised.value.code == code


def test_a_delta_that_is_no_json_is_not_passed_over():
    """A lost piece of text would be a wrong answer."""
    assembler = Assembler(SEND_MESSAGE)
    with pytest.raises(OutcomeUnknown, match="not a JSON object"):
        assembler.feed(Event("content_block_delta", "{"))
    assert assembler.feed(Event("ping", "not json")) == []


WIRE = b"".join(
    frame(name, data) for name, data in [BEGIN, start(0), delta(0, "Zürich\u2028☃"), stop(0), END]
)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_split_of_the_bytes_gives_the_same_answer(ending):
    """Two pieces cut at each byte, and single bytes, under each line ending."""
    wire = b"\xef\xbb\xbf" + WIRE.replace(b"\n", ending)
    for pieces in [[wire[:cut], wire[cut:]] for cut in range(len(wire))] + [[bytes([byte]) for byte in wire]]:
        parser, assembler = SseParser(), Assembler(SEND_MESSAGE)
        items = [item for part in pieces for event in parser.feed(part) for item in assembler.feed(event)]
        assert items[-1].message.text == "Zürich\u2028☃"


@pytest.fixture
async def client(vendor):
    """A client of the scripted vendor."""
    async with PlanckClient(Transport(system="planck", base_url=vendor.url)) as made:
        yield made


async def _ask(client):
    return await client.send_message("w", "c", "question")


@pytest.mark.parametrize("torn", [False, True], ids=["clean end", "torn connection"])
async def test_a_stream_cut_at_any_byte_is_never_an_answer(client, vendor, reply, torn):
    """Only the blank line after message_stop makes it whole; the partial keeps what had come."""
    for cut in range(1, len(WIRE)):
        vendor.handler = lambda _, cut=cut: reply(200, (WIRE[:cut],), "text/event-stream", cut=torn)
        with pytest.raises(StreamTruncated) as raised:
            await _ask(client)
        assert "Zürich\u2028☃".startswith(raised.value.partial.text)
        assert raised.value.partial.credits_consumed is None
    assert len(vendor.asked) == len(WIRE) - 1


async def test_bytes_one_at_a_time_and_a_wrong_charset(client, vendor, reply):
    """Server-sent events are UTF-8 whatever the header says."""
    pieces = tuple(bytes([byte]) for byte in WIRE)
    vendor.handler = lambda _: reply(200, pieces, "text/event-stream; charset=latin-1")
    message = await _ask(client)
    assert (message.text, message.credits_consumed) == ("Zürich\u2028☃", 1.0)


async def test_nothing_after_message_stop_counts(client, vendor, reply):
    """A second message_stop and later text are not read."""
    late = frame("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "!"}})
    late += frame("message_stop", {"credits_consumed": 9})
    vendor.handler = lambda _: reply(200, (WIRE + late,), "text/event-stream")
    assert (await _ask(client)).credits_consumed == 1.0


async def test_items_arrive_while_the_stream_runs(client, vendor, reply):
    """The vendor keeps the end back until the first text was seen."""
    gate = asyncio.Event()
    vendor.handler = lambda _: reply(200, (WIRE[:-60], WIRE[-60:]), "text/event-stream", gate=gate)
    kinds = []
    async with asyncio.timeout(60), client.stream_message("w", "c", "question") as items:
        async for item in items:
            kinds.append(type(item))
            if isinstance(item, TextDelta):
                gate.set()
    assert kinds == [BlockStarted, TextDelta, BlockFinished, Finished]


async def test_leaving_a_stream_early_closes_it(client, vendor, reply):
    """Hanging up leaves nothing behind, and the client goes on working."""
    vendor.handler = lambda _: reply(200, (WIRE,), "text/event-stream")
    async with client.stream_chat("w", "question") as items:
        assert isinstance(await anext(items), BlockStarted)
    assert (await _ask(client)).text == "Zürich\u2028☃"


async def test_a_json_answer_in_place_of_the_stream(client, vendor, answer):
    """Nothing streams, and the message is the same."""
    body = {
        "id": "m",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi"}],
        "credits_consumed": 0.5,
    }
    vendor.handler = lambda _: answer(body)
    message = await _ask(client)
    assert (message.text, message.credits_consumed) == ("Hi", 0.5)


async def test_a_json_error_with_status_200_is_an_error(client, vendor, answer):
    """A body without content is no empty answer."""
    vendor.handler = lambda _: answer({"error": {"type": "quota", "message": "no credits"}})
    with pytest.raises(OutcomeUnknown, match="no credits") as raised:
        await _ask(client)
    assert raised.value.code == "quota"


async def test_html_from_a_proxy_is_not_an_answer(client, vendor, reply):
    """What is neither a stream nor JSON leaves the outcome unknown."""
    vendor.handler = lambda _: reply(200, (b"<html><title>Sign in</title>",), "text/html")
    with pytest.raises(OutcomeUnknown):
        await _ask(client)
