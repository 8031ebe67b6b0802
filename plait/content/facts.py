"""What is said about a block in words and rows, the same in every output."""

import base64
import binascii
import json
from typing import Any, Final

from plait.content.blocks import Citation, ImageBlock, MapBlock, TableBlock
from plait.content.geo import coordinates, shapes
from plait.content.tables import Column
from plait.content.text import one_line

_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


def citation_place(citation: Citation) -> list[str]:
    """Section and page, as far as they are known."""
    page = one_line(citation.page or "", 40)
    section = one_line(citation.section or "", 160)
    is_range = any(mark in page for mark in "-\u2013,")
    return [part for part in (section, f"{'pp.' if is_range else 'p.'} {page}" if page else "") if part]


def json_text(value: Any) -> str:
    """A vendor's value for reading: text as it is, everything else as indented JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def map_rows(block: MapBlock) -> TableBlock:
    """The coordinates of a map as a table. Raises ValueError where the map cannot be read."""
    columns = [Column(name="Place"), Column(name="Shape"), Column(name="Position")]
    rows = [
        [shape.name, shape.kind, coordinates(shape.middle)] for shape in shapes(block) if shape.kind != "hole"
    ]
    return TableBlock(columns=columns, rows=rows)


def picture(block: ImageBlock) -> tuple[str, bytes] | None:
    """The embedded bitmap and its media type as the bytes tell it; None where there is none.

    SVG is no bitmap: it can carry scripts and load things, so it is never shown.
    """
    try:
        content = base64.b64decode("".join((block.data or "").split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp", content
    found = (media_type for start, media_type in _SIGNATURES.items() if content.startswith(start))
    media_type = next(found, None)
    return (media_type, content) if media_type else None


def describe_image(block: ImageBlock) -> str:
    """`Image: a floor plan (image/png, 12 kB, embedded)`."""
    shown = picture(block)
    kind = shown[0] if shown else block.media_type
    size = f"{max(1, round(len(shown[1]) / 1000)):,} kB, embedded" if shown else ""
    facts = ", ".join(part for part in (kind, size) if part)
    words = f"Image: {block.alt}" if block.alt else "Image"
    return f"{words} ({facts})" if facts else words
