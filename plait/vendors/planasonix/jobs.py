"""Sync jobs and backfills of connections (planasonix.md §3.4)."""

from collections.abc import AsyncGenerator
from typing import Any, Final

from plait.http.errors import Conflict, NotFound, ValidationFailed
from plait.http.words import clean
from plait.vendors.planasonix import bodies, operations
from plait.vendors.planasonix.errors import AnotherJobActive
from plait.vendors.planasonix.models import (
    Backfill,
    BackfillOptions,
    JobResults,
    State,
    SyncJob,
    SyncOptions,
)
from plait.vendors.planasonix.paging import Page, items
from plait.vendors.planasonix.runs import SPELT_ALIKE, log_refusal
from plait.vendors.planasonix.wire import Caller

KEY_HEADER: Final = "Idempotency-Key"
"""One page speaks of a header without its name [inferred]."""

_AS_IT_IS: Final = SyncOptions()
_DEPTH: Final = 3


class Jobs(Caller):
    """The calls of sync jobs."""

    async def trigger_sync(
        self, connection_id: str, options: SyncOptions = _AS_IT_IS, *, idempotency_key: str | None = None
    ) -> SyncJob:
        """Start a sync of a connection, under a key of ours in body, header and metadata (C10).

        Raises:
            AnotherJobActive: a sync of this connection is active, and it does not show our key.
            Conflict: any other 409, such as a paused connection, with the server's reason.
            OutcomeUnknown: the answer names no job, or was lost.
        """
        try:
            return await self.one(
                operations.TRIGGER_SYNC,
                SyncJob,
                path=_connection(connection_id),
                json=bodies.sync(options, idempotency_key),
                headers=None if idempotency_key is None else {KEY_HEADER: idempotency_key},
                known={"connection_id": connection_id, "status": "queued"},
            )
        except Conflict as conflict:
            job_id = _existing_job(conflict.details)
            if job_id is None:
                raise
            raise _another(conflict, connection_id, job_id) from conflict

    async def backfill(self, connection_id: str, options: BackfillOptions) -> Backfill:
        """Load a part of the past again. There is no key, and no list to find it in: twice loads twice."""
        return await self.one(
            operations.BACKFILL,
            Backfill,
            path=_connection(connection_id),
            json=bodies.backfill(options),
            known={"connection_id": connection_id},
        )

    def job_pages(
        self, *, connection_id: str | None = None, state: State | None = None, start: str | None = None
    ) -> AsyncGenerator[Page[SyncJob], None]:
        """Jobs as the server lists them, page by page, newest first [inferred]. It may ignore a filter.

        A word that dialects spell differently is not sent (`SPELT_ALIKE`).
        """
        word = state.value if state in SPELT_ALIKE else None
        query = {"connection_id": connection_id, "status": word}
        return self.pages(operations.LIST_JOBS, SyncJob, query=query, start=start)

    async def each_job(
        self, *, connection_id: str | None = None, state: State | None = None
    ) -> AsyncGenerator[SyncJob, None]:
        """Jobs page by page; with filters those that fit, as far as they tell."""
        async for job in items(self.job_pages(connection_id=connection_id, state=state)):
            ours = connection_id is None or job.connection_id in {None, connection_id}
            if ours and (state is None or job.state is state):
                yield job

    async def list_jobs(
        self, *, connection_id: str | None = None, state: State | None = None
    ) -> list[SyncJob]:
        """Every sync job, of a connection, or in a state."""
        return [job async for job in self.each_job(connection_id=connection_id, state=state)]

    async def get_job(self, job_id: str) -> SyncJob:
        """A job as it stands: state, progress, and what went wrong."""
        return await self.one(operations.GET_JOB, SyncJob, path=_path(job_id))

    async def get_job_results(self, job_id: str) -> JobResults:
        """What a job synced."""
        return await self.one(operations.GET_JOB_RESULTS, JobResults, path=_path(job_id))

    async def cancel_job(self, job_id: str) -> SyncJob:
        """Ask a job to stop, and read what became of it; one that ended before stays as it ended.

        A cancel is a request: the job may go on for a while, and may still complete.

        Raises:
            NotFound: there is no such job.
        """
        try:
            await self.call(operations.CANCEL_JOB, path=_path(job_id))
        except (Conflict, NotFound, ValidationFailed) as refused:
            log_refusal(f"job {job_id}", refused)
        return await self.get_job(job_id)


def _existing_job(details: Any, depth: int = _DEPTH) -> str | None:
    """The id of the job that stands in the way, wherever in the refusal it is."""
    if isinstance(details, list):
        found = (_existing_job(item, depth - 1) for item in details)
        return next((job_id for job_id in found if job_id), None)
    if not isinstance(details, dict) or depth == 0:
        return None
    for name in ("existing_job_id", "existingJobId"):
        if isinstance(details.get(name), str) and details[name]:
            return str(details[name])
    return _existing_job(list(details.values()), depth - 1)


def _another(conflict: Conflict, connection_id: str, job_id: str) -> AnotherJobActive:
    return AnotherJobActive(
        f"job {clean(job_id, 80)} of connection {connection_id} is active, and it is not ours "
        f"({conflict.message}); wait for it, or take it for ours on purpose",
        job_id=job_id,
        system=conflict.system,
        operation=conflict.operation,
        status=conflict.status,
        request_id=conflict.request_id,
        code=conflict.code,
        details=conflict.details,
    )


def _connection(connection_id: str) -> dict[str, str]:
    return {"connection_id": connection_id}


def _path(job_id: str) -> dict[str, str]:
    return {"job_id": job_id}
