"""Pletor's client: lists, keys, credentials and limits, on scripted answers and the stand-in."""

import asyncio
import hashlib
import re
from email.utils import formatdate

import pytest
from pletor_world import TITLE, asking, ended, serving

from plait.http import RetryPolicy, Transport
from plait.http.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidInput,
    MalformedResponse,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ValidationFailed,
)
from plait.sandbox.pletor_store import DOOMED, PICK_ONE, POSTER, POSTER_APP, REVIEWED_POSTER
from plait.vendors.coverage import without_method
from plait.vendors.pletor.client import DIALECT, PletorClient, authorization
from plait.vendors.pletor.models import Phase, approve, select
from plait.vendors.pletor.operations import OPERATIONS


@pytest.fixture
async def client(vendor, clock):
    """A client of the scripted vendor whose retries do not wait."""
    transport = Transport(
        system="pletor",
        base_url=vendor.url,
        headers=authorization(api_key="sk-secret"),
        dialect=DIALECT,
        clock=clock,
    )
    async with PletorClient(transport) as made:
        yield made


@pytest.fixture
async def world(tmp_path):
    """The stand-in with its defaults."""
    async with serving(tmp_path) as running:
        yield running


def test_every_operation_has_a_method():
    """A row of the operation table without a coroutine method of its name is a fault."""
    assert without_method(OPERATIONS, PletorClient) == []


def test_every_guarded_operation_says_how_it_recovers():
    """The guarantee table is made of these sentences."""
    guarded = [operation for operation in OPERATIONS if operation.effect.guarded]
    assert len(guarded) == 4
    assert all(operation.recovery for operation in guarded)


# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"api_key": "sk-sandbox"}, {"X-Api-Key": "sk-sandbox"}),
        ({"token": "sandbox.jwt.token"}, {"Authorization": "Bearer sandbox.jwt.token"}),
    ],
)
async def test_both_ways_to_authenticate(world, given, headers):
    """Either credential opens the same organization."""
    assert authorization(**given) == headers
    async with world.client(headers=authorization(**given)) as client:
        assert POSTER.id in [agent.id for agent in await client.list_agents()]


@pytest.mark.parametrize("given", [{}, {"api_key": "a", "token": "b"}, {"api_key": ""}])
def test_one_credential_is_needed(given):
    """None or two of them is an error before anything is sent."""
    with pytest.raises(InvalidInput, match="exactly one"):
        authorization(**given)


async def test_a_wrong_key_is_told_without_showing_it(world):
    """401 is `AuthenticationFailed`."""
    async with world.client("sk-wrong-secret") as client:
        with pytest.raises(AuthenticationFailed) as raised:
            await client.list_apps()
    assert "sk-wrong-secret" not in str(raised.value)


async def test_credentials_never_reach_the_storage(world, tmp_path):
    """The storage refuses whoever shows a key; the download arrives, whole and typed."""
    path = tmp_path / "sent.png"
    path.write_bytes(b"\x89PNG" + bytes(300_000))
    async with world.client() as client, world.raw() as raw:
        asset = await client.upload_asset(path)
        saved = await client.download_asset(asset.id, tmp_path / "back")
        redirect = await raw.get(f"/assets/{asset.id}/download")
        assert redirect.status_code == 302
        with_key = await raw.get(redirect.headers["location"])
        without = await raw.get(redirect.headers["location"], headers={"X-Api-Key": ""})
    assert saved.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == asset.sha256
    assert (saved.media_type, saved.filename) == ("image/png", "sent.png")
    assert with_key.status_code == without.status_code == 400


async def test_a_redirect_to_another_host_gets_no_key(client, vendor, reply, tmp_path):
    """Whatever the redirect's target is, neither header goes with it."""

    def handle(request):
        if request.path == "/elsewhere":
            return reply(200, (b"bytes",), "image/webp")
        return reply(
            302, headers=(("Location", vendor.url.replace("127.0.0.1", "localhost") + "/elsewhere"),)
        )

    vendor.handler = handle
    saved = await client.download_asset("a", tmp_path / "x")
    assert (saved.size, saved.media_type) == (5, "image/webp")
    assert "x-api-key" in vendor.asked[0].headers
    assert not {"x-api-key", "authorization"} & set(vendor.asked[1].headers)


# ---------------------------------------------------------------- lists


