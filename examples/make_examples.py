"""Writes the example documents of this folder: the same bytes at every run.

    python examples/make_examples.py [FOLDER]

The company, the people and the places are invented. The sales figures are those of the sandbox's
"Sales warehouse", so that answers from documents and from the database can be compared.
"""
# ruff: noqa: INP001 - a script, run by path

import datetime as dt
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xlsxwriter
from docx import Document
from docx.enum.text import WD_BREAK
from pptx import Presentation
from pptx.util import Inches, Pt
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table, TableStyle

from plait.sandbox.answer_warehouse import PRODUCTS, QUARTERS, REGIONS, sales

FOLDER = Path(__file__).parent
COMPANY = "Halden Instruments B.V."
STAMP = dt.datetime(2026, 10, 1, 9, 0, tzinfo=dt.UTC)
ZIP_STAMP = (2026, 10, 1, 9, 0, 0)

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10.5, leading=15, spaceAfter=7)
BULLET = ParagraphStyle("bullet", parent=BODY, leftIndent=14, bulletIndent=2, spaceAfter=3)
TITLE = ParagraphStyle(
    "title",
    parent=BODY,
    fontName="Helvetica-Bold",
    fontSize=22,
    leading=28,
    spaceAfter=14,
    alignment=TA_CENTER,
)
CHAPTER = ParagraphStyle(
    "chapter", parent=BODY, fontName="Helvetica-Bold", fontSize=14, leading=18, spaceBefore=8
)
SECTION = ParagraphStyle("section", parent=BODY, fontName="Helvetica-Bold", fontSize=11, spaceBefore=4)
STYLES = {"title": TITLE, "chapter": CHAPTER, "section": SECTION, "text": BODY}
LEVELS = {"title": 0, "chapter": 1, "section": 2}


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a source text: kind is title, chapter, section, text, bullet, table or break."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


_MARKS = {"# ": "title", "## ": "chapter", "### ": "section", "- ": "bullet"}


def source(name: str) -> Iterator[Block]:
    """The blocks of a `.source.md` file: one paragraph a line, `---` begins a new page."""
    rows: list[tuple[str, ...]] = []
    for line in [*(FOLDER / name).read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
            continue
        if rows:
            yield Block("table", rows=tuple(rows))
            rows = []
        if line == "---":
            yield Block("break")
        elif line:
            mark = next((mark for mark in _MARKS if line.startswith(mark)), "")
            yield Block(_MARKS.get(mark, "text"), line.removeprefix(mark))


def lease(path: Path) -> None:
    """A lease of six pages with clauses and two tables."""
    template = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        topMargin=30 * mm,
        bottomMargin=28 * mm,
        title="Office Lease Agreement",
        author="Kestrel Wharf Properties N.V.",
        invariant=1,
    )
    story = [_flowable(block) for block in source("office-lease.source.md")]
    template.build(story, onFirstPage=_running_head, onLaterPages=_running_head)


def _flowable(block: Block) -> Any:
    if block.kind == "break":
        return PageBreak()
    if block.kind == "table":
        return _pdf_table(block.rows)
    if block.kind == "bullet":
        return Paragraph(block.text, BULLET, bulletText="•")
    return Paragraph(block.text, STYLES[block.kind])


def _pdf_table(rows: tuple[tuple[str, ...], ...]) -> Table:
    table = Table(rows, hAlign="LEFT", spaceBefore=4, spaceAfter=10)
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.5),
                ("FONT", (0, 1), (-1, -1), "Helvetica", 9.5),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ]
        )
    )
    return table


def _running_head(canvas: Canvas, template: SimpleDocTemplate) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawString(25 * mm, A4[1] - 16 * mm, "Kestrel House, Rotterdam - Lease KH-2026-034")
    canvas.drawRightString(A4[0] - 25 * mm, 14 * mm, f"Page {template.page} of 6")


def handbook(path: Path) -> None:
    """An extract of an employee handbook with a table of leave and one of expenses."""
    document = Document()
    properties = document.core_properties
    properties.title, properties.author = "Employee Handbook (extract)", "People Team, Halden Instruments"
    properties.created = properties.modified = STAMP.replace(tzinfo=None)
    for block in source("employee-handbook.source.md"):
        _docx_block(document, block)
    _save_zip(document.save, path)


