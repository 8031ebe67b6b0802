"""Every error Plait raises on purpose.

    PlaitError
    ├── RequestRejected          the vendor said no (4xx); nothing happened there
    │   ├── AuthenticationFailed   401
    │   ├── PermissionDenied       403
    │   ├── NotFound               404
    │   ├── Conflict               409
    │   ├── ValidationFailed       400, 413, 415, 422
    │   └── RateLimited            429, and waits too long to sit through
    ├── ServerFailed             5xx on a call without effect, or an effect proved absent
    ├── NotSent                  nothing left this machine
    ├── OutcomeUnknown           an effectful request left, and its answer is not known
    ├── MalformedResponse        an answer that is not what the contract says
    ├── StreamTruncated          a stream that ended before its terminal event
    ├── DeadlineExceeded         our own limit of time was reached
    ├── LimitExceeded            our own limit of size was reached
    ├── InvalidInput             a value given by the caller cannot be used
    ├── ConfigurationError       a block, key, address or file is missing or unusable
    └── LedgerError              see `plait.ledger.errors`

An error carries what a person needs to act and never a secret.
"""

from collections.abc import Mapping
from typing import Any


class PlaitError(Exception):
    """Base of all; `message` says what was wrong, with which value, and what to do next."""

    retryable: bool = False
    """Whether the same call may be made again by a machine."""
    after_loss: bool = False
    """Whether an earlier request of the same call left and got no usable answer: it may have worked."""

    def __init__(
        self,
        message: str,
        *,
        system: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        code: str | None = None,
        details: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.operation = operation
        self.status = status
        self.request_id = request_id
        self.code = code
        self.details = details
        """The vendor's own words, as far as they could be read."""
        self.retry_after = retry_after
        """Seconds until trying again makes sense, when known."""

    def __str__(self) -> str:
        where = ".".join(part for part in (self.system, self.operation) if part)
        facts = [f"HTTP {self.status}"] if self.status is not None else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        head = f"{where}: " if where else ""
        tail = f" ({', '.join(facts)})" if facts else ""
        return f"{head}{self.message}{tail}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[PlaitError], message: str, state: Mapping[str, Any]) -> PlaitError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class RequestRejected(PlaitError):
    """The vendor refused the request; it had no effect."""


class AuthenticationFailed(RequestRejected):
    """401: the key is missing, wrong or revoked."""


class PermissionDenied(RequestRejected):
    """403: the key is known and may not do this."""


class NotFound(RequestRejected):
    """404: absent, or hidden from this key."""


class Conflict(RequestRejected):
    """409: says that something is there, never what became of our own request."""


class ValidationFailed(RequestRejected):
    """400 or 422: the vendor cannot accept these values."""


class RateLimited(RequestRejected):
    """429, or a wait longer than the caller allows; `retry_after` says how long."""

    retryable = True


class ServerFailed(PlaitError):
    """5xx where the request certainly had no effect."""

    retryable = True


class NotSent(PlaitError):
    """Nothing reached the vendor: refused connection, name lookup, TLS, expired permit."""

    retryable = True


class OutcomeUnknown(PlaitError):
    """An effectful request left this machine and what became of it is not known."""

    retryable = True

    answered: bool = False
    """Whether the vendor's answer arrived completely: it then has finished with this request."""


class MalformedResponse(PlaitError):
    """A complete answer that cannot be read as the contract says."""


class StreamTruncated(PlaitError):
    """A stream ended before its terminal event. `partial` is for diagnosis, never an answer."""

    partial: Any = None


class DeadlineExceeded(PlaitError):
    """A limit of ours was reached before the thing waited for came to be."""


class LimitExceeded(PlaitError):
    """A file or an answer is larger than the caller allows; nothing of it was kept."""


class InvalidInput(PlaitError, ValueError):
    """A value given by the caller cannot be used."""


class ConfigurationError(PlaitError):
    """A block, key, address or file that Plait needs is missing or unusable."""
