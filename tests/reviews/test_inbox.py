"""Questions in Placet: put once, answered early, late, twice, wrongly, elsewhere, or not at all.

The ledger's clock is the test's, so that a day passes at once; Placet is the stand-in over loopback.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moment import Moment
from placet_world import CHANNEL, ESCALATION, PNG, World, serving
from sqlalchemy import update

from plait.clock import BootClock
from plait.http import sha256_of
from plait.http.errors import InvalidInput
from plait.ledger import Ledger, Timing
from plait.ledger.database import Database
from plait.ledger.review_views import ReviewView
from plait.ledger.store import reviews as store
from plait.ledger.tables import AnswerStanding, ReviewState, Through
from plait.reviews import Choice, Inbox, OnExpiry, Pass, Question, ReviewOptions, ShownFile
from plait.reviews.inbox import ASKED_AT_MOST
from plait.vendors.placet.client import PlacetClient

DAY = 86_400.0
YES, NO = {"selectedOption": "approve"}, {"selectedOption": "reject"}


@dataclass
class Desk:
    """A Placet, a ledger, and an inbox between them."""

    world: World
    client: PlacetClient
    ledger: Ledger
    moment: Moment
    picture: Path
    fetched: list[str] = field(default_factory=list)

    @property
    def inbox(self) -> Inbox:
        """As any process would open it."""
        return Inbox(self.ledger, self.client, self.fetch)

    async def fetch(self, file: ShownFile, path: Path) -> None:
        """The picture, from where it was made."""
        self.fetched.append(file.name)
        await asyncio.to_thread(path.write_bytes, await asyncio.to_thread(self.picture.read_bytes))

    async def ask(self, name: str = "r1", escalate_to: str | None = None, **more: Any) -> ReviewView:
        """Put a question with a picture."""
        file = ShownFile(
            name="option-1.png",
            sha256=await sha256_of(self.picture),
            size=len(PNG),
            media_type="image/png",
            source={"id": 1},
        )
        given = {"kind": "approval", "title": f"Question {name}", "prompt": "Take it?", "files": (file,)}
        question = Question(**given | {"expires_in": DAY} | more)
        view = await self.inbox.ask(
            question,
            review_id=f"dev-review-{name}",
            env="dev",
            run_key="run",
            subject={"system": "test", "name": name},
            channel_id=CHANNEL,
            escalate_to=escalate_to,
        )
        await self.inbox.post(view, 0)
        return await self.show(name)

    async def show(self, name: str = "r1") -> ReviewView:
        """How it stands."""
        return await self.inbox.show(f"dev-review-{name}")

    async def answer(self, response: dict[str, Any], name: str = "r1", n: int = 0, **beside: Any) -> int:
        """A person answers one of its messages."""
        message_id = (await self.show(name)).messages[n].message_id
        body = {"response": response, **beside}
        answered = await self.world.people.post(f"/messages/{message_id}/respond", json=body)
        return answered.status_code

    async def tomorrow(self) -> Pass:
        """More than a day later, somebody looks."""
        self.moment.ahead += DAY + 1
        return await self.inbox.work()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Everything fresh."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(PNG)
    moment = Moment()
    timing = Timing(landing_cap=0.05, visibility_cap=0.05, patience=5.0)
    database = Database(tmp_path / "ledger.db", now=moment)
    async with (
        serving(tmp_path) as world,
        world.client() as client,
        Ledger(database, timing=timing, clock=BootClock()) as ledger,
    ):
        yield Desk(world, client, ledger, moment, picture)


def standings(view: ReviewView) -> list[tuple[str, str]]:
    """Where each answer came from and what it came to."""
    return [(one.through, one.standing) for one in view.answers]


async def test_a_question_is_put_once_with_its_picture(desk: Desk):
    """Asked and posted three times: one file, one message, which shows the picture's own bytes."""
    for _ in range(3):
        view = await desk.ask()
    assert 1 == await desk.world.count("post_message") == await desk.world.count("store_file")
    message = await desk.client.get_review(CHANNEL, view.messages[0].message_id or "")
    assert "Question r1" in (message.text or "")
    (attached,) = message.attachments
    got = await desk.client.download_file(attached.id, desk.picture.with_name("got.png"))
    assert got.sha256 == view.question["files"][0]["sha256"]
    assert (ReviewState.WAITING, True) == (view.state, DAY - 5 < (view.left or 0) <= DAY)


