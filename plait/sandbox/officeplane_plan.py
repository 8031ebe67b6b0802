"""Plan and verify of the OfficePlane stand-in, by rules: there is no language model here.

The prompt is read clause by clause. Understood are, with names in quotes or after `called`:

    add a chapter "X"                         a chapter, a first section and a page
    add a section "X" to (the) chapter "Y"    a section and a page
    write "text" in section "X"               a page
    replace "A" with "B"                      an edit of every page that says A
    delete page 3                             a deletion

A prompt with none of these becomes one chapter named by its first words. The names of the inputs
beyond `document_id` and `chapter_id` are [assumed]: officeplane.md §3.6 shows no example.
"""

import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from plait.sandbox.extract import Page, Paragraph, Table, page_markdown, to_markdown
from plait.sandbox.officeplane_documents import StoredContent, StoredDocument, extracted

_NAME: Final = r"[\"“](?P<{0}>[^\"”]+)[\"”]"
_ADD_CHAPTER: Final = re.compile(rf"\badd\b[^\"“]*\bchapter\b[^\"“]*{_NAME.format('title')}", re.IGNORECASE)
_ADD_SECTION: Final = re.compile(
    rf"\badd\b[^\"“]*\bsection\b[^\"“]*{_NAME.format('title')}(?:[^\"“]*\bchapter\b[^\"“]*{_NAME.format('chapter')})?",
    re.IGNORECASE,
)
_WRITE: Final = re.compile(
    rf"\bwrite\b[^\"“]*{_NAME.format('text')}[^\"“]*\bsection\b[^\"“]*{_NAME.format('section')}",
    re.IGNORECASE,
)
_REPLACE: Final = re.compile(
    rf"\breplace\b[^\"“]*{_NAME.format('old')}[^\"“]*\bwith\b[^\"“]*{_NAME.format('new')}", re.IGNORECASE
)
_DELETE: Final = re.compile(r"\b(?:delete|remove)\b[^\"“.]*\bpage\s+(?P<number>\d+)", re.IGNORECASE)
_CALLED: Final = re.compile(
    r"\b(?P<what>chapter|section)\s+(?:called|named|titled|on|about)\s+(?![\"“])(?P<name>[^\"“.;\n]+)",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"[\"“]([^\"”]+)[\"”]")
_CLAUSE: Final = re.compile(r"(?<=[.;!?])\s+(?=[A-Z])|\n+|;\s*")
_WORD: Final = re.compile(r"\w+")
_TITLE_LENGTH: Final = 60


@dataclass(slots=True)
class _Draft:
    document: StoredDocument
    content: StoredContent
    nodes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, action: str, description: str, **inputs: Any) -> str:
        node_id = f"node_{len(self.nodes)}"
        node = {"id": node_id, "action": action, "description": description, "status": "pending"}
        self.nodes.append({**node, "inputs": {"document_id": self.document.id, **inputs}})
        return f"${node_id}.id"


def plan_nodes(document: StoredDocument, content: StoredContent, prompt: str) -> list[dict[str, Any]]:
    """Flat nodes for the prompt; none for a prompt without words."""
    draft = _Draft(document, content)
    if not _WORD.search(prompt):
        return []
    for clause in _CLAUSE.split(_CALLED.sub(r'\g<what> "\g<name>"', prompt)):
        _draft_clause(draft, clause)
    if not draft.nodes:
        _draft_chapter(draft, prompt.strip()[:_TITLE_LENGTH].strip(), prompt.strip())
    return draft.nodes


def _draft_clause(draft: _Draft, clause: str) -> None:
    if found := _REPLACE.search(clause):
        _draft_replacement(draft, found["old"], found["new"])
    elif found := _WRITE.search(clause):
        _draft_page(draft, found["section"], found["text"])
    elif found := _DELETE.search(clause):
        _draft_deletion(draft, int(found["number"]))
    elif found := _ADD_SECTION.search(clause):
        _draft_section(draft, found["title"], found["chapter"], clause.strip())
    elif found := _ADD_CHAPTER.search(clause):
        _draft_chapter(draft, found["title"], clause.strip())


def _draft_chapter(draft: _Draft, title: str, text: str) -> None:
    chapter = draft.add("add_chapter", f"Add chapter '{title}'", title=title)
    section = draft.add("add_section", f"Add section '{title}'", chapter_id=chapter, title=title)
    draft.add("write_page", f"Write a page of '{title}'", section_id=section, content=text)


