"""What a fault is: data that says which requests it strikes, and what then happens.

A rule sent to `POST /_sandbox/faults` is one JSON object, for example

    {"kind": "after_accept", "service": "planck", "operation": "send_message", "nth": [2]}

Fields that a kind does not know are refused, so that a misspelt rule cannot pass as no fault.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from plait.sandbox.limiters import Algorithm, Dialect, Reset, RetryAfter
from plait.sandbox.wire import How

Seconds = Annotated[float, Field(ge=0.0, le=600.0)]
Count = Annotated[int, Field(ge=1)]


class Rule(BaseModel):
    """Which requests are struck. Without any condition: all requests to all services."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = Field(default=None, min_length=1, max_length=100)
    """Given out (`rule-1`, `rule-2`, ...) when absent; sending a known id replaces that rule."""
    service: str | None = None
    operation: str | None = None
    """Name in the service's operation table."""
    nth: tuple[Count, ...] | None = None
    """Only these of the matching requests, counted from 1 since the rule was set."""
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    """Drawn from the sandbox's seed, the rule's id and the count of matching requests."""
    times: Count | None = None
    """How often it fires at most."""


class BeforeAccept(Rule):
    """The connection ends before anything is done."""

    kind: Literal["before_accept"]
    how: How = "close"


class AfterAccept(Rule):
    """The request is carried out, and the connection ends without an answer."""

    kind: Literal["after_accept"]
    how: How = "close"


class ConnectionReset(Rule):
    """RST while the request is being sent; nothing is done."""

    kind: Literal["reset"]
    request_bytes: int = Field(default=0, ge=0)
    """So much of the request's body is read first (a body that is shorter is read to its end)."""


class MidBody(Rule):
    """The answer breaks off after so many bytes of its body. A shorter body passes whole."""

    kind: Literal["mid_body"]
    bytes: int = Field(ge=0)
    how: How = "close"


class MidStream(Rule):
    """A stream of server-sent events breaks off after so many whole events or so many bytes."""

    kind: Literal["mid_stream"]
    events: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0)
    how: How = "close"

    @model_validator(mode="after")
    def _one_measure(self) -> "MidStream":
        if (self.events is None) == (self.bytes is None):
            raise ValueError("mid_stream takes either `events` or `bytes`, exactly one of them")
        return self


class Answered(Rule):
    """Base of faults that answer in the vendor's place."""

    status: int = Field(ge=400, le=599)
    body: Any = Field(default_factory=lambda: {"detail": "injected fault"})
    """A string goes out as text/plain, anything else as JSON."""
    headers: dict[str, str] = Field(default_factory=dict)


class StatusBefore(Answered):
    """An error answer; nothing is done."""

    kind: Literal["status"]


class StatusAfter(Answered):
    """The request is carried out, and an error takes the place of its answer."""

    kind: Literal["status_after"]


class Announced(Rule):
    """Base of faults that speak of rate limits."""

    retry_after: RetryAfter = "seconds"
    reset: Reset = "none"
    body: Any = Field(default_factory=lambda: {"detail": "Too Many Requests"})

    @property
    def dialect(self) -> Dialect:
        """The headers these settings ask for."""
        return Dialect(retry_after=self.retry_after, reset=self.reset)


class RateLimit(Announced):
    """429 for the requests struck, whatever their rate; nothing is done."""

    kind: Literal["rate_limit"]
    wait: Seconds = 1.0
    """What the headers ask for."""


class Limit(Announced):
    """A limiter that really counts. Requests over the limit get 429; the others pass, announced."""

    kind: Literal["limiter"]
    algorithm: Algorithm
    limit: Count
    """Requests a window; tokens the bucket holds; requests at the same time."""
    rate: float | None = Field(default=None, gt=0.0)
    """Tokens a second; only of the token bucket."""
    window: float | None = Field(default=None, gt=0.0, le=86400.0)
    """Seconds; only of the two windows."""
    per: Literal["rule", "key"] = "rule"
    """`rule`: all requests of the rule share one count; `key`: one count for each `X-API-Key` or
    `Authorization` value."""

    @model_validator(mode="after")
    def _measures(self) -> "Limit":
        needs = {"token_bucket": {"rate"}, "concurrency": set()}.get(self.algorithm, {"window"})
        given = {name for name in ("rate", "window") if getattr(self, name) is not None}
        if given != needs:
            wanted = " and ".join(sorted(needs)) or "neither rate nor window"
            raise ValueError(f"a {self.algorithm} limiter takes {wanted} besides limit, got {sorted(given)}")
        return self


class Slow(Rule):
    """The answer's body trickles."""

    kind: Literal["slow"]
    bytes_per_second: int = Field(ge=1)


class Delay(Rule):
    """The request is carried out at once, its answer comes late."""

    kind: Literal["delay"]
    seconds: Seconds


class LateLanding(Rule):
    """The request is taken and lost; it takes effect `seconds` later, when nobody waits for it."""

    kind: Literal["late_landing"]
    seconds: Seconds
    status: int | None = Field(default=None, ge=400, le=599)
    """Answered at once with this; None ends the connection without an answer."""


class ListingLag(Rule):
    """What this request creates is missing from lists for so long; it can be read by its id."""

    kind: Literal["listing_lag"]
    seconds: Seconds


class DuplicateDelivery(Rule):
    """The request is carried out twice, as by a proxy that retries; the second answer is sent."""

    kind: Literal["duplicate_delivery"]


class ClockSkew(Rule):
    """The vendor's timestamps of this request are off by so many seconds, either way."""

    kind: Literal["clock_skew"]
    seconds: float = Field(ge=-86400.0, le=86400.0)


class Hang(Rule):
    """Nothing is done and nothing answered, until the client hangs up or the time is over."""

    kind: Literal["hang"]
    seconds: Seconds = 60.0


FaultRule: TypeAlias = Annotated[
    BeforeAccept
    | AfterAccept
    | ConnectionReset
    | MidBody
    | MidStream
    | StatusBefore
    | StatusAfter
    | RateLimit
    | Limit
    | Slow
    | Delay
    | LateLanding
    | ListingLag
    | DuplicateDelivery
    | ClockSkew
    | Hang,
    Field(discriminator="kind"),
]

RULES: TypeAdapter[list[FaultRule]] = TypeAdapter(list[FaultRule])
"""Reads a list of rules."""
