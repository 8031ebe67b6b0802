"""`plait reviews`: what waits, reminding, taking a question back."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from placet_world import CHANNEL, World, serving
from typer.testing import CliRunner

from plait.cli import app as plait_app
from plait.ledger import Ledger
from plait.ledger.store import reviews as store
from plait.ledger.tables import Through
from plait.reviews import Inbox, OnExpiry, Question
from plait.reviews_cli import app

NASTY = "\x1b[31mred\x1b[0m \u202eback"


@dataclass
class Desk:
    """A Placet, a ledger's file, and the command."""

    world: World
    ledger: Path

    async def plait(self, *words: str, **more: str) -> Result:
        """Run it while the stand-in serves."""
        environment = {
            "PLAIT_LEDGER_URL": str(self.ledger),
            "PLAIT_PLACET_URL": self.world.base_url,
            "PLAIT_PLACET_API_KEY": "hp_sandbox",
        }
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment | more)

    async def ask(self, name: str, title: str, expires_in: float = 3600.0) -> None:
        """Put a question."""
        async with Ledger.open(self.ledger) as ledger, self.world.client() as client:
            inbox = Inbox(ledger, client)
            view = await inbox.ask(
                Question(
                    kind="approval",
                    title=title,
                    prompt=NASTY,
                    expires_in=expires_in,
                    on_expiry=OnExpiry.REJECT,
                ),
                review_id=name,
                env="dev",
                run_key="run",
                subject={"system": "test"},
                channel_id=CHANNEL,
            )
            await inbox.post(view, 0)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Two questions that wait, one of them with no time left."""
    async with serving(tmp_path) as world:
        made = Desk(world, tmp_path / "ledger.db")
        await made.ask("r1", f"Pay {NASTY}?")
        await made.ask("r2", "Send?", expires_in=0.01)
        yield made


async def test_the_inbox(desk: Desk):
    """What waits, for how long, what happens then; overdue is an exit code; nothing colours the terminal."""
    listed, whole = await desk.plait("list", "--check"), await desk.plait("list", "--json")
    first, second = (line for line in listed.stdout.splitlines() if re.match(r"r\d ", line))
    assert "waits" in first
    assert "59 min" in first
    assert "counts as rejected" in first
    assert "overdue" in second
    assert 1 == listed.exit_code
    assert "\x1b" not in listed.stdout
    assert "\u202e" not in listed.stdout
    assert ["r1", "r2"] == [one["id"] for one in json.loads(whole.stdout)]


async def test_the_check_is_not_of_what_is_listed(desk: Desk):
    """The overdue question is not among the oldest that are shown: it is an exit code all the same."""
    checked = await desk.plait("list", "--check", "--limit", "1")
    assert (1, "1 review overdue") == (checked.exit_code, checked.stderr.strip())
    assert "r2" not in checked.stdout
    assert 0 == (await desk.plait("list", "--check", "--run-key", "another")).exit_code


async def test_show_has_every_answer(desk: Desk):
    """The question, where it was put, the decision, and an answer that came too late to be it."""
    async with Ledger.open(desk.ledger) as ledger:
        for nonce, word in (("a", "approve"), ("b", "reject")):
            said = {"decision": word, "selected": [], "text": None}
            given = store.Answered(
                nonce=nonce, through=Through.PREFECT, by=f"Ada {NASTY}", said=said, why="because"
            )
            await ledger.database.write(
                lambda c, given=given: store.answer(ledger.database, c, "r1", given), commit="record"
            )
    shown = (await desk.plait("show", "r1")).stdout
    assert "decided" in shown
    assert "conflicting" in shown
    assert CHANNEL in shown
    assert "\x1b" not in shown
    missing = await desk.plait("show", "nothing")
    assert (2, True) == (missing.exit_code, "no review 'nothing'" in missing.stderr)


async def test_reminding_tells_a_channel_once(desk: Desk):
    """Two questions in one channel are one message that names both; a single one names itself."""
    done = await desk.plait("remind", "--all")
    assert (0, "1 channel reminded") == (done.exit_code, done.stdout.strip())
    assert 0 == (await desk.plait("remind", "r1")).exit_code
    async with desk.world.client() as client:
        messages = (await client.list_messages(CHANNEL)).data
    told = [message.text or "" for message in messages if message.review is None]
    assert ["1 decision waited for" in told[0], "2 decisions waited for" in told[1]] == [True, True]
    assert "r2" in told[1]
    neither = await desk.plait("remind")
    assert (2, True) == (neither.exit_code, "ID, or --all" in neither.stderr)


async def test_a_question_is_taken_back_by_name(desk: Desk):
    """Withdrawn with who and why, its message retracted; a second time there is nothing to withdraw."""
    words = ("withdraw", "r1", "--by", "Ada", "--note", "paid by hand")
    asked = await desk.plait(*words)
    assert (2, True) == (asked.exit_code, "give --yes" in asked.stderr)
    done = await desk.plait(*words, "--yes")
    assert (0, True) == (done.exit_code, "its messages were retracted" in done.stdout)
    again = await desk.plait(*words, "--yes")
    assert (2, True) == (again.exit_code, "nothing to withdraw" in again.stderr)
    elsewhere = await desk.plait(*words[:1], "r2", *words[2:], "--yes", PLAIT_PLACET_API_KEY="")
    assert "stay until resume_reviews sees them" in elsewhere.stdout
    async with desk.world.client() as client:
        assert ["r2"] == [
            one.metadata["plait"]["review"] for one in await client.list_pending_reviews(CHANNEL)
        ]
    shown = await desk.plait("list", "--which", "withdrawn")
    assert "Ada: paid by hand" in shown.stdout


def test_the_command_is_part_of_plait():
    """`plait reviews --help` names its four commands."""
    done = CliRunner().invoke(plait_app, ["reviews", "--help"])
    assert all(word in done.stdout for word in ("list", "show", "remind", "withdraw"))


async def test_without_a_ledger_nothing_is_made(desk: Desk, tmp_path: Path):
    """A wrong path is named, and no file appears."""
    done = await desk.plait("list", "--ledger", str(tmp_path / "none.db"))
    assert (2, True) == (done.exit_code, "there is no ledger at" in done.stderr)
    assert not (tmp_path / "none.db").exists()
