"""What can go wrong at Planasonix only."""

from typing import Any

from plait.http.errors import DeadlineExceeded, MalformedResponse, OutcomeUnknown, RequestRejected
from plait.vendors.planasonix.models import Work


class AnotherJobActive(RequestRejected):
    """409: a sync of this connection is active already, and nothing shows that it is ours.

    It may be a schedule's, or of another kind than we asked for (planasonix.md §6.2): `job_id` says which.
    """

    def __init__(self, message: str, *, job_id: str, **more: Any) -> None:
        super().__init__(message, **more)
        self.job_id = job_id


class NotTriggered(OutcomeUnknown):
    """A 2xx that says `success: false`: most likely nothing began, which only a look can tell for sure."""


class UnknownStatus(MalformedResponse):
    """A status word that this version does not know: what is waited for may have ended, so waiting ends."""

    def __init__(self, message: str, *, work: Work, **more: Any) -> None:
        super().__init__(message, **more)
        self.work = work


class StillWorking(DeadlineExceeded):
    """What was waited for had not ended at the deadline.

    `work` is what was last seen of it, None where the server never answered; after a cancel that was
    asked for, as the cancel left it.
    """

    def __init__(self, message: str, *, work: Work | None, cancelled: bool, **more: Any) -> None:
        super().__init__(message, **more)
        self.work = work
        self.cancelled = cancelled
        """Whether it was asked to stop, and the server took the request."""
