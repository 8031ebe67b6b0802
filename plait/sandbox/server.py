"""Puts the sandbox together and serves it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from plait.clock import BootClock, Clock
from plait.http.errors import ConfigurationError
from plait.sandbox.context import SandboxContext
from plait.sandbox.control import control_router
from plait.sandbox.faults import FaultPlane
from plait.sandbox.officeplane import create_officeplane
from plait.sandbox.officeplane_documents import DocumentLibrary
from plait.sandbox.placet import create_placet
from plait.sandbox.planasonix import ROOT as PLANASONIX
from plait.sandbox.planasonix import create_planasonix
from plait.sandbox.planasonix_control import planasonix_router
from plait.sandbox.planck import create_planck
from plait.sandbox.pletor import create_pletor
from plait.sandbox.pletor_assets import STORAGE, create_storage
from plait.sandbox.settings import SandboxSettings
from plait.sandbox.store import Store
from plait.sandbox.wire import WiredProtocol

_BACKLOG = 2048
_KEEP_ALIVE = 60
_GRACE = 2


class Sandbox:
    """The whole sandbox as one ASGI application: fault plane, stand-ins, control routes."""

    def __init__(self, settings: SandboxSettings, clock: Clock | None = None) -> None:
        clock = clock or BootClock()
        self._settings = settings
        self._store = Store(settings.state)
        self._app = FastAPI(title="Plait sandbox", lifespan=self._lifespan, redirect_slashes=False)
        self._plane = FaultPlane(self._app, seed=settings.seed, log=settings.fault_log, clock=clock)
        self._plane.arm(settings.faults)
        context = SandboxContext(
            settings=settings,
            store=self._store,
            library=DocumentLibrary(self._store, settings.files),
            clock=clock,
        )
        self._app.include_router(control_router(settings, self._store, self._plane), prefix="/_sandbox")
        self._planasonix = create_planasonix(context)
        control = planasonix_router(self._planasonix.desk, settings.seed)
        self._app.include_router(control, prefix="/_sandbox/planasonix")
        self._app.mount(PLANASONIX, self._planasonix)
        self._app.mount("/officeplane", create_officeplane(context))
        self._planck = create_planck(context)
        self._app.mount("/planck/api/v1", self._planck)
        self._placet = create_placet(context)
        self._app.add_api_route("/placet", _to_placet, include_in_schema=False)
        self._app.mount("/placet", self._placet)
        self._pletor = create_pletor(context)
        self._app.mount("/pletor/api/public/v1", self._pletor)
        self._app.mount(STORAGE, create_storage(context))

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        await self._store.open()
        await asyncio.to_thread(_prepare_files, self._settings.files)
        await self._placet.open()
        await self._pletor.prepare()
        await self._planasonix.open()
        try:
            yield
        finally:
            await self._plane.aclose()
            await self._planck.aclose()
            await self._placet.aclose()
            await self._planasonix.aclose()
            await self._store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the start and stop of the server."""
        await self._plane(scope, receive, send)


async def _to_placet() -> RedirectResponse:
    """The reviewer page's links are relative to its folder."""
    return RedirectResponse("/placet/")


def _prepare_files(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for unfinished in folder.glob("*.part"):
        unfinished.unlink()


def create_app(settings: SandboxSettings) -> ASGIApp:
    """The sandbox; needs a server that runs the lifespan and uses `WiredProtocol`."""
    return Sandbox(settings)


def run(settings: SandboxSettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the address is taken or not ours, or the state file cannot be used.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: SandboxSettings) -> None:
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"the sandbox cannot listen on {settings.host}:{settings.port} ({error}); "
            "choose another port, or 0 for a free one"
        ) from error
    with listener:
        config = uvicorn.Config(
            create_app(settings),
            http=WiredProtocol,
            ws="wsproto",
            loop="asyncio",
            lifespan="on",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
        )
        await _Server(config, listener, settings.port_file).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn that announces itself once it accepts requests."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, port_file: Path | None) -> None:
        super().__init__(config)
        self._url = "http://{}:{}".format(*listener.getsockname()[:2])
        self._port = listener.getsockname()[1]
        self._port_file = port_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell people and programs the address."""
        await super().startup(sockets)
        if self.should_exit:
            return
        if self._port_file is not None:
            await asyncio.to_thread(_write_whole, self._port_file, f"{self._port}\n")
        print(  # noqa: T201 - the one line a person starting a server waits for
            f"Plait sandbox (stand-ins, no language model)\n"
            f"  OfficePlane  {self._url}/officeplane\n"
            f"  Planck AI    {self._url}/planck/api/v1\n"
            f"  Pletor       {self._url}/pletor/api/public/v1\n"
            f"  Planasonix   {self._url}/planasonix/v1  (other dialects: docs/api, air/api/v1, go/api)\n"
            f"  Placet       {self._url}/placet  (this is also the reviewers' page)\n"
            f"  control      {self._url}/_sandbox/",
            flush=True,
        )


def _write_whole(path: Path, text: str) -> None:
    """Never seen half-written."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="ascii")
    unfinished.replace(path)
