"""The grammar of a streamed answer (planck.md §5): events in, blocks and the finished message out.

`message_start (block_start(i) delta(i)* block_stop(i))* message_stop`, read with every tolerance
of planck.md §7. Only `message_stop` means done.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from plait.content.blocks import ContentBlock
from plait.http import Answer, Event, EventStream
from plait.http.errors import OutcomeUnknown, StreamTruncated
from plait.http.operation import Operation
from plait.http.words import clean
from plait.vendors.planck.fragments import OpenBlock, credits_of, mapping
from plait.vendors.planck.models import ChatMessage

EVENTS: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    }
)
_UNNAMED: Final = frozenset({"", "message"})
"""What server-sent events call a frame without an `event:` line."""


@dataclass(frozen=True, slots=True)
class BlockStarted:
    """A block has begun; `kind` is the vendor's word."""

    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of a block's text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class BlockFinished:
    """A block is complete."""

    index: int
    block: ContentBlock


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete; nothing follows."""

    message: ChatMessage


StreamItem: TypeAlias = BlockStarted | TextDelta | BlockFinished | Finished


async def read_items(stream: EventStream, operation: Operation) -> AsyncGenerator[StreamItem, None]:
    """The items of an answer as they arrive, `Finished` last; a JSON answer is read as one piece.

    Raises:
        StreamTruncated: the stream ended before `message_stop`; `partial` is the message so far.
        OutcomeUnknown: an `error` event, or an answer that cannot be read.
    """
    if stream.is_json:
        for item in _whole(await stream.answer(), operation):
            yield item
        return
    assembler = Assembler(operation)
    try:
        async for event in stream:
            for item in assembler.feed(event):
                yield item
                if isinstance(item, Finished):
                    return
    except StreamTruncated as error:
        error.partial = assembler.partial()
        raise
    truncated = StreamTruncated(
        "the answer ended before message_stop, so it is not complete and its cost is not known",
        system=operation.system,
        operation=operation.name,
    )
    truncated.partial = assembler.partial()
    raise truncated


class Assembler:
    """Builds one message out of events, without input or output of its own."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._id: str | None = None
        self._role = "assistant"
        self._credits: float | None = None
        self._blocks: list[OpenBlock] = []

    def feed(self, event: Event) -> list[StreamItem]:
        """What one event brings; unknown events bring nothing (planck.md §5.1).

        Raises:
            OutcomeUnknown: an `error` event, or an event that should carry data and is not JSON.
        """
        name, data = self._dispatch(event)
        match name:
            case "message_start":
                self._start_message(data)
            case "content_block_start":
                return self._start_block(data)
            case "content_block_delta":
                return self._extend_block(data)
            case "content_block_stop":
                return self._stop_block(data)
            case "message_delta":
                self._read_credits(data)
            case "message_stop":
                return self._stop_message(data)
            case "error":
                raise _vendor_error(data, self._operation)
        return []

    def partial(self) -> ChatMessage:
        """What has arrived so far, for diagnosis. Its cost is not known (planck.md §5.2)."""
        ordered = sorted(self._blocks, key=lambda block: block.index)
        return ChatMessage(id=self._id, role=self._role, content=[block.finished() for block in ordered])

    def _dispatch(self, event: Event) -> tuple[str, Mapping[str, Any]]:
        """By the `event:` line; by `type` in the data only where there is no such line."""
        if event.name in EVENTS:
            return event.name, self._data(event)
        if event.name not in _UNNAMED:
            return event.name, {}
        data = _loads(event.data) or {}
        word = data.get("type")
        if isinstance(word, str) and word in EVENTS:
            return word, data
        # A flat start has the block's type in that place; its index gives it away.
        return ("content_block_start" if "index" in data and "delta" not in data else "", data)

    def _data(self, event: Event) -> Mapping[str, Any]:
        data = _loads(event.data)
        if data is None and event.name in {"content_block_start", "content_block_delta"}:
            raise _unknown(
                f"a {event.name} event is not a JSON object: {clean(event.data, 120)!r}", self._operation
            )
        return data if data is not None else {"detail": event.data}

    def _start_message(self, data: Mapping[str, Any]) -> None:
        message = mapping(data.get("message")) or data
        self._id = self._id or _word(message.get("id"))
        self._role = _word(message.get("role")) or self._role

    def _start_block(self, data: Mapping[str, Any]) -> list[StreamItem]:
        """Flat fields, or nested ones as Anthropic has them; the index in either place."""
        following = max((block.index for block in self._blocks), default=-1) + 1
        index = _index(data, following)
        nested = mapping(data.get("content_block"))
        fields = nested or {key: value for key, value in data.items() if key != "index"}
        block = self._latest(index)
        if block is not None and not block.stopped:
            block.restart(fields)
            return []
        return self._begin(OpenBlock.begun(index, fields))

    def _extend_block(self, data: Mapping[str, Any]) -> list[StreamItem]:
        index = self._index_of_running(data)
        flat = {key: value for key, value in data.items() if key not in {"index", "type"}}
        delta = data.get("delta", flat)
        block, started = self._latest(index), list[StreamItem]()
        if block is None:
            block = OpenBlock.implied(index, delta)
            started = self._begin(block)
        text = block.extend(delta)
        return [*started, TextDelta(index, text)] if text else started

    def _stop_block(self, data: Mapping[str, Any]) -> list[StreamItem]:
        block = self._latest(self._index_of_running(data))
        return [] if block is None or block.stopped else [_stopped(block)]

    def _stop_message(self, data: Mapping[str, Any]) -> list[StreamItem]:
        self._id = self._id or _word(data.get("id"))
        self._read_credits(data)
        late: list[StreamItem] = [_stopped(block) for block in self._blocks if not block.stopped]
        return [*late, Finished(self.partial().model_copy(update={"credits_consumed": self._credits}))]

    def _begin(self, block: OpenBlock) -> list[StreamItem]:
        self._blocks.append(block)
        items: list[StreamItem] = [BlockStarted(block.index, block.kind)]
        return [*items, TextDelta(block.index, block.text)] if block.text else items

    def _read_credits(self, data: Mapping[str, Any]) -> None:
        found = credits_of(data)
        self._credits = self._credits if found is None else found

    def _latest(self, index: int) -> OpenBlock | None:
        return next((block for block in reversed(self._blocks) if block.index == index), None)

    def _index_of_running(self, data: Mapping[str, Any]) -> int:
        return _index(data, self._blocks[-1].index if self._blocks else 0)


