"""What is guaranteed for each effect, as a page of Markdown made from the operation tables.

`plait guarantees --adversaries docs/adversaries.toml --output docs/guarantees.md` writes the page of
the documentation; a test holds it to the tables.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from plait.content.remark import code_span
from plait.http.operation import Effect, Operation, Source

Class: TypeAlias = Literal["keyed", "findable", "blind"]

GUARANTEES: Final = {
    Effect.KEYED: "once",
    Effect.FINDABLE: "once, under D and L",
    Effect.BLIND: "at most once; a lost answer is `unknown`",
    Effect.IDEMPOTENT: "repeating is harmless",
}
CERTAINTY: Final = {
    Source.DOC: "the vendor's overview page",
    Source.VENDOR: "another document of the vendor, or its published source",
    Source.RAN: "observed on a running server or client",
    Source.INFERRED: "read out of the evidence; not seen to happen",
    Source.ASSUMED: "our convention where nothing is known",
}
_HEAD: Final = """# What is guaranteed, call by call

<!-- Written by `plait guarantees`; edit the operation tables or docs/adversaries.toml instead. -->

[effects.md](effects.md) explains the words. All times are in seconds: **W** is how long a permit to send
lasts, **R** the whole request, **D** how late the effect may still come to be after the last byte or after
we hung up, **L** how long after that a look may miss it. D and L are declared for each call; where a vendor
breaks them, the sweep shows what came of it.
"""


class Cell(BaseModel):
    """What holds for one class of effect against one adversary, and what shows it."""

    model_config = ConfigDict(extra="forbid")

    says: str
    shown_by: list[str] = []
    """Tests as `tests/file.py::name`, or chaos cases as `benchmarks/chaos/file.py::name`."""


class Adversary(BaseModel):
    """One row of the guarantee table."""

    model_config = ConfigDict(extra="forbid")

    name: str
    keyed: Cell
    findable: Cell
    blind: Cell

    def cells(self) -> tuple[Cell, Cell, Cell]:
        """In the order of the columns."""
        return self.keyed, self.findable, self.blind


def read_adversaries(path: Path) -> list[Adversary]:
    """The rows of the guarantee table. Raises `ValueError` for a file that is not such a table."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Adversary.model_validate(row) for row in table["adversary"]]


def render(operations: Sequence[Operation], adversaries: Path | None = None) -> str:
    """The whole page."""
    guarded = [operation for operation in operations if operation.effect.guarded]
    harmless = [operation for operation in operations if operation.effect is Effect.IDEMPOTENT]
    parts = [_HEAD, "## Effects", _effects(guarded)]
    parts += [f"### {code_span(one.key)}\n\n{_detail(one)}" for one in guarded]
    parts += ["## Calls that may be repeated", _repeatable(harmless)]
    if adversaries is not None:
        parts += ["## Against what", _against(read_adversaries(adversaries))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _effects(operations: Iterable[Operation]) -> str:
    header = ["call", "class", "guarantee", "W", "R", "D", "L", "known from"]
    rows = [
        [
            code_span(one.key),
            one.effect.value.upper(),
            GUARANTEES[one.effect],
            f"{one.send_window:g}",
            f"{one.deadline:g}",
            f"{one.landing:g}",
            f"{one.visibility:g}",
            one.source.value,
        ]
        for one in operations
    ]
    return _table(header, rows)


def _detail(operation: Operation) -> str:
    call = code_span(f"{operation.method} {operation.path}")
    known = f"{operation.reference} ({operation.source.value}: {CERTAINTY[operation.source]})"
    lines = [f"- Call: {call}, {known}.", f"- After a lost answer: {operation.recovery}"]
    if operation.ends_with_answer:
        lines.append("- The vendor works inside the request: once it has answered itself, D counts as 0.")
    if operation.key_life == 0:
        lines.append(
            "- Nobody promises how long the vendor remembers our key: nothing is sent again on its word."
        )
    elif operation.key_life is not None:
        lines.append(f"- The vendor forgets our key after {operation.key_life:g} s.")
    if operation.cleanup:
        lines.append(f"- One too many is removed by {code_span(operation.cleanup)}.")
    return "\n".join(lines)


def _repeatable(operations: Iterable[Operation]) -> str:
    rows = [[code_span(one.key), one.recovery, one.source.value] for one in operations]
    return _table(["call", "after a lost answer", "known from"], rows)


def _against(adversaries: Sequence[Adversary]) -> str:
    numbers: dict[str, int] = {}
    rows = [[one.name, *(_cell(cell, numbers) for cell in one.cells())] for one in adversaries]
    shown = [f"{number}. {code_span(name)}" for name, number in numbers.items()]
    head = (
        '"1" is exactly one effect in the end, "≤1" at most one. The small numbers name the tests and chaos '
        "cases below the table."
    )
    return "\n\n".join([head, _table(["adversary", "KEYED", "FINDABLE", "BLIND"], rows), "\n".join(shown)])


def _cell(cell: Cell, numbers: dict[str, int]) -> str:
    marks = [str(numbers.setdefault(name, len(numbers) + 1)) for name in cell.shown_by]
    return f"{cell.says} <sup>{' '.join(marks)}</sup>" if marks else cell.says


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
