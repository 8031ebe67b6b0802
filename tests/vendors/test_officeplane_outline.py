"""Seeing a plan's changes in a document (officeplane.md §6)."""

import pytest

from plait.vendors.officeplane.models import ActionNode
from plait.vendors.officeplane.outline import Outline, SectionOutline, missing_changes, reconstructed

BEFORE = Outline(chapters={"c1": "One"}, sections={"s1": SectionOutline(title="A", pages=1)})


def node(key, action, **inputs):
    """One node of a plan."""
    return ActionNode(id=key, action=action, inputs=inputs)


def grown(chapters=None, sections=None, pages=1):
    """The document with these parts more, its first section having so many pages."""
    return Outline(
        chapters=BEFORE.chapters | (chapters or {}),
        sections={"s1": SectionOutline(title="A", pages=pages)}
        | {key: SectionOutline(title=title) for key, title in (sections or {}).items()},
    )


CHAPTER = node("n0", "add_chapter", title="New Part")
SECTION = node("n1", "add_section", title="Inside")
PAGE = node("n2", "write_page", content="**Hello** world")
EDIT = node("n3", "edit_page", content="Changed text.")


@pytest.mark.parametrize(
    ("nodes", "now", "markdown", "missing"),
    [
        ([CHAPTER], grown({"c2": "New part"}), "", []),
        ([CHAPTER], grown({"c2": "Other"}), "", ["n0 add_chapter"]),
        ([CHAPTER, CHAPTER], grown({"c2": "New Part"}), "", ["n0 add_chapter"]),
        ([CHAPTER, SECTION], grown({"c2": "New Part"}), "", ["n1 add_section"]),
        ([CHAPTER, SECTION], grown({"c2": "New Part"}, {"s2": "Inside"}), "", []),
        ([node("n", "add_chapter", title="One")], BEFORE, "One", ["n add_chapter"]),
        ([PAGE], grown(pages=2), "# One\n\nHello\nworld\n", []),
        ([PAGE], grown(pages=1), "Hello world", ["n2 write_page"]),
        ([PAGE], grown(pages=2), "nothing", ["n2 write_page"]),
        ([EDIT], BEFORE, "…changed *text*…", []),
        ([EDIT], BEFORE, "old", ["n3 edit_page"]),
        ([node("n", "edit_page", prompt="make it shorter")], BEFORE, "shorter", ["n edit_page"]),
        ([node("n", "delete_page", page_id="p")], grown(pages=0), "", []),
        ([node("n", "delete_page", page_id="p")], BEFORE, "", ["n delete_page"]),
        ([node("n", "paint_page")], BEFORE, "", ["n paint_page"]),
    ],
)
def test_every_change_is_looked_for(nodes, now, markdown, missing):
    """What cannot be seen is missing, and each new part stands for one node."""
    assert missing_changes(nodes, BEFORE, now, markdown) == missing


def test_a_reconstructed_result_says_so():
    """It counts every node as completed and is marked."""
    result = reconstructed([CHAPTER, SECTION])
    assert (result.success, result.completed, result.total, result.reconstructed) == (True, 2, 2, True)
