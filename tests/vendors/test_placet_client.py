"""The Placet client against the stand-in in its own process."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from placet_world import CHANNEL, FOREIGN, PNG, QUICK, World, ask, serving

from plait.http.errors import (
    AuthenticationFailed,
    InvalidInput,
    MalformedResponse,
    NotFound,
    PermissionDenied,
    RateLimited,
    ValidationFailed,
)
from plait.sandbox.process import start_sandbox
from plait.vendors.coverage import without_method
from plait.vendors.placet.answers import ApprovalAnswer, FormAnswer, read_answer
from plait.vendors.placet.client import PlacetClient, plain_filename
from plait.vendors.placet.models import (
    ChannelRequest,
    MessageContent,
    ReviewState,
    TextAttachment,
    WebhookAuth,
)
from plait.vendors.placet.operations import FILE_LIMIT, OPERATIONS
from plait.vendors.placet.reviews import Approval, Form, FormField, Freeform, Selection, SelectionItem


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process for the tests that need no switch."""
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


def said(text, **more):
    """A message's content."""
    return MessageContent(text=text, **more)


def test_each_operation_has_a_method():
    """The table and the client do not drift apart; the vendor's page names 17 of the calls."""
    assert without_method(OPERATIONS, PlacetClient) == []
    assert sum(operation.source == "doc" for operation in OPERATIONS) == 17


async def test_a_message_says_what_was_given(client, channel):
    """Every part of a message comes back as it was sent."""
    content = said(
        "## Done",
        status="success",
        metadata={"build": 7},
        text_attachments=(TextAttachment(content="# Log", filename="log.md"),),
        webhook_url="https://hooks.example/x",
    )
    message = await client.post_message(channel, content)
    read = await client.get_message(channel, message.id)
    assert (read.text, read.status, read.sender_type) == ("## Done", "success", "agent")
    assert read.metadata == {"build": 7, "webhookUrl": "https://hooks.example/x"}
    assert [file.filename for file in read.attachments] == ["log.md"]
    assert message.attachments[0].text_content == "# Log"
    assert message.created_at.tzinfo is not None


async def test_an_empty_message_is_not_sent(client, channel, world):
    """The server would answer 400 without saying why."""
    before = await world.count("post_message")
    with pytest.raises(InvalidInput, match="empty"):
        await client.post_message(channel, said("", metadata={"a": 1}))
    assert await world.count("post_message") == before


async def test_the_same_key_is_the_same_message(client, channel):
    """The second post gives the first one's row, whatever it says."""
    first = await client.post_message(channel, said("first"), key="k-1")
    again = await client.post_message(channel, said("second"), key="k-1")
    assert (again.id, again.text) == (first.id, "first")
    assert (first.stream_id, first.client_id, first.stream_state) == ("k-1", "k-1", None)


async def test_a_list_is_read_whole_and_once(client, channel):
    """205 messages, newest first, over pages of 100, and a full last page is no end too early."""
    for number in range(205):
        await client.post_message(channel, said(f"note {number}"))
    found = [message async for message in client.iterate_messages(channel)]
    assert [message.text for message in found] == [f"note {number}" for number in reversed(range(205))]
    assert [m.text async for m in client.iterate_messages(channel, search="NOTE 20")] == [
        *(f"note {number}" for number in (204, 203, 202, 201, 200)),
        "note 20",
    ]


async def test_a_list_whose_cursor_vanished_is_no_short_list(client, channel):
    """The server's empty page after a deleted cursor would end the list in silence."""
    for number in range(101):
        await client.post_message(channel, said(str(number)))
    reading = client.iterate_messages(channel)
    for _ in range(100):
        cursor = await anext(reading)
    await client.delete_message(channel, cursor.id)
    with pytest.raises(MalformedResponse, match="read it again"):
        await anext(reading)


async def test_limits_of_a_page_are_checked_here(client, channel):
    """The server shortens 500 to 100 without a word."""
    with pytest.raises(InvalidInput, match="1 to 100"):
        await client.list_messages(channel, limit=500)


async def test_a_foreign_channel_is_forbidden(client):
    """Messages say 403, the heartbeat 404 (placet.md §2)."""
    with pytest.raises(PermissionDenied, match="Not your agent"):
        await client.list_pending_reviews(FOREIGN)
    with pytest.raises(NotFound, match="Agent not found"):
        await client.ping(FOREIGN, "active")


async def test_an_unknown_key_is_refused_and_not_shown(world):
    """401, and the key is in no word of it."""
    async with world.client("hp_wrong_key_of_ours") as stranger:
        with pytest.raises(AuthenticationFailed) as caught:
            await stranger.list_channels()
    assert "hp_wrong" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


