"""Planasonix's effects through the real ledger, with the stand-in failing on purpose (planasonix.md §6)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pytest
from planasonix_world import DEFAULTS, KEY, ROOTS, SOON, World, serving, until

from plait.http import RetryPolicy
from plait.http.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    PermissionDenied,
    PlaitError,
    RateLimited,
    RequestRejected,
)
from plait.ledger import (
    Absent,
    CannotLook,
    Found,
    Ledger,
    Look,
    NotYetKnown,
    Recipe,
    Several,
    Timing,
    store,
)
from plait.ledger.errors import EffectIncident
from plait.ledger.sweep import recorded
from plait.ledger.views import list_effects
from plait.recovery import Recovery, openers_from, unopened
from plait.sandbox.planasonix_fixture import Fixture, History, PipelineGroup
from plait.sandbox.process import start_sandbox
from plait.vendors.planasonix.client import connect
from plait.vendors.planasonix.errors import AnotherJobActive
from plait.vendors.planasonix.models import (
    Backfill,
    BackfillOptions,
    Connection,
    NewConnection,
    NewPipeline,
    NewSchedule,
    NewWebhook,
    Pipeline,
    PipelineRun,
    Schedule,
    SyncJob,
    SyncOptions,
    Webhook,
)
from plait.vendors.planasonix.recovery import (
    CreateConnection,
    CreatePipeline,
    CreateSchedule,
    CreateWebhook,
    StartBackfill,
    TriggerRun,
    TriggerSync,
)
from plait.vendors.planasonix.snapshots import FRONT
from plait.vendors.planasonix.waiting import sync_when_free, wait_for_job

TIMES = {"landing_cap": 0.4, "visibility_cap": 0.1, "step": 0.05}
QUICKLY = Timing(**TIMES, patience=15.0)
HASTY = Timing(**TIMES, patience=0.3)
"""Gives up waiting soon."""

FAULTS = {
    "no fault": None,
    "lost answer": ("after_accept", {"how": "close"}),
    "lost request": ("before_accept", {"how": "close"}),
    "502 after": ("status_after", {"status": 502}),
    "torn answer": ("mid_body", {"bytes": 3}),
    "late landing": ("late_landing", {"seconds": 0.2}),
    "429": ("rate_limit", {"wait": 0.05}),
}
SOME = ("lost answer", "lost request", "502 after", "429")


@pytest.fixture
async def ledger(tmp_path):
    """A ledger of its own for each test."""
    async with Ledger.open(tmp_path / "ledger.db", timing=QUICKLY) as opened:
        yield opened


@pytest.fixture
async def hasty(tmp_path):
    """A ledger that gives up waiting soon."""
    async with Ledger.open(tmp_path / "hasty.db", timing=HASTY) as opened:
        yield opened


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for the tests that need no switch."""
    state = tmp_path_factory.mktemp("planasonix") / "state.db"
    with start_sandbox(state=state, planasonix=DEFAULTS) as process:
        yield process


@pytest.fixture
async def world(sandbox):
    """The shared stand-in, as new for each test."""
    made = World(sandbox.url)
    await made.start_over()
    yield made
    await made.aclose()


@pytest.fixture
async def client(world):
    """Its client."""
    async with world.client() as made:
        yield made


@pytest.fixture
async def pipelines(world):
    """Ids by name."""
    return await world.ids("pipelines")


@pytest.fixture
async def connections(world):
    """Ids by name."""
    return await world.ids("connections")


def _effects(ledger, generation=0, run_key=None):
    return ledger.effects(run_key=run_key or str(uuid4()), env="test", generation=generation)


async def _never(_):
    return set()


