"""The switches of the Planck AI stand-in (planck.md §8); every default is [assumed]."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Seconds: TypeAlias = Annotated[float, Field(ge=0.0, le=600.0)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]

StreamDefect: TypeAlias = Literal[
    "missing_message_stop",
    "missing_block_stop",
    "interleaved_blocks",
    "unopened_index",
    "index_gap",
    "repeated_start",
    "double_message_stop",
    "events_after_stop",
    "unknown_event",
    "unknown_block",
    "unknown_delta",
    "broken_json",
    "empty_block",
    "no_text",
    "zero_blocks",
    "error_event",
    "data_only",
    "bom",
    "crlf",
    "cr",
    "no_space",
    "comments",
    "split_data",
    "line_separators",
    "one_byte",
    "no_last_blank_line",
    "pings_for_ever",
    "json_answer",
    "json_error_with_200",
    "html_answer",
]
"""What is wrong with one answer (planck.md §7 no. 1 to 6 and 8); the header `X-Sandbox-Defect`
asks for some of them, separated by commas, for one request."""


class DocumentWords(BaseModel):
    """The status word for each state; the vendor's own are not known (planck.md §4)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pending: Word = "pending"
    processing: Word = "processing"
    ready: Word = "ready"
    failed: Word = "failed"


class PlanckSettings(BaseModel):
    """How the stand-in behaves where the vendor's documentation leaves a choice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processing_seconds: Seconds = 1.0
    """From a document's creation in OfficePlane to `ready`; the first third of it is `pending`."""
    document_words: DocumentWords = DocumentWords()
    document_fate: Literal["ready", "stays_pending", "fails", "processes_again", "vanishes"] = "ready"
    """`processes_again`: ready for as long as processing took, then processing for as long, then ready.
    `vanishes`: 404 once it would be ready."""
    document_call: Literal["present", "absent"] = "present"
    """`absent`: `GET /documents/{id}` answers 404 `Not Found`."""
    database_call: Literal["workspace", "integrations", "absent"] = "workspace"
    """`integrations` moves the list to `/integrations/?workspace_id=`."""
    database_reference: Literal["any", "id", "map"] = "any"
    """Which inner shape of `chat_metadata.database` is taken: `{"id"}`, a map keyed by name, or both."""
    history_call: Literal["present", "absent"] = "present"
    """`absent`: `GET .../messages` answers 405."""
    history_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    history_content: Literal["blocks", "string"] = "blocks"
    history_lag: Seconds = 0.0
    """How long a stored message is missing from the history."""
    half_finished: bool = False
    """Show the assistant's message in the history while it is still being written."""
    paging: Literal["honoured", "ignored"] = "honoured"
    slash: Literal["redirect", "both"] = "redirect"
    """What the wrong trailing slash gives: a 307, or the same answer."""
    non_text_blocks: Literal["start", "delta", "pieces"] = "start"
    """Payload whole in `content_block_start`, whole in one delta, or as JSON pieces."""
    nesting: Literal["flat", "anthropic"] = "flat"
    """Where the fields of a start stand."""
    stream_false: Literal["honoured", "ignored"] = "honoured"
    thinking: Seconds = 0.0
    """Silence, but for pings, between `message_start` and the first block."""
    delta_pause: Seconds = 0.0
    """Wait between two frames."""
    delta_characters: int = Field(default=24, ge=1, le=10_000)
    """Length of the pieces in which text and JSON travel."""
    ping_every: Annotated[float, Field(gt=0.0, le=600.0)] = 10.0
    after_hang_up: Literal["finishes", "question_only", "nothing"] = "finishes"
    """What is stored when the client hangs up before the end of the answer."""
    late_reply: Seconds = 0.0
    """How long after a hang-up the reply is stored."""
    credits: Literal["one", "absent", "zero", "fractional"] = "one"
    """What `credits_consumed` says."""
    stream_defects: tuple[StreamDefect, ...] = ()
    """Defects of every answer."""
