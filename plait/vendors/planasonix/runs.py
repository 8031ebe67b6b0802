"""Runs of pipelines (planasonix.md §3.3)."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, TypeAlias

from plait.http.errors import Conflict, NotFound, RequestRejected, ValidationFailed
from plait.vendors.planasonix import bodies, operations
from plait.vendors.planasonix.models import PipelineRun, RunLogs, RunNode, State
from plait.vendors.planasonix.paging import Page, items
from plait.vendors.planasonix.shapes import read_logs
from plait.vendors.planasonix.wire import METHOD_NOT_ALLOWED, Caller

SPELT_ALIKE: Final = frozenset({State.QUEUED, State.RUNNING, State.FAILED})
"""States whose word every source spells alike: a server can be asked to filter by them."""
LOGS: Final = "application/json, application/x-ndjson, text/plain"

RunPages: TypeAlias = AsyncGenerator[Page[PipelineRun], None]

_log = logging.getLogger(__name__)


class Runs(Caller):
    """The calls of runs."""

    async def trigger_run(
        self,
        pipeline_id: str,
        values: Mapping[str, Any] | None = None,
        *,
        environment_id: str | None = None,
    ) -> PipelineRun:
        """Start a run. There is no key for it: the same call twice starts two (planasonix.md §6.3).

        Args:
            pipeline_id: the pipeline.
            values: what the dialect calls `variables` or `parameters`.
            environment_id: where to run, on servers that have environments.

        Raises:
            NotTriggered: the server says `success: false`.
            OutcomeUnknown: the answer names no run, or was lost.
        """
        body = bodies.run(await self.dialect(), values or {}, environment_id)
        return await self.one(
            operations.TRIGGER_RUN,
            PipelineRun,
            path={"pipeline_id": pipeline_id},
            json=body,
            known={"pipeline_id": pipeline_id, "status": "queued"},
        )

    async def run_pages(
        self,
        *,
        pipeline_id: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        start: str | None = None,
    ) -> RunPages:
        """Runs as the server lists them, page by page from a cursor on, newest first [inferred].

        It may ignore a filter; a word that dialects spell differently is not sent (`SPELT_ALIKE`). Where it
        has no list of all runs, a pipeline's are read under the pipeline.
        """
        by_pipeline = (await self.dialect()).runs_of_pipeline
        word = state.value if state in SPELT_ALIKE and not by_pipeline else None
        query = {"pipelineId": pipeline_id, "status": word, "from": _iso(since), "to": _iso(until)}
        found = self.pages(operations.LIST_RUNS, PipelineRun, query=query, start=start)
        if pipeline_id is not None:
            history = self.history_pages(pipeline_id, start=start)
            found = history if by_pipeline else _either(found, history)
        async with aclosing(found) as reading:
            async for page in reading:
                yield page

    def history_pages(self, pipeline_id: str, *, start: str | None = None) -> RunPages:
        """A pipeline's runs under the pipeline itself, newest first [inferred].

        The bare dialect shows the newest 100 and no more.
        """
        return self.pages(
            operations.LIST_PIPELINE_RUNS,
            PipelineRun,
            path={"pipeline_id": pipeline_id},
            start=start,
            window=True,
        )

    async def each_run(
        self,
        *,
        pipeline_id: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[PipelineRun, None]:
        """Runs page by page; with filters those that fit, as far as they tell."""
        found = self.run_pages(pipeline_id=pipeline_id, state=state, since=since, until=until)
        async for run in items(found):
            if (
                (pipeline_id is None or run.pipeline_id in {None, pipeline_id})
                and (state is None or run.state is state)
                and _within(run.newest_time, since, until)
            ):
                yield run

    async def list_runs(
        self,
        *,
        pipeline_id: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[PipelineRun]:
        """Every run, of a pipeline, in a state, or of a time."""
        found = self.each_run(pipeline_id=pipeline_id, state=state, since=since, until=until)
        return [run async for run in found]

    async def list_pipeline_runs(self, pipeline_id: str) -> list[PipelineRun]:
        """A pipeline's runs as it lists them itself."""
        known = {"pipeline_id": pipeline_id}
        return [
            run if run.pipeline_id else run.model_copy(update=known)
            async for run in items(self.history_pages(pipeline_id))
        ]

    async def get_run(self, run_id: str) -> PipelineRun:
        """A run as it stands: state, rows, and what went wrong."""
        return await self.one(operations.GET_RUN, PipelineRun, path=_path(run_id))

    async def list_run_nodes(self, run_id: str) -> list[RunNode]:
        """What became of each node of a run."""
        found = self.pages(operations.LIST_RUN_NODES, RunNode, path=_path(run_id))
        return [node async for node in items(found)]

    async def get_run_logs(
        self, run_id: str, *, node_id: str | None = None, since: datetime | str | None = None
    ) -> RunLogs:
        """A run's log, or a node's, or what came after a time or after another answer's `cursor`."""
        after = _iso(since) if isinstance(since, datetime) else since
        answer = await self.call(
            operations.GET_RUN_LOGS,
            path=_path(run_id),
            query={"nodeId": node_id, "since": after},
            accept=LOGS,
        )
        return read_logs(answer)

    async def cancel_run(self, run_id: str) -> PipelineRun:
        """Ask a run to stop, and read what became of it; one that ended before stays as it ended.

        A cancel is a request: the run may go on for a while, and may still succeed.

        Raises:
            NotFound: there is no such run.
        """
        try:
            await self.call(operations.CANCEL_RUN, path=_path(run_id))
        except (Conflict, NotFound, ValidationFailed) as refused:
            log_refusal(f"run {run_id}", refused)
        return await self.get_run(run_id)


async def _either(first: RunPages, second: RunPages) -> RunPages:
    """The pages of `first`, or of `second` where the server has no such call as `first` makes."""
    try:
        begin = await anext(first)
    except RequestRejected as error:
        if not isinstance(error, NotFound) and error.status != METHOD_NOT_ALLOWED:
            raise
        found = second
    else:
        yield begin
        found = first
    async with aclosing(found) as reading:
        async for page in reading:
            yield page


def log_refusal(what: str, refused: RequestRejected) -> None:
    """A cancel was refused, most likely because the thing had ended: it is asked itself."""
    _log.debug("cancelling %s was refused (%s); it is read again", what, refused)


def _within(moment: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if moment is None:
        return True
    return (since is None or moment >= since) and (until is None or moment <= until)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _path(run_id: str) -> dict[str, str]:
    return {"run_id": run_id}