def test_recipes_fit_the_ledger(client):
    """Each recipe is one of the ledger's, with the result it promises."""
    now = datetime.now(UTC)
    run: Recipe[PipelineRun] = TriggerRun(client, "p")
    sync: Recipe[SyncJob] = TriggerSync(client, "c")
    backfill: Recipe[Backfill] = StartBackfill(client, "c", BackfillOptions(start_at=now, end_at=now))
    connection: Recipe[Connection] = CreateConnection(client, NewConnection(name="n", type="t"))
    pipeline: Recipe[Pipeline] = CreatePipeline(client, NewPipeline(name="n"))
    schedule: Recipe[Schedule] = CreateSchedule(
        client, NewSchedule(pipeline_id="p", cron_expression="0 3 * * *")
    )
    webhook: Recipe[Webhook] = CreateWebhook(client, NewWebhook(url="http://127.0.0.1:9/"))
    for recipe in (run, sync, backfill, connection, pipeline, schedule, webhook):
        assert recipe.operation.effect.guarded
        assert recipe.operation.recovery


# ---------------------------------------------------------------- one trigger, one job


@pytest.mark.parametrize(
    ("mount", "keys"), [("spec", "for_ever"), ("spec", "until_end"), ("spec", "ignored"), ("air", "ignored")]
)
async def test_one_job_for_each_trigger(tmp_path, ledger, mount, keys):
    """Whatever happened to the answer, and whether or not keys are honoured: one job, known by its id.

    Another sync may start beside a running one here: nothing but us keeps the count at one.
    """
    async with (
        serving(tmp_path, keys_honoured=keys, single_job=False) as world,
        world.client(mount) as client,
    ):
        source = (await world.ids("connections"))["good"]
        for number, (name, fault) in enumerate(FAULTS.items(), start=1):
            if fault is not None:
                await world.fault(fault[0], "trigger_sync", **fault[1])
            recipe = TriggerSync(client, source, SyncOptions(sync_type="full"))
            effects = _effects(ledger)
            job = await effects.perform(recipe)
            await asyncio.sleep(0.3 if name == "late landing" else 0)
            rows = await world.effects("trigger_sync", source)
            assert len(rows) == number, name
            assert job.id == rows[-1]["entity_id"], name
            assert (await effects.perform(recipe)).id == job.id
            assert await world.count("trigger_sync") == number, name


@pytest.mark.parametrize("mount", ["spec", "go"])
async def test_one_run_for_each_trigger(tmp_path, ledger, mount):
    """Runs have no key at all: the same count, by looking."""
    async with serving(tmp_path) as world, world.client(mount) as client:
        pipeline = (await world.ids("pipelines"))["good"]
        for number, (name, fault) in enumerate(FAULTS.items(), start=1):
            if fault is not None:
                await world.fault(fault[0], "trigger_run", **fault[1])
            recipe, effects = TriggerRun(client, pipeline, {"night": number}), _effects(ledger)
            run = await effects.perform(recipe)
            await asyncio.sleep(0.3 if name == "late landing" else 0)
            rows = await world.effects("trigger_run", pipeline)
            assert len(rows) == number, name
            assert run.id == rows[-1]["entity_id"], name
            assert (await effects.perform(recipe)).id == run.id
            assert await world.count("trigger_run") == number, name


@pytest.mark.parametrize("said", ["no_id", "empty_id", "success_false"])
async def test_an_answer_without_an_id_orphans_nothing(tmp_path, ledger, said):
    """A 2xx without an id, or with `success: false`, is not known: the work it made is found and adopted."""
    async with serving(tmp_path, trigger_answer=said, single_job=False) as world:
        pipeline, source = (await world.ids("pipelines"))["good"], (await world.ids("connections"))["good"]
        for mount in ("spec", "docs", "air", "go"):
            async with world.client(mount) as client:
                run = await _effects(ledger).perform(TriggerRun(client, pipeline))
                job = await _effects(ledger).perform(TriggerSync(client, source))
            assert (await world.effects("trigger_run"))[-1]["entity_id"] == run.id
            assert (await world.effects("trigger_sync"))[-1]["entity_id"] == job.id
        assert await world.count("trigger_run") == await world.count("trigger_sync") == 4


