"""Answers that break the stream's grammar, as a client must survive them (planck.md §7)."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi.responses import HTMLResponse, JSONResponse, Response

from plait.sandbox.planck_settings import PlanckSettings, StreamDefect
from plait.sandbox.planck_stream import Frame, Job, block_frames, block_start, message_stop

_LINE_SEPARATORS: Final = "\u2028\u2029\u0085\u000b\u000c"
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


def answer_frames(
    job: Job, blocks: Sequence[dict[str, Any]], settings: PlanckSettings, defects: Sequence[StreamDefect]
) -> tuple[list[Frame], list[Frame]]:
    """The events up to the last block, and those that end the message."""
    frames = block_frames(_changed_blocks(blocks, defects), settings)
    for defect in defects:
        change = _CHANGES.get(defect)
        frames = change(frames, settings) if change else frames
    return frames, _tail(job, settings, defects)


def replacement(defects: Sequence[StreamDefect]) -> Response | None:
    """What is answered in place of a stream; the message was accepted all the same."""
    if "json_error_with_200" in defects:
        return JSONResponse({"detail": "Something went wrong"}, status_code=200)
    if "html_answer" in defects:
        return HTMLResponse(_HTML, status_code=200)
    return None


def _changed_blocks(
    blocks: Sequence[dict[str, Any]], defects: Sequence[StreamDefect]
) -> list[dict[str, Any]]:
    if "zero_blocks" in defects:
        return []
    changed = [block for block in blocks if block["type"] != "text" or "no_text" not in defects]
    if "line_separators" in defects:
        changed.append({"type": "text", "text": f"Separators: {_LINE_SEPARATORS}end."})
    return changed


def _tail(job: Job, settings: PlanckSettings, defects: Sequence[StreamDefect]) -> list[Frame]:
    if {"missing_message_stop", "error_event"} & set(defects):
        return []
    stop = message_stop(job, settings)
    tail = [stop, stop] if "double_message_stop" in defects else [stop]
    if "events_after_stop" in defects:
        tail += block_frames([{"type": "text", "text": "after the end"}], settings)
    return tail


def _next_index(frames: Sequence[Frame]) -> int:
    return max((frame.data.get("index", -1) for frame in frames), default=-1) + 1


def _without_last_block_stop(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    stops = [place for place, frame in enumerate(frames) if frame.name == "content_block_stop"]
    return frames[: stops[-1]] + frames[stops[-1] + 1 :] if stops else frames


def _interleaved(frames: list[Frame], settings: PlanckSettings) -> list[Frame]:
    """A second block whose deltas stand between the others'."""
    index = _next_index(frames)
    first, *rest = frames or [Frame("ping", {})]
    delta = {"type": "text_delta", "text": "interleaved"}
    return [
        first,
        block_start(index, "text", {}, settings),
        *rest[:1],
        Frame("content_block_delta", {"index": index, "delta": delta}),
        *rest[1:],
        Frame("content_block_stop", {"index": index}),
    ]


def _unopened(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    delta = {"type": "text_delta", "text": "nobody opened this"}
    return [*frames, Frame("content_block_delta", {"index": _next_index(frames), "delta": delta})]


def _gap(frames: list[Frame], settings: PlanckSettings) -> list[Frame]:
    """A last block whose index leaves out seven."""
    index = _next_index(frames) + 7
    text = {"type": "text_delta", "text": "after a gap"}
    return [
        *frames,
        block_start(index, "text", {}, settings),
        Frame("content_block_delta", {"index": index, "delta": text}),
        Frame("content_block_stop", {"index": index}),
    ]


def _repeated_start(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    return [*frames[:1], *frames]


def _unknown_event(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    return [Frame("usage_hint", {"tokens": 12}), *frames]


def _unknown_block(frames: list[Frame], settings: PlanckSettings) -> list[Frame]:
    index = _next_index(frames)
    start = block_start(index, "hologram", {"scene": {"size": 3}}, settings)
    return [*frames, start, Frame("content_block_stop", {"index": index})]


def _unknown_delta(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    """A delta of an unknown type inside the first block."""
    return [
        *frames[:1],
        Frame("content_block_delta", {"index": 0, "delta": {"type": "mood_delta"}}),
        *frames[1:],
    ]


def _broken_json(frames: list[Frame], settings: PlanckSettings) -> list[Frame]:
    """A table whose JSON never parses."""
    index = _next_index(frames)
    delta = {"type": "input_json_delta", "partial_json": '{"columns": ["a"], "rows": [[1'}
    return [
        *frames,
        block_start(index, "table", {}, settings),
        Frame("content_block_delta", {"index": index, "delta": delta}),
        Frame("content_block_stop", {"index": index}),
    ]


def _empty_block(frames: list[Frame], settings: PlanckSettings) -> list[Frame]:
    index = _next_index(frames)
    return [*frames, block_start(index, "text", {}, settings), Frame("content_block_stop", {"index": index})]


def _error_event(frames: list[Frame], _: PlanckSettings) -> list[Frame]:
    error = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
    return [*frames[: len(frames) // 2], Frame("error", error)]


_CHANGES: Final[dict[StreamDefect, Callable[[list[Frame], PlanckSettings], list[Frame]]]] = {
    "missing_block_stop": _without_last_block_stop,
    "interleaved_blocks": _interleaved,
    "unopened_index": _unopened,
    "index_gap": _gap,
    "repeated_start": _repeated_start,
    "unknown_event": _unknown_event,
    "unknown_block": _unknown_block,
    "unknown_delta": _unknown_delta,
    "broken_json": _broken_json,
    "empty_block": _empty_block,
    "error_event": _error_event,
}
