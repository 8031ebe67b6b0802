"""PowerPoint decks: a slide is a page and a section; its notes belong to it."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE, PP_PLACEHOLDER
from pptx.exc import PythonPptxError

from plait.sandbox.extract_models import (
    Extracted,
    Limits,
    Paragraph,
    UnreadableDocument,
    table_of,
    title_from,
)
from plait.sandbox.extract_outline import Outline

# lxml's XMLSyntaxError is a SyntaxError.
_UNREADABLE: Final = (PythonPptxError, zipfile.BadZipFile, SyntaxError, KeyError, ValueError, OSError)
_BODY_TYPES: Final = frozenset({PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT, PP_PLACEHOLDER.VERTICAL_BODY})


def read_pptx(path: Path, filename: str, limits: Limits) -> Extracted:
    """Read titles, text, tables and speaker notes in the order of the slides."""
    try:
        deck = Presentation(str(path))
        title = deck.core_properties.title or _first_title(deck) or title_from(filename)
        outline = Outline(title, limits)
        outline.heading(1, title)
        for number, slide in enumerate(deck.slides, start=1):
            _read_slide(slide, number, outline)
        author = deck.core_properties.author or None
    except _UNREADABLE as error:
        if isinstance(error, UnreadableDocument):
            raise
        raise UnreadableDocument(f"{filename!r} is not a readable PowerPoint deck: {error}") from error
    return Extracted(title=title, author=author, source_format="pptx", chapters=outline.build())


def _first_title(deck: Any) -> str:
    for slide in deck.slides:
        return _title(slide)
    return ""


def _title(slide: Any) -> str:
    shape = slide.shapes.title
    return " ".join(shape.text_frame.text.split()) if shape is not None else ""


def _read_slide(slide: Any, number: int, outline: Outline) -> None:
    outline.turn_to(number)
    outline.heading(2, _title(slide) or f"Slide {number}")
    title = slide.shapes.title
    for shape in _flat(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        _read_shape(shape, outline)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        for paragraph in slide.notes_slide.notes_text_frame.paragraphs:
            if paragraph.text.strip():
                outline.add(Paragraph(f"Notes: {paragraph.text.strip()}"))


def _flat(shapes: Any) -> Iterator[Any]:
    """Shapes from top to bottom, groups opened."""
    for shape in sorted(shapes, key=lambda item: (item.top or 0, item.left or 0)):
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            yield from _flat(shape.shapes)
        else:
            yield shape


def _read_shape(shape: Any, outline: Outline) -> None:
    if shape.has_table:
        table = table_of([[cell.text for cell in row.cells] for row in shape.table.rows])
        if table is not None:
            outline.add(table)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            outline.add(Paragraph(" ".join(paragraph.text.split()), bullet=_is_bullet(shape)))


def _is_bullet(shape: Any) -> bool:
    return bool(shape.is_placeholder and shape.placeholder_format.type in _BODY_TYPES)