async def test_a_server_that_starts_nothing_is_asked_once(vendor, answer, ledger):
    """`success: false` and nothing to be seen: an error with the server's words, and one trigger in all."""

    def handler(request):
        if request.method == "POST":
            return answer({"success": False, "message": "quota used up", "runId": ""})
        return answer([])

    vendor.handler = handler
    async with connect(vendor.url, api_key="plnx_live_x", dialect="bare") as client:
        with pytest.raises(PlaitError, match="quota used up"):
            await _effects(ledger).perform(TriggerRun(client, "pl_1"))
    assert [call for call in vendor.calls() if call.startswith("POST")] == ["POST /api/pipelines/pl_1/run"]


async def test_what_lists_do_not_show_yet_is_unknown_and_not_sent_again(tmp_path, hasty):
    """A list that lags: unknown, with a next look; once it shows, the same job is the result."""
    async with serving(tmp_path, list_lag=1.5, keys_honoured="ignored") as world, world.client() as client:
        source = (await world.ids("connections"))["endless"]
        recipe = TriggerSync(client, source)
        effects = _effects(hasty)
        await world.fault("after_accept", "trigger_sync")
        with pytest.raises(OutcomeUnknown):
            await effects.perform(recipe)
        assert await world.count("trigger_sync") == 1


# ---------------------------------------------------------------- somebody else's work


@pytest.mark.parametrize("echo", [True, False])
async def test_a_foreign_job_is_never_adopted(tmp_path, ledger, echo):
    """Asked for `full` and one stream while another sync runs: an error with its id, and nothing of ours."""
    async with serving(tmp_path, metadata_echo=echo) as world, world.client() as client:
        source = (await world.ids("connections"))["endless"]
        theirs = await world.control("POST", "jobs", {"parent": source, "trigger": "schedule"})
        recipe = TriggerSync(client, source, SyncOptions(sync_type="full", streams=["orders"]))
        effects = _effects(ledger)
        with pytest.raises(AnotherJobActive) as caught:
            await effects.perform(recipe)
        assert caught.value.job_id == theirs["id"]
        assert await world.count("trigger_sync") == 0
        await client.cancel_job(theirs["id"])
        ours = await effects.perform(recipe)
        assert ours.id != theirs["id"]
        assert (ours.sync_type, ours.streams) == ("full", ["orders"])
        assert await world.count("trigger_sync") == 1


async def test_a_foreign_job_may_be_adopted_on_purpose(world, client, connections, ledger):
    """`adopt` gives the other job, marked as such, and does not take it from its owner."""
    source = connections["endless"]
    run_key = str(uuid4())
    theirs = await _effects(ledger).perform(TriggerSync(client, source))
    recipe = TriggerSync(client, source, SyncOptions(priority="low"), on_active="adopt")
    adopted = await _effects(ledger, run_key=run_key).perform(recipe)
    assert (adopted.id, adopted.adopted, theirs.adopted) == (theirs.id, True, False)
    await client.cancel_job(theirs.id)
    assert (await _effects(ledger, run_key=run_key).perform(recipe)).id == theirs.id
    assert await world.count("trigger_sync") == 1


async def test_a_foreign_job_may_be_waited_for(world, client, connections, ledger):
    """`wait` starts ours after the other has ended: two jobs, one of them ours."""
    source = connections["good"]
    theirs = await world.control("POST", "jobs", {"parent": source, "trigger": "schedule"})
    effects, recipe = _effects(ledger), TriggerSync(client, source)
    ours = await sync_when_free(client, lambda: effects.perform(recipe), SOON)
    assert ours.id != theirs["id"]
    assert await world.count("trigger_sync") == 1


async def test_a_conflict_that_names_our_own_job_is_ours(tmp_path, ledger):
    """Our first request landed late and its job shows our key: the 409 to the second is adopted, one job."""
    async with serving(tmp_path, metadata_echo=True, list_lag=3.0, replay="409") as world:
        source = (await world.ids("connections"))["endless"]
        async with world.client() as client:
            await world.fault("after_accept", "trigger_sync")
            job = await _effects(ledger).perform(TriggerSync(client, source))
            (row,) = await world.effects("trigger_sync")
            assert (job.id, job.adopted) == (row["entity_id"], False)
            assert job.metadata["plait"] == row["external_key"]


