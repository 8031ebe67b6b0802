"""The Pletor stand-in: agents, apps, assets, runs and reviews (pletor.md).

It pretends no model: pictures are drawn and texts written by rules from the inputs. What the vendor's page
says of `external_id`, rate limits and reviews holds; where it leaves a choice, `PletorSettings` has it.
"""

import uuid
from collections.abc import Callable, Mapping
from itertools import count
from typing import Annotated, Any, Final

from fastapi import Body, FastAPI, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from plait.sandbox.context import SandboxContext
from plait.sandbox.pletor_assets import Assets
from plait.sandbox.pletor_claims import Claimed, Claims, body_digest, checked_key
from plait.sandbox.pletor_runs import Runs
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_shown import created, page_of, shown_run
from plait.sandbox.pletor_store import AGENTS, APPS, Definition, Space, StoredAsset, StoredRun
from plait.sandbox.pletor_wire import KeyTaken, Limits, Organization, conflict_answer
from plait.sandbox.store import Transaction
from plait.vendors.pletor.operations import (
    CANCEL_APP_RUN,
    CANCEL_RUN,
    CREATE_APP_RUN,
    CREATE_RUN,
    DELETE_ASSET,
    DOWNLOAD_ASSET,
    GET_AGENT,
    GET_APP,
    GET_APP_RUN,
    GET_ASSET,
    GET_RUN,
    LIST_AGENTS,
    LIST_APP_RUNS,
    LIST_APPS,
    LIST_ASSETS,
    LIST_RUNS,
    RESOLVE_REVIEW,
    UPLOAD_ASSET,
)

Limit = Annotated[int, Query(ge=1, le=200)]
_TEXT_INPUTS: Final = frozenset({"title", "style"})
_INPUTS: Final = frozenset({*_TEXT_INPUTS, "image"})


class NewRun(BaseModel):
    """Which agent or app, and what it is given: a list of inputs, or an object by id."""

    model_config = ConfigDict(extra="ignore")

    agent_id: str | None = None
    app_id: str | None = None
    inputs: list[dict[str, Any]] | dict[str, Any] = Field(default_factory=list)
    external_id: str | None = None


