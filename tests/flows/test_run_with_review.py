"""`run_with_review` against the sandbox and a real Prefect server: each thing happens once."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from review_world import (
    CAMPAIGN,
    DOOMED,
    ESCALATION,
    PATIENCE,
    SERIES,
    SLOGANS,
    TEXT,
    World,
    approving,
    serving,
)

from flows._review_models import RunWithReview
from flows._review_steps import channel_of, target_of
from flows.resume_reviews import resume_reviews
from flows.run_with_review import run_with_review
from plait.http.errors import DeadlineExceeded, InvalidInput, NotFound, ValidationFailed
from plait.ledger import Ledger
from plait.ledger.store import reviews as store
from plait.ledger.tables import Through
from plait.reviews import OnExpiry
from plait.reviews.errors import ReviewExpired, ReviewWithdrawn
from tasks.pletor_runs import RunFailed, follow_run

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A sandbox of the test's own."""
    async with serving(tmp_path) as running:
        yield running


def decisions(result: RunWithReview) -> list[tuple[str, Any]]:
    """What was decided, and where."""
    return [(one.decision, one.through) for one in result.reviews]


async def test_two_at_once_then_another_and_another_round(world: World):
    """Picture and text at once, the picture made anew, then a selection; run again, nothing happens twice."""
    pictures = []

    def answers(shown: dict[str, Any]) -> dict[str, Any]:
        if shown["review"]["type"] == "form":
            return {"decision": "approve", "text": "Better words", "comment": "shorter"}
        if shown["review"]["type"] == "approval":
            pictures.append(shown["files"])
            anew = len(pictures) == 1
            return {
                "selectedOption": "regenerate" if anew else "approve",
                "comment": "darker" if anew else "",
            }
        return approving(shown)

    call = run_with_review(**world.arguments(agent=CAMPAIGN), return_state=True)
    state = await world.with_people(call, answers)
    result = await state.result()
    assert sorted(decisions(result)) == [("approve", Through.PLACET)] * 3 + [("regenerate", Through.PLACET)]
    assert [len(files) for files in pictures] == [1, 1]
    assert ["Better words"] == result.texts
    assert 2 == len(result.files)
    for file in result.files:
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
    manifest = json.loads((world.folder / "out" / "manifest.json").read_text())
    assert [one["sha256"] for one in manifest["files"]] == [one.sha256 for one in result.files]
    assert await world.counts() == {
        "pletor.create_run": 1,
        "pletor.resolve_review": 4,
        "placet.post_message": 5,
        "placet.store_file": 5,
        "placet.respond": 4,
        "placet.ack_message": 4,
    }
    once = await world.counts()
    again = await run_with_review(**world.arguments(agent=CAMPAIGN))
    assert again.model_dump() == result.model_dump()
    assert once == await world.counts()
    assert "darker" in [one.why for one in result.reviews]
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=mine)
    shown = {artifact.key: artifact for artifact in found}
    assert str(shown["run-with-review-result-1"].data).startswith("data:image/png;base64,")
    assert "darker" in str(shown["run-with-review-decisions"].data)
    assert "progress" in {artifact.type for artifact in found}


async def test_a_decision_at_pletor_itself_is_the_decision(world: World):
    """Somebody decides in Pletor: recorded as such, nothing is resolved again, the message is retracted."""
    running = asyncio.create_task(run_with_review(**world.arguments()))
    await world.until_asked()
    await world.decide_at_pletor("approve")
    result = await asyncio.wait_for(running, PATIENCE)
    assert [("approve", Through.VENDOR)] == decisions(result)
    counts = await world.counts()
    assert (1, 1) == (counts["pletor.resolve_review"], counts["placet.delete_message"])


async def test_a_pletor_that_lags_takes_no_question_back(tmp_path: Path):
    """Every other look is an old one, as from a replica: people are asked all the same, and decide once."""
    async with serving(tmp_path, stale_reads=True) as world:
        running = asyncio.create_task(run_with_review(**world.arguments(agent=CAMPAIGN)))
        await world.until_asked(2)
        await asyncio.sleep(5)  # so long that Pletor is looked at more than once
        result = await world.with_people(running)
        assert [("approve", Through.PLACET)] * 3 == decisions(result)
        counts = await world.counts()
        assert (3, 3) == (counts["pletor.resolve_review"], counts["placet.respond"])
        assert "placet.delete_message" not in counts


