"""What every call of the client goes through: its place in the dialect, its answer, its list."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from plait.http import UNSET, Answer, Transport
from plait.http.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MalformedResponse,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    PlaitError,
    RequestRejected,
)
from plait.http.operation import Operation
from plait.http.words import clean
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.dialects import BARE, FLAT, HOSTED, SPEC, VERSIONED, Dialect
from plait.vendors.planasonix.errors import NotTriggered
from plait.vendors.planasonix.models import Received
from plait.vendors.planasonix.paging import Page, pages
from plait.vendors.planasonix.shapes import listed, unwrap

PROBED: Final = (SPEC, HOSTED, VERSIONED, FLAT)
"""The dialects that `detect` asks for; `bare` is found where `hosted` is, and shows itself by its answer."""
METHOD_NOT_ALLOWED: Final = 405

ItemT = TypeVar("ItemT", bound=Received)


class Caller:
    """A transport, and the dialect that the server behind it speaks."""

    def __init__(
        self,
        transport: Transport,
        *,
        dialect: Dialect | None,
        organization: str,
        probed: Sequence[Dialect] = PROBED,
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._probed = probed
        self._organization = organization
        self._detecting = asyncio.Lock()
        self._placed: dict[Operation, Operation] = {}

    @property
    def base_url(self) -> str:
        """The API's address before every prefix, without secrets."""
        return self._transport.base_url

    @property
    def account(self) -> str:
        """Whose account at which address, without secrets; the same in every dialect."""
        return f"{self.base_url}#{self._organization}" if self._organization else self.base_url

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def dialect(self) -> Dialect:
        """The dialect that was chosen, or that the server was found to speak at the first call."""
        if self._dialect is not None:
            return self._dialect
        async with self._detecting:  # of many calls at once, one asks
            return await self._detected()

    async def _detected(self) -> Dialect:
        if self._dialect is None:
            self._dialect = await self.detect()
        return self._dialect

    async def detect(self) -> Dialect:
        """Ask with harmless reads which dialect the server speaks (planasonix.md §7.1 C1).

        A path exists if it answers with a list, or refuses our key; only 404 and what is no list of this
        API lead on. Raises `ConfigurationError` where nothing answers.
        """
        for probe in (operations.LIST_PIPELINES, operations.LIST_JOBS):
            for dialect in self._probed:
                found = await self._probe(probe, dialect)
                if found is not None:
                    return found
        raise ConfigurationError(
            f"no API of Planasonix answers at {self.base_url}: tried "
            f"{', '.join(dialect.path(operations.LIST_PIPELINES) for dialect in self._probed)}; "
            "check the address, or choose the dialect",
            system=operations.SYSTEM,
        )

    async def _probe(self, operation: Operation, dialect: Dialect) -> Dialect | None:
        placed = replace(operation, path=dialect.path(operation))
        try:
            answer = await self._transport.call(placed, query={"limit": 1})
            listed(answer)
        except (AuthenticationFailed, PermissionDenied):
            return dialect
        except (NotFound, MalformedResponse):
            return None
        except RequestRejected as error:
            if error.status == METHOD_NOT_ALLOWED:
                return None
            raise
        return BARE if dialect is HOSTED and isinstance(answer.json(), list) else dialect

    async def call(
        self,
        operation: Operation,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call at its place in the dialect; raises as the transport does."""
        if operation not in self._placed:
            self._placed[operation] = replace(operation, path=(await self.dialect()).path(operation))
        return await self._transport.call(
            self._placed[operation], path=path, query=query, json=json, accept=accept, headers=headers
        )

    async def one(
        self,
        operation: Operation,
        kind: type[ItemT],
        *,
        path: Mapping[str, str] | None = None,
        json: Any = UNSET,
        headers: Mapping[str, str] | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> ItemT:
        """Make a call whose answer is one thing. `known` are facts that the answer may leave out."""
        answer = await self.call(operation, path=path, json=json, headers=headers)
        return read_one(answer, kind, known or {})

    def pages(
        self,
        operation: Operation,
        kind: type[ItemT],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        start: str | None = None,
        window: bool = False,
    ) -> AsyncGenerator[Page[ItemT], None]:
        """A list, page by page; see `plait.vendors.planasonix.paging.pages`."""

        async def fetch(place: Mapping[str, Any]) -> Answer:
            return await self.call(operation, path=path, query=place)

        return pages(fetch, operation, kind, query or {}, start=start, window=window)

    async def gone(self, operation: Operation, path: Mapping[str, str]) -> None:
        """Delete; a 404 after a lost answer means that an earlier request of ours did it."""
        try:
            await self.call(operation, path=path)
        except NotFound as error:
            if not error.after_loss:
                raise


def read_one(answer: Answer, kind: type[ItemT], known: Mapping[str, Any]) -> ItemT:
    """One thing out of an answer.

    Raises:
        NotTriggered: the answer to an effect says `success: false`.
        OutcomeUnknown: the answer to an effect names no id, so what it made cannot be told.
        MalformedResponse: the same of a read.
    """
    made = unwrap(answer.json())
    if not isinstance(made, Mapping):
        return answer.fit(kind, made)
    if answer.operation.effect.guarded:
        if made.get("success") is False:
            why = _message(made) or "no reason given"
            raise _answered(NotTriggered, answer, f"the server says that it did not: {why}")
        made = {name: value for name, value in made.items() if value != "" or not name.lower().endswith("id")}
    facts = {name: value for name, value in known.items() if not made.get(name)}
    return answer.fit(kind, {**facts, **made})


def _message(made: Mapping[str, Any]) -> str:
    said = made.get("message") or made.get("error")
    return clean(str(said), 300) if said else ""


def _answered(kind: type[OutcomeUnknown], answer: Answer, message: str) -> PlaitError:
    error = kind(
        message, system=answer.operation.system, operation=answer.operation.name, status=answer.status
    )
    error.answered = True
    return error
