"""Placet's effects through the real ledger, with the stand-in failing on purpose (placet.md §6)."""

import asyncio
from uuid import uuid4

import pytest
from placet_world import CHANNEL, PNG, QUICK, World, serving

from plait.http.errors import InvalidInput, PlaitError, ServerFailed, ValidationFailed
from plait.ledger import Absent, Found, Ledger, Look, NotYetKnown, Recipe, Several, Timing
from plait.ledger.errors import EffectIncident
from plait.sandbox.process import start_sandbox
from plait.vendors.placet.models import Attachment, Channel, ChannelRequest, Message, MessageContent
from plait.vendors.placet.recovery import CreateChannel, PostMessage, StoreFile, UploadFile
from plait.vendors.placet.reviews import Approval

TIMES = Timing(landing_cap=0.4, visibility_cap=0.1, step=0.05, patience=15.0)
LOST = [
    ("after_accept", {"how": "close"}),
    ("after_accept", {"how": "reset"}),
    ("before_accept", {"how": "close"}),
    ("status", {"status": 502}),
    ("status_after", {"status": 500}),
    ("status_after", {"status": 504}),
    ("mid_body", {"bytes": 3}),
    ("duplicate_delivery", {}),
    ("late_landing", {"seconds": 0.3}),
    ("rate_limit", {"wait": 0.1}),
]


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
async def effects(tmp_path):
    """A ledger of its own for each test."""
    async with Ledger.open(tmp_path / "ledger.db", timing=TIMES) as ledger:
        yield ledger.effects(run_key=str(uuid4()), env="test", generation=0)


@pytest.fixture
def picture(tmp_path):
    """A picture on disk."""
    path = tmp_path / "poster one.png"
    path.write_bytes(PNG)
    return path


REVIEW = MessageContent(text="Publish this?\n\n50% of _it_ is new.", review=Approval())


async def _none(_ids):
    return set()


async def _look(recipe, external_id):
    await recipe.identity()
    return await recipe.look(Look(external_id=external_id, baseline=None, taken=_none))


def test_recipes_fit_the_ledger(client, picture):
    """Each recipe is one of the ledger's, with the result it promises."""
    post: Recipe[Message] = PostMessage(client, "c", REVIEW)
    create: Recipe[Channel] = CreateChannel(client, ChannelRequest(name="n"))
    store: Recipe[Attachment] = StoreFile(client, "c", picture)
    upload: Recipe[Attachment] = UploadFile(client, "c", picture)
    assert all(recipe.operation.effect.guarded for recipe in (post, create, store, upload))


@pytest.mark.parametrize("loss", LOST, ids=str)
async def test_a_lost_post_is_one_message(client, channel, effects, world, loss):
    """The key is repeated, and the stored message comes back with its pending review."""
    kind, more = loss
    before = await world.count("post_message")
    await world.fault(kind, "post_message", **more)
    message = await effects.perform(PostMessage(client, channel, REVIEW))
    await asyncio.sleep(0.4 if kind == "late_landing" else 0)
    assert message.review.status == "pending"
    assert [waiting.id for waiting in await client.list_pending_reviews(channel)] == [message.id]
    assert await world.count("post_message") == before + 1
    assert await effects.perform(PostMessage(client, channel, REVIEW)) == message


async def test_answers_lost_again_and_again_are_looked_for(client, channel, effects, world):
    """After the third loss the ledger looks, instead of saying that it is not there."""
    await world.fault("after_accept", "post_message", times=9)
    before = await world.count("post_message")
    message = await effects.perform(PostMessage(client, channel, REVIEW))
    assert message.id == (await client.list_pending_reviews(channel))[0].id
    assert await world.count("post_message") == before + 1


async def test_a_server_that_never_takes_it_is_given_up(client, channel, effects, world):
    """Looked, and it is not there: a failure that may be tried again, and nothing at the far end."""
    await world.fault("status", "post_message", status=500, times=99)
    with pytest.raises(ServerFailed, match="looked"):
        await effects.perform(PostMessage(client, channel, REVIEW))
    assert (await client.list_messages(channel)).data == []