def _draft_section(draft: _Draft, title: str, chapter: str | None, text: str) -> None:
    known = {each.title.casefold(): each.id for each in draft.content.chapters}
    drafted = {
        node["inputs"]["title"].casefold(): f"${node['id']}.id"
        for node in draft.nodes
        if node["action"] == "add_chapter"
    }
    places = {**known, **drafted}
    place = next(reversed(places.values()), None) if chapter is None else places.get(chapter.casefold())
    if place is None:
        place = draft.add("add_chapter", f"Add chapter '{chapter or title}'", title=chapter or title)
    section = draft.add("add_section", f"Add section '{title}'", chapter_id=place, title=title)
    draft.add("write_page", f"Write a page of '{title}'", section_id=section, content=text)


def _draft_page(draft: _Draft, section: str, text: str) -> None:
    for each in draft.content.sections:
        if each.title.casefold() == section.casefold():
            draft.add("write_page", f"Write a page of '{each.title}'", section_id=each.id, content=text)
            return


def _draft_replacement(draft: _Draft, old: str, new: str) -> None:
    for page in draft.content.pages:
        text = "\n\n".join(block.text for block in page.blocks if isinstance(block, Paragraph))
        has_table = any(isinstance(block, Table) for block in page.blocks)
        whole = page_markdown(Page(number=page.number, blocks=page.blocks)) if has_table else text
        if old in whole:
            edited = whole.replace(old, new)
            draft.add("edit_page", f"Edit page {page.number}", page_id=page.id, content=edited)


def _draft_deletion(draft: _Draft, number: int) -> None:
    for page in draft.content.pages:
        if page.number == number:
            draft.add("delete_page", f"Delete page {number}", page_id=page.id)


def plan_answer(
    document: StoredDocument,
    content: StoredContent,
    prompt: str,
    nodes: list[dict[str, Any]],
    now: datetime,
) -> dict[str, Any]:
    """The answer of `plan` in the vendor's shape (officeplane.md §3.6)."""
    plan_id = f"plan_{secrets.token_hex(4)}"
    title = f"Plan for {document.title}"
    breakdown = dict(Counter(node["action"] for node in nodes))
    chapters, sections = breakdown.get("add_chapter", 0), breakdown.get("add_section", 0)
    pages = breakdown.get("write_page", 0)
    structure = {"documents": 0, "chapters": chapters, "sections": sections, "pages": pages}
    head = {"title": title, "original_prompt": prompt}
    return {
        "document": planned_document(document, content),
        "plan": {
            "plan_id": plan_id,
            **head,
            "total_actions": len(nodes),
            "chapters": chapters,
            "sections": sections,
            "pages": pages,
            "tree_visualization": "\n".join(f"- {node['description']}" for node in nodes),
            "action_breakdown": breakdown,
        },
        "tree": {
            "id": plan_id,
            **head,
            # Naive and local, as the vendor writes it.
            "created_at": now.astimezone().replace(tzinfo=None).isoformat(),
            "summary": {
                "id": plan_id,
                "title": title,
                "total_actions": len(nodes),
                "action_breakdown": breakdown,
                "estimated_pages": pages,
                "structure": structure,
            },
            "tree": nodes,
        },
        "orchestration": _orchestration(),
    }


def _orchestration() -> dict[str, Any]:
    return {
        "strategy": "rules",
        "enabled": False,
        "initial_mode": "worker",
        "final_mode": "worker",
        "delegated": False,
        "worker_attempts": 1,
        "worker_confidence": 1.0,
        "takeover_reason": None,
        "signals": {},
        "validation_issues": [],
        "transitions": [],
        "settings_snapshot": {},
    }


def planned_document(document: StoredDocument, content: StoredContent) -> dict[str, Any]:
    """A document as plan answers show it."""
    return {
        "id": document.id,
        "title": document.title,
        "author": document.author,
        "chapter_count": len(content.chapters),
        "section_count": len(content.sections),
        "page_count": len(content.pages),
    }


def verification(
    document: StoredDocument, content: StoredContent, request: str, expected: list[str] | None
) -> dict[str, Any]:
    """Whether what is expected stands in the document's text: quoted words exactly, else all words."""
    text = to_markdown(extracted(document, content)).casefold()
    findings = [_finding(text, change) for change in (expected or [request])]
    passed = sum(finding["passed"] for finding in findings)
    verified = passed == len(findings)
    return {
        "verified": verified,
        "confidence": round(passed / len(findings), 2),
        "findings": findings,
        "summary": f"{passed} of {len(findings)} expected changes stand in the document.",
        "suggestions": [] if verified else ["Execute the plan again for what is missing."],
    }


def _finding(text: str, change: str) -> dict[str, Any]:
    wanted = [quoted.casefold() for quoted in _QUOTED.findall(change)] or _WORD.findall(change.casefold())
    missing = [phrase for phrase in wanted if phrase not in text]
    details = f"missing: {', '.join(missing)}" if missing else "found in the document's text"
    return {"check": change, "passed": not missing, "details": details}
