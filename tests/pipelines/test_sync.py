"""Definitions and history into the ledger: everything once, and after that only what has changed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from planasonix_world import World, until

from plait.http.errors import AuthenticationFailed
from plait.ledger import Ledger
from plait.ledger.pipelines import (
    PipelineRecord,
    RunRecord,
    count_pipelines,
    keep_position,
    last_runs,
    pipelines,
    position_of,
    run_of,
    runs_since,
)
from plait.pipelines.definitions import sync_definitions
from plait.pipelines.history import look_up_rows, sync_history
from plait.pipelines.planasonix import PlanasonixConnections, PlanasonixPipelines
from plait.pipelines.source import Synced
from plait.pipelines.sync import sync
from plait.pipelines.watch import Pace, Watch

STREAM = "runs of pipeline *"


@pytest.fixture
async def source(world: World) -> AsyncIterator[PlanasonixPipelines]:
    """The pipelines of the documentation's mount."""
    async with world.client("docs") as client:
        yield PlanasonixPipelines(client)


async def seed(world: World, pipelines: int, runs: int) -> None:
    """So many pipelines and runs, and nothing else."""
    history = {"runs": runs, "nights": 10}
    group = {"count": pipelines, "name": "p_{n}"}
    await world.control("POST", "seed", {"replace": True, "pipelines": [group], "history": history})


async def runs_in(ledger: Ledger, source: PlanasonixPipelines) -> list[Any]:
    """Every run in the ledger."""
    return await ledger.database.read(lambda c: list(runs_since(c, source.scope, 0.0)))


async def names_in(ledger: Ledger, source: PlanasonixPipelines) -> dict[str, PipelineRecord]:
    """Every pipeline in the ledger that is not gone."""
    return await ledger.database.read(lambda c: {one.name: one for one in pipelines(c, source.scope)})


async def start(world: World, pipeline_ids: Sequence[str]) -> list[str]:
    """Runs that somebody else starts."""
    started = [await world.control("POST", "runs", {"parent": one}) for one in pipeline_ids]
    return [one["id"] for one in started]


