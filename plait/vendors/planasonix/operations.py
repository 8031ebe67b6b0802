"""Every Planasonix call, declared once (planasonix.md §3). Paths stand behind a prefix of the dialect.

A dialect has two prefixes, one for resources and one for orchestration (planasonix.md §7.1 C1); which of
them an operation stands behind is `ORCHESTRATION`. The base URL is what comes before both.
"""

from typing import Final

from plait.http.operation import Effect, Operation, Source, Timeouts

SYSTEM: Final = "planasonix"

_TRIGGER: Final = Timeouts(read=60.0)
"""An answer given up too early is an ambiguous trigger."""
_VISIBILITY: Final = 15.0
"""How long a new run or entry may be missing from its list; no source says it [assumed]."""

_REPEATED: Final = "Repeated; the same values twice are the same values."
_GONE: Final = "Repeated; a 404 after a lost answer means that it is gone."

# ------------------------------------------------------------ connections

LIST_CONNECTIONS: Final = Operation(
    system=SYSTEM,
    name="list_connections",
    method="GET",
    path="/connections",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
)

GET_CONNECTION: Final = Operation(
    system=SYSTEM,
    name="get_connection",
    method="GET",
    path="/connections/{connection_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
)

CREATE_CONNECTION: Final = Operation(
    system=SYSTEM,
    name="create_connection",
    method="POST",
    path="/connections",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
    visibility=_VISIBILITY,
    recovery=(
        "One creation of a name at a time; the list is compared with the ids known before, and the one new "
        "connection of this name and type is adopted."
    ),
    cleanup="DELETE /connections/{connection_id}",
)

UPDATE_CONNECTION: Final = Operation(
    system=SYSTEM,
    name="update_connection",
    method="PUT",
    path="/connections/{connection_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
    recovery=_REPEATED,
)

DELETE_CONNECTION: Final = Operation(
    system=SYSTEM,
    name="delete_connection",
    method="DELETE",
    path="/connections/{connection_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
    recovery=_GONE,
)

TEST_CONNECTION: Final = Operation(
    system=SYSTEM,
    name="test_connection",
    method="POST",
    path="/connections/test",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.1",
    deadline=120.0,
    recovery="Repeated; it stores nothing.",
)

# ------------------------------------------------------------ pipelines

LIST_PIPELINES: Final = Operation(
    system=SYSTEM,
    name="list_pipelines",
    method="GET",
    path="/pipelines",
    effect=Effect.READ,
    source=Source.DOC,
    reference="planasonix.md §3.2",
)

GET_PIPELINE: Final = Operation(
    system=SYSTEM,
    name="get_pipeline",
    method="GET",
    path="/pipelines/{pipeline_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.2",
)

CREATE_PIPELINE: Final = Operation(
    system=SYSTEM,
    name="create_pipeline",
    method="POST",
    path="/pipelines",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planasonix.md §3.2",
    visibility=_VISIBILITY,
    recovery=(
        "One creation of a name at a time; the list is compared with the ids known before, and the one new "
        "pipeline of this name is adopted."
    ),
    cleanup="DELETE /pipelines/{pipeline_id}",
)

UPDATE_PIPELINE: Final = Operation(
    system=SYSTEM,
    name="update_pipeline",
    method="PUT",
    path="/pipelines/{pipeline_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.2",
    recovery=_REPEATED,
)

DELETE_PIPELINE: Final = Operation(
    system=SYSTEM,
    name="delete_pipeline",
    method="DELETE",
    path="/pipelines/{pipeline_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.2",
    recovery=_GONE,
)

SET_PIPELINE_STATUS: Final = Operation(
    system=SYSTEM,
    name="set_pipeline_status",
    method="PATCH",
    path="/pipelines/{pipeline_id}/status",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.2",
    recovery="Repeated; a pipeline paused or resumed twice is so once.",
)

# ------------------------------------------------------------ runs of a pipeline

