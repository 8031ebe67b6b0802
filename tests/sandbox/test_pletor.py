"""The Pletor stand-in over loopback: keys, limits, reviews, pictures and the quirks of pletor.md §7."""

import asyncio
import io
import re
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest
from PIL import Image
from pletor_world import QUICK, serving

from plait.sandbox.pletor_pictures import draw_picture
from plait.sandbox.pletor_settings import PletorSettings, StatusWords
from plait.sandbox.pletor_store import (
    CAMPAIGN,
    COPYWRITER,
    DOOMED,
    PICK_ONE,
    POSTER,
    POSTER_APP,
    REVIEWED_POSTER,
)
from plait.sandbox.process import start_sandbox

TITLED = {"title": "Spring sale"}


@pytest.fixture
async def world(tmp_path):
    """The stand-in with its defaults."""
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def http(world):
    """Plain HTTP with a good key."""
    async with world.raw() as opened:
        yield opened


def _run_body(definition=POSTER, **more):
    kind = "app_id" if definition is POSTER_APP else "agent_id"
    return {kind: definition.id, "inputs": TITLED} | more


async def _created(http, definition=POSTER, **more):
    answer = await http.post("/runs", json=_run_body(definition, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def _when(http, run_id, holds, path="/runs"):
    async with asyncio.timeout(60):
        while not holds(run := (await http.get(f"{path}/{run_id}")).json()):
            await asyncio.sleep(0.02)
    return run


def _asks(count):
    return lambda run: len(run["pending_reviews"]) == count


def _over(run):
    return run["status"] in {"completed", "failed", "canceled"}


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("length", [1, 255])
async def test_a_used_key_is_a_409_for_ever(http, length):
    """Also for another body, and also after the run failed."""
    key = "k" * length
    run_id = await _created(http, DOOMED, external_id=key)
    assert (await http.post("/runs", json=_run_body(external_id=key))).status_code == 409
    assert (await _when(http, run_id, _over))["status"] == "failed"
    assert (await http.post("/runs", json=_run_body(DOOMED, external_id=key))).status_code == 409
    assert (await http.post("/app-runs", json=_run_body(POSTER_APP, external_id=key))).status_code == 409
    found = (await http.get("/runs", params={"external_id": key})).json()["data"]
    assert [(run["id"], run["external_id"]) for run in found] == [(run_id, key)]


BAD_BODIES = {
    "key of 256": _run_body(external_id="k" * 256),
    "empty key": _run_body(external_id=""),
    "no title": _run_body(inputs={}, external_id="k"),
    "unknown input": _run_body(inputs=[{"id": "what", "value": "x"}], external_id="k"),
    "input without value": _run_body(inputs=[{"id": "title"}], external_id="k"),
    "unknown asset": _run_body(inputs={**TITLED, "image": {"asset_ids": ["none"]}}, external_id="k"),
    "asset as text": _run_body(inputs={**TITLED, "image": "none"}, external_id="k"),
    "wrong type": _run_body(inputs="title", external_id="k"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_what_fails_validation_claims_nothing(world, http, name):
    """422, and the same key then works (§7 no. 7)."""
    assert (await http.post("/runs", json=BAD_BODIES[name])).status_code == 422
    assert await world.count("create_run") == 0
    await _created(http, external_id="k")


async def test_an_unknown_agent_claims_nothing(world, http):
    """404, and the key stays free."""
    body = _run_body() | {"agent_id": POSTER_APP.id, "external_id": "k"}
    assert (await http.post("/runs", json=body)).status_code == 404
    await _created(http, external_id="k")
    assert await world.count("create_run") == 1


async def test_keys_are_one_per_organization(world, http):
    """Another key of the same organization meets 409, another organization does not, nor sees the run."""
    run_id = await _created(http, external_id="k")
    async with world.raw("sk-member") as member, world.raw("sk-other") as other:
        assert (await member.post("/runs", json=_run_body(external_id="k"))).status_code == 409
        assert (await member.get(f"/runs/{run_id}")).status_code == 200
        assert (await other.post("/runs", json=_run_body(external_id="k"))).status_code == 201
        assert (await other.get(f"/runs/{run_id}")).status_code == 404
    assert len({row["entity_id"] for row in await world.effects("create_run", "k")}) == 2


async def test_fifty_at_once_make_one(world, http):
    """Claim and creation are one step: forty-nine 409."""
    posts = (http.post("/runs", json=_run_body(external_id="race")) for _ in range(50))
    answers = [answer.status_code for answer in await asyncio.gather(*posts)]
    assert sorted(answers) == [201] + [409] * 49
    assert await world.count("create_run", "race") == 1


async def test_uploads_have_their_own_keys(world, http):
    """The same value labels one run and one upload, not two of either."""
    await _created(http, external_id="k")
    codes = []
    for _ in range(2):
        answer = await http.post("/assets/upload", data={"external_id": "k"}, files={"file": ("a.txt", b"x")})
        codes.append(answer.status_code)
    assert codes == [201, 409]
    assert await world.count("upload_asset") == 1


async def test_separate_key_spaces(tmp_path):
    """The other reading of the page: a key labels one run and one app run."""
    async with serving(tmp_path, key_space="separate") as world, world.raw() as http:
        await _created(http, external_id="k")
        assert (await http.post("/app-runs", json=_run_body(POSTER_APP, external_id="k"))).status_code == 201


@pytest.mark.parametrize(("order", "status"), [("validation_first", 422), ("key_first", 409)])
async def test_the_order_of_checks(tmp_path, order, status):
    """A used key with a bad body: which of the two is said first."""
    async with serving(tmp_path, check_order=order) as world, world.raw() as http:
        await _created(http, external_id="k")
        assert (await http.post("/runs", json=_run_body(inputs={}, external_id="k"))).status_code == status


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("detail", "detail"),
        ("error", "conflict"),
        ("code", "conflict"),
        ("html", "<html>"),
        ("empty", ""),
    ],
)
async def test_shapes_of_the_conflict(tmp_path, shape, says):
    """Every body a 409 may have; the original's id only where the switch says so."""
    switches = {"conflict_shape": shape, "conflict_names_original": True}
    async with serving(tmp_path, **switches) as world, world.raw() as http:
        run_id = await _created(http, external_id="k")
        answer = await http.post("/runs", json=_run_body(external_id="k"))
    assert says in answer.text
    assert (run_id in answer.text) is (shape in {"detail", "error", "code"})


# ---------------------------------------------------------------- limits and credits


UNITS = {
    "epoch": lambda text: float(text) - time.time(),
    "epoch_milliseconds": lambda text: float(text) / 1000 - time.time(),
    "seconds": float,
    "milliseconds": lambda text: float(text) / 1000,
    "date": lambda text: parsedate_to_datetime(text).timestamp() - time.time(),
}


@pytest.mark.parametrize("unit", UNITS)
async def test_every_answer_announces_its_limit(tmp_path, unit):
    """Also a refusal; runs and app runs share one count, apart from the rest."""
    async with serving(tmp_path, reset_unit=unit, run_limit=2) as world, world.raw() as http:
        answers = [
            await http.get("/agents"),
            await http.get("/runs/nobody"),
            await http.post("/runs", json=_run_body()),
            await http.post("/app-runs", json=_run_body(POSTER_APP)),
            await http.post("/runs", json=_run_body()),
        ]
        other = await http.post("/assets/upload", files={"file": ("a", b"x")})
    assert [answer.status_code for answer in answers] == [200, 404, 201, 201, 429]
    assert [answer.headers["x-ratelimit-limit"] for answer in (*answers, other)] == [
        "2000", "2000", "2", "2", "2", "600",
    ]  # fmt: skip
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1999", "1998", "1", "0", "0"]
    assert all(-1 <= UNITS[unit](answer.headers["x-ratelimit-reset"]) <= 61 for answer in answers)
    assert "retry-after" not in answers[-1].headers


async def test_a_limit_counts_for_each_key(tmp_path):
    """One key's burst does not slow another's, and headers can be left out."""
    switches = {"default_limit": 1, "reset_unit": "none", "retry_after": True}
    async with (
        serving(tmp_path, **switches) as world,
        world.raw() as http,
        world.raw("sk-member") as member,
    ):
        codes = [(await client.get("/apps")).status_code for client in (http, http, member)]
        refused = await http.get("/apps")
    assert codes == [200, 429, 200]
    assert "x-ratelimit-limit" not in refused.headers
    assert 0 < int(refused.headers["retry-after"]) <= 60


@pytest.mark.parametrize("status", [402, 403])
async def test_credits_run_out(tmp_path, status):
    """A run costs its agent's estimate; what cannot be paid claims nothing."""
    async with serving(tmp_path, credits=4.0, credits_status=status) as world, world.raw() as http:
        await _created(http, PICK_ONE)
        assert (await http.post("/runs", json=_run_body(PICK_ONE, external_id="k"))).status_code == status
        await _created(http, POSTER, external_id="k")
        assert await world.count("create_run") == 2


@pytest.mark.parametrize("key", [None, "", "sk-unknown", "sandbox.jwt.token"])
async def test_without_a_known_credential_nothing_is_shown(world, key):
    """401 on every call, with the rate headers."""
    headers = {} if key is None else {"X-Api-Key": key}
    async with httpx.AsyncClient(base_url=f"{world.url}/pletor/api/public/v1", headers=headers) as http:
        for path in ("/agents", "/runs", "/assets/x/download"):
            answer = await http.get(path)
            assert answer.status_code == 401
            assert "x-ratelimit-remaining" in answer.headers


# ---------------------------------------------------------------- runs and reviews


async def test_a_campaign_is_reviewed_at_once_and_one_after_the_other(http):
    """Picture and text together, in any order; then a choice of three; then it is complete."""
    run_id = await _created(http, CAMPAIGN)
    first = await _when(http, run_id, _asks(2))
    assert first["awaiting_human_review"] is True
    assert first["status"] == "running"
    by_kind = {review["type"]: review for review in first["pending_reviews"]}
    await _decide(http, run_id, by_kind["edit"], text="Our own words")
    half = (await http.get(f"/runs/{run_id}")).json()
    assert [review["type"] for review in half["pending_reviews"]] == ["approval"]
    await _decide(http, run_id, by_kind["approval"])
    second = await _when(http, run_id, _asks(1))
    [choice] = second["pending_reviews"]
    assert (choice["type"], len(choice["options"])) == ("selection", 3)
    assert second["results"] == []
    chosen = [choice["options"][2]["asset_id"], choice["options"][0]["asset_id"]]
    await _decide(http, run_id, choice, selected_asset_ids=chosen)
    done = await _when(http, run_id, _over)
    picture = by_kind["approval"]["options"][0]["asset_id"]
    assert done["results"] == [
        {"text": "Our own words"},
        *({"asset_id": each} for each in (picture, *chosen)),
    ]
    assert [review["decision"] for review in done["reviews"]] == ["approve"] * 3


async def _decide(http, run_id, review, decision="approve", status=200, **more):
    answer = await http.post(f"/runs/{run_id}/reviews/{review['id']}", json={"decision": decision, **more})
    assert answer.status_code == status, answer.text


async def test_a_regeneration_is_another_picture_under_another_id(http):
    """Not asked at once, but after work; the first proposal is settled."""
    run_id = await _created(http, REVIEWED_POSTER)
    [first] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
    await _decide(http, run_id, first, "regenerate", feedback="bluer")
    again = await _when(http, run_id, _asks(1))
    seen_at = time.time()
    [second], [settled] = again["pending_reviews"], again["reviews"]
    assert second["id"] != first["id"] == settled["id"]
    assert settled["decided_at"] + QUICK <= second["created_at"] <= seen_at
    pictures = [
        (await http.get(f"/assets/{review['options'][0]['asset_id']}")).json() for review in (first, second)
    ]
    assert pictures[0]["sha256"] != pictures[1]["sha256"]
    await _decide(http, run_id, first, status=409)
    await _decide(http, run_id, second)
    assert (await _when(http, run_id, _over))["status"] == "completed"


async def test_a_text_is_approved_as_proposed_and_a_rejection_fails_the_run(http):
    """What a person refuses is not delivered."""
    kept, refused = await _created(http, COPYWRITER), await _created(http, COPYWRITER)
    [review] = (await _when(http, kept, _asks(1)))["pending_reviews"]
    await _decide(http, kept, review)
    assert (await _when(http, kept, _over))["results"] == review["options"]
    [review] = (await _when(http, refused, _asks(1)))["pending_reviews"]
    await _decide(http, refused, review, "reject")
    run = await _when(http, refused, _over)
    assert (run["status"], run["error"], run["results"]) == ("failed", "Rejected in review", [])
    await _decide(http, refused, {"id": "unknown"}, status=404)


async def test_fifty_decide_at_once_and_one_counts(world, http):
    """The first decision stands."""
    run_id = await _created(http, REVIEWED_POSTER)
    [review] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
    posts = (
        http.post(f"/runs/{run_id}/reviews/{review['id']}", json={"decision": word})
        for word in ["approve", "reject"] * 25
    )
    codes = [answer.status_code for answer in await asyncio.gather(*posts)]
    assert sorted(codes) == [200] + [409] * 49
    assert await world.count("resolve_review") == 1


async def test_a_review_key_does_not_collide_with_a_runs(http):
    """In one key space a decision under the run's own key is a 409 for ever (§6.4)."""
    run_id = await _created(http, REVIEWED_POSTER, external_id="k")
    [review] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
    await _decide(http, run_id, review, status=409, external_id="k")
    await _decide(http, run_id, review, external_id="another")


async def test_a_canceled_run_asks_nothing_more(world, http):
    """While it works and while it waits; a second cancel is a 409, and its review is one too."""
    run_id = await _created(http, REVIEWED_POSTER)
    [review] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
    answer = await http.delete(f"/runs/{run_id}")
    assert (answer.json()["status"], answer.json()["pending_reviews"]) == ("canceled", [])
    assert (await http.delete(f"/runs/{run_id}")).status_code == 409
    await _decide(http, run_id, review, status=409)
    assert (await world.count("cancel_run"), await world.count("resolve_review")) == (1, 0)


async def test_words_and_lags_of_a_run(tmp_path):
    """Other spellings, a flag without reviews, a flag after the end, a replica that lags (§7 no. 9, 10)."""
    words = StatusWords(reviewing="paused", completed="SUCCEEDED")
    lags = {"review_lag": 0.3, "resolved_lag": 0.3, "stale_reads": True, "status_words": words}
    async with serving(tmp_path, **lags) as world, world.raw() as http:
        run_id = await _created(http, REVIEWED_POSTER)
        flagged = await _when(http, run_id, lambda run: run["awaiting_human_review"])
        assert flagged["pending_reviews"] == []
        [review] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
        seen = {(await http.get(f"/runs/{run_id}")).json()["status"] for _ in range(4)}
        assert seen == {"pending", "paused"}
        stale = await _when(http, run_id, lambda run: run["status"] == "pending")
        assert (stale["awaiting_human_review"], stale["pending_reviews"]) == (False, [])
        await _decide(http, run_id, review)
        done = (await http.get(f"/runs/{run_id}")).json()
        assert (done["status"], done["awaiting_human_review"]) == ("SUCCEEDED", True)
        await _when(http, run_id, lambda run: not run["awaiting_human_review"])


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ("results", {"results": ["asset_id", "text"]}),
        ("outputs", {"outputs": ["asset_ids", "value"]}),
        ("text_only", {"results": ["text"]}),
        ("empty", {"results": []}),
    ],
)
async def test_shapes_of_the_results(tmp_path, shape, kinds):
    """Every shape of what a finished run holds (§7 no. 11)."""
    async with serving(tmp_path, output_shape=shape) as world, world.raw() as http:
        done = await _when(http, await _created(http), _over)
    [(name, names)] = kinds.items()
    found = [[key for key in entry if key != "id"] for entry in done[name]]
    assert found == [[key] for key in names]


