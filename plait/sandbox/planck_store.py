"""What the Planck AI stand-in knows: people, workspaces, documents, conversations and messages."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from plait.sandbox.context import SandboxContext
from plait.sandbox.officeplane_documents import LibraryDocument
from plait.sandbox.planck_settings import PlanckSettings
from plait.sandbox.store import Entity

_NAMESPACE: Final = uuid.UUID("0b9a3c7e-6d1f-4f52-9a58-2f6f0c2d8a11")


def derived_id(*names: str) -> str:
    """A UUID that is the same in every sandbox."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))


@dataclass(frozen=True, slots=True)
class Workspace:
    """A seeded workspace."""

    id: str
    name: str
    description: str
    synced: bool
    """Whether OfficePlane's documents appear in it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who owns an API key: a key has its owner's permissions [doc]."""

    name: str
    may_write: bool
    workspaces: tuple[Workspace, ...]


@dataclass(frozen=True, slots=True)
class Database:
    """A seeded database integration."""

    id: str
    name: str
    workspace: Workspace


OPERATIONS: Final = Workspace(
    derived_id("workspace", "operations"),
    "Operations",
    "Contracts, handbooks, reports and the sales warehouse.",
    synced=True,
)
SCRATCH: Final = Workspace(
    derived_id("workspace", "scratch"), "Scratch", "Nothing is synced here.", synced=False
)
SALES_WAREHOUSE: Final = Database(derived_id("database", "sales"), "Sales warehouse", OPERATIONS)

CALLERS: Final = {
    "pk_live_sandbox": Caller("admin", may_write=True, workspaces=(OPERATIONS, SCRATCH)),
    "pk_live_member": Caller("member", may_write=True, workspaces=(OPERATIONS,)),
    "pk_live_reader": Caller("reader", may_write=False, workspaces=(OPERATIONS, SCRATCH)),
}
"""Seeded keys. The member cannot see "Scratch": 404 covers what is not accessible [vendor]."""


class StoredConversation(Entity):
    """A conversation; `parent` is its workspace."""

    kind: ClassVar[str] = "planck.conversation"

    name: str
    owner: str


class StoredMessage(Entity):
    """A message; `parent` is its conversation."""

    kind: ClassVar[str] = "planck.message"

    role: str
    content: list[dict[str, Any]]
    """Content blocks as they travel."""
    complete: bool = True
    documents: tuple[str, ...] = ()
    """Ids of the documents that a question named."""
    database: str | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined by blank lines."""
        return "\n\n".join(block["text"] for block in self.content if block["type"] == "text")


class Phase(StrEnum):
    """How far a synced document is."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SyncedDocument:
    """A document of a workspace."""

    id: str
    source: LibraryDocument
    phase: Phase


class SyncedDocuments:
    """OfficePlane's documents as Planck shows them, aging through their states."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._settings = context.settings.planck
        self._has_text: dict[str, bool] = {}

    async def list(self, workspace: Workspace) -> list[SyncedDocument]:
        """What the workspace shows, oldest first."""
        if not workspace.synced:
            return []
        found = [
            await self._synced(source)
            for source in await self._context.library.documents()
            if source.complete
        ]
        return [document for document in found if document.phase is not Phase.GONE]

    async def find(self, document_id: str) -> SyncedDocument | None:
        """One document of the synced workspace."""
        return next((d for d in await self.list(OPERATIONS) if d.id == document_id), None)

    async def _synced(self, source: LibraryDocument) -> SyncedDocument:
        age = max(0.0, (datetime.now(UTC) - source.created_at).total_seconds())
        phase = _phase(age, self._settings)
        if phase is Phase.READY and not await self._readable(source.id):
            phase = Phase.FAILED
        return SyncedDocument(derived_id("document", source.id), source, phase)

    async def _readable(self, source_id: str) -> bool:
        """A document without any text, such as a scan, cannot be answered from [assumed]."""
        if source_id not in self._has_text:
            extracted = await self._context.library.read(source_id)
            self._has_text[source_id] = extracted is not None and any(page.blocks for page in extracted.pages)
        return self._has_text[source_id]


def _phase(age: float, settings: PlanckSettings) -> Phase:
    """The state at `age` seconds (planck.md §4, §8)."""
    whole, fate = settings.processing_seconds, settings.document_fate
    if fate == "stays_pending" or age < whole / 3:
        return Phase.PENDING
    again = fate == "processes_again" and 2 * whole <= age < 3 * whole
    if age < whole or again:
        return Phase.PROCESSING
    return {"fails": Phase.FAILED, "vanishes": Phase.GONE}.get(fate, Phase.READY)
