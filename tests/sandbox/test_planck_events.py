"""The stand-in's streams: the grammar of planck.md §5, its switches, and the defects of §7."""

import asyncio
import json
from typing import Any, get_args

import httpx
import pytest

from plait.sandbox.planck_defects import answer_frames
from plait.sandbox.planck_settings import PlanckSettings, StreamDefect
from plait.sandbox.planck_store import OPERATIONS, SALES_WAREHOUSE
from plait.sandbox.planck_stream import Encoder, Frame, Job, message_start, message_stop

CHAT = f"/planck/api/v1/workspaces/{OPERATIONS.id}/chat"
QUESTION = {
    "message": "Total revenue by region?",
    "settings": {"chat_metadata": {"database": {"id": SALES_WAREHOUSE.id}}},
}
TABLE = {"type": "table", "title": "T", "columns": ["a"], "rows": [["x, y"], ["z"]]}
TEXT = {"type": "text", "text": "Hello there", "citations": [{"document_name": "a.pdf", "quote": "q"}]}
TOOL = {"type": "tool_use", "id": "1", "name": "search", "input": {"terms": ["rent"]}, "status": "completed"}


def parse(body: str) -> list[tuple[str | None, dict[str, Any]]]:
    """Events of a well-framed stream."""
    found = []
    for block in body.split("\n\n"):
        fields = [line.partition(":")[::2] for line in block.split("\n") if line and not line.startswith(":")]
        name = next((value.strip() for field, value in fields if field == "event"), None)
        data = "\n".join(value.removeprefix(" ") for field, value in fields if field == "data")
        if data:
            found.append((name, json.loads(data)))
    return found


def assembled(events: list[tuple[str | None, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Blocks of a stream that keeps to the grammar, checked on the way."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for name, data in events[1:-1]:
        if name == "content_block_start":
            assert not is_open
            assert data["index"] == len(blocks)
            blocks.append({key: value for key, value in data.items() if key != "index"})
            is_open = True
        elif name == "content_block_delta":
            assert is_open
            blocks[-1]["text"] = blocks[-1].get("text", "") + data["delta"]["text"]
        else:
            assert name == "content_block_stop"
            assert data == {"index": len(blocks) - 1}
            is_open = False
    assert not is_open
    return blocks


@pytest.fixture
async def planck(sandbox):
    """A client of the shared sandbox."""
    async with httpx.AsyncClient(
        base_url=sandbox.url, headers={"X-API-Key": "pk_live_sandbox"}, timeout=60
    ) as http:
        yield http


async def test_grammar(planck):
    """A stream is start, blocks in order and stop, and says the same as the answer in one piece."""
    streamed = await planck.post(CHAT, json=QUESTION)
    events = parse(streamed.text)
    whole = (await planck.post(CHAT, json=QUESTION | {"stream": False})).json()
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert (events[0][0], events[0][1]["role"]) == ("message_start", "assistant")
    assert events[-1] == ("message_stop", {"id": events[0][1]["id"], "credits_consumed": 1})
    assert assembled(events) == whole["content"]
    assert sum(name == "content_block_delta" for name, _ in events) > 3


@pytest.fixture
def job():
    """A job whose answer is known."""

    async def make() -> Job:
        return Job(id="j")

    return asyncio.run(make())


def frames(job: Job, blocks, defects=(), **switches) -> list[Frame]:
    """The events of an answer between start and stop."""
    return answer_frames(job, blocks, PlanckSettings(**switches), defects)[0]


def test_text_comes_in_deltas(job):
    """Text is cut into pieces of the set length, its citations are in the start."""
    start, *deltas, stop = frames(job, [TEXT], delta_characters=4)
    assert start.data == {"index": 0, "type": "text", "citations": TEXT["citations"]}
    assert [delta.data["delta"] for delta in deltas] == [
        {"type": "text_delta", "text": piece} for piece in ("Hell", "o th", "ere")
    ]
    assert (stop.name, stop.data) == ("content_block_stop", {"index": 0})


def test_a_table_travels_three_ways(job):
    """Whole in the start, whole in one delta, or as JSON pieces that join to the payload."""
    payload = {key: value for key, value in TABLE.items() if key != "type"}
    whole = frames(job, [TABLE])
    assert whole[0].data == {"index": 0, "type": "table", **payload}
    assert len(whole) == 2
    one = frames(job, [TABLE], non_text_blocks="delta")
    assert one[0].data == {"index": 0, "type": "table"}
    assert one[1].data["delta"] == {"type": "table_delta", **payload}
    pieces = frames(job, [TABLE], non_text_blocks="pieces", delta_characters=5)
    joined = "".join(frame.data["delta"]["partial_json"] for frame in pieces[1:-1])
    assert len(pieces) > 4
    assert json.loads(joined) == payload


def test_tool_input_in_pieces(job):
    """In pieces, a tool's name stays in the start and its input joins from the deltas."""
    start, *deltas, _ = frames(job, [TOOL], non_text_blocks="pieces")
    assert start.data == {"index": 0, "type": "tool_use", "id": "1", "name": "search", "status": "completed"}
    assert json.loads("".join(frame.data["delta"]["partial_json"] for frame in deltas)) == TOOL["input"]


def test_nesting(job):
    """Nested like Anthropic's, the fields stand under `message` and `content_block`."""
    settings = PlanckSettings(nesting="anthropic")
    assert message_start(job, settings).data == {"message": {"id": "j", "role": "assistant"}}
    assert frames(job, [TABLE], nesting="anthropic")[0].data["content_block"]["type"] == "table"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("one", {"id": "j", "credits_consumed": 1}),
        ("zero", {"id": "j", "credits_consumed": 0}),
        ("fractional", {"id": "j", "credits_consumed": 0.25}),
        ("absent", {"id": "j"}),
    ],
)
def test_credits(job, said, expected):
    """Credits stand in the last event alone, as the switch says."""
    assert message_stop(job, PlanckSettings(credits=said)).data == expected


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("bom", b'\xef\xbb\xbfevent: e\ndata: {"a": "\xe2\x82\xac"}\n\n'),
        ("crlf", b'event: e\r\ndata: {"a": "\xe2\x82\xac"}\r\n\r\n'),
        ("cr", b'event: e\rdata: {"a": "\xe2\x82\xac"}\r\r'),
        ("no_space", b'event:e\ndata:{"a": "\xe2\x82\xac"}\n\n'),
        ("comments", b': keep-alive\nevent: e\ndata: {"a": "\xe2\x82\xac"}\n\n'),
        ("split_data", b'event: e\ndata: {\ndata:  "a": "\xe2\x82\xac"\ndata: }\n\n'),
        ("data_only", b'data: {"type": "e", "a": "\xe2\x82\xac"}\n\n'),
        ("no_last_blank_line", b'event: e\ndata: {"a": "\xe2\x82\xac"}\n'),
    ],
)
def test_framing_defects(defect, expected):
    """Each framing defect gives exactly these bytes."""
    assert Encoder((defect,)).encode(Frame("e", {"a": "€"}), last=True) == expected


