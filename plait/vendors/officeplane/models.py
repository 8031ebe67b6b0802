"""What OfficePlane says and is told (officeplane.md §3).

What we read keeps unknown fields and unknown words; what we send refuses them.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

DownloadFormat: TypeAlias = Literal["original", "docx", "markdown"]
"""`pdf` is refused by the server whatever the overview says (officeplane.md §3.5)."""


def _moment(value: Any, handler: ValidatorFunctionWrapHandler) -> datetime | None:
    """A time as the server writes it; naive ones count as UTC [assumed], unreadable ones as none."""
    try:
        moment = handler(value)
    except ValidationError:
        return None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment if isinstance(moment, datetime) else None


Moment = Annotated[datetime | None, WrapValidator(_moment)]


class Received(BaseModel):
    """Base of what the server answers."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Sent(BaseModel):
    """Base of what we send."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DocumentSummary(Received):
    """A row of the document list: no file name, no digest (officeplane.md §3.2)."""

    id: str
    title: str | None = None
    author: str | None = None
    created_at: Moment = Field(default=None, alias="createdAt")
    """Stamped by the server's clock."""
    total_chapters: int = 0
    total_sections: int = 0


class Section(Received):
    """A section of a chapter; its pages are only counted."""

    id: str
    title: str | None = None
    order_index: int = 0
    page_count: int = 0


class Chapter(Received):
    """A chapter and its sections."""

    id: str
    title: str | None = None
    order_index: int = 0
    sections: list[Section] = Field(default_factory=list)


class Document(Received):
    """A document's hierarchy, without content (officeplane.md §3.3)."""

    id: str
    title: str | None = None
    """What the vendor's model extracted, not the file name."""
    author: str | None = None
    chapters: list[Chapter] = Field(default_factory=list)
    total_chapters: int = 0
    total_pages: int = 0


class DeletedDocument(Received):
    """The answer to a delete."""

    id: str
    status: str = "deleted"


class ActionNode(Received):
    """One step of a plan. `inputs` may hold placeholders such as `$node_0.id`."""

    id: str
    action: str
    """add_chapter, add_section, write_page, edit_page, delete_page, or a word not known yet."""
    description: str | None = None
    status: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    children: list["ActionNode"] = Field(default_factory=list)


class ActionTree(Received):
    """A plan as `execute_plan` takes it. Its id cannot be looked up later (officeplane.md §3.6)."""

    id: str | None = None
    title: str | None = None
    original_prompt: str | None = None
    created_at: str | None = None
    """Naive, in the server's local time."""
    tree: list[ActionNode] = Field(default_factory=list)

    def nodes(self) -> list[ActionNode]:
        """Every node, parents before their children."""
        waiting, found = list(self.tree), []
        while waiting:
            node = waiting.pop(0)
            found.append(node)
            waiting = [*node.children, *waiting]
        return found


class PlanSummary(Received):
    """The plan's figures, for people."""

    plan_id: str | None = None
    title: str | None = None
    original_prompt: str | None = None
    total_actions: int = 0
    chapters: int = 0
    sections: int = 0
    pages: int = 0
    tree_visualization: str = ""
    action_breakdown: dict[str, int] = Field(default_factory=dict)


class PlannedDocument(Received):
    """The document a plan or a verification speaks of."""

    id: str
    title: str | None = None
    author: str | None = None
    chapter_count: int = 0
    section_count: int = 0
    page_count: int = 0


class Plan(Received):
    """The answer to `plan_document`; nothing of it is stored at the vendor."""

    document: PlannedDocument
    plan: PlanSummary
    tree: ActionTree
    orchestration: dict[str, Any] = Field(default_factory=dict)


class PlanRequest(Sent):
    """What to change, in words, and how much of it (officeplane.md §3.6)."""

    prompt: str
    max_chapters: int = Field(default=20, ge=1)
    max_sections_per_chapter: int = Field(default=10, ge=1)
    max_pages_per_section: int = Field(default=5, ge=1)
    include_content_outlines: bool = True


class NodeProgress(Received):
    """What became of one node."""

    node_id: str
    action: str | None = None
    status: str
    """running, completed or failed; `completed` is the only success."""
    output: dict[str, Any] | None = None
    error: str | None = None


class Execution(Received):
    """The answer to `execute_plan`; `success` false is a normal one.

    Nothing is rolled back: nodes that completed stay completed (officeplane.md §3.7).
    """

    success: bool
    completed: int = 0
    failed: int = 0
    total: int = 0
    progress: list[NodeProgress] = Field(default_factory=list)
    errors: dict[str, str] = Field(default_factory=dict)
    reconstructed: bool = False
    """True: the answer was lost and this was read off the document afterwards."""


class VerifyRequest(Sent):
    """What was wanted, for the vendor to compare with the document."""

    original_request: str
    expected_changes: list[str] | None = None


class Finding(Received):
    """One check of a verification."""

    check: str | None = None
    passed: bool | None = None
    details: str | None = None


class Verdict(Received):
    """What the vendor's model found. `verified` None is unknown, never true (officeplane.md §3.8).

    The model may answer any JSON; what has another shape is kept as text in `raw_response`.
    """

    verified: StrictBool | None = None
    confidence: float | None = None
    findings: list[Finding] = Field(default_factory=list)
    summary: str | None = None
    suggestions: list[Any] = Field(default_factory=list)
    raw_response: str | None = None


def _verdict(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return Verdict(raw_response=json.dumps(value, ensure_ascii=False, default=str))


class DocumentStats(Received):
    """Counts of a document's parts."""

    chapters: int = 0
    sections: int = 0
    pages: int = 0


class Verification(Received):
    """The answer to `verify_document`."""

    document_id: str
    document_title: str | None = None
    original_request: str | None = None
    verification: Annotated[Verdict, WrapValidator(_verdict)]
    document_stats: DocumentStats = Field(default_factory=DocumentStats)

    @property
    def verified(self) -> bool | None:
        """True or false as the model said; None when it did not say."""
        return self.verification.verified


class Health(Received):
    """`status` is `ok`; the server does not look at its database for this (officeplane.md §3.13)."""

    status: str

    @property
    def ok(self) -> bool:
        """Whether the server calls itself well."""
        return self.status == "ok"


class TaskMetrics(Received):
    """Counts of background tasks."""

    total: int = 0
    by_state: dict[str, int] = Field(default_factory=dict, alias="byState")
    avg_duration_ms: float | None = Field(default=None, alias="avgDurationMs")
    failure_rate: float | None = Field(default=None, alias="failureRate")


class ProcessMetrics(Received):
    """The server's own process. `uptime` is always 0."""

    uptime: float = 0
    memory_usage_mb: float | None = Field(default=None, alias="memoryUsageMb")
    cpu_percent: float | None = Field(default=None, alias="cpuPercent")


class InstanceMetrics(Received):
    """Counts of document instances; newer servers have none."""

    total: int = 0
    by_state: dict[str, int] = Field(default_factory=dict, alias="byState")


class SystemMetrics(Received):
    """The answer to `system_metrics`."""

    tasks: TaskMetrics = Field(default_factory=TaskMetrics)
    system: ProcessMetrics = Field(default_factory=ProcessMetrics)
    instances: InstanceMetrics | None = None
