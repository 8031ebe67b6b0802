"""Each fault does what it says, over a real connection."""

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


async def _upload(http, content, **kwargs):
    return await http.post("/api/documents/upload", files={"file": ("report.docx", content, DOCX)}, **kwargs)


async def _effects(control, content):
    marker = hashlib.sha256(content).hexdigest()
    answer = (await control.get("/effects", params={"operation": "upload_document", "marker": marker})).json()
    return answer["total"]


async def _arm(control, **rule):
    answer = await control.post("/faults", json=rule)
    assert answer.status_code == 200, answer.text
    return answer.json()["rules"][0]["rule"]["id"]


@pytest.mark.parametrize(
    "case",
    [
        ({"kind": "before_accept"}, 0),
        ({"kind": "before_accept", "how": "reset"}, 0),
        ({"kind": "reset"}, 0),
        ({"kind": "reset", "request_bytes": 1000}, 0),
        ({"kind": "after_accept"}, 1),
        ({"kind": "after_accept", "how": "reset"}, 1),
    ],
)
async def test_a_lost_connection_leaves_exactly_the_effect_it_names(
    case, control, officeplane, make_docx, eventually
):
    """Before accept nothing exists, after accept the effect does; the client sees no answer."""
    rule, done = case
    content = make_docx()
    await _arm(control, service="officeplane", operation="upload_document", **rule)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        await _upload(officeplane, content)
    if done:
        await eventually(lambda: _effects(control, content))
    assert await _effects(control, content) == done