def _docx_block(document: Any, block: Block) -> None:
    if block.kind == "break":
        document.paragraphs[-1].add_run().add_break(WD_BREAK.PAGE)
    elif block.kind == "table":
        _docx_table(document, block.rows)
    elif block.kind in LEVELS:
        document.add_heading(block.text, LEVELS[block.kind])
    else:
        document.add_paragraph(block.text, style="List Bullet" if block.kind == "bullet" else None)


def _docx_table(document: Any, rows: tuple[tuple[str, ...], ...]) -> None:
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Table Grid")
    for row, texts in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text


def workbook(path: Path) -> None:
    """Sales by region and product: a summary and one sheet a quarter, with formulas and their values."""
    with xlsxwriter.Workbook(str(path)) as book:
        book.set_properties(
            {
                "title": "Quarterly Sales 2026",
                "author": "Finance, Halden Instruments",
                "created": STAMP.replace(tzinfo=None),
            }
        )
        styles = {
            "head": book.add_format({"bold": True, "bottom": 1}),
            "money": book.add_format({"num_format": "€#,##0"}),
            "percent": book.add_format({"num_format": "0.0%"}),
        }
        _summary(book.add_worksheet("Summary"), styles)
        for quarter in QUARTERS:
            _quarter(book.add_worksheet(f"{quarter} 2026"), quarter, styles)
        _targets(book.add_worksheet("Targets"), styles)


def revenue(**wanted: str) -> int:
    """Revenue in EUR of the sales whose fields have these values."""
    return sum(s.revenue for s in sales() if all(getattr(s, name) == value for name, value in wanted.items()))


def _summary(sheet: Any, styles: dict[str, Any]) -> None:
    sheet.set_column(0, 5, 16)
    sheet.write(0, 0, "Revenue by region and quarter, EUR")
    sheet.write_row(2, 0, ["Region", *QUARTERS, "Total", "Share"], styles["head"])
    total = revenue()
    for row, region in enumerate(REGIONS, start=3):
        sheet.write(row, 0, region)
        for column, quarter in enumerate(QUARTERS, start=1):
            formula = f"='{quarter} 2026'!F{row + 1}"
            amount = revenue(quarter=quarter, region=region)
            sheet.write_formula(row, column, formula, styles["money"], amount)
        sheet.write_formula(row, 4, f"=SUM(B{row + 1}:D{row + 1})", styles["money"], revenue(region=region))
        share = revenue(region=region) / total
        sheet.write_formula(row, 5, f"=E{row + 1}/E$8", styles["percent"], share)
    sheet.write(7, 0, "Total")
    for column, quarter in enumerate(QUARTERS, start=1):
        letter = "BCD"[column - 1]
        amount = revenue(quarter=quarter)
        sheet.write_formula(7, column, f"=SUM({letter}4:{letter}7)", styles["money"], amount)
    sheet.write_formula(7, 4, "=SUM(E4:E7)", styles["money"], total)
    sheet.write_formula(7, 5, "=SUM(F4:F7)", styles["percent"], 1)
    sheet.write(9, 0, "Closed by finance on 9 October 2026. Returns of Q3 are included.")


def _quarter(sheet: Any, quarter: str, styles: dict[str, Any]) -> None:
    sheet.set_column(0, 5, 19)
    sheet.write(0, 0, f"Revenue by region and product, {quarter} 2026, EUR")
    sheet.write_row(2, 0, ["Region", *PRODUCTS, "Total"], styles["head"])
    for row, region in enumerate(REGIONS, start=3):
        sheet.write(row, 0, region)
        for column, product in enumerate(PRODUCTS, start=1):
            amount = revenue(quarter=quarter, region=region, product=product)
            sheet.write_number(row, column, amount, styles["money"])
        amount = revenue(quarter=quarter, region=region)
        sheet.write_formula(row, 5, f"=SUM(B{row + 1}:E{row + 1})", styles["money"], amount)
    sheet.write(7, 0, "Total")
    for column, product in enumerate(PRODUCTS, start=1):
        letter = "BCDE"[column - 1]
        amount = revenue(quarter=quarter, product=product)
        sheet.write_formula(7, column, f"=SUM({letter}4:{letter}7)", styles["money"], amount)
    sheet.write_formula(7, 5, "=SUM(F4:F7)", styles["money"], revenue(quarter=quarter))


