"""One client suite for every mount of the stand-in, over real sockets: envelopes, flat answers, arrays."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from planasonix_world import DEFAULTS, DIALECTS, QUICK, SOON, World, serving, until

from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestRejected,
    ValidationFailed,
)
from plait.http.retry import RetryPolicy
from plait.sandbox.planasonix_settings import AllWords, MountWords, Words
from plait.sandbox.process import start_sandbox
from plait.vendors.coverage import without_method
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.errors import AnotherJobActive
from plait.vendors.planasonix.models import (
    BackfillOptions,
    NewConnection,
    NewPipeline,
    NewSchedule,
    NewWebhook,
    State,
    SyncOptions,
)
from plait.vendors.planasonix.operations import OPERATIONS
from plait.vendors.planasonix.waiting import wait_for_job, wait_for_run

MOUNTS = ["spec", "docs", "air", "go"]
"""Another way to write the documentation's mount, `versioned`, differs in its prefix only."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for the whole suite."""
    state = tmp_path_factory.mktemp("planasonix") / "state.db"
    with start_sandbox(state=state, seed=7, planasonix=DEFAULTS) as process:
        yield process


@pytest.fixture
async def world(sandbox):
    """The shared stand-in, without faults at the start."""
    made = World(sandbox.url)
    await made.disarm()
    yield made
    await made.aclose()


@pytest.fixture(params=MOUNTS)
def mount(request):
    """Each mount of the stand-in."""
    return request.param


@pytest.fixture
async def client(world, mount):
    """A client of the mount."""
    async with world.client(mount) as made:
        yield made


@pytest.fixture
async def pipelines(world):
    """Ids by name."""
    return await world.ids("pipelines")


@pytest.fixture
async def connections(world):
    """Ids by name."""
    return await world.ids("connections")


def test_every_operation_has_a_method():
    """A row of the operation table without a coroutine method of its name is a fault."""
    assert without_method(OPERATIONS, PlanasonixClient) == []


def test_every_guarded_operation_says_how_it_recovers():
    """The guarantee table is made of these sentences."""
    guarded = [operation for operation in OPERATIONS if operation.effect.guarded]
    assert len(guarded) == 7
    assert all(operation.recovery for operation in guarded)


# ---------------------------------------------------------------- the suite


@pytest.mark.parametrize("mount", list(DIALECTS))
async def test_the_dialect_is_found_by_reading(world, mount):
    """`detect` finds each mount's dialect by lists alone, and no prefix comes twice."""
    async with world.client(mount, dialect="detect") as found, world.client(mount) as told:
        assert (await found.dialect()).name == DIALECTS[mount]
        assert found.account == told.account
        assert "good" in [pipeline.name for pipeline in await found.list_pipelines()]


async def test_connections(client, pipelines):
    """Listed, created, read, changed, tested and deleted; the same fields in every dialect."""
    settings = {"host": "db.example", "port": "5432"}
    new = NewConnection(name=f"made-{uuid4()}", type="postgres", settings=settings, category="source")
    made = await client.create_connection(new)
    assert (made.name, made.type) == (new.name, "postgres")
    changed = await client.update_connection(made.id, name=f"{new.name}-2", settings={"port": "5433"})
    assert (changed.id, changed.name, changed.type) == (made.id, f"{new.name}-2", "postgres")
    assert changed.settings == settings | {"port": "5433"}
    assert (await client.get_connection(made.id)).settings == changed.settings
    assert changed.name in [each.name for each in await client.list_connections(kind="postgres")]
    assert (await client.test_connection(new)).success
    await client.delete_connection(made.id)
    assert made.id not in [each.id for each in await client.list_connections()]
    with pytest.raises(NotFound):
        await client.delete_connection(made.id)
    del pipelines