async def test_a_resolved_review_that_is_still_listed_is_no_news(tmp_path: Path):
    """The picture is decided, Pletor goes on listing it, and the text waits: Pletor is left in peace."""

    def picture(shown: dict[str, Any]) -> dict[str, Any] | None:
        return None if shown["review"]["type"] == "form" else approving(shown)

    async with serving(tmp_path, resolved_lag=12.0) as world:
        running = asyncio.create_task(run_with_review(**world.arguments(agent=CAMPAIGN)))
        async with world.answering(picture):
            async with asyncio.timeout(PATIENCE):
                while not await world.resolutions():
                    await asyncio.sleep(0.05)
            await world.fault("pletor", "get_run", "delay", seconds=0.01, times=None)
            await asyncio.sleep(5)
            assert 10 > await world.struck()
        result = await world.with_people(running)
        assert ["approve"] * 3 == [one.decision for one in result.reviews]


async def test_two_decisions_in_two_places(world: World):
    """Approved in Placet, rejected in Pletor before anybody looked: one decision, the other is kept."""
    await run_with_review(**world.arguments(wait="suspend"))
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    await world.decide_at_pletor("reject")
    result = await run_with_review(**world.arguments())
    assert ("rejected", [("reject", Through.VENDOR)]) == (result.status, decisions(result))
    (review,) = await world.reviews()
    assert sorted(one.standing for one in review.answers) == ["conflicting", "decided"]
    assert 1 == len(await world.resolutions())


async def test_pletor_was_told_something_else_first(world: World):
    """Approved and recorded; before we bring it somebody rejects in Pletor: that stands there."""
    await run_with_review(**world.arguments(wait="suspend"))
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    found = await resume_reviews(placet=world.placet, pletor=world.pletor, ledger=world.ledger)
    assert (1, 0, 0) == (found.decided, found.resumed, found.waiting)
    await world.decide_at_pletor("reject")
    with pytest.raises(RunFailed, match="Rejected in review"):
        await run_with_review(**world.arguments())
    (review,) = await world.reviews()
    assert ("approve", Through.PLACET) == (review.decision["decision"], review.decided_through)
    assert "somebody had decided first: reject" in (review.outcome or "")
    assert sorted(one.standing for one in review.answers) == ["conflicting", "decided"]
    assert 1 == len(await world.resolutions())


@pytest.mark.parametrize("wait", ["hold", "suspend"])
async def test_decided_at_pletor_before_anybody_was_asked(world: World, wait: str):
    """Between seeing that Pletor asks and asking people: nobody is asked, and the run goes on."""
    decided = []

    async def decide_once(*_: Any) -> None:
        if not decided:
            decided.append(await world.decide_at_pletor("approve"))

    follow_run.on_completion(decide_once)
    try:
        result = await asyncio.wait_for(run_with_review(**world.arguments(wait=wait)), PATIENCE)
    finally:
        follow_run.on_completion_hooks.remove(decide_once)
    assert ("completed", [], 1) == (result.status, result.reviews, len(result.files))
    assert "placet.post_message" not in await world.counts()


async def test_a_pletor_run_that_is_gone_hides_no_other(world: World):
    """Two wait, both are decided in Pletor; one of them is not found, the other's decision is taken up."""
    for key in ("one", "two"):
        await run_with_review(**world.arguments(wait="suspend", run_key=key))
    await world.decide_at_pletor("approve")
    await world.fault("pletor", "get_run", "status", status=404)
    call = partial(resume_reviews, placet=world.placet, pletor=world.pletor, ledger=world.ledger)
    found = await call()
    assert (1, 1) == (found.decided, found.waiting)
    assert 1 == len(found.troubles)
    assert found.troubles[0].startswith("Pletor run ")
    assert (1, 0) == ((found := await call()).decided, found.waiting)


@pytest.mark.parametrize("when", ["while it waits", "before the next run"])
async def test_content_that_changed_is_asked_about_anew(world: World, when: str):
    """Approved, and before we act Pletor asks about another text: nobody approved that one."""

    def change(data: dict[str, Any]) -> None:
        data["reviews"][0]["options"][0]["text"] = "Something nobody has read"

    call = world.arguments(agent=TEXT)
    running = None
    if when == "while it waits":
        running = asyncio.create_task(run_with_review(**call))
        (shown,) = await world.until_asked()
    else:
        assert "waiting" == (await run_with_review(**call | {"wait": "suspend"})).status
        (shown,) = await world.waiting()
    world.change_at_pletor(change)
    await world.respond(shown["id"], {"decision": "approve"})
    result = await world.with_people(running or run_with_review(**call))
    assert ["Something nobody has read"] == result.texts
    first, second = await world.reviews()
    assert ("withdrawn", "changed") == (first.state, first.outcome)
    assert ("used", "approve") == (second.state, second.decision["decision"])
    assert 1 == len(first.answers) == len(second.answers) == len(await world.resolutions())


