"""What each kind of fault does to one request. Stand-ins know nothing of it.

A stand-in commits its effect before it starts to answer, so "after accept" is the moment at which
`http.response.start` would be sent.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from plait.sandbox.fault_rules import (
    AfterAccept,
    Answered,
    BeforeAccept,
    ClockSkew,
    ConnectionReset,
    Delay,
    DuplicateDelivery,
    FaultRule,
    Hang,
    LateLanding,
    Limit,
    ListingLag,
    MidBody,
    MidStream,
    RateLimit,
    Slow,
    StatusAfter,
    StatusBefore,
)
from plait.sandbox.limiters import Concurrency, Decision, FixedWindow, Limiter, SlidingWindow, TokenBucket
from plait.sandbox.request import RequestInfo
from plait.sandbox.wire import Delivery, How, Spool, deaf, discard, drained, drop, gone

_TICK: Final = 0.05
_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")

Later: TypeAlias = Callable[[float, Coroutine[Any, Any, None]], None]
"""Runs work so many seconds from now, owned by the fault plane."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault about to happen to one request."""

    info: RequestInfo
    scope: Scope
    receive: Receive
    send: Send
    forward: Delivery
    """The rest of the way: later rules, then the stand-in."""
    fired: Callable[[], Awaitable[None]]
    """Writes the line of the fault log."""
    later: Later
    limiter: Callable[[Limit], Limiter]
    """The counter of a limiting rule that this request falls under."""
    now: Callable[[], float]


async def perform(rule: FaultRule, strike: Strike) -> None:
    """Let the fault happen. Returns when the request is over, as far as the client is concerned."""
    match rule:
        case Limit():
            await _limit(rule, strike)
        case MidBody():
            await _cut(strike, ByteCut(rule.bytes), rule.how)
        case MidStream(events=int(events)):
            await _cut(strike, EventCut(events), rule.how)
        case MidStream():
            await _cut(strike, ByteCut(rule.bytes or 0), rule.how)
        case _:
            await strike.fired()
            await _perform_at_once(rule, strike)


async def _perform_at_once(rule: FaultRule, strike: Strike) -> None:
    match rule:
        case BeforeAccept():
            await _end(strike, rule.how)
        case ConnectionReset():
            await _reset_while_sending(strike, rule.request_bytes)
        case AfterAccept():
            await _lose_answer(strike, rule.how)
        case StatusBefore():
            await _refuse(strike, _answer(rule))
        case RateLimit():
            decision = Decision(allowed=False, limit=0, remaining=0, wait=rule.wait)
            await _refuse(strike, _too_many(rule, decision))
        case StatusAfter():
            await strike.forward(deaf(strike.receive), discard)
            await _answer(rule)(strike.scope, strike.receive, strike.send)
        case Hang():
            await _hang(strike, rule.seconds)
        case LateLanding():
            await _land_late(strike, rule)
        case DuplicateDelivery():
            await _deliver_twice(strike)
        case _:
            await _bend(rule, strike)


async def _bend(rule: FaultRule, strike: Strike) -> None:
    """Faults that let the request through and change how it looks."""
    match rule:
        case ListingLag():
            strike.info.listing_lag = rule.seconds
            await strike.forward(strike.receive, strike.send)
        case ClockSkew():
            strike.info.clock_skew += rule.seconds
            await strike.forward(strike.receive, strike.send)
        case Delay():
            await strike.forward(deaf(strike.receive), _delayed(strike.send, rule.seconds))
        case Slow():
            await strike.forward(deaf(strike.receive), _slowed(strike.send, rule.bytes_per_second))


async def _end(strike: Strike, how: How) -> None:
    await drop(strike.scope, how)
    await gone(strike.receive)


async def _reset_while_sending(strike: Strike, request_bytes: int) -> None:
    read = 0
    while read < request_bytes:
        message = await strike.receive()
        read += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            break
    await _end(strike, "reset")


async def _lose_answer(strike: Strike, how: How) -> None:
    async def swallow(message: Message) -> None:
        if message["type"] == "http.response.start":
            await drop(strike.scope, how)

    await strike.forward(deaf(strike.receive), swallow)
    await gone(strike.receive)


async def _refuse(strike: Strike, answer: Response) -> None:
    if await drained(strike.receive):
        await answer(strike.scope, strike.receive, strike.send)


