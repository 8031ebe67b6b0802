"""The scheduled sweeper against a real Prefect server and the sandbox."""

import asyncio
from pathlib import Path

import pytest
from flow_world import World
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows.reconcile_effects import ReconcileEffects, reconcile_effects
from plait.http.errors import ConfigurationError
from plait.ledger import Ledger, Timing
from plait.vendors.officeplane.recovery import UploadDocument


async def orphan(world: World, document: Path) -> None:
    """An upload that the sandbox accepted and whose run went away."""
    world.fault(kind="delay", service="officeplane", operation="upload_document", seconds=3, times=1)
    timing = Timing(landing_cap=0.2, visibility_cap=0.2)
    async with (
        Ledger.open(world.folder / "ledger.db", timing=timing) as ledger,
        world.officeplane.get_client() as client,
    ):
        run = asyncio.create_task(ledger.effects(run_key="gone").perform(UploadDocument(client, document)))
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(world.new_effects):
                await asyncio.sleep(0.1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run


async def test_the_sweeper_settles_what_a_dead_run_left(world: World, lease: Path) -> None:
    """One pass finds the upload, sends nothing, says so in its state, and lists what is open."""
    await orphan(world, lease)
    arguments = {"officeplane": world.officeplane, "planck": world.planck(), "ledger": world.ledger}
    settled = ReconcileEffects(looked=[], swept=[], open=[], unclear=1)
    async with asyncio.timeout(60):
        while settled.unclear:
            state: State[ReconcileEffects] = await reconcile_effects(**arguments, return_state=True)
            assert state.is_completed()
            settled = await state.result()
    assert ["done"] == [item.became for item in settled.looked]
    assert [] == settled.open
    assert state.message == settled.summary
    assert "1 settled" in settled.summary
    assert world.new_effects() == {"officeplane.upload_document": 1}


async def test_the_sweeper_lists_what_it_cannot_look_at(world: World, lease: Path) -> None:
    """Without OfficePlane's address the upload is left alone, and the artifact shows it with its age."""
    await orphan(world, lease)
    settled = await reconcile_effects(planck=world.planck(), ledger=world.ledger)
    assert ["left"] == [item.became for item in settled.looked]
    assert "PLAIT_OFFICEPLANE_URL" in settled.looked[0].reason
    assert 1 == settled.unclear
    async with get_client() as client:
        (artifact, *_) = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["reconcile-effects-open"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    assert "unknown" in str(artifact.data)
    assert settled.open[0].external_id.split("-")[-1] in str(artifact.data)


async def test_a_block_that_does_not_exist_is_an_error(world: World) -> None:
    """A name that was given must exist: it is not silently left out."""
    with pytest.raises(ConfigurationError, match="no-such-block"):
        await reconcile_effects(planck="no-such-block", ledger=world.ledger)