async def test_content_that_changed_back_is_asked_about_again(world: World):
    """One text, another one, the first again: three questions one after the other, the last is answered."""
    call = world.arguments(agent=TEXT, wait="suspend")
    before: list[str] = []

    def change(data: dict[str, Any]) -> None:
        option = data["reviews"][0]["options"][0]
        before.append(option["text"])
        option["text"] = before[0] if len(before) > 1 else "Other words"

    asked = []
    for turn in range(3):
        if turn:
            world.change_at_pletor(change)
        for _ in range(2):
            assert "waiting" == (await asyncio.wait_for(run_with_review(**call), PATIENCE)).status
        (shown,) = await world.waiting()
        asked.append(shown["id"])
    assert 3 == len(set(asked))
    result = await world.with_people(run_with_review(**call | {"wait": "hold"}))
    assert before[:1] == result.texts
    reviews = await world.reviews()
    assert ["changed", "changed"] == [one.outcome for one in reviews[:2]]
    assert ("used", "approve") == (reviews[2].state, reviews[2].decision["decision"])
    assert 1 == len(await world.resolutions())


async def test_one_of_several_texts_is_chosen(world: World):
    """Each text is a choice, and the chosen one is the result."""
    asked = []

    def answers(shown: dict[str, Any]) -> dict[str, Any]:
        asked.append(shown)
        return approving(shown)

    result = await world.with_people(run_with_review(**world.arguments(agent=SLOGANS)), answers)
    payload = asked[0]["review"]["payload"]
    assert ["Text 1", "Text 2", "Text 3"] == [one["label"] for one in payload["items"][:3]]
    assert [payload["items"][1]["description"]] == result.texts
    assert [["text-2"]] == [one.selected for one in result.reviews]


async def test_rejected_by_a_person(world: World):
    """The result says who and why; the run is not repeated."""
    call = run_with_review(**world.arguments(), return_state=True)
    state = await world.with_people(call, lambda _: {"selectedOption": "reject", "comment": "too dark"})
    result = await state.result()
    assert ("Rejected", "rejected") == (state.name, result.status)
    assert "rejected by a person in Placet: too dark" == state.message
    assert "rejected" == (await run_with_review(**world.arguments())).status
    assert 1 == (await world.counts())["pletor.resolve_review"]


async def test_one_of_two_is_rejected(world: World):
    """The picture is refused while the text still waits: rejected, and nobody is asked about the text."""

    def answers(shown: dict[str, Any]) -> dict[str, Any] | None:
        picture = shown["review"]["type"] == "approval"
        return {"selectedOption": "reject", "comment": "too dark"} if picture else None

    call = world.arguments(agent=CAMPAIGN)
    result = await world.with_people(run_with_review(**call), answers)
    assert "rejected by a person in Placet: too dark" == result.summary
    assert [] == await world.waiting()
    assert "rejected" == (await run_with_review(**call)).status
    assert 1 == len(await world.resolutions())


@pytest.mark.parametrize("how", ["withdrawn", "expired"])
async def test_what_ends_one_of_two_questions_ends_the_other(world: World, how: str):
    """One is taken back, or nobody decides it in time: the other one is retracted, also after a re-run."""
    call = world.arguments(agent=CAMPAIGN)
    running = asyncio.create_task(run_with_review(**call))
    await world.until_asked(2)
    first, second = await world.reviews()
    async with Ledger.open(world.folder / "ledger.db") as ledger:
        given = store.Answered(
            nonce="expiry/0", through=Through.EXPIRY, by="the rule", said={"decision": "fail"}
        )
        step = (
            partial(store.withdraw, ledger.database, review_id=second.id, reason="x", outcome="withdrawn")
            if how == "withdrawn"
            else partial(store.answer, ledger.database, review_id=second.id, given=given)
        )
        await ledger.database.write(step, commit="record")
    error = ReviewWithdrawn if how == "withdrawn" else ReviewExpired
    for work in (running, partial(run_with_review, **call)):
        with pytest.raises(error, match=second.id):
            await asyncio.wait_for(work if work is running else work(), PATIENCE)
    assert [] == await world.waiting()
    assert ("withdrawn", "ended") == ((other := (await world.reviews())[0]).state, other.outcome)
    assert (first.id, 1) == (other.id, (await world.counts())["pletor.cancel_run"])


