"""What Planasonix sends to a webhook (planasonix.md §5): events of jobs, signed, and perhaps more than once.

Header names and the signed text are not documented. The defaults are HMAC-SHA256 over the raw body, in
hexadecimal, in `X-Planasonix-Signature`, and a time in `X-Planasonix-Timestamp` [inferred]; set them as your
deployment does. A delivery may be repeated: `id` tells repeats apart.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field, ValidationError

from plait.http.errors import AuthenticationFailed, ConfigurationError, InvalidInput
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.models import JobSummary, Moment, Received, State, Word, state_of

CALL_LIMIT: Final = 1024 * 1024
"""Bytes of a call that are read."""
_MILLISECONDS: Final = 1e11


class EventData(Received):
    """What an event says of its job or run."""

    status: Word = ""
    summary: JobSummary | None = None

    @property
    def state(self) -> State:
        """What the status word means."""
        return state_of(self.status)


class WebhookEvent(Received):
    """One event. `type` is `job.completed`, `job.failed`, or a word not known yet."""

    id: str
    type: str
    timestamp: Moment = None
    job_id: str | None = None
    run_id: str | None = None
    data: EventData = Field(default_factory=EventData)


@dataclass(frozen=True, slots=True)
class Signing:
    """How a deployment signs its calls."""

    secret: str = field(repr=False)
    signature_header: str = "X-Planasonix-Signature"
    timestamp_header: str = "X-Planasonix-Timestamp"
    signs_timestamp: bool = False
    """Whether the signed text is `timestamp.body`, and not the body alone."""
    tolerance: float = 300.0
    """Seconds by which a call's time may differ from ours."""

    def __post_init__(self) -> None:
        if not self.secret:
            raise ConfigurationError("the webhook has no secret; without one anybody could call it")

    def check(self, body: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Raise `AuthenticationFailed` unless the call is signed and fresh; compared in constant time."""
        got = {name.lower(): value.strip() for name, value in headers.items()}
        stamp = got.get(self.timestamp_header.lower(), "")
        text = f"{stamp}.".encode() + body if self.signs_timestamp else body
        wanted = hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()
        given = got.get(self.signature_header.lower(), "").rpartition("=")[2].lower()
        if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
            raise _refused("its signature is missing or wrong")
        sent = _time_of(stamp)
        if sent is None and (stamp or self.signs_timestamp):
            raise _refused("its time cannot be read")
        if sent is not None and abs((now - sent).total_seconds()) > self.tolerance:
            raise _refused(f"its time is more than {self.tolerance:g} s from ours: an old call, sent again")


def read_webhook(
    body: bytes, headers: Mapping[str, str], signing: Signing, *, now: datetime | None = None
) -> WebhookEvent:
    """One call as an event, if it is signed.

    Raises:
        AuthenticationFailed: it is not, or it is too old.
        InvalidInput: the body is too large, no JSON, or no event.
    """
    if len(body) > CALL_LIMIT:
        raise InvalidInput(f"the webhook call has {len(body)} bytes; {CALL_LIMIT} are read")
    signing.check(body, headers, now or datetime.now(UTC))
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput(f"the webhook call is no JSON ({len(body)} bytes)") from None
    try:
        event = WebhookEvent.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"the webhook call is no event: {where or 'body'}: {first['msg']}") from None
    return event


def _time_of(stamp: str) -> datetime | None:
    """An epoch in seconds or milliseconds, or an ISO time."""
    try:
        number = float(stamp)
        return datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _refused(why: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"a webhook call was ignored: {why}", system=operations.SYSTEM)
