"""Every Placet call, declared once (placet.md §3). The base URL is the server's root.

The vendor's limit of 100 requests a minute counts per client address *and route*, so each operation
is a limit class of its own (placet.md §2).
"""

from typing import Final

from plait.http.operation import Effect, Operation, Source, Timeouts

SYSTEM: Final = "placet"
MEBIBYTE: Final = 1024 * 1024
BODY_LIMIT: Final = MEBIBYTE
"""Bytes of a JSON body; more is a 413 (placet.md §2)."""
FILE_LIMIT: Final = 100 * 1000 * 1000
"""Bytes of a file; more is a 500 (placet.md §3.9). The vendor says 100 MB; the smaller reading is used."""
RATE: Final = 100 / 60
"""Requests a second that one route takes on average (placet.md §2)."""

_FILE: Final = Timeouts(read=120.0, write=120.0)
_POLL: Final = Timeouts(read=45.0)
"""The server holds a long-poll up to 30 s, and looks every 2 s (placet.md §3.5)."""

POST_MESSAGE: Final = Operation(
    system=SYSTEM,
    name="post_message",
    method="POST",
    path="/api/v1/messages",
    effect=Effect.KEYED,
    source=Source.DOC,
    reference="placet.md §3.1",
    limit_class="post_message",
    recovery=(
        "The same POST is repeated under the same streamId and clientId: the stored message comes back. "
        "A stored message that says something else is an incident."
    ),
    cleanup="DELETE /api/v1/messages/{message_id}",
    landing=30.0,
    visibility=2.0,
)

UPDATE_STREAM: Final = Operation(
    system=SYSTEM,
    name="update_stream",
    method="PATCH",
    path="/api/v1/messages/streams/{stream_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.DOC,
    reference="placet.md §3.2",
    limit_class="update_stream",
    in_order=True,
    landing=20.0,
    deadline=20.0,
    recovery=(
        "Nothing newer is sent until the lost text is seen at the server or can land no more; then the "
        "newest text of the draft is sent, so an older one never replaces it."
    ),
)

LIST_MESSAGES: Final = Operation(
    system=SYSTEM,
    name="list_messages",
    method="GET",
    path="/api/v1/messages",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3.3",
    limit_class="list_messages",
)

GET_MESSAGE: Final = Operation(
    system=SYSTEM,
    name="get_message",
    method="GET",
    path="/api/v1/messages/{message_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 4",
    limit_class="get_message",
)

DELETE_MESSAGE: Final = Operation(
    system=SYSTEM,
    name="delete_message",
    method="DELETE",
    path="/api/v1/messages/{message_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.DOC,
    reference="placet.md §3.4",
    limit_class="delete_message",
    recovery="Repeated; a 404 after a lost answer means deleted.",
)

ACK_MESSAGE: Final = Operation(
    system=SYSTEM,
    name="ack_message",
    method="POST",
    path="/api/v1/messages/{message_id}/ack",
    effect=Effect.IDEMPOTENT,
    source=Source.DOC,
    reference="placet.md §3 no. 6",
    limit_class="ack_message",
    recovery="Repeated; an acknowledged message stays acknowledged.",
)

LIST_ITERATIONS: Final = Operation(
    system=SYSTEM,
    name="list_iterations",
    method="GET",
    path="/api/v1/messages/iterations/{message_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="placet.md §3.8",
    limit_class="list_iterations",
)

LIST_PENDING_REVIEWS: Final = Operation(
    system=SYSTEM,
    name="list_pending_reviews",
    method="GET",
    path="/api/v1/reviews/pending",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 7",
    limit_class="list_pending_reviews",
)

GET_REVIEW: Final = Operation(
    system=SYSTEM,
    name="get_review",
    method="GET",
    path="/api/v1/reviews/{message_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 8",
    limit_class="get_review",
)

WAIT_FOR_REVIEW: Final = Operation(
    system=SYSTEM,
    name="wait_for_review",
    method="GET",
    path="/api/v1/reviews/{message_id}/wait",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3.5",
    limit_class="wait_for_review",
    timeouts=_POLL,
)

LIST_CHANNELS: Final = Operation(
    system=SYSTEM,
    name="list_channels",
    method="GET",
    path="/api/v1/agents",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 10",
    limit_class="list_channels",
)

