"""A runner: one process that performs a case's effects through the engine and reports what it was told.

Forked from a process in which everything is imported already, so that a kill costs milliseconds.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from benchmarks.chaos.job import LIMIT, WINDOW, Job, Report, Told
from plait import failpoints
from plait.http import Transport
from plait.http.errors import OutcomeUnknown, PlaitError
from plait.ledger import EffectInProgress, Ledger
from plait.ledger.recipe import AnyRecipe
from plait.ledger.store.rows import ATTEMPT, EFFECT
from plait.ledger.sweep import sweep_one
from plait.sandbox.planck_store import SCRATCH as SCRATCH_WORKSPACE
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.models import ActionTree
from plait.vendors.officeplane.recovery import ExecutePlan, UploadDocument
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.recovery import Chat, CreateConversation, SendMessage

KEY = "pk_live_sandbox"
SCRATCH = SCRATCH_WORKSPACE.id


def run(job: Job) -> None:
    """The whole life of a runner; the entry point of the forked process."""
    signal.alarm(LIMIT)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["PLAIT_RUN_DIR"] = str(job.processes)
    if job.engine != "plait":
        from benchmarks.chaos.baselines import perform  # noqa: PLC0415 - Prefect is heavy

        write(job, perform(job))
        return
    if job.point:
        failpoints.arm(job.point, folder=job.flags, visit=job.visit, action=job.action)
    with suppress(asyncio.CancelledError):
        asyncio.run(_main(job))


def write(job: Job, report: Report) -> None:
    """Make the report appear whole."""
    draft = job.report.with_suffix(".part")
    draft.write_text(report.model_dump_json())
    draft.replace(job.report)


async def _main(job: Job) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        officeplane = await stack.enter_async_context(
            OfficePlaneClient(Transport(system="officeplane", base_url=f"{job.sandbox}/officeplane"))
        )
        planck = await stack.enter_async_context(
            PlanckClient(
                Transport(
                    system="planck", base_url=f"{job.sandbox}/planck/api/v1", headers={"X-API-Key": KEY}
                )
            )
        )
        ledger = await stack.enter_async_context(Ledger.open(job.ledger, timing=job.timing))
        report = await _perform(job, ledger, _recipes(job, officeplane, planck))
    write(job, report)


def _recipes(job: Job, officeplane: OfficePlaneClient, planck: PlanckClient) -> list[AnyRecipe]:
    work = job.work
    recipes: list[Any]
    match work.kind:
        case "upload":
            recipes = [UploadDocument(officeplane, _document(job))]
        case "execute":
            tree = ActionTree.model_validate(work.tree)
            recipes = [ExecutePlan(officeplane, work.document_id, tree)]
        case "messages":
            recipes = [SendMessage(planck, SCRATCH, work.conversation_id, text) for text in work.texts]
        case "chat":
            recipes = [Chat(planck, SCRATCH, text) for text in work.texts]
        case _:
            recipes = [CreateConversation(planck, SCRATCH, text) for text in work.texts]
    for recipe in recipes:
        recipe.operation = replace(recipe.operation, send_window=WINDOW)
    return recipes


def _document(job: Job) -> Path:
    path = job.folder / "document.docx"
    if not path.exists():
        draft = path.with_suffix(f".{job.name}")
        draft.write_bytes(job.work.document)
        draft.replace(path)
    return path


async def _perform(job: Job, ledger: Ledger, recipes: list[AnyRecipe]) -> Report:
    effects = ledger.effects(run_key=job.run_key, env="chaos")
    labels = [intended.label for intended in job.work.intended()]
    if job.sweeps:
        return await _sweep(job, ledger, recipes[0])
    if job.work.kind == "batch":
        outcomes = await effects.perform_many(recipes, steps=labels, concurrency=3)
        return Report(
            effects=[
                Told(label=label, status="done") if one.error is None else _told(label, one.error)
                for label, one in zip(labels, outcomes, strict=True)
            ]
        )
    told = await asyncio.gather(
        *(
            _tell(label, effects.perform(recipe, step=label))
            for label, recipe in zip(labels, recipes, strict=True)
        )
    )
    if job.work.kind == "generation" and told[0].status == "done":
        again = ledger.effects(run_key=job.run_key, env="chaos", generation=1)
        told = [await _tell(labels[0], again.perform(recipes[0], step=labels[0]))]
    return Report(effects=told)


async def _tell(label: str, asked: Awaitable[Any]) -> Told:
    try:
        await asked
    except PlaitError as error:
        return _told(label, error)
    return Told(label=label, status="done")


def _told(label: str, error: PlaitError) -> Told:
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, OutcomeUnknown):
        return Told(label=label, status="unknown", message=message)
    retry = isinstance(error, EffectInProgress) or error.retryable
    return Told(label=label, status="retry" if retry else "failed", message=message)


async def _sweep(job: Job, ledger: Ledger, recipe: AnyRecipe) -> Report:
    due = partial(_due_for_sweep, job.run_key, await ledger.now())
    for external_id in await ledger.database.read(due):
        await sweep_one(ledger, external_id, recipe)
    return Report(effects=[], sweeps_due=bool(await ledger.database.read(due)))


def _due_for_sweep(run_key: str, now: float, connection: Connection) -> list[str]:
    query = select(EFFECT.c.external_id).join(ATTEMPT, ATTEMPT.c.external_id == EFFECT.c.external_id)
    due = query.where(EFFECT.c.run_key == run_key, ATTEMPT.c.next_sweep <= now).distinct()
    return list(connection.execute(due).scalars())
