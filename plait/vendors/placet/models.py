"""What Placet says and is told (placet.md §3.0).

What we read keeps unknown fields and unknown words; what we send refuses them. Unset columns are
null on the wire, and a pending review lacks the keys of its answer.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from plait.vendors.placet.reviews import ReviewRequest

Json = Any

MessageStatus = Literal["info", "success", "warning", "error"]
StreamState = Literal["streaming", "complete", "aborted"]
ChannelStatus = Literal["active", "busy", "error", "offline"]


class Received(BaseModel):
    """Base of what the server answers: camelCase on the wire, unknown fields kept."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)


class Sent(BaseModel):
    """Base of what we send."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Attachment(Received):
    """A stored file. `message_id` None: not attached to a message yet."""

    id: str
    channel_id: str | None = None
    message_id: str | None = None
    filename: str
    mime_type: str = "application/octet-stream"
    size: int
    plugin_type: str | None = None
    text_content: str | None = None
    """Text of small text files; only some calls give it (placet.md §3.0)."""
    created_at: AwareDatetime | None = None


class ReviewState(StrEnum):
    """What a review's status word means for us."""

    PENDING = "pending"
    """Also every word not known."""
    COMPLETED = "completed"
    EXPIRED = "expired"


class Review(Received):
    """A review as the server stores it (placet.md §3.0). `plait.vendors.placet.answers` reads the answer."""

    type: str
    payload: dict[str, Json] = Field(default_factory=dict)
    status: str = "pending"
    expires_at: AwareDatetime | None = None
    """An instant after which it may still be answered (placet.md §4.2)."""
    response: Json = None
    feedback: str | None = None
    modified_file_ids: dict[str, str] = Field(default_factory=dict)
    """Original attachment id to the id of the annotated file."""
    completed_at: AwareDatetime | None = None

    @property
    def state(self) -> ReviewState:
        """The status word, classified; the word itself stays in `status`."""
        return ReviewState(self.status) if self.status in set(ReviewState) else ReviewState.PENDING


class StatusStep(Received):
    """A step of work shown with a streaming draft (placet.md §5.1)."""

    id: str
    index: int | None = None
    text: str | None = None
    tool_hint: str | None = None
    created_at: AwareDatetime | None = None


class Message(Received):
    """A message of a channel."""

    id: str
    channel_id: str
    sender_type: str = "agent"
    """`agent` or `user`."""
    sender_id: str | None = None
    text: str | None = None
    """Markdown."""
    status: str | None = None
    review: Review | None = None
    metadata: dict[str, Json] | None = None
    client_id: str | None = None
    stream_id: str | None = None
    stream_state: str | None = None
    delivery_status: str | None = None
    iteration_group_id: str | None = None
    iteration: int | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime | None = None
    attachments: list[Attachment] = Field(default_factory=list)
    status_events: list[StatusStep] = Field(default_factory=list)
    """Only in the paginated list."""


class MessagePage(Received):
    """One page of a channel's messages, newest first."""

    data: list[Message]
    next_cursor: str | None = None


class IterationChain(Received):
    """The rounds of one question, by their number (placet.md §3.8)."""

    group_id: str | None = None
    iterations: list[Message]


class WaitResult(Received):
    """The answer of one long-poll; `timeout` comes without a message (placet.md §3.5)."""

    status: str
    message: Message | None = None


class Channel(Received):
    """A channel, which Placet also calls agent. Secrets of its webhook come masked as `***`."""

    id: str
    name: str
    description: str | None = None
    avatar_url: str | None = None
    webhook_url: str | None = None
    status: str | None = None
    status_message: str | None = None
    status_since: AwareDatetime | None = None
    last_active_at: AwareDatetime | None = None
    tag: str | None = None
    created_at: AwareDatetime | None = None


class PluginVariable(Received):
    """A setting a plugin asks for; its value is never shown."""

    key: str
    label: str | None = None
    required: bool = False
    secret: bool = False


class Plugin(Received):
    """A plugin's definition (placet.md §3.0). `input_schema` is JSON Schema."""

    name: str
    display_name: str | None = None
    version: str | None = None
    description: str | None = None
    input_schema: dict[str, Json] | None = None
    env: list[PluginVariable] = Field(default_factory=list)


class Acknowledged(Received):
    """The answer to an ack."""

    acknowledged: bool = True


class Deleted(Received):
    """The answer to a deletion."""

    deleted: bool = True


class TextAttachment(Sent):
    """A text that the server stores as a file and attaches (placet.md §3.1)."""

    content: str = Field(min_length=1)
    filename: str = "content.md"
    mime_type: str = "text/markdown"


class MessageContent(BaseModel):
    """What a message is to say. At least one of text, status, review and files.

    `attachment_ids` are stored, still unattached files of the same channel. `iteration_of` is an
    earlier message of the channel whose review is closed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    status: MessageStatus | None = None
    review: ReviewRequest | None = None
    metadata: Mapping[str, Json] | None = None
    webhook_url: str | None = None
    attachment_ids: tuple[str, ...] = ()
    text_attachments: tuple[TextAttachment, ...] = ()
    iteration_of: str | None = None

    def body(self) -> dict[str, Json]:
        """The JSON that says it, without keys and channel; unset fields are left out."""
        sent = {
            "text": self.text or None,
            "status": self.status,
            "review": self.review.body() if self.review is not None else None,
            "metadata": dict(self.metadata) if self.metadata else None,
            "webhookUrl": self.webhook_url,
            "attachmentIds": list(self.attachment_ids) or None,
            "textAttachments": [text.model_dump(mode="json", by_alias=True) for text in self.text_attachments]
            or None,
            "iterationOf": self.iteration_of,
        }
        return {name: value for name, value in sent.items() if value is not None}


class WebhookAuth(Sent):
    """Basic credentials that Placet sends with each webhook call."""

    username: str = Field(min_length=1)
    password: Annotated[str, Field(min_length=1, repr=False)]


class ChannelRequest(Sent):
    """A channel to make. Names are not unique at the server."""

    name: str = Field(min_length=1)
    description: str | None = None
    avatar_url: str | None = None
    webhook_url: str | None = None
    tag: str | None = Field(default=None, max_length=64)


def milliseconds(moment: datetime) -> str:
    """A moment as Placet writes it: UTC with milliseconds and `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