async def test_reset_is_a_rst_and_close_is_a_fin(control, sandbox):
    """The kernel reports ECONNRESET for `reset`, and an orderly end for `close`."""
    request = b"GET /officeplane/health HTTP/1.1\r\nHost: sandbox\r\n\r\n"
    await _arm(control, id="end", kind="before_accept", how="reset")
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(request)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await _arm(control, id="end", kind="before_accept", how="close")
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(request)
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("size", [0, 1, 17])
async def test_mid_body_cuts_after_exactly_so_many_bytes(how, size, control, sandbox):
    """The head promises the whole body, and exactly `bytes` of it arrive."""
    await _arm(control, kind="mid_body", bytes=size, how=how, operation="system_metrics")
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(b"GET /officeplane/api/metrics HTTP/1.1\r\nHost: sandbox\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    whole = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    try:
        while piece := await reader.read(100):
            body += piece
    except ConnectionResetError:
        assert how == "reset"
    writer.close()
    assert len(body) == size < whole


async def _read_into(seen, stream):
    async with stream as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for piece in answer.aiter_raw():
            seen += piece


@pytest.mark.parametrize("events", [0, 1, 3])
async def test_mid_stream_cuts_after_whole_events(events, control, sandbox):
    """Of a streamed chat answer exactly `events` events arrive, then the connection ends."""
    await _arm(control, kind="mid_stream", events=events, operation="chat")
    key = {"X-API-Key": "pk_live_sandbox"}
    seen = bytearray()
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/planck/api/v1", headers=key) as http:
        workspace = (await http.get("/workspaces")).json()["data"][0]["id"]
        chat = http.stream("POST", f"/workspaces/{workspace}/chat", json={"message": "Hi"})
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_into(seen, chat)
    assert seen.count(b"event: ") == seen.count(b"\n\n") == events
    assert b"message_stop" not in seen


async def test_status_before_has_no_effect_and_after_has_one(control, officeplane, make_docx):
    """The same 502 means nothing done with `status`, and done with `status_after`."""
    content = make_docx()
    await _arm(control, kind="status", status=502, body="Bad Gateway", nth=[1], operation="upload_document")
    answer = await _upload(officeplane, content)
    assert (answer.status_code, answer.text) == (502, "Bad Gateway")
    assert await _effects(control, content) == 0
    await control.delete("/faults")
    await _arm(control, kind="status_after", status=502, operation="upload_document", times=1)
    answer = await _upload(officeplane, content)
    assert (answer.status_code, answer.json()) == (502, {"detail": "injected fault"})
    assert await _effects(control, content) == 1


async def test_late_landing_takes_effect_after_the_client_is_gone(
    control, officeplane, make_docx, eventually
):
    """The connection ends at once, the effect appears only after the given seconds."""
    content = make_docx()
    await _arm(control, kind="late_landing", seconds=1.0, operation="upload_document")
    with pytest.raises(httpx.RemoteProtocolError):
        await _upload(officeplane, content)
    assert await _effects(control, content) == 0
    await asyncio.sleep(0.5)
    assert await _effects(control, content) == 0
    await eventually(lambda: _effects(control, content))
    assert await _effects(control, content) == 1


async def test_late_landing_may_answer_an_error_first(control, officeplane, make_docx, eventually):
    """With `status` the caller gets that answer, and the effect still comes."""
    content = make_docx()
    await _arm(control, kind="late_landing", seconds=0.3, status=504, operation="upload_document")
    assert (await _upload(officeplane, content)).status_code == 504
    assert await _effects(control, content) == 0
    await eventually(lambda: _effects(control, content))


async def test_duplicate_delivery_does_it_twice(control, officeplane, make_docx):
    """One request, two documents, and the answer of the second."""
    content = make_docx()
    await _arm(control, kind="duplicate_delivery", operation="upload_document")
    answer = await _upload(officeplane, content)
    assert answer.status_code == 200
    rows = (await control.get("/effects", params={"marker": hashlib.sha256(content).hexdigest()})).json()
    assert [row["entity_id"] for row in rows["effects"]][1] == answer.json()["id"]
    assert rows["total"] == 2
    assert len({row["request"] for row in rows["effects"]}) == 1


async def test_rules_stack_so_a_doubled_request_can_also_lose_its_answer(
    control, officeplane, make_docx, eventually
):
    """Rules are asked in order, each around the next."""
    content = make_docx()
    await _arm(control, kind="after_accept", operation="upload_document")
    await _arm(control, kind="duplicate_delivery", operation="upload_document")
    with pytest.raises(httpx.RemoteProtocolError):
        await _upload(officeplane, content)

    async def both():
        return await _effects(control, content) == 2

    await eventually(both)


async def test_listing_lag_hides_from_lists_but_not_from_get(control, officeplane, make_docx, eventually):
    """A new document can be read by its id at once, and is listed only after the lag."""
    await _arm(control, kind="listing_lag", seconds=0.6, operation="upload_document")
    made = (await _upload(officeplane, make_docx())).json()["id"]

    async def listed():
        return made in [row["id"] for row in (await officeplane.get("/api/documents")).json()]

    assert (await officeplane.get(f"/api/documents/{made}")).status_code == 200
    assert not await listed()
    await eventually(listed)


async def test_clock_skew_moves_the_vendors_timestamps(control, officeplane, make_docx):
    """`createdAt` of a skewed upload is off by the skew."""
    await _arm(control, kind="clock_skew", seconds=-3600, operation="upload_document")
    made = (await _upload(officeplane, make_docx())).json()["id"]
    rows = {row["id"]: row for row in (await officeplane.get("/api/documents")).json()}
    age = datetime.now(UTC) - datetime.fromisoformat(rows[made]["createdAt"])
    assert 3590 < age.total_seconds() < 3660


async def test_delay_answers_late_though_the_effect_is_there_at_once(
    control, officeplane, make_docx, eventually
):
    """The effect is counted while the answer is still held back."""
    content = make_docx()
    await _arm(control, kind="delay", seconds=1.5, operation="upload_document")
    began = time.monotonic()
    waiting = asyncio.create_task(_upload(officeplane, content))
    await eventually(lambda: _effects(control, content))
    assert not waiting.done()
    assert (await waiting).status_code == 200
    assert time.monotonic() - began >= 1.5


async def test_hang_answers_nothing_and_does_nothing(control, officeplane, make_docx):
    """A client with a read timeout gives up; the connection ends by itself after the bound."""
    content = make_docx()
    await _arm(control, id="hang", kind="hang", seconds=30, operation="upload_document")
    with pytest.raises(httpx.ReadTimeout):
        await _upload(officeplane, content, timeout=0.3)
    await _arm(control, id="hang", kind="hang", seconds=0.2, operation="upload_document")
    with pytest.raises(httpx.RemoteProtocolError):
        await _upload(officeplane, content)
    assert await _effects(control, content) == 0


async def test_slow_trickles_the_body(control, officeplane):
    """An answer of some 60 bytes at 100 bytes a second takes its time and arrives whole."""
    await _arm(control, kind="slow", bytes_per_second=100, operation="system_metrics")
    began = time.monotonic()
    answer = await officeplane.get("/api/metrics")
    assert answer.json()["tasks"]["total"] == 0
    assert time.monotonic() - began > len(answer.content) / 100 * 0.8


@pytest.mark.parametrize(
    ("dialect", "check"),
    [
        ({"retry_after": "seconds"}, lambda headers: headers["retry-after"] == "8"),
        (
            {"retry_after": "date"},
            lambda headers: 5 < (parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()) < 9,
        ),
        (
            {"retry_after": "none"},
            lambda headers: not {"retry-after", "x-ratelimit-reset"} & set(headers),
        ),
        ({"reset": "seconds"}, lambda headers: headers["x-ratelimit-reset"] == "8"),
        ({"reset": "milliseconds"}, lambda headers: headers["x-ratelimit-reset"] == "7500"),
        ({"reset": "epoch"}, lambda headers: 5 < int(headers["x-ratelimit-reset"]) - time.time() < 9),
        (
            {"reset": "epoch_milliseconds"},
            lambda headers: 5 < int(headers["x-ratelimit-reset"]) / 1000 - time.time() < 9,
        ),
    ],
)
async def test_rate_limit_speaks_each_header_dialect(dialect, check, control, officeplane):
    """429 with the headers asked for, and only those."""
    await _arm(control, kind="rate_limit", wait=7.5, **dialect)
    answer = await officeplane.get("/api/documents")
    assert answer.status_code == 429
    assert check(answer.headers), dict(answer.headers)


@pytest.mark.parametrize(
    ("measures", "recovers"),
    [
        ({"algorithm": "token_bucket", "limit": 3, "rate": 4.0}, 1),
        ({"algorithm": "fixed_window", "limit": 3, "window": 0.8}, 3),
        ({"algorithm": "sliding_window", "limit": 3, "window": 0.4}, 3),
    ],
)
async def test_limiters_count_refuse_and_recover(measures, recovers, control, officeplane, eventually):
    """Three requests pass, further ones get 429, and after a pause some pass again."""

    async def statuses(count):
        return [(await officeplane.get("/health")).status_code for _ in range(count)]

    async def fresh_window():
        await _arm(control, id="limit", kind="limiter", operation="health", reset="seconds", **measures)
        return await statuses(5) == [200, 200, 200, 429, 429]

    await eventually(fresh_window)  # A fixed window may turn over in the middle of the five.
    await asyncio.sleep(1.0 if recovers > 1 else 0.3)
    assert await statuses(recovers) == [200] * recovers
    remaining = (await officeplane.get("/health")).headers["x-ratelimit-remaining"]
    assert int(remaining) < 3


async def test_the_concurrency_limiter_counts_requests_in_flight(control, officeplane):
    """Of three at the same time two pass; one after the other all pass."""
    await _arm(control, kind="limiter", algorithm="concurrency", limit=2, operation="health")
    await _arm(control, kind="delay", seconds=0.4, operation="health")
    together = await asyncio.gather(*(officeplane.get("/health") for _ in range(3)))
    assert sorted(answer.status_code for answer in together) == [200, 200, 429]
    assert (await officeplane.get("/health")).status_code == 200


async def test_a_limiter_per_key_counts_each_key_apart(control, officeplane):
    """One key's spent limit leaves the other key alone."""
    await _arm(
        control,
        kind="limiter",
        algorithm="fixed_window",
        limit=1,
        window=3600,
        per="key",
        operation="health",
    )
    codes = [
        (await officeplane.get("/health", headers={"X-API-Key": key})).status_code for key in ("a", "a", "b")
    ]
    assert codes == [200, 429, 200]


async def test_nth_and_times_choose_single_requests(control, officeplane):
    """`nth` counts matching requests from 1; `times` bounds how often a rule fires."""
    await _arm(control, kind="status", status=503, operation="health", nth=[2, 4])
    await _arm(control, kind="status", status=500, operation="health", times=1)
    codes = [(await officeplane.get("/health")).status_code for _ in range(5)]
    assert codes == [500, 503, 200, 503, 200]


async def test_probability_is_the_same_for_the_same_seed(control, officeplane):
    """The same rule under the same seed strikes the same requests again."""

    async def run():
        await _arm(control, id="dice", kind="status", status=503, operation="health", probability=0.4)
        return [(await officeplane.get("/health")).status_code for _ in range(30)]

    first = await run()
    assert first == await run()
    assert {200, 503} == set(first)


async def test_every_fired_fault_is_a_line_that_allows_a_replay(control, officeplane):
    """Line and log route name seed, rule, request number and the count that `nth` would take."""
    await _arm(control, id="once", kind="status", status=503, operation="health", nth=[2])
    codes = [(await officeplane.get("/health")).status_code for _ in range(3)]
    assert codes == [200, 503, 200]
    log = (await control.get("/faults/log")).json()
    line = [fired for fired in log["fired"] if fired["rule"]["id"] == "once"][-1]
    assert (line["seed"], line["match"], line["operation"], line["path"]) == (
        7,
        2,
        "health",
        "/officeplane/health",
    )
    assert line["request"] > 0
    assert line["rule"]["kind"] == "status"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "status", "status": 503, "nht": [1]}, ["rule 1 (status)", "'nht'", "Extra inputs"]),
        ({"kind": "statsu"}, ["statsu", "before_accept", "late_landing"]),
        ({"kind": "status", "status": 200}, ["'status'", "greater than or equal to 400"]),
        ({"kind": "mid_stream"}, ["exactly one of them"]),
        ({"kind": "limiter", "algorithm": "token_bucket", "limit": 1}, ["token_bucket", "rate"]),
        ({"kind": "reset", "service": "office"}, ["'office'", "officeplane", "planck", "pletor"]),
        ({"kind": "reset", "service": "planck", "operation": "uplaod"}, ["'uplaod'", "send_message"]),
    ],
)
async def test_a_rule_that_cannot_be_used_is_refused_in_clear_words(rule, words, control):
    """422 names the rule, the field and what would do; nothing is armed."""
    answer = await control.post("/faults", json=[rule])
    assert answer.status_code == 422
    assert all(word in answer.json()["detail"] for word in words), answer.json()["detail"]
    assert (await control.get("/faults")).json()["rules"] == []


async def test_rules_can_be_listed_replaced_and_dropped(control):
    """A known id replaces its rule; DELETE drops one or all; an unknown id is 404."""
    named = await _arm(control, kind="before_accept", operation="health", nth=[1000])
    await _arm(control, id=named, kind="hang", operation="health", nth=[1000])
    rules = (await control.get("/faults")).json()["rules"]
    assert [rule["rule"]["kind"] for rule in rules] == ["hang"]
    assert (await control.delete(f"/faults/{named}")).json() == {"dropped": 1}
    assert (await control.delete(f"/faults/{named}")).status_code == 404
    assert (await control.delete("/faults")).json() == {"dropped": 0}


async def test_a_body_that_is_not_json_is_refused(control):
    """422 says so."""
    answer = await control.post("/faults", content=b"{")
    assert answer.status_code == 422
    assert "not JSON" in json.dumps(answer.json())