async def test_pipelines(client):
    """Listed, created, read, changed, paused, resumed and deleted."""
    nodes = [{"id": "extract", "type": "source"}, {"id": "load", "type": "destination"}]
    edges = [{"source": "extract", "target": "load"}]
    new = NewPipeline(name=f"made-{uuid4()}", nodes=nodes, edges=edges, project_id="proj_default")
    made = await client.create_pipeline(new)
    assert made.name == new.name
    assert (await client.get_pipeline(made.id)).nodes == nodes
    changed = await client.update_pipeline(made.id, name=f"{new.name}-2")
    assert (changed.name, changed.nodes, changed.edges) == (f"{new.name}-2", nodes, edges)
    assert (await client.update_pipeline(made.id, edges=[])).edges == []
    assert (await client.resume_pipeline(made.id)).active
    assert (await client.pause_pipeline(made.id)).paused
    assert changed.name in [each.name for each in await client.list_pipelines(search=new.name)]
    await client.delete_pipeline(made.id)
    assert made.id not in [each.id for each in await client.list_pipelines()]


async def test_a_run(client, pipelines):
    """Triggered, found in the lists, waited for, its rows, nodes and log read."""
    started = await client.trigger_run(pipelines["good"], {"day": "2026-11-26"})
    assert started.pipeline_id == pipelines["good"]
    assert not started.ended
    ended = await wait_for_run(client, started.id, SOON)
    assert ended.state is State.SUCCEEDED
    assert ended.failure is None
    assert ended.rows_written > 0
    assert ended.duration == pytest.approx(QUICK, abs=0.02)
    assert ended.started_at.tzinfo is not None
    assert {node.state for node in await client.list_run_nodes(started.id)} == {State.SUCCEEDED}
    logs = await client.get_run_logs(started.id)
    assert "finished" in logs.tail(1)
    assert (await client.get_run_logs(started.id, since=logs.cursor)).lines == []
    for listed in (
        await client.list_runs(pipeline_id=pipelines["good"], state=State.SUCCEEDED),
        await client.list_pipeline_runs(pipelines["good"]),
        await client.list_runs(since=datetime.now(UTC) - timedelta(hours=1)),
    ):
        assert started.id in [run.id for run in listed]
        assert len({run.id for run in listed}) == len(listed)
    assert await client.list_runs(since=datetime.now(UTC) + timedelta(hours=1)) == []


async def test_a_failed_run_says_why(client, pipelines):
    """Failure and its words arrive, wherever the dialect puts them."""
    started = await client.trigger_run(pipelines["bad"])
    ended = await wait_for_run(client, started.id, SOON)
    assert ended.state is State.FAILED
    assert ended.failure


async def test_a_run_is_cancelled(client, pipelines):
    """A running one ends as cancelled; cancelling it once more, or one that succeeded, changes nothing."""
    endless = await client.trigger_run(pipelines["endless"])
    await client.cancel_run(endless.id)
    assert (await wait_for_run(client, endless.id, SOON)).state is State.CANCELLED
    assert (await client.cancel_run(endless.id)).state is State.CANCELLED
    done = await wait_for_run(client, (await client.trigger_run(pipelines["good"])).id, SOON)
    assert (await client.cancel_run(done.id)).state is State.SUCCEEDED
    with pytest.raises(NotFound):
        await client.cancel_run("run_nobody_made")


async def test_a_sync_job(client, connections):
    """Triggered under a key, found in the list, waited for, its results read."""
    key = f"key-{uuid4()}"
    options = SyncOptions(sync_type="full", streams=["orders"], priority="low", metadata={"asked": "by us"})
    started = await client.trigger_sync(connections["good"], options, idempotency_key=key)
    assert started.connection_id == connections["good"]
    assert (await client.trigger_sync(connections["good"], options, idempotency_key=key)).id == started.id
    ended = await wait_for_job(client, started.id, SOON)
    assert ended.state is State.SUCCEEDED
    assert (await client.get_job_results(started.id)).summary.total_rows_synced > 0
    listed = await client.list_jobs(connection_id=connections["good"], state=State.SUCCEEDED)
    assert started.id in [job.id for job in listed]
    assert {job.connection_id for job in listed} == {connections["good"]}


