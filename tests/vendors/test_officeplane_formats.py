"""Files are refused before sending, by their bytes (officeplane.md §3.1)."""

import zipfile
from pathlib import Path

import pytest

from plait.http.errors import InvalidInput
from plait.vendors.officeplane.formats import Format, check_document, wire_filename

PDF = b"%PDF-1.7\n1 0 obj\nendobj\nstartxref\n0\n%%EOF\n"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def _zip(path: Path, *parts: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for part in parts:
            archive.writestr(part, "x")
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.pdf", PDF, Format.PDF),
        ("a.bin", PDF, Format.PDF),
        ("a.png", b"\x89PNG\r\n\x1a\n....", Format.PNG),
        ("a.jpg", b"\xff\xd8\xff\xe0....", Format.JPEG),
        ("a.tif", b"II*\x00....", Format.TIFF),
        ("b.tif", b"MM\x00*....", Format.TIFF),
        ("a.doc", OLE + b"\x00" * 600 + "WordDocument".encode("utf-16-le"), Format.DOC),
        ("a.xls", OLE + b"\x00" * 600 + "Workbook".encode("utf-16-le"), Format.XLS),
        ("a.ppt", OLE + b"\x00" * 9000 + "PowerPoint Document".encode("utf-16-le"), Format.PPT),
        ("b.doc", OLE + b"\x00" * 600, Format.DOC),
    ],
)
def test_formats_are_told_by_their_bytes(tmp_path, name, content, expected):
    """The extension decides only where the bytes do not."""
    path = tmp_path / name
    path.write_bytes(content)
    found = check_document(path)
    assert (found.format, found.size) == (expected, len(content))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("word/document.xml", Format.DOCX),
        ("ppt/presentation.xml", Format.PPTX),
        ("xl/workbook.xml", Format.XLSX),
    ],
)
def test_office_archives_are_told_by_their_parts(tmp_path, part, expected):
    """A ZIP is an Office file when it holds that format's main part, whatever its name."""
    assert check_document(_zip(tmp_path / "a.zip", "[Content_Types].xml", part)).format is expected


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pdf", b"just text", "named .pdf but is no PDF"),
        ("a.pdf", b"%PDF-1.7\nhalf of it", "no PDF trailer"),
        ("a.txt", b"just text", "plain text"),
        ("a.exe", b"MZ\x90\x00....", "a program"),
        ("a.dat", b"\x00\x01\x02\x03\x04\x05\x06\x07", "unknown data"),
        ("a.docx", b"PK\x03\x04 not a zip", "damaged ZIP"),
        ("a.msg", OLE + b"\x00" * 600, "no doc, ppt or xls"),
        ("a.pdf", b"", "is empty"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path, name, content, words):
    """The message names the file and what is wrong with it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        check_document(path)
    assert words in raised.value.message
    assert str(path) in raised.value.message


def test_a_plain_archive_is_refused(tmp_path):
    """A ZIP without an Office part is not sent."""
    with pytest.raises(InvalidInput, match="no docx, pptx or xlsx"):
        check_document(_zip(tmp_path / "a.docx", "readme.txt"))


def test_what_is_no_file_is_refused(tmp_path):
    """A missing path and a folder each get their own words."""
    with pytest.raises(InvalidInput, match="does not exist"):
        check_document(tmp_path / "missing.pdf")
    with pytest.raises(InvalidInput, match="is a folder"):
        check_document(tmp_path)


def test_the_limit_is_in_bytes_and_inclusive(tmp_path):
    """A file of exactly the limit passes, one byte more does not."""
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF)
    assert check_document(path, max_size=len(PDF)).size == len(PDF)
    with pytest.raises(InvalidInput, match="more than the limit"):
        check_document(path, max_size=len(PDF) - 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("Übersicht Straße.pdf", "Ubersicht Stra_e.pdf"),
        ('a"b\\c.pdf', "a_b_c.pdf"),
        ("報告書.pdf", "_.pdf"),
        ("line\r\nbreak.pdf", "line_break.pdf"),
        ("", "document"),
    ],
)
def test_stored_names_can_be_downloaded_again(name, expected):
    """Only characters that the server's download header survives are sent, and the extension stays."""
    assert wire_filename(name) == expected
