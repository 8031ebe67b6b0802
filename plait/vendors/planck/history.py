"""What became of our message, read off a conversation's history (planck.md §6.1)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from plait.vendors.planck.models import HistoryMessage

_DONE_WORDS: Final = frozenset(
    {"", "done", "complete", "completed", "finished", "final", "success", "succeeded", "ok", "ready", "sent"}
)
_DONE_FLAGS: Final = ("complete", "completed", "is_complete", "finished", "is_finished", "done")
_OPEN_FLAGS: Final = ("partial", "is_partial", "streaming", "is_streaming", "in_progress", "incomplete")


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Our message is not in the history."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Our message may be there, and the history does not tell enough yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Our message has a complete answer."""

    reply: HistoryMessage


@dataclass(frozen=True, slots=True)
class AskedTwice:
    """Our message is there more than once."""

    message_ids: tuple[str, ...]


def in_order(messages: Sequence[HistoryMessage]) -> list[HistoryMessage]:
    """Oldest first by `created_at`, where every message has one; else as they came (planck.md §2.3).

    Messages of one moment keep the order of the list, which may run either way.
    """
    times = [message.created_at for message in messages]
    if any(time is None for time in times):
        return list(messages)
    known = [time for time in times if time is not None]
    newest_first = len(known) > 1 and known[0] > known[-1]
    listed = list(reversed(messages)) if newest_first else list(messages)
    return sorted(listed, key=lambda message: message.created_at or known[0])


def is_complete(message: HistoryMessage) -> bool:
    """Whether a stored answer looks whole: some content, no flag and no status word to the contrary."""
    extra = message.model_extra or {}
    if any(extra.get(flag) is True for flag in _OPEN_FLAGS) or any(
        extra.get(flag) is False for flag in _DONE_FLAGS
    ):
        return False
    return bool(message.content) and (message.status or "").strip().lower() in _DONE_WORDS


def find_reply(
    messages: Sequence[HistoryMessage], known: Collection[str], text: str
) -> NotAsked | Waiting | Answered | AskedTwice:
    """What the history says of `text`, sent after the messages with the ids `known` were there."""
    if any(message.id is None for message in messages):
        return Waiting("the history gives its messages no ids, so new ones cannot be told from old ones")
    fresh = _after(in_order(messages), known)
    asked = [index for index, message in enumerate(fresh) if _is_ours(message, text)]
    if len(asked) > 1:
        return AskedTwice(tuple(fresh[index].id or "" for index in asked))
    if asked:
        return _reply(fresh[asked[0] + 1 :])
    if fresh and not any(message.role == "user" for message in fresh):
        return Waiting("the history shows a new answer whose question is not there yet")
    return NotAsked()


def _after(messages: list[HistoryMessage], known: Collection[str]) -> list[HistoryMessage]:
    """The messages that are new, oldest first.

    Where times do not say which way the list runs, its place beside the known ones does, and in a
    conversation that was empty a list that begins with an answer runs backwards.
    """
    fresh = [message for message in messages if message.id not in known]
    if not fresh or all(message.created_at is not None for message in messages):
        return fresh
    old = [index for index, message in enumerate(messages) if message.id in known]
    backwards = messages.index(fresh[0]) < old[0] if old else fresh[0].role == "assistant"
    return fresh[::-1] if backwards else fresh


def _is_ours(message: HistoryMessage, text: str) -> bool:
    """Whether it is our question; white space is not compared, servers trim it."""
    sent = HistoryMessage.model_validate({"role": "user", "content": text})
    return message.role == "user" and message.text.split() == sent.text.split()


def _reply(following: Sequence[HistoryMessage]) -> Waiting | Answered:
    """The answer is what the assistant says before the next question."""
    for message in following:
        if message.role == "user":
            break
        if message.role == "assistant":
            return (
                Answered(message) if is_complete(message) else Waiting("the answer is stored half-finished")
            )
    return Waiting("the question is stored and has no answer yet")
