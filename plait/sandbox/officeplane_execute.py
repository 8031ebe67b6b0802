"""Execution of a plan by the OfficePlane stand-in, node by node (officeplane.md §3.7).

Faithful to the vendor: not atomic, nothing rolled back, children of a failed node are run all the
same, and the nodes' own inputs say which document is meant.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from plait.sandbox.context import SandboxContext
from plait.sandbox.extract import Block, Paragraph
from plait.sandbox.officeplane_documents import (
    StoredChapter,
    StoredContent,
    StoredDocument,
    StoredPage,
    StoredSection,
    new_id,
)
from plait.sandbox.store import Transaction
from plait.vendors.officeplane.operations import EXECUTE_PLAN

_PLACEHOLDER: Final = re.compile(r"\$([\w-]+)\.(\w+)")
_BULLET: Final = re.compile(r"^[-*] +")


class Node(BaseModel):
    """One step of a plan as the server reads it: unknown statuses and null children are refused."""

    model_config = ConfigDict(extra="ignore")

    id: str
    action: str
    inputs: dict[str, Any] = {}
    children: list["Node"] = []
    status: Literal["pending", "running", "completed", "failed"] = "pending"


class Progress(BaseModel):
    """One event of the execution; a node has a `running` one and then its end [inferred]."""

    node_id: str
    action: str
    status: Literal["running", "completed", "failed"]
    output: dict[str, Any] | None = None
    error: str | None = None


class Execution(BaseModel):
    """The answer, 200 whatever became of the nodes."""

    success: bool
    completed: int
    failed: int
    total: int
    progress: list[Progress]
    errors: dict[str, str]


class NodeFailed(Exception):
    """What a failed node reports."""


async def execute(context: SandboxContext, tree: dict[str, Any]) -> Execution:
    """Run every node, parents before children.

    Raises:
        ValueError: a node that cannot be read; nothing was run.
    """
    nodes = list(_in_order([Node.model_validate(raw) for raw in tree.get("tree", [])]))
    run = _Run(context, marker=digest(tree))
    for node in nodes:
        await run.step(node)
    failed = len(run.errors)
    return Execution(
        success=not failed,
        completed=len(nodes) - failed,
        failed=failed,
        total=len(nodes),
        progress=run.progress,
        errors=run.errors,
    )


def digest(tree: dict[str, Any]) -> str:
    """What a judge knows an execution by: SHA-256 of the tree as canonical JSON."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _in_order(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _in_order(node.children)


class _Run:
    def __init__(self, context: SandboxContext, marker: str) -> None:
        self._context = context
        self._marker = marker
        self._counted = False
        self._outputs: dict[str, dict[str, Any]] = {}
        self.progress: list[Progress] = []
        self.errors: dict[str, str] = {}

    async def step(self, node: Node) -> None:
        """Run one node in a transaction of its own."""
        self.progress.append(Progress(node_id=node.id, action=node.action, status="running"))
        inputs = {name: self._resolved(value) for name, value in node.inputs.items()}
        try:
            output = await self._context.store.transact(
                lambda transaction: self._apply(transaction, node.action, inputs)
            )
        except NodeFailed as error:
            self.errors[node.id] = str(error)
            failed = Progress(node_id=node.id, action=node.action, status="failed", error=str(error))
            self.progress.append(failed)
            return
        self._counted = True
        self._outputs[node.id] = output
        done = Progress(node_id=node.id, action=node.action, status="completed", output=output)
        self.progress.append(done)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, str) and (found := _PLACEHOLDER.fullmatch(value)):
            return self._outputs.get(found[1], {}).get(found[2], value)
        return value

    def _apply(self, transaction: Transaction, action: str, inputs: dict[str, Any]) -> dict[str, Any]:
        content, output = apply(transaction, action, inputs)
        transaction.put(content)
        document = transaction.get(StoredDocument, content.id)
        if document is not None:
            counts = {"total_chapters": len(content.chapters), "total_sections": len(content.sections)}
            transaction.put(document.model_copy(update=counts))
        if not self._counted:
            # One execution is one effect, counted with the first node that changes something.
            transaction.record(EXECUTE_PLAN, entity_id=content.id, marker=self._marker)
        return output