async def test_another_sync_is_named(client, connections):
    """A second sync of a connection raises the first one's id; cancelling the first makes way."""
    first = await client.trigger_sync(connections["endless"], idempotency_key=f"key-{uuid4()}")
    with pytest.raises(AnotherJobActive) as caught:
        await client.trigger_sync(connections["endless"], idempotency_key=f"key-{uuid4()}")
    assert caught.value.job_id == first.id
    await client.cancel_job(first.id)
    ended = await wait_for_job(client, first.id, SOON)
    assert (ended.state, ended.connection_id) == (State.CANCELLED, connections["endless"])
    assert (await client.cancel_job(first.id)).state is State.CANCELLED


async def test_another_conflict_shows_its_reason(client, connections):
    """A paused connection is no job that stands in the way: its words are what is raised."""
    with pytest.raises(Conflict, match="paused"):
        await client.trigger_sync(connections["paused"], idempotency_key=f"key-{uuid4()}")


async def test_a_backfill(client, connections):
    """The part of the past is taken as it was given."""
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    options = BackfillOptions(start_at=begin, end_at=begin + timedelta(days=3), tables=["orders"])
    made = await client.backfill(connections["good"], options)
    assert made.connection_id == connections["good"]
    assert (made.start_at, made.end_at, made.tables) == (begin, options.end_at, ["orders"])


async def test_schedules(client, pipelines):
    """Listed, created, read, changed without losing a field, paused, resumed and deleted."""
    new = NewSchedule(pipeline_id=pipelines["good"], cron_expression="0 3 * * *", timezone="Europe/Berlin")
    made = await client.create_schedule(new)
    assert (made.pipeline_id, made.cron_expression) == (new.pipeline_id, new.cron_expression)
    changed = await client.update_schedule(made.id, cron_expression="30 4 * * *")
    assert (changed.cron_expression, changed.timezone, changed.enabled) == (
        "30 4 * * *",
        "Europe/Berlin",
        True,
    )
    assert (await client.pause_schedule(made.id)).enabled is False
    listed = await client.list_schedules(pipeline_id=pipelines["good"], enabled=False)
    assert made.id in [each.id for each in listed]
    assert (await client.resume_schedule(made.id)).next_run_at is not None
    await client.delete_schedule(made.id)
    with pytest.raises(NotFound):
        await client.get_schedule(made.id)


async def test_webhook_subscriptions(client):
    """Created, listed and deleted at the assumed path; what the secret is shows nowhere."""
    url = f"http://127.0.0.1:9/{uuid4()}"
    made = await client.create_webhook(NewWebhook(url=url))
    assert made.url == url
    assert url in [each.url for each in await client.list_webhooks()]
    if made.secret is not None:
        assert made.secret.get_secret_value() not in f"{made!r} {made.model_dump_json()}"
    await client.delete_webhook(made.id)
    assert url not in [each.url for each in await client.list_webhooks()]


async def test_refusals_are_typed_and_keep_their_words(world, mount, pipelines):
    """401, 403, 404 and 400 in every form of error, and no key of ours in any of them."""
    async with world.client(mount, key="plnx_live_revoked") as revoked:
        with pytest.raises(AuthenticationFailed, match="revoked"):
            await revoked.list_pipelines()
    async with world.client(mount, key="plnx_live_reader") as reader:
        with pytest.raises(PermissionDenied, match="scope") as caught:
            await reader.trigger_run(pipelines["good"])
        assert "plnx_live_reader" not in repr(caught.value)
        assert await reader.list_runs() is not None
    async with world.client(mount) as client:
        with pytest.raises(NotFound, match="Run"):
            await client.get_run("run_nobody_made")
        with pytest.raises(ValidationFailed) as invalid:
            await client.create_schedule(
                NewSchedule(pipeline_id=pipelines["good"], cron_expression="every day")
            )
        assert invalid.value.message


async def test_another_organization_sees_nothing_of_ours(world, mount, pipelines):
    """404, not 403, for what belongs to somebody else."""
    async with world.client(mount, key="plnx_live_other") as other:
        assert await other.list_pipelines() == []
        with pytest.raises(NotFound):
            await other.get_pipeline(pipelines["good"])


@pytest.mark.parametrize("prefix", ["plnx_live_", "plx_live_", "plx_test_", "flx_"])
async def test_a_keys_prefix_is_not_judged(world, prefix):
    """Four prefixes are known of two vendors' clients; the server alone says which key is one."""
    async with world.client(key=f"{prefix}{uuid4().hex}") as client:
        assert await client.list_pipelines()


