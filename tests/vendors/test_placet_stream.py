"""Streaming drafts: in order, one at a time, and closed whatever happens (placet.md §5.1)."""

import asyncio
import itertools
import sys
from uuid import uuid4

import pytest
from placet_world import CHANNEL, QUICK, FastClock, World, serving

from plait.http.errors import InvalidInput, NotFound
from plait.sandbox.process import start_sandbox
from plait.vendors.placet.models import ChannelRequest
from plait.vendors.placet.stream import stream_message

PACE = 0.05
WORDS = [f"word{number} " for number in range(12)]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for this module."""
    with start_sandbox(state=tmp_path_factory.mktemp("placet") / "state.db", placet=QUICK) as process:
        yield process


@pytest.fixture
async def world(sandbox):
    """The shared stand-in, without faults at the start."""
    made = World(sandbox.url)
    await made.disarm()
    yield made
    await made.aclose()


@pytest.fixture
async def client(world):
    """Its client."""
    async with world.client() as made:
        yield made


@pytest.fixture
async def channel(client):
    """The id of a channel that no other test has."""
    return (await client.create_channel(ChannelRequest(name=f"Test {uuid4()}"))).id


@pytest.fixture
async def watched(world, channel):
    """What people saw of the channel's one message, in order, by a reader of its own."""
    seen = []

    async def watch():
        async with world.client() as reader:
            while True:
                for message in (await reader.list_messages(channel)).data:
                    if not seen or seen[-1] != message.text:
                        seen.append(message.text)
                await asyncio.sleep(0.01)

    task = asyncio.create_task(watch())
    yield seen
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def write(draft, words=WORDS, pause=0.03):
    """Write word by word."""
    for word in words:
        draft.write(word)
        await asyncio.sleep(pause)


async def broken(client, channel, key, count):
    """A run that writes so many words and then fails."""
    async with stream_message(client, channel, key, "Hello ", pace=PACE) as draft:
        await write(draft, WORDS[:count])
        raise RuntimeError("the model broke")


def grows(seen):
    """Whether each text holds all of the one before it."""
    return all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))


async def test_a_draft_grows_and_is_completed(client, channel, world, watched):
    """The whole text is there in the end, people saw it grow, and updates were throttled."""
    key = uuid4().hex
    async with stream_message(client, channel, key, "Hello ", pace=PACE) as draft:
        await write(draft)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(WORDS), "complete")
    assert message.id == draft.message.id
    assert await world.count("update_stream", key) <= 0.36 / PACE + 4
    await asyncio.sleep(0.1)
    assert len(watched) > 3
    assert grows(watched)


@pytest.mark.parametrize("after", range(0, 12, 3))
async def test_an_error_anywhere_marks_it_aborted(client, channel, watched, after):
    """What was written stays visible, and nobody waits for more."""
    with pytest.raises(RuntimeError, match="the model broke"):
        await broken(client, channel, uuid4().hex, after)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(WORDS[:after]), "aborted")
    await asyncio.sleep(0.05)
    assert grows(watched)


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.06, 0.13, 0.2, 0.31, 0.38])
async def test_a_cancellation_anywhere_closes_it(client, channel, watched, moment):
    """Cancelled while writing: aborted. Cancelled while closing: complete. Never left open."""

    async def work():
        async with stream_message(client, channel, uuid4().hex, "Hello ", pace=PACE) as draft:
            started.set()
            await write(draft)

    started = asyncio.Event()
    task = asyncio.create_task(work())
    await started.wait()
    await asyncio.sleep(moment)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    message = (await client.list_messages(channel)).data[0]
    assert message.stream_state in {"complete", "aborted"}
    assert ("Hello " + "".join(WORDS)).startswith(message.text)
    await asyncio.sleep(0.05)
    assert grows(watched)


FAULTS = [
    ("after_accept", {}),
    ("before_accept", {}),
    ("status", {"status": 503}),
    ("status_after", {"status": 500}),
    ("mid_body", {"bytes": 5}),
    ("duplicate_delivery", {}),
    ("rate_limit", {"wait": 0.2}),
    ("late_landing", {"seconds": 0.5}),
    ("delay", {"seconds": 0.3}),
]


@pytest.mark.parametrize(
    "fault", [(kind, {**more, "nth": [n]}) for kind, more in FAULTS for n in (1, 3)], ids=str
)
async def test_a_lost_update_never_brings_older_text(client, channel, world, watched, fault):
    """Nothing newer is sent while the lost one may still land; the end is whole all the same."""
    kind, more = fault
    await world.fault(kind, "update_stream", **more)
    clock = FastClock(20)
    async with stream_message(client, channel, uuid4().hex, "Hello ", pace=20 * PACE, clock=clock) as draft:
        await write(draft)
    await asyncio.sleep(0.6 if kind == "late_landing" else 0.05)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(WORDS), "complete")
    assert grows(watched)