@pytest.mark.parametrize("switches", [{"replay": "409"}, {"keys_honoured": "ignored"}], ids=str)
async def test_a_conflict_that_proves_nothing_is_raised(tmp_path, ledger, switches):
    """The same without metadata: it may be ours and may not, so its id is told, and there is one job."""
    async with serving(tmp_path, list_lag=3.0, **switches) as world, world.client() as client:
        source = (await world.ids("connections"))["endless"]
        await world.fault("after_accept", "trigger_sync")
        with pytest.raises(AnotherJobActive) as caught:
            await _effects(ledger).perform(TriggerSync(client, source))
        assert [row["entity_id"] for row in await world.effects("trigger_sync")] == [caught.value.job_id]


@pytest.mark.parametrize("echo", [True, False])
async def test_a_schedules_work_is_not_taken_for_ours(tmp_path, echo):
    """A lost request, and a schedule's job and run in the same moment: ours are made, theirs stay theirs."""
    async with serving(tmp_path, metadata_echo=echo, single_job=False) as world, world.client() as client:
        pipeline, source = (await world.ids("pipelines"))["good"], (await world.ids("connections"))["good"]
        for kind, parent, recipe in (
            ("jobs", source, TriggerSync(client, source)),
            ("runs", pipeline, TriggerRun(client, pipeline)),
        ):
            before = recipe.baseline

            async def meanwhile(kind=kind, parent=parent, before=before):
                baseline = await before()
                await world.control("POST", kind, {"parent": parent, "trigger": "schedule"})
                return baseline

            baseline = await meanwhile()
            look = Look(external_id="test-x", baseline=baseline, taken=_never)
            assert await recipe.look(look) == Absent()


async def test_two_new_runs_cannot_be_told_apart(world, client, pipelines):
    """Ours was lost and somebody started one by hand: which is ours cannot be told, and none is started."""
    recipe = TriggerRun(client, pipelines["good"])
    baseline = await recipe.baseline()
    ours = await client.trigger_run(pipelines["good"])
    theirs = await world.control("POST", "runs", {"parent": pipelines["good"], "trigger": "manual"})
    verdict = await recipe.look(Look(external_id="test-x", baseline=baseline, taken=_never))
    assert isinstance(verdict, Several)
    assert set(verdict.vendor_ids) == {ours.id, theirs["id"]}


async def test_several_new_runs_are_an_incident(world, pipelines, ledger):
    """The same through the ledger: an incident with both ids, and no second trigger of ours."""
    async with world.client(policy=RetryPolicy(attempts=1)) as client:
        await world.fault("after_accept", "trigger_run")
        # The first list is the baseline; looks fail until somebody else's run is there too.
        await world.fault("status", "list_runs", status=503, nth=list(range(2, 500)), times=500)
        performing = asyncio.create_task(_effects(ledger).perform(TriggerRun(client, pipelines["endless"])))
        await until(lambda: world.effects("trigger_run"), len)
        theirs = await world.control("POST", "runs", {"parent": pipelines["endless"], "trigger": "manual"})
        await world.disarm()
        with pytest.raises(EffectIncident) as caught:
            await performing
    (ours,) = await world.effects("trigger_run")
    assert set(caught.value.details["vendor_ids"]) == {ours["entity_id"], theirs["id"]}


async def test_a_job_that_does_something_else_is_not_taken_for_ours(world, client, connections):
    """A new job that shows neither key nor what we asked for: unknown, which a person settles."""
    recipe = TriggerSync(client, connections["good"], SyncOptions(sync_type="full"))
    baseline = await recipe.baseline()
    await world.control("POST", "jobs", {"parent": connections["good"], "trigger": "api"})
    verdict = await recipe.look(Look(external_id="test-x", baseline=baseline, taken=_never))
    assert isinstance(verdict, NotYetKnown)