def _paged(rows, answer, envelope):
    """A server that honours limit and cursor."""

    def handle(request):
        ids = [row["id"] for row in rows]
        after = request.query.get("starting_after")
        first = ids.index(after) + 1 if after else 0
        page = rows[first : first + int(request.query["limit"])]
        if envelope is None:
            return answer(page)
        return answer({envelope: page})

    return handle


@pytest.mark.parametrize("envelope", [None, "data", "items", "results"])
@pytest.mark.parametrize("count", [0, 1, 100, 250])
async def test_lists_are_read_to_their_end(client, vendor, answer, envelope, count):
    """In every envelope, with the cursor of the last row."""
    vendor.handler = _paged([{"id": f"r{n}"} for n in range(count)], answer, envelope)
    assert [run.id for run in await client.list_runs()] == [f"r{n}" for n in range(count)]
    assert [run.id async for run in client.each_run()] == [f"r{n}" for n in range(count)]


async def test_a_cursor_that_does_not_move_ends_the_list(client, vendor, answer):
    """A server that ignores the cursor has shown everything, unless its page looks cut."""
    vendor.handler = lambda _: answer([{"id": "a"}, {"run_id": "b"}])
    assert [run.id for run in await client.list_runs()] == ["a", "b"]
    vendor.handler = lambda _: answer({"data": [{"id": f"r{n}"} for n in range(100)]})
    with pytest.raises(MalformedResponse, match="repeats a page; 100"):
        await client.list_runs()


@pytest.mark.parametrize("body", [{"runs": []}, "nothing", {"data": [{"name": "no id"}]}, {"data": ["a"]}])
async def test_a_strange_list_is_no_empty_list(client, vendor, answer, body):
    """What cannot be read is an error: an empty list would look like absence."""
    vendor.handler = lambda _: answer(body)
    with pytest.raises(MalformedResponse):
        await client.list_assets()


async def test_a_filter_that_is_ignored_finds_no_strangers(client, vendor, answer):
    """Only rows with exactly the key count, however many there are."""
    rows = [{"id": "a", "external_id": "k1"}, {"id": "b"}, {"id": "c", "external_id": "k"}]
    vendor.handler = lambda _: answer({"data": rows})
    assert [run.id for run in await client.find_runs("k")] == ["c"]
    assert [run.id for run in await client.find_app_runs("k2")] == []
    assert [asset.id for asset in await client.find_assets("k1")] == ["a"]
    assert vendor.asked[0].query["external_id"] == "k"


# ---------------------------------------------------------------- creating


async def test_the_body_of_a_run(client, vendor, answer):
    """Agent, inputs as a list of id and value, and the key."""
    vendor.handler = lambda request: answer(
        {"run_id": "r", "external_id": request.json()["external_id"]}, 201
    )
    made = await client.create_run("a", [TITLE], external_id="k")
    assert vendor.asked[0].json() == {
        "agent_id": "a",
        "inputs": [{"id": "title", "value": "Spring sale"}],
        "external_id": "k",
    }
    assert (made.id, made.external_id) == ("r", "k")


async def test_another_runs_answer_is_not_believed(client, vendor, answer):
    """An echo of another key is no success; a missing one is, with the key filled in."""
    vendor.handler = lambda _: answer({"id": "r", "external_id": "other"}, 201)
    with pytest.raises(OutcomeUnknown, match="'other', not 'k'"):
        await client.create_run("a", external_id="k")
    vendor.handler = lambda _: answer({"id": "r"}, 200)
    assert (await client.create_app_run("a", external_id="k")).external_id == "k"


@pytest.mark.parametrize("key", ["", "x" * 256, "k\u00e9y", "a\nb"])
async def test_an_unusable_key_costs_no_request(client, vendor, key, tmp_path):
    """Neither runs nor uploads nor look-ups send it."""
    (tmp_path / "f.txt").write_text("x")
    for call in (
        client.create_run("a", external_id=key),
        client.find_runs(key),
        client.upload_asset(tmp_path / "f.txt", external_id=key),
    ):
        with pytest.raises(InvalidInput, match="255"):
            await call
    assert vendor.asked == []


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [b"", b'{"id": "r"', b"<html>ok</html>", b"[]", b'{"status": "pending"}'])
async def test_a_success_that_cannot_be_read_is_unknown(client, vendor, reply, status, body):
    """2xx with a broken body: the run may exist."""
    vendor.handler = lambda _: reply(status, (body,))
    with pytest.raises(OutcomeUnknown):
        await client.create_run("a", external_id="k")
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        (401, AuthenticationFailed),
        (402, RequestRejected),
        (404, NotFound),
        (409, Conflict),
        (422, ValidationFailed),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (302, OutcomeUnknown),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"detail": "no good"},
        {"detail": [{"loc": ["body", "x"], "msg": "no good", "type": "t"}]},
        {"error": {"code": "c", "message": "no good"}},
        {"code": "c", "message": "no good"},
    ],
)
async def test_refusals_in_every_shape(client, vendor, answer, refusal, body):
    """The status decides, and the vendor's words are kept (pletor.md §2.2)."""
    status, error = refusal
    vendor.handler = lambda _: answer(body, status)
    with pytest.raises(error) as raised:
        await client.create_run("a")
    assert type(raised.value) is error
    assert status == 302 or "no good" in str(raised.value)
    assert len(vendor.asked) == 1


