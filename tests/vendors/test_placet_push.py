"""Webhooks and the event channel: hints without secrets, from the stand-in itself (placet.md §5.2, §5.3)."""

import asyncio
import base64
import json

import pytest
from placet_world import CHANNEL, FOREIGN, QUICK, World, ask, serving

from plait.http.errors import AuthenticationFailed, ConfigurationError, InvalidInput, NotSent
from plait.sandbox.process import start_sandbox
from plait.vendors.placet.models import MessageContent, WebhookAuth
from plait.vendors.placet.reviews import Approval, Form, FormField
from plait.vendors.placet.socket import Hint, listen
from plait.vendors.placet.webhooks import (
    CALL_LIMIT,
    OtherEvent,
    ReviewExpired,
    ReviewResponded,
    UserMessage,
    WebhookSecret,
    read_webhook,
)

SECRET = WebhookSecret(username="placet", password="hunter2", headers={"X-Plait": "t0ken"})  # noqa: S106 - no secret
AUTH = WebhookAuth(username="placet", password="hunter2")  # noqa: S106 - no secret
RIGHT = {"authorization": f"Basic {base64.b64encode(b'placet:hunter2').decode()}", "X-PLAIT": "t0ken"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One sandbox process whose sweep comes often."""
    settings = QUICK.model_copy(update={"sweep": 0.2})
    with start_sandbox(state=tmp_path_factory.mktemp("placet") / "state.db", placet=settings) as process:
        yield process


@pytest.fixture
async def world(sandbox):
    """The shared stand-in."""
    made = World(sandbox.url)
    yield made
    await made.aclose()


@pytest.fixture
async def client(world):
    """Its client."""
    async with world.client() as made:
        yield made


async def until(look, seconds=5.0):
    """The first true answer of `look`."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.02)
    return found


async def test_an_answer_calls_the_webhook_with_our_secret(client, world, vendor, answer):
    """The call reads as a typed event, carries what Placet was given, and is noted as delivered."""
    vendor.handler = lambda _: answer({})
    await client.set_webhook(CHANNEL, f"{vendor.url}/hook", headers={"X-Plait": "t0ken"}, auth=AUTH)
    message = await ask(client, Approval())
    await world.answer(message, {"selectedOption": "approve"}, feedback="good")

    async def delivered():
        return (await client.get_message(CHANNEL, message.id)).delivery_status == "webhook_delivered"

    await until(delivered)
    await client.delete_webhook(CHANNEL)
    (call,) = vendor.asked
    event = read_webhook(call.body, call.headers, SECRET)
    assert isinstance(event, ReviewResponded)
    assert (event.channel_id, event.message_id, event.review_type) == (CHANNEL, message.id, "approval")
    assert (event.response, event.feedback) == ({"selectedOption": "approve"}, "good")
    assert event.responded_at is not None


async def test_a_webhook_that_fails_is_called_once(client, world, vendor, answer):
    """No automatic retry: the review is read by polling (placet.md §5.2)."""
    vendor.handler = lambda _: answer({}, 500)
    content = MessageContent(text="?", review=Approval(), webhook_url=f"{vendor.url}/hook")
    message = await client.post_message(CHANNEL, content)
    await world.answer(message, {"selectedOption": "approve"})

    async def failed():
        return (await client.get_message(CHANNEL, message.id)).delivery_status == "webhook_failed"

    await until(failed)
    await asyncio.sleep(0.2)
    assert len(vendor.asked) == 1


async def test_a_person_has_the_webhook_called_again(client, world, vendor, answer):
    """The same body once more: a receiver sees one answer twice (placet.md §5.2)."""
    vendor.handler = lambda _: answer({})
    content = MessageContent(text="?", review=Approval(), webhook_url=f"{vendor.url}/hook")
    message = await client.post_message(CHANNEL, content)
    early = await world.people.post(f"/messages/{message.id}/webhook")
    assert (early.status_code, early.json()["message"]) == (400, "There is no answer to tell")
    await world.answer(message, {"selectedOption": "approve"})

    def called(times):
        async def look():
            return len(vendor.asked) == times

        return look

    await until(called(1))
    assert (await world.people.post(f"/messages/{message.id}/webhook")).status_code == 202
    await until(called(2))
    assert vendor.asked[0].body == vendor.asked[1].body


async def test_expiry_and_peoples_messages_call_it_too(client, world, vendor, answer):
    """The sweep tells of what it expired; a person's message is told to the channel's webhook."""
    vendor.handler = lambda _: answer({})
    await client.set_webhook(CHANNEL, f"{vendor.url}/hook", headers={"X-Plait": "t0ken"}, auth=AUTH)
    message = await ask(client, Approval(expires_in="PT1S"))
    written = await world.people.post(f"/channels/{CHANNEL}/messages", json={"text": "hello"})

    async def both():
        return len(vendor.asked) == 2

    await until(both)
    await client.delete_webhook(CHANNEL)
    user, expired = (read_webhook(call.body, call.headers, SECRET) for call in vendor.asked)
    assert isinstance(user, UserMessage)
    assert (user.message.id, user.message.sender_type) == (written.json()["id"], "user")
    assert isinstance(expired, ReviewExpired)
    assert expired.message_id == message.id


async def test_local_webhooks_are_refused_as_by_the_vendor(tmp_path, vendor, answer):
    """At dispatch, in silence: the message stays `sent`."""
    vendor.handler = lambda _: answer({})
    settings = QUICK.model_copy(update={"local_webhooks": False})
    async with serving(tmp_path, settings) as world, world.client() as client:
        content = MessageContent(text="?", review=Approval(), webhook_url=f"{vendor.url}/hook")
        message = await client.post_message(CHANNEL, content)
        await world.answer(message, {"selectedOption": "approve"})
        await asyncio.sleep(0.3)
        assert (await client.get_message(CHANNEL, message.id)).delivery_status == "sent"
    assert vendor.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Plait": "t0ken"},
        {**RIGHT, "X-PLAIT": "other"},
        {**RIGHT, "authorization": "Basic !!!"},
        {**RIGHT, "authorization": "Bearer hunter2"},
        {**RIGHT, "authorization": f"Basic {base64.b64encode(b'placet:hunter3').decode()}"},
    ],
)
def test_a_call_without_our_secret_is_ignored(headers):
    """Anybody can post to an address; what they send is not even parsed."""
    with pytest.raises(AuthenticationFailed) as caught:
        read_webhook(b"not json", headers, SECRET)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "no JSON"),
        (b"[]", "event"),
        (b'{"event": 1}', "event"),
        (b'{"event": "review:responded", "channelId": "c"}', "message_id"),
        (b"x" * (CALL_LIMIT + 1), "bytes"),
    ],
)
def test_a_call_that_is_no_event(body, word):
    """The reason is named, and nothing of an answer."""
    with pytest.raises(InvalidInput, match=word):
        read_webhook(body, RIGHT, SECRET)


