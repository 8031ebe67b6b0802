"""A night at the stand-in: each is started once, all watched by lists, every end told for what it is."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from planasonix_world import World, serving, until

from plait.http.errors import AuthenticationFailed
from plait.ledger import Ledger
from plait.ledger.pipelines import RunRecord, runs_of_night
from plait.pipelines.planasonix import PlanasonixConnections, PlanasonixPipelines
from plait.pipelines.play import Due, Played, Player, Rules
from plait.pipelines.source import Source
from plait.pipelines.watch import Pace, Watch

NIGHT = "night test 2026-11-28"
PACE = Pace(fastest=0.05, slowest=0.2)


class Night:
    """One night of one source, to be played once or more often."""

    def __init__(self, ledger: Ledger, source: Source, **rules: Any) -> None:
        self.ledger = ledger
        self.source = source
        self.rules = Rules(**({"night": NIGHT, "pace": PACE, "concurrency": 10} | rules))

    async def play(self, due: list[Due]) -> tuple[dict[str, Played], Player]:
        """What became of each, by name, and the player."""
        player = Player(self.ledger, self.source, self._effects, self.rules)
        async with asyncio.timeout(60):
            return {one.name: one for one in await player.play(due)}, player

    def _effects(self, generation: int) -> Any:
        return self.ledger.effects(run_key=self.rules.night, generation=generation)


async def due_of(world: World, kind: str, *names: str) -> list[Due]:
    """Those of these names."""
    ids = await world.ids(f"{kind}s")
    return [Due(id=ids[name], name=name, kind=kind) for name in names]


async def test_every_end_is_told_for_what_it_is(world: World, ledger: Ledger) -> None:
    """Success with rows, failure with error and log, late and cancelled, flaky and run again."""
    due = await due_of(world, "pipeline", "good", "bad", "endless", "shaky")
    async with world.client("docs") as client:
        night = Night(ledger, PlanasonixPipelines(client), deadline=2.0, retries=2)
        played, player = await night.play(due)
        good, bad, endless, shaky = (played[one.name] for one in due)
        assert (good.became, good.tries) == ("succeeded", 1)
        assert good.rows
        assert good.seconds is not None
        assert good.started_at
        assert (bad.became, bad.tries) == ("failed", 3)
        assert bad.error
        assert "ERROR" in (bad.log_tail or "")
        assert (endless.became, endless.tries) == ("cancelled", 1)
        assert endless.error == "not done within 2 s; cancelled"
        assert (shaky.became, shaky.tries) == ("succeeded", 3)
        assert player.started == await world.count("trigger_run") == 1 + 3 + 1 + 3
        assert await world.count("cancel_run") == 1
        assert (await world.control("GET", "summary"))["work"]["run"].get("running") is None


async def test_a_night_played_again_starts_nothing_and_tells_the_same(world: World, ledger: Ledger) -> None:
    """Everything stands in the ledger: the second playing asks the vendor nothing at all."""
    due = await due_of(world, "pipeline", "good", "bad", "endless")
    async with world.client("docs") as client:
        night = Night(ledger, PlanasonixPipelines(client), deadline=1.0)
        first, _ = await night.play(due)
        await world.fault("status", None, status=500, times=None)
        again, player = await night.play(due)
        assert again == first
        assert player.started == 0
        await world.disarm()
        tomorrow = Night(ledger, PlanasonixPipelines(client), night="night test 2026-11-29", deadline=1.0)
        other, player = await tomorrow.play(due[:1])
        assert player.started == 1
        assert other["good"].run_id != first["good"].run_id


async def test_waiting_costs_lists_not_runs(world: World, ledger: Ledger) -> None:
    """Twenty runs are watched by a few requests a poll, and no more than asked are at work together."""
    group = {"count": 20, "name": "p_{n}", "seconds": 0.4}
    made = await world.control("POST", "seed", {"replace": True, "pipelines": [group]})
    due = [Due(id=one["id"], name=one["name"]) for one in made["pipelines"]]
    async with world.client("spec") as client:
        source = PlanasonixPipelines(client)
        night = Night(ledger, source, concurrency=10)
        played, player = await night.play(due)
        assert {one.became for one in played.values()} == {"succeeded"}
        runs = await client.list_runs()
    spans = sorted((run.started_at, run.finished_at) for run in runs)
    together = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
    assert 3 < together <= 10
    assert player.polls <= 40


async def test_401_while_waiting_ends_the_wait_at_once(world: World, ledger: Ledger) -> None:
    """A key that is revoked in mid-night: one poll, then every wait ends, unknown and with the reason."""
    due = await due_of(world, "pipeline", "endless", "good")
    async with world.client("docs") as client:
        source = PlanasonixPipelines(client)
        night = Night(ledger, source, deadline=60.0)
        await world.control("POST", "workload", {"ids": [due[1].id], "workload": {"behaviour": "hang"}})
        playing = asyncio.create_task(night.play(due))
        await until(lambda: world.count("trigger_run"), lambda count: count == 2)
        await world.fault("status", "list_runs", status=401, times=None)
        played, player = await playing
        assert {one.became for one in played.values()} == {"unknown"}
        assert all("401" in (one.error or "") and one.run_id for one in played.values())
        await world.disarm()
        for one in due:
            await client.cancel_run(played[one.name].run_id or "")
        again, player = await night.play(due)
        assert {one.became for one in again.values()} == {"cancelled"}
        assert player.started == 0
        assert await world.count("trigger_run") == 2


async def test_a_server_that_never_answers_ends_at_the_deadline(world: World, ledger: Ledger) -> None:
    """Lists, looks and cancels hang: the deadline counts, and the run is told to be at work still."""
    due = await due_of(world, "pipeline", "endless")
    async with world.client("docs") as client:
        night = Night(ledger, PlanasonixPipelines(client), deadline=1.0, look=0.3, grace=0.3)
        playing = asyncio.create_task(night.play(due))
        await until(lambda: world.count("trigger_run"), lambda count: count == 1)
        for operation in ("list_runs", "get_run", "cancel_run"):
            await world.fault("hang", operation, seconds=60, times=None)
        played, _ = await playing
    assert played["endless"].became == "running"
    assert "not done within 1 s" in (played["endless"].error or "")


async def test_a_word_nobody_told_us_is_told_at_once(tmp_path: Path, ledger: Ledger) -> None:
    """An unknown status word ends the wait with the word, instead of being polled to the deadline."""
    words = {"docs": {"runs": {"succeeded": "glorious"}}}
    async with serving(tmp_path, words=words) as world, world.client("docs") as client:
        due = await due_of(world, "pipeline", "good")
        played, _ = await Night(ledger, PlanasonixPipelines(client), deadline=600.0).play(due)
    assert played["good"].became == "unknown"
    assert "'glorious'" in (played["good"].error or "")


@pytest.mark.parametrize("kind", ["after_accept", "status_after"])
async def test_a_lost_answer_starts_no_second_run(world: World, ledger: Ledger, kind: str) -> None:
    """The trigger took effect and its answer was lost: the run is found and watched."""
    due = await due_of(world, "pipeline", "good", "bad")
    more = {"status": 502} if kind == "status_after" else {}
    await world.fault(kind, "trigger_run", times=2, **more)
    async with world.client("docs") as client:
        played, _ = await Night(ledger, PlanasonixPipelines(client)).play(due)
    assert {one.name: one.became for one in played.values()} == {"good": "succeeded", "bad": "failed"}
    assert await world.count("trigger_run") == 2


async def test_a_refused_trigger_stops_nobody_else(world: World, ledger: Ledger) -> None:
    """One pipeline is gone, one connection is paused: they are refused with the reason, the others run."""
    due = [*await due_of(world, "pipeline", "good"), Due(id="pl_gone", name="gone")]
    async with world.client("docs") as client:
        played, _ = await Night(ledger, PlanasonixPipelines(client)).play(due)
        assert (played["good"].became, played["gone"].became) == ("succeeded", "refused")
        assert "404" in (played["gone"].error or "")
        due = await due_of(world, "connection", "good", "paused")
        jobs, _ = await Night(ledger, PlanasonixConnections(client)).play(due)
        assert (jobs["good"].became, jobs["paused"].became) == ("succeeded", "refused")
        assert jobs["good"].rows


@pytest.mark.parametrize(
    ("rules", "adopt", "became"),
    [
        ({"wait_for_others": True}, False, "succeeded"),
        ({"wait_for_others": False}, False, "refused"),
        ({"wait_for_others": False}, True, "running"),
    ],
    ids=["wait", "fail", "adopt"],
)
async def test_a_connection_that_somebody_else_syncs(
    world: World, ledger: Ledger, rules: dict[str, Any], adopt: bool, became: str
) -> None:
    """Waited for and synced afterwards, refused with the job's id, or adopted and never cancelled by us."""
    due = await due_of(world, "connection", "good")
    await world.control("POST", "workload", {"ids": [due[0].id], "workload": {"behaviour": "hang"}})
    foreign = (await world.control("POST", "jobs", {"parent": due[0].id}))["id"]
    await world.control("POST", "workload", {"ids": [due[0].id], "workload": {"behaviour": "ok"}})
    async with world.client("docs") as client:
        deadline = 1.0 if adopt else 30.0
        night = Night(ledger, PlanasonixConnections(client, adopt=adopt), deadline=deadline, **rules)
        playing = asyncio.create_task(night.play(due))
        if became == "succeeded":
            await asyncio.sleep(0.3)
            await client.cancel_job(foreign)
        played, _ = await playing
        assert played["good"].became == became
        assert (await client.get_job(foreign)).ended is (became == "succeeded")
    assert (played["good"].run_id == foreign) is adopt
    scope = night.source.scope
    mine = await ledger.database.read(lambda c: runs_of_night(c, scope, NIGHT))
    assert [row.id for row in mine] == ([played["good"].run_id] if became == "succeeded" else [])
    if became == "refused":
        assert foreign in (played["good"].error or "")


