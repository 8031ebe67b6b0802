"""Pletor as typed calls (pletor.md §3)."""

import logging
import mimetypes
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from plait.http import Answer, Downloaded, RateDialect, Transport, Upload
from plait.http.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from plait.http.operation import Operation
from plait.vendors.pletor import operations
from plait.vendors.pletor.models import (
    Agent,
    App,
    Asset,
    Received,
    ReviewAnswer,
    ReviewDecision,
    Run,
    RunInput,
    check_inputs,
)
from plait.vendors.pletor.paging import every

BASE_URL: Final = "https://api.pletor.ai/api/public/v1"
"""Where four independent clients find the API [inferred]."""
DIALECT: Final = RateDialect(window=60.0)
"""Seconds, epoch seconds, epoch milliseconds or a date: the reset's unit is not stated (pletor.md §2.3)."""
KEY_LENGTH: Final = 255

_log = logging.getLogger(__name__)
_UNTYPED: Final = "application/octet-stream"

ItemT = TypeVar("ItemT", bound=Received)
Keyed = TypeVar("Keyed", Run, Asset)


def authorization(*, api_key: str | None = None, token: str | None = None) -> dict[str, str]:
    """The headers of either way to authenticate: an API key, or a bearer JWT (pletor.md §2.1).

    Raises:
        InvalidInput: neither or both are given.
    """
    if api_key and not token:
        return {"X-Api-Key": api_key}
    if token and not api_key:
        return {"Authorization": f"Bearer {token}"}
    raise InvalidInput("Pletor takes either an API key or a bearer token; give exactly one of them")