def _stopped(block: OpenBlock) -> BlockFinished:
    block.stopped = True
    return BlockFinished(block.index, block.finished())


def _whole(answer: Answer, operation: Operation) -> list[StreamItem]:
    """A message that came as one JSON object (planck.md §5.3); an error may come so with status 200."""
    body = mapping(answer.json())
    message = next(
        (inner for key in ("message", "data") if "content" in (inner := mapping(body.get(key)))), body
    )
    if "content" not in message:
        raise _vendor_error(body, operation)
    finished = ChatMessage(
        id=_word(message.get("id")),
        role=_word(message.get("role")) or "assistant",
        content=message["content"],
        credits_consumed=credits_of(message) if credits_of(body) is None else credits_of(body),
    )
    items: list[StreamItem] = []
    for index, block in enumerate(finished.content):
        items += [BlockStarted(index, block.type), BlockFinished(index, block)]
    return [*items, Finished(finished)]


def _vendor_error(data: Mapping[str, Any], operation: Operation) -> OutcomeUnknown:
    """`{"error": {"type", "message"}}` or `{"detail"}`: the question may be stored and paid for."""
    error = data.get("error", data.get("detail", dict(data)))
    said = mapping(error).get("message", error)
    words = clean(said if isinstance(said, str) else json.dumps(said, default=str))
    code = _word(mapping(error).get("type"))
    return _unknown(f"the answer broke off with an error: {words}", operation, code=code and clean(code, 80))


def _unknown(message: str, operation: Operation, code: str | None = None) -> OutcomeUnknown:
    return OutcomeUnknown(message, system=operation.system, operation=operation.name, status=200, code=code)


def _loads(text: str) -> Mapping[str, Any] | None:
    """The object that `text` is; an empty one for no data at all, None for anything else."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None


def _index(data: Mapping[str, Any], default: int) -> int:
    value = data.get("index")
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