async def test_a_run_no_list_shows_is_asked_for_by_its_id(world: World) -> None:
    """A list that lags for ever: after a few polls the run is looked at by itself."""
    async with world.client("docs") as client:
        source = PlanasonixPipelines(client)
        pipeline = (await world.ids("pipelines"))["good"]
        await world.fault("listing_lag", "trigger_run", seconds=600)
        run = await client.trigger_run(pipeline)
        async with asyncio.timeout(60), Watch(source, pace=PACE) as watch:
            ended = await watch.ended(RunRecord(id=run.id, pipeline_id=pipeline, status="queued"))
            assert ended.status == "succeeded"
            gone = await watch.ended(RunRecord(id="run_gone", pipeline_id=pipeline, status="queued"))
            assert (gone.status, gone.word) == ("unknown", "gone")


async def test_a_watch_that_was_refused_stays_refused(world: World) -> None:
    """Who waits after the refusal is told at once, without another request."""
    async with world.client("docs", key="nobody") as client:
        source = PlanasonixPipelines(client)
        run = RunRecord(id="run_x", pipeline_id="pl_x", status="queued")
        async with asyncio.timeout(60), Watch(source, pace=PACE) as watch:
            for _ in range(2):
                with pytest.raises(AuthenticationFailed):
                    await watch.ended(run)
            assert watch.requests <= 1
