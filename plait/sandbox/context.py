"""What every stand-in is handed: settings, store, clock and the shared documents."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from plait.clock import Clock
from plait.sandbox.officeplane_documents import DocumentLibrary
from plait.sandbox.request import current_request
from plait.sandbox.settings import SandboxSettings
from plait.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class SandboxContext:
    """Shared by the stand-ins of one process."""

    settings: SandboxSettings
    store: Store
    library: DocumentLibrary
    """OfficePlane's documents, for the stand-ins that sync or cite them."""
    clock: Clock
    """Elapsed time and waiting."""

    def now(self) -> datetime:
        """The vendor's clock in UTC: the machine's, plus the skew a fault gave this request."""
        request = current_request.get()
        return datetime.now(UTC) + timedelta(seconds=request.clock_skew if request else 0.0)