async def test_a_review_is_answered(client, channel, world):
    """Pending, listed, waited for, answered, and readable for ever."""
    message = await client.post_message(
        channel, said("Deploy?", review=Approval(expires_in=timedelta(hours=36)))
    )
    assert message.review.state is ReviewState.PENDING
    left = message.review.expires_at - message.created_at
    assert timedelta(hours=35, minutes=59) < left <= timedelta(hours=36)
    assert [waiting.id for waiting in await client.list_pending_reviews(channel)] == [message.id]
    assert (await client.wait_for_review(channel, message.id, 0.2)).status == "timeout"
    assert (
        await world.answer(message, {"selectedOption": "approve", "comment": "fine"}, feedback="more") == 201
    )
    result = await client.wait_for_review(channel, message.id)
    assert result.status == "completed"
    expected = ApprovalAnswer(selected_option="approve", comment="fine", feedback="more")
    assert read_answer(result.message.review) == expected
    assert read_answer((await client.get_review(channel, message.id)).review) == expected
    assert await client.list_pending_reviews(channel) == []
    assert await world.answer(message, {"selectedOption": "reject"}) == 403
    assert await world.count("respond", message.id) == 1


async def test_a_waiter_sees_the_answer_that_comes_meanwhile(client, channel, world):
    """The long-poll is held, and ends with the answer."""
    message = await client.post_message(channel, said("Now?", review=Approval()))
    waiting = asyncio.create_task(client.wait_for_review(channel, message.id, 10))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await world.answer(message, {"selectedOption": "reject"})
    assert (await waiting).status == "completed"


async def test_an_overdue_review_expires_when_somebody_waits(client, channel):
    """It stays listed as pending until then (placet.md §4.2)."""
    message = await client.post_message(channel, said("?", review=Approval(expires_in=timedelta(seconds=1))))
    await asyncio.sleep(1.1)
    assert (await client.get_review(channel, message.id)).review.state is ReviewState.PENDING
    result = await client.wait_for_review(channel, message.id, 1)
    assert (result.status, result.message.review.state) == ("expired", ReviewState.EXPIRED)
    assert read_answer(result.message.review) is None


async def test_an_overdue_review_can_still_be_answered(client, channel, world):
    """Nothing happens at the instant itself: an answer that comes late is an answer."""
    message = await client.post_message(channel, said("?", review=Approval(expires_in=timedelta(seconds=1))))
    await asyncio.sleep(1.1)
    assert await world.answer(message, {"selectedOption": "approve"}) == 201
    assert (await client.wait_for_review(channel, message.id)).status == "completed"


async def test_passwords_are_hidden_in_lists_only(client, channel, world):
    """The list is redacted; the review itself is not (placet.md §3.7)."""
    form = Form(fields=(FormField(name="token", type="password", label="Token"),))
    message = await client.post_message(channel, said("Secret?", review=form))
    await world.answer(message, {"token": "s3cret"})
    listed = (await client.list_messages(channel)).data[0]
    assert listed.review.response == {"token": "***REDACTED***"}
    assert read_answer((await client.get_review(channel, message.id)).review) == FormAnswer(
        values={"token": "s3cret"}, secret_fields=frozenset({"token"})
    )


async def test_iterations_are_a_line(client, channel, world):
    """A round follows a closed review; any member gives the whole chain; members cannot be deleted."""
    first = await client.post_message(channel, said("one", review=Approval()))
    with pytest.raises(ValidationFailed, match="completed or expired"):
        await client.post_message(channel, said("two", iteration_of=first.id))
    await world.answer(first, {"selectedOption": "reject"})
    second = await client.post_message(channel, said("two", review=Approval(), iteration_of=first.id))
    third = await client.post_message(channel, said("three", iteration_of=first.id))
    assert (second.iteration, third.iteration, second.iteration_group_id) == (2, 3, first.id)
    chain = await client.list_iterations(channel, third.id)
    assert [message.id for message in chain.iterations] == [first.id, second.id, third.id]
    assert chain.group_id == first.id
    with pytest.raises(ValidationFailed, match="iteration chain"):
        await client.delete_message(channel, second.id)


async def test_files_are_stored_attached_and_fetched(client, channel, tmp_path):
    """A stored file belongs to one message; its bytes come back."""
    path = tmp_path / "Übersicht 東京.png"
    path.write_bytes(PNG)
    stored = await client.store_file(channel, path)
    assert (stored.filename, stored.mime_type, stored.size) == ("Ubersicht.png", "image/png", len(PNG))
    assert stored.message_id is None
    message = await client.post_message(channel, said("Look", attachment_ids=(stored.id,)))
    assert [file.id for file in message.attachments] == [stored.id]
    assert [file.message_id for file in await client.list_files(channel)] == [message.id]
    fetched = await client.download_file(stored.id, tmp_path / "back.png")
    assert (fetched.path.read_bytes(), fetched.media_type) == (PNG, "image/png")
    with pytest.raises(NotFound):
        await client.download_file("no-such-file", tmp_path / "nothing")


async def test_an_upload_is_a_message_of_its_own(client, channel, tmp_path):
    """Large too: the channel stands before the file in the form (placet.md §3.9)."""
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(900_000))
    sent = await client.upload_file(channel, path)
    message = (await client.list_messages(channel, has_attachments=True)).data[0]
    assert (message.id, message.text, message.attachments[0].size) == (sent.message_id, None, 900_000)


