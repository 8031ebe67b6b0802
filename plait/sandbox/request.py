"""What the sandbox knows about the request it is working on."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RequestInfo:
    """One request to one stand-in; the fault plane fills it in, store and clock read it."""

    number: int
    """Counts from 1 since the sandbox started; names the request in effect rows and fault lines."""
    service: str
    operation: str | None
    """None where the path belongs to no operation of the service's table."""
    listing_lag: float = 0.0
    """Seconds for which entities made by this request are missing from lists."""
    clock_skew: float = 0.0
    """Seconds added to every timestamp the stand-in writes for this request."""


current_request: ContextVar[RequestInfo | None] = ContextVar("current_request", default=None)
