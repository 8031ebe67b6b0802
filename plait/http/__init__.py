"""The transport: the only place that talks HTTP, and the errors everybody speaks."""

from plait.http.answer import UNSET, Answer
from plait.http.files import Downloaded, safe_name, sha256_of
from plait.http.multipart import Upload
from plait.http.pacing import Gate, LocalGate
from plait.http.public import fetch_public
from plait.http.retry import RateDialect, RateReading, RetryPolicy
from plait.http.sse import Event
from plait.http.stream import EventStream
from plait.http.transport import Transport

__all__ = [
    "UNSET",
    "Answer",
    "Downloaded",
    "Event",
    "EventStream",
    "Gate",
    "LocalGate",
    "RateDialect",
    "RateReading",
    "RetryPolicy",
    "Transport",
    "Upload",
    "fetch_public",
    "safe_name",
    "sha256_of",
]
