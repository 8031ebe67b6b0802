"""How connections, pipelines, schedules and webhook subscriptions are created once (planasonix.md §6).

None has a key, and none a place for a marker that people would not stumble over: what is new in the list,
has the values we sent and is nobody else's is ours, while one such creation is at work at a time.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from plait.http.errors import AuthenticationFailed, Conflict, PermissionDenied, PlaitError, RequestRejected
from plait.http.operation import Operation
from plait.ledger.recipe import Absent, Found, Identity, Json, Look, NotYetKnown, Several, Verdict
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.models import (
    Connection,
    NewConnection,
    NewPipeline,
    NewSchedule,
    NewWebhook,
    Pipeline,
    Schedule,
    Webhook,
)

_SECRET: Final = re.compile(
    r"auth|key|token|secret|passw|pwd|cred|private|dsn|conn.*str|ur[il]|sig", re.IGNORECASE
)
_HIDDEN: Final = "***"

ThingT = TypeVar("ThingT", Connection, Pipeline, Schedule, Webhook)


@dataclass(slots=True)
class CreateConnection:
    """Create one connection. The ledger keeps no secret of its settings, and no setting of the result."""

    client: PlanasonixClient
    connection: NewConnection

    operation: Operation = field(default=operations.CREATE_CONNECTION, init=False, repr=False)
    result_type: type[Connection] = field(default=Connection, init=False, repr=False)

    async def identity(self) -> Identity:
        """The connection's name and values; secrets are left out."""
        shown = self.connection.model_dump(mode="json", exclude={"settings"}, exclude_none=True)
        return Identity(
            account=self.client.account,
            target=f"{self.client.account}/connections",
            inputs={**shown, "settings": _telling(self.connection.settings)},
            unit=f"{operations.SYSTEM}:{self.client.account}/connections:{self.connection.name}",
        )

    async def baseline(self) -> Json:
        """The connections before ours."""
        return _ids(await self.client.list_connections())

    async def send(self, external_id: str) -> Connection:
        """Create it. It has no place for an id of ours, so `external_id` is not sent."""
        del external_id
        return _unset(await _made(self.client.create_connection(self.connection)))

    async def look(self, context: Look) -> Verdict[Connection]:
        """The one new connection of this name and type."""
        ours = self.connection

        def like(listed: Connection) -> bool:
            return listed.name == ours.name and listed.type in {None, ours.type}

        verdict = await _look(context, self.client.list_connections, like)
        return Found(_unset(verdict.result)) if isinstance(verdict, Found) else verdict

    def vendor_id(self, result: Connection) -> str:
        """The connection's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class CreatePipeline:
    """Create one pipeline."""

    client: PlanasonixClient
    pipeline: NewPipeline

    operation: Operation = field(default=operations.CREATE_PIPELINE, init=False, repr=False)
    result_type: type[Pipeline] = field(default=Pipeline, init=False, repr=False)

    async def identity(self) -> Identity:
        """The pipeline's name and graph."""
        return Identity(
            account=self.client.account,
            target=f"{self.client.account}/pipelines",
            inputs=self.pipeline.model_dump(mode="json", exclude_none=True),
            unit=f"{operations.SYSTEM}:{self.client.account}/pipelines:{self.pipeline.name}",
        )

    async def baseline(self) -> Json:
        """The pipelines before ours."""
        return _ids(await self.client.list_pipelines())

    async def send(self, external_id: str) -> Pipeline:
        """Create it. It has no place for an id of ours, so `external_id` is not sent."""
        del external_id
        return await _made(self.client.create_pipeline(self.pipeline))

    async def look(self, context: Look) -> Verdict[Pipeline]:
        """The one new pipeline of this name."""
        return await _look(
            context, self.client.list_pipelines, lambda listed: listed.name == self.pipeline.name
        )

    def vendor_id(self, result: Pipeline) -> str:
        """The pipeline's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class CreateSchedule:
    """Create one schedule of a pipeline."""

    client: PlanasonixClient
    schedule: NewSchedule

    operation: Operation = field(default=operations.CREATE_SCHEDULE, init=False, repr=False)
    result_type: type[Schedule] = field(default=Schedule, init=False, repr=False)

    async def identity(self) -> Identity:
        """The pipeline, the expression and the zone; one creation for a pipeline at a time."""
        place = f"{self.client.account}/pipelines/{self.schedule.pipeline_id}"
        return Identity(
            account=self.client.account,
            target=place,
            inputs=self.schedule.model_dump(mode="json"),
            unit=f"{operations.SYSTEM}:{place}:schedules",
        )

    async def baseline(self) -> Json:
        """The pipeline's schedules before ours."""
        return _ids(await self._listed())

    async def send(self, external_id: str) -> Schedule:
        """Create it. It has no place for an id of ours, so `external_id` is not sent."""
        del external_id
        return await _made(self.client.create_schedule(self.schedule))

    async def look(self, context: Look) -> Verdict[Schedule]:
        """The pipeline's one new schedule of this expression and zone."""
        ours = self.schedule

        def like(listed: Schedule) -> bool:
            zone = listed.timezone in {None, ours.timezone}
            return zone and _spaced(listed.cron_expression) == _spaced(ours.cron_expression)

        return await _look(context, self._listed, like)

    def vendor_id(self, result: Schedule) -> str:
        """The schedule's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    async def _listed(self) -> list[Schedule]:
        return await self.client.list_schedules(pipeline_id=self.schedule.pipeline_id)


@dataclass(slots=True)
class CreateWebhook:
    """Subscribe one address to events. The ledger keeps the address without its query, and no secret."""

    client: PlanasonixClient
    webhook: NewWebhook
    _digest: str = field(default="", init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.CREATE_WEBHOOK, init=False, repr=False)
    result_type: type[Webhook] = field(default=Webhook, init=False, repr=False)

    def __post_init__(self) -> None:
        self._digest = _digest(self.webhook.url)

    async def identity(self) -> Identity:
        """The address, by its digest, and the events; one subscription of an address at a time."""
        return Identity(
            account=self.client.account,
            target=f"{self.client.account}/webhooks",
            inputs={
                "url": _bare(self.webhook.url),
                "sha256": self._digest,
                "events": sorted(self.webhook.events),
            },
            unit=f"{operations.SYSTEM}:{self.client.account}/webhooks:{self._digest}",
        )

    async def baseline(self) -> Json:
        """The subscriptions before ours."""
        return _ids(await self.client.list_webhooks())

    async def send(self, external_id: str) -> Webhook:
        """Subscribe. It has no place for an id of ours, so `external_id` is not sent."""
        del external_id
        return _without_query(await _made(self.client.create_webhook(self.webhook)))

    async def look(self, context: Look) -> Verdict[Webhook]:
        """The one new subscription of this address."""

        def like(listed: Webhook) -> bool:
            return listed.url is not None and _digest(listed.url) == self._digest

        verdict = await _look(context, self.client.list_webhooks, like)
        return Found(_without_query(verdict.result)) if isinstance(verdict, Found) else verdict

    def recall(self, inputs: Json) -> "CreateWebhook":
        """Take the address's digest from the ledger's row: able to look then, and not to send."""
        self._digest = inputs["sha256"]
        return self

    def vendor_id(self, result: Webhook) -> str:
        """The subscription's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


