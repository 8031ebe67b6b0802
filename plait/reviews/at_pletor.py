"""Pletor's reviews as questions to people, and decisions brought back to it (pletor.md §3.1, §6.4)."""

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from plait.content.text import one_line
from plait.http.errors import InvalidInput, PlaitError
from plait.ledger import Ledger
from plait.ledger.effects import Effects
from plait.ledger.review_views import ReviewView
from plait.ledger.store import reviews as store
from plait.ledger.tables import AnswerStanding, Through
from plait.reviews.decision import ReviewDecision
from plait.reviews.question import TEXT_LIMIT, Choice, OnExpiry, Question, ReviewOptions, ShownFile, digest_of
from plait.reviews.seen import decision_of
from plait.vendors.pletor import models
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import PendingReview, RecordedReview, Run
from plait.vendors.pletor.recovery import ResolveReview

SYSTEM: Final = "pletor"
SOMEBODY: Final = "a person in Pletor"
MISSING: Final = 5.0
"""Seconds between two looks that both miss a review until it counts as settled: a replica may lag."""
LOOK_AGAIN: Final = 1.0
"""Seconds until a run is read again that does not tell what a decision is brought to."""
DESCRIBED: Final = 200
"""Characters of a text beside its choice; the message has all of it."""
_EDIT_WORDS: Final = frozenset({"edit", "text", "refine"})


class PletorSubject(BaseModel):
    """Which of Pletor's reviews a question is about."""

    model_config = ConfigDict(frozen=True)

    system: str = SYSTEM
    account: str
    run_id: str
    review_id: str

    @classmethod
    def of(cls, subject: Any) -> "PletorSubject | None":
        """A recorded subject, if it is Pletor's."""
        if not isinstance(subject, Mapping) or subject.get("system") != SYSTEM:
            return None
        return cls.model_validate(subject)


@dataclass(frozen=True, slots=True)
class Terms:
    """How the flow wants to be answered."""

    title: str
    context: str
    options: ReviewOptions
    expires_in: float
    on_expiry: OnExpiry


@dataclass(frozen=True, slots=True)
class Brought:
    """What acting on a decision came to; `changed` means that it was about something else."""

    outcome: str
    changed: bool = False


async def content_of(client: PletorClient, pending: PendingReview) -> Any:
    """What Pletor asks, in canonical form, with what it tells of the assets."""
    assets = {}
    for asset_id in _asset_ids(pending):
        asset = await client.get_asset(asset_id)
        assets[asset_id] = {"sha256": asset.sha256, "size": asset.size}
    options = [{"id": one.id, "asset_id": one.asset_id, "text": one.text} for one in pending.options]
    asked = {"type": pending.type, "prompt": pending.prompt, "options": options}
    return {"review": {"node_id": pending.node_id, **asked}, "assets": assets}


def same_step(pending: PendingReview, content: Any) -> bool:
    """Whether a question's content is of the same step of the run: an earlier round of this review."""
    before = content["review"]
    if pending.node_id is not None:
        return bool(before.get("node_id") == pending.node_id)
    return (before["type"], before["prompt"]) == (pending.type, pending.prompt)


def review_id_of(env: str, run_key: str, subject: PletorSubject, content: Any, occurrence: int = 0) -> str:
    """The question's id: the same for the same content, another one once the content changed.

    `occurrence` counts how often a question with this content was void because of other content.
    """
    what = [run_key, subject.model_dump(), content, *([occurrence] if occurrence else [])]
    return f"{env}-review-{digest_of(what)[:40]}"


async def shown_files(client: PletorClient, pending: PendingReview, folder: Path) -> list[ShownFile]:
    """Download what is to be shown. Raises `InvalidInput` where it is not what Pletor says it is."""
    files = []
    for number, asset_id in enumerate(_asset_ids(pending), 1):
        asset = await client.get_asset(asset_id)
        got = await client.download_asset(asset_id, folder / asset_file(asset_id))
        if asset.size not in {None, got.size} or asset.sha256 not in {None, got.sha256}:
            raise InvalidInput(
                f"asset {asset_id} has {got.size} bytes with digest {got.sha256}; Pletor announces "
                f"{asset.size} with {asset.sha256}",
                system=SYSTEM,
            )
        kind = asset.media_type or got.media_type
        files.append(
            ShownFile(
                name=f"option-{number}{mimetypes.guess_extension(kind) or '.bin'}",
                sha256=got.sha256,
                size=got.size,
                media_type=kind,
                source={"system": SYSTEM, "asset_id": asset_id},
            )
        )
    return files


def asset_file(asset_id: str) -> str:
    """A file name that any asset id can have."""
    return digest_of(asset_id)[:32]


