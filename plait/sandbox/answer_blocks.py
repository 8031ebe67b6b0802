"""The content blocks the stand-in answers with: the defaults of planck.md §3.2 [assumed].

Kept apart from the client's tolerant models on purpose: what is sent and how it is read must not
share a mistake.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Citation(_Block):
    """Where a statement stands."""

    document_id: str | None = None
    """None for a document that came inside the message."""
    document_name: str
    section: str | None = None
    page: int | None = None
    quote: str
    """The document's own words."""


class TextBlock(_Block):
    """Prose in Markdown."""

    type: Literal["text"] = "text"
    text: str
    citations: tuple[Citation, ...] = ()


class CodeBlock(_Block):
    """Source code; SQL that was run."""

    type: Literal["code"] = "code"
    language: str
    code: str


class TableBlock(_Block):
    """A table; cells are JSON scalars."""

    type: Literal["table"] = "table"
    title: str | None = None
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]


class ChartBlock(_Block):
    """A Vega-Lite chart."""

    type: Literal["chart"] = "chart"
    title: str | None = None
    spec: dict[str, Any]


class ToolUseBlock(_Block):
    """A note on how the answer was made."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]
    status: str = "completed"


AnswerBlock: TypeAlias = Annotated[
    TextBlock | CodeBlock | TableBlock | ChartBlock | ToolUseBlock, Field(discriminator="type")
]


class Reply(_Block):
    """A whole answer."""

    blocks: tuple[AnswerBlock, ...]

    @property
    def text(self) -> str:
        """The text blocks, joined by blank lines."""
        return "\n\n".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    def wire(self) -> list[dict[str, Any]]:
        """The blocks as JSON, absent fields left out."""
        return [block.model_dump(mode="json", exclude_none=True) for block in self.blocks]


STAND_IN: Final = "Local stand-in without a language model: the answer was found by {method}."
