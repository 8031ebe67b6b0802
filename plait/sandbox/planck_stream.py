"""Planck's answer as server-sent events (planck.md §5): frames, and the response that sends them."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from plait.sandbox.planck_settings import PlanckSettings, StreamDefect
from plait.sandbox.wire import gone

SSE: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event; `name` None leaves out the `event:` line."""

    name: str | None
    data: dict[str, Any]


@dataclass(slots=True)
class Job:
    """One answer being made; it belongs to the server, not to the connection that asked."""

    id: str
    """The stream's id; not the id of a stored message (planck.md §5.1)."""
    blocks: asyncio.Future[list[dict[str, Any]]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    delivered: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """True when everything but the last event is sent, False when the client hung up before."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all that will be stored is stored, or the making failed."""

    def settle(self, *, delivered: bool) -> None:
        """Say how the connection ended; only the first word counts."""
        if not self.delivered.done():
            self.delivered.set_result(delivered)


def message_start(job: Job, settings: PlanckSettings) -> Frame:
    """The first event [vendor]; nested when asked to look like Anthropic's."""
    message = {"id": job.id, "role": "assistant"}
    return Frame("message_start", {"message": message} if settings.nesting == "anthropic" else message)


def message_stop(job: Job, settings: PlanckSettings) -> Frame:
    """The only event that means done [vendor]."""
    return Frame("message_stop", {"id": job.id, **consumed(settings)})


def consumed(settings: PlanckSettings) -> dict[str, float]:
    """`credits_consumed`, where it is said at all."""
    amounts = {"one": 1, "zero": 0, "fractional": 0.25}
    return {"credits_consumed": amounts[settings.credits]} if settings.credits in amounts else {}


def block_frames(blocks: Sequence[dict[str, Any]], settings: PlanckSettings) -> list[Frame]:
    """Start, deltas and stop of every block, in order."""
    return [frame for index, block in enumerate(blocks) for frame in one_block(index, block, settings)]


def one_block(index: int, block: dict[str, Any], settings: PlanckSettings) -> Iterator[Frame]:
    """A text block in many deltas [vendor]; others as the switch says (planck.md §3.2)."""
    payload = dict(block)
    kind = payload.pop("type")
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        text = payload.pop("text")
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(text, settings)]
    elif settings.non_text_blocks == "delta":
        deltas, payload = [{"type": f"{kind}_delta", **payload}], {}
    elif settings.non_text_blocks == "pieces":
        # As Anthropic does it, a tool's name is in the start and only its input comes in pieces.
        travels = payload.pop("input") if kind == "tool_use" else payload
        payload = payload if kind == "tool_use" else {}
        whole = json.dumps(travels, ensure_ascii=False)
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(whole, settings)]
    yield block_start(index, kind, payload, settings)
    for delta in deltas:
        yield Frame("content_block_delta", {"index": index, "delta": delta})
    yield Frame("content_block_stop", {"index": index})


def block_start(index: int, kind: str, payload: dict[str, Any], settings: PlanckSettings) -> Frame:
    """`content_block_start`, flat [vendor] or nested."""
    fields = {"type": kind, **payload}
    nested = {"content_block": fields} if settings.nesting == "anthropic" else fields
    return Frame("content_block_start", {"index": index, **nested})


def _pieces(text: str, settings: PlanckSettings) -> Iterator[str]:
    for start in range(0, len(text), settings.delta_characters):
        yield text[start : start + settings.delta_characters]


class Encoder:
    """Frames to bytes, with the framing defects asked for (planck.md §5.5, §7 no. 2)."""

    def __init__(self, defects: Sequence[StreamDefect]) -> None:
        self._defects = frozenset(defects)
        self._newline = "\r\n" if "crlf" in defects else "\r" if "cr" in defects else "\n"
        self._space = "" if "no_space" in defects else " "
        self._first = True

    def encode(self, frame: Frame, *, last: bool = False) -> bytes:
        """One event and its blank line."""
        lines = [": keep-alive"] if "comments" in self._defects else []
        named = frame.name is not None and "data_only" not in self._defects
        lines += [f"event:{self._space}{frame.name}"] if named else []
        lines += [f"data:{self._space}{part}" for part in self._data(frame).split("\n")]
        ends = self._newline * (1 if last and "no_last_blank_line" in self._defects else 2)
        text = self._newline.join(lines) + ends
        mark = "\ufeff" if self._first and "bom" in self._defects else ""
        self._first = False
        return (mark + text).encode()

    def chunks(self, data: bytes) -> Iterator[bytes]:
        """What is written at once."""
        if "one_byte" in self._defects:
            yield from (data[place : place + 1] for place in range(len(data)))
        else:
            yield data

    def _data(self, frame: Frame) -> str:
        data = {"type": frame.name, **frame.data} if "data_only" in self._defects else frame.data
        if "split_data" in self._defects:
            return json.dumps(data, ensure_ascii=False, indent=1)
        return json.dumps(data, ensure_ascii=False)


FrameSource: TypeAlias = Callable[[Job, Sequence[dict[str, Any]]], tuple[list[Frame], list[Frame]]]
"""Gives the events up to the last block, and those that end the message."""


class AnswerStream(Response):
    """A response that sends a job's answer and tells the job how the connection ended."""

    def __init__(
        self, job: Job, settings: PlanckSettings, defects: Sequence[StreamDefect], frames: FrameSource
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"content-type": SSE, "cache-control": "no-store"})
        self._job = job
        self._settings = settings
        self._defects = defects
        self._encoder = Encoder(defects)
        self._frames = frames

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a hang-up ends the sending, never the job."""
        listener = asyncio.get_running_loop().create_task(gone(receive))
        try:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if await self._events(send, listener):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._job.settle(delivered=False)
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _events(self, send: Send, listener: "asyncio.Task[None]") -> bool:
        """False when the client is gone."""
        if not await self._send(message_start(self._job, self._settings), send, listener):
            return False
        endless = "pings_for_ever" in self._defects
        while endless or not self._job.blocks.done():
            if await self._wait(listener, send, endless=endless):
                return False
        if self._job.blocks.cancelled():
            failure = {"error": {"type": "server_error", "message": "The answer could not be made."}}
            return await self._send(Frame("error", failure), send, listener)
        body, tail = self._frames(self._job, self._job.blocks.result())
        for frame in body:
            if not await self._send(frame, send, listener):
                return False
        self._job.settle(delivered=True)
        await self._job.finished.wait()
        for number, frame in enumerate(tail, start=1):
            await self._send(frame, send, listener, last=number == len(tail))
        return True

    async def _wait(self, listener: "asyncio.Task[None]", send: Send, *, endless: bool) -> bool:
        """Wait for the answer and ping meanwhile; True when the client is gone."""
        waited: set[asyncio.Future[Any]] = {listener} if endless else {listener, self._job.blocks}
        done, _ = await asyncio.wait(
            waited, timeout=self._settings.ping_every, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            await self._send(Frame("ping", {}), send, listener)
        return listener.done()

    async def _send(
        self, frame: Frame, send: Send, listener: "asyncio.Task[None]", *, last: bool = False
    ) -> bool:
        for chunk in self._encoder.chunks(self._encoder.encode(frame, last=last)):
            if listener.done():
                return False
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._settings.delta_pause:
            await asyncio.wait({listener}, timeout=self._settings.delta_pause)
        else:
            # A write that does not wait would keep the news of a hang-up from being heard.
            await asyncio.sleep(0)
        return not listener.done()
