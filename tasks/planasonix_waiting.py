"""Waiting for Planasonix: a run, a job, or a connection until nobody else syncs it."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from prefect import task

from blocks import PlanasonixCredentials
from plait.vendors.planasonix import waiting
from plait.vendors.planasonix.models import PipelineRun, SyncJob, SyncOptions
from plait.vendors.planasonix.recovery import TriggerSync
from plait.vendors.planasonix.waiting import HOUR, Patience, sync_when_free
from tasks._declare import OPTIONS
from tasks._run import client_of, current_run, current_step

OnActive: TypeAlias = Literal["wait", "adopt", "fail"]
"""What to do where another job of the connection is active: wait until it has ended and start ours, take it
for ours, or fail with its id."""
_AS_IT_IS: Final = SyncOptions()


@task(name="planasonix.wait_for_run", task_run_name="wait for run {run_id}", **OPTIONS)
async def wait_for_run(
    planasonix: PlanasonixCredentials | str | None, run_id: str, patience: Patience = HOUR
) -> PipelineRun:
    """Wait until a run has ended, however it ended; at the deadline cancel it, if `patience` says so.

    Args:
        planasonix: A block, its name, or None for the environment.
        run_id: The run.
        patience: How long to wait, and how often to look.
    """
    async with client_of(PlanasonixCredentials, PlanasonixCredentials.get_client, planasonix) as client:
        return await waiting.wait_for_run(client, run_id, patience)


@task(name="planasonix.wait_for_job", task_run_name="wait for job {job_id}", **OPTIONS)
async def wait_for_job(
    planasonix: PlanasonixCredentials | str | None, job_id: str, patience: Patience = HOUR
) -> SyncJob:
    """Wait until a sync job has ended, however it ended; at the deadline cancel it, if `patience` says so.

    Args:
        planasonix: A block, its name, or None for the environment.
        job_id: The job.
        patience: How long to wait, and how often to look.
    """
    async with client_of(PlanasonixCredentials, PlanasonixCredentials.get_client, planasonix) as client:
        return await waiting.wait_for_job(client, job_id, patience)


@task(name="planasonix.sync_connection", task_run_name="sync connection {connection_id}", **OPTIONS)
async def sync_connection(
    planasonix: PlanasonixCredentials | str | None,
    connection_id: str,
    options: SyncOptions = _AS_IT_IS,
    *,
    on_active: OnActive = "wait",
    patience: Patience = HOUR,
) -> SyncJob:
    """Sync a connection once, and say what to do where another job of it is active already.

    Args:
        planasonix: A block, its name, or None for the environment.
        connection_id: The connection.
        options: How to sync it.
        on_active: Wait for another job to end and start ours, adopt it, or fail.
        patience: How long to wait for another job; it is never cancelled.
    """
    async with current_run() as run:
        client = await run.client(PlanasonixCredentials, PlanasonixCredentials.get_client, planasonix)
        recipe = TriggerSync(client, connection_id, options, "adopt" if on_active == "adopt" else "fail")
        step = current_step()

        async def trigger() -> SyncJob:
            return await run.effects().perform(recipe, step=step)

        started: Callable[[], Awaitable[SyncJob]] = trigger
        return await (sync_when_free(client, started, patience) if on_active == "wait" else started())