def test_an_unknown_event_is_kept_apart():
    """A newer server may say more."""
    event = read_webhook(json.dumps({"event": "agent:moved", "channelId": "c"}).encode(), RIGHT, SECRET)
    assert isinstance(event, OtherEvent)
    assert event.event == "agent:moved"


def test_a_receiver_needs_a_secret():
    """Calls are unsigned, so one without a secret would believe everybody."""
    with pytest.raises(ConfigurationError, match="no secret"):
        WebhookSecret()
    with pytest.raises(ConfigurationError, match="both"):
        WebhookSecret(username="only")
    assert "hunter2" not in repr(SECRET)


async def collected(hints, count):
    """So many hints."""
    async with asyncio.timeout(60):
        return [await anext(hints) for _ in range(count)]


async def test_hints_tell_where_to_look(client, world):
    """Connected first, then what happened in our channels, and ids only."""
    async with listen(world.base_url, "hp_sandbox", [CHANNEL, FOREIGN]) as hints:
        assert await collected(hints, 1) == [Hint("connected")]
        form = Form(fields=(FormField(name="token", type="password", label="T"),))
        message = await ask(client, form)
        async with world.client("hp_other") as other:
            await other.post_message(FOREIGN, MessageContent(text="foreign"))
        await world.answer(message, {"token": "s3cret"})
        await client.ack_message(CHANNEL, message.id)
        seen = await collected(hints, 3)
    assert seen == [
        Hint("message:created", CHANNEL, message.id),
        Hint("review:responded", CHANNEL, message.id),
        Hint("message:delivery", None, message.id),
    ]
    assert "s3cret" not in repr(seen)


async def test_the_sweep_tells_of_expiry(client, world):
    """A review that nobody waits for expires with an event."""
    async with listen(world.base_url, "hp_sandbox", [CHANNEL]) as hints:
        await collected(hints, 1)
        message = await ask(client, Approval(expires_in="PT1S"))
        _, expired = await collected(hints, 2)
    assert (expired.kind, expired.message_id) == ("review:expired", message.id)


async def test_a_refused_key_says_so(world):
    """And does not repeat the key."""
    with pytest.raises(AuthenticationFailed) as caught:
        async with listen(world.base_url, "hp_wrong_key_of_ours", [CHANNEL]):
            pass
    assert "hp_wrong" not in str(caught.value)


async def test_no_server_is_not_sent():
    """The flow goes on by polling."""
    with pytest.raises(NotSent, match="polling"):
        async with listen("http://127.0.0.1:9", "hp_sandbox", [CHANNEL], wait=2):
            pass


async def test_a_reconnect_asks_to_look_again(tmp_path):
    """The server was away: what happened meanwhile is never replayed, so everything is read again."""
    state = tmp_path / "state.db"
    first = await asyncio.to_thread(start_sandbox, state=state, placet=QUICK)
    async with listen(f"{first.url}/placet", "hp_sandbox", [CHANNEL]) as hints:
        await collected(hints, 1)
        await asyncio.to_thread(first.kill)
        second = await asyncio.to_thread(start_sandbox, state=state, placet=QUICK, port=first.port)
        try:
            assert await collected(hints, 1) == [Hint("connected")]
            async with World(second.url).client() as client:
                message = await ask(client, Approval())
            assert await collected(hints, 1) == [Hint("message:created", CHANNEL, message.id)]
        finally:
            await asyncio.to_thread(second.stop)
