"""What waits for people, as text for a terminal."""

import json
from collections.abc import Sequence
from typing import Any, Final

import typer

from plait.content.text import one_line, printable
from plait.effects_text import moment, print_table, span
from plait.ledger.review_views import AnswerView, MessageView, ReviewView

TITLE: Final = 60
REASON: Final = 120
_THEN: Final = {
    "fail": "the run fails",
    "reject": "counts as rejected",
    "approve": "counts as approved",
    "escalate": "put to others too",
}


def print_reviews(views: Sequence[ReviewView]) -> None:
    """A table: what is asked, how it stands, for how long, what happens at expiry, and what is in the way."""
    if not views:
        typer.echo("nothing")
        return
    print_table(
        ["review", "question", "state", "age", "left", "at expiry", "decision", "why"],
        [
            [
                view.id,
                one_line(view.title, TITLE),
                standing(view),
                span(view.age),
                left(view),
                at_expiry(view),
                _decision(view),
                one_line(view.note or view.decided_why or "", REASON),
            ]
            for view in views
        ],
    )


def print_review(view: ReviewView) -> None:
    """One review with its messages and every answer that was seen."""
    facts: dict[str, Any] = {
        "review": view.id,
        "question": one_line(view.title),
        "asked": one_line(view.question.get("prompt", "")),
        "state": standing(view),
        "age": span(view.age),
        "left": left(view),
        "at expiry": at_expiry(view),
        "decision": _decision(view),
        "by": view.decided_by,
        "through": view.decided_through,
        "reason": view.decided_why,
        "at": moment(view.decided_at),
        "outcome": view.outcome,
        "note": view.note,
        "content": view.digest,
        "about": json.dumps(view.subject, ensure_ascii=False),
        "run key": view.run_key,
        "suspended": view.flow_run_id,
        "reminders": view.reminders or None,
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            typer.echo(f"{name + ':':<12}{printable(str(value))}")
    if view.messages:
        typer.echo("")
        print_table(["message", "id", "channel", "posted", "closed", "why"], map(_message, view.messages))
    if view.answers:
        typer.echo("")
        print_table(["answer", "through", "by", "came to", "why"], map(_answer, view.answers))


def standing(view: ReviewView) -> str:
    """Where a review stands, in words for people."""
    if view.waits:
        overdue = view.left is not None and view.left <= 0
        escalated = " (escalated)" if view.level else ""
        return "overdue" if overdue else f"{'waits' if view.messages_posted else 'being asked'}{escalated}"
    return view.state.value


def left(view: ReviewView) -> str:
    """How much time is left."""
    return span(view.left) if view.waits and view.left is not None and view.left > 0 else ""


def at_expiry(view: ReviewView) -> str:
    """What happens when nobody decides."""
    if not view.waits:
        return ""
    return _THEN["fail"] if view.level else _THEN.get(view.on_expiry, view.on_expiry)


def _decision(view: ReviewView) -> str:
    return "" if view.decision is None else str(view.decision.get("decision", ""))


def _message(one: MessageView) -> list[str]:
    closed = f"{one.closed_by} {moment(one.closed_at)}" if one.closed_at is not None else ""
    return [
        str(one.n),
        one.message_id or "",
        one.channel_id,
        moment(one.posted_at),
        closed,
        one_line(one.reason or "", REASON),
    ]


def _answer(one: AnswerView) -> list[str]:
    said = "" if one.said is None else json.dumps(one.said, ensure_ascii=False)
    return [
        one_line(said, REASON),
        one.through.value,
        one_line(one.by, TITLE),
        f"{one.standing} {moment(one.seen_at)}",
        one_line(one.why or "", REASON),
    ]
