"""Every Pletor call, declared once (pletor.md §3). The base URL ends in `/api/public/v1`.

Finding by `external_id` is the list with a filter, so it has no operation of its own.
"""

from typing import Final

from plait.http.operation import Effect, Operation, Source, Timeouts

SYSTEM: Final = "pletor"

RUN_LIMIT: Final = "runs"
"""600 requests a minute, agent and app runs counted together [doc, sharing assumed]."""
UPLOAD_LIMIT: Final = "uploads"
"""600 requests a minute [doc]."""

_CREATE: Final = Timeouts(read=60.0)
"""An answer given up too early is an ambiguous create (pletor.md §7 no. 16)."""

_KEYED: Final = (
    "The same POST is made again with the same external_id. A 409 says that the key is used: the original "
    "is found by an exact match of external_id in the list; while the list shows none, the effect is "
    "unknown and the same key is tried again. A refusal counts only once a look shows that no earlier "
    "request landed. A key is used for ever, also by a run that failed: a re-run is the next generation."
)
_RUN: Final = f"{_KEYED} No call removes a run; cancelling stops one that still goes on."

LIST_AGENTS: Final = Operation(
    system=SYSTEM,
    name="list_agents",
    method="GET",
    path="/agents",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 1",
)

GET_AGENT: Final = Operation(
    system=SYSTEM,
    name="get_agent",
    method="GET",
    path="/agents/{agent_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 2",
)

LIST_APPS: Final = Operation(
    system=SYSTEM,
    name="list_apps",
    method="GET",
    path="/apps",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 3",
)

GET_APP: Final = Operation(
    system=SYSTEM,
    name="get_app",
    method="GET",
    path="/apps/{app_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 4",
)

UPLOAD_ASSET: Final = Operation(
    system=SYSTEM,
    name="upload_asset",
    method="POST",
    path="/assets/upload",
    effect=Effect.KEYED,
    source=Source.DOC,
    reference="pletor.md §3 no. 5",
    timeouts=Timeouts(read=120.0, write=60.0),
    deadline=600.0,
    send_window=600.0,
    limit_class=UPLOAD_LIMIT,
    recovery=f"{_KEYED} The key is the file's digest, so equal content is uploaded once.",
    cleanup="DELETE /assets/{asset_id}",
)

LIST_ASSETS: Final = Operation(
    system=SYSTEM,
    name="list_assets",
    method="GET",
    path="/assets",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 6 and 7",
)

GET_ASSET: Final = Operation(
    system=SYSTEM,
    name="get_asset",
    method="GET",
    path="/assets/{asset_id}",
    effect=Effect.READ,
    source=Source.INFERRED,
    reference="pletor.md §3 no. 8",
)

DOWNLOAD_ASSET: Final = Operation(
    system=SYSTEM,
    name="download_asset",
    method="GET",
    path="/assets/{asset_id}/download",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 9",
    timeouts=Timeouts(read=60.0),
    deadline=600.0,
)

DELETE_ASSET: Final = Operation(
    system=SYSTEM,
    name="delete_asset",
    method="DELETE",
    path="/assets/{asset_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.ASSUMED,
    reference="pletor.md §3 no. 21",
    recovery="Repeated; a 404 after a lost answer means that the asset is gone. Its key stays used.",
)

CREATE_RUN: Final = Operation(
    system=SYSTEM,
    name="create_run",
    method="POST",
    path="/runs",
    effect=Effect.KEYED,
    source=Source.DOC,
    reference="pletor.md §3 no. 11",
    timeouts=_CREATE,
    deadline=90.0,
    limit_class=RUN_LIMIT,
    recovery=_RUN,
)

LIST_RUNS: Final = Operation(
    system=SYSTEM,
    name="list_runs",
    method="GET",
    path="/runs",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 12 and 13",
)

GET_RUN: Final = Operation(
    system=SYSTEM,
    name="get_run",
    method="GET",
    path="/runs/{run_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 14",
)

RESOLVE_REVIEW: Final = Operation(
    system=SYSTEM,
    name="resolve_review",
    method="POST",
    path="/runs/{run_id}/reviews/{review_id}",
    effect=Effect.FINDABLE,
    source=Source.DOC,
    reference="pletor.md §3 no. 15",
    timeouts=_CREATE,
    deadline=90.0,
    recovery=(
        "The run is read back: a review that is still pending was not resolved and is posted again; one that "
        "is gone is settled, by us or by somebody else, and the result says which as far as the run tells."
    ),
)

CANCEL_RUN: Final = Operation(
    system=SYSTEM,
    name="cancel_run",
    method="DELETE",
    path="/runs/{run_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.INFERRED,
    reference="pletor.md §3 no. 16",
    recovery="Repeated; after a 404 or 409 the run itself says what became of it.",
)

CREATE_APP_RUN: Final = Operation(
    system=SYSTEM,
    name="create_app_run",
    method="POST",
    path="/app-runs",
    effect=Effect.KEYED,
    source=Source.DOC,
    reference="pletor.md §3 no. 17",
    timeouts=_CREATE,
    deadline=90.0,
    limit_class=RUN_LIMIT,
    recovery=_RUN,
)

LIST_APP_RUNS: Final = Operation(
    system=SYSTEM,
    name="list_app_runs",
    method="GET",
    path="/app-runs",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 18",
)

GET_APP_RUN: Final = Operation(
    system=SYSTEM,
    name="get_app_run",
    method="GET",
    path="/app-runs/{run_id}",
    effect=Effect.READ,
    source=Source.DOC,
    reference="pletor.md §3 no. 19",
)

CANCEL_APP_RUN: Final = Operation(
    system=SYSTEM,
    name="cancel_app_run",
    method="DELETE",
    path="/app-runs/{run_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.ASSUMED,
    reference="pletor.md §3 no. 20",
    recovery="Repeated; after a 404 or 409 the run itself says what became of it.",
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    LIST_AGENTS,
    GET_AGENT,
    LIST_APPS,
    GET_APP,
    UPLOAD_ASSET,
    LIST_ASSETS,
    GET_ASSET,
    DOWNLOAD_ASSET,
    DELETE_ASSET,
    CREATE_RUN,
    LIST_RUNS,
    GET_RUN,
    RESOLVE_REVIEW,
    CANCEL_RUN,
    CREATE_APP_RUN,
    LIST_APP_RUNS,
    GET_APP_RUN,
    CANCEL_APP_RUN,
)
