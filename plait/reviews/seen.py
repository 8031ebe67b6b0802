"""What a message of a question that was read back says (placet.md §3.7, §4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from plait.http.errors import InvalidInput
from plait.ledger.review_views import OpenMessage, ReviewView
from plait.ledger.store.reviews import Answered
from plait.ledger.tables import Through
from plait.reviews.decision import ReviewDecision, Undecided, read
from plait.reviews.question import Question, digest_of
from plait.vendors.placet.models import Message, ReviewState

SOMEBODY: Final = "a person in Placet"
"""Placet does not say who answered (placet.md §3.7)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that left the list of the waiting; `message` None where it is gone."""

    open: OpenMessage
    message: Message | None


def digest_of_message(message: Message) -> str:
    """SHA-256 of what a person sees of a message: words, review, files."""
    review = message.review
    return digest_of(
        {
            "text": message.text or "",
            "review": None if review is None else [review.type, _without_nulls(review.payload)],
            "files": sorted([file.id, file.filename, file.size] for file in message.attachments),
        }
    )


def _without_nulls(value: Any) -> Any:
    """A server may store absent fields as null."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def is_over(seen: Seen) -> bool:
    """Whether a message waits no more: one that was listed late may still be pending."""
    message = seen.message
    return message is None or message.review is None or message.review.state is not ReviewState.PENDING


def closed_by(seen: Seen) -> str:
    """What ended it: answered, expired or deleted."""
    if seen.message is None or seen.message.review is None:
        return "deleted"
    return "expired" if seen.message.review.state is ReviewState.EXPIRED else "answered"


def answered_by(view: ReviewView, seen: Seen) -> Answered | None:
    """What a message that waits no more says; None where nobody said anything (it expired)."""
    n, message = seen.open.n, seen.message
    about = partial(Answered, through=Through.PLACET, by=SOMEBODY, n=n)
    if message is None or message.review is None:
        if not view.waits:
            return None
        return about(nonce=f"placet/{n}/deleted", why="its message was deleted")
    review = message.review
    if review.state is ReviewState.EXPIRED:
        return None
    at = None if review.completed_at is None else review.completed_at.timestamp()
    nonce = f"placet/{n}/{digest_of([review.response, review.feedback, at])[:20]}"
    if digest_of_message(message) != view.messages[n].shown:
        why = "its message was changed after it was posted, so the answer may be to something else"
        return about(nonce=nonce, why=why, answered_at=at)
    read_as = read(Question.model_validate(view.question), review)
    if isinstance(read_as, Undecided):
        return about(nonce=nonce, why=read_as.reason, answered_at=at, digest=view.digest)
    return about(
        nonce=nonce,
        said=read_as.decision.model_dump(mode="json"),
        why=read_as.why,
        answered_at=at,
        digest=view.digest,
    )


def has_secrets(message: Message) -> bool:
    """A page redacts password fields, so that its answer is not the one that was given (placet.md §3.3)."""
    fields = (message.review.payload if message.review is not None else {}).get("fields")
    return any(isinstance(one, Mapping) and one.get("type") == "password" for one in fields or ())


def decision_of(view: ReviewView) -> ReviewDecision:
    """The recorded decision. Raises `InvalidInput` where there is none."""
    if view.decision is None:
        raise InvalidInput(f"{view.id} is {view.state}: there is no decision")
    return ReviewDecision.model_validate(view.decision)
