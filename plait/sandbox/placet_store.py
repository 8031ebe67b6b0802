"""What the Placet stand-in remembers, and how it is shown on the wire (placet.md §3.0)."""

import secrets
import string
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from plait.sandbox.store import Entity, Transaction

USERS: Final = {"hp_sandbox": "user-sandbox", "hp_other": "user-other"}
"""Seeded keys: a key stands for a user and sees all channels of that user."""
KEY_PREFIX: Final = "hp_"
REVIEWS: Final = "cmsandboxreviews000000000"
ESCALATIONS: Final = "cmsandboxescalation000000"
"""The seeded channels of the first key."""
TEXT_LIMIT: Final = 64 * 1024
_TEXT_TYPES: Final = frozenset({"text/markdown", "text/plain", "text/html", "text/csv"})
_ALPHABET: Final = string.ascii_lowercase + string.digits
_HIDDEN: Final = "***REDACTED***"


class StoredChannel(Entity):
    """A channel; `parent` is its user."""

    kind: ClassVar[str] = "placet.channel"

    name: str
    description: str | None = None
    avatar_url: str | None = None
    webhook_url: str | None = None
    webhook_headers: dict[str, str] | None = None
    webhook_auth: dict[str, str] | None = None
    status: str = "offline"
    status_message: str | None = None
    status_since: datetime | None = None
    last_active_at: datetime | None = None
    tag: str | None = None


class StoredReview(BaseModel):
    """A review as it is stored; the keys of the answer are absent while it is pending."""

    model_config = ConfigDict(extra="forbid")

    type: str
    payload: dict[str, Any] | None = None
    status: str = "pending"
    expires_at: datetime
    callback: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    feedback: str | None = None
    modified_file_ids: dict[str, str] | None = None
    completed_at: datetime | None = None


class StoredMessage(Entity):
    """A message; `parent` is its channel."""

    kind: ClassVar[str] = "placet.message"

    sender_type: str = "agent"
    sender_id: str
    text: str | None = None
    status: str | None = None
    review: StoredReview | None = None
    metadata: dict[str, Any] | None = None
    webhook_url: str | None = None
    client_id: str | None = None
    stream_id: str | None = None
    stream_state: str | None = None
    delivery_status: str = "sent"
    iteration_group_id: str | None = None
    iteration: int | None = None
    updated_at: datetime
    file_ids: list[str] = Field(default_factory=list)


class StoredFile(Entity):
    """A file; `parent` is its channel, its bytes lie beside the state."""

    kind: ClassVar[str] = "placet.file"

    message_id: str | None = None
    filename: str
    mime_type: str
    size: int

    def path(self, folder: Path) -> Path:
        """Where the bytes lie."""
        return folder / f"placet-{self.id}"


class StoredKey(Entity):
    """Which message a `clientId` or `streamId` of a channel stands for; `parent` is the message."""

    kind: ClassVar[str] = "placet.key"


def key_id(word: str, channel_id: str, key: str) -> str:
    """The id of a `StoredKey`; `word` is `client` or `stream`."""
    return f"{word}/{channel_id}/{key}"


def new_id() -> str:
    """An opaque id, in the shape of the vendor's."""
    return "cm" + "".join(secrets.choice(_ALPHABET) for _ in range(23))


def moment(value: datetime | None) -> str | None:
    """A time on the wire: UTC with milliseconds and `Z`."""
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def find_messages(
    transaction: Transaction,
    where: str,
    arguments: Iterable[Any] = (),
    *,
    order: str = "seq DESC",
    limit: int = -1,
) -> list[StoredMessage]:
    """Visible messages, newest first. `where` and `order` are SQL of our own over the row and its JSON."""
    rows = transaction.connection.execute(
        f"SELECT data FROM entity WHERE kind = ? AND visible_at <= ? AND ({where}) ORDER BY {order} LIMIT ?",  # noqa: S608 - conditions are literals of the stand-in
        (StoredMessage.kind, time.time(), *arguments, limit),
    )
    return [StoredMessage.model_validate_json(row[0]) for row in rows]


def count_messages(transaction: Transaction, where: str) -> dict[str, int]:
    """How many messages of each channel fit `where`."""
    rows = transaction.connection.execute(
        f"SELECT parent, count(*) FROM entity WHERE kind = ? AND ({where}) GROUP BY parent",  # noqa: S608 - as above
        (StoredMessage.kind,),
    )
    return dict(rows.fetchall())


PENDING: Final = "json_extract(data, '$.review.status') = 'pending'"


def files_of(transaction: Transaction, message: StoredMessage) -> list[StoredFile]:
    """A message's files in the order in which they were attached."""
    found = (transaction.get(StoredFile, file_id) for file_id in message.file_ids)
    return [file for file in found if file is not None]


