"""Every OfficePlane call, declared once (officeplane.md §3). The base URL is the server's root."""

from typing import Final

from plait.http.operation import Effect, Operation, Source, Timeouts

SYSTEM: Final = "officeplane"

_SLOW: Final = Timeouts(read=300.0)
"""The vendor's language model answers inside the request: up to 240 s a batch (officeplane.md §3.1)."""

UPLOAD_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="upload_document",
    method="POST",
    path="/api/documents/upload",
    effect=Effect.FINDABLE,
    source=Source.RAN,
    reference="officeplane.md §3.1",
    timeouts=Timeouts(read=600.0, write=60.0),
    deadline=600.0,
    send_window=600.0,
    landing=300.0,
    ends_with_answer=True,
    cleanup="DELETE /api/documents/{document_id}",
    recovery=(
        "Documents that were not listed before are downloaded and compared by SHA-256; one equal and "
        "complete is ours. A 500 or 404 answer may have created the document all the same; one written by "
        "the application itself says at least that its handler has ended."
    ),
)

LIST_DOCUMENTS: Final = Operation(
    system=SYSTEM,
    name="list_documents",
    method="GET",
    path="/api/documents",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.2",
)

GET_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="get_document",
    method="GET",
    path="/api/documents/{document_id}",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.3",
)

DELETE_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="delete_document",
    method="DELETE",
    path="/api/documents/{document_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.RAN,
    reference="officeplane.md §3.4",
    recovery="Repeated; a 404 after a lost answer means that the document is gone.",
)

DOWNLOAD_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="download_document",
    method="GET",
    path="/api/documents/{document_id}/download",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.5",
    timeouts=Timeouts(read=60.0),
    deadline=600.0,
)

PLAN_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="plan_document",
    method="POST",
    path="/api/documents/{document_id}/plan",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.6",
    timeouts=_SLOW,
    deadline=300.0,
    recovery="Stores nothing: repeated, at the price of one more language model call.",
)

EXECUTE_PLAN: Final = Operation(
    system=SYSTEM,
    name="execute_plan",
    method="POST",
    path="/api/documents/{document_id}/execute",
    effect=Effect.FINDABLE,
    source=Source.RAN,
    reference="officeplane.md §3.7",
    timeouts=_SLOW,
    deadline=300.0,
    landing=120.0,
    ends_with_answer=True,
    recovery=(
        "The document's outline and Markdown are compared with those before: unchanged means nothing "
        "happened, every planned change visible means done, and a part of them waits for a person."
    ),
)

VERIFY_DOCUMENT: Final = Operation(
    system=SYSTEM,
    name="verify_document",
    method="POST",
    path="/api/documents/{document_id}/verify",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.8",
    timeouts=_SLOW,
    deadline=300.0,
    recovery="Stores nothing: repeated, at the price of one more language model call.",
)

HEALTH: Final = Operation(
    system=SYSTEM,
    name="health",
    method="GET",
    path="/health",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.13",
    deadline=10.0,
)

METRICS: Final = Operation(
    system=SYSTEM,
    name="metrics",
    method="GET",
    path="/metrics",
    effect=Effect.READ,
    source=Source.RAN,
    reference="officeplane.md §3.13",
    deadline=10.0,
)

SYSTEM_METRICS: Final = Operation(
    system=SYSTEM,
    name="system_metrics",
    method="GET",
    path="/api/metrics",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="officeplane.md §3.13",
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    UPLOAD_DOCUMENT,
    LIST_DOCUMENTS,
    GET_DOCUMENT,
    DELETE_DOCUMENT,
    DOWNLOAD_DOCUMENT,
    PLAN_DOCUMENT,
    EXECUTE_PLAN,
    VERIFY_DOCUMENT,
    HEALTH,
    METRICS,
    SYSTEM_METRICS,
)