async def test_an_app_run_may_wait_for_ever(tmp_path):
    """It asks in Pletor's own interface; no call resolves it, and it can be canceled (§7 no. 15)."""
    async with serving(tmp_path, app_reviews="for_ever") as world, world.raw() as http:
        run_id = (await http.post("/app-runs", json=_run_body(POSTER_APP))).json()["id"]
        run = await _when(http, run_id, _asks(1), "/app-runs")
        answer = await http.post(
            f"/app-runs/{run_id}/reviews/{run['pending_reviews'][0]['id']}", json={"decision": "approve"}
        )
        assert answer.status_code == 404
        assert (await http.delete(f"/app-runs/{run_id}")).json()["status"] == "canceled"


async def test_runs_survive_a_kill(tmp_path):
    """State, key and count are on disk: a run goes on in the next process."""
    settings = PletorSettings(work_seconds=QUICK)
    body = _run_body(REVIEWED_POSTER, external_id="k")
    with start_sandbox(state=tmp_path / "s.db", pletor=settings) as process:
        async with httpx.AsyncClient(
            base_url=f"{process.url}/pletor/api/public/v1", headers={"X-Api-Key": "sk-sandbox"}
        ) as http:
            run_id = (await http.post("/runs", json=body)).json()["id"]
            process.kill()
            with start_sandbox(state=tmp_path / "s.db", port=process.port, pletor=settings) as again:
                [review] = (await _when(http, run_id, _asks(1)))["pending_reviews"]
                again.kill()
                with start_sandbox(state=tmp_path / "s.db", port=process.port, pletor=settings):
                    await _decide(http, run_id, review)
                    assert (await _when(http, run_id, _over))["status"] == "completed"
                    assert (await http.post("/runs", json=body)).status_code == 409


