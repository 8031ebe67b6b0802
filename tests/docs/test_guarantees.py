"""The generated page is up to date, and every test that it names exists."""

import re
from pathlib import Path
from typing import get_args

import pytest

from benchmarks.chaos import cases
from plait.cli import all_operations
from plait.failpoints import POINTS
from plait.guarantees import CERTAINTY, GUARANTEES, Adversary, read_adversaries, render
from plait.http.operation import Effect, Operation, Source

ROOT = Path(__file__).parent.parent.parent
ADVERSARIES = ROOT / "docs" / "adversaries.toml"
SHOWN_BY = sorted(
    {name for row in read_adversaries(ADVERSARIES) for cell in row.cells() for name in cell.shown_by}
)


def test_the_page_is_up_to_date() -> None:
    """docs/guarantees.md is what `plait guarantees` writes from the tables of today."""
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert page == render(all_operations(), ADVERSARIES), (
        "run: plait guarantees --adversaries docs/adversaries.toml --output docs/guarantees.md"
    )


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_shows_a_guarantee_exists(name: str) -> None:
    """A test that is named can be found in its file; a chaos case is one that the harness plays."""
    if name.startswith("chaos:"):
        word = name.removeprefix("chaos:")
        played = (ROOT / "benchmarks" / "chaos" / "cases.py").read_text(encoding="utf-8")
        words = {*POINTS, *get_args(cases.Action), *get_args(cases.Rival)}
        assert word in words or f'"{word}": ' in played
        return
    path, _, test = name.partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {re.escape(test)}\(|^{re.escape(test)} = ", source, re.MULTILINE)


@pytest.mark.parametrize("row", read_adversaries(ADVERSARIES), ids=lambda row: row.name)
def test_every_cell_is_shown(row: Adversary) -> None:
    """Against each adversary each class has a test or a chaos case, or the row does not concern it."""
    assert [] == [cell.says for cell in row.cells() if cell.says != "-" and not cell.shown_by]


def test_every_guarded_operation_stands_on_the_page() -> None:
    """With its class, its four times and its sentence."""
    page = render(all_operations())
    for operation in all_operations():
        if operation.effect.guarded:
            times = (operation.send_window, operation.deadline, operation.landing, operation.visibility)
            row = f"| `{operation.key}` | {operation.effect.upper()} | {GUARANTEES[operation.effect]} | "
            assert row + " | ".join(f"{time:g}" for time in times) in page
            assert operation.recovery in page


def test_every_class_and_source_has_words() -> None:
    """A new member of either enum needs a sentence for people."""
    assert {effect for effect in Effect if effect is not Effect.READ} == set(GUARANTEES)
    assert set(Source) == set(CERTAINTY)


def test_the_page_without_adversaries_has_no_table_of_them() -> None:
    """An installed Plait prints the operations; the tests are the repository's."""
    made = Operation(
        system="toy",
        name="make",
        method="POST",
        path="/things",
        effect=Effect.KEYED,
        source=Source.DOC,
        reference="toy.md §1",
        key_life=60.0,
        ends_with_answer=True,
        recovery="Repeated under its key.",
    )
    page = render([made])
    assert "## Against what" not in page
    assert "forgets our key after 60 s" in page
    assert "D counts as 0" in page
