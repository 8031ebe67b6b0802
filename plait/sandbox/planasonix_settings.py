"""The switches of the Planasonix stand-in (planasonix.md §8).

Every default is [assumed] unless it says otherwise. Faults that strike single requests (lost answer, 502
after the effect, 401 in mid-poll, no answer at all) are rules of the fault plane, not switches.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from plait.sandbox.planasonix_fixture import SMALL, Fixture

Voice: TypeAlias = Literal["spec", "docs", "air", "go"]
"""Who a mount sounds like: the overview page, the documentation's pages, the backend behind the Airflow
provider, the one behind the Go client."""
Scope: TypeAlias = Literal[
    "pipelines:read",
    "pipelines:write",
    "pipelines:run",
    "connections:read",
    "connections:write",
    "schedules:read",
    "schedules:write",
    "sync:read",
    "sync:trigger",
    "admin:organization",
]
"""Three pages name three lists [vendor]; `admin:organization` holds them all."""
Seconds: TypeAlias = Annotated[float, Field(ge=0.0, le=86400.0)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Count: TypeAlias = Annotated[int, Field(ge=1)]

READING: Final[tuple[Scope, ...]] = ("pipelines:read", "connections:read", "schedules:read", "sync:read")


class Words(BaseModel):
    """The status word for each state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued: Word = "queued"
    running: Word = "running"
    succeeded: Word = "succeeded"
    failed: Word = "failed"
    cancelled: Word = "canceled"


RUNS: Final = Words()
"""[vendor runs]"""
JOBS: Final = Words(succeeded="completed", cancelled="cancelled")
"""[vendor airflow]"""


class MountWords(BaseModel):
    """The status words of one mount."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: Words = RUNS
    jobs: Words = JOBS
    """Of sync jobs and of backfills."""


class AllWords(BaseModel):
    """The status words of every mount."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: MountWords = MountWords()
    docs: MountWords = MountWords()
    air: MountWords = MountWords()
    go: MountWords = MountWords(runs=Words(queued="running", succeeded="success", cancelled="cancelled"))
    """The Go client knows running, success and failed [vendor go]; `cancelled` is [assumed]."""


class Grant(BaseModel):
    """What a key may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organization: Word = "acme"
    scopes: tuple[Scope, ...] = ("admin:organization",)
    active: bool = True
    """False: revoked or expired, a 401 [vendor auth]."""


class PlanasonixSettings(BaseModel):
    """How the stand-in behaves where the sources leave a choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fixture: Fixture = SMALL
    """What is there when the state file is new."""
    keys: dict[str, Grant] = {
        "plnx_live_reader": Grant(scopes=READING),
        "plnx_live_revoked": Grant(active=False),
        "plnx_live_other": Grant(organization="other"),
    }
    """Keys with grants of their own; any other `plnx_`, `plx_` or `flx_` key may do everything in `acme`."""
    tier: Literal["enterprise", "professional", "standard"] = "enterprise"
    """`professional`: priority `high` is a 403 [vendor airflow]; `standard`: all of orchestration is one
    [inferred]."""

    queue_seconds: Seconds = 0.2
    work_seconds: Seconds = 1.0
    """How long a run or job is queued, and then works, where its pipeline or connection says nothing else."""
    words: AllWords = AllWords()
    error_form: Literal["object", "string", "null"] = "object"
    """The `error` field of what failed; `null` says nothing."""

    keys_honoured: Literal["for_ever", "until_end", "ignored"] = "for_ever"
    """Idempotency keys of sync jobs: also after the job ended [inferred], until it ends, or not at all."""
    key_place: Literal["both", "body", "header"] = "both"
    """Where the server reads the key: `idempotency_key` [vendor airflow], `Idempotency-Key` [inferred]."""
    key_scope: Literal["workspace", "connection"] = "workspace"
    replay: Literal["2xx", "409"] = "2xx"
    """How a known key is answered; both name the first job [inferred]."""
    same_key_other_body: Literal["ignored", "409"] = "ignored"
    metadata_echo: bool = False
    """Whether a job shows the `metadata` it was asked with; no source shows that it does."""
    single_job: bool = True
    """A second sync of a connection whose job is active is a 409 with `existing_job_id` [vendor airflow]."""
    run_rule: Literal["off", "skip", "queue"] = "off"
    """A second run while one is active: starts beside it, is a 409, or waits for its turn [inferred]."""
    paused_pipeline: Literal["runs", "409"] = "runs"
    """Whether a paused pipeline accepts a run; drafts and archived ones never do."""
    trigger_status: Literal[200, 201, 202] | None = None
    """None: 202 [vendor orch], 201 on the Airflow mount [vendor airflow], 200 on the Go mount."""
    trigger_answer: Literal["whole", "no_id", "empty_id", "success_false"] = "whole"
    """Other than `whole`: the work is made, and the 2xx does not say so (planasonix.md §7.2 no. 4, 17)."""

    cancel: Literal["immediate", "late", "finishes"] = "immediate"
    """`late`: shown as running for `cancel_seconds` more; `finishes`: completed after so long, after all."""
    cancel_seconds: Seconds = 1.0
    finished_cancel: Literal[409, 400] = 409
    """What cancelling something finished answers: both are named [vendor runs]."""

    cursor_place: Literal["page", "meta"] | None = None
    """None: as each page has it, `meta.page.cursor` [doc] or `meta.cursor` [vendor runs]."""
    cursor_end: Literal["null", "absent"] = "null"
    """At the end of a list [vendor sched]; absent is [inferred]."""
    cursor_repeats: bool = False
    """The last page names its own cursor again, as a defective server would."""
    max_limit: Count = 100
    """Larger limits are cut down to this without a word."""
    list_metrics: bool | None = None
    """Whether lists of runs hold metrics and error; None: not on the documentation's mount [vendor runs]."""
    list_lag: Seconds = 0.0
    """How long new runs and jobs are missing from lists; by their id they are there at once."""

    limit: Count = 1200
    """Requests in each window and for each key: the example's figure [doc]."""
    workspace_limit: Count | None = None
    """For all keys of an organization together; None: no such limit."""
    limit_window: Annotated[float, Field(gt=0.0, le=3600.0)] = 60.0
    rate_headers: bool = True
    """Deployments may leave the three `X-RateLimit-` headers out [doc]."""
    retry_after: Literal["seconds", "date", "none", "very_long"] = "seconds"
    """On a 429; `very_long` asks for six hours."""

    schedule_put: Literal["merge", "wipe"] = "merge"
    """A field left out of a PUT stays [vendor sched], or is emptied with what is sent empty [vendor go]."""
    logs: Literal["lines", "text", "urls"] = "lines"
    """A run's logs as JSON lines, as text, or as an address to fetch them from [vendor runs]."""

    webhook_secret: Word = "whsec_sandbox"  # noqa: S105 - signs what a stand-in makes up
    """Signs what has no secret of its own."""
    signature_header: Word = "X-Planasonix-Signature"
    """HMAC-SHA256 over the raw body, in hexadecimal, after `sha256=` [inferred]."""
    timestamp_header: Word = "X-Planasonix-Timestamp"
    signed_text: Literal["body", "timestamp.body"] = "body"
    webhook_attempts: Count = 4
    webhook_backoff: Seconds = 1.0
    """Before the second attempt; doubled before each next one."""
    webhook_timeout: Annotated[float, Field(gt=0.0, le=600.0)] = 10.0

    def words_of(self, voice: Voice) -> MountWords:
        """The status words of a mount."""
        found: MountWords = getattr(self.words, voice)
        return found