async def test_nobody_decides_in_time(world: World):
    """The run fails, Pletor's is canceled, the question is closed everywhere; a re-run says the same."""
    for _ in range(2):
        with pytest.raises(ReviewExpired, match="nobody decided in time"):
            await run_with_review(**world.arguments(expires_in=1))
    assert [] == await world.waiting()
    (run,) = (await world.at_pletor("GET", "/runs"))["data"]
    assert "canceled" == run["status"]
    assert 1 == (await world.counts())["pletor.cancel_run"]


@pytest.mark.parametrize(
    ("rule", "word", "status"), [("approve", "approve", "completed"), ("reject", "reject", "rejected")]
)
async def test_expiry_decides_at_pletor(world: World, rule: OnExpiry, word: str, status: str):
    """Nobody decides in time: the rule's decision is brought to Pletor, once, and nobody is asked again."""
    call = world.arguments(expires_in=1, on_expiry=OnExpiry(rule))
    for _ in range(2):
        result = await asyncio.wait_for(run_with_review(**call), PATIENCE)
        assert (status, [(word, Through.EXPIRY)]) == (result.status, decisions(result))
    (run,) = (await world.at_pletor("GET", "/runs"))["data"]
    assert [word] == [one["decision"] for one in run["reviews"]]
    assert ([], 1) == (await world.waiting(), len(await world.resolutions()))


async def test_escalation_in_the_flow(world: World):
    """Nobody in the first channel, somebody in the second: one decision, the first message is retracted."""

    def answers(shown: dict[str, Any]) -> dict[str, Any] | None:
        return {"selectedOption": "approve"} if shown["channelId"] == ESCALATION else None

    call = world.arguments(expires_in=2, on_expiry=OnExpiry.ESCALATE, escalation_channel="Escalations")
    result = await world.with_people(run_with_review(**call), answers)
    assert [("approve", Through.PLACET)] == decisions(result)
    (review,) = await world.reviews()
    assert [1, 2] == [review.level, len(review.messages)]
    assert 1 == len(await world.resolutions())


async def test_rounds_are_capped(world: World):
    """After the last allowed round nobody is offered another one."""
    seen = []

    def answers(shown: dict[str, Any]) -> dict[str, Any]:
        offered = [one["id"] for one in shown["review"]["payload"]["options"]]
        seen.append(offered)
        return {"selectedOption": "regenerate" if "regenerate" in offered else "approve"}

    result = await world.with_people(run_with_review(**world.arguments(max_rounds=2)), answers)
    assert ["regenerate", "approve"] == [one.decision for one in result.reviews]
    assert [3, 2] == [len(offered) for offered in seen]


async def test_each_step_has_its_own_rounds(world: World):
    """Two approvals one after the other: the second is round 1 again, and may be made anew as often."""
    seen = []

    def answers(shown: dict[str, Any]) -> dict[str, Any]:
        offered = [one["id"] for one in shown["review"]["payload"]["options"]]
        seen.append(len(offered))
        return {"selectedOption": "regenerate" if "regenerate" in offered else "approve"}

    call = run_with_review(**world.arguments(agent=SERIES, max_rounds=2))
    result = await world.with_people(call, answers)
    assert [3, 2, 3, 2] == seen
    assert ["round 1", "round 2"] * 2 == [one.round.split(", ")[1][:7] for one in result.reviews]


async def test_suspend_without_a_deployment_ends_the_run(world: World):
    """It ends with the question recorded; run again with its key it goes on."""
    call = world.arguments(wait="suspend")
    first, second = await run_with_review(**call), await run_with_review(**call)
    assert ["waiting"] * 2 == [first.status, second.status]
    assert "run again with run key run" in first.summary
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    last = await run_with_review(**call)
    assert ("completed", first.run_id) == (last.status, last.run_id)
    counts = await world.counts()
    assert 1 == counts["pletor.create_run"] == counts["pletor.resolve_review"] == counts["placet.respond"]


