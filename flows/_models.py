"""What `ingest_then_chat` is given and what it gives back."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field

from plait.content.blocks import Citation, ContentBlock, TextBlock


class Grounding(StrEnum):
    """How questions reach the documents' content."""

    DOCUMENT = "document"
    """By reference to the documents that the Planck workspace lists."""
    INLINE = "inline"
    """As Markdown inside the first message."""
    AUTO = "auto"
    """By reference where the workspace lists a document, else inline."""


class SourceDocument(BaseModel):
    """A file that OfficePlane can read."""

    name: str
    path: Path
    sha256: str
    size: int
    """Bytes."""


class LeftOut(BaseModel):
    """A document that no answer rests on, and why."""

    name: str
    reason: str


class UsedDocument(BaseModel):
    """A document that the answers rest on."""

    name: str
    sha256: str
    officeplane_id: str
    grounding: Grounding
    planck_id: str | None = None
    """The document's id in the Planck workspace; None where its Markdown was sent inline."""


class Answer(BaseModel):
    """One question and what Planck AI said."""

    question: str
    blocks: list[ContentBlock] = Field(default_factory=list)
    credits_consumed: float | None = None
    """None: the vendor did not say, or the answer was read back from the history."""

    @property
    def text(self) -> str:
        """The prose, without tables and charts."""
        return "\n\n".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    @property
    def citations(self) -> list[Citation]:
        """What the prose cites, in order."""
        return [cited for block in self.blocks if isinstance(block, TextBlock) for cited in block.citations]


class IngestThenChat(BaseModel):
    """What the flow returns."""

    run_key: str
    workspace_id: str
    workspace: str
    conversation_id: str
    documents: list[UsedDocument]
    left_out: list[LeftOut]
    answers: list[Answer]
    report: Path

    @property
    def credits_consumed(self) -> float | None:
        """The sum over the answers whose cost is known; None when none is."""
        known = [answer.credits_consumed for answer in self.answers if answer.credits_consumed is not None]
        return sum(known) if known else None

    @property
    def summary(self) -> str:
        """One sentence for the run's state."""
        said = f"{len(self.answers)} answered from {len(self.documents)} documents"
        if not self.left_out:
            return said
        return f"{said}; left out: " + "; ".join(f"{item.name} ({item.reason})" for item in self.left_out)
