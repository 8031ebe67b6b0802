"""Waiting for Planasonix: what ends it, what must not, and what is done at the deadline."""

import asyncio
from uuid import uuid4

import pytest
from planasonix_world import DEFAULTS, SOON, World, until

from plait.http.errors import (
    AuthenticationFailed,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerFailed,
)
from plait.http.retry import RetryPolicy
from plait.sandbox.process import start_sandbox
from plait.vendors.planasonix.client import connect
from plait.vendors.planasonix.errors import AnotherJobActive, StillWorking, UnknownStatus
from plait.vendors.planasonix.models import State
from plait.vendors.planasonix.waiting import Patience, sync_when_free, wait_for_job, wait_for_run

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
async def client(vendor):
    """A client of the scripted vendor that asks once."""
    async with connect(vendor.url, api_key="plnx_live_secret", policy=ONCE) as made:
        yield made


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
def shows(vendor, answer):
    """Lets the scripted vendor show these words or refusals one after the other, the last for ever."""

    def script(*shown):
        left = list(shown)

        def handler(_):
            shown = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(shown, int):
                return answer({"error": "no"}, shown)
            return answer({"id": "run_1", "status": shown})

        vendor.handler = handler

    return script


@pytest.mark.parametrize(
    "end",
    [
        ("succeeded", State.SUCCEEDED),
        ("success", State.SUCCEEDED),
        ("completed", State.SUCCEEDED),
        ("Completed ", State.SUCCEEDED),
        ("failed", State.FAILED),
        ("canceled", State.CANCELLED),
        ("cancelled", State.CANCELLED),
    ],
)
@pytest.mark.parametrize("wait", [wait_for_run, wait_for_job])
async def test_every_spelling_of_an_end_ends_the_wait(client, vendor, shows, wait, end):
    """Runs and jobs have other words at the vendor; here each ends by any, at the look that shows it."""
    word, state = end
    shows("running", word)
    ended = await wait(client, "run_1", SOON)
    assert (ended.state, ended.status) == (state, word)
    assert len(vendor.asked) == 2


@pytest.mark.parametrize("word", ["partially_done", "timed_out", ""])
async def test_an_unknown_word_is_raised_at_once(client, vendor, shows, word):
    """It may be an end: nobody waits an hour to find out, and the raw word is told."""
    shows("running", word)
    with pytest.raises(UnknownStatus) as caught:
        await wait_for_run(client, "run_1", SOON)
    assert caught.value.work.status == word
    assert repr(word) in str(caught.value)
    assert len(vendor.asked) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationFailed), (403, PermissionDenied), (404, NotFound)]
)
async def test_a_refusal_ends_the_wait_within_one_poll(client, vendor, shows, status, kind):
    """A key that is revoked meanwhile, or work that is gone: the very next look raises it."""
    for before in ([], ["running"]):
        vendor.asked.clear()
        shows(*before, status)
        with pytest.raises(kind):
            await wait_for_run(client, "run_1", SOON)
        assert len(vendor.asked) == len(before) + 1


async def test_a_401_in_mid_poll_at_the_stand_in(world):
    """The same against the stand-in: one poll after the key is refused, the wait is over."""
    ids = await world.ids("pipelines")
    async with world.client() as client:
        run = await client.trigger_run(ids["endless"])
        await world.fault("status", "get_run", status=401, nth=[3])
        with pytest.raises(AuthenticationFailed):
            await wait_for_run(client, run.id, SOON)


@pytest.mark.parametrize("wait", [wait_for_run, wait_for_job])
async def test_a_server_that_never_answers_ends_at_the_deadline(world, wait):
    """The deadline fires inside the request: nothing was seen, and the wait is over."""
    for operation in ("get_run", "get_job"):
        await world.fault("hang", operation, seconds=60, times=100)
    async with world.client() as client, asyncio.timeout(60):
        with pytest.raises(StillWorking, match="never seen") as caught:
            await wait(client, "work_1", Patience(timeout=0.5, first=0.1))
    await world.disarm()
    assert caught.value.work is None
    assert caught.value.cancelled is False


async def test_a_server_that_is_down_for_a_while_is_looked_at_again(client, shows):
    """A few 503 are not the end of the work."""
    shows("running", 503, 503, "succeeded")
    assert (await wait_for_run(client, "run_1", SOON)).state is State.SUCCEEDED


async def test_a_server_that_stays_down_is_named_at_the_deadline(client, clock, shows):
    """What was seen last and why nothing more was stands in the error."""
    shows("running", 503)
    with pytest.raises(StillWorking, match="was running") as caught:
        await wait_for_run(client, "run_1", Patience(timeout=100), clock=clock)
    assert isinstance(caught.value.__cause__, ServerFailed)


async def test_an_end_within_the_last_pause_is_an_end(client, clock, vendor, shows):
    """State before clock: the look after the last pause counts, though the deadline has passed."""
    shows("running", "succeeded")
    patience = Patience(timeout=10, first=30, longest=30)
    assert (await wait_for_run(client, "run_1", patience, clock=clock)).state is State.SUCCEEDED
    assert clock.now() == pytest.approx(10)
    assert len(vendor.asked) == 2


