"""Server-sent events, read byte by byte as WHATWG says (planck.md §5.5).

httpx-sse is not used: it keeps a leading BOM with the first name, holds back a line that ends in
CR until the next byte, honours a charset other than UTF-8, and its decoder is private.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from plait.http.errors import MalformedResponse
from plait.http.words import clean

EVENT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one event, its framing included."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is `message` where the stream names none."""

    name: str
    data: str

    def json(self) -> Any:
        """`data` as JSON, None where there is none (pings); `MalformedResponse` if it is no JSON."""
        if not self.data.strip():
            return None
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            start = clean(self.data[:120])
            raise MalformedResponse(f"event {clean(self.name, 80)!r} is not JSON: {start!r}") from None


class SseParser:
    """Turns bytes into events, however they were split. An event without its blank line is never given."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._skip_lf = False
        self._first = True
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events completed by `chunk`; read the iterator to its end before the next call."""
        if not chunk:
            return
        ended_by_cr = chunk.endswith(b"\r")
        if self._skip_lf and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._skip_lf = ended_by_cr
        *lines, rest = _LINE_END.split(chunk)
        for line in lines:
            self._pieces.append(line)
            self._count(len(line) + 1)
            if event := self._line(self._take()):
                yield event
        self._pieces.append(rest)
        self._count(len(rest))

    def _take(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return line

    def _line(self, raw: bytes) -> Event | None:
        if not raw:
            return self._dispatch()
        if raw.startswith(b":"):
            self._size -= len(raw) + 1  # a comment is part of no event
            return None
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", "\n".join(self._data))
        heard = bool(self._name or self._data)
        self._name, self._data, self._size = "", [], 0
        return event if heard else None

    def _count(self, more: int) -> None:
        self._size += more
        if self._size > self._limit:
            raise MalformedResponse(f"one event of the stream is larger than {self._limit} bytes")