# ---------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("mounts", "switches"),
    [
        (MOUNTS, {}),
        (["spec"], {"cursor_place": "meta"}),
        (["docs"], {"cursor_place": "page", "cursor_end": "absent"}),
        (["spec", "docs"], {"cursor_repeats": True}),
    ],
    ids=str,
)
async def test_a_list_is_read_to_its_end(tmp_path, mounts, switches):
    """Pages of five, whatever shows the way to the next: every entry once, in every dialect, and an end."""
    async with serving(tmp_path, max_limit=5, single_job=False, **switches) as world:
        ids = await world.ids("pipelines")
        sources = await world.ids("connections")
        async with world.client() as client:
            for number in range(11):
                await client.trigger_run(ids["good"], {"number": number})
                await client.trigger_sync(sources["good"], idempotency_key=f"key-{number}")
        for mount in mounts:
            async with world.client(mount) as client:
                for runs in (
                    await client.list_runs(),
                    await client.list_runs(pipeline_id=ids["good"]),
                    await client.list_pipeline_runs(ids["good"]),
                    await client.list_jobs(connection_id=sources["good"]),
                ):
                    assert len(runs) == len({run.id for run in runs}) == 11
                assert {each.name for each in await client.list_pipelines()} == set(ids)
                assert {each.name for each in await client.list_connections()} == set(sources)


async def test_a_list_goes_on_where_it_was_left(tmp_path):
    """A page's cursor is enough to read what comes after it, by another client too."""
    async with serving(tmp_path, max_limit=2) as world:
        async with world.client() as client:
            first = await anext(client.pipeline_pages())
            whole = [each.id for each in await client.list_pipelines()]
        async with world.client() as other:
            rest = [each.id async for page in other.pipeline_pages(start=first.cursor) for each in page.items]
        assert [each.id for each in first.items] + rest == whole


# ---------------------------------------------------------------- words, errors, limits

ODD = Words(
    queued="Enqueued", running="Warming-Up", succeeded="SUCCESS", failed="ERROR", cancelled="Canceled"
)


@pytest.mark.parametrize("form", ["object", "string", "null"])
async def test_every_form_of_error_is_survived(tmp_path, form):
    """`error` as object, text or null: a failed run and a failed job are read in every dialect."""
    async with serving(tmp_path, error_form=form) as world:
        pipelines, connections = await world.ids("pipelines"), await world.ids("connections")
        for mount in MOUNTS:
            async with world.client(mount) as client:
                run = await wait_for_run(client, (await client.trigger_run(pipelines["bad"])).id, SOON)
                job = await wait_for_job(client, (await client.trigger_sync(connections["bad"])).id, SOON)
                assert (run.state, job.state) == (State.FAILED, State.FAILED)
                assert form == "null" or (run.failure and job.failure)


async def test_other_spellings_mean_the_same_and_are_kept(tmp_path):
    """`SUCCESS`, `ERROR` and `Canceled` are what they say; the raw word stays readable."""
    words = MountWords(runs=ODD, jobs=ODD)
    async with serving(tmp_path, words=AllWords(spec=words)) as world:
        ids = await world.ids("pipelines")
        async with world.client() as client:
            for name, state, word in (("good", State.SUCCEEDED, "SUCCESS"), ("bad", State.FAILED, "ERROR")):
                started = await client.trigger_run(ids[name])

                async def ended(run_id=started.id):
                    return await client.get_run(run_id)

                run = await until(ended, lambda run: run.ended)
                assert (run.state, run.status) == (state, word)
            assert started.state is State.UNKNOWN
            assert started.status == "Enqueued"


async def test_rate_limits_are_obeyed(tmp_path):
    """More calls than a window holds all succeed: the headers hold them back until it is over."""
    async with serving(tmp_path, limit=8, limit_window=1.0) as world, world.client() as client:
        for _ in range(12):
            assert await client.list_pipelines()


