"""What a question to the Planck AI stand-in is about, and the making of its answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.exceptions import HTTPException

from plait.sandbox.answer import answer
from plait.sandbox.answer_blocks import Reply
from plait.sandbox.answer_passages import SourceText, split_message
from plait.sandbox.answer_sql import ask_warehouse
from plait.sandbox.context import SandboxContext
from plait.sandbox.extract import to_markdown
from plait.sandbox.planck_settings import PlanckSettings
from plait.sandbox.planck_store import (
    SALES_WAREHOUSE,
    Phase,
    StoredMessage,
    SyncedDocument,
    SyncedDocuments,
    Workspace,
)

_REMEMBERED: Final = 3
"""Earlier questions that a follow-up may lean on."""


class _Body(BaseModel):
    """Unknown fields are ignored, as FastAPI does by default [inferred]."""

    model_config = ConfigDict(extra="ignore")


class _Reference(_Body):
    id: str


class _Metadata(_Body):
    documents: dict[str, _Reference] | None = None
    database: dict[str, Any] | None = None


class _Settings(_Body):
    chat_metadata: _Metadata | None = None


class ChatBody(_Body):
    """The body of a stateless question and of a message in a conversation (planck.md §3.1)."""

    message: Annotated[str, StringConstraints(pattern=r"\S")]
    """Kept as it came, blanks around it included: what was sent must be found again."""
    settings: _Settings | None = None
    stream: bool = True

    @property
    def metadata(self) -> _Metadata:
        """What the question is about; empty when it does not say."""
        return (self.settings and self.settings.chat_metadata) or _Metadata()


@dataclass(frozen=True, slots=True)
class Question:
    """A message whose references were checked."""

    text: str
    workspace: Workspace
    documents: tuple[SyncedDocument, ...]
    database: str | None
    earlier: tuple[StoredMessage, ...] = ()
    """The user's messages before it in the same conversation, oldest first."""


class Chat:
    """Checks questions and answers them."""

    def __init__(self, context: SandboxContext, documents: SyncedDocuments) -> None:
        self._context = context
        self._documents = documents

    async def question(
        self, body: ChatBody, workspace: Workspace, history: Sequence[StoredMessage] = ()
    ) -> Question:
        """The message with its references looked up.

        A follow-up that names nothing is about what the question before it was about [assumed].
        Raises 400 or 404 for references that cannot be used.
        """
        earlier = tuple(message for message in history if message.role == "user")
        named = [reference.id for reference in (body.metadata.documents or {}).values()]
        database = _database(body.metadata.database, self._context.settings.planck, workspace)
        if not named and database is None and earlier:
            named, database = list(earlier[-1].documents), earlier[-1].database
        documents = [await self._document(document_id, workspace) for document_id in dict.fromkeys(named)]
        return Question(body.message, workspace, tuple(documents), database, earlier)

    async def answer(self, question: Question) -> Reply:
        """Search the documents, or query the database."""
        text, inline = split_message(question.text)
        before = [split_message(message.text) for message in question.earlier]
        earlier = [said for said, _ in before if said][-_REMEMBERED:]
        if question.database is not None:
            return await asyncio.to_thread(ask_warehouse, text, earlier)
        carried = {source.name: source for _, sources in before for source in sources}
        carried |= {source.name: source for source in inline}
        sources = [*carried.values(), *await self._sources(question, everything=not carried)]
        return await asyncio.to_thread(answer, text, sources, earlier)

    async def _sources(self, question: Question, *, everything: bool) -> list[SourceText]:
        """The documents that were named; with none named or inline, all that are ready [assumed]."""
        documents: Sequence[SyncedDocument] = question.documents
        if not documents and everything:
            listed = await self._documents.list(question.workspace)
            documents = [document for document in listed if document.phase is Phase.READY]
        found = [await self._source(document) for document in documents]
        return [source for source in found if source is not None]

    async def _source(self, document: SyncedDocument) -> SourceText | None:
        extracted = await self._context.library.read(document.source.id)
        if extracted is None:
            return None
        markdown = await asyncio.to_thread(to_markdown, extracted)
        return SourceText(name=document.source.name, markdown=markdown, id=document.id)

    async def _document(self, document_id: str, workspace: Workspace) -> SyncedDocument:
        document = await self._documents.find(document_id) if workspace.synced else None
        if document is None:
            raise HTTPException(404, "Document not found")
        if document.phase is not Phase.READY:
            words = self._context.settings.planck.document_words
            word = getattr(words, document.phase)
            raise HTTPException(400, f"Document {document.source.name} is not ready (status: {word})")
        return document


def _database(reference: dict[str, Any] | None, settings: PlanckSettings, workspace: Workspace) -> str | None:
    """The id inside either shape of the reference [assumed]; 400 for another shape, 404 for another id."""
    if reference is None:
        return None
    by_id = reference.get("id") if settings.database_reference != "map" else None
    inner = next(iter(reference.values()), None) if settings.database_reference != "id" else None
    found = by_id if by_id is not None else inner.get("id") if isinstance(inner, dict) else None
    if not isinstance(found, str):
        raise HTTPException(400, "Invalid database reference")
    if found != SALES_WAREHOUSE.id or workspace is not SALES_WAREHOUSE.workspace:
        raise HTTPException(404, "Database integration not found")
    return found
