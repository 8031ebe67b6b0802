"""docs/effects.md: its example runs, its commands exist, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from toy_vendor import QUICK, Vendor

from plait.http import Transport
from plait.ledger import Ledger

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "effects.md").read_text(encoding="utf-8")


def example() -> dict[str, Any]:
    """The names that the recipe's code defines."""
    source = re.findall(r"<!-- example: recipe -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source[0], "docs/effects.md", "exec"), names)  # noqa: S102 - our own documentation
    return names


async def test_the_recipe_of_the_page_works(tmp_path: Path) -> None:
    """A lost answer, then a lost request: the recipe finds the one and sends the other again, once each."""
    made = example()["MakeThing"]
    async with (
        Vendor() as vendor,
        Transport(system="toy", base_url=vendor.url) as client,
        Ledger.open(tmp_path / "ledger.db", timing=QUICK) as ledger,
    ):
        vendor.script.append("drop_after")
        await ledger.effects(run_key="r").perform(made(client, "first"))
        vendor.script.append("drop_before")
        await ledger.effects(run_key="r").perform(made(client, "second"))
        assert ["first", "second"] == [thing.name.split()[0] for thing in vendor.things]
        assert 3 == vendor.posts


def test_the_commands_of_the_page_exist() -> None:
    """Each `plait effects` command of the page is one that the command knows."""
    named = set(re.findall(r"^\$ plait effects (\w+)", PAGE, re.MULTILINE))
    done = subprocess.run(
        [sys.executable, "-m", "plait.cli", "effects", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert named == {"list", "show", "reconcile", "resolve", "retain"}
    assert all(command in done.stdout for command in named)


def test_the_links_of_the_page_lead_somewhere() -> None:
    """Relative links point at files."""
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