async def test_an_old_server_without_client_id_keeps_the_promise(tmp_path, effects):
    """`streamId` alone is the documented key."""
    old = QUICK.model_copy(update={"old_server": True})
    async with serving(tmp_path, old) as world, world.client() as client:
        await world.fault("after_accept", "post_message")
        message = await effects.perform(PostMessage(client, CHANNEL, REVIEW))
        assert message.client_id is None
        assert await world.count("post_message") == 1


async def test_two_ledgers_race_with_one_key(tmp_path):
    """The vendor looks and inserts in two steps: the losers' 500 is unknown, their repeat finds the row."""
    racing = QUICK.model_copy(update={"race_seconds": 0.1})

    async def run(number, client):
        async with Ledger.open(tmp_path / f"{number}.db", timing=TIMES) as ledger:
            effects = ledger.effects(run_key="one", env="test", generation=0)
            return await effects.perform(PostMessage(client, CHANNEL, REVIEW))

    async with serving(tmp_path, racing) as world, world.client() as client:
        made = await asyncio.gather(*(run(number, client) for number in range(4)))
        assert len({message.id for message in made}) == 1
        assert await world.count("post_message") == 1


async def test_another_message_under_our_key_is_for_a_person(client, channel, effects):
    """The server answers with the other row and does not say so; we compare."""
    recipe = PostMessage(client, channel, REVIEW)
    message = await effects.perform(recipe)
    other = PostMessage(client, channel, MessageContent(text="Something else", review=Approval()))
    with pytest.raises(PlaitError, match="another text"):
        await other.send(message.stream_id)
    assert await _look(other, message.stream_id) == Several((message.id,))
    await client.delete_message(channel, message.id)
    assert await _look(other, message.stream_id) == Absent()


@pytest.mark.parametrize("becomes", ["Publish this? And more.", "Nothing of the old words"])
async def test_a_changed_message_is_an_incident(client, channel, tmp_path, becomes):
    """The row under our key says something else: nothing is repeated or called absent, a person looks."""
    text = "Publish this?"
    async with Ledger.open(tmp_path / "other.db", timing=TIMES) as ledger:
        effects = ledger.effects(run_key="fixed", env="test", generation=0)
        message = await effects.perform(PostMessage(client, channel, MessageContent(text=text)))
    await client.update_stream(channel, message.stream_id, becomes)
    async with Ledger.open(tmp_path / "fresh.db", timing=TIMES) as ledger:
        effects = ledger.effects(run_key="fixed", env="test", generation=0)
        with pytest.raises(EffectIncident) as caught:
            await effects.perform(PostMessage(client, channel, MessageContent(text=text)))
    assert caught.value.details == {"vendor_ids": [message.id]}


async def test_a_look_reads_the_whole_list(client, channel):
    """Found with its files and review, absent among others, whatever its text is made of."""
    for text in ("50% _x_", "", REVIEW.text):
        content = MessageContent(text=text, review=Approval())
        key = f"test-placet-post_message-{uuid4().hex}"
        recipe = PostMessage(client, channel, content)
        assert await _look(recipe, key) == Absent()
        message = await recipe.send(key)
        assert await _look(recipe, key) == Found(message)


async def test_files_that_the_server_forgot_to_link(tmp_path, effects, picture):
    """A review without its picture is retracted and posted again under the same key."""
    async with serving(tmp_path, QUICK.model_copy(update={"link_failures": 1})) as world:
        async with world.client() as client:
            stored = await effects.perform(StoreFile(client, CHANNEL, picture))
            content = REVIEW.model_copy(update={"attachment_ids": (stored.id,)})
            message = await effects.perform(PostMessage(client, CHANNEL, content))
            assert [file.id for file in message.attachments] == [stored.id]
            assert len(await client.list_pending_reviews(CHANNEL)) == 1
        assert (await world.count("post_message"), await world.count("delete_message")) == (2, 1)


