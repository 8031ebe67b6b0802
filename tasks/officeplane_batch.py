"""OfficePlane in batches: one task run, many effects, no item lost because another failed."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from prefect import task
from prefect.context import TaskRunContext

from blocks import OfficePlaneServer
from plait.http.errors import NotFound, PlaitError
from plait.ledger.effects import Outcome
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.models import Document
from plait.vendors.officeplane.recovery import UploadDocument
from tasks._declare import OPTIONS, Counted
from tasks._progress import Progress
from tasks._retry import may_retry
from tasks._run import Run, client_of, current_run

CONCURRENCY: Final = 4
BYTES_PER_CHARACTER: Final = 4

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of one file."""

    status: Literal["done", "failed", "unknown", "vanished"]
    """`unknown`: run again with the same run key, and it is settled. `vanished`: it was uploaded
    once, and OfficePlane no longer has it."""
    document: Document | None = None
    error: PlaitError | None = None


@task(name="officeplane.upload_documents", task_run_name=Counted("upload", "paths"), **OPTIONS)
async def upload_documents(
    officeplane: OfficePlaneServer | str | None,
    paths: Sequence[Path],
    *,
    generation: int = 0,
    max_size: int | None = None,
    concurrency: int = CONCURRENCY,
) -> list[Uploaded]:
    """Upload each file once by its content, and see that OfficePlane still has it.

    Args:
        officeplane: A block, its name, or None for the environment.
        paths: Documents of formats that OfficePlane reads.
        generation: How often a content that is gone at OfficePlane may be uploaded again.
        max_size: Bytes above which a file is refused; None for the client's own limit.
        concurrency: Uploads at work at a time.
    """
    progress = Progress(len(paths), description=f"Uploading {len(paths)} documents to OfficePlane")
    async with current_run() as run, progress.following():
        client = await run.client(OfficePlaneServer, OfficePlaneServer.get_client, officeplane)
        client.max_upload_size = max_size or client.max_upload_size
        uploads = [Uploaded("vanished") for _ in paths]
        for again in range(generation + 1):
            left = [index for index, upload in enumerate(uploads) if upload.status == "vanished"]
            recipes = [UploadDocument(client, paths[index]) for index in left]
            settled = await _upload(run, again, recipes, concurrency, progress)
            seen = await _bounded(lambda outcome: _look_after(client, outcome), settled, concurrency)
            for index, upload in zip(left, seen, strict=True):
                uploads[index] = upload
    _raise_while_a_retry_may_help(uploads)
    return uploads


@task(name="officeplane.read_markdown", task_run_name=Counted("read", "document_ids"), **OPTIONS)
async def read_markdown(
    officeplane: OfficePlaneServer | str | None,
    document_ids: Sequence[str],
    *,
    limit: int,
    concurrency: int = CONCURRENCY,
) -> list[str | PlaitError]:
    """Each document's Markdown, or why there is none; `limit` is characters of one document."""
    async with client_of(OfficePlaneServer, OfficePlaneServer.get_client, officeplane) as client:
        with tempfile.TemporaryDirectory() as folder:
            return await _bounded(
                lambda document_id: _markdown(client, document_id, Path(folder), limit),
                document_ids,
                concurrency,
            )


async def _upload(
    run: Run, generation: int, recipes: list[UploadDocument], concurrency: int, progress: Progress
) -> list[Outcome[Document]]:
    def settled(index: int, outcome: Outcome[Document]) -> None:
        del index, outcome
        progress.done += 1

    effects = run.effects(generation)
    return await effects.perform_many(recipes, concurrency=concurrency, on_settled=settled)


async def _look_after(client: OfficePlaneClient, outcome: Outcome[Document]) -> Uploaded:
    if outcome.result is None:
        return Uploaded("unknown" if outcome.status == "unknown" else "failed", error=outcome.error)
    try:
        return Uploaded("done", document=await client.get_document(outcome.result.id))
    except NotFound as error:
        return Uploaded("vanished", document=outcome.result, error=error)
    except PlaitError as error:
        return Uploaded("failed", document=outcome.result, error=error)


def _raise_while_a_retry_may_help(uploads: Sequence[Uploaded]) -> None:
    """A retry repeats nothing that is done; on the last attempt each item stands as it is."""
    context = TaskRunContext.get()
    for upload in uploads:
        if upload.error is not None and context and may_retry(upload.error, context.task_run.run_count):
            raise upload.error


async def _markdown(
    client: OfficePlaneClient, document_id: str, folder: Path, limit: int
) -> str | PlaitError:
    try:
        got = await client.download_document(
            document_id,
            folder / f"{document_id}.md",
            download_format="markdown",
            limit=limit * BYTES_PER_CHARACTER,
        )
        return await asyncio.to_thread(got.path.read_text, encoding="utf-8", errors="replace")
    except PlaitError as error:
        return error


async def _bounded(call: Callable[[S], Awaitable[T]], items: Sequence[S], concurrency: int) -> list[T]:
    turns = asyncio.Semaphore(concurrency)

    async def one(item: S) -> T:
        async with turns:
            return await call(item)

    return await asyncio.gather(*(one(item) for item in items))