class Pletor:
    """The stand-in as an ASGI application whose root is Pletor's base URL."""

    def __init__(self, context: SandboxContext) -> None:
        settings = context.settings.pletor
        self._slash = settings.slash
        self._runs = Runs(context)
        self._routes = FastAPI(title="Pletor", redirect_slashes=settings.slash == "redirect")
        self._routes.add_exception_handler(RequestValidationError, _invalid)
        self._routes.add_exception_handler(KeyTaken, conflict_answer(settings))
        self._add_catalogue(settings)
        self._add_assets(Assets(context, self._runs))
        self._add_runs(_Endpoints(context, self._runs, "runs"), _Endpoints(context, self._runs, "app-runs"))
        self._app = Limits(self._routes, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    async def prepare(self) -> None:
        """Make what requests need on disk."""
        await self._runs.prepare()

    def _add_catalogue(self, settings: PletorSettings) -> None:
        for operation, endpoint in (
            (LIST_AGENTS, _listing(AGENTS, settings)),
            (LIST_APPS, _listing(APPS, settings)),
        ):
            self._route(operation.method, operation.path, endpoint)

        async def agent(agent_id: str, _: Organization) -> Response:
            return JSONResponse(_known(AGENTS, agent_id, "Agent").shown())

        async def app(app_id: str, _: Organization) -> Response:
            return JSONResponse(_known(APPS, app_id, "App").shown())

        self._route(GET_AGENT.method, GET_AGENT.path, agent)
        self._route(GET_APP.method, GET_APP.path, app)

    def _add_assets(self, assets: Assets) -> None:
        for operation, endpoint in (
            (UPLOAD_ASSET, assets.upload),
            (LIST_ASSETS, assets.list_all),
            (GET_ASSET, assets.get),
            (DOWNLOAD_ASSET, assets.download),
            (DELETE_ASSET, assets.delete),
        ):
            self._route(operation.method, operation.path, endpoint)

    def _add_runs(self, runs: "_Endpoints", app_runs: "_Endpoints") -> None:
        for operation, endpoint in (
            (CREATE_RUN, runs.create),
            (LIST_RUNS, runs.list_all),
            (GET_RUN, runs.get),
            (RESOLVE_REVIEW, runs.resolve),
            (CANCEL_RUN, runs.cancel),
            (CREATE_APP_RUN, app_runs.create),
            (LIST_APP_RUNS, app_runs.list_all),
            (GET_APP_RUN, app_runs.get),
            (CANCEL_APP_RUN, app_runs.cancel),
        ):
            self._route(operation.method, operation.path, endpoint)

    def _route(self, method: str, path: str, endpoint: Any) -> None:
        self._routes.add_api_route(path, endpoint, methods=[method], response_model=None)
        if self._slash == "both":
            self._routes.add_api_route(f"{path}/", endpoint, methods=[method], response_model=None)


def create_pletor(context: SandboxContext) -> Pletor:
    """The stand-in; call `prepare` before the first request."""
    return Pletor(context)


def _listing(definitions: Mapping[str, Definition], settings: PletorSettings) -> Callable[..., Any]:
    async def endpoint(_: Organization, limit: Limit = 100, starting_after: str | None = None) -> Response:
        shown = [definition.shown() for definition in definitions.values()]
        return page_of(shown, settings, limit=limit, after=starting_after)

    return endpoint


def _known(definitions: Mapping[str, Definition], wanted: str | None, what: str) -> Definition:
    found = definitions.get(wanted or "")
    if found is None:
        raise HTTPException(404, f"{what} not found")
    return found


class _Endpoints:
    """The calls about agent runs, or those about app runs."""

    def __init__(self, context: SandboxContext, runs: Runs, space: Space) -> None:
        self._context = context
        self._settings = context.settings.pletor
        self._runs = runs
        self._claims = Claims(context)
        self._space: Space = space
        self._looks = count()

    async def create(self, organization: Organization, body: Annotated[NewRun, Body()]) -> Response:
        """A run, or a refusal that claims nothing [doc]; which check is first is a switch."""
        digest = body_digest(body.model_dump(exclude={"external_id"}))
        claimed = Claimed(organization, self._space, body.external_id, digest)
        if self._settings.check_order == "key_first":
            await self._claims.check(claimed)
        definition, inputs = await self._valid(organization, body)
        await self._context.store.transact(lambda found: self._charge(found, organization, definition))
        await self._claims.roll_back_first(claimed)
        run = self._new(claimed, definition, inputs)

        def work(transaction: Transaction) -> None:
            self._charge(transaction, organization, definition)
            self._claims.make(transaction, claimed, run)
            operation = CREATE_RUN if self._space == "runs" else CREATE_APP_RUN
            transaction.record(
                operation, entity_id=run.id, marker=str(run.value("title")), external_key=run.external_id
            )

        await self._context.store.transact(work)
        return created(shown_run(run, self._settings), self._settings)

    def _new(self, claimed: Claimed, definition: Definition, inputs: list[dict[str, Any]]) -> StoredRun:
        now = self._context.now()
        return StoredRun(
            id=str(uuid.uuid4()),
            parent=f"{claimed.organization}/{self._space}",
            created_at=now,
            updated_at=now,
            definition=definition.id,
            inputs=inputs,
            external_id=claimed.key,
            cost=definition.cost,
            began=now.timestamp(),
        )

    async def list_all(
        self,
        organization: Organization,
        external_id: str | None = None,
        limit: Limit = 100,
        starting_after: str | None = None,
    ) -> Response:
        """Newest first [assumed]; the filter is exact [doc], unless a switch has it ignored."""
        stored = await self._context.store.list(StoredRun, parent=f"{organization}/{self._space}")
        ignored = external_id is None or self._settings.lookup_filter == "ignored"
        wanted = [
            run
            for run in reversed(stored)
            if (ignored or run.external_id == external_id) and self._claims.visible(run.created_at)
        ]
        shown = [shown_run(await self._runs.up_to_date(run), self._settings) for run in wanted]
        return page_of(shown, self._settings, limit=limit, after=starting_after)

    async def get(self, organization: Organization, run_id: str) -> Response:
        """The run as it stands."""
        run = await self._load(organization, run_id)
        stale = self._settings.stale_reads and next(self._looks) % 2 == 1
        return JSONResponse(shown_run(run, self._settings, stale=stale))

    async def resolve(
        self, organization: Organization, run_id: str, review_id: str, body: Annotated[dict[str, Any], Body()]
    ) -> Response:
        """A decision; the first one counts."""
        run = await self._load(organization, run_id)
        key = checked_key(body.get("external_id"))
        if key is not None and self._settings.review_body == "strict":
            raise HTTPException(422, "external_id: extra fields not permitted")
        await self._claims.check(Claimed(organization, "runs", key, ""))
        decision = {name: value for name, value in body.items() if name != "external_id"}
        decided = await self._runs.decide(run, review_id, decision, key)
        if decided is None:
            return _second_decision(run, review_id, self._settings)
        return JSONResponse(shown_run(decided, self._settings))

    async def cancel(self, organization: Organization, run_id: str) -> Response:
        """Canceled, or 409 where it has ended [assumed]."""
        canceled = await self._runs.cancel(await self._load(organization, run_id))
        return JSONResponse(shown_run(canceled, self._settings))

    async def _load(self, organization: str, run_id: str) -> StoredRun:
        found = await self._context.store.get(StoredRun, run_id)
        if found is None or found.parent != f"{organization}/{self._space}":
            raise HTTPException(404, "Run not found")
        return await self._runs.up_to_date(found)

    async def _valid(self, organization: str, body: NewRun) -> tuple[Definition, list[dict[str, Any]]]:
        """404 for an unknown agent or app, 422 for inputs it cannot use."""
        checked_key(body.external_id)
        if self._space == "runs":
            definition = _known(AGENTS, body.agent_id, "Agent")
        else:
            definition = _known(APPS, body.app_id, "App")
        inputs = _listed_inputs(body.inputs)
        for entry in inputs:
            await self._check_input(organization, entry)
        if not any(entry["id"] == "title" and entry["value"].strip() for entry in inputs):
            raise HTTPException(422, "inputs: title is required")
        return definition, inputs

    async def _check_input(self, organization: str, entry: dict[str, Any]) -> None:
        name, value = entry["id"], entry["value"]
        if name not in _INPUTS:
            raise HTTPException(422, f"inputs: there is no input {name!r}")
        if name in _TEXT_INPUTS:
            if not isinstance(value, str):
                raise HTTPException(422, f"inputs: {name} must be a text")
            return
        ids = value.get("asset_ids") if isinstance(value, dict) else None
        if not isinstance(ids, list) or not ids:
            raise HTTPException(422, f"inputs: {name} must be an object with asset_ids")
        for asset_id in ids:
            asset = await self._context.store.get(StoredAsset, str(asset_id))
            if asset is None or asset.parent != organization:
                raise HTTPException(422, f"inputs: there is no asset {asset_id!r}")

    def _charge(self, transaction: Transaction, organization: str, definition: Definition) -> None:
        """Refuse what the prepaid credits do not cover; what was created is what was spent."""
        if self._settings.credits is None:
            return
        spaces: tuple[Space, ...] = ("runs", "app-runs")
        runs = [run for space in spaces for run in _all_runs(transaction, f"{organization}/{space}")]
        if sum(run.cost for run in runs) + definition.cost > self._settings.credits:
            raise HTTPException(self._settings.credits_status, "Not enough credits")


def _all_runs(transaction: Transaction, parent: str) -> list[StoredRun]:
    return transaction.list(StoredRun, parent=parent)


def _listed_inputs(inputs: list[dict[str, Any]] | dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(inputs, dict):
        return [{"id": name, "value": value} for name, value in inputs.items()]
    for entry in inputs:
        if not isinstance(entry.get("id"), str) or "value" not in entry:
            raise HTTPException(422, "inputs: each entry needs an id and a value")
    return [{"id": entry["id"], "value": entry["value"]} for entry in inputs]


def _second_decision(run: StoredRun, review_id: str, settings: PletorSettings) -> Response:
    review = next(each for each in run.reviews if each.id == review_id)
    match settings.second_decision:
        case "200":
            return JSONResponse({"already_resolved": True})
        case "400":
            word = (review.decision or {}).get("decision")
            return JSONResponse({"detail": f"already decided with status: {word}"}, 400)
        case _:
            return JSONResponse({"detail": "The review is already resolved"}, 409)


async def _invalid(_: Request, error: Exception) -> Response:
    """422 with a list in `detail`, as FastAPI has it [inferred]."""
    if not isinstance(error, RequestValidationError):
        raise error
    return JSONResponse({"detail": jsonable_encoder(error.errors(), exclude={"ctx", "url"})}, 422)
