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
from typing import Any, Final

from sqlalchemy import Connection, select

from benchmarks.chaos.cases import OPERATION
from benchmarks.chaos.job import LIMIT, OURS, WINDOW, Job, Report, Told
from plait import failpoints
from plait.http import Transport
from plait.http.errors import OutcomeUnknown, PlaitError
from plait.ledger import EffectInProgress, Ledger
from plait.ledger.recipe import AnyRecipe
from plait.ledger.store.rows import ATTEMPT, EFFECT
from plait.ledger.sweep import sweep_one
from plait.sandbox.placet_store import REVIEWS
from plait.sandbox.planck_store import SCRATCH as SCRATCH_WORKSPACE
from plait.sandbox.pletor_store import COPYWRITER
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.models import ActionTree
from plait.vendors.officeplane.recovery import ExecutePlan, UploadDocument
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.models import ChannelRequest, MessageContent
from plait.vendors.placet.recovery import CreateChannel, PostMessage, StoreFile
from plait.vendors.placet.reviews import Approval
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.recovery import Chat, CreateConversation, SendMessage
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import RunInput, approve
from plait.vendors.pletor.recovery import CreateRun, ResolveReview, UploadAsset

SCRATCH: Final = SCRATCH_WORKSPACE.id
ROOT: Final = {
    "officeplane": "officeplane",
    "planck": "planck/api/v1",
    "pletor": "pletor/api/public/v1",
    "placet": "placet",
}
"""Where each service's base URL is, below the sandbox's."""
KEYS: Final[dict[str, dict[str, str]]] = {
    "officeplane": {},
    "planck": {"X-API-Key": "pk_live_sandbox"},
    "pletor": {"X-Api-Key": "sk-sandbox"},
    "placet": {"x-api-key": "hp_sandbox"},
}
_CLIENTS: Final[dict[str, Any]] = {
    "officeplane": OfficePlaneClient,
    "planck": PlanckClient,
    "pletor": PletorClient,
    "placet": PlacetClient,
}


def run(job: Job) -> None:
    """The whole life of a runner; the entry point of the forked process."""
    signal.alarm(LIMIT)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["PLAIT_RUN_DIR"] = str(job.processes)
    if job.engine not in OURS:
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
        client = await stack.enter_async_context(_client(job))
        ledger = await stack.enter_async_context(Ledger.open(job.ledger, timing=job.timing))
        report = await _perform(job, ledger, _recipes(job, client))
    write(job, report)


def _client(job: Job) -> Any:
    service = OPERATION[job.work.kind][0]
    address = f"{job.sandbox}/{ROOT[service]}"
    return _CLIENTS[service](Transport(system=service, base_url=address, headers=KEYS[service]))


def _recipes(job: Job, client: Any) -> list[AnyRecipe]:
    work = job.work
    recipes: list[Any]
    match work.kind:
        case "upload":
            recipes = [UploadDocument(client, _document(job))]
        case "execute":
            recipes = [ExecutePlan(client, work.document_id, ActionTree.model_validate(work.tree))]
        case "messages":
            recipes = [SendMessage(client, SCRATCH, work.conversation_id, text) for text in work.texts]
        case "chat":
            recipes = [Chat(client, SCRATCH, text) for text in work.texts]
        case "run" | "rerun" | "asset" | "review":
            recipes = [_of_pletor(job, client)]
        case "post" | "file" | "channel":
            recipes = [_of_placet(job, client)]
        case _:
            recipes = [CreateConversation(client, SCRATCH, text) for text in work.texts]
    for recipe in recipes:
        recipe.operation = replace(recipe.operation, send_window=WINDOW)
    return recipes


def _of_pletor(job: Job, client: PletorClient) -> Any:
    work = job.work
    match work.kind:
        case "asset":
            return UploadAsset(client, _document(job))
        case "review":
            return ResolveReview(client, work.run_id, work.review_id, approve())
        case _:
            return CreateRun(client, COPYWRITER.id, [RunInput.text("title", work.texts[0])])


def _of_placet(job: Job, client: PlacetClient) -> Any:
    work = job.work
    text = work.texts[0]
    match work.kind:
        case "file":
            return StoreFile(client, REVIEWS, _document(job))
        case "channel":
            return CreateChannel(client, ChannelRequest(name="Chaos", description=text))
        case _:
            content = MessageContent(text=text, review=Approval(), attachment_ids=(work.file_id,))
            return PostMessage(client, REVIEWS, content)


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
    if job.work.kind in {"generation", "rerun"} and told[0].status == "done":
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