async def _hang(strike: Strike, seconds: float) -> None:
    try:
        await asyncio.wait_for(gone(strike.receive), seconds)
    except TimeoutError:
        await _end(strike, "close")


async def _deliver_twice(strike: Strike) -> None:
    async with Spool() as spool:
        if await spool.fill(strike.receive):
            await strike.forward(spool.replay(), discard)
            await strike.forward(spool.replay(), strike.send)


async def _land_late(strike: Strike, rule: LateLanding) -> None:
    spool = Spool()
    if not await spool.fill(strike.receive):
        spool.close()
        return

    async def land() -> None:
        async with spool:
            await strike.forward(spool.replay(), discard)

    strike.later(rule.seconds, land())
    if rule.status is None:
        await _end(strike, "close")
    else:
        answer = JSONResponse({"detail": "injected fault"}, rule.status)
        await answer(strike.scope, strike.receive, strike.send)


def _answer(rule: Answered) -> Response:
    if isinstance(rule.body, str):
        return PlainTextResponse(rule.body, rule.status, rule.headers)
    return JSONResponse(rule.body, rule.status, rule.headers)


def _too_many(rule: RateLimit | Limit, decision: Decision) -> Response:
    return JSONResponse(rule.body, 429, rule.dialect.headers(decision, time.time()))


def new_limiter(rule: Limit) -> Limiter:
    """An empty limiter as the rule describes it."""
    match rule.algorithm:
        case "token_bucket":
            return TokenBucket(rate=rule.rate or 1.0, limit=rule.limit)
        case "fixed_window":
            return FixedWindow(limit=rule.limit, window=rule.window or 1.0)
        case "sliding_window":
            return SlidingWindow(limit=rule.limit, window=rule.window or 1.0)
        case "concurrency":
            return Concurrency(limit=rule.limit)


async def _limit(rule: Limit, strike: Strike) -> None:
    limiter = strike.limiter(rule)
    decision = limiter.take(strike.now())
    if not decision.allowed:
        await strike.fired()
        await _refuse(strike, _too_many(rule, decision))
        return
    announced = rule.dialect.headers(decision, time.time())
    extra = [(name.lower().encode(), value.encode()) for name, value in announced.items()]

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await strike.send(message)

    try:
        await strike.forward(strike.receive, announce)
    finally:
        limiter.release()


def _delayed(send: Send, seconds: float) -> Send:
    async def wait_then_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return wait_then_send


def _slowed(send: Send, bytes_per_second: int) -> Send:
    step = max(1, int(bytes_per_second * _TICK))

    async def trickle(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(len(piece) / bytes_per_second)
        await send({**message, "body": b""})

    return trickle


@dataclass(slots=True)
class ByteCut:
    """Passes so many bytes."""

    left: int

    def passes(self, chunk: bytes) -> int | None:
        """How much of the chunk still goes out when the cut falls into it; None when all goes out."""
        if self.left < len(chunk) or self.left == 0:
            return self.left
        self.left -= len(chunk)
        return None


@dataclass(slots=True)
class EventCut:
    """Passes so many whole server-sent events."""

    left: int
    _tail: bytes = b""

    def passes(self, chunk: bytes) -> int | None:
        """As `ByteCut.passes`; a blank line may be split between chunks."""
        if self.left == 0:
            return 0
        seen = self._tail + chunk
        position = 0
        for end in _EVENT_END.finditer(seen):
            position = end.end()
            self.left -= 1
            if self.left == 0:
                return position - len(self._tail)
        self._tail = seen[max(position, len(seen) - 3) :]
        return None


async def _cut(strike: Strike, cut: ByteCut | EventCut, how: How) -> None:
    over = False

    async def until_cut(message: Message) -> None:
        nonlocal over
        if over:
            return
        if message["type"] != "http.response.body":
            await strike.send(message)
            return
        body = message.get("body", b"")
        passing = cut.passes(body)
        if passing is None or (not body and not message.get("more_body", False)):
            await strike.send(message)
            return
        over = True
        await strike.fired()
        await strike.send({"type": "http.response.body", "body": body[:passing], "more_body": True})
        await drop(strike.scope, how)

    await strike.forward(deaf(strike.receive), until_cut)
    if over:
        await gone(strike.receive)
