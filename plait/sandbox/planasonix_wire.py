"""What every call to the Planasonix stand-in passes: key, rate limit, scope, body (planasonix.md §2)."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.limiters import Decision, FixedWindow
from plait.sandbox.limiters import Dialect as RateDialect
from plait.sandbox.planasonix_settings import Grant, PlanasonixSettings, Scope, Voice
from plait.vendors.planasonix.operations import ORCHESTRATION

Family: TypeAlias = Literal["resources", "orchestration"]

_PREFIXES: Final = ("plnx_", "plx_", "flx_")
_SIX_HOURS: Final = 21600
_CODES: Final = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    429: "rate_limited",
}
"""Only `invalid_request` is shown [doc], the others are [assumed]."""
MOUNT: Final = "plait.planasonix.mount"


@dataclass(frozen=True, slots=True)
class Mount:
    """A prefix inside the stand-in, what is found behind it, and in whose voice it answers."""

    prefix: str
    voice: Voice
    families: tuple[Family, ...]


MOUNTS: Final = (
    Mount("/v1", "spec", ("resources", "orchestration")),
    Mount("/docs/api/v1", "docs", ("orchestration",)),
    Mount("/docs/api", "docs", ("resources",)),
    Mount("/docs/v1/api/v1", "docs", ("orchestration",)),
    Mount("/docs/v1/api", "docs", ("resources",)),
    Mount("/air/api/v1", "air", ("resources", "orchestration")),
    Mount("/go/api/v1", "go", ("orchestration",)),
    Mount("/go/api", "go", ("resources",)),
)
"""A longer prefix stands before the shorter one that it begins with."""


class Refusal(Exception):
    """An error answer; each voice has a form of its own for it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: tuple[tuple[str, str], ...] = (),
        existing_job_id: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        """Field and issue."""
        self.existing_job_id = existing_job_id
        self.headers = headers


def refused_field(name: str, issue: str) -> Refusal:
    """400 for a field of the body or of the query."""
    words = "Missing required field" if issue == "blank" else "Invalid field"
    return Refusal(400, _CODES[400], f"{words}: {name}", details=((name, issue),))


def missing(what: str) -> Refusal:
    """404."""
    return Refusal(404, _CODES[404], f"{what} not found")


def refusal_body(refusal: Refusal, voice: Voice) -> dict[str, Any]:
    """The error in the voice's form (planasonix.md §2.3)."""
    named = {"existing_job_id": refusal.existing_job_id} if refusal.existing_job_id else {}
    if voice in {"air", "go"}:
        return {"error": refusal.message, **named}
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.details:
        error["details"] = [{"field": name, "issue": issue} for name, issue in refusal.details]
    return {"error": error, **named}


@dataclass(frozen=True, slots=True)
class Call:
    """One call whose key is known and may do it."""

    request: Request
    operation: Operation
    mount: Mount
    grant: Grant
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def voice(self) -> Voice:
        """In whose voice the answer is."""
        return self.mount.voice

    @property
    def organization(self) -> str:
        """Whose call it is."""
        return self.grant.organization

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """A part of the query, by its snake-case name, as the voice spells it."""
        values = self.request.query_params
        return next((values[each] for each in self._spellings(name) if values.get(each)), None)

    def has(self, name: str) -> bool:
        """Whether the body has a field, be it empty."""
        return any(each in self.body for each in self._spellings(name))

    def value(self, name: str) -> Any:
        """A field of the body, by its snake-case name, as the voice spells it; None without it."""
        return next((self.body[each] for each in self._spellings(name) if each in self.body), None)

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A field that is a text."""
        value = self.value(name)
        if value is None or value == "":
            if required:
                raise refused_field(self._spellings(name)[0], "blank")
            return None
        if not isinstance(value, str):
            raise refused_field(self._spellings(name)[0], "not a string")
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        """A field that is an object."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            raise refused_field(self._spellings(name)[0], "not an object")
        return value

    def list(self, name: str) -> list[Any] | None:
        """A field that is a list."""
        value = self.value(name)
        if value is not None and not isinstance(value, list):
            raise refused_field(self._spellings(name)[0], "not a list")
        return value

    def _spellings(self, name: str) -> tuple[str, ...]:
        """Each way to spell a name, the voice's own first.

        Camel case for the resources of the documentation's pages and of the Go client, snake case for
        orchestration (planasonix.md §2.3), both where no source says.
        """
        if self.operation in ORCHESTRATION:
            return (name,)
        if self.voice in {"docs", "go"} and self.operation.name != "list_schedules":
            return (camel(name),)
        return (name, camel(name))