async def test_a_slash_redirect_is_followed_with_the_body(world):
    """The stand-in answers the other spelling with 307, as FastAPI does."""
    async with world.raw() as raw:
        answer = await raw.post("/runs/", json={"agent_id": POSTER.id, "inputs": {"title": "x"}})
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/runs")


# ---------------------------------------------------------------- limits


RESETS = {
    "epoch seconds": lambda now: str(now + 7),
    "epoch milliseconds": lambda now: str((now + 7) * 1000),
    "seconds": lambda _: "7",
    "date": lambda now: formatdate(now + 7, usegmt=True),
    "far ahead": lambda now: str(now + 7000),
}


@pytest.mark.parametrize("unit", RESETS)
async def test_a_429_waits_as_the_reset_says(client, vendor, reply, clock, unit):
    """Whatever the unit, the wait is the same, never longer than the window, and the key is kept."""
    now = 1_900_000_000
    headers = (("X-RateLimit-Reset", RESETS[unit](now)), ("Date", formatdate(now, usegmt=True)))
    answers = [reply(429, (b"{}",), headers=headers), reply(201, (b'{"id": "r", "external_id": "k"}',))]
    vendor.handler = lambda _: answers.pop(0)
    if unit == "far ahead":
        with pytest.raises(RateLimited) as raised:
            await client.create_run("a", external_id="k")
        assert raised.value.retry_after == 60
        return
    await client.create_run("a", external_id="k")
    assert 7 <= clock.now() < 9
    assert [request.json()["external_id"] for request in vendor.asked] == ["k", "k"]


async def test_the_stand_ins_limit_is_announced_and_kept_to(tmp_path):
    """Two runs a second: the third waits for the reset in the headers, and nothing is refused or doubled."""
    async with serving(tmp_path, run_limit=2, limit_window=1.0, reset_unit="epoch_milliseconds") as world:
        async with world.client(policy=RetryPolicy(base=0.05, attempts=20)) as client:
            made = [await client.create_run(POSTER.id, [TITLE], external_id=f"k{n}") for n in range(5)]
        assert len({run.id for run in made}) == await world.count("create_run") == 5


# ---------------------------------------------------------------- runs on the stand-in


async def test_a_run_without_review(world, tmp_path):
    """It gets on by itself, and its picture is a PNG that can be downloaded."""
    async with world.client() as client:
        made = await client.create_run(POSTER.id, [TITLE], external_id="one")
        assert (made.phase, made.external_id) == (Phase.GOING, "one")
        run = await ended(client, made.id)
        assert (run.phase, len(run.asset_ids), len(run.texts)) == (Phase.DONE, 1, 1)
        saved = await client.download_asset(run.asset_ids[0], tmp_path / "picture.png")
        assert [found.id for found in await client.find_runs("one")] == [made.id]
        assert run.asset_ids[0] in [asset.id for asset in await client.list_assets()]
        assert (await client.get_asset(run.asset_ids[0])).media_type == saved.media_type == "image/png"
    assert saved.path.read_bytes().startswith(b"\x89PNG\r\n")


async def test_an_app_run(world):
    """Apps have their own list and their own calls."""
    async with world.client() as client:
        assert [app.id for app in await client.list_apps()] == [POSTER_APP.id]
        assert (await client.get_app(POSTER_APP.id)).inputs[0].required is True
        made = await client.create_app_run(POSTER_APP.id, [TITLE], external_id="app")
        while not (run := await client.get_app_run(made.id)).ended:
            await asyncio.sleep(0.02)
        assert (run.app_id, len(run.asset_ids)) == (POSTER_APP.id, 2)
        assert [found.id for found in await client.find_app_runs("app")] == [made.id]
        assert await client.find_runs("app") == []


