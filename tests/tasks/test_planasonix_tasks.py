"""Planasonix's tasks on the stand-in: with a real Prefect server, and for each policy about another's job."""

import re
from importlib.metadata import requires

import pytest
from planasonix_world import KEY, ROOTS, SOON, serving
from prefect import flow

from blocks import EffectLedger, PlanasonixCredentials
from plait.vendors.planasonix.errors import AnotherJobActive
from plait.vendors.planasonix.models import NewConnection, PipelineRun, State, SyncOptions
from plait.vendors.planasonix.waiting import Patience
from tasks import effects_of
from tasks.planasonix import create_connection, list_runs, trigger_run, trigger_sync
from tasks.planasonix_waiting import sync_connection, wait_for_job, wait_for_run


@pytest.fixture
async def world(tmp_path):
    """The stand-in with its defaults."""
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
def block(world):
    """The block of its first mount."""
    return PlanasonixCredentials(base_url=f"{world.url}{ROOTS['spec'][0]}", api_key=KEY)


@pytest.fixture
def ledger(tmp_path):
    """A ledger of its own."""
    return EffectLedger(url=str(tmp_path / "ledger.db"), landing_cap=0.1, visibility_cap=0.1)


def test_the_orchestrators_versions_are_bounded():
    """Prefect is required from a version and below the next major one, which nobody has tried."""
    (declared,) = [line for line in requires("plait") or [] if re.match(r"prefect\b", line)]
    assert re.search(r">=\s*3", declared)
    assert re.search(r"<\s*4", declared)


@pytest.mark.usefixtures("prefect_server")
async def test_a_flow_triggers_and_waits(world, block, ledger):
    """On the installed Prefect: each effect once, though an answer is lost and the flow runs again."""
    pipeline, source = (await world.ids("pipelines"))["good"], (await world.ids("connections"))["good"]
    await world.fault("after_accept", "trigger_run")

    @flow(log_prints=False)
    async def night() -> tuple[PipelineRun, int]:
        async with effects_of(ledger, run_key="night"):
            started = await trigger_run(block, pipeline)
            ended = await wait_for_run(block, started.id, SOON)
            await create_connection(block, NewConnection(name="made", type="mysql"))
            await trigger_sync(block, source)
            return ended, len(await list_runs(block, pipeline_id=pipeline))

    for _ in range(2):
        ended, count = await night()
        assert (ended.state, count) == (State.SUCCEEDED, 1)
    for operation in ("trigger_run", "create_connection", "trigger_sync"):
        assert await world.count(operation) == 1


async def test_the_policies_about_another_job(world, block, ledger):
    """Fail names it, adopt takes it and says so, wait starts ours after it."""
    sources = await world.ids("connections")
    theirs = await world.control("POST", "jobs", {"parent": sources["good"]})
    endless = await world.control("POST", "jobs", {"parent": sources["endless"]})
    async with effects_of(ledger, run_key="night"):
        with pytest.raises(AnotherJobActive) as caught:
            await sync_connection.fn(block, sources["endless"], on_active="fail")
        assert caught.value.job_id == endless["id"]
        adopted = await sync_connection.fn(block, sources["endless"], on_active="adopt")
        assert (adopted.id, adopted.adopted) == (endless["id"], True)
        ours = await sync_connection.fn(
            block, sources["good"], SyncOptions(sync_type="full"), on_active="wait", patience=SOON
        )
        assert ours.id != theirs["id"]
        assert (await wait_for_job.fn(block, ours.id, SOON)).state is State.SUCCEEDED
        again = await sync_connection.fn(block, sources["good"], SyncOptions(sync_type="full"))
        assert again.id == ours.id
    assert await world.count("trigger_sync") == 1


async def test_patience_is_a_parameter_like_others(world, block, ledger):
    """What a caller gives is what is kept: a wait of its own length, and a cancel at its end."""
    pipeline = (await world.ids("pipelines"))["endless"]
    async with effects_of(ledger, run_key="night"):
        started = await trigger_run.fn(block, pipeline)
        with pytest.raises(Exception, match=r"after 0\.3 s: .* asked to stop and is now canceled"):
            await wait_for_run.fn(block, started.id, Patience(timeout=0.3, first=0.1, cancel=True))