async def test_suspend_in_a_subflow_ends_the_subflow(world: World):
    """The parent gets a result that waits, and goes on when it is run again."""

    @flow(name="parent")
    async def parent() -> RunWithReview:
        return await run_with_review(**world.arguments(wait="suspend"))

    assert "waiting" == (await parent()).status
    (shown,) = await world.waiting()
    await world.respond(shown["id"], {"selectedOption": "approve"})
    assert "completed" == (await parent()).status


async def test_two_in_one_parent_share_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    """They have one run key: each has a folder, a manifest and a closing message of its own, once."""
    monkeypatch.chdir(world.folder)

    @flow(name="parent of two")
    async def parent() -> list[RunWithReview]:
        call = world.arguments(folder=None)
        return [await run_with_review(**call | {"texts": {"title": title}}) for title in ("One", "Two")]

    first, second = await world.with_people(parent())
    assert first.run_key == second.run_key
    for result in (first, second):
        (file,) = result.files
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        assert result.run_id == json.loads((result.manifest or Path()).read_text())["run_id"]
    assert first.manifest != second.manifest
    assert 4 == (await world.counts())["placet.post_message"]
    await parent()
    assert 4 == (await world.counts())["placet.post_message"]


async def test_a_refused_start_leaves_the_key_free(world: World):
    """422 claims nothing: the same run key starts the run later, and its file is uploaded once."""
    logo = world.folder / "logo.pdf"
    logo.write_bytes((EXAMPLES / "office-lease.pdf").read_bytes())
    call = world.arguments(files={"image": [str(logo)]})
    await world.fault("pletor", "create_run", "status", status=422)
    with pytest.raises(ValidationFailed):
        await run_with_review(**call)
    result = await world.with_people(run_with_review(**call))
    counts = await world.counts()
    assert ("completed", 1, 1) == (result.status, counts["pletor.create_run"], counts["pletor.upload_asset"])
    assert "asset_ids" in str((await world.at_pletor("GET", f"/runs/{result.run_id}"))["inputs"])


async def test_a_claim_that_was_rolled_back(tmp_path: Path):
    """Pletor answers 500, then 409 with nothing to be found, and frees the key later: one run."""
    async with serving(tmp_path, rollback_seconds=1.0) as world:
        result = await world.with_people(run_with_review(**world.arguments()))
        assert "completed" == result.status
        assert 1 == (await world.counts())["pletor.create_run"]


async def test_a_failed_run_keeps_its_key_and_a_generation_is_a_new_run(world: World):
    """The same key gives the same failed run; generation 1 starts another one, once."""
    for generation in (0, 1, 1):
        with pytest.raises(RunFailed, match=f"generation={generation + 1} starts another one"):
            await run_with_review(**world.arguments(agent=DOOMED, generation=generation))
    assert 2 == (await world.counts())["pletor.create_run"]


async def test_an_app_that_waits_for_a_person_in_pletor(tmp_path: Path):
    """There is no call to answer it: after the deadline the run says where to look."""
    async with serving(tmp_path, app_reviews="for_ever") as world:
        call = world.arguments(agent=None, app="Poster app", deadline=1)
        with pytest.raises(DeadlineExceeded, match="only Pletor's own interface"):
            await run_with_review(**call)


async def test_what_cannot_be_used_is_named(world: World):
    """Wrong names and combinations are refused before anything is started."""
    escalate, placet = OnExpiry.ESCALATE, world.placet
    wrong: list[tuple[Callable[[], Awaitable[Any]], type[Exception], str]] = [
        (partial(channel_of, placet, "Nobody", None, OnExpiry.FAIL), NotFound, "'Escalations', 'Reviews'"),
        (partial(channel_of, placet, "Reviews", None, escalate), InvalidInput, "belong together"),
        (partial(channel_of, placet, "Reviews", "Reviews", escalate), InvalidInput, "the reviewers' own"),
        (partial(target_of, world.pletor, "Nothing", None), NotFound, "no Pletor agent 'Nothing'"),
        (partial(target_of, world.pletor, "Poster", "Poster app"), InvalidInput, "an agent or an app"),
    ]
    for call, error, words in wrong:
        with pytest.raises(error, match=words):
            await call()
    with pytest.raises(InvalidInput, match="cannot read"):
        await run_with_review(**world.arguments(files={"image": ["/nowhere.png"]}))
    assert {} == await world.counts()
