"""Reading our own message out of a conversation's history (planck.md §6.1)."""

import pytest

from plait.vendors.planck.history import Answered, AskedTwice, NotAsked, Waiting, find_reply
from plait.vendors.planck.models import HistoryMessage


def user(key, text="question", **more):
    """A stored question."""
    return HistoryMessage.model_validate({"id": key, "role": "user", "content": text, **more})


def reply(key, text="answer", **more):
    """A stored answer."""
    return HistoryMessage.model_validate({"id": key, "role": "assistant", "content": text, **more})


OLD = [user("u1"), reply("a1")]
KNOWN = {"u1", "a1"}
ASK = user("u2")
TIMES = [{"created_at": f"2026-01-01T00:00:0{second}Z"} for second in range(4)]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (OLD, NotAsked),
        ([], NotAsked),
        ([*OLD, user("s", "something else"), reply("t")], NotAsked),
        ([*OLD, ASK], Waiting),
        ([*OLD, ASK, reply("a2", "")], Waiting),
        ([*OLD, ASK, reply("a2", status="streaming")], Waiting),
        ([*OLD, ASK, reply("a2", is_complete=False)], Waiting),
        ([*OLD, ASK, reply("a2", partial=True)], Waiting),
        ([*OLD, ASK, user("s", "something else"), reply("t")], Waiting),
        ([*OLD, reply("a2")], Waiting),
        ([*OLD, user(None)], Waiting),
        ([*OLD, ASK, reply("a2")], Answered),
        ([*OLD, ASK, reply("a2", status="Completed")], Answered),
        ([*OLD, user("u2", " question\n"), reply("a2")], Answered),
        ([*OLD, user("u2", [{"type": "text", "text": "question"}]), reply("a2")], Answered),
        ([*OLD, user("s", "something else"), reply("t"), ASK, reply("a2")], Answered),
        ([reply("a2"), ASK, *OLD[::-1]], Answered),
        ([*OLD, ASK, reply("a2"), user("u3"), reply("a3")], AskedTwice),
    ],
)
def test_what_a_history_says(history, expected):
    """Old messages of equal text do not count, and half an answer is none."""
    found = find_reply(history, KNOWN, "question")
    assert isinstance(found, expected)
    if isinstance(found, Answered):
        assert found.reply.id == "a2"


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_order_is_found_by_time_place_or_the_first_speaker(backwards, timed):
    """In an empty conversation too, the answer after our question is ours, either way round."""
    rows = [user("u2"), reply("a2"), user("s", "else"), reply("t")]
    if timed:
        rows = [
            row.model_copy(
                update=HistoryMessage.model_validate({"role": "x", **time}).model_dump(include={"created_at"})
            )
            for row, time in zip(rows, TIMES, strict=True)
        ]
    found = find_reply(rows[::-1] if backwards else rows, set(), "question")
    assert isinstance(found, Answered)
    assert found.reply.id == "a2"