async def test_a_picture_that_changed_is_not_shown(desk: Desk):
    """What would be attached is compared with what the question says it shows."""
    view = await desk.ask("first")
    desk.picture.write_bytes(PNG + b"x")
    other = await desk.inbox.ask(
        Question.model_validate(view.question | {"title": "again"}),
        review_id="dev-review-second",
        env="dev",
        run_key="run",
        subject=None,
        channel_id=CHANNEL,
    )
    with pytest.raises(InvalidInput, match="not what was to be shown"):
        await desk.inbox.post(other, 0)
    assert 1 == await desk.world.count("post_message")


async def test_an_answer_before_anybody_looks_counts(desk: Desk):
    """Answered at once, seen later: who, why, when, through which channel, on what content."""
    view = await desk.ask()
    assert 201 == await desk.answer({**YES, "comment": "lovely"})
    assert ["dev-review-r1"] == (await desk.inbox.work()).decided
    seen = await desk.show()
    assert (ReviewState.DECIDED, "approve", "lovely") == (
        seen.state,
        seen.decision["decision"],
        seen.decided_why,
    )
    assert (Through.PLACET, "a person in Placet") == (seen.decided_through, seen.decided_by)
    assert view.digest == seen.answers[0].digest
    assert "answered" == seen.messages[0].closed_by
    assert [] == (await desk.inbox.work()).decided


async def test_a_second_answer_is_refused_by_placet(desk: Desk):
    """Two people press at once: Placet takes one, and that one is the decision, once."""
    await desk.ask()
    statuses = await asyncio.gather(desk.answer(YES), desk.answer(NO))
    assert [201, 403] == sorted(statuses)
    await asyncio.gather(*(desk.inbox.work() for _ in range(3)))
    seen = await desk.show()
    assert ("approve" if statuses[0] == 201 else "reject") == seen.decision["decision"]
    assert [("placet", "decided")] == standings(seen)


async def test_a_dismissed_form_decides_nothing(desk: Desk):
    """The dismissal is kept, and the question is put again, saying so, with its picture; but not for ever."""
    choices = (Choice(id="a1", label="Picture 1"),)
    await desk.ask(kind="selection", choices=choices, options=ReviewOptions(dismiss_label="Not now"))
    for n in range(ASKED_AT_MOST):
        assert 201 == await desk.answer({"_dismissed": True}, n=n)
        found = await desk.inbox.work()
        assert int(n + 1 < ASKED_AT_MOST) == found.put_again
    seen = await desk.show()
    assert [("placet", "unusable")] * ASKED_AT_MOST == standings(seen)
    assert (ASKED_AT_MOST, ReviewState.WAITING) == (len(seen.messages), seen.state)
    assert "not put again: it was dismissed" == seen.note
    assert ASKED_AT_MOST == await desk.world.count("post_message")
    again = await desk.client.get_review(CHANNEL, seen.messages[1].message_id or "")
    assert "Put again, because it was dismissed" in (again.text or "")
    assert 1 == len(again.attachments)
    await desk.tomorrow()
    assert "fail" == (await desk.show()).decision["decision"]


async def test_a_deleted_message_is_put_again(desk: Desk):
    """Somebody deletes it: kept as evidence, put again, and the answer to the second message counts."""
    view = await desk.ask()
    await desk.client.delete_message(CHANNEL, view.messages[0].message_id or "")
    await asyncio.sleep(0.1)  # what the stand-in may not show yet is not gone
    assert 1 == (await desk.inbox.work()).put_again
    assert ["option-1.png"] * 2 == desk.fetched
    assert 201 == await desk.answer(NO, n=1)
    await desk.inbox.work()
    seen = await desk.show()
    assert [("placet", "unusable"), ("placet", "decided")] == standings(seen)
    assert ["deleted", "answered"] == [one.closed_by for one in seen.messages]


async def test_an_answer_to_changed_content_does_not_count(desk: Desk):
    """The message's words were changed after it was posted: the approval is of something else."""
    view = await desk.ask()
    message = await desk.client.get_review(CHANNEL, view.messages[0].message_id or "")
    await desk.client.update_stream(CHANNEL, message.stream_id or "", "Approve a free lunch?")
    assert 201 == await desk.answer(YES)
    found = await desk.inbox.work()
    assert (0, 1, 1) == (len(found.decided), found.kept, found.put_again)
    assert "changed after it was posted" in ((await desk.show()).answers[0].why or "")
    await desk.answer(NO, n=1)
    await desk.inbox.work()
    assert "reject" == (await desk.show()).decision["decision"]


