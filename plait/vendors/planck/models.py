"""What Planck AI says and is told (planck.md §3).

What we read keeps unknown fields and unknown words; what we send refuses them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from plait.content.blocks import ContentBlock, TextBlock

READY_WORDS = frozenset(
    {"ready", "processed", "completed", "complete", "success", "indexed", "available", "active"}
)
FAILED_WORDS = frozenset({"failed", "error", "failure", "rejected", "cancelled", "canceled"})


def _moment(value: Any, handler: ValidatorFunctionWrapHandler) -> datetime | None:
    """A time as the server writes it; naive ones count as UTC [assumed], unreadable ones as none."""
    try:
        moment = handler(value)
    except ValidationError:
        return None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment if isinstance(moment, datetime) else None


Moment = Annotated[datetime | None, WrapValidator(_moment)]


def _blocks(value: Any) -> Any:
    """Content as the server may write it: nothing, a string, one block, or a list of blocks."""
    if value is None or value == "":
        return []
    return value if isinstance(value, list | tuple) else [value]


Content = Annotated[list[ContentBlock], BeforeValidator(_blocks)]


class Received(BaseModel):
    """Base of what the server answers."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Sent(BaseModel):
    """Base of what we send."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Wrapper(Received):
    """What a list travels in (planck.md §3.1). `count` is of all pages, where the server says it."""

    data: list[Any]
    count: int | None = None


class Workspace(Received):
    """A workspace this key may see."""

    id: str
    name: str
    description: str | None = None


class DocumentPhase(StrEnum):
    """What a document's status word means for us (planck.md §4)."""

    READY = "ready"
    FAILED = "failed"
    WAITING = "waiting"
    """Also every word not known, and none at all."""


class Document(Received):
    """A document of a workspace and how far its processing is."""

    id: str
    name: str
    status: str | None = None
    """The server's own word; its values are not documented."""

    @model_validator(mode="before")
    @classmethod
    def _any_status_key(cls, data: Any) -> Any:
        """The vendor's page is cut off in the middle of a key that starts with `stat` (planck.md §3.1)."""
        if isinstance(data, Mapping) and "status" not in data:
            word = next((data[key] for key in data if str(key).startswith("stat")), None)
            return {**data, "status": word if isinstance(word, str) else None}
        return data

    @property
    def phase(self) -> DocumentPhase:
        """The status word, classified; the word itself stays in `status`."""
        word = (self.status or "").strip().lower()
        if word in READY_WORDS:
            return DocumentPhase.READY
        return DocumentPhase.FAILED if word in FAILED_WORDS else DocumentPhase.WAITING


class DatabaseIntegration(Received):
    """A database connected to a workspace. Everything but the id is assumed."""

    id: str
    name: str | None = None


class Conversation(Received):
    """A conversation. `is_owner` None: the server did not say."""

    id: str
    name: str | None = None
    workspace_id: str | None = None
    is_owner: bool | None = None


class ChatMessage(Received):
    """A finished answer."""

    id: str | None = None
    """The stream's id; whether the stored message has the same is not known (planck.md §5.1)."""
    role: str = "assistant"
    content: Content = Field(default_factory=list)
    credits_consumed: float | None = None
    """None when the server did not say, or the answer was read back from the history; never guessed as 0."""
    reconstructed: bool = False
    """True: the stream was lost and this was read from the history afterwards."""

    @property
    def text(self) -> str:
        """The text blocks, joined by blank lines."""
        return _text_of(self.content)


class HistoryMessage(Received):
    """A stored message. All of it is assumed (planck.md §3.1)."""

    id: str | None = None
    role: str
    content: Content = Field(default_factory=list)
    created_at: Moment = None
    status: str | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined by blank lines."""
        return _text_of(self.content)


def _text_of(content: list[ContentBlock]) -> str:
    return "\n\n".join(block.text for block in content if isinstance(block, TextBlock))


class DocumentReference(Sent):
    """A document to ask about; the id is what counts, the name is what people see."""

    id: str = Field(min_length=1)
    name: str = Field(min_length=1)


class DocumentEntry(Sent):
    """A value of the wire's map of documents."""

    id: str


class DatabaseEntry(Sent):
    """The wire's reference to a database; its inner shape is assumed."""

    id: str


class ChatMetadata(Sent):
    """What a question is about, as the wire has it."""

    documents: dict[str, DocumentEntry] | None = None
    database: DatabaseEntry | None = None


class RequestSettings(Sent):
    """The `settings` of a question, as the wire has it."""

    chat_metadata: ChatMetadata


class ChatRequest(Sent):
    """The body of a stateless question and of a message in a conversation."""

    message: str = Field(min_length=1)
    settings: RequestSettings | None = None


class ChatSettings(Sent):
    """What a question is about: documents, or a connected database, or neither."""

    model_config = ConfigDict(strict=False)  # a form or a JSON file has lists where Python has tuples

    documents: tuple[DocumentReference, ...] = ()
    database_id: str | None = None

    def request(self, text: str) -> ChatRequest:
        """The body that asks `text` about these things."""
        if not self.documents and self.database_id is None:
            return ChatRequest(message=text)
        metadata = ChatMetadata(
            documents=self._by_name() if self.documents else None,
            database=DatabaseEntry(id=self.database_id) if self.database_id is not None else None,
        )
        return ChatRequest(message=text, settings=RequestSettings(chat_metadata=metadata))

    def _by_name(self) -> dict[str, DocumentEntry]:
        """The wire's map is keyed by file name, so equal names of other ids are numbered (planck.md §3.1)."""
        entries: dict[str, DocumentEntry] = {}
        for document in {reference.id: reference for reference in self.documents}.values():
            name, number = document.name, 1
            while name in entries:
                number += 1
                path = PurePath(document.name)
                name = f"{path.stem} ({number}){path.suffix}"
            entries[name] = DocumentEntry(id=document.id)
        return entries


class ConversationRequest(Sent):
    """The body that creates or renames a conversation."""

    name: str = Field(min_length=1)