def question_of(pending: PendingReview, content: Any, files: Sequence[ShownFile], terms: Terms) -> Question:
    """One of Pletor's reviews as a question; a kind not known is approved or refused as it is."""
    assets = _asset_ids(pending)
    texts = [option.text for option in pending.options if option.text is not None]
    kind = (pending.type or "").lower()
    shared: dict[str, Any] = {
        "title": terms.title,
        "prompt": one_line(pending.prompt or "Shall this be taken?", 2000),
        "context": terms.context,
        "files": tuple(files),
        "options": terms.options,
        "expires_in": terms.expires_in,
        "on_expiry": terms.on_expiry,
        "content": content,
    }
    if kind == "selection" and (offered := _offered(content)):
        choices, said = _choices(offered, dict(zip(assets, files, strict=True)))
        if said:  # a decision holds one text
            shared["options"] = terms.options.model_copy(update={"several": False})
        return Question(kind="selection", choices=choices, text=said[:TEXT_LIMIT] or None, **shared)
    if kind in _EDIT_WORDS and texts and len(texts[0]) <= TEXT_LIMIT:
        return Question(kind="edit", text=texts[0], **shared)
    return Question(kind="approval", text="\n\n".join(texts)[:TEXT_LIMIT] or None, **shared)


def _offered(content: Any) -> dict[str, Any]:
    """What a selection offers, by the id of its choice: the asset's, a number for a text, or its own."""
    offered: dict[str, Any] = {}
    for number, option in enumerate(content["review"]["options"], 1):
        named = option["id"] if option["text"] is None else f"text-{number}"
        if choice_id := option["asset_id"] or named:
            offered.setdefault(choice_id, option)
    return offered


def _choices(offered: Mapping[str, Any], files: Mapping[str, ShownFile]) -> tuple[tuple[Choice, ...], str]:
    """The choices in the order of the options, and the texts among them in full."""
    choices: list[Choice] = []
    said: list[str] = []
    for choice_id, option in offered.items():
        if choice_id in files:
            label, description = f"Picture {1 + list(files).index(choice_id)}", files[choice_id].name
        elif option["text"] is not None:
            label, description = f"Text {len(said) + 1}", one_line(option["text"], DESCRIBED)
            said.append(f"{label}: {option['text']}")
        else:
            label, description = f"Option {len(choices) + 1}", one_line(choice_id, DESCRIBED)
        choices.append(Choice(id=choice_id, label=label, description=description))
    return tuple(choices), "\n\n".join(said)


async def fetch(client: PletorClient, file: ShownFile, path: Path) -> None:
    """Write a shown file's bytes to `path`. Raises `InvalidInput` for one that is not Pletor's."""
    if not isinstance(file.source, Mapping) or file.source.get("system") != SYSTEM:
        raise InvalidInput(f"{file.name} does not come from Pletor")
    await client.download_asset(str(file.source["asset_id"]), path)


async def bring(
    ledger: Ledger, effects: Effects, client: PletorClient, view: ReviewView, subject: PletorSubject
) -> Brought:
    """Act on a recorded decision: resolve the review at Pletor, once, if it still asks what was shown."""
    decision = decision_of(view)
    if view.decided_through is Through.VENDOR and decision.decision != "settled":
        return Brought("it was decided at Pletor")
    run = await _looked_up(ledger, client, subject)
    if view.decided_through is Through.VENDOR:
        if run.ended or _recorded(run, subject) or not _is_listed(run, subject):
            return Brought("it was decided at Pletor")
        return Brought("Pletor asks it still: it was missing from its list only", changed=True)
    pending = next((one for one in run.pending_reviews if one.id == subject.review_id), None)
    if pending is not None and not run.ended:
        content = await content_of(client, pending)
        if digest_of(content) != digest_of(view.question["content"]):
            return Brought("Pletor asks something else by now", changed=True)
    recipe = ResolveReview(client, subject.run_id, subject.review_id, _to_pletor(decision, view))
    resolution = await effects.perform(recipe)
    if resolution.outcome == "decided_otherwise":
        await _note(ledger, view, resolution.decision)
    return Brought(
        {
            "resolved": "Pletor has the decision",
            "resolved_unverified": "it was settled at Pletor, which does not say how",
            "decided_otherwise": f"at Pletor somebody had decided first: {resolution.decision}",
        }[resolution.outcome]
    )


async def _looked_up(ledger: Ledger, client: PletorClient, subject: PletorSubject) -> Run:
    """The run, read twice where the first look neither lists the review nor says what became of it."""
    run = await client.get_run(subject.run_id)
    if run.ended or _recorded(run, subject) or _is_listed(run, subject):
        return run
    await ledger.clock.sleep(LOOK_AGAIN)
    return await client.get_run(subject.run_id)


