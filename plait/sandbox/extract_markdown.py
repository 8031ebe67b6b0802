"""Markdown of an extracted document: readable by people, parsed back by the answering stand-in.

    # Title
    *Author: Jane Doe*
    ## Chapter
    ### Section
    *Page 3*
    paragraphs, `- ` list items and pipe tables

The text of the document is escaped, so that it can neither bring HTML nor pose as structure.
"""

import re

from plait.sandbox.extract_models import Block, Chapter, Extracted, Page, Paragraph, Section, Table

_SPECIAL = re.compile(r"[\\<`*\[]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|~(?=~)")
_LEADING = re.compile(r"^([#>|+-])")
_ORDERED = re.compile(r"^(\d+)([.)])(?=\s)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def escape(text: str) -> str:
    """Plain text as one line of Markdown."""
    return _ORDERED.sub(r"\1\\\2", _LEADING.sub(r"\\\1", _inline(text)))


def unescape(markdown: str) -> str:
    """The plain text that `escape` was given."""
    return _ESCAPED.sub(r"\1", markdown)


def to_markdown(extracted: Extracted) -> str:
    """The whole document; ends in one newline."""
    head = [f"# {_inline(extracted.title)}"]
    if extracted.author:
        head.append(f"*Author: {_inline(extracted.author)}*")
    parts = [*head, *(part for chapter in extracted.chapters for part in _chapter(chapter))]
    return "\n\n".join(parts) + "\n"


def page_markdown(page: Page) -> str:
    """The blocks of one page part, without its page marker."""
    parts: list[str] = []
    previous: Block | None = None
    for block in page.blocks:
        text = _block(block)
        joins = _is_bullet(block) and _is_bullet(previous)
        if joins:
            parts[-1] += f"\n{text}"
        else:
            parts.append(text)
        previous = block
    return "\n\n".join(parts)


def table_markdown(table: Table) -> str:
    """A pipe table; pipes inside cells are escaped."""
    lines = [_row(table.columns), _row(("---",) * len(table.columns), raw=True)]
    return "\n".join([*lines, *(_row(row) for row in table.rows)])


def _chapter(chapter: Chapter) -> list[str]:
    parts = [f"## {_inline(chapter.title)}"]
    for section in chapter.sections:
        parts += _section(section, own_heading=section.title != chapter.title)
    return parts


def _section(section: Section, *, own_heading: bool) -> list[str]:
    parts = [f"### {_inline(section.title)}"] if own_heading else []
    for page in section.pages:
        parts.append(f"*Page {page.number}*")
        if page.blocks:
            parts.append(page_markdown(page))
    return parts


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return table_markdown(block)
    text = escape(block.text)
    return f"- {text}" if block.bullet else text


def _is_bullet(block: Block | None) -> bool:
    return isinstance(block, Paragraph) and block.bullet


def _row(cells: tuple[str, ...], *, raw: bool = False) -> str:
    shown = cells if raw else tuple(_cell(cell) for cell in cells)
    return f"| {' | '.join(shown)} |"


def _inline(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")
