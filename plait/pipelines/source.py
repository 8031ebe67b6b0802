"""What this package asks of a vendor. `planasonix.py` says it in that vendor's calls."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from plait.http.errors import NotFound, PlaitError, RequestRejected
from plait.ledger.pipelines import PipelineRecord, RunRecord, Scope
from plait.ledger.recipe import AnyRecipe

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    cursor: str | None = None
    """Where the next page begins; None at the end, and where the vendor has no cursors."""
    total: int | None = None
    """Entries of all pages, where the vendor says it."""


Pages: TypeAlias = AsyncGenerator[Page[T], None]
_NO_SUCH_METHOD: Final = 405


def has_no_such_list(error: RequestRejected) -> bool:
    """Whether the vendor does not know the call, so that runs are to be read pipeline by pipeline."""
    return isinstance(error, NotFound) or error.status == _NO_SUCH_METHOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync cost and did."""

    requests: int = 0
    written: int = 0
    """Rows of the ledger, cursors included."""
    complete: bool = False
    """Every definition was compared."""
    strangers: bool = False
    """A new run belongs to a pipeline that the ledger does not know."""

    def __add__(self, other: "Synced") -> "Synced":
        return Synced(
            requests=self.requests + other.requests,
            written=self.written + other.written,
            complete=self.complete or other.complete,
            strangers=self.strangers or other.strangers,
        )


class Source(Protocol):
    """One account's pipelines, or its connections. Every method raises as the transport does."""

    @property
    def scope(self) -> Scope:
        """Whose they are."""

    async def by_pipeline(self) -> bool:
        """Whether runs are known to be listed pipeline by pipeline only; a list of all may still be a 404."""

    @property
    def filters_by_status(self) -> bool:
        """Whether definitions may be asked for by their status; a vendor may still ignore it."""

    def definition_pages(
        self, start: str | None = None, *, status: str | None = None
    ) -> Pages[PipelineRecord]:
        """What there is to run, all or of one status, from the beginning or from a cursor on."""

    def run_pages(self, pipeline_id: str | None = None, start: str | None = None) -> Pages[RunRecord]:
        """Runs of one pipeline or of all, the newest first, from the beginning or from a cursor on."""

    async def run(self, run_id: str) -> RunRecord | None:
        """One run with all that is known of it; None where there is none."""

    async def log_tail(self, run_id: str, lines: int) -> str | None:
        """The end of a run's log; None where the vendor has none."""

    async def cancel(self, run_id: str) -> RunRecord:
        """Ask a run to stop, and say how it stands then."""

    def trigger(self, pipeline_id: str, values: Mapping[str, Any]) -> AnyRecipe:
        """The recipe that starts one run."""

    def started(self, result: Any, pipeline_id: str) -> RunRecord:
        """A recipe's result as the run that it started."""

    def in_the_way(self, error: PlaitError) -> str | None:
        """The run of somebody else that keeps ours from being started; None where it is something else."""