async def test_a_second_sync_asks_little_and_writes_nothing(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """Nothing has changed: at most 2 % of the first requests, and no row."""
    await seed(world, 10, 1_000)
    first = await sync(ledger, source)
    assert first == Synced(requests=101, written=10 + 1 + 1_000 + 100, complete=True, strangers=False)
    assert len(await runs_in(ledger, source)) == 1_000
    for _ in range(2):
        second = await sync(ledger, source)
        assert second.written == 0
        assert second.requests <= 0.02 * first.requests


@pytest.mark.parametrize("mount", ["spec", "versioned", "air", "go"])
async def test_every_mount_is_brought_in_whole(world: World, ledger: Ledger, mount: str) -> None:
    """Whatever the dialect: every pipeline, every run, every job, and nothing to write the second time."""
    await start(world, [*(await world.ids("pipelines")).values()] * 2)
    good = (await world.ids("connections"))["good"]
    await world.control("POST", "jobs", {"parent": good})
    async with world.client(mount) as client:
        for source in (PlanasonixPipelines(client), PlanasonixConnections(client)):
            await until(lambda s=source: sync(ledger, s), lambda done: done.written == 0)
        runs, jobs = PlanasonixPipelines(client), PlanasonixConnections(client)
        assert len(await runs_in(ledger, runs)) == 12
        assert set(await names_in(ledger, runs)) == set(await world.ids("pipelines"))
        (job,) = await ledger.database.read(lambda c: list(runs_since(c, jobs.scope, 0.0)))
        assert job.pipeline_id == good
        assert job.status == "succeeded"


async def test_a_server_without_a_list_of_all_runs_is_read_by_pipeline(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """The call is a 404: each pipeline's own list is read, and watched."""
    await seed(world, 3, 30)
    await world.fault("status", "list_runs", status=404, times=None)
    await sync(ledger, source)
    assert len(await runs_in(ledger, source)) == 30
    assert (await sync(ledger, source)).written == 0
    one = next(iter((await world.ids("pipelines")).values()))
    (started,) = await start(world, [one])
    async with asyncio.timeout(60), Watch(source, pace=Pace(fastest=0.05)) as watch:
        assert (
            await watch.ended(RunRecord(id=started, pipeline_id=one, status="queued"))
        ).status == "succeeded"


async def test_new_runs_cost_the_pages_they_stand_on(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """Fifteen new runs are two pages and one that shows what is known; nothing else is read again."""
    await seed(world, 5, 200)
    await sync(ledger, source)
    await start(world, list((await world.ids("pipelines")).values()) * 3)
    done = await sync_history(ledger, source)
    assert 2 <= done.requests <= 3
    assert len(await runs_in(ledger, source)) == 215


async def test_a_first_reading_that_was_stopped_goes_on(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """The rows of each page stand with the place of the next: the second sync reads only what is left."""
    await seed(world, 5, 200)
    await world.fault("status", "list_runs", status=401, nth=[8])
    with pytest.raises(AuthenticationFailed):
        await sync(ledger, source)
    assert len(await runs_in(ledger, source)) == 70
    await start(world, list((await world.ids("pipelines")).values()))
    done = await sync_history(ledger, source)
    assert done.requests == 2 + 13
    assert len(await runs_in(ledger, source)) == 205
    quiet = await until(lambda: sync_history(ledger, source), lambda done: done.written == 0)
    assert quiet.requests == 1


async def test_a_reading_of_news_that_was_stopped_leaves_no_gap(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """Killed between two pages of new runs, the next sync still finds those below."""
    await seed(world, 5, 100)
    await sync(ledger, source)
    await start(world, list((await world.ids("pipelines")).values()) * 6)
    await world.fault("status", "list_runs", status=401, nth=[2])
    with pytest.raises(AuthenticationFailed):
        await sync_history(ledger, source)
    await sync_history(ledger, source)
    assert len(await runs_in(ledger, source)) == 130


async def test_a_cursor_that_is_no_longer_taken_starts_the_reading_again(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """The vendor forgot the place: the list is read whole, and what is known is not written twice."""
    await seed(world, 5, 100)
    await world.fault("status", "list_runs", status=401, nth=[4])
    with pytest.raises(AuthenticationFailed):
        await sync(ledger, source)
    account = source.scope.account
    known = await ledger.database.read(lambda c: position_of(c, account, STREAM))
    assert known["unread"] is not None
    await ledger.database.write(
        lambda c: keep_position(ledger.database, c, account, STREAM, known | {"unread": "bm9uc2Vuc2U"}),
        commit="sync",
    )
    await sync_history(ledger, source)
    assert len(await runs_in(ledger, source)) == 100
    assert (await ledger.database.read(lambda c: position_of(c, account, STREAM)))["unread"] is None


async def test_a_run_at_work_is_looked_at_again(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """A run that hangs below the pages a sync reads is asked for by itself, and its end is noticed."""
    await seed(world, 5, 60)
    ids = list((await world.ids("pipelines")).values())
    await world.control("POST", "workload", {"ids": ids[:1], "workload": {"behaviour": "hang"}})
    (hanging,) = await start(world, ids[:1])
    await until(lambda: source.run(hanging), lambda run: run.status == "running")
    await sync(ledger, source)
    await start(world, ids[1:] * 6)
    quiet = await until(lambda: sync_history(ledger, source), lambda done: done.written == 0)
    assert quiet.requests == 1 + 1
    await source.cancel(hanging)
    assert (await sync_history(ledger, source)).written == 1
    row = await ledger.database.read(lambda c: run_of(c, source.scope, hanging))
    assert row.status == "cancelled"
    assert (await ledger.database.read(lambda c: last_runs(c, source.scope, ids[0]))).open_since is None


async def test_the_quick_comparison_sees_what_numbers_tell(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """More were added, paused or removed than a page shows: the numbers differ, and all are compared."""
    await seed(world, 35, 35)
    await sync(ledger, source)
    assert not (await sync_definitions(ledger, source)).complete
    await world.control("POST", "seed", {"pipelines": [{"count": 12, "name": "new_{n}"}]})
    assert (await sync_definitions(ledger, source)).complete
    ids = await world.ids("pipelines")
    assert set(await names_in(ledger, source)) == set(ids)
    for name in list(ids)[:12]:
        await source.client.pause_pipeline(ids[name])
    assert (await sync_definitions(ledger, source)).complete
    await source.client.delete_pipeline(ids["p_20"])
    assert (await sync_definitions(ledger, source)).complete
    assert "p_20" not in await names_in(ledger, source)
    counts = await ledger.database.read(lambda c: count_pipelines(c, source.scope))
    assert counts == {"active": 34, "paused": 12}
    assert not (await sync_definitions(ledger, source)).complete


async def test_all_definitions_are_compared_once_a_week(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """A quick comparison becomes a full one when the last is too old; it writes down when it was."""
    await seed(world, 35, 35)
    assert (await sync_definitions(ledger, source)).complete
    done = await sync_definitions(ledger, source, full_after=0.0)
    assert done == Synced(requests=4, written=1, complete=True, strangers=False)


async def test_a_run_of_an_unknown_pipeline_asks_for_all_definitions(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """One pipeline went and another came: the number is the same, and the new one's run gives it away."""
    await seed(world, 35, 35)
    await sync(ledger, source)
    ids = await world.ids("pipelines")
    made = await world.control("POST", "seed", {"pipelines": [{"name": "newcomer"}]})
    await source.client.delete_pipeline(ids["p_30"])
    await start(world, [made["pipelines"][0]["id"]])
    done = await sync(ledger, source)
    assert done.strangers or done.complete
    names = await names_in(ledger, source)
    assert "newcomer" in names
    assert "p_30" not in names


async def test_rows_that_no_list_tells_are_asked_for_once(
    world: World, ledger: Ledger, source: PlanasonixPipelines
) -> None:
    """The documentation's list shows no rows: each success of the pipelines asked for is looked up once."""
    await seed(world, 2, 20)
    await sync(ledger, source)
    ids = list((await world.ids("pipelines")).values())
    found = await runs_in(ledger, source)
    wanted = [run for run in found if run.pipeline_id == ids[0] and run.status == "succeeded"]
    asked = await look_up_rows(ledger, source, ids[:1], 0.0)
    assert asked.requests == len(wanted) > 0
    known = [run for run in await runs_in(ledger, source) if run.rows is not None]
    assert {run.pipeline_id for run in known} == {ids[0]}
    assert (await look_up_rows(ledger, source, ids[:1], 0.0)).requests == 0
    assert (await sync_history(ledger, source)).written == 0