def _targets(sheet: Any, styles: dict[str, Any]) -> None:
    sheet.set_column(0, 3, 18)
    sheet.write_row(0, 0, ["Region", "Target 2026", "Reached", "Sales lead"], styles["head"])
    targets = (2_000_000, 2_900_000, 1_450_000, 1_100_000)
    leads = ("Astrid Lunde", "Matthias Brandt", "Lotte de Wit", "Rafael Nogueira")
    for row, (region, target, lead) in enumerate(zip(REGIONS, targets, leads, strict=True), start=1):
        sheet.write(row, 0, region)
        sheet.write_number(row, 1, target, styles["money"])
        reached = revenue(region=region) / target
        sheet.write_formula(row, 2, f"=Summary!E{row + 3}/B{row + 1}", styles["percent"], reached)
        sheet.write(row, 3, lead)


def deck(path: Path) -> None:
    """A board update of six slides."""
    presentation = Presentation()
    properties = presentation.core_properties
    properties.title, properties.author = "Board Update Q3 2026", "Samuel Okafor"
    properties.created = properties.modified = STAMP.replace(tzinfo=None)
    cover = presentation.slides.add_slide(presentation.slide_layouts[0])
    cover.shapes.title.text = "Board Update Q3 2026"
    cover.placeholders[1].text = f"{COMPANY}, 22 October 2026"
    third = revenue(quarter="Q3")
    growth = third / revenue(quarter="Q2") - 1
    _bullets(
        presentation,
        "Highlights",
        (
            f"Revenue of the third quarter was €{third:,}, {growth:.1%} above the second quarter.",
            "Gross margin reached 46.8%, up from 45.1% in the second quarter.",
            "The order book stands at €1,920,000, which covers 11 weeks of production.",
            "Staff grew from 79 to 84 employees; six positions are open.",
        ),
        "The margin gain comes from the new sensor supplier, Tarn Optics, since July.",
    )
    _quarter_slide(presentation)
    _bullets(
        presentation,
        "New office in Rotterdam",
        (
            "The move to Kestrel House is planned for the weekend of 16 January 2027.",
            "Moving and fit-out are budgeted at €340,000, of which the landlord bears €100,000.",
            "The old office in Utrecht is given up on 28 February 2027.",
        ),
        "",
    )
    _risks(presentation)
    _bullets(
        presentation,
        "Decisions asked of the board",
        (
            "Approve the investment of €275,000 in a second calibration line.",
            "Approve the credit line of €1,500,000 with Maasbank at 4.9% interest.",
            "Next meeting of the board: 21 January 2027.",
        ),
        "",
    )
    _save_zip(presentation.save, path)


def _bullets(presentation: Any, title: str, bullets: tuple[str, ...], notes: str) -> None:
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = title
    frame = slide.placeholders[1].text_frame
    frame.text = bullets[0]
    for text in bullets[1:]:
        frame.add_paragraph().text = text
    if notes:
        slide.notes_slide.notes_text_frame.text = notes


def _quarter_slide(presentation: Any) -> None:
    rows = [("Region", *QUARTERS)]
    rows += [(region, *(f"€{revenue(region=region, quarter=q):,}" for q in QUARTERS)) for region in REGIONS]
    rows.append(("Total", *(f"€{revenue(quarter=q):,}" for q in QUARTERS)))
    _table_slide(presentation, "Revenue by region", rows)


def _risks(presentation: Any) -> None:
    rows = [
        ("Risk", "Likelihood", "Impact", "Measure", "Owner"),
        ("Single supplier of detectors", "Medium", "€600,000", "Second source by May 2027", "Priya Nair"),
        ("Recall of Sensor Kit batch 7", "Low", "€210,000", "Retest of 480 units", "Tom Aldous"),
        ("Delay of the office move", "Low", "€75,000", "Lease extension in Utrecht", "Ines Marchetti"),
    ]
    _table_slide(presentation, "Main risks", rows)


def _table_slide(presentation: Any, title: str, rows: list[tuple[str, ...]]) -> None:
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = title
    size = (Inches(0.5), Inches(1.8), Inches(9), Inches(0.5 * len(rows)))
    table = slide.shapes.add_table(len(rows), len(rows[0]), *size).table
    for row, texts in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
            cell.text_frame.paragraphs[0].font.size = Pt(14)


def _save_zip(save: Any, path: Path) -> None:
    """Save an Office file with fixed times in its archive."""
    buffer = io.BytesIO()
    save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            entry = zipfile.ZipInfo(part.filename, ZIP_STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, source.read(part), compresslevel=9)


def main(folder: Path) -> None:
    """Write all four documents into `folder`."""
    lease(folder / "office-lease.pdf")
    handbook(folder / "employee-handbook.docx")
    workbook(folder / "quarterly-sales.xlsx")
    deck(folder / "board-update.pptx")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
