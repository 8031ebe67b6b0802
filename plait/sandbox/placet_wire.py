"""What every call to the Placet stand-in passes: body, rate limit, key, errors (placet.md §2)."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plait.sandbox.context import SandboxContext
from plait.sandbox.limiters import SlidingWindow
from plait.sandbox.placet_store import KEY_PREFIX, USERS, StoredChannel, StoredMessage, moment
from plait.sandbox.store import Transaction

BODY_LIMIT: Final = 1024 * 1024
_EMPTY: Final = "Body cannot be empty when content-type is set to 'application/json'"
_NOT_JSON: Final = "Body is not valid JSON but content-type is set to 'application/json'"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """One call whose key is known."""

    request: Request
    user: str
    body: Any = None
    """The JSON body; None without one."""
    form: FormData | None = None

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """A part of the query."""
        return self.request.query_params.get(name) or None

    def read(self, model: type[M]) -> M:
        """The body as `model`; unknown fields are stripped, and 400 never says which one is wrong."""
        try:
            return model.model_validate(self.body)
        except ValidationError:
            raise HTTPException(400, "Validation failed") from None


Endpoint: TypeAlias = Callable[[Call], Awaitable[Response]]


class Wire:
    """Wraps endpoints in what comes before them at the vendor: parser, throttle, key."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._settings = context.settings.placet
        self._windows: dict[tuple[str, str], SlidingWindow] = {}

    def wrap(self, route: str, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """`endpoint` as Starlette calls it; `route` names its bucket of the rate limit."""

        async def serve(request: Request) -> Response:
            rate: dict[str, str] = {}
            try:
                body, form = await self._parse(request)
                rate = self._throttle(request, route)
                call = Call(request, self._user(request), body, form)
                answer = await endpoint(call)
            except HTTPException as error:
                answer = self.refuse(request, error.status_code, str(error.detail), dict(error.headers or {}))
            finally:
                await request.close()  # with it the files of a form
            answer.headers.update(rate)
            return answer

        return serve

    async def _parse(self, request: Request) -> tuple[Any, FormData | None]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method in {"GET", "HEAD"}:
            return None, None
        if kind == "multipart/form-data":
            try:
                return None, await request.form(max_files=10, max_fields=100)
            except MultiPartException:
                raise HTTPException(500, "Internal server error") from None
        content = await request.body()
        if len(content) > BODY_LIMIT:
            raise HTTPException(413, "Request body is too large")
        if kind == "application/json":
            return _json(content), None
        if kind and content:
            raise HTTPException(415, f"Unsupported Media Type: {kind}")
        return None, None

    def _throttle(self, request: Request, route: str) -> dict[str, str]:
        """Count the call, before its key is looked at; raises 429."""
        if not self._settings.throttle:
            return {}
        client = request.client.host if request.client else ""
        window = self._windows.setdefault(
            (client, route),
            SlidingWindow(self._settings.throttle_limit, self._settings.throttle_window),
        )
        decision = window.take(self._context.clock.now())
        if not decision.allowed:
            raise HTTPException(
                429,
                "ThrottlerException: Too Many Requests",
                headers={"Retry-After": str(max(1, ceil(decision.wait)))},
            )
        return {
            "X-RateLimit-Limit": str(decision.limit),
            "X-RateLimit-Remaining": str(decision.remaining),
            "X-RateLimit-Reset": str(ceil(decision.wait)),
        }

    @staticmethod
    def _user(request: Request) -> str:
        key = request.headers.get("x-api-key", "")
        if not key.startswith(KEY_PREFIX):
            raise HTTPException(401, "Missing or invalid API key")
        user = USERS.get(key)
        if user is None:
            raise HTTPException(401, "Invalid API key")
        return user

    def refuse(
        self, request: Request, status: int, message: str, headers: dict[str, str] | None = None
    ) -> Response:
        """The error body of the one global filter."""
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        query = f"?{request.url.query}" if request.url.query else ""
        body = {
            "statusCode": status,
            "message": message,
            "timestamp": moment(self._context.now()),
            "path": f"{path}{query}",
        }
        return JSONResponse(body, status_code=status, headers=headers)


def _json(content: bytes) -> Any:
    if not content:
        raise HTTPException(400, _EMPTY)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise HTTPException(400, _NOT_JSON) from None


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return JSONResponse(value, status_code=status)


def refuse(status: int, message: str) -> NoReturn:
    """Answer with an error."""
    raise HTTPException(status, message)


def owned_channel(transaction: Transaction, user: str, channel_id: str | None) -> StoredChannel:
    """A channel of the user; 403 for a foreign one and for one that is not (placet.md §2)."""
    channel = transaction.get(StoredChannel, channel_id or "")
    if channel is None or channel.parent != user:
        raise HTTPException(403, "Not your agent")
    return channel


def listed_channel(transaction: Transaction, call: Call) -> StoredChannel:
    """The channel of a list; the vendor would show everybody's rows without one, we answer 400."""
    if call.query("channel") is None:
        raise HTTPException(400, "Validation failed")
    return owned_channel(transaction, call.user, call.query("channel"))


def owned_message(
    transaction: Transaction, call: Call, message_id: str, *, strict: bool
) -> tuple[StoredMessage, StoredChannel]:
    """A message of the named channel; without a name one of any channel of the user (placet.md §8)."""
    named = call.query("channel")
    if named is None and strict:
        raise HTTPException(400, "Validation failed")
    channel = None if named is None else owned_channel(transaction, call.user, named)
    message = transaction.get(StoredMessage, message_id)
    if message is None or (channel is not None and message.parent != channel.id):
        raise HTTPException(404, "Message not found")
    return message, channel or owned_channel(transaction, call.user, message.parent)
