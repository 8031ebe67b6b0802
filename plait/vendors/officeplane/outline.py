"""Whether a plan's changes can be seen in a document (officeplane.md §6, execute)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from plait.vendors.officeplane.models import ActionNode, Document, Execution, NodeProgress

_CONTENT: Final = ("content", "text", "new_content", "markdown", "body")
"""Where a page's text may stand in a node's inputs [assumed]."""


class SectionOutline(BaseModel):
    """A section's title and how many pages it has."""

    model_config = ConfigDict(frozen=True)

    title: str = ""
    pages: int = 0


class Outline(BaseModel):
    """A document's parts by id."""

    model_config = ConfigDict(frozen=True)

    chapters: dict[str, str] = Field(default_factory=dict)
    sections: dict[str, SectionOutline] = Field(default_factory=dict)

    @property
    def pages(self) -> int:
        """Pages in all."""
        return sum(section.pages for section in self.sections.values())


def outline_of(document: Document) -> Outline:
    """The outline of a document as the server gave it."""
    return Outline(
        chapters={chapter.id: chapter.title or "" for chapter in document.chapters},
        sections={
            section.id: SectionOutline(title=section.title or "", pages=section.page_count)
            for chapter in document.chapters
            for section in chapter.sections
        },
    )


def missing_changes(nodes: Sequence[ActionNode], before: Outline, now: Outline, markdown: str) -> list[str]:
    """The nodes, as `id action`, whose change cannot be seen; empty means that all were made.

    A change that leaves nothing to compare (an edit without its text in the plan) counts as missing.
    """
    chapters = Counter(_fold(title) for key, title in now.chapters.items() if key not in before.chapters)
    sections = Counter(_fold(part.title) for key, part in now.sections.items() if key not in before.sections)
    seen = _fold(markdown)
    missing = [node for node in nodes if not _is_visible(node, chapters, sections, seen)]
    paged = [node for node in nodes if node.action in {"write_page", "delete_page"}]
    growth = sum(1 if node.action == "write_page" else -1 for node in paged)
    if now.pages - before.pages != growth:
        missing += [node for node in paged if node not in missing]
    return [f"{node.id} {node.action}" for node in missing]


def _is_visible(node: ActionNode, chapters: Counter[str], sections: Counter[str], seen: str) -> bool:
    match node.action:
        case "add_chapter":
            return _take(chapters, _title(node))
        case "add_section":
            return _take(sections, _title(node))
        case "write_page":
            content = _content(node)
            return content is None or content in seen
        case "edit_page":
            content = _content(node)
            return content is not None and content in seen
        case "delete_page":
            return True
    return False


def reconstructed(nodes: Iterable[ActionNode]) -> Execution:
    """The result of an execution whose answer was lost and whose every change is there."""
    progress = [NodeProgress(node_id=node.id, action=node.action, status="completed") for node in nodes]
    count = len(progress)
    return Execution(success=True, completed=count, total=count, progress=progress, reconstructed=True)


def _take(titles: Counter[str], title: str) -> bool:
    """Whether a new part has this title; each part stands for one node."""
    if titles[title] == 0:
        return False
    titles[title] -= 1
    return True


def _title(node: ActionNode) -> str:
    return _fold(_input(node, ("title", "name")) or "")


def _content(node: ActionNode) -> str | None:
    text = _input(node, _CONTENT)
    return _fold(text) if text else None


def _input(node: ActionNode, names: Iterable[str]) -> str | None:
    values: Iterable[Any] = (node.inputs.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def _fold(text: str) -> str:
    """Letters and digits only: Markdown escapes, spacing and case are not compared."""
    return "".join(char for char in text.lower() if char.isalnum())
