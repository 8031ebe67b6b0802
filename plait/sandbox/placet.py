"""The Placet stand-in: channels, messages, reviews, files, events, and a page where people answer.

It answers as the vendor's source says (placet.md): quirks, limits and status codes included. The
reviewer page at its root is our own, in place of the vendor's dashboard; it asks for no password,
as the sandbox listens on loopback.
"""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.placet_channels import Channels
from plait.sandbox.placet_files import Files
from plait.sandbox.placet_messages import Messages
from plait.sandbox.placet_push import SOCKET_PATH, Push
from plait.sandbox.placet_reviewer import Reviewer
from plait.sandbox.placet_reviews import Reviews
from plait.sandbox.placet_store import seed
from plait.sandbox.placet_wire import Endpoint, Wire
from plait.vendors.placet import operations as table

_UNROUTED: Final = frozenset({"Not Found", "Method Not Allowed"})


class Placet:
    """The stand-in as an ASGI application whose root is Placet's base URL."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._wire = Wire(context)
        self._push = Push(context)
        self._reviews = Reviews(context, self._push)
        files = Files(context, self._push)
        reviewer = Reviewer(context, self._reviews, files, self._push)
        self._app = Starlette(
            routes=[*self._routes(files), *reviewer.routes()],
            exception_handlers={HTTPException: self._refused},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one socket of the event channel."""
        events = scope["type"] == "websocket" or scope["path"].startswith(f"/{SOCKET_PATH}")
        await (self._push.app if events else self._app)(scope, receive, send)

    async def open(self) -> None:
        """Seed the first channels, and start the sweep."""
        now = self._context.now()
        await self._context.store.transact(lambda transaction: seed(transaction, now))
        self._reviews.open()

    async def aclose(self) -> None:
        """End what runs beside the requests."""
        await self._reviews.aclose()
        await self._push.aclose()

    def _routes(self, files: Files) -> list[Route]:
        messages = Messages(self._context, self._push)
        channels = Channels(self._context)
        endpoints: list[tuple[Operation, Endpoint]] = [
            (table.POST_MESSAGE, messages.post),
            (table.UPDATE_STREAM, messages.update_stream),
            (table.LIST_MESSAGES, messages.list_all),
            (table.LIST_ITERATIONS, messages.iterations),
            (table.GET_MESSAGE, messages.get),
            (table.DELETE_MESSAGE, messages.delete),
            (table.ACK_MESSAGE, messages.ack),
            (table.LIST_PENDING_REVIEWS, self._reviews.pending),
            (table.GET_REVIEW, self._reviews.get),
            (table.WAIT_FOR_REVIEW, self._reviews.wait),
            (table.LIST_CHANNELS, channels.list_all),
            (table.CREATE_CHANNEL, channels.create),
            (table.DELETE_CHANNEL, channels.delete),
            (table.SET_WEBHOOK, channels.set_webhook),
            (table.DELETE_WEBHOOK, channels.delete_webhook),
            (table.PING, channels.ping),
            (table.LIST_PLUGINS, channels.plugins),
            (table.GET_PLUGIN, channels.plugin),
            (table.UPLOAD_FILE, files.upload),
            (table.STORE_FILE, files.store),
            (table.LIST_FILES, files.list_all),
            (table.DOWNLOAD_FILE, files.download),
        ]
        return [
            Route(operation.path, self._wire.wrap(operation.name, endpoint), methods=[operation.method])
            for operation, endpoint in endpoints
        ]

    async def _refused(self, request: Request, error: Exception) -> Response:
        """An unknown route is a 404 in the framework's words; the page's routes say their own."""
        if isinstance(error, HTTPException) and error.detail not in _UNROUTED:
            return self._wire.refuse(request, error.status_code, error.detail)
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        return self._wire.refuse(request, 404, f"Cannot {request.method} {path}")


def create_placet(context: SandboxContext) -> Placet:
    """The stand-in; call `open` once the store is, and `aclose` before it closes."""
    return Placet(context)
