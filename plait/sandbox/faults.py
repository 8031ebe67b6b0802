"""The fault plane: the first thing a request meets in the sandbox, and the record of what it did."""

import asyncio
import json
import logging
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from plait.clock import Clock
from plait.http.errors import InvalidInput
from plait.sandbox.fault_actions import Strike, new_limiter, perform
from plait.sandbox.fault_rules import FaultRule, Limit
from plait.sandbox.limiters import Limiter
from plait.sandbox.request import RequestInfo, current_request
from plait.sandbox.services import SERVICES, called

_LOGGER: Final = logging.getLogger("plait.sandbox")
_REMEMBERED: Final = 1000


class Fired(BaseModel):
    """One fault that happened: a line of the fault log. With seed and rules it can be repeated."""

    at: datetime
    seed: int
    request: int
    """Number of the request since the sandbox started."""
    match: int
    """Which of the requests that the rule matches this was: what `nth` counts."""
    service: str
    operation: str | None
    method: str
    path: str
    rule: dict[str, Any]


class RuleState(BaseModel):
    """A rule and what came of it."""

    rule: dict[str, Any]
    matched: int
    fired: int


@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    seed: int
    matched: int = 0
    fired: int = 0
    limiters: dict[str, Limiter] = field(default_factory=dict)

    def strikes(self, info: RequestInfo) -> bool:
        """Count the request and decide; the same seed and the same count decide the same."""
        rule = self.rule
        if rule.service not in {None, info.service} or rule.operation not in {None, info.operation}:
            return False
        self.matched += 1
        if rule.times is not None and self.fired >= rule.times:
            return False
        if rule.nth is not None and self.matched not in rule.nth:
            return False
        # Not for secrets: the draw has to be the same in every run.
        draw = random.Random(f"{self.seed}:{rule.id}:{self.matched}").random()  # noqa: S311 - see above
        if draw >= rule.probability:
            return False
        self.fired += not isinstance(rule, Limit)
        return True

    def limiter(self, rule: Limit, scope: Scope) -> Limiter:
        """The counter this request falls under."""
        names = (b"x-api-key", b"authorization")
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name in names]
        key = sent[0] if sent and rule.per == "key" else ""
        return self.limiters.setdefault(key, new_limiter(rule))

    def state(self) -> RuleState:
        return RuleState(
            rule=self.rule.model_dump(mode="json", exclude_none=True), matched=self.matched, fired=self.fired
        )


@dataclass(frozen=True, slots=True)
class _Exchange:
    info: RequestInfo
    scope: Scope
    receive: Receive
    send: Send


