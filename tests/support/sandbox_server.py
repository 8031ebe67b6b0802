"""The whole sandbox in this process: a start costs no imports, so a test may have one of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from plait.sandbox.server import create_app
from plait.sandbox.settings import SandboxSettings
from plait.sandbox.wire import WiredProtocol


@asynccontextmanager
async def serving_sandbox(settings: SandboxSettings) -> AsyncIterator[str]:
    """Its address, while it runs."""
    config = uvicorn.Config(
        create_app(settings),
        http=WiredProtocol,
        ws="wsproto",
        port=0,
        lifespan="on",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield "http://127.0.0.1:{1}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        await running
