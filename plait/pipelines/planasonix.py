"""Planasonix as a source: its pipelines with their runs, its connections with their sync jobs."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from plait.content.text import printable
from plait.http.errors import NotFound, PlaitError
from plait.ledger.pipelines import PipelineRecord, RunRecord, Scope
from plait.ledger.recipe import AnyRecipe
from plait.pipelines.source import Page, Pages
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.errors import AnotherJobActive
from plait.vendors.planasonix.models import (
    Connection,
    Pipeline,
    PipelineRun,
    State,
    SyncJob,
    SyncOptions,
    Work,
)
from plait.vendors.planasonix.recovery import TriggerRun, TriggerSync

ERROR_LENGTH: Final = 2_000
"""Characters kept of what a vendor says went wrong."""
LOG_LENGTH: Final = 10_000
"""Characters kept of the end of a log."""


@dataclass(frozen=True, slots=True)
class PlanasonixPipelines:
    """Pipelines and their runs (planasonix.md §3.2, §3.3)."""

    client: PlanasonixClient

    @property
    def scope(self) -> Scope:
        """The client's account."""
        return Scope(account=f"planasonix {self.client.account}", kind="pipeline")

    async def by_pipeline(self) -> bool:
        """The bare dialect has no list of all runs."""
        return (await self.client.dialect()).runs_of_pipeline

    @property
    def filters_by_status(self) -> bool:
        """By the documentation's page (planasonix.md §3.2)."""
        return True

    async def definition_pages(
        self, start: str | None = None, *, status: str | None = None
    ) -> Pages[PipelineRecord]:
        """Pipelines without their graphs."""
        async with aclosing(self.client.pipeline_pages(start=start, status=status)) as pages:
            async for page in pages:
                yield Page([_pipeline(one) for one in page.items], page.cursor, page.total)

    async def run_pages(self, pipeline_id: str | None = None, start: str | None = None) -> Pages[RunRecord]:
        """Runs, newest first [inferred]."""
        async with aclosing(self.client.run_pages(pipeline_id=pipeline_id, start=start)) as pages:
            async for page in pages:
                yield Page([_run(one, pipeline_id) for one in page.items], page.cursor, page.total)

    async def run(self, run_id: str) -> RunRecord | None:
        """One run with its metrics."""
        try:
            return _run(await self.client.get_run(run_id), None)
        except NotFound:
            return None

    async def log_tail(self, run_id: str, lines: int) -> str | None:
        """The end of a run's log; where it lies in files, that is said."""
        try:
            logs = await self.client.get_run_logs(run_id)
        except NotFound:
            return None
        if logs.urls and not logs.lines:
            return f"the log lies in files at the vendor ({len(logs.urls)})"
        return printable(logs.tail(lines))[-LOG_LENGTH:] or None

    async def cancel(self, run_id: str) -> RunRecord:
        """Ask a run to stop."""
        return _run(await self.client.cancel_run(run_id), None)

    def trigger(self, pipeline_id: str, values: Mapping[str, Any]) -> AnyRecipe:
        """Start a run once."""
        return TriggerRun(self.client, pipeline_id, dict(values))

    def started(self, result: Any, pipeline_id: str) -> RunRecord:
        """The run that was started."""
        return _run(result, pipeline_id)

    def in_the_way(self, error: PlaitError) -> str | None:
        """No source shows a rule against two runs of one pipeline."""
        del error
        return None


@dataclass(frozen=True, slots=True)
class PlanasonixConnections:
    """Connections and their sync jobs (planasonix.md §3.1, §3.4)."""

    client: PlanasonixClient
    adopt: bool = False
    """Whether somebody else's job that is active may be taken for ours."""

    @property
    def scope(self) -> Scope:
        """The client's account."""
        return Scope(account=f"planasonix {self.client.account}", kind="connection")

    async def by_pipeline(self) -> bool:
        """There is one list of all jobs."""
        return False

    @property
    def filters_by_status(self) -> bool:
        """Connections have none."""
        return False

    async def definition_pages(
        self, start: str | None = None, *, status: str | None = None
    ) -> Pages[PipelineRecord]:
        """Connections without their settings."""
        del status
        async with aclosing(self.client.connection_pages(start=start)) as pages:
            async for page in pages:
                yield Page([_connection(one) for one in page.items], page.cursor, page.total)

    async def run_pages(self, pipeline_id: str | None = None, start: str | None = None) -> Pages[RunRecord]:
        """Jobs, newest first [inferred]."""
        async with aclosing(self.client.job_pages(connection_id=pipeline_id, start=start)) as pages:
            async for page in pages:
                yield Page([_job(one, pipeline_id) for one in page.items], page.cursor, page.total)

    async def run(self, run_id: str) -> RunRecord | None:
        """One job."""
        try:
            return _job(await self.client.get_job(run_id), None)
        except NotFound:
            return None

    async def log_tail(self, run_id: str, lines: int) -> str | None:
        """No source shows logs of jobs."""
        del run_id, lines
        return None

    async def cancel(self, run_id: str) -> RunRecord:
        """Ask a job to stop."""
        return _job(await self.client.cancel_job(run_id), None)

    def trigger(self, pipeline_id: str, values: Mapping[str, Any]) -> AnyRecipe:
        """Start a sync once; the values go into its metadata."""
        options = SyncOptions(metadata=dict(values))
        return TriggerSync(self.client, pipeline_id, options, on_active="adopt" if self.adopt else "fail")

    def started(self, result: Any, pipeline_id: str) -> RunRecord:
        """The job that was started."""
        return replace(_job(result, pipeline_id), adopted=result.adopted)

    def in_the_way(self, error: PlaitError) -> str | None:
        """Another job of the same connection."""
        return error.job_id if isinstance(error, AnotherJobActive) else None


def _pipeline(one: Pipeline) -> PipelineRecord:
    return PipelineRecord(
        id=one.id,
        name=one.name or one.id,
        status=one.status,
        tags=tuple(one.tags),
        changed_at=_epoch(one.updated_at),
    )


def _connection(one: Connection) -> PipelineRecord:
    return PipelineRecord(
        id=one.id, name=one.name or one.id, status="active", changed_at=_epoch(one.updated_at)
    )


def _run(one: PipelineRun, pipeline_id: str | None) -> RunRecord:
    return RunRecord(
        pipeline_id=one.pipeline_id or pipeline_id or "", **_work(one, one.trigger, one.rows_written)
    )


def _job(one: SyncJob, connection_id: str | None) -> RunRecord:
    return RunRecord(
        pipeline_id=one.connection_id or connection_id or "",
        **_work(one, one.trigger, one.progress.rows_synced),
    )


def _work(one: Work, trigger: str | None, rows: int | None) -> dict[str, Any]:
    """What runs and jobs have in common; how far one is that goes on is no news."""
    at_work = one.state in {State.QUEUED, State.RUNNING}
    return {
        "id": one.id,
        "status": one.state.value,
        "word": one.status,
        "trigger": trigger,
        "started_at": _epoch(one.started_at or one.queued_at or one.created_at),
        "ended_at": _epoch(one.finished_at),
        "seconds": None if at_work else one.duration,
        "rows": None if at_work else rows,
        "error": None if one.failure is None else printable(one.failure)[:ERROR_LENGTH],
    }


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