def test_one_byte_at_a_time():
    """The bytes are the same, each in a write of its own."""
    encoder = Encoder(("one_byte",))
    data = encoder.encode(Frame("e", {"a": "€"}))
    chunks = list(encoder.chunks(data))
    assert b"".join(chunks) == data
    assert {len(chunk) for chunk in chunks} == {1}


def names(events: list[tuple[str | None, dict[str, Any]]]) -> list[str | None]:
    """The names of events."""
    return [name for name, _ in events]


CHECKS = {
    "missing_message_stop": lambda body: names(parse(body))[-1] == "content_block_stop",
    "missing_block_stop": lambda body: names(parse(body))[-2] != "content_block_stop",
    "interleaved_blocks": lambda body: names(parse(body))[1:3] == ["content_block_start"] * 2,
    "unopened_index": lambda body: "nobody opened this" in body,
    "index_gap": lambda body: max(data.get("index", 0) for _, data in parse(body)) == 12,
    "repeated_start": lambda body: parse(body)[1] == parse(body)[2],
    "double_message_stop": lambda body: names(parse(body))[-2:] == ["message_stop"] * 2,
    "events_after_stop": lambda body: names(parse(body)).index("message_stop") < len(parse(body)) - 1,
    "unknown_event": lambda body: "usage_hint" in names(parse(body)),
    "unknown_block": lambda body: "hologram" in body,
    "unknown_delta": lambda body: "mood_delta" in body,
    "broken_json": lambda body: r"{\"columns\": [\"a\"], \"rows\": [[1" in body,
    "empty_block": lambda body: names(parse(body))[-3:-1] == ["content_block_start", "content_block_stop"],
    "no_text": lambda body: "text_delta" not in body,
    "zero_blocks": lambda body: names(parse(body)) == ["message_start", "message_stop"],
    "error_event": lambda body: names(parse(body))[-1] == "error",
    "data_only": lambda body: set(names(parse(body))) == {None},
    "bom": lambda body: body.startswith("\ufeffevent: message_start"),
    "crlf": lambda body: body.count("\r\n") == body.count("\n") > 10,
    "cr": lambda body: "\n" not in body and body.endswith("\r\r"),
    "no_space": lambda body: "event:message_stop\ndata:{" in body,
    "comments": lambda body: body.startswith(": keep-alive\n"),
    "split_data": lambda body: parse(body)[-1][1]["credits_consumed"] == 1 and "\ndata:  " in body,
    "line_separators": lambda body: "\u2028" in body and "\u0085" in body,
    "one_byte": lambda body: names(parse(body))[-1] == "message_stop",
    "no_last_blank_line": lambda body: body.endswith("}\n") and not body.endswith("\n\n"),
    "json_answer": lambda body: json.loads(body)["role"] == "assistant",
    "json_error_with_200": lambda body: json.loads(body) == {"detail": "Something went wrong"},
    "html_answer": lambda body: body.startswith("<html>"),
}


def test_every_defect_is_checked():
    """No defect is left out of the checks, but for the one that never ends."""
    assert set(CHECKS) == set(get_args(StreamDefect)) - {"pings_for_ever"}


@pytest.mark.parametrize("defect", CHECKS)
async def test_every_defect_by_header(planck, defect):
    """A header asks for any defect of one answer; the next answer is whole again."""
    broken = await planck.post(CHAT, json=QUESTION, headers={"X-Sandbox-Defect": defect})
    assert broken.status_code == 200
    assert CHECKS[defect](broken.content.decode())
    whole = await planck.post(CHAT, json=QUESTION)
    assert names(parse(whole.text))[-1] == "message_stop"


async def test_unknown_defect(planck):
    """A misspelt defect is refused with the names there are."""
    answer = await planck.post(CHAT, json=QUESTION, headers={"X-Sandbox-Defect": "crlf, crfl"})
    assert answer.status_code == 400
    assert "X-Sandbox-Defect names crfl; there are" in answer.json()["detail"]