EXPIRY = [
    (OnExpiry.FAIL, {}, "fail"),
    (OnExpiry.REJECT, {}, "reject"),
    (OnExpiry.APPROVE, {}, "approve"),
    (OnExpiry.APPROVE, {"kind": "selection", "choices": (Choice(id="a", label="A"),)}, "fail"),
]


@pytest.mark.parametrize(("rule", "more", "word"), EXPIRY, ids=lambda value: str(value)[:12])
async def test_expiry_decides_by_its_rule(desk: Desk, rule: OnExpiry, more: dict[str, Any], word: str):
    """Recorded like a person's answer; a late answer is kept, changes nothing, and its message is closed."""
    await desk.ask(on_expiry=rule, **more)
    assert [] == (await desk.inbox.work()).decided
    assert ["dev-review-r1"] == (await desk.tomorrow()).decided
    seen = await desk.show()
    assert (word, Through.EXPIRY) == (seen.decision["decision"], seen.decided_through)
    assert 201 == await desk.answer({"selectedIds": ["a"]} if more else NO)
    await desk.inbox.work()
    seen = await desk.show()
    assert word == seen.decision["decision"]
    assert [("expiry", "decided"), ("placet", "late")] == standings(seen)


async def test_a_question_nobody_needs_is_retracted(desk: Desk):
    """Decided in Prefect: the message that still asks goes; an answer that came in between is kept first."""
    for name in ("r1", "r2"):
        await desk.ask(name)
        given = store.Answered(nonce="p", through=Through.PREFECT, by="Ada", said={"decision": "approve"})
        assert AnswerStanding.DECIDED is await desk.inbox.answer(f"dev-review-{name}", given)
    await desk.answer(NO, "r2")
    for name in ("r1", "r2"):
        await desk.inbox.close(f"dev-review-{name}")
    assert ["retracted"] == [one.closed_by for one in (await desk.show("r1")).messages]
    kept = await desk.show("r2")
    assert ["answered"] == [one.closed_by for one in kept.messages]
    assert [("prefect", "decided"), ("placet", "conflicting")] == standings(kept)
    assert [] == await desk.client.list_pending_reviews(CHANNEL)
    assert 1 == await desk.world.count("delete_message")
    assert 1 == await desk.world.count("ack_message")


async def test_the_time_begins_when_placet_has_the_message(desk: Desk):
    """Posted, and the process died before it wrote that down: an hour later an hour is gone."""
    view = await desk.ask()
    db = desk.ledger.database
    for table, values in (
        (store.MESSAGE, {"message_id": None, "posted_at": None}),
        (store.REVIEW, {"state": ReviewState.ASKED, "expires_at": None, "created_at": view.created_at - 60}),
    ):
        await db.write(lambda c, t=table, v=values: c.execute(update(t).values(v)), commit="x")
    desk.moment.ahead += 3600
    assert DAY - 3605 < ((await desk.ask()).left or 0) <= DAY - 3600 + 5
    assert 1 == await desk.world.count("post_message")


async def test_a_message_that_placet_closed_too_early_is_put_again(desk: Desk):
    """Nobody could answer for the rest of the time: once more, for what is left of it, in the same time."""
    question = Question(kind="approval", title="?", prompt="?", expires_in=DAY)
    more = {"env": "dev", "run_key": "run", "subject": None, "channel_id": CHANNEL}
    await desk.inbox.ask(question, review_id="dev-review-r1", **more)
    await desk.ledger.database.write(
        lambda c: c.execute(update(store.MESSAGE).values(lifetime=1)), commit="x"
    )
    await desk.inbox.post(await desk.show(), 0)
    await asyncio.sleep(1.2)
    await desk.client.wait_for_review(CHANNEL, (await desk.show()).messages[0].message_id or "", 1.0)
    assert 1 == (await desk.inbox.work()).put_again
    seen = await desk.show()
    assert ["expired", None] == [one.closed_by for one in seen.messages]
    assert DAY - 10 < seen.messages[1].lifetime <= DAY
    assert 201 == await desk.answer(YES, n=1)
    await desk.inbox.work()
    assert "approve" == (await desk.show()).decision["decision"]


async def test_an_acknowledgement_that_failed_is_made_later(desk: Desk):
    """Placet refuses while the question is closed: the next pass over everything does it, once."""
    await desk.ask()
    await desk.answer(YES)
    await desk.inbox.work()
    await desk.world.fault("status", "ack_message", status=503, times=None)
    await desk.inbox.close("dev-review-r1")
    await desk.ledger.database.write(
        lambda c: store.use(desk.ledger.database, c, "dev-review-r1", outcome="done"), commit="record"
    )
    assert 1 == len((await desk.inbox.work()).troubles)
    await desk.world.disarm()
    for _ in range(2):
        assert [] == (await desk.inbox.work()).troubles
        assert 1 == await desk.world.count("ack_message")
    assert "ack_message" not in (await desk.inbox.work()).calls


