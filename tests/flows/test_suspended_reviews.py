"""Runs that wait without a process: suspended by Prefect, decided anywhere, resumed by one program."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Cancelled
from review_victims import killed_while_suspending
from review_world import PICK, TEXT, World, serving

from flows._cancelling import cancel_what_was_started
from flows._suspending import BY_PROGRAM, FORMS, _read
from flows.resume_reviews import ResumeReviews, resume_reviews
from flows.run_with_review import run_with_review
from plait.ledger import Ledger
from plait.ledger.store import reviews as store
from plait.ledger.tables import Through
from plait.reviews import Question, Undecided

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.usefixtures("prefect_server")


@dataclass
class Run:
    """One run of a deployment; `go` is what a worker's process does."""

    world: World
    id: UUID
    given: dict[str, Any] = field(default_factory=dict)
    """What it is called with, beside what every test's run is."""

    async def go(self) -> State:
        """Execute it until it ends or suspends; gives the state Prefect has then."""
        async with get_client() as client:
            flow_run = await client.read_flow_run(self.id)
            given = self.world.arguments(wait="suspend", **self.given)
            with suppress(Pause):
                await run_flow(run_with_review, flow_run=flow_run, parameters=given)
            state = (await client.read_flow_run(self.id)).state
        assert state is not None
        return state

    async def resume(self, **form: Any) -> str:
        """Press Resume in Prefect with this form; gives what the answer's body says."""
        async with get_client() as client:
            return (await client.resume_flow_run(self.id, form)).status.value

    async def look(self) -> ResumeReviews:
        """One look of `resume_reviews`."""
        world = self.world
        return await resume_reviews(placet=world.placet, pletor=world.pletor, ledger=world.ledger)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A sandbox of the test's own."""
    async with serving(tmp_path) as running:
        yield running


async def deployed(world: World, **given: Any) -> Run:
    """A run of a deployment that nobody executes by himself."""
    deployment = await RunnerDeployment.from_flow(run_with_review, name=f"test-{world.folder.name}").aapply()
    async with get_client() as client:
        parameters = {"channel": "Reviews"} | given
        made = await client.create_flow_run_from_deployment(deployment, parameters=parameters)
    return Run(world, made.id)


@pytest.fixture
async def run(world: World) -> Run:
    """The one that most tests need."""
    return await deployed(world)


async def test_answered_in_placet_and_resumed(world: World, run: Run):
    """Suspended, answered, resumed, gone on from the ledger; a person's words are never a template."""
    assert "Suspended" == (await run.go()).name
    assert (0, 0, 1) == ((found := await run.look()).decided, found.resumed, found.waiting)
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve", "comment": "{{ 6 * 7 }}"})
    assert (1, 1, 0) == ((found := await run.look()).decided, found.resumed, found.waiting)
    assert "ABORT" == await run.resume(**BY_PROGRAM)
    state = await run.go()
    assert ("Completed", "1 file, 0 texts; 1 review decided") == (state.name, state.message)
    (review,) = await world.reviews()
    assert ("used", "{{ 6 * 7 }}") == (review.state, review.decided_why)
    (run_at_pletor,) = (await world.at_pletor("GET", "/runs"))["data"]
    assert "{{ 6 * 7 }}" == run_at_pletor["reviews"][0]["feedback"]
    async with get_client() as client:
        given = await client.filter_flow_run_input(run.id, "suspended-", 10, set())
    responses = [one.decoded_value for one in given if one.key.endswith("-response")]
    assert [dict(BY_PROGRAM)] == responses
    counts = await world.counts()
    assert 1 == counts["pletor.create_run"] == counts["pletor.resolve_review"] == counts["placet.store_file"]
    assert 2 == counts["placet.post_message"]


async def test_decided_in_prefect(world: World, run: Run):
    """An empty form is refused (with 200); a full one is the decision, and what Placet has is kept."""
    assert "Suspended" == (await run.go()).name
    for form in ({}, {"decided_by": "Ada"}, {"decision": "yes", "decided_by": "Ada"}):
        assert "REJECT" == await run.resume(**form)
    assert "ACCEPT" == await run.resume(decision="approve", decided_by="Ada", why="lovely")
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "reject"})
    assert "Completed" == (await run.go()).name
    (review,) = await world.reviews()
    assert ("Ada", "lovely", Through.PREFECT) == (
        review.decided_by,
        review.decided_why,
        review.decided_through,
    )
    assert [("prefect", "decided"), ("placet", "conflicting")] == [
        (one.through, one.standing) for one in review.answers
    ]
    assert 1 == len(await world.resolutions())