TRIGGER_RUN: Final = Operation(
    system=SYSTEM,
    name="trigger_run",
    method="POST",
    path="/pipelines/{pipeline_id}/run",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planasonix.md §3.3 and §6.3",
    timeouts=_TRIGGER,
    deadline=90.0,
    visibility=_VISIBILITY,
    recovery=(
        "One trigger of a pipeline at a time; its runs are compared with those known before. Exactly one new "
        "run that no schedule started is adopted, several are an incident, and none within the settle time "
        "means that nothing happened."
    ),
    cleanup="DELETE /runs/{run_id}",
)

LIST_PIPELINE_RUNS: Final = Operation(
    system=SYSTEM,
    name="list_pipeline_runs",
    method="GET",
    path="/pipelines/{pipeline_id}/runs",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
)

LIST_RUNS: Final = Operation(
    system=SYSTEM,
    name="list_runs",
    method="GET",
    path="/runs",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
)

GET_RUN: Final = Operation(
    system=SYSTEM,
    name="get_run",
    method="GET",
    path="/runs/{run_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
)

LIST_RUN_NODES: Final = Operation(
    system=SYSTEM,
    name="list_run_nodes",
    method="GET",
    path="/runs/{run_id}/nodes",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
)

GET_RUN_LOGS: Final = Operation(
    system=SYSTEM,
    name="get_run_logs",
    method="GET",
    path="/runs/{run_id}/logs",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
)

CANCEL_RUN: Final = Operation(
    system=SYSTEM,
    name="cancel_run",
    method="DELETE",
    path="/runs/{run_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.3",
    recovery="Repeated; after a 400, 404 or 409 the run itself says what became of it.",
)

# ------------------------------------------------------------ sync jobs of a connection

TRIGGER_SYNC: Final = Operation(
    system=SYSTEM,
    name="trigger_sync",
    method="POST",
    path="/connections/{connection_id}/sync",
    effect=Effect.KEYED,
    source=Source.VENDOR,
    reference="planasonix.md §3.4 and §6.2",
    timeouts=_TRIGGER,
    deadline=90.0,
    visibility=_VISIBILITY,
    key_life=0.0,
    recovery=(
        "The key goes into the body, the header and the job's metadata. Not every server is known to honour "
        "it, so a lost answer is looked for first: one trigger of a connection at a time, its jobs are "
        "compared with those known before, and the new job with our marker is adopted, or where this server "
        "shows no metadata the only new one that does what we asked. Only once it is proved absent is it "
        "sent again, under the same key. A 409 about a job that is not provably ours is another active job, "
        "never a success."
    ),
    cleanup="POST /jobs/{job_id}/cancel",
)

BACKFILL: Final = Operation(
    system=SYSTEM,
    name="backfill",
    method="POST",
    path="/connections/{connection_id}/backfill",
    effect=Effect.BLIND,
    source=Source.VENDOR,
    reference="planasonix.md §3.4",
    timeouts=_TRIGGER,
    deadline=90.0,
    recovery=(
        "No key is known and no path that lists backfills: the outcome stays unknown until a person has "
        "looked in Planasonix and says what happened."
    ),
)

LIST_JOBS: Final = Operation(
    system=SYSTEM,
    name="list_jobs",
    method="GET",
    path="/jobs",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.4",
)

GET_JOB: Final = Operation(
    system=SYSTEM,
    name="get_job",
    method="GET",
    path="/jobs/{job_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.4",
)

GET_JOB_RESULTS: Final = Operation(
    system=SYSTEM,
    name="get_job_results",
    method="GET",
    path="/jobs/{job_id}/results",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.4",
)

CANCEL_JOB: Final = Operation(
    system=SYSTEM,
    name="cancel_job",
    method="POST",
    path="/jobs/{job_id}/cancel",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.4",
    recovery="Repeated; after a 400, 404 or 409 the job itself says what became of it.",
)

# ------------------------------------------------------------ schedules

LIST_SCHEDULES: Final = Operation(
    system=SYSTEM,
    name="list_schedules",
    method="GET",
    path="/schedules",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
)

GET_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="get_schedule",
    method="GET",
    path="/schedules/{schedule_id}",
    effect=Effect.READ,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
)