def apply(
    transaction: Transaction, action: str, inputs: dict[str, Any]
) -> tuple[StoredContent, dict[str, Any]]:
    """The changed content and the node's output.

    Raises:
        NodeFailed: unknown action, missing input, or a target that does not exist.
    """
    match action:
        case "add_chapter":
            return _add_chapter(transaction, inputs)
        case "add_section":
            return _add_section(transaction, inputs)
        case "write_page":
            return _write_page(transaction, inputs)
        case "edit_page":
            return _edit_page(transaction, inputs)
        case "delete_page":
            return _delete_page(transaction, inputs)
        case _:
            raise NodeFailed(f"Unknown action: {action}")


def _add_chapter(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, dict[str, Any]]:
    content = transaction.get(StoredContent, _text(inputs, "document_id"))
    if content is None:
        raise NodeFailed("Document not found")
    chapter = StoredChapter(id=new_id(), title=_text(inputs, "title"))
    content.chapters.append(chapter)
    return content, {"id": chapter.id, "title": chapter.title}


def _add_section(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, dict[str, Any]]:
    chapter_id = _text(inputs, "chapter_id")
    for content in _contents(transaction, inputs):
        for chapter in content.chapters:
            if chapter.id == chapter_id:
                section = StoredSection(id=new_id(), title=_text(inputs, "title"))
                chapter.sections.append(section)
                return content, {"id": section.id, "title": section.title}
    raise NodeFailed("Chapter not found")


def _write_page(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, dict[str, Any]]:
    section_id = _text(inputs, "section_id")
    for content in _contents(transaction, inputs):
        for section in content.sections:
            if section.id == section_id:
                number = inputs.get("page_number", len(content.pages) + 1)
                if not isinstance(number, int):
                    raise NodeFailed(f"Invalid page_number: {number!r}")
                page = StoredPage(id=new_id(), number=number, blocks=blocks(_text(inputs, "content")))
                section.pages.append(page)
                return content, {"id": page.id, "page_number": page.number}
    raise NodeFailed("Section not found")


def _edit_page(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, dict[str, Any]]:
    content, section, place = _page(transaction, inputs)
    page = section.pages[place]
    section.pages[place] = page.model_copy(update={"blocks": blocks(_text(inputs, "content"))})
    return content, {"id": page.id, "page_number": page.number}


def _delete_page(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, dict[str, Any]]:
    content, section, place = _page(transaction, inputs)
    page = section.pages.pop(place)
    return content, {"id": page.id, "deleted": True}


def _page(transaction: Transaction, inputs: dict[str, Any]) -> tuple[StoredContent, StoredSection, int]:
    page_id = _text(inputs, "page_id")
    for content in _contents(transaction, inputs):
        for section in content.sections:
            for place, page in enumerate(section.pages):
                if page.id == page_id:
                    return content, section, place
    raise NodeFailed("Page not found")


def _contents(transaction: Transaction, inputs: dict[str, Any]) -> Iterator[StoredContent]:
    """Where the target may be: the named document first, then anywhere, for its id alone decides."""
    named = inputs.get("document_id")
    if isinstance(named, str) and (content := transaction.get(StoredContent, named)):
        yield content
    yield from (content for content in transaction.list(StoredContent) if content.id != named)


def _text(inputs: dict[str, Any], name: str) -> str:
    value = inputs.get(name)
    if not isinstance(value, str):
        raise NodeFailed(f"Missing input: {name}")
    return value


def blocks(content: str) -> tuple[Block, ...]:
    """Text of a page as paragraphs, split at blank lines; lines with a dash are list items."""
    made: list[Block] = []
    for part in re.split(r"\n\s*\n", content):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        if lines and all(_BULLET.match(line) for line in lines):
            made += [Paragraph(_BULLET.sub("", line), bullet=True) for line in lines]
        elif lines:
            made.append(Paragraph(" ".join(lines)))
    return tuple(made)