async def test_a_file_that_cannot_be_attached_leaves_no_message(client, channel, effects, picture):
    """The server would ignore it in silence, and a person would decide without seeing it."""
    uploaded = await client.upload_file(channel, picture)
    content = REVIEW.model_copy(update={"attachment_ids": (uploaded.id,)})
    with pytest.raises(ValidationFailed, match=uploaded.id):
        await effects.perform(PostMessage(client, channel, content))
    assert await client.list_pending_reviews(channel) == []


@pytest.fixture(params=[StoreFile, UploadFile])
def sending(request, client, channel, picture):
    """One of the two ways to send a file."""
    return request.param(client, channel, picture)


@pytest.mark.parametrize("loss", LOST[:7], ids=str)
async def test_a_lost_file_is_sent_once(sending, effects, world, loss):
    """Its marked name finds it again."""
    fault, more = loss
    operation, client, channel = sending.operation.name, sending.client, sending.channel_id
    before = await world.count(operation)
    await world.fault(fault, operation, **more)
    sent = await effects.perform(sending)
    assert sent.filename.startswith("poster one-test-")
    assert sent.filename.endswith(".png")
    assert [file.id for file in await client.list_files(channel)] == [sent.id]
    assert await world.count(operation) == before + 1


async def test_a_stored_file_is_found_after_it_was_attached(client, channel, picture):
    """Attaching it does not make it absent."""
    recipe = StoreFile(client, channel, picture)
    key = f"test-placet-store_file-{uuid4().hex}"
    await recipe.identity()
    stored = await recipe.send(key)
    await client.post_message(channel, MessageContent(attachment_ids=(stored.id,)))
    found = await _look(recipe, key)
    assert isinstance(found, Found)
    assert found.result.id == stored.id


async def test_a_file_that_changes_after_its_digest_is_not_sent(client, channel, world, picture):
    """The identity is the content."""
    recipe = StoreFile(client, channel, picture)
    await recipe.identity()
    picture.write_bytes(b"other")
    before = await world.count("store_file")
    with pytest.raises(InvalidInput, match="changed"):
        await recipe.send("x")
    assert await world.count("store_file") == before


@pytest.mark.parametrize("loss", LOST[:7], ids=str)
async def test_a_lost_channel_is_made_once(client, effects, world, loss):
    """The marker in its description finds it again."""
    fault, more = loss
    name = f"Campaigns {uuid4()}"
    before = await world.count("create_channel")
    await world.fault(fault, "create_channel", **more)
    made = await effects.perform(CreateChannel(client, ChannelRequest(name=name, description="Spring")))
    assert made.description.startswith("Spring · test-")
    assert [channel.id for channel in await client.list_channels() if channel.name == name] == [made.id]
    assert await world.count("create_channel") == before + 1


async def test_twin_channels_are_an_incident(client):
    """Two with one marker cannot be told apart."""
    recipe = CreateChannel(client, ChannelRequest(name="Twin"))
    key = f"test-placet-create_channel-{uuid4().hex}"
    assert await _look(recipe, key) == Absent()
    first = await recipe.send(key)
    assert await _look(recipe, key) == Found(first)
    second = await recipe.send(key)
    found = await _look(recipe, key)
    assert isinstance(found, Several)
    assert set(found.vendor_ids) == {first.id, second.id}


async def test_a_vendor_that_is_down_is_not_absent(client, channel, world, picture):
    """A look that failed says nothing about the effect."""
    await world.fault("status", "list_messages", status=503, times=99)
    await world.fault("status", "list_channels", status=503, times=99)
    await world.fault("status", "list_files", status=503, times=99)
    for recipe in (
        PostMessage(client, channel, REVIEW),
        CreateChannel(client, ChannelRequest(name="n")),
        StoreFile(client, channel, picture),
        UploadFile(client, channel, picture),
    ):
        assert isinstance(await _look(recipe, "test-x-y-0123456789abcdef"), NotYetKnown)