async def test_a_failed_run_says_why(world):
    """`failure` is the server's word."""
    async with world.client() as client:
        run = await ended(client, (await client.create_run(DOOMED.id, [TITLE])).id)
    assert (run.phase, run.asset_ids) == (Phase.DEAD, [])
    assert "refused" in (run.failure or "")


async def test_cancelling_is_repeatable(world):
    """A second cancel, and one of a run that ended, tell what the run is; an unknown run is `NotFound`."""
    async with world.client() as client:
        made = await client.create_run(PICK_ONE.id, [TITLE])
        assert (await client.cancel_run(made.id)).status == "canceled"
        assert (await client.cancel_run(made.id)).status == "canceled"
        done = await ended(client, (await client.create_run(POSTER.id, [TITLE])).id)
        assert (await client.cancel_run(done.id)).status == "completed"
        with pytest.raises(NotFound):
            await client.cancel_run("nobody")
        app = await client.create_app_run(POSTER_APP.id, [TITLE])
        assert (await client.cancel_app_run(app.id)).status == "canceled"
    assert (await world.count("cancel_run"), await world.count("cancel_app_run")) == (1, 1)


async def test_a_cancel_whose_answer_is_lost(world):
    """The repeat meets 409, and the run says that it is canceled."""
    async with world.client() as client:
        made = await client.create_run(PICK_ONE.id, [TITLE])
        await world.fault("after_accept", "cancel_run")
        assert (await client.cancel_run(made.id)).status == "canceled"
    assert await world.count("cancel_run") == 1


async def test_deleting_an_asset(world, tmp_path):
    """404 after a lost answer means deleted; at the first try it is an error. The key stays used."""
    path = tmp_path / "f.txt"
    path.write_text("x")
    async with world.client() as client:
        asset = await client.upload_asset(path, external_id="file")
        await world.fault("after_accept", "delete_asset")
        await client.delete_asset(asset.id)
        with pytest.raises(NotFound):
            await client.delete_asset(asset.id)
        assert await client.find_assets("file") == []
        with pytest.raises(Conflict):
            await client.upload_asset(path, external_id="file")


async def test_reviews_one_after_the_other(world):
    """Approve and select end the wait; a refused selection does not."""
    async with world.client() as client:
        made = await client.create_run(REVIEWED_POSTER.id, [TITLE])
        [review] = (await asking(client, made.id)).due_reviews
        assert (review.type, len(review.options)) == ("approval", 1)
        await client.resolve_review(made.id, review.id, approve())
        assert (await ended(client, made.id)).asset_ids == [review.options[0].asset_id]
        with pytest.raises(Conflict):
            await client.resolve_review(made.id, review.id, approve())
        choice = await client.create_run(PICK_ONE.id, [TITLE])
        [review] = (await asking(client, choice.id)).due_reviews
        with pytest.raises(ValidationFailed, match="selected_asset_ids"):
            await client.resolve_review(choice.id, review.id, select("nothing"))
        await client.resolve_review(choice.id, review.id, select(review.options[2].asset_id))
        assert (await ended(client, choice.id)).asset_ids == [review.options[2].asset_id]


async def test_a_strict_server_gets_no_review_key(tmp_path):
    """The switch leaves `external_id` out where a server refuses it."""
    async with serving(tmp_path, review_body="strict") as world:
        async with world.client() as client:
            made = await client.create_run(REVIEWED_POSTER.id, [TITLE])
            [review] = (await asking(client, made.id)).due_reviews
            with pytest.raises(ValidationFailed):
                await client.resolve_review(made.id, review.id, approve(), external_id="k")
        async with world.client(send_review_keys=False) as client:
            await client.resolve_review(made.id, review.id, approve(), external_id="k")
            assert (await ended(client, made.id)).phase is Phase.DONE


async def test_an_upload_is_one_form_with_the_key_before_the_file(client, vendor, answer, tmp_path):
    """The key is a text field of the form; the file keeps its name and type."""
    path = tmp_path / 'a "b".png'
    path.write_bytes(b"bytes")
    vendor.handler = lambda _: answer({"asset_id": "x", "external_id": "k"}, 201)
    asset = await client.upload_asset(path, external_id="k")
    body = vendor.asked[0].body.decode()
    assert re.search(
        r'name="external_id"\r\n\r\nk\r\n.*name="file"; filename="a %22b%22.png"', body, re.DOTALL
    )
    assert "Content-Type: image/png" in body
    assert int(vendor.asked[0].headers["content-length"]) == len(body)
    assert asset.id == "x"
