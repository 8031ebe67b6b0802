"""One request and its answer: what left the machine, when, and who is told (effect-protocol.md §4)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import httpx

from plait.failpoints import reach
from plait.http.errors import LimitExceeded
from plait.http.guard import SendGuard
from plait.http.operation import Operation

log = logging.getLogger(__name__)

_FAREWELL: Final = 5.0
"""Seconds for closing a socket and telling the guard, cancelled or not."""


class Exchange:
    """Sends one request once. For a guarded effect it asks the guard before bytes may leave."""

    def __init__(
        self, network: httpx.AsyncBaseTransport, operation: Operation, url: httpx.URL, guard: SendGuard | None
    ) -> None:
        self.operation = operation
        self.url = url
        self.deadline = asyncio.get_running_loop().time() + operation.deadline
        """The moment, in the loop's time, at which we stop waiting."""
        self.left = False
        """Whether a byte of the request may have left the machine."""
        self.complete = False
        """Whether the answer arrived to its last byte."""
        self.response: httpx.Response | None = None
        self._network = network
        self._guard = guard
        self._request: httpx.Request | None = None
        self._tunnel = False
        self._steps: Mapping[str, Callable[[], Awaitable[None]]] = {
            "connection.connect_tcp.complete": self._connected,
            "http11.send_request_headers.started": self._before_headers,
            "http11.send_request_headers.complete": self._after_headers,
            "http11.send_request_body.started": self._before_body,
            "http11.send_request_body.complete": self._after_body,
            "http11.receive_response_headers.complete": self._answer_began,
            "http11.receive_response_body.complete": self._answer_ended,
            "http11.response_closed.started": self._closing,
        }

    def check(self) -> None:
        """Raise when the permit has expired; an upload asks before each chunk."""
        if self._guard is not None:
            self._guard.check()

    async def open(self, request: httpx.Request) -> httpx.Response:
        """Send, and wait for the answer's headers."""
        self._request = request
        if self.operation.effect.guarded:
            reach("pool.wait")
            if isinstance(self._network, httpx.AsyncHTTPTransport):
                request.extensions["trace"] = self._trace
            else:
                await self._before_headers()  # no events come from anything but real connections
        self.response = await self._network.handle_async_request(request)
        return self.response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's body, decoded, as it arrives."""
        assert self.response is not None  # noqa: S101 -- mypy; `open` came first
        async for chunk in self.response.aiter_bytes():
            self._visit("answer.mid_body")
            yield chunk
        self.complete = True
        self._visit("answer.read")

    async def read(self, limit: int) -> bytes:
        """The whole body; `LimitExceeded` over `limit` bytes."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise LimitExceeded(
                    f"the answer is larger than {limit} bytes, which no call of Plait expects"
                )
        return bytes(body)

    async def close(self) -> None:
        """Give the connection back, or close it if the answer did not end."""
        if self.response is not None:
            await self.response.aclose()
        if self._request is not None and isinstance(self._request.stream, httpx.AsyncByteStream):
            await self._request.stream.aclose()

    async def abandon(self) -> None:
        """Close the socket, then tell the guard what became of the request; survives cancellation."""
        await finish(self._abandon(), _FAREWELL)

    async def _abandon(self) -> None:
        await self.close()
        await asyncio.sleep(0)  # asyncio closes the descriptor one turn after the transport
        if not self.operation.effect.guarded:
            return
        if self.left and not self.complete:
            reach("giveup.after_close")
        if self._guard is not None:
            await (self._guard.gave_up() if self.left else self._guard.unsent())

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            # A proxy is first asked to CONNECT, with our extensions: that is not our request.
            self._tunnel = info["request"].method == b"CONNECT"
        step = self._steps.get(event)
        if step is not None and not self._tunnel:
            await step()

    async def _connected(self) -> None:
        reach("connect.after")

    async def _before_headers(self) -> None:
        reach("hook.before_permit")
        if self._guard is not None:
            await self._guard.permit()
            self._guard.check()
        reach("check1.after")
        self.left = True

    async def _after_headers(self) -> None:
        reach("headers.after_write")

    async def _before_body(self) -> None:
        self.check()
        reach("check2.after")

    async def _after_body(self) -> None:
        reach("body.after_write")
        if self._guard is not None:
            await self._guard.wrote()

    async def _answer_began(self) -> None:
        reach("answer.headers")

    async def _answer_ended(self) -> None:
        self.complete = True

    async def _closing(self) -> None:
        if self.left and not self.complete:
            reach("giveup.before_close")

    def _visit(self, name: str) -> None:
        if self.operation.effect.guarded:
            reach(name)


async def finish(work: Coroutine[Any, Any, None], limit: float) -> None:
    """Run `work` to its end, for at most `limit` seconds, even if we are cancelled meanwhile.

    A cancellation is raised afterwards. Failures are logged, not raised: what led here matters more,
    and a ledger that could not be told makes the attempt quiet itself (effect-protocol.md §4 step 5).
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    until = loop.time() + limit
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and loop.time() < until:
        try:
            await asyncio.wait({task}, timeout=until - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.done():
        task.cancel()
        log.warning("could not settle an abandoned request within %s s", limit)
    elif not task.cancelled() and (failure := task.exception()) is not None:
        log.warning("could not settle an abandoned request: %s", failure)
    if cancelled is not None:
        raise cancelled