def text_of(file: StoredFile, folder: Path) -> str | None:
    """The text of a small text file; blocking."""
    if file.mime_type not in _TEXT_TYPES or file.size > TEXT_LIMIT:
        return None
    try:
        return file.path(folder).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def shown_file(file: StoredFile, *, texts: Path | None = None) -> dict[str, Any]:
    """An attachment; with `texts`, the folder of the files, its text stands beside it."""
    shown: dict[str, Any] = {
        "id": file.id,
        "messageId": file.message_id,
        "channelId": file.parent,
        "pluginType": "@uax/image" if file.mime_type.startswith("image/") else "@uax/file",
        "filename": file.filename,
        "mimeType": file.mime_type,
        "size": file.size,
        "storageKey": f"{file.parent}/{file.id}",
        "pluginData": None,
        "createdAt": moment(file.created_at),
    }
    return shown if texts is None else {**shown, "textContent": text_of(file, texts)}


def shown_review(review: StoredReview, *, redacted: bool = False) -> dict[str, Any]:
    """A review; what is not there yet is absent, not null."""
    response = review.response
    if redacted and response is not None and review.type == "form":
        fields = (review.payload or {}).get("fields")
        names = {f.get("name") for f in fields or () if isinstance(f, dict) and f.get("type") == "password"}
        response = {name: _HIDDEN if name in names else value for name, value in response.items()}
    given = {
        "type": review.type,
        "payload": review.payload,
        "status": review.status,
        "expiresAt": moment(review.expires_at),
        "callback": review.callback,
        "response": response,
        "feedback": review.feedback,
        "modifiedFileIds": review.modified_file_ids,
        "completedAt": moment(review.completed_at),
    }
    return {name: value for name, value in given.items() if value is not None}


def shown_message(
    message: StoredMessage,
    files: Iterable[StoredFile],
    *,
    texts: Path | None = None,
    redacted: bool = False,
) -> dict[str, Any]:
    """A message with its files."""
    return {
        "id": message.id,
        "channelId": message.parent,
        "senderType": message.sender_type,
        "senderId": message.sender_id,
        "text": message.text,
        "status": message.status,
        "review": None if message.review is None else shown_review(message.review, redacted=redacted),
        "metadata": message.metadata or None,
        "clientId": message.client_id,
        "streamId": message.stream_id,
        "streamState": message.stream_state,
        "deliveryStatus": message.delivery_status,
        "iterationGroupId": message.iteration_group_id,
        "iteration": message.iteration,
        "createdAt": moment(message.created_at),
        "updatedAt": moment(message.updated_at),
        "attachments": [shown_file(file, texts=texts) for file in files],
    }


def shown_channel(channel: StoredChannel, *, secrets_too: bool = False) -> dict[str, Any]:
    """A channel; its webhook's password is masked everywhere but in `review:responded` (placet.md §5.3)."""
    auth = channel.webhook_auth
    if auth is not None and not secrets_too:
        auth = {**auth, "password": "***"}
    return {
        "id": channel.id,
        "name": channel.name,
        "description": channel.description,
        "avatarUrl": channel.avatar_url,
        "webhookUrl": channel.webhook_url,
        "webhookHeaders": channel.webhook_headers,
        "webhookAuth": auth,
        "status": channel.status,
        "statusMessage": channel.status_message,
        "statusSince": moment(channel.status_since),
        "lastActiveAt": moment(channel.last_active_at),
        "commands": None,
        "tag": channel.tag,
        "managementUrl": None,
        "managementApiKey": None,
        "isSubagent": False,
        "parentAgentId": None,
        "createdAt": moment(channel.created_at),
    }


def seed(transaction: Transaction, now: datetime) -> None:
    """Two channels for the first user, one for the other, where there are none yet."""
    if transaction.list(StoredChannel):
        return
    for channel_id, user, name, words in (
        (REVIEWS, "user-sandbox", "Reviews", "What waits for a decision."),
        (ESCALATIONS, "user-sandbox", "Escalations", "What nobody decided in time."),
        ("cmsandboxother00000000000", "user-other", "Somebody else's", "Foreign to the first key."),
    ):
        transaction.put(
            StoredChannel(id=channel_id, parent=user, created_at=now, name=name, description=words)
        )
        now += timedelta(milliseconds=1)


PLUGINS: Final[list[dict[str, Any]]] = [
    {
        "name": "form-submit",
        "displayName": "Form submit",
        "version": "1.0.0",
        "description": "Sends a filled form to an address.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "email": {"type": "string"},
                "message": {"type": "string"},
            },
        },
        "permissions": {"httpRequests": True},
        "env": [{"key": "FORM_URL", "label": "Address", "required": True}],
    },
    {
        "name": "kroki-diagram",
        "displayName": "Kroki diagram",
        "version": "1.0.0",
        "description": "Draws a diagram from text.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "type": {
                    "type": "string",
                    "enum": [
                        "blockdiag",
                        "bpmn",
                        "c4plantuml",
                        "d2",
                        "ditaa",
                        "erd",
                        "excalidraw",
                        "graphviz",
                        "mermaid",
                        "nomnoml",
                        "plantuml",
                        "structurizr",
                        "vega",
                    ],
                },
                "source": {"type": "string"},
            },
            "required": ["type", "source"],
        },
        "permissions": {"httpRequests": True, "maxHttpDomains": ["kroki.io"]},
    },
]
"""The two plugins that ship with the server; which 13 diagram kinds is [assumed]."""
