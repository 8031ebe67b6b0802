"""docs/reviews.md: its commands exist, its links lead somewhere, and its words are those of the code."""

import re
from pathlib import Path

from plait.ledger.tables import AnswerStanding
from plait.reviews import OnExpiry
from plait.reviews.inbox import ASKED_AT_MOST
from plait.reviews_cli import app

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reviews.md").read_text(encoding="utf-8")
NUMBERS = {4: "four"}


def test_the_commands_of_the_page_exist() -> None:
    """Each `plait reviews` command is named, and each named one exists."""
    named = set(re.findall(r"^\$ plait reviews (\w+)", PAGE, re.MULTILINE))
    assert named == {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}


def test_every_kind_of_answer_and_rule_is_described() -> None:
    """A standing or rule that is added needs its sentence; the limit of repeated questions is the code's."""
    for word in (*AnswerStanding, *OnExpiry):
        assert f"`{word}`" in PAGE or word is AnswerStanding.DECIDED, word
    assert f"{NUMBERS[ASKED_AT_MOST]} messages in all" in PAGE


def test_the_links_of_the_page_lead_somewhere() -> None:
    """Relative links point at files."""
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