Endpoint: TypeAlias = Callable[[Call], Awaitable[Response]]


def camel(name: str) -> str:
    """`pipeline_id` as `pipelineId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Wire:
    """Wraps endpoints in what comes before them: mount, key, rate limit, scope, body."""

    def __init__(self, context: SandboxContext) -> None:
        self._settings = context.settings.planasonix
        self._keys: dict[str, FixedWindow] = {}
        self._workspaces: dict[str, FixedWindow] = {}

    def wrap(self, operation: Operation, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """`endpoint` as Starlette calls it."""

        async def serve(request: Request) -> Response:
            mount: Mount = request.scope[MOUNT]
            rate: dict[str, str] = {}
            try:
                _check_family(operation, mount)
                key, grant = self._grant(request)
                rate = self._count(key, grant)
                self._check_scope(operation, grant)
                answer = await endpoint(Call(request, operation, mount, grant, await _body(request)))
            except Refusal as refusal:
                answer = JSONResponse(refusal_body(refusal, mount.voice), refusal.status, refusal.headers)
            answer.headers.update(rate)
            return answer

        return serve

    def _grant(self, request: Request) -> tuple[str, Grant]:
        """401 for a missing header, a malformed token, a key that is none or no more [vendor auth]."""
        word, _, key = request.headers.get("authorization", "").partition(" ")
        if word.lower() != "bearer" or not key:
            raise Refusal(401, _CODES[401], "Missing bearer token")
        grant = self._settings.keys.get(key)
        if grant is None and key.startswith(_PREFIXES):
            grant = Grant()
        if grant is None or not grant.active:
            raise Refusal(401, _CODES[401], "Unknown or revoked API key")
        return key, grant

    def _check_scope(self, operation: Operation, grant: Grant) -> None:
        if operation in ORCHESTRATION and self._settings.tier == "standard":
            raise Refusal(403, _CODES[403], "Your plan does not include the orchestration API")
        wanted = scope_of(operation)
        if wanted not in grant.scopes and "admin:organization" not in grant.scopes:
            raise Refusal(403, _CODES[403], f"The API key lacks the scope {wanted}")

    def _count(self, key: str, grant: Grant) -> dict[str, str]:
        now = time.time()
        settings = self._settings
        fresh = FixedWindow(limit=settings.limit, window=settings.limit_window)
        decision = self._keys.setdefault(key, fresh).take(now)
        if decision.allowed and settings.workspace_limit is not None:
            fresh = FixedWindow(limit=settings.workspace_limit, window=settings.limit_window)
            shared = self._workspaces.setdefault(grant.organization, fresh).take(now)
            if not shared.allowed or shared.remaining < decision.remaining:
                decision = shared
        headers = _rate_headers(settings, decision, now)
        if not decision.allowed:
            raise Refusal(429, _CODES[429], "Too many requests", headers=headers)
        return headers


def _check_family(operation: Operation, mount: Mount) -> None:
    """404 for orchestration under the prefix of resources, and the other way round."""
    family: Family = "orchestration" if operation in ORCHESTRATION else "resources"
    if family not in mount.families:
        raise missing("Route")


def _rate_headers(settings: PlanasonixSettings, decision: Decision, now: float) -> dict[str, str]:
    very_long = settings.retry_after == "very_long"
    dialect = RateDialect(
        retry_after="seconds" if settings.retry_after == "very_long" else settings.retry_after,
        reset="epoch" if settings.rate_headers else "none",
    )
    headers = dialect.headers(decision, now)
    if very_long and not decision.allowed:
        headers["Retry-After"] = str(_SIX_HOURS)
    return headers


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    if request.method == "GET" or not content:
        return {}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, _CODES[400], "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, _CODES[400], "The body is not an object")
    return body


def scope_of(operation: Operation) -> Scope:
    """What a key needs; the pages call their names examples [vendor auth]."""
    reading = operation.method == "GET"
    if operation.name.endswith(("webhook", "webhooks")):
        return "admin:organization"
    if operation in ORCHESTRATION:
        return "sync:read" if reading else "sync:trigger"
    if operation.name in {"trigger_run", "cancel_run"}:
        return "pipelines:run"
    match operation.path.split("/")[1]:
        case "connections" | "connector-gallery":
            return "connections:read" if reading else "connections:write"
        case "schedules":
            return "schedules:read" if reading else "schedules:write"
        case _:
            return "pipelines:read" if reading else "pipelines:write"