async def test_a_form_that_decides_nothing_suspends_again(world: World, run: Run):
    """A selection without a number, and `recorded` while nothing is: the run waits on, nothing is lost."""
    world_arguments = world.arguments
    world.arguments = lambda **changes: world_arguments(agent=PICK, **changes)  # type: ignore[method-assign]
    assert "Suspended" == (await run.go()).name
    for form in (
        {"decision": "approve", "decided_by": "Ada"},
        {"decision": "recorded", "decided_by": "Ada"},
    ):
        assert "ACCEPT" == await run.resume(**form)
        assert "Suspended" == (await run.go()).name
    async with get_client() as client:
        given = await client.filter_flow_run_input(run.id, "suspended-", FORMS, set())
    shown = [str(one.decoded_value) for one in given if one.key.endswith("-description")]
    assert [False, True, True] == ["because nothing was chosen" in text for text in shown]
    assert "ACCEPT" == await run.resume(decision="approve", decided_by="Bob", choices="2")
    assert "Completed" == (await run.go()).name
    (review,) = await world.reviews()
    assert ["unusable", "decided"] == [one.standing for one in review.answers]
    assert review.question["choices"][1]["id"] == review.decision["selected"][0]


async def test_a_resumption_that_comes_too_early_is_repeated(world: World, run: Run):
    """Decided while the run has not suspended yet: Prefect refuses with 200, and the next look resumes it."""
    await run_with_review(**world.arguments(wait="suspend"))
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    (review,) = await world.reviews()
    async with Ledger.open(world.folder / "ledger.db") as ledger:
        await ledger.database.write(
            lambda connection: store.suspend(ledger.database, connection, [review.id], str(run.id)),
            commit="record",
        )
    assert (1, 0, 1) == ((found := await run.look()).decided, found.resumed, found.refused)
    (review,) = await world.reviews()
    assert "Cannot resume a flow run that is not paused." == review.note
    assert review.resume_at is not None
    assert "Completed" == (await run.go()).name
    assert (await world.reviews())[0].resume_at is None


@pytest.mark.parametrize("noticed_by", ["resume_reviews", "its own process"])
async def test_a_cancelled_run_asks_nobody_any_more(world: World, run: Run, noticed_by: str):
    """The question is withdrawn, its message retracted, and Pletor's run canceled."""
    flow_run = await _suspend_and_cancel(run)
    if noticed_by == "resume_reviews":
        await world.fault("pletor", "cancel_run", "status", status=403)
        assert 0 == (await run.look()).withdrawn  # Pletor refused to cancel: tried again
        assert 1 == (await run.look()).withdrawn
        await run.look()
    else:
        flow_run.parameters = world.arguments()
        await cancel_what_was_started(run_with_review, flow_run, Cancelled())
    await _require_withdrawn(world)


async def test_a_run_that_pletor_does_not_cancel_holds_no_other_up(world: World, run: Run):
    """Two cancelled runs, one refusal: the other's question is withdrawn all the same."""
    other = await deployed(world)
    other.given["run_key"] = "other"
    for one in (run, other):
        await _suspend_and_cancel(one)
    await world.fault("pletor", "cancel_run", "status", status=403)
    assert [1, 1] == [(await run.look()).withdrawn for _ in range(2)]


async def _suspend_and_cancel(run: Run) -> FlowRun:
    assert "Suspended" == (await run.go()).name
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Cancelled(), force=True)
        return await client.read_flow_run(run.id)


async def _require_withdrawn(world: World) -> None:
    """The one question is taken back everywhere, and its run at Pletor is cancelled."""
    (review,) = await world.reviews()
    assert ("withdrawn", ["retracted"]) == (review.state, [one.closed_by for one in review.messages])
    assert [] == await world.waiting()
    (run_at_pletor,) = (await world.at_pletor("GET", "/runs"))["data"]
    assert "canceled" == run_at_pletor["status"]


@pytest.mark.parametrize("chosen", ["blocks", "names"])
async def test_blocks_that_are_chosen_in_prefects_form(world: World, chosen: str):
    """Prefect takes each block by reference or by name, and the cancelled run finds them again."""
    given: dict[str, Any] = {"run_key": "run"}
    for name in ("pletor", "placet", "ledger"):
        saved = f"chosen-{name}-{uuid4().hex[:8]}"
        document = await getattr(world, name).save(saved)
        given[name] = saved if chosen == "names" else {"$ref": {"block_document_id": str(document)}}
    run = await deployed(world, **given)
    assert "Suspended" == (await run.go()).name
    async with get_client() as client:
        flow_run = await client.read_flow_run(run.id)
    assert given["pletor"] == flow_run.parameters["pletor"]
    await cancel_what_was_started(run_with_review, flow_run, Cancelled())
    await _require_withdrawn(world)


async def test_a_cancellation_that_finds_no_block_says_so(run: Run, caplog: pytest.LogCaptureFixture):
    """The run is cancelled all the same."""
    async with get_client() as client:
        flow_run = await client.read_flow_run(run.id)
    flow_run.parameters |= {"placet": {"$ref": {"block_document_id": str(uuid4())}}}
    await cancel_what_was_started(run_with_review, flow_run, Cancelled())
    assert "Not everything could be cancelled" in caplog.text


