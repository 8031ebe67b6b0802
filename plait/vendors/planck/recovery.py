"""How Planck AI's effects are found again after a lost answer (planck.md §6)."""

from dataclasses import dataclass, field, replace
from typing import Final

from plait.http.errors import AuthenticationFailed, NotFound, PermissionDenied, PlaitError
from plait.http.operation import Effect, Operation
from plait.ledger.recipe import (
    Absent,
    AnyRecipe,
    Found,
    Identity,
    Json,
    Look,
    NotYetKnown,
    Recorded,
    Several,
    Verdict,
)
from plait.vendors.planck import operations
from plait.vendors.planck.client import METHOD_NOT_ALLOWED, PlanckClient
from plait.vendors.planck.history import Answered, AskedTwice, Waiting, find_reply
from plait.vendors.planck.models import ChatMessage, ChatSettings, Conversation

_MARKER_LENGTH: Final = 12


@dataclass(slots=True)
class CreateConversation:
    """Create one conversation, named `title · marker` so that it can be found (planck.md §6)."""

    client: PlanckClient
    workspace_id: str
    title: str

    operation: Operation = field(default=operations.CREATE_CONVERSATION, init=False, repr=False)
    result_type: type[Conversation] = field(default=Conversation, init=False, repr=False)

    async def identity(self) -> Identity:
        """The workspace and the title; the marker in the name makes a unit needless."""
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/workspaces/{self.workspace_id}",
            inputs={"title": self.title},
        )

    async def baseline(self) -> Json:
        """Nothing: the marker tells ours from all others."""
        return None

    async def send(self, external_id: str) -> Conversation:
        """Create it under its marked name."""
        return await self.client.create_conversation(self.workspace_id, self.name(external_id))

    async def look(self, context: Look) -> Verdict[Conversation]:
        """List all conversations; ours ends in the marker, even if somebody renamed its front."""
        try:
            listed = await self.client.list_conversations(self.workspace_id)
        except PlaitError as error:
            return _cannot_look(error)
        marker = _marker(context.external_id)
        ours = [
            conversation
            for conversation in listed
            if (conversation.name or "").rstrip().endswith(marker) and conversation.is_owner is not False
        ]
        if len(ours) > 1:
            return Several(tuple(conversation.id for conversation in ours))
        return Found(ours[0]) if ours else Absent()

    def vendor_id(self, result: Conversation) -> str:
        """The conversation's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False

    def name(self, external_id: str) -> str:
        """The name that is sent."""
        return f"{' '.join(self.title.split())} · {_marker(external_id)}".lstrip()


@dataclass(slots=True)
class SendMessage:
    """Ask once in a conversation; the stored question and its answer are looked for (planck.md §6.1)."""

    client: PlanckClient
    workspace_id: str
    conversation_id: str
    text: str
    settings: ChatSettings = field(default_factory=ChatSettings)

    operation: Operation = field(default=operations.SEND_MESSAGE, init=False, repr=False)
    result_type: type[ChatMessage] = field(default=ChatMessage, init=False, repr=False)

    async def identity(self) -> Identity:
        """The question in its conversation, one sender at a time."""
        place = f"{self.client.base_url}/workspaces/{self.workspace_id}/conversations/{self.conversation_id}"
        return Identity(
            account=self.client.base_url,
            target=place,
            inputs=_question(self.text, self.settings),
            unit=f"planck:{self.client.base_url}:conversation:{self.conversation_id}",
        )

    async def baseline(self) -> Json:
        """The ids of the messages before ours; None where this server shows no history."""
        try:
            history = await self.client.list_messages(self.workspace_id, self.conversation_id)
        except PlaitError as error:
            if _has_no_history(error):
                return {"ids": None}
            raise
        return {"ids": [message.id for message in history]}

    async def send(self, external_id: str) -> ChatMessage:
        """Ask. A conversation has no place for an id of ours, so `external_id` is not sent."""
        del external_id
        return await self.client.send_message(
            self.workspace_id, self.conversation_id, self.text, self.settings
        )

    async def look(self, context: Look) -> Verdict[ChatMessage]:
        """Find our question among the new messages, and its complete answer (planck.md §6.1)."""
        known = context.baseline["ids"]
        if known is None:
            return NotYetKnown(_NO_HISTORY)
        try:
            history = await self.client.list_messages(self.workspace_id, self.conversation_id)
        except PlaitError as error:
            return NotYetKnown(_NO_HISTORY) if _has_no_history(error) else _cannot_look(error)
        match find_reply(history, set(known), self.text):
            case Answered(reply):
                return Found(ChatMessage(id=reply.id, content=reply.content, reconstructed=True))
            case AskedTwice(message_ids):
                return Several(message_ids)
            case Waiting(reason):
                return NotYetKnown(f"conversation {self.conversation_id}: {reason}")
            case _:
                return Absent()

    def vendor_id(self, result: ChatMessage) -> str:
        """The conversation's id: an answer's id may differ by where it is read (planck.md §5.1)."""
        del result
        return self.conversation_id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


@dataclass(slots=True)
class Chat:
    """Ask once without a conversation. Nothing is stored, so a lost answer cannot be found (planck.md §6)."""

    client: PlanckClient
    workspace_id: str
    text: str
    settings: ChatSettings = field(default_factory=ChatSettings)
    pay_again: bool = False
    """The caller accepts to pay for another answer where the first was lost."""

    operation: Operation = field(default=operations.CHAT, init=False, repr=False)
    result_type: type[ChatMessage] = field(default=ChatMessage, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.pay_again:  # what may be paid twice may be judged absent, which `BLIND` never is
            self.operation = replace(operations.CHAT, effect=Effect.FINDABLE)

    async def identity(self) -> Identity:
        """The question in its workspace; willingness to pay again is no part of it."""
        return Identity(
            account=self.client.base_url,
            target=f"{self.client.base_url}/workspaces/{self.workspace_id}",
            inputs=_question(self.text, self.settings),
        )

    async def baseline(self) -> Json:
        """Nothing: there is nothing to look at."""
        return None

    async def send(self, external_id: str) -> ChatMessage:
        """Ask. The server stores nothing, so `external_id` is not sent."""
        del external_id
        return await self.client.chat(self.workspace_id, self.text, self.settings)

    async def look(self, context: Look) -> Verdict[ChatMessage]:
        """Absent where paying twice is accepted: nothing is stored. Else never known."""
        del context
        if self.pay_again:
            return Absent()
        return NotYetKnown(
            "a stateless question leaves nothing to look at; "
            "ask again with pay_again=True to accept a second charge"
        )

    def vendor_id(self, result: ChatMessage) -> str:
        """The stream's id; empty where it gave none."""
        return result.id or ""

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