async def test_a_file_too_large_is_named_before_it_is_sent(client, channel, tmp_path):
    """The server would answer 500."""
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(InvalidInput, match="make it smaller"):
        await client.store_file(channel, path)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("a.png", "a.png"), ("日本.pdf", "file.pdf"), ("é", "e"), ("日本", "file"), ("a\tb.txt", "a_b.txt")],
)
def test_file_names_are_plain(name, plain):
    """Another name would break its download at the server."""
    assert plain_filename(name) == plain


async def test_acks_and_deletions_may_be_repeated(client, channel, world):
    """A lost answer of either is asked again, and 404 after that means deleted."""
    message = await client.post_message(channel, said("x"))
    await world.fault("after_accept", "ack_message")
    assert (await client.ack_message(channel, message.id)).acknowledged
    assert (await client.get_message(channel, message.id)).delivery_status == "agent_received"
    await world.fault("after_accept", "delete_message")
    await client.delete_message(channel, message.id)
    with pytest.raises(NotFound):
        await client.delete_message(channel, message.id)


async def test_channels_heartbeats_and_webhooks(client):
    """A channel is made, reports how it is, and gets and loses a webhook whose secret stays masked."""
    made = await client.create_channel(ChannelRequest(name="Ops", tag="t", description="d"))
    assert made.status == "offline"
    busy = await client.ping(made.id, "busy", "working")
    assert (busy.status, busy.status_message) == ("busy", "working")
    assert (await client.ping(made.id, "busy")).status_message is None
    auth = WebhookAuth(username="u", password="hunter2")  # noqa: S106 - no secret of anybody
    hooked = await client.set_webhook(made.id, "https://hooks.example/p", headers={"X-A": "b"}, auth=auth)
    assert hooked.webhook_url == "https://hooks.example/p"
    assert "hunter2" not in hooked.model_dump_json() + repr(auth)
    assert (await client.delete_webhook(made.id)).webhook_url is None
    assert made.id in {channel.id for channel in await client.list_channels()}
    await client.delete_channel(made.id)
    assert made.id not in {channel.id for channel in await client.list_channels()}
    with pytest.raises(InvalidInput, match="500 are allowed"):
        await client.ping(made.id, "busy", "x" * 501)


async def test_plugins_are_described(client):
    """Definitions, by list and by name; configured values are never in them."""
    names = [plugin.name for plugin in await client.list_plugins()]
    assert names == ["form-submit", "kroki-diagram"]
    assert (await client.get_plugin("kroki-diagram")).input_schema["required"] == ["type", "source"]
    with pytest.raises(NotFound, match='Plugin "nope" not found'):
        await client.get_plugin("nope")


async def test_a_freeform_review_names_its_plugin(client, channel, world):
    """The server copies the plugin's name into the metadata."""
    message = await client.post_message(channel, said("?", review=Freeform(plugin="form-submit")))
    assert message.metadata == {"plugin": "form-submit"}
    await world.answer(message, {"deep": {"er": [1, None]}})
    assert read_answer((await client.get_review(channel, message.id)).review).value == {
        "deep": {"er": [1, None]}
    }


async def test_the_rate_limit_is_obeyed(tmp_path):
    """The limit counts per route: what is over it waits, and nothing fails."""
    settings = QUICK.model_copy(update={"throttle": True, "throttle_limit": 5, "throttle_window": 1.0})
    async with serving(tmp_path, settings) as world, world.client() as client:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(client.list_channels() for _ in range(12)))
        assert asyncio.get_running_loop().time() - started > 1.0
        await client.list_plugins()


async def test_a_long_wait_is_given_back(tmp_path):
    """More than 30 s of waiting is the caller's to spend."""
    settings = QUICK.model_copy(update={"throttle": True, "throttle_limit": 1})
    async with serving(tmp_path, settings) as world, world.client() as client:
        await client.list_plugins()
        with pytest.raises(RateLimited) as caught:
            await client.list_plugins()
    assert 30 < caught.value.retry_after <= 60


async def test_an_answer_survives_a_restart_of_the_stand_in(tmp_path):
    """What people answered is on disk: the far end is killed and started again."""
    state = tmp_path / "state.db"
    first = await asyncio.to_thread(start_sandbox, state=state, placet=QUICK)
    world = World(first.url)
    async with world.client() as before:
        message = await ask(before, Selection(items=(SelectionItem(id="a", label="A"),)))
        await world.answer(message, {"selectedIds": ["a"]})
    await world.aclose()
    await asyncio.to_thread(first.kill)
    second = await asyncio.to_thread(start_sandbox, state=state, placet=QUICK)
    try:
        async with World(second.url).client() as after:
            read = await after.get_review(CHANNEL, message.id)
        assert read_answer(read.review).selected_ids == ("a",)
    finally:
        await asyncio.to_thread(second.stop)