@pytest.mark.parametrize("fault", [*FAULTS[:5], ("late_landing", {"seconds": 0.3})], ids=str)
async def test_a_lost_opening_is_one_draft(client, channel, world, fault):
    """The first post is repeated under its key."""
    kind, more = fault
    key = uuid4().hex
    await world.fault(kind, "post_message", **more)
    async with stream_message(client, channel, key, "Hello ", pace=PACE) as draft:
        draft.write("world")
    await asyncio.sleep(0.4 if kind == "late_landing" else 0)
    assert await world.count("post_message", key) == 1
    assert [message.text for message in (await client.list_messages(channel)).data] == ["Hello world"]


async def test_a_repeated_run_shows_nothing_older(client, channel, watched):
    """The second run starts behind what people saw, and shows its text only from there on."""
    key = uuid4().hex
    with pytest.raises(RuntimeError):
        await broken(client, channel, key, 8)
    async with stream_message(client, channel, key, "Hello ", pace=PACE) as draft:
        await write(draft)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(WORDS), "complete")
    await asyncio.sleep(0.05)
    assert grows(watched)


async def test_a_repeated_run_that_breaks_early_takes_nothing_back(client, channel, watched):
    """Aborted again, with the longer text of the first run."""
    key = uuid4().hex
    for count in (8, 2):
        with pytest.raises(RuntimeError):
            await broken(client, channel, key, count)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(WORDS[:8]), "aborted")
    assert grows(watched)


WRITER = """
import asyncio, sys
from plait.http import Transport
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.stream import stream_message

async def main(base_url, channel, key):
    transport = Transport(system="placet", base_url=base_url, headers={"x-api-key": "hp_sandbox"})
    async with PlacetClient(transport) as client:
        async with stream_message(client, channel, key, "Hello ", pace=0.05) as draft:
            for number in range(10_000):
                draft.write(f"word{number} ")
                await asyncio.sleep(0.03)

asyncio.run(main(*sys.argv[1:]))
"""


async def killed_writer(base_url, client, channel, key):
    """A process that writes and is killed in the middle; gives what people saw last of it."""
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, base_url, channel, key)
    async with asyncio.timeout(60):
        while "word5" not in (text := await last_text(client, channel)):
            await asyncio.sleep(0.02)
    writer.kill()
    await writer.wait()
    return text


async def last_text(client, channel):
    """What the channel's one message says."""
    return next((message.text for message in (await client.list_messages(channel)).data), "")


async def test_a_killed_writer_is_finished_by_the_next_run(client, channel, world, watched):
    """SIGKILL in the middle of writing: the same run again goes on from what people saw, to the end."""
    key = uuid4().hex
    seen = await killed_writer(world.base_url, client, channel, key)
    words = [f"word{number} " for number in range(len(seen.split()) + 5)]
    async with stream_message(client, channel, key, "Hello ", pace=PACE) as draft:
        await write(draft, words, pause=0.005)
    message = (await client.list_messages(channel)).data[0]
    assert (message.text, message.stream_state) == ("Hello " + "".join(words), "complete")
    assert message.text.startswith(seen)
    await asyncio.sleep(0.05)
    assert grows(watched)


async def test_a_killed_writer_that_nobody_repeats_is_aborted(tmp_path):
    """The server marks it after a while of silence, with the text that people saw."""
    settings = QUICK.model_copy(update={"stale_draft": 0.5, "sweep": 0.1})
    async with serving(tmp_path, settings) as world, world.client() as client:
        seen = await killed_writer(world.base_url, client, CHANNEL, uuid4().hex)
        async with asyncio.timeout(60):
            while (message := (await client.list_messages(CHANNEL)).data[0]).stream_state != "aborted":
                await asyncio.sleep(0.05)
        assert message.text.startswith(seen)


async def test_a_finished_draft_is_not_written_again(client, channel, world):
    """The run repeated whole: the same text costs no update."""
    key = uuid4().hex
    for _ in range(2):
        async with stream_message(client, channel, key, "Done.", pace=PACE):
            pass
    assert await world.count("update_stream", key) == 1


async def test_a_draft_that_somebody_deleted_says_so(client, channel):
    """The refusal reaches the writer instead of being tried for ever."""
    deleted = stream_message(client, channel, uuid4().hex, "Hello ", pace=PACE)
    draft = await deleted.__aenter__()
    await client.delete_message(channel, draft.message.id)
    draft.write("world")
    with pytest.raises(NotFound, match="No streaming draft"):
        await deleted.__aexit__(None, None, None)


async def test_an_empty_opening_is_refused(client, channel):
    """The server would answer 400 without saying why."""
    with pytest.raises(InvalidInput, match="first words"):
        await stream_message(client, channel, "k", " ").__aenter__()
