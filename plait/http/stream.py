"""The answer to a streaming call, event by event."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

import httpx

from plait.http.answer import Answer
from plait.http.errors import MalformedResponse, PlaitError
from plait.http.exchange import Exchange
from plait.http.outcome import Translator, raise_from
from plait.http.sse import Event, SseParser


class EventStream:
    """An open answer: a stream of events, or one JSON answer in its place (`is_json`).

    Iterating ends where the vendor ended the stream cleanly; whether that was the terminal event is
    for the caller to know. A torn connection is `StreamTruncated`; silence beyond the operation's read
    timeout or deadline is `DeadlineExceeded`, on a guarded effect `OutcomeUnknown`.
    """

    def __init__(
        self, exchange: Exchange, response: httpx.Response, translate: Translator, limit: int
    ) -> None:
        self.is_json = _media_type(response).endswith(("/json", "+json"))
        self.exchange = exchange
        self._response = response
        self._translate = translate
        self._limit = limit
        self._parser = SseParser()
        self._ready: deque[Event] = deque()
        self._chunks: AsyncIterator[bytes] = exchange.chunks()

    @staticmethod
    def readable(response: httpx.Response) -> bool:
        """Whether an answer is of a kind this class reads."""
        return _media_type(response).endswith(("/json", "+json", "/event-stream"))

    async def answer(self) -> Answer:
        """The whole JSON answer; `MalformedResponse` where the answer is a stream of events."""
        if not self.is_json:
            raise self._misused("a JSON answer was expected, and this is a stream of events")
        try:
            async with asyncio.timeout_at(self.exchange.deadline):
                body = await self.exchange.read(self._limit)
        except (httpx.HTTPError, TimeoutError, PlaitError) as error:
            raise_from(self._translate.failure(self.exchange, error), error)
        return Answer(self._response.status_code, dict(self._response.headers), body, self.exchange.operation)

    def __aiter__(self) -> Self:
        if self.is_json:
            raise self._misused("a stream of events was expected, and this is one JSON answer")
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            chunk = await self._next_chunk()
            if chunk is None:
                raise StopAsyncIteration
            try:
                self._ready.extend(self._parser.feed(chunk))
            except PlaitError as error:
                raise_from(self._translate.failure(self.exchange, error), error)
        return self._ready.popleft()

    async def _next_chunk(self) -> bytes | None:
        try:
            async with asyncio.timeout_at(self.exchange.deadline):
                return await anext(self._chunks, None)
        except (httpx.HTTPError, TimeoutError, PlaitError) as error:
            raise_from(self._translate.torn(self.exchange, error), error)

    def _misused(self, message: str) -> MalformedResponse:
        op = self.exchange.operation
        return MalformedResponse(
            message, system=op.system, operation=op.name, status=self._response.status_code
        )


def _media_type(response: httpx.Response) -> str:
    value: str = response.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()
