"""Everything a person can get wrong: a typed error that names the value and the way out."""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flow_world import QUESTION, World, make_docx

from blocks import EffectLedger, OfficePlaneServer, PlanckCredentials
from flows.ingest_then_chat import ingest_then_chat
from plait.http.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InvalidInput,
    NotFound,
    NotSent,
    PermissionDenied,
)

MEGABYTE = 1024 * 1024


def write(path: Path, content: bytes) -> str:
    """A file of this content."""
    path.write_bytes(content)
    return str(path)


FILES = {
    "missing": (lambda folder: str(folder / "nowhere.pdf"), ["nowhere.pdf", "does not exist"]),
    "empty": (lambda folder: write(folder / "empty.pdf", b""), ["empty.pdf", "is empty"]),
    "a program": (
        lambda folder: write(folder / "setup.exe", b"MZ" + b"\0" * 200),
        ["setup.exe", "a program"],
    ),
    "no PDF": (lambda folder: write(folder / "fake.pdf", b"hello, world"), ["fake.pdf", "is no PDF"]),
    "half a PDF": (
        lambda folder: write(folder / "cut.pdf", b"%PDF-1.7 " + b"x" * 99),
        ["cut.pdf", "cut off"],
    ),
    "a folder": (str, ["is a folder"]),
    "no match": (lambda folder: str(folder / "*.pdf"), ["no file matches"]),
}


@pytest.mark.parametrize("case", FILES)
async def test_an_unusable_file(world: World, case: str, tmp_path: Path) -> None:
    """Refused before anything is sent, by name and with the reason."""
    make, words = FILES[case]
    with pytest.raises(InvalidInput) as caught:
        await ingest_then_chat(**world.arguments(documents=[make(tmp_path)]))
    assert all(word in str(caught.value) for word in words)
    assert world.new_effects() == {}


async def test_a_file_over_the_limit(world: World, tmp_path: Path) -> None:
    """200 MB against the limit of 100: refused by its size, not read."""
    big = tmp_path / "big.pdf"
    with big.open("wb") as file:
        file.truncate(200 * MEGABYTE)
    with pytest.raises(InvalidInput) as caught:
        await ingest_then_chat(**world.arguments(documents=[str(big)]))
    assert "big.pdf" in str(caught.value)
    assert "209,715,200 bytes" in str(caught.value)
    assert world.new_effects() == {}


CALLS: dict[str, tuple[Any, type[Exception], list[str]]] = {
    "an empty question": (lambda _: {"questions": [QUESTION, "  "]}, InvalidInput, ["question 2", "empty"]),
    "no question": (lambda _: {"questions": []}, InvalidInput, ["no question"]),
    "no document": (lambda _: {"documents": []}, InvalidInput, ["no document"]),
    "an unknown workspace": (
        lambda _: {"workspace": "Nowhere"},
        NotFound,
        ["'Nowhere'", "'Operations'", "'Scratch'"],
    ),
    "no workspace named": (lambda _: {"workspace": None}, InvalidInput, ["no workspace", "'Scratch'"]),
    "a wrong key": (
        lambda world: {"planck": world.planck("pk_live_wrong")},
        AuthenticationFailed,
        ["HTTP 401"],
    ),
    "no permission": (
        lambda world: {"planck": world.planck("pk_live_reader")},
        PermissionDenied,
        ["HTTP 403"],
    ),
    "Planck AI down": (
        lambda _: {"planck": PlanckCredentials(base_url="http://127.0.0.1:9/api/v1", api_key="pk_live_x")},
        NotSent,
        ["127.0.0.1:9"],
    ),
    "OfficePlane down": (
        lambda _: {"officeplane": OfficePlaneServer(base_url="http://127.0.0.1:9")},
        NotSent,
        ["127.0.0.1:9"],
    ),
    "an unknown block": (lambda _: {"planck": "nobody"}, ConfigurationError, ["'nobody'", "register_blocks"]),
    "a ledger that cannot be written": (
        lambda _: {"ledger": EffectLedger(url="/dev/null/ledger.db")},
        ConfigurationError,
        ["/dev/null/ledger.db", "PLAIT_LEDGER_URL"],
    ),
}


@pytest.mark.parametrize("case", CALLS)
async def test_an_unusable_call(world: World, lease: Path, case: str) -> None:
    """The error's type says what kind of thing is wrong, its words which, and no question was asked."""
    change, kind, words = CALLS[case]
    with pytest.raises(kind) as caught:
        await ingest_then_chat(**world.arguments(documents=[str(lease)]) | change(world))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "planck.send_message" not in world.new_effects()


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--document", "nowhere.pdf", "--question", "What?"], 2, "nowhere.pdf does not exist"),
        (
            ["--document", "examples/office-lease.pdf", "--question", "What?", "--planck", "nobody"],
            2,
            "'nobody'",
        ),
        (["--question", "What?"], 2, "--document"),
    ],
    ids=["unusable file", "unknown block", "usage"],
)
def test_the_command_shows_an_error_without_a_traceback(
    world: World, given: list[str], code: int, words: str
) -> None:
    """One line, an exit code, and no traceback."""
    process = world.start([], *given)
    said, _ = process.communicate(timeout=150)
    assert process.returncode == code, said
    assert words in said
    assert "Traceback" not in said


def test_a_failed_run_exits_with_one(world: World, lease: Path) -> None:
    """What is no fault of the input is exit code 1."""
    process = world.start([lease], "--question", QUESTION, "--workspace", "Nowhere")
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 1, said
    assert "'Nowhere'" in said


def test_a_200_mb_file_takes_little_memory(world: World, tmp_path: Path) -> None:
    """With the limit raised a 200 MB document is digested and sent, and the process stays below 200 MB."""
    big = make_docx(tmp_path / f"big-{tmp_path.name}.docx")
    with (
        zipfile.ZipFile(big, "a", zipfile.ZIP_STORED) as archive,
        archive.open("word/media/film.bin", "w") as part,
    ):
        for _ in range(200):
            part.write(os.urandom(MEGABYTE))
    code, peak, said = world.run_measured([big], "--question", QUESTION, "--max-document-mb", "300")
    assert code == 0, said
    assert "12,345" in said
    assert peak < 200 * MEGABYTE