CREATE_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="create_schedule",
    method="POST",
    path="/schedules",
    effect=Effect.FINDABLE,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
    visibility=_VISIBILITY,
    recovery=(
        "One creation for a pipeline at a time; its schedules are compared with the ids known before, and "
        "the one new schedule of this expression and time zone is adopted."
    ),
    cleanup="DELETE /schedules/{schedule_id}",
)

UPDATE_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="update_schedule",
    method="PUT",
    path="/schedules/{schedule_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
    recovery="Repeated with every field: it is read, merged and written whole.",
)

DELETE_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="delete_schedule",
    method="DELETE",
    path="/schedules/{schedule_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
    recovery=f"{_GONE} Runs in flight go on.",
)

PAUSE_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="pause_schedule",
    method="POST",
    path="/schedules/{schedule_id}/disable",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
    recovery="Repeated; a schedule paused twice is paused. Runs in flight go on.",
)

RESUME_SCHEDULE: Final = Operation(
    system=SYSTEM,
    name="resume_schedule",
    method="POST",
    path="/schedules/{schedule_id}/enable",
    effect=Effect.IDEMPOTENT,
    source=Source.VENDOR,
    reference="planasonix.md §3.5",
    recovery="Repeated; a schedule resumed twice is resumed.",
)

# ------------------------------------------------------------ webhook subscriptions

LIST_WEBHOOKS: Final = Operation(
    system=SYSTEM,
    name="list_webhooks",
    method="GET",
    path="/webhooks",
    effect=Effect.READ,
    source=Source.ASSUMED,
    reference="planasonix.md §3.4 and §5",
)

CREATE_WEBHOOK: Final = Operation(
    system=SYSTEM,
    name="create_webhook",
    method="POST",
    path="/webhooks",
    effect=Effect.FINDABLE,
    source=Source.ASSUMED,
    reference="planasonix.md §3.4 and §5",
    visibility=_VISIBILITY,
    recovery=(
        "One subscription of an address at a time; the list is compared with the ids known before, and the "
        "one new subscription of this address is adopted."
    ),
    cleanup="DELETE /webhooks/{webhook_id}",
)

DELETE_WEBHOOK: Final = Operation(
    system=SYSTEM,
    name="delete_webhook",
    method="DELETE",
    path="/webhooks/{webhook_id}",
    effect=Effect.IDEMPOTENT,
    source=Source.ASSUMED,
    reference="planasonix.md §3.4 and §5",
    recovery=_GONE,
)

ORCHESTRATION: Final[frozenset[Operation]] = frozenset(
    {
        TRIGGER_SYNC,
        BACKFILL,
        LIST_JOBS,
        GET_JOB,
        GET_JOB_RESULTS,
        CANCEL_JOB,
        LIST_WEBHOOKS,
        CREATE_WEBHOOK,
        DELETE_WEBHOOK,
    }
)
"""What stands behind the prefix of orchestration; everything else behind that of resources."""

OPERATIONS: Final[tuple[Operation, ...]] = (
    LIST_CONNECTIONS,
    GET_CONNECTION,
    CREATE_CONNECTION,
    UPDATE_CONNECTION,
    DELETE_CONNECTION,
    TEST_CONNECTION,
    LIST_PIPELINES,
    GET_PIPELINE,
    CREATE_PIPELINE,
    UPDATE_PIPELINE,
    DELETE_PIPELINE,
    SET_PIPELINE_STATUS,
    TRIGGER_RUN,
    LIST_PIPELINE_RUNS,
    LIST_RUNS,
    GET_RUN,
    LIST_RUN_NODES,
    GET_RUN_LOGS,
    CANCEL_RUN,
    TRIGGER_SYNC,
    BACKFILL,
    LIST_JOBS,
    GET_JOB,
    GET_JOB_RESULTS,
    CANCEL_JOB,
    LIST_SCHEDULES,
    GET_SCHEDULE,
    CREATE_SCHEDULE,
    UPDATE_SCHEDULE,
    DELETE_SCHEDULE,
    PAUSE_SCHEDULE,
    RESUME_SCHEDULE,
    LIST_WEBHOOKS,
    CREATE_WEBHOOK,
    DELETE_WEBHOOK,
)
