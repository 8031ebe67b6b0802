"""Pletor's runs from their start to the files they made: few task runs, however long a run takes."""

import asyncio
import mimetypes
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from prefect import task
from pydantic import BaseModel

from blocks import PletorCredentials
from plait.http.errors import (
    DeadlineExceeded,
    MalformedResponse,
    NotFound,
    NotSent,
    PlaitError,
    RateLimited,
    ServerFailed,
)
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.models import Run as PletorRun
from plait.vendors.pletor.models import RunInput
from plait.vendors.pletor.recovery import CreateAppRun, CreateRun, UploadAsset
from tasks._declare import OPTIONS
from tasks._pace import Pace
from tasks._progress import say
from tasks._run import client_of, current_run

FIRST_LOOK: Final = 0.5
LONGEST_PAUSE: Final = 15.0
"""Seconds; with it 500 runs can be followed within Pletor's 2,000 requests a minute (pletor.md §2.3)."""
PASSING: Final = (NotSent, ServerFailed, RateLimited, DeadlineExceeded)


class RunFailed(PlaitError):
    """The run ended without a result; its key stays used, so a re-run is a new generation."""


class SavedFile(BaseModel):
    """One result, on disk and checked."""

    asset_id: str
    path: Path
    size: int
    """Bytes."""
    sha256: str
    media_type: str


@task(name="pletor.upload_inputs", task_run_name="upload inputs", **OPTIONS)
async def upload_inputs(
    pletor: PletorCredentials | str | None, files: Mapping[str, Sequence[Path]], *, generation: int = 0
) -> list[RunInput]:
    """Upload each file once by its content, and give the inputs made of them.

    Args:
        pletor: A block, its name, or None for the environment.
        files: Paths for each input's id.
        generation: How often a content that is gone at Pletor may be uploaded again.

    Raises:
        NotFound: Pletor no longer has a content that was uploaded so often.
    """
    async with current_run() as run:
        client = await run.client(PletorCredentials, PletorCredentials.get_client, pletor)
        inputs = []
        for input_id, paths in files.items():
            assets = []
            for path in paths:
                for again in range(generation + 1):
                    asset = await run.effects(again).perform(UploadAsset(client, path))
                    try:
                        assets.append((await client.get_asset(asset.id)).id)
                        break
                    except NotFound as error:
                        if again == generation:
                            raise NotFound(
                                f"{path.name} was uploaded as {asset.id}, which Pletor no longer has; "
                                f"generation={generation + 1} uploads it once more",
                                system="pletor",
                            ) from error
            inputs.append(RunInput.assets(input_id, *assets))
        return inputs


@task(name="pletor.start_run", task_run_name="start {target_id}", **OPTIONS)
async def start_run(
    pletor: PletorCredentials | str | None,
    target_id: str,
    inputs: Sequence[RunInput],
    *,
    is_app: bool = False,
    generation: int = 0,
) -> PletorRun:
    """Start an agent or app once per run key and generation."""
    async with current_run() as run:
        client = await run.client(PletorCredentials, PletorCredentials.get_client, pletor)
        effects = run.effects(generation)
        if is_app:
            return await effects.perform(CreateAppRun(client, target_id, inputs))
        return await effects.perform(CreateRun(client, target_id, inputs))


@task(name="pletor.follow_run", task_run_name="follow {run_id}", **OPTIONS)
async def follow_run(
    pletor: PletorCredentials | str | None,
    run_id: str,
    *,
    is_app: bool = False,
    handled: Sequence[str] = (),
    deadline: float = 3600.0,
) -> PletorRun:
    """Look at a run, less and less often, until it has ended or asks something new.

    Args:
        pletor: A block, its name, or None for the environment.
        run_id: The run.
        is_app: Whether an app is run.
        handled: Ids of Pletor's reviews that are dealt with: a server that lags may still list them.
        deadline: Seconds that Pletor may work.

    Raises:
        DeadlineExceeded: It works longer, or waits for a person where only Pletor's own interface helps.
    """
    async with client_of(PletorCredentials, PletorCredentials.get_client, pletor) as client:
        end, pace, seen = time.monotonic() + deadline, Pace(FIRST_LOOK, LONGEST_PAUSE), ""
        trouble: PlaitError | None = None
        while True:
            asked = None
            try:
                run = await _look(client, run_id, is_app=is_app)
            except PASSING as error:
                trouble, asked = error, error.retry_after
            else:
                trouble = None
                if run.ended or (not is_app and any(one.id not in handled for one in run.due_reviews)):
                    return run
                if run.status != seen:
                    seen = run.status
                    pace.reset()
                    say(f"Pletor run {run_id}: {seen}")
            if time.monotonic() > end:
                raise DeadlineExceeded(_why_not(run_id, deadline, trouble, is_app=is_app), system="pletor")
            await asyncio.sleep(pace.pause(asked))


@task(name="pletor.save_results", task_run_name="save results of {run_id}", **OPTIONS)
async def save_results(
    pletor: PletorCredentials | str | None,
    run_id: str,
    asset_ids: Sequence[str],
    folder: Path,
    *,
    shown: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[SavedFile]:
    """Download what a run made, checked by length and digest.

    Args:
        pletor: A block, its name, or None for the environment.
        run_id: The run.
        asset_ids: Its results.
        folder: Where the files go.
        shown: SHA-256 of assets that a person approved: they must be the same.
        limit: Most bytes of one file.

    Raises:
        MalformedResponse: A file is not what Pletor announced, or not what was approved.
    """
    del run_id  # names the task run
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with client_of(PletorCredentials, PletorCredentials.get_client, pletor) as client:
        return [
            await _save(client, asset_id, folder / f"result-{number}", (shown or {}).get(asset_id), limit)
            for number, asset_id in enumerate(asset_ids, 1)
        ]


async def _look(client: PletorClient, run_id: str, *, is_app: bool) -> PletorRun:
    return await (client.get_app_run(run_id) if is_app else client.get_run(run_id))


def _why_not(run_id: str, deadline: float, trouble: PlaitError | None, *, is_app: bool) -> str:
    if trouble is not None:
        return f"run {run_id} could not be looked at for {deadline:g} s: {trouble}"
    if is_app:
        return (
            f"app run {run_id} did not end within {deadline:g} s. If it waits for a person, only Pletor's "
            "own interface can answer it; do that, and run again with the same run key"
        )
    return f"run {run_id} did not end within {deadline:g} s; run again with the same run key to go on waiting"


async def _save(
    client: PletorClient, asset_id: str, stem: Path, shown: str | None, limit: int | None
) -> SavedFile:
    asset = await client.get_asset(asset_id)
    ending = mimetypes.guess_extension(asset.media_type or "") or ".bin"
    got = await client.download_asset(asset_id, stem.with_name(stem.name + ending), limit=limit)
    for what, wanted in (("announced", asset.sha256), ("approved", shown)):
        if wanted not in {None, got.sha256}:
            raise MalformedResponse(
                f"asset {asset_id} is not what was {what}: its SHA-256 is {got.sha256}, not {wanted}",
                system="pletor",
            )
    if asset.size not in {None, got.size}:
        raise MalformedResponse(
            f"asset {asset_id} has {got.size} bytes, Pletor announced {asset.size}", system="pletor"
        )
    return SavedFile(
        asset_id=asset_id,
        path=got.path,
        size=got.size,
        sha256=got.sha256,
        media_type=asset.media_type or got.media_type,
    )