async def test_a_deleted_run_keeps_no_other_from_being_resumed(world: World, run: Run):
    """Prefect answers 500 about a run that it does not know; it is looked for again, but not at once."""
    other = await deployed(world)
    other.given = {"run_key": "other", "folder": world.folder / "other"}
    assert ("Suspended", "Suspended") == ((await run.go()).name, (await other.go()).name)
    for shown in await world.waiting():
        await world.respond(shown["id"], {"selectedOption": "approve"})
    async with get_client() as client:
        await client.delete_flow_run(run.id)
    found = await run.look()
    assert (2, 1, 1) == (found.decided, found.resumed, found.refused)
    assert f"Prefect: run {run.id} is not known to this Prefect server" in found.troubles
    assert (0, 0) == ((found := await run.look()).resumed, found.refused)
    assert "Completed" == (await other.go()).name
    left = {review.flow_run_id: review.resume_at for review in await world.reviews()}
    assert left[str(run.id)] is not None
    assert left[str(other.id)] is None


async def test_a_run_that_prefect_does_not_know_is_left_alone(world: World, run: Run):
    """It may be another server's: its question goes on waiting, and Pletor's run too."""
    assert "Suspended" == (await run.go()).name
    async with get_client() as client:
        await client.delete_flow_run(run.id)
    found = await run.look()
    assert (0, 1) == (found.withdrawn, found.waiting)
    assert [f"1 suspended run not known to this Prefect server: {run.id}"] == found.troubles
    assert 1 == len(await world.waiting())
    (run_at_pletor,) = (await world.at_pletor("GET", "/runs"))["data"]
    assert "canceled" != run_at_pletor["status"]


async def test_a_run_that_died_while_it_suspended_is_resumed(world: World, run: Run):
    """Killed once Prefect has its state, before it could send anything else: its form is there already."""
    await killed_while_suspending(world, run.id)
    async with get_client() as client:
        assert "Suspended" == ((await client.read_flow_run(run.id)).state or Cancelled()).name
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    assert (1, 1, 0) == ((found := await run.look()).decided, found.resumed, found.refused)
    assert "Completed" == (await run.go()).name


async def test_a_form_is_found_behind_any_number_of_inputs(world: World, run: Run):
    """A run that has suspended often has hundreds; Prefect gives a page of them at a time."""
    async with get_client() as client:
        for n in range(2 * FORMS):
            await client.create_flow_run_input(run.id, f"suspended-before-{n}-schema", "{}")
    assert "Suspended" == (await run.go()).name
    assert "ACCEPT" == await run.resume(decision="approve", decided_by="Ada")
    assert "Completed" == (await run.go()).name
    assert "Ada" == (await world.reviews())[0].decided_by


async def test_a_form_counts_where_pletor_was_told_otherwise(world: World, run: Run):
    """Accepted by Prefect, then somebody decides in Pletor and the run ends: both answers are kept."""
    assert "Suspended" == (await run.go()).name
    assert "ACCEPT" == await run.resume(decision="reject", decided_by="Ada", why="too dark")
    await world.decide_at_pletor("approve")
    assert "Completed" == (await run.go()).name
    (review,) = await world.reviews()
    assert ("Ada", "too dark") == (review.decided_by, review.decided_why)
    assert "at Pletor somebody had decided first: approve" == review.outcome
    assert [("prefect", "decided"), ("vendor", "conflicting")] == [
        (one.through, one.standing) for one in review.answers
    ]


async def test_changed_content_wakes_a_run_once(world: World, run: Run):
    """It withdraws its own question and asks the new one: there is nothing to be resumed for until then."""
    run.given = {"agent": TEXT}
    assert "Suspended" == (await run.go()).name

    def change(data: dict[str, Any]) -> None:
        data["reviews"][0]["options"][0]["text"] = "Something nobody has read"

    (shown,) = await world.waiting()
    world.change_at_pletor(change)
    await world.respond(shown["id"], {"decision": "approve"})
    assert 1 == (await run.look()).resumed
    assert "Suspended" == (await run.go()).name
    assert [None, None] == [review.resume_at for review in await world.reviews()]
    assert (0, 0, 1) == ((found := await run.look()).resumed, found.refused, found.waiting)


@pytest.mark.parametrize("choices", ["all but 2", "1-3", "2.", "1 2", "0"])
def test_choices_are_numbers_and_nothing_else(choices: str):
    """What is not a list of numbers decides nothing, and says so."""
    question = Question.model_validate(
        {
            "kind": "selection",
            "title": "Pick",
            "prompt": "Which?",
            "choices": [{"id": f"c{n}", "label": str(n)} for n in (1, 2, 3)],
            "options": {"several": True},
            "expires_in": 1.0,
        }
    )
    given = {"decision": "approve", "choices": choices}
    read_as = _read(question, given)
    assert isinstance(read_as, Undecided)
    assert "1 to 3" in read_as.reason
    good = _read(question, given | {"choices": " 3,1 "})
    assert ("c3", "c1") == good.decision.selected


@pytest.mark.timeout(600)
def test_many_wait_without_a_process(prefect_server: str):
    """The benchmark, small: served runs and scripts wait without a process, each gets its own answer."""
    given = ["--runs", "2", "--scripts", "40", "--poll", "1", "--window", "3", "--patience", "240"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reviews", *given],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert 2 == done.stdout.count("processes of waiting runs: 0; resume_reviews: 1")
    assert 2 == done.stdout.count("wrong: nothing")
    assert re.search(r"answer to continuation: median [\d.]+ s", done.stdout)
