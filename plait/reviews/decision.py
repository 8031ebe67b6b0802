"""What was decided: read from a person's answer, and checked against what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from plait.content.text import one_line
from plait.reviews.question import OnExpiry, Question, Word, other
from plait.vendors.placet.answers import (
    ApprovalAnswer,
    Dismissed,
    FormAnswer,
    ReviewAnswer,
    SelectionAnswer,
    TextAnswer,
    read_answer,
)
from plait.vendors.placet.models import Review

Json = Any
REASON: Final = 300
"""Characters of a reason."""
WHY: Final = 10_000
"""Characters that are kept of what a person says."""


class ReviewDecision(BaseModel):
    """One decision. Why it was taken stands beside it, so that two who agree for other reasons agree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Word
    selected: tuple[str, ...] = ()
    """Ids of the choices taken, in the order of the clicks."""
    text: str | None = None
    """The text to use instead of the proposed one."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """An answer that decides nothing, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that fits the question, and what the person said about it."""

    decision: ReviewDecision
    why: str | None


def problems_of(question: Question, decision: ReviewDecision) -> list[str]:
    """What does not fit; empty where the decision answers the question."""
    problems: list[str] = []
    if decision.decision not in question.words:
        problems.append(f"{decision.decision} is none of {', '.join(question.words)}")
    taken, known = decision.selected, {choice.id for choice in question.choices}
    if question.kind == "selection" and decision.decision == "approve":
        unknown = [one_line(item, 80) for item in taken if item not in known]
        problems += [f"{', '.join(unknown)} is none of the choices"] if unknown else []
        problems += [] if taken else ["nothing was chosen"]
        if len(taken) > 1 and not question.options.several:
            problems.append(f"{len(taken)} were chosen where one was asked for")
    elif taken:
        problems.append(f"choices were taken, but the decision is {decision.decision}")
    if decision.text is not None and (question.kind != "edit" or decision.decision != "approve"):
        problems.append("a text was given where none was asked for")
    if decision.text is not None and not decision.text.strip():
        problems.append("the text is empty")
    return problems


def read(question: Question, review: Review) -> Decided | Undecided:
    """The decision in a completed Placet review."""
    answer = read_answer(review)
    if answer is None:
        return Undecided("it was not answered")
    if isinstance(answer, Dismissed):
        return Undecided("it was dismissed")
    made = None if answer.problems else _decision(question, answer)
    if made is None:
        return Undecided(one_line("; ".join(answer.problems) or "it is no answer to the question", REASON))
    return checked(question, made, _why(answer))


def checked(question: Question, decision: ReviewDecision, why: str | None) -> Decided | Undecided:
    """The decision, unless it does not fit."""
    problems = problems_of(question, decision)
    said = None if why is None else why.strip()[:WHY] or None
    return Undecided(one_line("; ".join(problems), REASON)) if problems else Decided(decision, said)


def at_expiry(question: Question, on_expiry: OnExpiry) -> tuple[ReviewDecision, str]:
    """What the rule decides, held to the same as a person; what does not fit fails."""
    if on_expiry in {OnExpiry.FAIL, OnExpiry.ESCALATE}:
        return ReviewDecision(decision="fail"), "nobody decided in time"
    made = ReviewDecision(decision="approve" if on_expiry is OnExpiry.APPROVE else "reject")
    problems = problems_of(question, made)
    if problems:
        return (
            ReviewDecision(decision="fail"),
            f"nobody decided in time, and {on_expiry} cannot stand: {'; '.join(problems)}",
        )
    return made, "nobody decided in time"


def _decision(question: Question, answer: ReviewAnswer) -> ReviewDecision | None:
    match answer:
        case ApprovalAnswer():
            return _said(answer.selected_option)
        case SelectionAnswer():
            return _chosen(question, answer.selected_ids)
        case TextAnswer():
            return _texted(question, answer.text)
        case FormAnswer():
            return _filled(question, answer)
    return None


def _said(word: Json) -> ReviewDecision | None:
    words: Sequence[Word] = ("approve", "regenerate", "reject")
    return next((ReviewDecision(decision=known) for known in words if known == word), None)


def _chosen(question: Question, ids: tuple[str, ...]) -> ReviewDecision | None:
    words = {other(word): word for word in question.words[1:]}
    others = [words[item] for item in ids if item in words]
    if len(others) > 1:
        return None
    taken = tuple(item for item in ids if item not in words)
    return ReviewDecision(decision=others[0] if others else "approve", selected=taken)


def _texted(question: Question, text: str) -> ReviewDecision:
    same = text.strip() == (question.text or "").strip()
    return ReviewDecision(decision="approve", text=None if same else text)


def _filled(question: Question, answer: FormAnswer) -> ReviewDecision | None:
    made = _said(answer.values.get("decision"))
    if made is None:
        return None
    taken = tuple(
        choice.id
        for number, choice in enumerate(question.choices, 1)
        if answer.values.get(f"choice_{number}") is True
    )
    text = answer.values.get("text")
    if made.decision != "approve" or not isinstance(text, str):
        return made.model_copy(update={"selected": taken})
    return _texted(question, text).model_copy(update={"selected": taken})


def _why(answer: ReviewAnswer) -> str | None:
    said = [answer.comment] if isinstance(answer, ApprovalAnswer) else []
    if isinstance(answer, FormAnswer):
        comment = answer.values.get("comment")
        said.append(comment if isinstance(comment, str) else None)
    drawn = ", ".join(answer.modified_files.values())
    said += [answer.feedback, f"Annotated files in Placet: {drawn}" if drawn else None]
    return "\n".join(part for part in said if part) or None
