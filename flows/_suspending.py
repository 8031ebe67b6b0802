"""Giving the process back while people decide, and reading what they decided in Prefect itself.

The run suspends with a form whose fields a person must fill in; `resume_reviews` fills it with
`recorded`, which decides nothing. What a resumed run goes by is the ledger: every form that a run was
resumed with is recorded there first, as an answer among others.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.input import Keyset, RunInput, keyset_from_base_key
from pydantic import Field, create_model

from plait.content.text import one_line
from plait.ledger import Ledger
from plait.ledger.review_views import ReviewView, find_reviews
from plait.ledger.store import reviews as store
from plait.ledger.tables import AnswerStanding, Through
from plait.reviews import Question, ReviewDecision, Undecided
from plait.reviews.decision import checked
from tasks import Run
from tasks._progress import say

RECORDED: Final = "recorded"
"""The form's word for: the ledger has the decision."""
BY_PROGRAM: Final[Mapping[str, str]] = {"decision": RECORDED, "decided_by": "resume_reviews"}
"""What a program resumes with. Never a vendor's words: Prefect renders them as a template."""
FORMS: Final = 200
"""Inputs of a run that are read at once."""
CONFLICT: Final = 409
_RESPONSE: Final = re.compile(r"suspended-(.+)-(\d+)-response")
_NUMBERS: Final = re.compile(r"\d{1,4}(\s*,\s*\d{1,4})*", re.ASCII)


def can_suspend() -> bool:
    """Whether Prefect can resume this run: it needs a deployment, and is nobody's subflow."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    return run is not None and run.deployment_id is not None and run.parent_task_run_id is None


class _Form(RunInput):
    """A form that may be saved again: it is saved before the run suspends, and Prefect does so after.

    Prefect resumes no run whose form is missing; one killed in between would wait for ever.
    """

    @classmethod
    async def asave(cls, keyset: Keyset, flow_run_id: UUID | None = None) -> None:
        """Save it, once."""
        try:
            await super().asave(keyset, flow_run_id)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != CONFLICT:
                raise


async def suspend_for(run: Run, views: Sequence[ReviewView]) -> None:
    """Suspend until one of these is decided; returns in the resumed run, where one may be.

    Must not be called inside a Prefect transaction: its rollback hooks would run.
    """
    flow_run_id, view = _own_id(), views[0]
    ids = [one.id for one in views]
    await run.ledger.database.write(
        lambda connection: store.suspend(run.ledger.database, connection, ids, str(flow_run_id)),
        commit="record",
    )
    form = form_of(view)
    for n in count(await _passed(flow_run_id, view.id)):
        if not all(one.waits for one in await run.ledger.ask(partial(find_reviews, review_ids=ids))):
            return  # decided in the meantime, or by the form just read
        say(f"Suspending until somebody decides: {one_line(view.title, 100)} ({view.id})")
        key = f"{view.id}-{n}"
        await form.asave(keyset_from_base_key(f"suspended-{key}"))
        await asuspend_flow_run(wait_for_input=form, key=key)
        await record_forms(run.ledger)  # only a pause that had fired before comes here


async def record_forms(ledger: Ledger) -> None:
    """Record each form that this run was ever resumed with, once; what a program filled in is left out."""
    flow_run_id = _own_id()
    forms = [
        (match[1], int(match[2]), given)
        for key, given in (await _inputs(flow_run_id)).items()
        if (match := _RESPONSE.fullmatch(key)) and given.get("decision") != RECORDED
    ]
    views = await ledger.ask(partial(find_reviews, review_ids=sorted({form[0] for form in forms})))
    known = {view.id: view for view in views}
    for review_id, n, given in forms:
        if review_id in known:
            answered = _answered(known[review_id], f"prefect/{flow_run_id}/{n}", given)
            await ledger.database.write(
                lambda connection, answered=answered, review_id=review_id: store.answer(  # type: ignore[misc]
                    ledger.database, connection, review_id, answered
                ),
                commit="record",
            )


def form_of(view: ReviewView) -> type[RunInput]:
    """The form for one question, which says why the last one decided nothing.

    Nothing that decides has a default: an empty resume would decide.
    """
    question = Question.model_validate(view.question)
    unusable = [
        answer.why
        for answer in view.answers
        if answer.through is Through.PREFECT and answer.standing is AnswerStanding.UNUSABLE
    ]
    fields: dict[str, Any] = {
        "decision": (
            Literal[(*question.words, RECORDED)],
            Field(description=f"{RECORDED}: it was decided elsewhere, and this form adds nothing."),
        ),
        "decided_by": (str, Field(min_length=1, max_length=200, description="Your name.")),
        "why": (str, Field(default="", description="Goes to Pletor as feedback.")),
    }
    if question.kind == "selection":
        fields["choices"] = (str, Field(default="", description="Numbers, such as 1 or 1, 3."))
    if question.kind == "edit":
        fields["text"] = (str, Field(default="", description="Yours, in place of the proposed one."))
    made: type[RunInput] = create_model("ReviewForm", __base__=_Form, **fields)
    reason = unusable[-1] if unusable else None
    return made.with_initial_data(description=question.message(view.id, reason))


def _answered(view: ReviewView, nonce: str, given: Mapping[str, Any]) -> store.Answered:
    question = Question.model_validate(view.question)
    read_as = _read(question, given)
    by = one_line(str(given.get("decided_by") or "somebody in Prefect"), 200)
    about = partial(store.Answered, nonce=nonce, through=Through.PREFECT, by=by, digest=view.digest)
    if isinstance(read_as, Undecided):
        return about(why=read_as.reason)
    return about(said=read_as.decision.model_dump(mode="json"), why=read_as.why)


def _read(question: Question, given: Mapping[str, Any]) -> Any:
    word, text, why = given.get("decision"), given.get("text"), given.get("why")
    if word not in question.words:
        return Undecided(f"{one_line(str(word), 80)!r} is none of {', '.join(question.words)}")
    choices = str(given.get("choices") or "").strip()
    if choices and not _NUMBERS.fullmatch(choices):
        last = len(question.choices)
        return Undecided(f"choices {one_line(choices, 80)!r} are not numbers from 1 to {last}, such as 1, 3")
    numbers = [int(number) for number in choices.split(",")] if choices else []
    if any(not 0 < number <= len(question.choices) for number in numbers):
        return Undecided(f"choices {numbers} are not all among 1 to {len(question.choices)}")
    decision = ReviewDecision(
        decision=word,
        selected=tuple(dict.fromkeys(question.choices[number - 1].id for number in numbers)),
        text=str(text) if text and question.kind == "edit" and word == "approve" else None,
    )
    return checked(question, decision, None if why is None else str(why))


async def _passed(flow_run_id: UUID, review_id: str) -> int:
    """How often this run was resumed with a form for this question."""
    keys = [match for key in await _inputs(flow_run_id) if (match := _RESPONSE.fullmatch(key))]
    return sum(match[1] == review_id for match in keys)


async def _inputs(flow_run_id: UUID) -> dict[str, dict[str, Any]]:
    """The forms that a run was resumed with, by their key. Each suspension leaves three inputs."""
    found: dict[str, Any] = {}
    async with get_client() as client:
        while True:
            page = await client.filter_flow_run_input(flow_run_id, "suspended-", FORMS, set(found))
            found |= {one.key: one.decoded_value for one in page}
            if len(page) < FORMS:
                break
    responses = {key: value for key, value in found.items() if _RESPONSE.fullmatch(key)}
    return {key: value for key, value in responses.items() if isinstance(value, dict)}


def _own_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("outside of a flow run there is nothing to suspend")
    return context.flow_run.id
