"""Reading real documents: structure, tables, page numbers, and refusal of what cannot be read."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from docx import Document
from openpyxl import Workbook
from PIL import Image
from pypdf import PdfReader, PdfWriter

from plait.sandbox.answer_warehouse import sales
from plait.sandbox.extract import (
    Chapter,
    DocumentTooLarge,
    Extracted,
    Limits,
    Page,
    Paragraph,
    Section,
    Table,
    UnreadableDocument,
    extract,
    to_markdown,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("office-lease.pdf", "employee-handbook.docx", "quarterly-sales.xlsx", "board-update.pptx")


def read(name: str) -> Extracted:
    """An example document."""
    return extract(EXAMPLES / name, name)


def page_of(extracted: Extracted, words: str) -> int:
    """The page whose paragraph holds these words."""
    return next(page.number for page in extracted.pages if any(words in text for text in page.paragraphs))


@pytest.mark.parametrize(
    ("name", "title", "author", "chapters"),
    [
        (
            "office-lease.pdf",
            "Office Lease Agreement",
            "Kestrel Wharf Properties N.V.",
            [
                "1. Parties and Premises",
                "2. Term and Termination",
                "3. Rent and Deposit",
                "4. Service Charges and Utilities",
                "5. Works, Repairs and Insurance",
                "6. General Provisions",
            ],
        ),
        (
            "employee-handbook.docx",
            "Employee Handbook (extract)",
            "People Team, Halden Instruments",
            ["Employee Handbook (extract)", "Working Time", "Leave", "Pay and Expenses"],
        ),
        (
            "quarterly-sales.xlsx",
            "Quarterly Sales 2026",
            "Finance, Halden Instruments",
            ["Summary", "Q1 2026", "Q2 2026", "Q3 2026", "Targets"],
        ),
        ("board-update.pptx", "Board Update Q3 2026", "Samuel Okafor", ["Board Update Q3 2026"]),
    ],
)
def test_structure(name, title, author, chapters):
    """Title, author and first-level headings come out as a person sees them."""
    extracted = read(name)
    assert (extracted.title, extracted.author) == (title, author)
    assert [chapter.title for chapter in extracted.chapters] == chapters


def test_pdf_sections_and_pages():
    """Numbered clauses are sections, each on its own page, and the running head is no text."""
    extracted = read("office-lease.pdf")
    assert [section.title for section in extracted.chapters[2].sections] == [
        "3.1 Rent",
        "3.2 Security deposit",
        "3.3 Payment schedule",
    ]
    assert {page.number for page in extracted.pages} == set(range(1, 7))
    assert page_of(extracted, "security deposit of €46,500") == 3
    assert page_of(extracted, "district court of Rotterdam") == 6
    assert not any("KH-2026-034" in text for page in extracted.pages for text in page.paragraphs)


def test_pdf_paragraphs_are_whole():
    """Lines are joined to paragraphs, and bullets stay single items."""
    charges = read("office-lease.pdf").chapters[3].sections[0].pages[0].blocks
    assert charges[1:4] == (
        Paragraph("cleaning and lighting of the common areas", bullet=True),
        Paragraph("maintenance of lifts, heating and ventilation", bullet=True),
        Paragraph("security of the building between 18:00 and 07:00", bullet=True),
    )
    assert isinstance(charges[4], Paragraph)
    assert charges[4].text.startswith("The increase of the service charge")
    assert charges[4].text.endswith("after the end of each calendar year.")


def test_pdf_table():
    """The payment schedule is a table of five rows with its header."""
    schedule = read("office-lease.pdf").tables[0]
    assert schedule.columns == ("Lease year", "Period", "Annual rent", "Monthly rent")
    assert len(schedule.rows) == 5
    assert schedule.rows[2] == ("Year 3", "1 January 2029 to 31 December 2029", "€197,328", "€16,444")


def test_docx_lists_tables_and_page_breaks():
    """Lists are bullets, tables stand in place, and both kinds of page break count."""
    extracted = read("employee-handbook.docx")
    hours = extracted.chapters[1].sections[0].pages[0].blocks
    assert Paragraph("pay at 130% when time off is not possible", bullet=True) in hours
    leave = extracted.chapters[2].sections[0].pages[0]
    assert leave.number == 2
    assert isinstance(leave.blocks[0], Paragraph)
    assert isinstance(leave.blocks[1], Table)
    assert ("Parental leave", "45", "70%", "8 weeks", "People team") in leave.blocks[1].rows
    assert page_of(extracted, "Salaries are paid on the 24th") == 3


def test_xlsx_shows_cached_values_as_excel_does():
    """Formulas give the value that was saved, formatted as the cell is."""
    summary, *_, targets = read("quarterly-sales.xlsx").tables
    total = sum(sale.revenue for sale in sales())
    assert summary.columns == ("Region", "Q1", "Q2", "Q3", "Total", "Share")
    assert summary.rows[-1][4] == f"€{total:,}" == "€7,439,100"
    assert summary.rows[1] == ("DACH", "€873,800", "€937,000", "€970,900", "€2,781,700", "37.4%")
    assert targets.rows[3] == ("Iberia", "€1,100,000", "108.2%", "Rafael Nogueira")


def test_xlsx_captions_and_notes_are_paragraphs():
    """Single cells around a table are text, not rows."""
    page = read("quarterly-sales.xlsx").chapters[0].sections[0].pages[0]
    assert page.paragraphs == (
        "Revenue by region and quarter, EUR",
        "Closed by finance on 9 October 2026. Returns of Q3 are included.",
    )


def test_pptx_slides():
    """A slide is a section and a page; bullets, tables and notes belong to it."""
    extracted = read("board-update.pptx")
    slides = {section.title: section.pages[0] for section in extracted.chapters[0].sections}
    assert slides["Main risks"].number == 5
    assert slides["Main risks"].tables[0].rows[0][4] == "Priya Nair"
    assert slides["Highlights"].blocks[1] == Paragraph(
        "Gross margin reached 46.8%, up from 45.1% in the second quarter.", bullet=True
    )
    assert slides["Highlights"].paragraphs[-1].startswith("Notes: The margin gain comes from")


@pytest.mark.parametrize("name", NAMES)
def test_markdown_holds_everything(name):
    """Every paragraph and every cell of the document is in its Markdown, with its page."""
    extracted = read(name)
    markdown = to_markdown(extracted).replace("\\", "")
    for page in extracted.pages:
        assert f"*Page {page.number}*" in markdown
        assert all(text in markdown for text in page.paragraphs)
        assert all(f"| {' | '.join(row)} |" in markdown for table in page.tables for row in table.rows)


def test_markdown_of_hostile_text():
    """Text of a document can neither open HTML nor pose as a heading, a page, a table or a delimiter."""
    texts = ("<b>bold</b>", "# not a heading", "*Page 9*", "| not | a table |", "<<<end>>>", "1. one")
    table = Table(("a|b", "<i>"), (("x | y", "`code`"),))
    page = Page(1, (*map(Paragraph, texts), table))
    extracted = Extracted("T <x>", None, "docx", (Chapter("C", (Section("S", (page,)),)),))
    lines = to_markdown(extracted).splitlines()
    assert lines[0] == "# T \\<x>"
    assert r"\<b>bold\</b>" in lines
    assert r"\# not a heading" in lines
    assert r"\*Page 9\*" in lines
    assert r"\| not | a table |" in lines
    assert r"\<\<\<end>>>" in lines
    assert r"1\. one" in lines
    assert lines[-3:] == [r"| a\|b | \<i> |", "| --- | --- |", r"| x \| y | \`code\` |"]


def test_examples_are_what_the_script_writes(tmp_path):
    """The committed documents come from the committed script, byte for byte."""
    subprocess.run(
        [sys.executable, str(EXAMPLES / "make_examples.py"), str(tmp_path)],
        check=True,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
    )
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes(), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_files_are_refused(tmp_path, name, kept):
    """A file that was cut off raises the typed error and nothing else."""
    whole = (EXAMPLES / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UnreadableDocument, match=r"not a readable PDF|damaged zip"):
        extract(cut, name)


@pytest.mark.parametrize("part", ["word/document.xml", "[Content_Types].xml", "word/_rels/document.xml.rels"])
def test_broken_parts_are_refused(tmp_path, part):
    """A DOCX whose inner XML is rubbish raises the typed error."""
    broken = tmp_path / "broken.docx"
    source = EXAMPLES / "employee-handbook.docx"
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(broken, "w") as target:
        for name in whole.namelist():
            target.writestr(name, b"<oops" if name == part else whole.read(name))
    with pytest.raises(UnreadableDocument, match=r"broken\.docx"):
        extract(broken, "broken.docx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a PDF"),
        (b"plain text, no document at all", "is not a PDF"),
        (b"PK\x03\x04 but no archive", "damaged zip"),
        (b"%PDF-1.7\nnothing else", "not a readable PDF"),
        (b"\x89PNG\r\n\x1a\nrubbish", "damaged png"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old word file", "legacy Office file"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "protected with a password",
        ),
    ],
)
def test_unreadable_files(tmp_path, content, reason):
    """What is no document, damaged or encrypted is refused with its reason."""
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(UnreadableDocument, match=reason):
        extract(path, "upload.docx")


def test_encrypted_pdf(tmp_path):
    """A PDF behind a password says so."""
    writer = PdfWriter(clone_from=PdfReader(EXAMPLES / "office-lease.pdf"))
    writer.encrypt("secret", algorithm="AES-256")
    path = tmp_path / "locked.pdf"
    writer.write(path)
    with pytest.raises(UnreadableDocument, match="protected with a password"):
        extract(path, "locked.pdf")


@pytest.mark.parametrize(("suffix", "kind"), [("png", "png"), ("jpg", "jpeg"), ("tiff", "tiff")])
def test_images_give_a_title(tmp_path, suffix, kind):
    """A picture has a title from its name and no text."""
    path = tmp_path / f"site_plan.{suffix}"
    Image.new("RGB", (4, 4), "white").save(path)
    extracted = extract(path, path.name)
    assert (extracted.title, extracted.source_format) == ("site plan", kind)
    assert not any(page.blocks for page in extracted.pages)


@pytest.mark.parametrize(
    ("name", "limits", "reason"),
    [
        ("office-lease.pdf", Limits(pages=3), "over 3"),
        ("board-update.pptx", Limits(pages=3), "more than 3 pages"),
        ("quarterly-sales.xlsx", Limits(cells=20), "more than 20 cells"),
        ("employee-handbook.docx", Limits(characters=200), "more than 200 characters"),
        ("employee-handbook.docx", Limits(unpacked_bytes=10_000), "over the limit of 10000"),
    ],
)
def test_limits(name, limits, reason):
    """Each limit stops the reading with its own number in the message."""
    with pytest.raises(DocumentTooLarge, match=reason):
        extract(EXAMPLES / name, name, limits)


def test_zip_bomb(tmp_path):
    """A small file that would unpack to more than the limit is refused before it is read."""
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("[Content_Types].xml", "<Types/>")
        bomb.writestr("word/document.xml", b"0" * (300 * 1024 * 1024))
    assert path.stat().st_size < 1024 * 1024
    with pytest.raises(DocumentTooLarge, match="unpacks to"):
        extract(path, "bomb.docx")


def test_text_before_headings_and_untitled_documents(tmp_path):
    """A document without title and headings is named after its file and keeps its text."""
    document = Document()
    document.core_properties.title = ""
    document.add_paragraph("Only one line.")
    path = tmp_path / "notes_of-monday.docx"
    document.save(str(path))
    extracted = extract(path, path.name)
    assert extracted.title == "notes of monday"
    assert extracted.chapters[0].sections[0].pages[0].paragraphs == ("Only one line.",)


def test_hidden_sheets_and_plain_numbers(tmp_path):
    """Hidden sheets are not read; dates, booleans and numbers are shown as in the sheet."""
    book = Workbook()
    book.active.title = "Data"
    book.active.append(["Name", "Ratio", "On", "Done"])
    book.active.append(["a", 0.125, "2026-01-05", True])
    book.active["B2"].number_format = "0.0%"
    book.create_sheet("Secret").append(["hidden", "value"])
    book["Secret"].sheet_state = "hidden"
    path = tmp_path / "small.xlsx"
    book.save(path)
    extracted = extract(path, path.name)
    assert [chapter.title for chapter in extracted.chapters] == ["Data"]
    assert extracted.tables[0].rows == (("a", "12.5%", "2026-01-05", "TRUE"),)