async def look(ledger: Ledger, run: Run, views: Sequence[ReviewView]) -> list[str]:
    """Record what was decided at Pletor itself; gives the reviews that have their decision since.

    A review that is only missing may be late in the list: without a recorded decision it counts as settled
    when the run has ended, or when two looks some time apart find that the run goes on without it.
    """
    decided = []
    for view in views:
        subject = PletorSubject.of(view.subject)
        if subject is None or subject.run_id != run.id or not view.waits:
            continue
        recorded = _recorded(run, subject)
        if recorded is not None:
            given = _answered(recorded.decision or "", view, _from_pletor(recorded, view))
        elif run.ended or await _is_missed(ledger, run, view, subject):
            said = ReviewDecision(decision="settled")
            given = _answered(f"settled/{run.status}", view, said)
        else:
            continue
        standing = await ledger.database.write(
            lambda connection, view=view, given=given: store.answer(  # type: ignore[misc]
                ledger.database, connection, view.id, given
            ),
            commit="record",
        )
        decided += [view.id] if standing is AnswerStanding.DECIDED else []
    return decided


def _recorded(run: Run, subject: PletorSubject) -> RecordedReview | None:
    return next((one for one in run.reviews if one.id == subject.review_id and one.decision), None)


def _is_listed(run: Run, subject: PletorSubject) -> bool:
    return any(one.id == subject.review_id for one in run.pending_reviews)


async def _is_missed(ledger: Ledger, run: Run, view: ReviewView, subject: PletorSubject) -> bool:
    """Whether the run goes on without the review, now and at a look some time ago."""
    if _is_listed(run, subject):
        if view.missing_since is not None:
            await ledger.database.write(partial(store.listed, review_id=view.id), commit="record")
        return False
    if run.awaiting_human_review and not run.pending_reviews:
        return False  # the list is late (pletor.md §4)
    seconds = await ledger.database.write(
        partial(store.missing, ledger.database, review_id=view.id), commit="record"
    )
    return seconds >= MISSING


def _answered(nonce: str, view: ReviewView, said: ReviewDecision) -> store.Answered:
    return store.Answered(
        nonce=f"pletor/{nonce}",
        through=Through.VENDOR,
        by=SOMEBODY,
        said=said.model_dump(mode="json"),
        digest=view.digest,
    )


async def _note(ledger: Ledger, view: ReviewView, decision: str | None) -> None:
    """Keep as evidence that Pletor was told something else before."""
    known = {"approve", "regenerate", "reject"}
    said = ReviewDecision.model_validate({"decision": decision if decision in known else "settled"})
    given = _answered(f"before/{decision}", view, said)
    await ledger.database.write(
        lambda connection: store.answer(ledger.database, connection, view.id, given), commit="record"
    )


def _asset_ids(pending: PendingReview) -> list[str]:
    return list(dict.fromkeys(one.asset_id for one in pending.options if one.asset_id is not None))


def _to_pletor(decision: ReviewDecision, view: ReviewView) -> models.ReviewDecision:
    why = view.decided_why
    match decision.decision:
        case "approve" if decision.selected:
            texts = _offered_texts(view)
            ids = [choice_id for choice_id in decision.selected if choice_id not in texts]
            text = next((texts[choice_id] for choice_id in decision.selected if choice_id in texts), None)
            return models.select(*ids, text=text, feedback=why)
        case "approve" if decision.text is not None:
            return models.edit(decision.text, feedback=why)
        case "approve":
            return models.approve(why)
        case "regenerate":
            return models.regenerate(why)
        case "reject":
            return models.reject(why)
    raise PlaitError(f"a decision {decision.decision!r} is nothing to tell Pletor")


def _offered_texts(view: ReviewView) -> dict[str, str]:
    """The texts among a question's choices."""
    offered = _offered(view.question["content"]).items()
    return {
        choice_id: one["text"] for choice_id, one in offered if choice_id != one["asset_id"] and one["text"]
    }


def _from_pletor(recorded: RecordedReview, view: ReviewView) -> ReviewDecision:
    word = (recorded.decision or "").lower()
    made = {"decision": word if word in {"approve", "regenerate", "reject"} else "settled"}
    if made["decision"] != "approve":
        return ReviewDecision.model_validate(made)
    selected, text = list(recorded.selected_asset_ids), recorded.text
    if view.question["kind"] == "selection" and text is not None:
        selected += [choice_id for choice_id, words in _offered_texts(view).items() if words == text][:1]
        text = None
    return ReviewDecision.model_validate({**made, "selected": selected, "text": text})
