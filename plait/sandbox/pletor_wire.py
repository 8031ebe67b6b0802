"""What every answer of the Pletor stand-in has: a known caller, counted requests, and its error shapes."""

import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plait.sandbox.limiters import Decision, FixedWindow
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.pletor_store import ORGANIZATIONS
from plait.sandbox.request import current_request


def _caller(
    key: Annotated[str | None, Header(alias="X-Api-Key")] = None,
    token: Annotated[str | None, Header(alias="Authorization")] = None,
) -> str:
    """The caller's organization; 401 for a missing or unknown key [inferred]."""
    organization = ORGANIZATIONS.get(key or token or "")
    if organization is None:
        raise HTTPException(401, "Invalid or missing API key")
    return organization


Organization = Annotated[str, Depends(_caller)]


class KeyTaken(Exception):
    """The external id is used. `entity_id` is empty where nothing stands behind it."""

    def __init__(self, external_id: str, entity_id: str) -> None:
        super().__init__(external_id)
        self.external_id = external_id
        self.entity_id = entity_id


def conflict_answer(settings: PletorSettings) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Handler of `KeyTaken`: 409 in one of the shapes a client must read (pletor.md §2.2)."""

    async def answer(_: Request, taken: Exception) -> Response:
        assert isinstance(taken, KeyTaken)  # noqa: S101 - registered for this exception alone
        words = f"external_id {taken.external_id} is already used"
        named: dict[str, Any] = {"id": taken.entity_id} if settings.conflict_names_original else {}
        match settings.conflict_shape:
            case "html":
                return HTMLResponse(f"<html><title>409 Conflict</title><p>{words}</p></html>", 409)
            case "empty":
                return Response(status_code=409)
            case "error":
                return JSONResponse({"error": {"code": "conflict", "message": words}, **named}, 409)
            case "code":
                return JSONResponse({"code": "conflict", "message": words, **named}, 409)
            case _:
                return JSONResponse({"detail": words, **named}, 409)

    return answer


class Limits:
    """Counts requests by key and class, and announces the count on every answer (pletor.md §2.3)."""

    def __init__(self, app: ASGIApp, settings: PletorSettings) -> None:
        self._app = app
        self._settings = settings
        self._windows: dict[tuple[str, str], FixedWindow] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or answer 429."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        decision = self._window(scope).take(time.time())
        announced = self._headers(decision)

        async def announce(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(announced)
            await send(message)

        if decision.allowed:
            await self._app(scope, receive, announce)
            return
        await JSONResponse({"detail": "Rate limit exceeded"}, 429)(scope, receive, announce)

    def _window(self, scope: Scope) -> FixedWindow:
        names = {b"x-api-key", b"authorization"}
        caller = next((value.decode("latin-1") for name, value in scope["headers"] if name in names), "")
        kind, limit = self._kind()
        fresh = FixedWindow(limit=limit, window=self._settings.limit_window)
        return self._windows.setdefault((caller, kind), fresh)

    def _kind(self) -> tuple[str, int]:
        request = current_request.get()
        match request.operation if request else None:
            case "create_run" | "create_app_run" as operation:
                kind = "runs" if self._settings.runs_share_limit else str(operation)
                return kind, self._settings.run_limit
            case "upload_asset":
                return "uploads", self._settings.upload_limit
            case _:
                return "default", self._settings.default_limit

    def _headers(self, decision: Decision) -> dict[str, str]:
        settings, wall = self._settings, time.time()
        headers: dict[str, str] = {}
        if settings.reset_unit != "none":
            headers["X-RateLimit-Limit"] = str(decision.limit)
            headers["X-RateLimit-Remaining"] = str(decision.remaining)
            headers["X-RateLimit-Reset"] = _reset(settings.reset_unit, decision.wait, wall)
        if settings.retry_after and not decision.allowed:
            headers["Retry-After"] = str(math.ceil(decision.wait))
        return headers


_MILLISECONDS: Final = 1000


def _reset(unit: str, wait: float, wall: float) -> str:
    match unit:
        case "date":
            return format_datetime(datetime.fromtimestamp(math.ceil(wall + wait), UTC), usegmt=True)
        case "epoch":
            return str(math.ceil(wall + wait))
        case "epoch_milliseconds":
            return str(math.ceil((wall + wait) * _MILLISECONDS))
        case "milliseconds":
            return str(math.ceil(wait * _MILLISECONDS))
        case _:
            return str(math.ceil(wait))
