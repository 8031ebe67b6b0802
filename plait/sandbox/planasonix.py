"""The Planasonix stand-in: one state, and a mount for each of the dialects that are known of the vendor.

The same path has another body for each of the vendor's own clients, so the mount decides in whose voice an
answer is (planasonix.md §8): `/v1` as the overview page has it, `/docs/api` as the documentation's pages do,
`/air/api/v1` for the Airflow provider, `/go/api` for the Go client. Nothing is moved: runs have a plan, and
rows, durations and errors that follow from the seed.
"""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.planasonix_desk import Desk
from plait.sandbox.planasonix_jobs import Jobs
from plait.sandbox.planasonix_resources import GALLERY, Connections, Pipelines
from plait.sandbox.planasonix_runs import Runs, text_line
from plait.sandbox.planasonix_schedules import Schedules
from plait.sandbox.planasonix_seeding import plant
from plait.sandbox.planasonix_shown import log_lines
from plait.sandbox.planasonix_store import Shelf
from plait.sandbox.planasonix_webhooks import Courier, Webhooks
from plait.sandbox.planasonix_wire import (
    MOUNT,
    MOUNTS,
    Endpoint,
    Mount,
    Refusal,
    Wire,
    missing,
    refusal_body,
)
from plait.vendors.planasonix import operations as table

ROOT: Final = "/planasonix"
_STORAGE: Final = "/storage/logs"


class Planasonix:
    """The stand-in as an ASGI application, to be mounted at `ROOT`."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._wire = Wire(context)
        self.desk = Desk(context)
        self._courier = Courier(context, self.desk)
        self._app = Starlette(routes=self._routes(), exception_handlers={HTTPException: _refused})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request at the mount that its path names."""
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        mount = next((each for each in MOUNTS if path.startswith(f"{each.prefix}/")), None)
        if mount is None:
            answer = await self._log_file(path)
            await answer(scope, receive, send)
            return
        inner = {**scope, "root_path": f"{root}{mount.prefix}", MOUNT: mount}
        await self._app(inner, receive, send)

    async def open(self) -> None:
        """Make the tables, fill them when they are new, and start to send events."""
        settings, seed = self._context.settings.planasonix, self._context.settings.seed

        def work(shelf: Shelf) -> None:
            if shelf.empty():
                plant(shelf, settings.fixture, settings, seed)

        await self._context.store.transact(lambda transaction: Shelf(transaction, seed).create())
        await self.desk.transact(work)
        self._courier.open()

    async def aclose(self) -> None:
        """End what runs beside the requests."""
        await self._courier.aclose()

    async def _log_file(self, path: str) -> Response:
        """A log at the address that was given out; there is no key to send along."""
        if path.startswith(f"{_STORAGE}/"):
            name = path.removeprefix(f"{_STORAGE}/").removesuffix(".log")
            run = await self.desk.transact(lambda shelf: shelf.work("run", name))
            if run is not None:
                return PlainTextResponse("".join(map(text_line, log_lines(run))))
        return JSONResponse(refusal_body(missing("Route"), "spec"), 404)

    def _routes(self) -> list[Route]:
        connections, pipelines = Connections(self.desk), Pipelines(self.desk)
        runs, jobs = Runs(self.desk, f"{ROOT}{_STORAGE}"), Jobs(self.desk)
        schedules, webhooks = Schedules(self.desk), Webhooks(self.desk, self._courier)
        endpoints: list[tuple[Operation, Endpoint]] = [
            (GALLERY, connections.gallery),
            (table.LIST_CONNECTIONS, connections.list_all),
            (table.CREATE_CONNECTION, connections.create),
            (table.TEST_CONNECTION, connections.test),
            (table.GET_CONNECTION, connections.get),
            (table.UPDATE_CONNECTION, connections.update),
            (table.DELETE_CONNECTION, connections.delete),
            (table.LIST_PIPELINES, pipelines.list_all),
            (table.CREATE_PIPELINE, pipelines.create),
            (table.GET_PIPELINE, pipelines.get),
            (table.UPDATE_PIPELINE, pipelines.update),
            (table.DELETE_PIPELINE, pipelines.delete),
            (table.SET_PIPELINE_STATUS, pipelines.set_status),
            (table.TRIGGER_RUN, runs.trigger),
            (table.LIST_PIPELINE_RUNS, runs.list_of_pipeline),
            (table.LIST_RUNS, runs.list_all),
            (table.GET_RUN, runs.get),
            (table.LIST_RUN_NODES, runs.nodes),
            (table.GET_RUN_LOGS, runs.logs),
            (table.CANCEL_RUN, runs.cancel),
            (table.TRIGGER_SYNC, jobs.trigger),
            (table.BACKFILL, jobs.backfill),
            (table.LIST_JOBS, jobs.list_all),
            (table.GET_JOB, jobs.get),
            (table.GET_JOB_RESULTS, jobs.results),
            (table.CANCEL_JOB, jobs.cancel),
            (table.LIST_SCHEDULES, schedules.list_all),
            (table.CREATE_SCHEDULE, schedules.create),
            (table.GET_SCHEDULE, schedules.get),
            (table.UPDATE_SCHEDULE, schedules.update),
            (table.DELETE_SCHEDULE, schedules.delete),
            (table.PAUSE_SCHEDULE, schedules.disable),
            (table.RESUME_SCHEDULE, schedules.enable),
            (table.LIST_WEBHOOKS, webhooks.list_all),
            (table.CREATE_WEBHOOK, webhooks.create),
            (table.DELETE_WEBHOOK, webhooks.delete),
        ]
        return [
            Route(operation.path, self._wire.wrap(operation, endpoint), methods=[operation.method])
            for operation, endpoint in endpoints
        ]


async def _refused(request: Request, error: Exception) -> Response:
    """An unknown route is a 404, a known one with another method a 405, in the words of the mount."""
    mount: Mount = request.scope[MOUNT]
    wrong_method = isinstance(error, HTTPException) and error.status_code != missing("Route").status
    refusal = Refusal(405, "method_not_allowed", "Method not allowed") if wrong_method else missing("Route")
    return JSONResponse(refusal_body(refusal, mount.voice), refusal.status)


def create_planasonix(context: SandboxContext) -> Planasonix:
    """The stand-in; call `open` once the store is, and `aclose` before it closes."""
    return Planasonix(context)
