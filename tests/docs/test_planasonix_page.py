"""docs/planasonix.md: each weakness has its tests, they exist, and what the page says of presets is so."""

import ast
import re
from pathlib import Path

import pytest

from plait.vendors.planasonix.dialects import PRESETS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "planasonix.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
SHOWN_BY = sorted({name for _, cell in ROWS for name in re.findall(r"`(tests/[^`]+)`", cell)})
OURS = sorted(
    path for folder in ("vendors", "tasks") for path in (ROOT / "tests" / folder).glob("test_planasonix*.py")
)


def test_every_weakness_has_a_test() -> None:
    """Seventeen rows, in order, each with at least one test."""
    assert [int(number) for number, _ in ROWS] == list(range(1, 18))
    assert all("::test_" in cell for _, cell in ROWS)


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_shows_it_exists(name: str) -> None:
    """A test that is named can be found in its file, and says what it claims."""
    path, _, test = name.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {
        node.name: ast.get_docstring(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert found[test]


def test_the_tests_replace_nothing_of_ours() -> None:
    """What is tested is what runs: no mock, and no name of ours put in another's place."""
    assert len(OURS) >= 6
    for path in OURS:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"unittest|\bmock\b|monkeypatch\.setattr|respx|pytest_httpx", source), path


def test_the_presets_are_as_described() -> None:
    """Each preset's prefixes stand in the table."""
    for name, dialect in PRESETS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| `{dialect.resources}` | `{dialect.orchestration}` |" in row


def test_the_example_can_be_compiled_and_its_imports_exist() -> None:
    """The page's code is code."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "docs/planasonix.md", "exec"), names)  # noqa: S102 - our own documentation
    assert callable(names["refresh"])