def refused(conflict: Conflict) -> RequestRejected:
    """A 409 of a call that sent no key of ours, or names none: it refuses, and says why (§7.2 no. 5).

    Not a `Conflict`, which says to the ledger that a key of ours may be in use.
    """
    return RequestRejected(
        conflict.message,
        system=conflict.system,
        operation=conflict.operation,
        status=conflict.status,
        request_id=conflict.request_id,
        code=conflict.code,
        details=conflict.details,
    )


def cannot_look(error: PlaitError) -> NotYetKnown:
    """What a failed look says. Raises where only a person can make the look possible again."""
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        raise error
    return NotYetKnown(f"Planasonix could not be asked: {error}", error.retry_after)


async def _made(creating: Awaitable[ThingT]) -> ThingT:
    try:
        return await creating
    except Conflict as conflict:
        raise refused(conflict) from conflict


async def _look(
    context: Look, read: Callable[[], Awaitable[list[ThingT]]], like: Callable[[ThingT], bool]
) -> Verdict[ThingT]:
    try:
        listed = await read()
    except PlaitError as error:
        return cannot_look(error)
    known = set(context.baseline["ids"])
    fresh = [each for each in listed if each.id not in known and like(each)]
    taken = await context.taken([each.id for each in fresh])
    ours = [each for each in fresh if each.id not in taken]
    if len(ours) > 1:
        return Several(tuple(each.id for each in ours))
    return Found(ours[0]) if ours else Absent()


def _ids(listed: Sequence[ThingT]) -> Json:
    return {"ids": sorted(each.id for each in listed)}


def _telling(settings: Mapping[str, Any]) -> Json:
    """Settings that may be written down: values that are plain and whose names hide nothing."""
    return {
        name: value
        if isinstance(value, str | int | float | bool) and not _SECRET.search(name) and "@" not in str(value)
        else _HIDDEN
        for name, value in sorted(settings.items())
    }


def _unset(made: Connection) -> Connection:
    """Without its settings: what is stored and shown tells none of them."""
    return made.model_copy(update={"settings": {}})


def _without_query(made: Webhook) -> Webhook:
    return made.model_copy(update={"url": None if made.url is None else _bare(made.url)})


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _spaced(expression: str | None) -> list[str]:
    return (expression or "").split()