@pytest.mark.parametrize("announced", ["seconds", "date", "none"])
async def test_a_429_is_waited_out(tmp_path, announced):
    """`Retry-After` in seconds, as a date, or absent: the same call succeeds in the end."""
    switches = {"limit": 2, "limit_window": 1.0, "retry_after": announced, "rate_headers": False}
    async with serving(tmp_path, **switches) as world, world.client(policy=RetryPolicy(base=0.5)) as client:
        for _ in range(3):
            assert await client.list_pipelines()


async def test_a_very_long_retry_after_is_raised_at_once(tmp_path):
    """Six hours are nobody's wait inside a call: the limit is raised with its time and the server's words."""
    async with serving(tmp_path, limit=1, limit_window=3600, retry_after="very_long") as world:
        async with world.client() as client:
            await client.list_pipelines()
        async with world.client() as client:
            with pytest.raises(RateLimited, match="Too many requests") as caught:
                await client.list_pipelines()
    assert caught.value.retry_after == pytest.approx(21600, abs=5)
    assert caught.value.code == "rate_limited"


async def test_a_plan_without_orchestration_is_a_refusal(tmp_path):
    """The tier gate is a 403 with its reason, at the first call."""
    async with serving(tmp_path, tier="standard") as world, world.client() as client:
        with pytest.raises(PermissionDenied, match="plan"):
            await client.list_jobs()
        assert await client.list_pipelines()


@pytest.mark.parametrize("mode", ["merge", "wipe"])
async def test_a_schedule_keeps_what_was_not_changed(tmp_path, mode):
    """Servers that wipe what a PUT leaves out, and servers that keep it: the result is the same."""
    async with serving(tmp_path, schedule_put=mode) as world:
        pipeline = (await world.ids("pipelines"))["good"]
        for mount in MOUNTS:
            async with world.client(mount) as client:
                new = NewSchedule(pipeline_id=pipeline, cron_expression="0 3 * * *", timezone="Asia/Tokyo")
                made = await client.create_schedule(new)
                paused = await client.update_schedule(made.id, enabled=False)
                assert (paused.cron_expression, paused.timezone, paused.enabled) == (
                    "0 3 * * *",
                    "Asia/Tokyo",
                    False,
                )


@pytest.mark.parametrize("finished", [409, 400])
@pytest.mark.parametrize("mode", ["immediate", "late", "finishes"])
async def test_a_cancel_is_settled_by_reading(tmp_path, mode, finished):
    """At once, later, or never: what cancel gives back is what the server shows, and the end is an end."""
    async with serving(tmp_path, cancel=mode, finished_cancel=finished) as world, world.client() as client:
        pipeline = (await world.ids("pipelines"))["endless"]
        started = await client.trigger_run(pipeline)
        told = await client.cancel_run(started.id)
        assert told.ended is (mode == "immediate")
        ended = await wait_for_run(client, started.id, SOON)
        assert ended.state is (State.SUCCEEDED if mode == "finishes" else State.CANCELLED)
        assert (await client.cancel_run(started.id)).state is ended.state


@pytest.mark.parametrize("form", ["lines", "text", "urls"])
async def test_every_form_of_log(tmp_path, form):
    """JSON lines and text become lines; addresses stay addresses."""
    async with serving(tmp_path, logs=form) as world:
        pipeline = (await world.ids("pipelines"))["good"]
        for mount in MOUNTS:
            async with world.client(mount) as client:
                run = await wait_for_run(client, (await client.trigger_run(pipeline)).id, SOON)
                logs = await client.get_run_logs(run.id)
                assert bool(logs.urls) == (form == "urls")
                assert ("finished" in logs.tail(1)) == (form != "urls")


async def test_a_read_that_fails_is_not_called_missing(tmp_path):
    """A 500 is the server's failure and a 404 is not found: never one for the other."""
    async with serving(tmp_path) as world, world.client(policy=RetryPolicy(attempts=1)) as client:
        await world.fault("status", "get_run", status=500)
        with pytest.raises(Exception, match="injected") as caught:
            await client.get_run("run_nobody_made")
        assert not isinstance(caught.value, RequestRejected)
        with pytest.raises(NotFound):
            await client.get_run("run_nobody_made")