async def test_what_the_ledger_holds_for_others_is_not_ours(client, pipelines):
    """A run that another effect of ours made is no candidate."""
    recipe = TriggerRun(client, pipelines["good"])
    baseline = await recipe.baseline()
    other = await client.trigger_run(pipelines["good"])

    async def taken(ids):
        return set(ids) & {other.id}

    look = Look(external_id="test-x", baseline=baseline, taken=taken)
    assert await recipe.look(look) == Absent()


async def test_two_triggers_of_one_pipeline_are_told_apart(world, client, pipelines, ledger):
    """At once, each with its answer lost: two runs, each effect with its own."""
    await world.fault("after_accept", "trigger_run", times=2)
    runs = [TriggerRun(client, pipelines["good"], {"part": part}) for part in ("a", "b")]
    effects = _effects(ledger)
    made = await effects.perform_many(runs)
    assert {outcome.status for outcome in made} == {"done"}
    assert len({outcome.result.id for outcome in made}) == 2
    assert await world.count("trigger_run") == 2


# ---------------------------------------------------------------- keys, generations, refusals


async def test_a_re_run_of_a_failed_job_has_a_new_key(world, client, connections, ledger):
    """The same generation gives the failed job back; the next one is another job under another key."""
    run_key, recipe = str(uuid4()), TriggerSync(client, connections["bad"])
    failed = await _effects(ledger, run_key=run_key).perform(recipe)
    await wait_for_job(client, failed.id, SOON)
    assert (await _effects(ledger, run_key=run_key).perform(recipe)).id == failed.id
    again = await _effects(ledger, generation=1, run_key=run_key).perform(recipe)
    assert again.id != failed.id
    keys = [row["external_key"] for row in await world.effects("trigger_sync")]
    assert len(set(keys)) == 2


async def test_a_key_holds_connection_step_and_body(world, client, connections, ledger):
    """Two connections, two mapped steps, two bodies of one run: each its own key and job."""
    effects = _effects(ledger)
    for source in ("good", "target"):
        for options in (SyncOptions(), SyncOptions(sync_type="full")):
            for step in ("0", "1"):
                job = await effects.perform(TriggerSync(client, connections[source], options), step=step)
                await wait_for_job(client, job.id, SOON)
    keys = [row["external_key"] for row in await world.effects("trigger_sync")]
    assert len(keys) == len(set(keys)) == 8


async def test_a_refusal_is_final_and_says_why(world, client, connections, pipelines, ledger):
    """A paused connection, an unknown pipeline, a key without the right: nothing is tried again."""
    effects = _effects(ledger)
    with pytest.raises(RequestRejected, match="paused"):
        await effects.perform(TriggerSync(client, connections["paused"]))
    with pytest.raises(RequestRejected, match="not found"):
        await effects.perform(TriggerRun(client, "pl_nobody_made"))
    with pytest.raises(RequestRejected, match="draft"):
        await effects.perform(TriggerRun(client, pipelines["draft"]))
    async with world.client(key="plnx_live_reader") as reader:
        with pytest.raises(PermissionDenied):
            await effects.perform(TriggerRun(reader, pipelines["good"], {"x": 1}))
    assert await world.count("trigger_run") == await world.count("trigger_sync") == 0


async def test_a_look_that_is_refused_is_a_persons_business(world, client, connections):
    """A key that may not look any more raises; a server that is down is looked at later."""
    recipe = TriggerSync(client, connections["good"])
    look = Look(external_id="test-x", baseline=await recipe.baseline(), taken=_never)
    await world.fault("status", "list_jobs", status=401)
    with pytest.raises(AuthenticationFailed):
        await recipe.look(look)
    await world.fault("status", "list_jobs", status=503, times=10)
    assert isinstance(await recipe.look(look), NotYetKnown)
    await world.disarm()
    assert await recipe.look(look) == Absent()