CREATE_CHANNEL: Final = Operation(
    system=SYSTEM,
    name="create_channel",
    method="POST",
    path="/api/v1/agents",
    effect=Effect.FINDABLE,
    source=Source.DOC,
    reference="placet.md §3 no. 11",
    limit_class="create_channel",
    recovery=(
        "Its description carries a marker of ours: all channels are listed and the one with the marker "
        "is adopted."
    ),
    cleanup="DELETE /api/v1/agents/{channel_id}",
)

DELETE_CHANNEL: Final = Operation(
    system=SYSTEM,
    name="delete_channel",
    method="DELETE",
    path="/api/v1/agents/{channel_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="placet.md §6",
    limit_class="delete_channel",
    recovery="Repeated; a 404 after a lost answer means deleted.",
)

SET_WEBHOOK: Final = Operation(
    system=SYSTEM,
    name="set_webhook",
    method="POST",
    path="/api/v1/agents/setWebhook",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="placet.md §5.2",
    limit_class="set_webhook",
    recovery="Repeated; a channel has one webhook, and the same one twice is the same one.",
)

DELETE_WEBHOOK: Final = Operation(
    system=SYSTEM,
    name="delete_webhook",
    method="POST",
    path="/api/v1/agents/deleteWebhook",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="placet.md §5.2",
    limit_class="delete_webhook",
    recovery="Repeated; a channel without a webhook stays without one.",
)

PING: Final = Operation(
    system=SYSTEM,
    name="ping",
    method="POST",
    path="/api/v1/status/ping",
    effect=Effect.IDEMPOTENT,
    source=Source.DOC,
    reference="placet.md §3.6",
    limit_class="ping",
    recovery="Repeated; the next heartbeat corrects a late one.",
)

LIST_PLUGINS: Final = Operation(
    system=SYSTEM,
    name="list_plugins",
    method="GET",
    path="/api/v1/plugins",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 13",
    limit_class="list_plugins",
)

GET_PLUGIN: Final = Operation(
    system=SYSTEM,
    name="get_plugin",
    method="GET",
    path="/api/v1/plugins/{name}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3 no. 14",
    limit_class="get_plugin",
)

UPLOAD_FILE: Final = Operation(
    system=SYSTEM,
    name="upload_file",
    method="POST",
    path="/api/v1/files/upload",
    effect=Effect.FINDABLE,
    source=Source.DOC,
    reference="placet.md §3.9",
    limit_class="upload_file",
    timeouts=_FILE,
    deadline=300.0,
    recovery=(
        "Its name carries a marker of ours: the channel's messages with attachments are listed, and name "
        "and size are compared."
    ),
    cleanup="DELETE /api/v1/messages/{message_id}",
)

STORE_FILE: Final = Operation(
    system=SYSTEM,
    name="store_file",
    method="POST",
    path="/api/v1/files/store",
    effect=Effect.FINDABLE,
    source=Source.DOC,
    reference="placet.md §3.9",
    limit_class="store_file",
    timeouts=_FILE,
    deadline=300.0,
    recovery=(
        "Its name carries a marker of ours: the channel's files are listed, and name and size are compared."
    ),
)

LIST_FILES: Final = Operation(
    system=SYSTEM,
    name="list_files",
    method="GET",
    path="/api/v1/files",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="placet.md §3.9",
    limit_class="list_files",
)

DOWNLOAD_FILE: Final = Operation(
    system=SYSTEM,
    name="download_file",
    method="GET",
    path="/api/v1/files/{file_id}/download",
    effect=Effect.READ,
    source=Source.DOC,
    reference="placet.md §3.9",
    limit_class="download_file",
    timeouts=_FILE,
    deadline=300.0,
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    POST_MESSAGE,
    UPDATE_STREAM,
    LIST_MESSAGES,
    GET_MESSAGE,
    DELETE_MESSAGE,
    ACK_MESSAGE,
    LIST_ITERATIONS,
    LIST_PENDING_REVIEWS,
    GET_REVIEW,
    WAIT_FOR_REVIEW,
    LIST_CHANNELS,
    CREATE_CHANNEL,
    DELETE_CHANNEL,
    SET_WEBHOOK,
    DELETE_WEBHOOK,
    PING,
    LIST_PLUGINS,
    GET_PLUGIN,
    UPLOAD_FILE,
    STORE_FILE,
    LIST_FILES,
    DOWNLOAD_FILE,
)
