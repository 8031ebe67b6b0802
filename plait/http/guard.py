"""The seam between the transport and the ledger: who may send, checked in the last moment.

The transport calls a guard around every request of an effectful operation; the ledger supplies
it through `send_guard`. Without one (a client used on its own) nothing is checked, and an
ambiguous outcome is still `OutcomeUnknown`. The order of calls for one request:

    permit → check → (check before each chunk) → wrote → answer | refused | gave_up
           ↘ unsent (nothing left: refused connection, permit refused or expired before headers)
"""

from contextvars import ContextVar
from typing import Protocol

from plait.http.errors import RequestRejected


class SendGuard(Protocol):
    """Permission to send one effect. Each request of the call is one attempt."""

    async def permit(self) -> None:
        """Take the permit; raises `NotSent` (a subclass) when this process may not send.

        Called in `http11.send_request_headers.started`: the connection stands, no byte left.
        """

    def check(self) -> None:
        """Raise when the permit has expired. Before headers, before the body, before each chunk."""

    async def wrote(self) -> None:
        """The last byte was handed to the kernel."""

    async def refused(self, error: RequestRejected) -> None:
        """The vendor answered that nothing was done (429, slash redirect) and we shall ask again."""

    async def unsent(self) -> None:
        """Not one byte of this request left the machine."""

    async def gave_up(self) -> None:
        """We stopped waiting and closed the socket: this attempt will write nothing any more."""


send_guard: ContextVar[SendGuard | None] = ContextVar("send_guard", default=None)