async def test_pauses_grow_and_stop_growing(client, clock, vendor, shows):
    """An hour of waiting costs about as many looks as the longest pause says, not one a second."""
    shows("running")
    patience = Patience(timeout=3600, first=1, longest=60, growth=2)
    with pytest.raises(StillWorking):
        await wait_for_run(client, "run_1", patience, clock=clock)
    assert len(vendor.asked) == 7 + 58 + 1  # up to 63 s, then each minute, and after the last pause


async def test_a_pause_that_the_server_asks_for_ends_at_the_deadline(client, clock, vendor, reply):
    """Six hours of `Retry-After` are capped by the deadline of the wait."""
    body = (b'{"error": "slow down"}',)
    vendor.handler = lambda _: reply(429, body, headers=(("Retry-After", "21600"),))
    with pytest.raises(StillWorking) as caught:
        await wait_for_run(client, "run_1", Patience(timeout=600), clock=clock)
    assert isinstance(caught.value.__cause__, RateLimited)
    assert clock.now() == pytest.approx(600)


async def test_work_is_cancelled_at_the_deadline_if_asked(world):
    """Nothing goes on at the vendor that nobody waits for, and its id is kept."""
    ids, sources = await world.ids("pipelines"), await world.ids("connections")
    late = Patience(timeout=0.3, first=0.1, longest=0.1, cancel=True)
    async with world.client() as client:
        run = await client.trigger_run(ids["endless"])
        job = await client.trigger_sync(sources["endless"])
        for wait, started, read in (
            (wait_for_run, run, client.get_run),
            (wait_for_job, job, client.get_job),
        ):
            with pytest.raises(StillWorking, match="asked to stop") as caught:
                await wait(client, started.id, late)
            assert caught.value.cancelled
            assert caught.value.work.id == started.id
            assert (await read(started.id)).state is State.CANCELLED
    assert (await world.count("cancel_run"), await world.count("cancel_job")) == (1, 1)


async def test_work_goes_on_after_the_deadline_unless_asked(world):
    """Without `cancel` the wait alone is over."""
    ids = await world.ids("pipelines")
    async with world.client() as client:
        run = await client.trigger_run(ids["endless"])
        with pytest.raises(StillWorking) as caught:
            await wait_for_run(client, run.id, Patience(timeout=0.3, first=0.1, longest=0.1))
        assert caught.value.work.id == run.id
        assert not (await client.get_run(run.id)).ended
    assert await world.count("cancel_run") == 0


async def test_a_cancel_that_finds_an_end_gives_the_end(client, clock, vendor, answer):
    """The run succeeded between the last look and the cancel: that is its end."""
    shown = {"status": "running"}

    def handler(request):
        if request.method == "DELETE":
            shown["status"] = "succeeded"
            return answer({"error": "already finished"}, 409)
        return answer({"id": "run_1", **shown})

    vendor.handler = handler
    ended = await wait_for_run(client, "run_1", Patience(timeout=5, cancel=True), clock=clock)
    assert ended.state is State.SUCCEEDED


async def test_work_is_cancelled_when_the_waiting_is_stopped(world):
    """A task that is killed takes its run with it, before it ends."""
    ids = await world.ids("pipelines")
    patience = Patience(timeout=60, first=0.05, longest=0.05, cancel=True)
    async with world.client() as client:
        run = await client.trigger_run(ids["endless"])
        waiting = asyncio.create_task(wait_for_run(client, run.id, patience))

        async def seen():
            return await client.get_run(run.id)

        await until(seen, lambda shown: shown.state is State.RUNNING)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await client.get_run(run.id)).state is State.CANCELLED


async def test_a_sync_waits_until_the_connection_is_free(world):
    """Somebody else's job ends by itself, ours comes after it, and theirs is not touched."""
    source = (await world.ids("connections"))["good"]
    async with world.client() as client:
        theirs = await client.trigger_sync(source, idempotency_key=f"theirs-{uuid4()}")

        async def trigger():
            return await client.trigger_sync(source, idempotency_key="ours")

        ours = await sync_when_free(client, trigger, SOON)
        assert ours.id != theirs.id
        assert (await client.get_job(theirs.id)).state is State.SUCCEEDED
    assert await world.count("trigger_sync") == 2
    assert await world.count("cancel_job") == 0


async def test_a_sync_does_not_wait_for_ever(world):
    """A job that hangs is still there at the deadline, and is not ours to cancel."""
    source = (await world.ids("connections"))["endless"]
    async with world.client() as client:
        theirs = await client.trigger_sync(source, idempotency_key=f"theirs-{uuid4()}")

        async def trigger():
            return await client.trigger_sync(source, idempotency_key="ours")

        with pytest.raises((StillWorking, AnotherJobActive)):
            await sync_when_free(client, trigger, Patience(timeout=0.4, first=0.1, cancel=True))
        assert not (await client.get_job(theirs.id)).ended
    assert await world.count("cancel_job") == 0


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"first": 0}, {"first": 60}, {"growth": 0.5}], ids=str)
def test_a_patience_that_cannot_be_kept_is_refused(wrong):
    """Times are checked before anything is waited for."""
    with pytest.raises(InvalidInput, match="cannot be kept"):
        Patience(**wrong)
