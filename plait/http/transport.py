"""The only way to a vendor: one request at a time, retried only where nothing can come of it twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from plait.clock import BootClock, Clock
from plait.http.address import base_address, slash_redirect
from plait.http.answer import UNSET, Answer
from plait.http.errors import NotSent, PlaitError, RateLimited, RequestRejected
from plait.http.exchange import Exchange
from plait.http.files import Downloaded, save
from plait.http.guard import send_guard
from plait.http.multipart import Upload
from plait.http.operation import Operation
from plait.http.outcome import SlashRedirect, Translator, raise_from
from plait.http.pacing import Gate, LocalGate
from plait.http.public import fetch_public
from plait.http.request import Draft, checked_headers, draft
from plait.http.retry import RateDialect, RetryBudget, RetryPolicy, backoff, may_retry, read_rate
from plait.http.sockets import connections
from plait.http.stream import EventStream
from plait.http.words import Redactor

T = TypeVar("T")

ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one answer held in memory."""

_UNPACKED: Final = {"Accept-Encoding": "identity"}


class Transport:
    """Calls of one system at one address with one credential.

    Retries reads and idempotent calls on network errors, 429 and passing 5xx; a guarded effect only
    where nothing left the machine, and on 429. Follows no redirect but a same-origin one that adds or
    drops the last slash. `headers` go to the base URL's origin and nowhere else, and into no error.
    """

    def __init__(
        self,
        *,
        system: str,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        gate: Gate | Mapping[str, Gate] | None = None,
        policy: RetryPolicy | None = None,
        dialect: RateDialect | None = None,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        seed: int | None = None,
    ) -> None:
        """Raise `ConfigurationError` for a base URL or a header that cannot be used.

        `gate` is one gate for every call, or one per limit class; classes without one get a `LocalGate`.
        `http` replaces the sockets (an in-process server); `seed` makes the jitter repeatable.
        """
        self.system = system
        self._base = base_address(base_url)
        self.base_url = str(self._base).rstrip("/")
        self._headers = checked_headers(headers or {})
        self._policy = policy or RetryPolicy()
        self._dialect = dialect or RateDialect()
        self._clock = clock or BootClock()
        self._gate = None if isinstance(gate, Mapping) else gate
        self._gates: dict[str, Gate] = dict(gate) if isinstance(gate, Mapping) else {}
        self._budget = RetryBudget(self._policy)
        self._rng = random.Random(seed)  # noqa: S311 -- jitter is no secret
        self._network = http or connections(self._base)
        self._translate = Translator(Redactor(self._headers), self._dialect)

    def __repr__(self) -> str:
        return f"Transport(system={self.system!r}, base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._network.aclose()

    async def call(
        self,
        op: Operation,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        upload: Upload | None = None,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call and read its 2xx answer whole. `headers` are this call's own.

        Raises `RequestRejected` (4xx), `NotSent`, `OutcomeUnknown` (guarded effects only), `ServerFailed`,
        `DeadlineExceeded`, `MalformedResponse`, `LimitExceeded`, `InvalidInput`.
        """
        taken = {name.lower() for name in self._headers}
        extra = {name: value for name, value in (headers or {}).items() if name.lower() not in taken}
        own = {
            **checked_headers(extra),
            **self._headers,
            "Accept": accept or "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        sent = await draft(op, self._base, own, path=path, query=query, json=json, upload=upload)

        async def read(exchange: Exchange, response: httpx.Response) -> Answer:
            body = await exchange.read(ANSWER_LIMIT)
            await exchange.close()
            return Answer(response.status_code, dict(response.headers), body, op)

        return await self._perform(op, sent, read)

    @asynccontextmanager
    async def stream(
        self,
        op: Operation,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        json: Any = UNSET,
    ) -> AsyncIterator[EventStream]:
        """Make one call whose answer is a stream of events, or JSON in its place (planck.md §5.3).

        Raises on entry as `call` does. Leaving with an exception closes the socket first; for a guarded
        effect the guard is then told that we gave up.
        """
        headers = {**self._headers, "Accept": "text/event-stream", "Cache-Control": "no-store", **_UNPACKED}
        sent = await draft(op, self._base, headers, path=path, query=query, json=json)

        async def start(exchange: Exchange, response: httpx.Response) -> EventStream:
            if not EventStream.readable(response):
                raise await self._translate.unexpected(exchange, response)
            return EventStream(exchange, response, self._translate, ANSWER_LIMIT)

        events = await self._perform(op, sent, start)
        try:
            yield events
        except BaseException:
            await events.exchange.abandon()
            raise
        await events.exchange.close()

    async def download(
        self,
        op: Operation,
        destination: Path,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Downloaded:
        """Fetch a file into `destination`, which appears whole or not at all; `limit` is bytes.

        A redirect to a signed address is fetched without our credentials. Raises as `call` does, and
        `ConfigurationError` when the folder cannot be written.
        """
        headers = {**self._headers, "Accept": "*/*", **_UNPACKED}
        sent = await draft(op, self._base, headers, path=path, query=query)

        async def receive(exchange: Exchange, response: httpx.Response) -> Downloaded | str:
            if response.has_redirect_location:
                await exchange.close()
                return str(sent.url.join(response.headers["location"]))
            saved = await save(response, exchange.chunks(), destination, limit)
            await exchange.close()
            return saved

        got = await self._perform(op, sent, receive, redirects=True)
        if isinstance(got, str):
            return await fetch_public(got, destination, limit=limit, secure=self._base.scheme == "https")
        return got

    async def _perform(
        self,
        op: Operation,
        sent: Draft,
        consume: Callable[[Exchange, httpx.Response], Awaitable[T]],
        *,
        redirects: bool = False,
    ) -> T:
        """Ask until there is an answer to keep or an error to raise."""
        moved, lost, retries, waited = False, False, 0, 0.0
        while True:
            try:
                result = await self._attempt(op, sent, consume, redirects=redirects)
            except PlaitError as error:
                error.after_loss = lost
                lost = lost or not isinstance(error, NotSent | RequestRejected)
                delay = 0.0
                if isinstance(error, SlashRedirect) and not moved:
                    sent, moved = sent.at(error.target), True
                elif (wait := self._delay(op, error, retries, waited)) is None:
                    raise
                else:
                    retries, waited, delay = retries + 1, waited + wait, wait
                await _tell_refused(op, error)
            else:
                self._budget.succeeded()
                return result
            if delay:
                await self._clock.sleep(delay)

    def _delay(self, op: Operation, error: PlaitError, retries: int, waited: float) -> float | None:
        """Seconds until the next request of this call, or None where there is to be none."""
        if retries + 1 >= self._policy.attempts or not may_retry(
            error, guarded=op.effect.guarded or op.in_order
        ):
            return None
        delay = backoff(self._policy, retries, error.retry_after, self._rng)
        if waited + delay > self._policy.max_inline_wait:
            return None
        # Obeying a 429 is no storm; the gate slows everybody down already.
        return delay if isinstance(error, RateLimited) or self._budget.take() else None

    async def _attempt(
        self,
        op: Operation,
        sent: Draft,
        consume: Callable[[Exchange, httpx.Response], Awaitable[T]],
        *,
        redirects: bool,
    ) -> T:
        """One request; whatever goes wrong, the socket is closed and the guard told before it is raised."""
        gate = self._gate or self._gates.setdefault(op.limit_class, LocalGate(clock=self._clock))
        epoch = await self._admission(op, gate)
        exchange = Exchange(self._network, op, sent.url, send_guard.get() if op.effect.guarded else None)
        try:
            async with asyncio.timeout_at(exchange.deadline):
                response = await exchange.open(sent.request(op, exchange.check))
                await gate.report(epoch, read_rate(response.status_code, response.headers, self._dialect))
                await self._accept(exchange, response, redirects=redirects)
                return await consume(exchange, response)
        except RequestRejected:
            await exchange.close()
            raise
        except BaseException as error:  # noqa: BLE001 -- the last line always raises
            await exchange.abandon()
            raise_from(self._translate.failure(exchange, error), error)

    async def _accept(self, exchange: Exchange, response: httpx.Response, *, redirects: bool) -> None:
        """Raise what an answer means that is neither a success nor a redirect we may leave by."""
        location = response.headers.get("location")
        slash = slash_redirect(exchange.operation.method, response.status_code, exchange.url, location)
        leaving = redirects and response.has_redirect_location and slash is None
        if not response.is_success and not leaving:
            raise await self._translate.refusal(exchange, response, slash)

    async def _admission(self, op: Operation, gate: Gate) -> int:
        try:
            return await gate.acquire(self._policy.max_inline_wait)
        except PlaitError as error:
            error.system, error.operation = self.system, op.name
            raise


async def _tell_refused(op: Operation, error: PlaitError) -> None:
    """Before the next request: the vendor answered the last one, and did nothing."""
    guard = send_guard.get()
    if guard is not None and op.effect.guarded and isinstance(error, RequestRejected):
        await guard.refused(error)
