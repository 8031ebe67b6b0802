"""Every Planck AI call, declared once (planck.md §3). Base URL ends in `/api/v1`."""

from typing import Final

from plait.http.operation import Effect, Operation, Source, Timeouts

SYSTEM: Final = "planck"

_STREAM: Final = Timeouts(read=300.0)
"""A database answer can be silent for minutes (planck.md §5.5); the deadline bounds endless pings."""

LIST_WORKSPACES: Final = Operation(
    system=SYSTEM,
    name="list_workspaces",
    method="GET",
    path="/workspaces",
    effect=Effect.READ,
    source=Source.DOC,
    reference="planck.md §3 no. 1",
)

GET_WORKSPACE: Final = Operation(
    system=SYSTEM,
    name="get_workspace",
    method="GET",
    path="/workspaces/{workspace_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planck.md §3 no. 2",
)

LIST_DOCUMENTS: Final = Operation(
    system=SYSTEM,
    name="list_documents",
    method="GET",
    path="/documents/",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planck.md §3 no. 3",
)

GET_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="get_document",
    method="GET",
    path="/documents/{document_id}",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 4",
)

LIST_DATABASE_INTEGRATIONS: Final = Operation(
    system=SYSTEM,
    name="list_database_integrations",
    method="GET",
    path="/workspaces/{workspace_id}/database-integrations",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 5",
)

CHAT: Final = Operation(
    system=SYSTEM,
    name="chat",
    method="POST",
    path="/workspaces/{workspace_id}/chat",
    effect=Effect.BLIND,
    source=Source.VENDOR,
    reference="planck.md §3 no. 6",
    timeouts=_STREAM,
    deadline=900.0,
    landing=300.0,
    recovery=(
        "Nothing is stored at the vendor, so nothing can be looked up: the outcome stays unknown until "
        "somebody accepts to pay for the answer again."
    ),
)

LIST_CONVERSATIONS: Final = Operation(
    system=SYSTEM,
    name="list_conversations",
    method="GET",
    path="/workspaces/{workspace_id}/conversations",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 10",
)

CREATE_CONVERSATION: Final = Operation(
    system=SYSTEM,
    name="create_conversation",
    method="POST",
    path="/workspaces/{workspace_id}/conversations",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planck.md §3 no. 7",
    landing=30.0,
    cleanup="DELETE /workspaces/{workspace_id}/conversations/{conversation_id}",
    recovery="Its name carries a marker of ours: all conversations are listed and the exact name is adopted.",
)

GET_CONVERSATION: Final = Operation(
    system=SYSTEM,
    name="get_conversation",
    method="GET",
    path="/workspaces/{workspace_id}/conversations/{conversation_id}",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 11",
)

RENAME_CONVERSATION: Final = Operation(
    system=SYSTEM,
    name="rename_conversation",
    method="PATCH",
    path="/workspaces/{workspace_id}/conversations/{conversation_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 11",
    recovery="Repeated; the same name twice is the same name.",
)

DELETE_CONVERSATION: Final = Operation(
    system=SYSTEM,
    name="delete_conversation",
    method="DELETE",
    path="/workspaces/{workspace_id}/conversations/{conversation_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 11",
    recovery="Repeated; a 404 after a lost answer means gone, or no longer ours to see.",
)

SEND_MESSAGE: Final = Operation(
    system=SYSTEM,
    name="send_message",
    method="POST",
    path="/workspaces/{workspace_id}/conversations/{conversation_id}/messages",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planck.md §3 no. 8",
    timeouts=_STREAM,
    deadline=900.0,
    landing=300.0,
    recovery=(
        "One sender at a time in a conversation; the history after the last message known before is read "
        "until it shows our question with a complete answer, or is settled without it."
    ),
)

LIST_MESSAGES: Final = Operation(
    system=SYSTEM,
    name="list_messages",
    method="GET",
    path="/workspaces/{workspace_id}/conversations/{conversation_id}/messages",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planck.md §3 no. 9",
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    LIST_WORKSPACES,
    GET_WORKSPACE,
    LIST_DOCUMENTS,
    GET_DOCUMENT,
    LIST_DATABASE_INTEGRATIONS,
    CHAT,
    LIST_CONVERSATIONS,
    CREATE_CONVERSATION,
    GET_CONVERSATION,
    RENAME_CONVERSATION,
    DELETE_CONVERSATION,
    SEND_MESSAGE,
    LIST_MESSAGES,
)