async def test_a_long_limit_is_handed_back(tmp_path, ledger):
    """429 with six hours: nothing was sent, nothing is slept, and the wait is told."""
    async with serving(tmp_path) as world, world.client() as client:
        pipeline = (await world.ids("pipelines"))["good"]
        await world.fault("rate_limit", "trigger_run", wait=600.0, times=9)
        with pytest.raises(RateLimited) as caught:
            await _effects(ledger).perform(TriggerRun(client, pipeline))
        assert caught.value.retry_after == pytest.approx(600, abs=5)
        assert await world.count("trigger_run") == 0


# ---------------------------------------------------------------- long histories


async def test_a_long_history_is_not_read_to_its_end(tmp_path, ledger):
    """A sorted history of many runs costs its front only, and a lost answer is found in it."""
    fixture = Fixture(pipelines=(PipelineGroup(name="good"),), history=History(nights=FRONT + 150))
    async with serving(tmp_path, fixture=fixture) as world, world.client() as client:
        pipeline = (await world.ids("pipelines"))["good"]
        recipe = TriggerRun(client, pipeline)
        assert len((await recipe.baseline())["ids"]) == FRONT
        await world.fault("after_accept", "trigger_run")
        run = await _effects(ledger).perform(recipe)
        assert [row["entity_id"] for row in await world.effects("trigger_run")] == [run.id]
        assert len(await client.list_runs(pipeline_id=pipeline)) == FRONT + 151


# ---------------------------------------------------------------- things that are created


@pytest.fixture(params=["connection", "pipeline", "schedule", "webhook"])
def creating(request, client, pipelines):
    """An operation that creates, its recipe, and how its list is read."""
    name = f"made-{uuid4()}"
    cases = {
        "connection": (
            CreateConnection(
                client, NewConnection(name=name, type="postgres", settings={"password": "hunter2"})
            ),
            client.list_connections,
        ),
        "pipeline": (
            CreatePipeline(client, NewPipeline(name=name, project_id="proj_default")),
            client.list_pipelines,
        ),
        "schedule": (
            CreateSchedule(client, NewSchedule(pipeline_id=pipelines["good"], cron_expression="0 3 1 1 *")),
            client.list_schedules,
        ),
        "webhook": (
            CreateWebhook(client, NewWebhook(url=f"http://127.0.0.1:9/{name}?token=hunter2")),
            client.list_webhooks,
        ),
    }
    return (f"create_{request.param}", *cases[request.param])


async def test_a_lost_create_happens_once(world, ledger, creating):
    """Whatever became of the answer: one thing, and a second asking gives the recorded one."""
    operation, recipe, listing = creating
    before = {each.id for each in await listing()}
    for number, name in enumerate(SOME, start=1):
        kind, more = FAULTS[name]
        await world.fault(kind, operation, **more)
        effects = _effects(ledger)
        made = await effects.perform(recipe)
        assert await world.count(operation) == number, name
        assert (await effects.perform(recipe)).id == made.id
        assert {each.id for each in await listing()} - before == {made.id}, name
        before.add(made.id)


async def test_the_ledger_holds_no_secret_of_what_is_created(ledger, creating, tmp_path):
    """Passwords of settings and tokens in addresses are in no row of the ledger's file."""
    _, recipe, _ = creating
    made = await _effects(ledger).perform(recipe)
    assert "hunter2" not in repr(made)
    written = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*") if path.is_file())
    assert recipe.vendor_id(made).encode() in written
    assert b"hunter2" not in written


async def test_a_lost_backfill_is_a_persons_business(world, client, connections, hasty):
    """No key and no list: a lost answer stays unknown, and nothing is sent again."""
    options = BackfillOptions(
        start_at=datetime(2026, 1, 1, tzinfo=UTC), end_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    recipe, effects = StartBackfill(client, connections["good"], options), _effects(hasty)
    await world.fault("after_accept", "backfill")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="look in Planasonix"):
            await effects.perform(recipe)
    assert await world.count("backfill") == 1