# ---------------------------------------------------------------- lists, assets, pictures


async def test_pages_hold_what_was_asked_for(http):
    """Newest first, by cursor, with the news whether there are more."""
    made = [await _created(http) for _ in range(5)]
    first = (await http.get("/runs", params={"limit": 2})).json()
    second = (await http.get("/runs", params={"limit": 2, "starting_after": first["data"][-1]["id"]})).json()
    third = (await http.get("/runs", params={"limit": 2, "starting_after": second["data"][-1]["id"]})).json()
    pages = [first, second, third]
    assert [run["id"] for page in pages for run in page["data"]] == made[::-1]
    assert [page["has_more"] for page in pages] == [True, True, False]


async def test_assets_of_a_run_are_listed(world, http):
    """Uploads and what runs made, with type, size and digest; another organization sees none."""
    upload = await http.post("/assets/upload", files={"file": ("a.txt", b"text", "text/plain")})
    done = await _when(http, await _created(http), _over)
    listed = (await http.get("/assets")).json()["data"]
    assert {row["media_type"] for row in listed} == {"text/plain", "image/png"}
    assert done["results"][0]["asset_id"] in [row["id"] for row in listed]
    assert upload.json()["size"] == 4
    async with world.raw("sk-other") as other:
        assert (await other.get("/assets")).json()["data"] == []
        assert (await other.get(f"/assets/{upload.json()['id']}/download")).status_code == 404
    assert (await http.post("/assets/upload", files={"file": ("a.txt", b"")})).status_code == 422