class PletorClient:
    """One method per operation. Every method raises the errors of `plait.http.errors`.

    Args:
        transport: made for the base that ends in `/api/public/v1`, with the headers of `authorization`
            and `DIALECT`; closed with the client.
        send_review_keys: whether a review decision carries an `external_id`. The page allows one on every
            POST; a server with a strict body may refuse it (pletor.md §6.4).
        organization: a label that tells apart organizations with one address and one ledger; what was
            done for one is then never taken for the other's.
    """

    def __init__(
        self, transport: Transport, *, send_review_keys: bool = True, organization: str = ""
    ) -> None:
        self._transport = transport
        self._send_review_keys = send_review_keys
        self._organization = organization

    @property
    def base_url(self) -> str:
        """The API's address, without secrets."""
        return self._transport.base_url

    @property
    def account(self) -> str:
        """Whose account at which address, without secrets."""
        return f"{self.base_url}#{self._organization}" if self._organization else self.base_url

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    # ------------------------------------------------------------ the catalogue

    async def list_agents(self) -> list[Agent]:
        """Every agent this key may run."""
        return [agent async for agent in self._every(operations.LIST_AGENTS, Agent)]

    async def get_agent(self, agent_id: str) -> Agent:
        """An agent with the inputs it needs and the outputs it promises."""
        return (await self._transport.call(operations.GET_AGENT, path={"agent_id": agent_id})).read(Agent)

    async def list_apps(self) -> list[App]:
        """Every app this key may run."""
        return [app async for app in self._every(operations.LIST_APPS, App)]

    async def get_app(self, app_id: str) -> App:
        """An app with the inputs it needs and the outputs it promises."""
        return (await self._transport.call(operations.GET_APP, path={"app_id": app_id})).read(App)

    # ------------------------------------------------------------ assets

    async def upload_asset(
        self, path: Path, *, filename: str | None = None, external_id: str | None = None
    ) -> Asset:
        """Upload a file in constant memory (pletor.md §3 no. 5).

        Without `external_id` the same file twice makes two assets. The key goes along as a form field and
        in the query: which of the two the server reads is not documented.

        Raises:
            Conflict: the key was used before; `find_assets` finds the original.
        """
        name = filename or path.name
        upload = Upload(
            field="file",
            path=path,
            filename=name,
            media_type=mimetypes.guess_type(name)[0] or _UNTYPED,
            fields=() if external_id is None else (("external_id", _key(external_id)),),
        )
        query = {"external_id": external_id}
        answer = await self._transport.call(operations.UPLOAD_ASSET, query=query, upload=upload)
        return _echoed(answer, answer.read(Asset), external_id)

    def each_asset(self, *, external_id: str | None = None) -> AsyncIterator[Asset]:
        """Every asset, page by page. A server may ignore the filter: see `find_assets`."""
        return self._every(operations.LIST_ASSETS, Asset, external_id=external_id)

    async def list_assets(self, *, external_id: str | None = None) -> list[Asset]:
        """Every asset, uploaded and produced; with `external_id` those of exactly this key."""
        return [
            asset
            async for asset in self.each_asset(external_id=external_id)
            if external_id in {None, asset.external_id}
        ]

    async def find_assets(self, external_id: str) -> list[Asset]:
        """The uploads with exactly this key: none or one, if the server keeps its word."""
        return await self.list_assets(external_id=_key(external_id))

    async def get_asset(self, asset_id: str) -> Asset:
        """What is known of one asset."""
        return (await self._transport.call(operations.GET_ASSET, path={"asset_id": asset_id})).read(Asset)

    async def download_asset(
        self, asset_id: str, destination: Path, *, limit: int | None = None
    ) -> Downloaded:
        """Save an asset to `destination` in constant memory; its type is `Downloaded.media_type`.

        A redirect to storage is followed without our credentials (pletor.md §7 no. 12 and 13).

        Args:
            asset_id: the asset.
            destination: the file to write; it appears whole or not at all.
            limit: most bytes to accept.
        """
        return await self._transport.download(
            operations.DOWNLOAD_ASSET, destination, path={"asset_id": asset_id}, limit=limit
        )

    async def delete_asset(self, asset_id: str) -> None:
        """Delete an asset; its key stays used.

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        try:
            await self._transport.call(operations.DELETE_ASSET, path={"asset_id": asset_id})
        except NotFound as error:
            if not error.after_loss:
                raise

    # ------------------------------------------------------------ agent runs

    async def create_run(
        self, agent_id: str, inputs: Sequence[RunInput] = (), *, external_id: str | None = None
    ) -> Run:
        """Start an agent, which costs credits (pletor.md §3 no. 11).

        Raises:
            Conflict: the key was used before; `find_runs` finds the original.
            InvalidInput: before anything is sent, for a key that is too long or an input given twice.
        """
        body = _run_body({"agent_id": agent_id}, inputs, external_id)
        answer = await self._transport.call(operations.CREATE_RUN, json=body)
        return _echoed(answer, answer.read(Run), external_id)

    def each_run(self, *, external_id: str | None = None) -> AsyncIterator[Run]:
        """Every agent run, page by page. A server may ignore the filter: see `find_runs`."""
        return self._every(operations.LIST_RUNS, Run, external_id=external_id)

    async def list_runs(self, *, external_id: str | None = None) -> list[Run]:
        """Every agent run; with `external_id` those of exactly this key."""
        return _exactly([run async for run in self.each_run(external_id=external_id)], external_id)

    async def find_runs(self, external_id: str) -> list[Run]:
        """The agent runs with exactly this key: none or one, if the server keeps its word."""
        return await self.list_runs(external_id=_key(external_id))

    async def get_run(self, run_id: str) -> Run:
        """An agent run as it stands: status, reviews to resolve, results."""
        return (await self._transport.call(operations.GET_RUN, path={"run_id": run_id})).read(Run)

    async def resolve_review(
        self, run_id: str, review_id: str, decision: ReviewDecision, *, external_id: str | None = None
    ) -> ReviewAnswer:
        """Decide what a run waits for, so that it goes on (pletor.md §3 no. 15).

        Raises:
            RequestRejected: it is settled already (409, 400 or 404), or the decision does not fit.
        """
        key = external_id if self._send_review_keys else None
        answer = await self._transport.call(
            operations.RESOLVE_REVIEW,
            path={"run_id": run_id, "review_id": review_id},
            json=decision.body(None if key is None else _key(key)),
        )
        return answer.read(ReviewAnswer) if answer.content else ReviewAnswer()

    async def cancel_run(self, run_id: str) -> Run:
        """Cancel an agent run; one that ended before stays as it ended. Its key stays used.

        Raises:
            NotFound: there is no such run.
        """
        return await self._cancel(operations.CANCEL_RUN, operations.GET_RUN, run_id)

    # ------------------------------------------------------------ app runs

    async def create_app_run(
        self, app_id: str, inputs: Sequence[RunInput] = (), *, external_id: str | None = None
    ) -> Run:
        """Start an app, which costs credits (pletor.md §3 no. 17). Raises as `create_run`."""
        body = _run_body({"app_id": app_id}, inputs, external_id)
        answer = await self._transport.call(operations.CREATE_APP_RUN, json=body)
        return _echoed(answer, answer.read(Run), external_id)

    def each_app_run(self, *, external_id: str | None = None) -> AsyncIterator[Run]:
        """Every app run, page by page. A server may ignore the filter: see `find_app_runs`."""
        return self._every(operations.LIST_APP_RUNS, Run, external_id=external_id)

    async def list_app_runs(self, *, external_id: str | None = None) -> list[Run]:
        """Every app run; with `external_id` those of exactly this key."""
        return _exactly([run async for run in self.each_app_run(external_id=external_id)], external_id)

    async def find_app_runs(self, external_id: str) -> list[Run]:
        """The app runs with exactly this key: none or one, if the server keeps its word."""
        return await self.list_app_runs(external_id=_key(external_id))

    async def get_app_run(self, run_id: str) -> Run:
        """An app run as it stands; a person's review of it happens in Pletor's own interface only."""
        return (await self._transport.call(operations.GET_APP_RUN, path={"run_id": run_id})).read(Run)

    async def cancel_app_run(self, run_id: str) -> Run:
        """Cancel an app run; see `cancel_run`."""
        return await self._cancel(operations.CANCEL_APP_RUN, operations.GET_APP_RUN, run_id)

    # ------------------------------------------------------------ shared

    def _every(self, operation: Operation, kind: type[ItemT], **query: Any) -> AsyncIterator[ItemT]:
        return every(self._transport, operation, kind, query)

    async def _cancel(self, operation: Operation, read: Operation, run_id: str) -> Run:
        """Delete, then let the run say what became of it: no answer to a delete is documented."""
        path = {"run_id": run_id}
        try:
            await self._transport.call(operation, path=path)
        except (NotFound, Conflict) as refused:
            _log.debug("cancelling %s was refused (%s); the run itself is asked", run_id, refused)
        return (await self._transport.call(read, path=path)).read(Run)


def _run_body(what: Mapping[str, str], inputs: Sequence[RunInput], external_id: str | None) -> dict[str, Any]:
    check_inputs(inputs)
    body: dict[str, Any] = {**what, "inputs": [item.model_dump(mode="json") for item in inputs]}
    return body if external_id is None else {**body, "external_id": _key(external_id)}


def _key(external_id: str) -> str:
    """The key, if the server can take it: refused here, an oversized one costs no request."""
    if not 0 < len(external_id) <= KEY_LENGTH or not external_id.isascii() or not external_id.isprintable():
        raise InvalidInput(
            f"external_id {external_id[:40]!r} ({len(external_id)} characters) cannot be used; "
            f"take 1 to {KEY_LENGTH} printable ASCII characters"
        )
    return external_id


def _exactly(runs: list[Run], external_id: str | None) -> list[Run]:
    """Without this, a server that ignores the filter would hand us somebody else's run (pletor.md §6.2 B)."""
    return [run for run in runs if external_id in {None, run.external_id}]


def _echoed(answer: Answer, made: Keyed, external_id: str | None) -> Keyed:
    """What was made, if its key is ours. Not echoed at all is only worth a warning (pletor.md §6.2)."""
    if external_id is None or made.external_id == external_id:
        return made
    if made.external_id is None:
        _log.warning("%s: the answer does not repeat external_id %s", answer.operation.key, external_id)
        return made.model_copy(update={"external_id": external_id})
    unknown = OutcomeUnknown(
        f"the answer is about external_id {made.external_id!r}, not {external_id!r}",
        system=answer.operation.system,
        operation=answer.operation.name,
        status=answer.status,
    )
    unknown.answered = True
    raise unknown
