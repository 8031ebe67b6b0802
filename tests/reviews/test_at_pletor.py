"""Pletor's reviews as questions, and decisions brought back, against the stand-in: no Placet, no Prefect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moment import Moment
from pletor_world import TITLE, World, asking, ended, serving
from sqlalchemy import update

from plait.clock import BootClock
from plait.ledger import Ledger, Timing
from plait.ledger.database import Database
from plait.ledger.review_views import ReviewView, show_review
from plait.ledger.store import reviews as store
from plait.ledger.store.reviews import REVIEW
from plait.ledger.tables import AnswerStanding, Through
from plait.reviews import OnExpiry, Question, ReviewOptions, ShownFile
from plait.reviews.at_pletor import (
    MISSING,
    Brought,
    PletorSubject,
    Terms,
    bring,
    content_of,
    look,
    question_of,
    shown_files,
)
from plait.sandbox.pletor_store import REVIEWED_POSTER, SLOGANS
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import PendingReview, Run, select

TERMS = Terms(title="Sale", context="", options=ReviewOptions(), expires_in=3600.0, on_expiry=OnExpiry.FAIL)


@dataclass
class Asked:
    """A run at Pletor that waits, and a question about it in the ledger, as if it had been posted."""

    world: World
    client: PletorClient
    ledger: Ledger
    moment: Moment
    run: Run
    question: Question

    async def show(self) -> ReviewView:
        """How it stands."""
        return await self.ledger.ask(lambda connection, now: show_review(connection, now, "r1"))

    async def decide(self, said: dict[str, Any], through: Through = Through.PLACET) -> None:
        """Record a decision."""
        given = store.Answered(nonce="n", through=through, by="Ada", said=said)
        standing = await self.ledger.database.write(
            lambda connection: store.answer(self.ledger.database, connection, "r1", given), commit="record"
        )
        assert standing is AnswerStanding.DECIDED

    async def bring(self) -> Brought:
        """Act on it."""
        view = await self.show()
        subject = PletorSubject.model_validate(view.subject)
        effects = self.ledger.effects(run_key="run", env="dev")
        return await bring(self.ledger, effects, self.client, view, subject)

    async def look(self, run: Run) -> list[str]:
        """Look at Pletor, which said this."""
        return await look(self.ledger, run, [await self.show()])

    async def stale(self) -> Run:
        """A look as from a replica that lags."""
        return await self._until(lambda run: not run.pending_reviews)

    async def fresh(self) -> Run:
        """A look that lists the review."""
        return await self._until(lambda run: bool(run.pending_reviews))

    async def _until(self, holds: Any) -> Run:
        while not holds(run := await self.client.get_run(self.run.id)):
            pass
        return run


@asynccontextmanager
async def asked(folder: Path, agent: str = REVIEWED_POSTER.id, **switches: Any) -> AsyncIterator[Asked]:
    """A run that waits, and its question."""
    moment = Moment()
    timing = Timing(landing_cap=0.05, visibility_cap=0.05, patience=5.0)
    database = Database(folder / "ledger.db", now=moment)
    async with (
        serving(folder, **switches) as world,
        world.client() as client,
        Ledger(database, timing=timing, clock=BootClock()) as ledger,
    ):
        created = await client.create_run(agent, [TITLE], external_id="k")
        run = await asking(client, created.id)
        (pending,) = run.due_reviews
        content = await content_of(client, pending)
        question = question_of(pending, content, await shown_files(client, pending, folder), TERMS)
        subject = PletorSubject(account=client.account, run_id=run.id, review_id=pending.id)
        recorded = store.Question(
            id="r1",
            env="dev",
            run_key="run",
            subject=subject.model_dump(),
            title="Sale",
            question=question.model_dump(mode="json"),
            digest=question.digest,
            expires_in=3600.0,
            on_expiry="fail",
            escalate_to=None,
        )
        place = store.Place(account="http://placet", channel_id="c", lifetime=3600)
        await database.write(lambda connection: store.ask(database, connection, recorded, place), commit="x")
        yield Asked(world, client, ledger, moment, run, question)


async def test_one_look_that_misses_a_review_settles_nothing(tmp_path: Path):
    """A replica that lags does not list it: only two looks in a row, some time apart, are believed."""
    async with asked(tmp_path, stale_reads=True) as here:
        for _ in range(2):
            assert [] == await here.look(await here.stale())
            assert [] == await here.look(await here.stale())
            assert (await here.show()).missing_since is not None
            here.moment.ahead += MISSING
            assert [] == await here.look(await here.fresh())
            assert (await here.show()).missing_since is None
        assert [] == await here.look(await here.stale())
        here.moment.ahead += MISSING
        assert ["r1"] == await here.look(await here.stale())
        assert "settled" == (await here.show()).decision["decision"]


async def test_settled_is_not_believed_while_pletor_asks(tmp_path: Path):
    """A false `settled` was recorded: before it counts, the run is read again, and the question is void."""
    async with asked(tmp_path, stale_reads=True) as here:
        await here.decide({"decision": "settled"}, Through.VENDOR)
        await here.fresh()  # the next look is a stale one
        brought = await here.bring()
        assert brought.changed
        assert 0 == await here.world.count("resolve_review")


async def test_a_stale_read_hides_no_change(tmp_path: Path):
    """The run is read again before a decision is brought, so that it is compared with what is asked now."""
    async with asked(tmp_path, stale_reads=True) as here:
        await here.decide({"decision": "approve"})
        other = here.question.model_copy(update={"content": "something else"})
        values = {"question": other.model_dump(mode="json")}
        await here.ledger.database.write(lambda c: c.execute(update(REVIEW).values(values)), commit="x")
        await here.fresh()
        assert (await here.bring()).changed
        assert 0 == await here.world.count("resolve_review")


def test_whatever_is_offered_can_be_selected():
    """Of a picture, a text and something that has only an id: a choice each, told as the contract has it."""
    options = [{"asset_id": "a1"}, {"text": "Words"}, {"id": "o3"}, {"asset_id": "a1"}, {}]
    terms = replace(TERMS, options=ReviewOptions(several=True))
    pending = PendingReview.model_validate({"id": "r", "type": "selection", "options": options})
    listed = [{"id": one.id, "asset_id": one.asset_id, "text": one.text} for one in pending.options]
    file = ShownFile(name="option-1.png", sha256="a" * 64, size=1, media_type="image/png", source={})
    question = question_of(pending, {"review": {"options": listed}}, [file], terms)
    assert ["a1", "text-2", "o3"] == [one.id for one in question.choices]
    assert ["Picture 1", "Text 1", "Option 3"] == [one.label for one in question.choices]
    assert ("Text 1: Words", False) == (question.text, question.options.several)


async def test_a_text_that_was_selected_is_told_as_a_text(tmp_path: Path):
    """The chosen text reaches Pletor; not as the id of an asset."""
    async with asked(tmp_path, SLOGANS.id) as here:
        chosen = here.run.due_reviews[0].options[1].text
        await here.decide({"decision": "approve", "selected": ["text-2"]})
        assert "Pletor has the decision" == (await here.bring()).outcome
        assert [chosen] == (await ended(here.client, here.run.id)).texts


async def test_a_text_selected_at_pletor_is_the_same_decision(tmp_path: Path):
    """Recorded with the id of the choice, as a person in Placet would have made it."""
    async with asked(tmp_path, SLOGANS.id) as here:
        (pending,) = here.run.due_reviews
        await here.client.resolve_review(here.run.id, pending.id, select(text=pending.options[1].text))
        assert ["r1"] == await here.look(await ended(here.client, here.run.id))
        assert ["text-2"] == (await here.show()).decision["selected"]