async def test_a_signed_address_works_once_signed_and_not_for_ever(tmp_path):
    """Any change of it is refused, and so is one that has expired."""
    async with serving(tmp_path, signature_seconds=5.0) as world, world.raw() as http:
        upload = (await http.post("/assets/upload", files={"file": ("a.txt", b"text")})).json()
        address = (await http.get(f"/assets/{upload['id']}/download")).headers["location"]
        async with httpx.AsyncClient() as anybody:
            assert (await anybody.get(address)).content == b"text"
            forged = re.sub(r"expires=(\d+)", "expires=9999999999", address)
            assert (await anybody.get(forged)).status_code == 403
            await asyncio.sleep(6.1)
            assert (await anybody.get(address)).status_code == 403


async def test_bytes_without_a_redirect(tmp_path):
    """The other way to give a file out."""
    async with serving(tmp_path, download="bytes") as world, world.raw() as http:
        upload = (await http.post("/assets/upload", files={"file": ("a.txt", b"text", "text/plain")})).json()
        answer = await http.get(f"/assets/{upload['id']}/download")
    assert (answer.status_code, answer.content) == (200, b"text")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_pictures_come_from_their_inputs(world, http):
    """The same inputs make the same picture, another title another, and a given picture is shown in it."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), (255, 0, 255)).save(buffer, "PNG")
    pink = (
        await http.post("/assets/upload", files={"file": ("p.png", buffer.getvalue(), "image/png")})
    ).json()

    async def picture(**inputs):
        done = await _when(http, await _created(http, inputs=inputs), _over)
        async with world.raw() as client:
            address = (await client.get(f"/assets/{done['results'][0]['asset_id']}/download")).headers
        async with httpx.AsyncClient() as anybody:
            return (await anybody.get(address["location"])).content

    first = await picture(**TITLED)
    assert first == await picture(**TITLED)
    assert first != await picture(title="Autumn sale")
    shown = Image.open(io.BytesIO(await picture(**TITLED, image={"asset_ids": [pink["id"]]})))
    assert (shown.format, shown.size) == ("PNG", (960, 640))
    colours = {colour for _, colour in shown.convert("RGB").getcolors(1 << 24)}
    assert (255, 0, 255) in colours


@pytest.mark.parametrize(
    "title", ["Hi", "A headline of a common length", "word " * 40, "x" * 500, "Grüße, 東京"]
)
def test_a_title_is_written_large_and_inside(tmp_path, title):
    """White letters, none at the edge, whatever the length."""
    draw_picture(tmp_path / "p.png", title=title, note="", seed=1)
    picture = Image.open(tmp_path / "p.png").convert("RGB")
    white = [
        (x, y)
        for y in range(0, picture.height, 2)
        for x in range(0, picture.width, 2)
        if picture.getpixel((x, y)) == (255, 255, 255)
    ]
    assert len(white) > 50
    assert max(x for x, _ in white) < 960 - 20
    assert max(y for _, y in white) < 600
