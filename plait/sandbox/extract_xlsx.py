"""Excel workbooks: a sheet is a chapter, an island of cells is a table."""

import datetime as dt
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from openpyxl import load_workbook
from openpyxl.cell.read_only import EmptyCell
from openpyxl.utils.exceptions import InvalidFileException

from plait.sandbox.extract_models import (
    DocumentTooLarge,
    Extracted,
    Limits,
    Paragraph,
    UnreadableDocument,
    table_of,
    title_from,
)
from plait.sandbox.extract_outline import Outline

_UNREADABLE: Final = (
    InvalidFileException,
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    OSError,
)
_MIN_TABLE_WIDTH: Final = 2
_CURRENCY: Final = ("$", "€", "£")


def read_xlsx(path: Path, filename: str, limits: Limits) -> Extracted:
    """Read the values a person saw when the workbook was last saved (cached, not computed)."""
    with path.open("rb") as file:  # given a path, openpyxl would judge the file by its extension
        return _read_workbook(file, filename, limits)


def _read_workbook(file: BinaryIO, filename: str, limits: Limits) -> Extracted:
    try:
        workbook = load_workbook(file, read_only=True, data_only=True)
    except _UNREADABLE as error:
        raise UnreadableDocument(f"{filename!r} is not a readable Excel workbook: {error}") from error
    try:
        title = str(workbook.properties.title or "") or title_from(filename)
        outline = Outline(title, limits)
        for number, sheet in enumerate(workbook.worksheets, start=1):
            if sheet.sheet_state != "visible":
                continue
            outline.turn_to(number)
            outline.heading(1, sheet.title)
            _read_sheet(sheet, outline, limits)
        author = workbook.properties.creator
    except DocumentTooLarge:
        raise
    except _UNREADABLE as error:
        raise UnreadableDocument(f"{filename!r} holds a sheet that cannot be read: {error}") from error
    finally:
        workbook.close()
    author = None if author in {None, "", "openpyxl"} else str(author)
    return Extracted(title=title, author=author, source_format="xlsx", chapters=outline.build())


def _read_sheet(sheet: Any, outline: Outline, limits: Limits) -> None:
    for island in _islands(sheet, limits):
        single = [cell for row in island for cell in row if cell]
        if all(sum(bool(cell) for cell in row) < _MIN_TABLE_WIDTH for row in island):
            for text in single:
                outline.add(Paragraph(text))
        else:
            _add_table(island, outline)


def _add_table(island: list[list[str]], outline: Outline) -> None:
    """Lines of a single cell above the header are captions, below the table they are notes."""
    first = next(index for index, row in enumerate(island) if _filled(row) >= _MIN_TABLE_WIDTH)
    last = max(index for index, row in enumerate(island) if _filled(row) >= _MIN_TABLE_WIDTH)
    for row in island[:first]:
        outline.add(Paragraph(next(cell for cell in row if cell)))
    table = table_of(_without_empty_columns(island[first : last + 1]))
    if table is not None:
        outline.add(table)
    for row in island[last + 1 :]:
        outline.add(Paragraph(next(cell for cell in row if cell)))


def _filled(row: list[str]) -> int:
    return sum(bool(cell) for cell in row)


def _islands(sheet: Any, limits: Limits) -> Iterator[list[list[str]]]:
    """Runs of rows that hold something, split at empty rows."""
    island: list[list[str]] = []
    cells = 0
    for row in sheet.iter_rows():
        texts = [_text(cell) for cell in row]
        cells += _filled(texts)
        if cells > limits.cells:
            raise DocumentTooLarge(f"The sheet holds more than {limits.cells} cells; split the workbook.")
        if any(texts):
            island.append(texts)
        elif island:
            yield island
            island = []
    if island:
        yield island


def _without_empty_columns(rows: list[list[str]]) -> list[list[str]]:
    width = max(len(row) for row in rows)
    padded = [row + [""] * (width - len(row)) for row in rows]
    used = [index for index in range(width) if any(row[index] for row in padded)]
    return [[row[index] for index in used] for row in padded]


def _text(cell: Any) -> str:
    if isinstance(cell, EmptyCell) or cell.value is None:
        return ""
    return shown(cell.value, str(cell.number_format or "General"))


def shown(value: Any, number_format: str) -> str:
    """A cell as Excel would show it, for the formats of everyday tables."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime):
        at_midnight = value.time() == dt.time()
        return value.date().isoformat() if at_midnight else value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, int | float):
        return _number(value, number_format)
    return " ".join(str(value).split())


def _number(value: float, number_format: str) -> str:
    positive = number_format.split(";", maxsplit=1)[0]
    decimals = _decimals(positive)
    if "%" in positive:
        return f"{value * 100:.{decimals}f}%"
    if "0" not in positive:
        return str(int(value)) if value == int(value) else repr(round(value, 10))
    grouping = "," if "," in positive else ""
    sign = "-" if value < 0 else ""
    symbol = next((mark for mark in _CURRENCY if mark in positive), "")
    return f"{sign}{symbol}{abs(value):{grouping}.{decimals}f}"


def _decimals(positive: str) -> int:
    _, point, tail = positive.partition(".")
    return len(tail) - len(tail.lstrip("0")) if point else 0
