"""What Pletor says, in every shape third parties have seen (pletor.md §3.1, §4)."""

import pytest
from pydantic import ValidationError

from plait.http.errors import InvalidInput
from plait.vendors.pletor.models import (
    Phase,
    Run,
    RunInput,
    approve,
    canonical_inputs,
    check_inputs,
    edit,
    regenerate,
    reject,
    select,
)


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("pending", Phase.GOING),
        ("running", Phase.GOING),
        ("paused", Phase.GOING),
        ("interrupted", Phase.GOING),
        ("a word nobody has seen", Phase.GOING),
        ("", Phase.GOING),
        ("completed", Phase.DONE),
        ("COMPLETED", Phase.DONE),
        (" succeeded ", Phase.DONE),
        ("success", Phase.DONE),
        ("failed", Phase.DEAD),
        ("error", Phase.DEAD),
        ("cancelled", Phase.DEAD),
        ("canceled", Phase.DEAD),
        ("CANCELED", Phase.DEAD),
        ("timed_out", Phase.DEAD),
        ("expired", Phase.DEAD),
        ("aborted", Phase.DEAD),
    ],
)
def test_status_words(word, phase):
    """Each known spelling is understood, and an unknown word goes on until the caller's deadline."""
    assert Run(id="r", status=word).phase is phase


@pytest.mark.parametrize("status", ["running", "pending", "completed", "failed"])
@pytest.mark.parametrize("flag", [True, False, None])
def test_reviews_are_due_by_the_flag_and_never_after_the_end(status, flag):
    """The flag counts whatever the status word is, but a terminal status wins over a stale flag."""
    run = Run.model_validate(
        {"id": "r", "status": status, "awaiting_human_review": flag, "pending_reviews": ["v"]}
    )
    due = flag is True and status in {"running", "pending"}
    assert run.awaits_review is due
    assert [review.id for review in run.due_reviews] == (["v"] if due else [])


@pytest.mark.parametrize(
    ("raw", "assets", "texts"),
    [
        ({"results": [{"asset_id": "a"}, {"text": "t"}]}, ["a"], ["t"]),
        ({"results": [{"asset_ids": ["a", "b"]}, {"asset_id": "a"}]}, ["a", "b"], []),
        ({"results": [{"value": "t"}, {"value": {"asset_ids": ["a"]}}]}, ["a"], ["t"]),
        ({"results": [], "outputs": [{"id": "o", "asset_ids": ["a"]}]}, ["a"], []),
        ({"outputs": [{"value": "t"}]}, [], ["t"]),
        ({"results": None, "outputs": None}, [], []),
    ],
)
def test_results_in_every_shape(raw, assets, texts):
    """`results` first, `outputs` in its place; ids and texts under each name."""
    run = Run.model_validate({"run_id": "r", **raw})
    assert (run.id, run.asset_ids, run.texts) == ("r", assets, texts)


def test_a_run_comes_back_from_the_ledger_unchanged():
    """What is recorded as JSON is read as the same run, unknown fields and `run_id` included."""
    run = Run.model_validate(
        {"run_id": "r", "status": "new", "surprise": [1], "pending_reviews": [{"review_id": "v"}]}
    )
    again = Run.model_validate(run.model_dump(mode="json"))
    assert again == run
    assert again.model_extra == {"surprise": [1]}


@pytest.mark.parametrize(
    ("raw", "failure"),
    [
        ({"error": "no"}, "no"),
        ({"error": {"message": "no", "code": 3}}, "no"),
        ({"error_message": "no", "error": "else"}, "no"),
        ({}, None),
    ],
)
def test_failures_in_every_shape(raw, failure):
    """What went wrong is found under either name."""
    assert Run.model_validate({"id": "r", **raw}).failure == failure


@pytest.mark.parametrize(
    ("decision", "body"),
    [
        (approve(), {"decision": "approve"}),
        (reject("ugly"), {"decision": "reject", "feedback": "ugly"}),
        (regenerate("bluer"), {"decision": "regenerate", "feedback": "bluer"}),
        (select("a", "b"), {"decision": "approve", "selected_asset_ids": ["a", "b"]}),
        (edit("Better"), {"decision": "approve", "text": "Better"}),
    ],
)
def test_decision_bodies(decision, body):
    """Nothing is sent that was not decided; the key stands beside it."""
    assert decision.body() == body
    assert decision.body("k") == {**body, "external_id": "k"}


def test_inputs_have_one_canonical_form():
    """A list and an object, and two spellings of one letter, are the same inputs."""
    given = [RunInput.text("title", "Cafe\u0301"), RunInput.assets("image", "a", "b")]
    wanted = {"title": "Caf\u00e9", "image": {"asset_ids": ["a", "b"]}}
    assert canonical_inputs(given) == wanted
    assert canonical_inputs({"title": "Cafe\u0301", "image": {"asset_ids": ["a", "b"]}}) == wanted
    assert canonical_inputs([entry.model_dump() for entry in given]) == wanted
    assert canonical_inputs("anything else") is None
    assert canonical_inputs([{"strange": 1}]) is None


def test_unusable_inputs_are_refused():
    """An input given twice or without an asset would be somebody's guess."""
    with pytest.raises(InvalidInput, match="'title' is given twice"):
        check_inputs([RunInput.text("title", "a"), RunInput.text("title", "b")])
    with pytest.raises(ValidationError):
        RunInput.assets("image")
