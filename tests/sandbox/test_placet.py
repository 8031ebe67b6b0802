"""The Placet stand-in by plain HTTP: statuses, quirks and limits as the notes say (placet.md §2 to §7)."""

import asyncio

import httpx
import pytest
from placet_world import CHANNEL, FOREIGN, QUICK, World, serving

from plait.sandbox.process import start_sandbox


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """One sandbox process for the tests that need no switch."""
    with start_sandbox(state=tmp_path_factory.mktemp("placet") / "state.db", placet=QUICK) as running:
        yield running


@pytest.fixture
async def placet(process):
    """A plain HTTP client of the agent's API."""
    async with World(process.url).raw() as http:
        yield http


def message(**more):
    """The body of a message."""
    return {"channelId": CHANNEL, "text": "x", **more}


REFUSALS = [
    ("POST", "/messages", {"json": {"text": "x"}}, 400, "Validation failed"),
    ("POST", "/messages", {"json": {"channelId": CHANNEL, "text": ""}}, 400, "Validation failed"),
    ("POST", "/messages", {"json": message(status="great")}, 400, "Validation failed"),
    ("POST", "/messages", {"json": message(webhookUrl="nowhere")}, 400, "Validation failed"),
    (
        "POST",
        "/messages",
        {"json": message(review={"type": "a", "expiresInSeconds": 0})},
        400,
        "Validation failed",
    ),
    (
        "POST",
        "/messages",
        {"json": message(review={"type": "a", "expiresInSeconds": 1.5})},
        400,
        "Validation failed",
    ),
    (
        "POST",
        "/messages",
        {"json": message(review={"type": "a", "expiresAt": "soon"})},
        400,
        "valid ISO date",
    ),
    (
        "POST",
        "/messages",
        {"json": message(review={"type": "a", "expiresAt": "2020-01-01T00:00:00Z"})},
        400,
        "future",
    ),
    ("POST", "/messages", {"json": message(iterationOf="none")}, 400, "iterationOf target does not exist"),
    (
        "POST",
        "/messages",
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        400,
        "not valid JSON",
    ),
    (
        "POST",
        "/messages",
        {"content": b"", "headers": {"Content-Type": "application/json"}},
        400,
        "cannot be empty",
    ),
    ("POST", "/messages", {"content": b"a", "headers": {"Content-Type": "text/plain"}}, 415, "Unsupported"),
    ("POST", "/messages", {"json": message(text="x" * 1_100_000)}, 413, "too large"),
    ("POST", "/messages", {"json": {"channelId": FOREIGN, "text": "x"}}, 403, "Not your agent"),
    ("POST", "/messages", {"json": {"channelId": "nowhere", "text": "x"}}, 403, "Not your agent"),
    ("GET", "/messages", {}, 400, "Validation failed"),
    ("GET", f"/messages?channel={CHANNEL}&limit=abc", {}, 500, "Internal server error"),
    ("GET", f"/messages/none?channel={CHANNEL}", {}, 404, "Message not found"),
    ("GET", f"/reviews/none?channel={CHANNEL}", {}, 404, "Message not found"),
    (
        "PATCH",
        "/messages/streams/none",
        {"json": {"channelId": CHANNEL, "text": ""}},
        404,
        "No streaming draft",
    ),
    ("POST", "/status/ping", {"json": {"agentId": "none", "status": "active"}}, 404, "Agent not found"),
    ("POST", "/files/store", {"json": {}}, 500, "Internal server error"),
    ("POST", "/files/store", {"files": {"x": (None, "y")}}, 400, "No file provided"),
    ("POST", "/files/store", {"files": {"file": ("a", b"b")}}, 400, "channelId is required"),
    ("GET", "/files/none/download", {}, 404, "Attachment not found"),
    ("GET", "/nowhere", {}, 404, "Cannot GET /api/v1/nowhere"),
    ("PUT", "/messages", {"json": {}}, 404, "Cannot PUT /api/v1/messages"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
async def test_refusals(placet, refusal):
    """One error body for all, which repeats the path and never says which field was wrong."""
    method, path, sent, status, words = refusal
    answer = await placet.request(method, path, **sent)
    body = answer.json()
    assert (answer.status_code, body["statusCode"]) == (status, status)
    assert words in body["message"]
    assert set(body) == {"statusCode", "message", "timestamp", "path"}
    assert body["path"] == f"/api/v1{path}"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Missing or invalid API key"),
        ({"x-api-key": "other"}, "Missing or invalid API key"),
        ({"Authorization": "Bearer hp_sandbox"}, "Missing or invalid API key"),
        ({"x-api-key": "hp_unknown"}, "Invalid API key"),
    ],
)
async def test_keys(process, headers, words):
    """The old Bearer scheme is ignored; invalid JSON is told before the key is looked at."""
    async with httpx.AsyncClient(base_url=f"{process.url}/placet/api/v1", headers=headers) as http:
        refused = await http.get("/agents")
        assert (refused.status_code, refused.json()["message"]) == (401, words)
        garbled = await http.post("/messages", content=b"{", headers={"Content-Type": "application/json"})
        assert garbled.status_code == 400