async def test_a_look_finds_what_was_created(client):
    """Found is the new one of these values alone, among others that are new too."""
    ours = CreatePipeline(client, NewPipeline(name="ours", project_id="proj_default"))
    baseline = await ours.baseline()
    for name in ("theirs", "ours"):
        await client.create_pipeline(NewPipeline(name=name, project_id="proj_default"))
    verdict = await ours.look(Look(external_id="test-x", baseline=baseline, taken=_never))
    assert isinstance(verdict, Found)
    assert verdict.result.name == "ours"


# ---------------------------------------------------------------- from a row of the ledger alone


@pytest.fixture(params=["run", "sync", "connection", "pipeline", "schedule", "webhook"])
def recipe(request, client, pipelines, connections):
    """A recipe of each kind that can be looked for."""
    return {
        "run": TriggerRun(client, pipelines["good"], {"a": 1}, "env_1"),
        "sync": TriggerSync(client, connections["good"], SyncOptions(sync_type="full", streams=["a"])),
        "connection": CreateConnection(client, NewConnection(name="n", type="mysql", settings={"a": "b"})),
        "pipeline": CreatePipeline(client, NewPipeline(name="n", project_id="p", nodes=[{"id": "a"}])),
        "schedule": CreateSchedule(
            client, NewSchedule(pipeline_id=pipelines["good"], cron_expression="0 3 * * *")
        ),
        "webhook": CreateWebhook(client, NewWebhook(url="http://127.0.0.1:9/a?token=b")),
    }[request.param]


@pytest.mark.parametrize("dialect", ["spec", "detect"])
async def test_a_row_is_enough_to_look_again(world, ledger, recipe, dialect):
    """Found by the row and the environment alone, in any dialect; what was there before is not found."""
    before = await recipe.baseline()
    made = await _effects(ledger).perform(recipe)
    (seen,) = await ledger.ask(partial(list_effects, which="all"))
    row = await ledger.database.read(lambda connection: store.effect_of(connection, seen.external_id))
    environment = {
        "PLAIT_PLANASONIX_URL": f"{world.url}{ROOTS['spec'][0]}",
        "PLAIT_PLANASONIX_API_KEY": KEY,
        "PLAIT_PLANASONIX_DIALECT": dialect,
    }
    async with Recovery(openers_from(environment)) as recovery:
        restored = await recovery.restore(recorded(row))
        look = Look(external_id=row.external_id, baseline=before, taken=_never)
        verdict = await restored.look(look)
        assert isinstance(verdict, Found)
        assert restored.vendor_id(verdict.result) == recipe.vendor_id(made)
        assert restored.operation is recipe.operation
        assert unopened(recorded(row)).result_type is recipe.result_type
        nothing = replace(look, external_id="test-never", baseline=await recipe.baseline())
        assert await restored.look(nothing) == Absent()


async def test_another_organizations_row_is_left_alone(world, ledger, pipelines):
    """The account names the organization: a client without it does not look, and one with it does."""
    async with world.client(organization_id="org_1") as client:
        await _effects(ledger).perform(TriggerRun(client, pipelines["good"]))
    (seen,) = await ledger.ask(partial(list_effects, which="all"))
    row = await ledger.database.read(lambda connection: store.effect_of(connection, seen.external_id))
    plain = {"PLAIT_PLANASONIX_URL": f"{world.url}/planasonix/v1", "PLAIT_PLANASONIX_API_KEY": KEY}
    async with Recovery(openers_from(plain)) as recovery:
        with pytest.raises(CannotLook, match="PLAIT_PLANASONIX_ORGANIZATION"):
            await recovery.restore(recorded(row))
    named = plain | {"PLAIT_PLANASONIX_ORGANIZATION": "org_1"}
    async with Recovery(openers_from(named)) as recovery:
        assert (await recovery.restore(recorded(row))).operation.name == "trigger_run"
        with pytest.raises(CannotLook, match="retention"):
            await recovery.restore(replace(recorded(row), inputs=None))
        with pytest.raises(CannotLook, match=r"no operation planasonix\.dance"):
            await recovery.restore(replace(recorded(row), operation="dance"))
    assert not openers_from({"PLAIT_PLANASONIX_URL": "http://127.0.0.1:9"})
