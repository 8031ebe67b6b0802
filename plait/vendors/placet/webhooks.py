"""What Placet sends to a webhook (placet.md §5.2).

Calls are unsigned, made once, and may be repeated by a person: they are hints. A receiver proves the
caller by the credentials it gave Placet, and then reads the review back by REST. Bodies hold raw
password answers; never log them.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import AwareDatetime, Field, ValidationError

from plait.http.errors import AuthenticationFailed, ConfigurationError, InvalidInput
from plait.vendors.placet import operations
from plait.vendors.placet.models import Message, Received

Json = Any
CALL_LIMIT: Final = 2 * operations.MEBIBYTE
"""Bytes of a call that are read: a message, and a little around it."""


class ReviewResponded(Received):
    """A person answered."""

    channel_id: str
    message_id: str = Field(alias="message_id")
    review_type: str | None = Field(default=None, alias="review_type")
    response: Json = Field(default=None, repr=False)
    responded_at: AwareDatetime | None = Field(default=None, alias="responded_at")
    feedback: str | None = None
    modified_file_ids: dict[str, str] = Field(default_factory=dict)
    iteration_group_id: str | None = None
    iteration: int | None = None


class ReviewExpired(Received):
    """The server's sweep closed a review; never sent where a long-poll expired it (placet.md §4.2)."""

    channel_id: str
    message_id: str = Field(alias="message_id")
    review_type: str | None = Field(default=None, alias="review_type")
    expired_at: AwareDatetime | None = Field(default=None, alias="expired_at")


class UserMessage(Received):
    """A person wrote into the channel."""

    channel_id: str
    message: Message


class OtherEvent(Received):
    """An event that is not known yet."""

    event: str
    channel_id: str | None = None


WebhookEvent: TypeAlias = ReviewResponded | ReviewExpired | UserMessage | OtherEvent

_EVENTS: Final[Mapping[str, type[ReviewResponded | ReviewExpired | UserMessage]]] = {
    "review:responded": ReviewResponded,
    "review:expired": ReviewExpired,
    "message:created": UserMessage,
}


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """What `set_webhook` told Placet to send along: Basic credentials, headers of ours, or both."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise ConfigurationError("a webhook's Basic credentials are a user name and a password, both")
        if self.username is None and not self.headers:
            raise ConfigurationError(
                "the webhook has no secret: Placet signs nothing, so give Basic credentials or a header"
            )

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise `AuthenticationFailed` unless a call carries all of it; compared in constant time."""
        got = {name.lower(): value for name, value in headers.items()}
        right = all(_same(got.get(name.lower(), ""), value) for name, value in self.headers.items())
        if self.username is not None:
            right &= _same(_basic(got.get("authorization", "")), f"{self.username}:{self.password}")
        if not right:
            raise AuthenticationFailed(
                "a webhook call without the credentials that Placet was given; it was ignored",
                system=operations.SYSTEM,
            )


def read_webhook(body: bytes, headers: Mapping[str, str], secret: WebhookSecret) -> WebhookEvent:
    """One call as an event, if it carries the secret.

    Raises:
        AuthenticationFailed: it does not.
        InvalidInput: the body is too large, no JSON, or not what its event should be.
    """
    secret.check(headers)
    if len(body) > CALL_LIMIT:
        raise InvalidInput(f"the webhook call has {len(body)} bytes; {CALL_LIMIT} are read")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput(f"the webhook call is no JSON ({len(body)} bytes)") from None
    name = said.get("event") if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise InvalidInput("the webhook call is no JSON object with an `event`")
    try:
        return _EVENTS.get(name, OtherEvent).model_validate(said)
    except ValidationError as error:
        # No inputs: the answer may be a password.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"the webhook call is no {name}: {where}: {first['msg']}") from None


def _basic(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _same(got: str, wanted: str) -> bool:
    return hmac.compare_digest(got.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))
