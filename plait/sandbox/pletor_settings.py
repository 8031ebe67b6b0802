"""The switches of the Pletor stand-in (pletor.md §8); every default is [assumed] unless it says otherwise."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Seconds: TypeAlias = Annotated[float, Field(ge=0.0, le=600.0)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Count: TypeAlias = Annotated[int, Field(ge=1)]


class StatusWords(BaseModel):
    """The status word for each state [vendor]; `canceled` as the page spells it [doc]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pending: Word = "pending"
    running: Word = "running"
    reviewing: Word = "running"
    """While a person is asked: the flag stands beside the status [doc]."""
    completed: Word = "completed"
    failed: Word = "failed"
    canceled: Word = "canceled"


class PletorSettings(BaseModel):
    """How the stand-in behaves where the vendor's documentation leaves a choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    work_seconds: Seconds = 1.0
    """How long each stage of a run takes; its first quarter is `pending`."""
    status_words: StatusWords = StatusWords()
    stale_reads: bool = False
    """Every other look at a running run is one from before anything was asked, as from a replica that lags:
    `pending`, no flag, no reviews."""

    key_space: Literal["shared", "separate"] = "shared"
    """Of agent runs and app runs; uploads always have their own [doc]."""
    check_order: Literal["validation_first", "key_first"] = "validation_first"
    same_key_other_body: Literal["409", "422"] = "409"
    rollback_seconds: Seconds = 0.0
    """Above 0: the first POST with a key claims it, answers 500 and creates nothing; the claim is rolled
    back after so long, and until then the key gives 409."""
    lookup_lag: Seconds = 0.0
    """How long a new run or upload is missing from lists; by its id it is there at once."""
    lookup_filter: Literal["honoured", "ignored"] = "honoured"
    conflict_shape: Literal["detail", "error", "code", "html", "empty"] = "detail"
    conflict_names_original: bool = False

    envelope: Literal["data", "items", "results", "bare"] = "data"
    paging: Literal["honoured", "ignored"] = "honoured"
    create_status: Literal[201, 200] = 201
    id_name: Literal["id", "run_id"] = "id"
    """The id's name in answers about runs."""
    echo: bool = True
    """Whether the answer to a create repeats `external_id` [doc]."""
    upload_key: Literal["form", "query"] = "form"
    output_shape: Literal["results", "outputs", "text_only", "empty"] = "results"

    review_body: Literal["free", "strict"] = "free"
    """`strict`: an `external_id` in a review decision is a 422."""
    second_decision: Literal["409", "400", "200"] = "409"
    """`200` answers `already_resolved`."""
    decision_shown: bool = True
    """Whether a run lists the decisions taken, under `reviews`."""
    review_lag: Seconds = 0.0
    """How long the flag is up before `pending_reviews` shows what is asked."""
    resolved_lag: Seconds = 0.0
    """How long a resolved review is still listed as pending."""
    app_reviews: Literal["none", "for_ever"] = "none"
    """`for_ever`: an app run waits for a person in Pletor's own interface, where nobody is."""

    credits: float | None = Field(default=None, ge=0)
    """What the organization has prepaid; None never runs out. A run costs its agent's estimate."""
    credits_status: Literal[402, 403] = 402

    default_limit: Count = 2000
    """Requests in each minute and for each key [doc], as the next two."""
    run_limit: Count = 600
    upload_limit: Count = 600
    limit_window: Annotated[float, Field(gt=0.0, le=3600.0)] = 60.0
    runs_share_limit: bool = True
    """Agent and app runs count together."""
    reset_unit: Literal["epoch", "epoch_milliseconds", "seconds", "milliseconds", "date", "none"] = "epoch"
    """`none` leaves the three headers out."""
    retry_after: bool = False
    """Whether a 429 says `Retry-After`, which the page does not name."""

    slash: Literal["redirect", "both"] = "redirect"
    """What the other spelling of a path gives: a 307, or the same answer."""
    download: Literal["signed", "bytes"] = "signed"
    """A 302 to a signed address at the storage, or the bytes themselves."""
    signature_seconds: Seconds = 300.0
    """How long a signed address is good."""