def restore(client: PlanckClient, recorded: Recorded) -> AnyRecipe | None:
    """The recipe of a recorded effect, able to look and not to send; None for an unknown operation.

    What a question was about is left out: only its text is looked for.
    """
    place = recorded.target.removeprefix(f"{recorded.account}/workspaces/")
    workspace_id, _, conversation_id = place.partition("/conversations/")
    match recorded.operation:
        case "create_conversation":
            return CreateConversation(client, workspace_id, recorded.inputs["title"])
        case "send_message":
            return SendMessage(client, workspace_id, conversation_id, recorded.inputs["message"])
        case "chat":
            return Chat(client, workspace_id, recorded.inputs["message"])
    return None


_NO_HISTORY: Final = (
    "this server shows no history at the assumed path, so a sent message cannot be looked for; "
    "read the conversation in Planck and resolve this effect by hand, or ask in a new conversation"
)


def _marker(external_id: str) -> str:
    """Environment and tail of the external id: people find it in the ledger by either."""
    environment, _, _ = external_id.partition("-")
    return f"{environment}-{external_id[-_MARKER_LENGTH:]}"


def _question(text: str, settings: ChatSettings) -> Json:
    return settings.request(text).model_dump(mode="json", exclude_none=True)


def _has_no_history(error: PlaitError) -> bool:
    return isinstance(error, NotFound) or error.status == METHOD_NOT_ALLOWED


def _cannot_look(error: PlaitError) -> NotYetKnown:
    """What a failed look says. Raises where only a person can make the look possible again."""
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        raise error
    return NotYetKnown(f"Planck could not be asked: {error}", error.retry_after)