async def test_escalation_asks_others_too(desk: Desk):
    """After the first time the second channel is asked, with its own time; the first may still answer."""
    await desk.ask(on_expiry=OnExpiry.ESCALATE, escalate_to=ESCALATION)
    assert 1 == (await desk.tomorrow()).put_again
    seen = await desk.show()
    assert [CHANNEL, ESCALATION] == [one.channel_id for one in seen.messages]
    assert (ReviewState.WAITING, 1, True) == (seen.state, seen.level, (seen.left or 0) > DAY - 5)
    assert 2 == await desk.world.count("post_message")
    statuses = await asyncio.gather(desk.answer(NO, n=0), desk.answer(YES, n=1))
    assert [201, 201] == statuses
    await desk.inbox.work()
    seen = await desk.show()
    assert sorted(one.standing for one in seen.answers) == ["conflicting", "decided"]
    assert sum(one.said == seen.decision for one in seen.answers) == 1


async def test_escalation_that_nobody_answers_fails(desk: Desk):
    """Two days of silence: fail, as the message said."""
    await desk.ask(on_expiry=OnExpiry.ESCALATE, escalate_to=ESCALATION)
    await desk.tomorrow()
    assert ["dev-review-r1"] == (await desk.tomorrow()).decided
    assert ("fail", Through.EXPIRY) == (
        (seen := await desk.show()).decision["decision"],
        seen.decided_through,
    )


@pytest.mark.parametrize("trouble", ["no credentials", "no such channel", "another picture"])
async def test_an_escalation_that_cannot_be_posted_has_an_end(desk: Desk, trouble: str):
    """The second channel is never reached: the question says why, becomes overdue, and fails in its time."""
    there = "cmsandboxnowhere000000000" if trouble == "no such channel" else ESCALATION
    await desk.ask(on_expiry=OnExpiry.ESCALATE, escalate_to=there)
    inbox = Inbox(desk.ledger, desk.client) if trouble == "no credentials" else desk.inbox
    if trouble == "another picture":
        desk.picture.write_bytes(PNG + b"x")
    desk.moment.ahead += DAY + 1
    found = await inbox.work()
    seen = await desk.show()
    assert (1, 1) == (seen.level, len(found.troubles))
    assert f"cannot be put in {there} as yet: " in (seen.note or "")
    assert 0 < (seen.left or 0) <= DAY
    desk.moment.ahead += DAY + 1
    assert 0 > ((await desk.show()).left or 0)
    assert ["dev-review-r1"] == (await inbox.work()).decided
    assert "fail" == (await desk.show()).decision["decision"]


async def test_placet_down_loses_nothing(desk: Desk):
    """Ten minutes of 503 around the deadline: no look, no expiry; the answer given meanwhile counts."""
    await desk.ask(on_expiry=OnExpiry.REJECT)
    await desk.world.fault("status", "list_pending_reviews", status=503, times=None)
    desk.moment.ahead += DAY - 300
    for _ in range(3):
        found = await desk.inbox.work()
        assert (0, 1) == (len(found.decided), len(found.troubles))
        desk.moment.ahead += 300
    assert "Placet could not be asked" in ((await desk.show()).note or "")
    assert 201 == await desk.answer(YES)
    await desk.world.disarm()
    assert ["dev-review-r1"] == (await desk.inbox.work()).decided
    assert ("approve", Through.PLACET) == (
        (seen := await desk.show()).decision["decision"],
        seen.decided_through,
    )


async def test_many_answers_cost_few_calls(desk: Desk):
    """At rest one list call a channel; sixty answers at once are read by the page, not one by one."""
    for n in range(60):
        await desk.ask(f"r{n}", files=())
    rest = await desk.inbox.work()
    assert {"list_pending_reviews": 1} == rest.calls
    assert 60 == rest.waiting
    for n in range(60):
        await desk.answer({**YES, "comment": f"answer {n}"}, f"r{n}")
    found = await desk.inbox.work()
    assert {"list_pending_reviews": 1, "list_messages": 1} == found.calls
    assert 60 == len(found.decided)
    assert all([(await desk.show(f"r{n}")).decided_why == f"answer {n}" for n in range(60)])