async def test_a_pending_review_lacks_the_keys_of_its_answer(placet):
    """Absent, not null; and 36 hours at most, in silence (placet.md §3.0, §4.2)."""
    sent = {"type": "any-word", "expiresInSeconds": 10**8, "status": "completed", "response": {"a": 1}}
    answer = await placet.post("/messages", json=message(review=sent, unknown=1))
    assert answer.status_code == 201
    made = answer.json()
    assert set(made["review"]) == {"type", "status", "expiresAt"}
    assert made["review"]["status"] == "pending"
    assert made["createdAt"][:11] < made["review"]["expiresAt"][:11]
    assert made["createdAt"].endswith("Z")
    assert len(made["createdAt"]) == len("2026-11-22T03:59:14.654Z")
    assert made["status"] is None
    assert made["attachments"] == []


async def test_twins_race_as_at_the_vendor(tmp_path):
    """With one clientId both are made; with one streamId the loser gets a 500 and then the row (§3.1)."""
    racing = QUICK.model_copy(update={"race_seconds": 0.1})
    async with serving(tmp_path, racing) as world, world.raw() as http:

        async def twins(**key):
            pair = (http.post("/messages", json=message(**key)) for _ in range(2))
            return sorted([(one.status_code, one.json().get("id")) for one in await asyncio.gather(*pair)])

        first, second = await twins(clientId="c")
        assert (first[0], second[0]) == (201, 201)
        assert first[1] != second[1]
        made, lost = sorted(await twins(streamId="s"), key=lambda each: each[0])
        assert (made[0], lost[0]) == (201, 500)
        again = await http.post("/messages", json=message(streamId="s"))
        assert (again.status_code, again.json()["id"]) == (201, made[1])


async def test_streams_as_the_vendor_keeps_them(placet):
    """A conflicting post changes nothing, a patch everything, in any state (placet.md §5.1)."""
    start = message(streamId="s1", streamState="streaming", text="a")
    first = (await placet.post("/messages", json=start)).json()
    again = await placet.post("/messages", json={**start, "text": "b", "streamState": "complete"})
    assert (again.status_code, again.json()["text"], again.json()["streamState"]) == (201, "a", "streaming")

    async def patch(**more):
        body = {"channelId": CHANNEL, "text": "c", **more}
        return (await placet.patch("/messages/streams/s1", json=body)).json()["streamState"]

    assert await patch(streamState="complete") == "streaming"
    assert await patch(complete=True) == "complete"
    assert await patch(complete=True, streamState="aborted") == "aborted"
    assert await patch(text="") == "aborted"
    assert (await placet.get(f"/messages/{first['id']}?channel={CHANNEL}")).json()["text"] == ""


async def test_an_abort_by_post_is_the_one_exception(placet):
    """It closes a streaming row, with its text."""
    start = message(streamId="s2", streamState="streaming", text="a")
    await placet.post("/messages", json=start)
    aborted = await placet.post("/messages", json={**start, "text": "end", "streamState": "aborted"})
    assert (aborted.json()["text"], aborted.json()["streamState"]) == ("end", "aborted")


async def test_unusable_files_are_ignored_and_leave_an_empty_message(placet):
    """201, and nothing attached (placet.md §3.9)."""
    answer = await placet.post("/messages", json={"channelId": CHANNEL, "attachmentIds": ["nope"]})
    assert (answer.status_code, answer.json()["attachments"], answer.json()["text"]) == (201, [], None)


async def test_the_channel_must_stand_before_a_large_file(placet):
    """Seen behind a small one, missed behind a large one (placet.md §3.9)."""
    for size, status in ((3_000, 201), (900_000, 400)):
        parts = [("file", ("a.bin", bytes(size))), ("channelId", (None, CHANNEL))]
        assert (await placet.post("/files/store", files=parts)).status_code == status


async def test_a_name_outside_latin_1_cannot_be_downloaded(placet):
    """500, as at the vendor [inferred]."""
    parts = {"channelId": (None, CHANNEL), "file": ("東京.txt", b"x")}
    stored = (await placet.post("/files/store", files=parts)).json()
    assert (await placet.get(f"/files/{stored['id']}/download")).status_code == 500