class FaultPlane:
    """ASGI middleware around all stand-ins; holds the rules."""

    def __init__(self, app: ASGIApp, *, seed: int, log: Path, clock: Clock) -> None:
        self._app = app
        self._seed = seed
        self._log = log
        self._clock = clock
        self._armed: list[_Armed] = []
        self._requests = 0
        self._named = 0
        self._recent: deque[Fired] = deque(maxlen=_REMEMBERED)
        self._late: set[asyncio.Task[None]] = set()

    def arm(self, rules: Sequence[FaultRule]) -> list[RuleState]:
        """Add rules behind those that are there; a known id replaces its rule, counts start anew.

        Raises:
            InvalidInput: a rule names a service or an operation that does not exist.
        """
        for rule in rules:
            _check_target(rule)
        return [self._arm(rule).state() for rule in rules]

    def _arm(self, rule: FaultRule) -> _Armed:
        if rule.id is None:
            self._named += 1
            rule = rule.model_copy(update={"id": f"rule-{self._named}"})
        armed = _Armed(rule, self._seed)
        for position, known in enumerate(self._armed):
            if known.rule.id == rule.id:
                self._armed[position] = armed
                return armed
        self._armed.append(armed)
        return armed

    def disarm(self, rule_id: str | None = None) -> int:
        """Drop one rule, or all of them; how many there were."""
        kept = [armed for armed in self._armed if rule_id is not None and armed.rule.id != rule_id]
        dropped = len(self._armed) - len(kept)
        self._armed = kept
        return dropped

    def states(self) -> list[RuleState]:
        """The rules in the order in which they are asked."""
        return [armed.state() for armed in self._armed]

    def recent(self) -> list[Fired]:
        """The last thousand faults, oldest first."""
        return list(self._recent)

    async def aclose(self) -> None:
        """Give up what has not landed yet."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Deliver one request through the rules."""
        target = called(scope["method"], _raw_path(scope)) if scope["type"] == "http" else None
        if target is None:
            await self._app(scope, receive, send)
            return
        self._requests += 1
        info = RequestInfo(number=self._requests, service=target.service, operation=target.operation)
        token = current_request.set(info)
        try:
            await self._deliver(tuple(self._armed), _Exchange(info, scope, receive, send))
        finally:
            current_request.reset(token)

    async def _deliver(self, rules: Sequence[_Armed], exchange: _Exchange) -> None:
        for position, armed in enumerate(rules):
            if armed.strikes(exchange.info):
                rest = rules[position + 1 :]
                await perform(armed.rule, self._strike(armed, rest, exchange))
                return
        # Mounts write into the scope, and a request may be delivered twice.
        await self._app(dict(exchange.scope), exchange.receive, exchange.send)

    def _strike(self, armed: _Armed, rest: Sequence[_Armed], exchange: _Exchange) -> Strike:
        match = armed.matched

        async def forward(receive: Receive, send: Send) -> None:
            await self._deliver(rest, replace(exchange, receive=receive, send=send))

        async def fired() -> None:
            armed.fired += isinstance(armed.rule, Limit)
            await self._record(armed.rule, match, exchange)

        return Strike(
            info=exchange.info,
            scope=exchange.scope,
            receive=exchange.receive,
            send=exchange.send,
            forward=forward,
            fired=fired,
            later=self._later,
            limiter=lambda rule: armed.limiter(rule, exchange.scope),
            now=self._clock.now,
        )

    async def _record(self, rule: FaultRule, match: int, exchange: _Exchange) -> None:
        info, scope = exchange.info, exchange.scope
        fired = Fired(
            at=datetime.now(UTC),
            seed=self._seed,
            request=info.number,
            match=match,
            service=info.service,
            operation=info.operation,
            method=scope["method"],
            path=scope["path"],
            rule=rule.model_dump(mode="json", exclude_none=True),
        )
        self._recent.append(fired)
        await asyncio.to_thread(_append, self._log, fired.model_dump_json())

    def _later(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        async def wait_then_work() -> None:
            try:
                await self._clock.sleep(seconds)
            except asyncio.CancelledError:
                work.close()
                raise
            try:
                await work
            except Exception:
                _LOGGER.exception("a request that landed late failed in the stand-in")

        # The request's own context, so that what lands late is counted under its number.
        context: Context = copy_context()
        task = asyncio.get_running_loop().create_task(wait_then_work(), context=context)
        self._late.add(task)
        task.add_done_callback(self._late.discard)


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "replace")


def _append(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _check_target(rule: FaultRule) -> None:
    names = {service.name: {operation.name for operation in service.operations} for service in SERVICES}
    if rule.service is not None and rule.service not in names:
        raise InvalidInput(
            f"a fault rule names the service {rule.service!r}; the sandbox has {', '.join(sorted(names))}"
        )
    known = names[rule.service] if rule.service else set().union(*names.values())
    if rule.operation is not None and rule.operation not in known:
        raise InvalidInput(
            f"a fault rule names the operation {rule.operation!r}"
            f"{f' of {rule.service}' if rule.service else ''}; known are {', '.join(sorted(known))}"
        )


def read_rules_file(path: Path) -> Any:
    """The JSON of a rules file, as `POST /_sandbox/faults` would take it.

    Raises:
        InvalidInput: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the fault rules in {str(path)!r} cannot be read: {error}") from error