async def test_pages(placet):
    """A full last page is followed by an empty one; a cursor that is gone gives none."""
    made = (await placet.post("/agents", json={"name": "Pages"})).json()["id"]
    ids = [
        (await placet.post("/messages", json={"channelId": made, "text": f"{n}"})).json()["id"]
        for n in range(4)
    ]

    async def page(**query):
        return (await placet.get("/messages", params={"channel": made, **query})).json()

    assert (await page())["nextCursor"] is None
    full = await page(limit=2)
    last = await page(limit=2, cursor=full["nextCursor"])
    assert [m["id"] for m in full["data"] + last["data"]] == ids[::-1]
    assert await page(limit=2, cursor=last["nextCursor"]) == {"data": [], "nextCursor": None}
    assert await page(cursor="gone") == {"data": [], "nextCursor": None}
    assert await page(limit=0) == {"data": [], "nextCursor": None}


async def test_statuses_that_surprise(placet):
    """201 on the heartbeat; a wait of nonsense is a whole wait; `timeout` has no message."""
    ping = await placet.post("/status/ping", json={"agentId": CHANNEL, "status": "active"})
    assert ping.status_code == 201
    made = (await placet.post("/messages", json=message(review={"type": "approval"}))).json()
    answer = await placet.get(f"/reviews/{made['id']}/wait?channel={CHANNEL}&timeout=100")
    assert answer.json() == {"status": "timeout"}


async def test_the_limit_counts_per_route_and_before_the_key(tmp_path):
    """Three headers on every answer, `Retry-After` on a 429, and another route still answers."""
    settings = QUICK.model_copy(update={"throttle": True, "throttle_limit": 2, "throttle_window": 1.0})
    async with serving(tmp_path, settings) as world, world.raw() as placet, world.raw(None) as keyless:
        first = await placet.get("/agents")
        assert first.headers["x-ratelimit-limit"] == "2"
        assert first.headers["x-ratelimit-remaining"] == "1"
        assert (await keyless.get("/agents")).status_code == 401
        refused = await placet.get("/agents")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["message"] == "ThrottlerException: Too Many Requests"
        assert (await placet.get("/plugins")).status_code == 200
        await asyncio.sleep(1.05)
        assert (await placet.get("/agents")).status_code == 200


async def test_the_defaults_are_the_vendors(tmp_path):
    """100 a minute, unless somebody says otherwise."""
    async with serving(tmp_path, type(QUICK)()) as world, world.raw() as placet:
        assert (await placet.get("/plugins")).headers["x-ratelimit-limit"] == "100"


async def test_silent_drafts_are_aborted(tmp_path):
    """By the sweep, which a slow agent can repair (placet.md §4.3)."""
    settings = QUICK.model_copy(update={"sweep": 0.1, "stale_draft": 0.3})
    async with serving(tmp_path, settings) as world, world.raw() as placet:
        made = (await placet.post("/messages", json=message(streamId="s", streamState="streaming"))).json()
        await asyncio.sleep(0.7)
        read = await placet.get(f"/messages/{made['id']}?channel={CHANNEL}")
        assert read.json()["streamState"] == "aborted"
        body = {"channelId": CHANNEL, "text": "whole", "complete": True}
        assert (await placet.patch("/messages/streams/s", json=body)).json()["streamState"] == "complete"


async def test_calls_without_a_channel(tmp_path, placet):
    """By id they see the key's own channels; a strict one refuses them (placet.md §8)."""
    made = (await placet.post("/messages", json=message())).json()["id"]
    assert (await placet.get(f"/messages/{made}")).status_code == 200
    settings = QUICK.model_copy(update={"missing_channel": "strict"})
    async with serving(tmp_path, settings) as world, world.raw() as strict:
        made = (await strict.post("/messages", json=message())).json()["id"]
        assert (await strict.get(f"/messages/{made}")).status_code == 400


async def test_foreign_messages_stay_hidden(process, placet):
    """The other key's user sees nothing of ours, by id or by list."""
    made = (await placet.post("/messages", json=message(review={"type": "approval"}))).json()["id"]
    async with World(process.url).raw("hp_other") as other:
        assert (await other.get(f"/messages/{made}")).status_code == 403
        assert (await other.get(f"/reviews/{made}/wait?channel={FOREIGN}")).status_code == 404
        assert (await other.get(f"/reviews/pending?channel={CHANNEL}")).status_code == 403
