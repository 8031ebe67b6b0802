"""What the Planasonix stand-in does by itself: schedules that fire, and events it sends."""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
import pytest_asyncio
from planasonix_world import ROOTS, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1 = "/planasonix/v1"
AIR = "/planasonix/air/api/v1"


@pytest_asyncio.fixture(loop_scope="module")
async def world(planasonix):
    """The stand-in with its defaults, but quick; as new for each test."""
    await planasonix.start_over()
    return planasonix


@pytest_asyncio.fixture(loop_scope="module")
async def http(world):
    """Plain HTTP with a good key."""
    async with world.raw() as opened:
        yield opened


# ---------------------------------------------------------------- schedules


def _body(pipeline, **more):
    return {"pipelineId": pipeline, "cronExpression": "0 2 * * *", "timezone": "Europe/Berlin", **more}


def _shown(answer):
    body = answer.json().get("data", answer.json())
    return {**body, **body.get("attributes", {})}


@pytest.mark.parametrize("mount", ROOTS)
async def test_a_schedule_from_its_creation_to_its_end(world, http, mount):
    """Created, listed, changed, paused, resumed, deleted; JSON:API in the documentation, bare for Go."""
    resources, pipeline = ROOTS[mount][0], (await world.ids("pipelines"))["good"]
    name = "cronExpression" if mount == "go" else "cron_expression"
    made = await http.post(f"{resources}/schedules", json=_body(pipeline, frequency="custom"))
    assert (made.status_code, _shown(made)["enabled"]) == (201, True)
    assert ("attributes" in made.json().get("data", {})) is (mount not in {"air", "go"})
    one = f"{resources}/schedules/{_shown(made)['id']}"
    body = (await http.get(f"{resources}/schedules", params={"pipeline_id": pipeline})).json()
    assert len(body["schedules" if mount == "air" else "data"]) == 1
    changed = _shown(
        await http.put(one, json=_body(pipeline, cronExpression="5 4 * * 1", frequency="weekly"))
    )
    assert (changed[name], changed["timezone"]) == ("5 4 * * 1", "Europe/Berlin")
    for verb, enabled in (("disable", False), ("disable", False), ("enable", True)):
        shown = _shown(await http.post(f"{one}/{verb}"))
        assert shown["enabled"] is enabled
        assert (shown.get("next_run_at", shown.get("nextRunAt")) is not None) is enabled
        found = (await http.get(f"{resources}/schedules", params={"enabled": "true"})).json()
        assert len(found["schedules" if mount == "air" else "data"]) == enabled
    assert (await http.delete(one)).status_code == 204
    assert (await http.get(one)).status_code == 404
    assert await world.count("create_schedule", pipeline) == 1


@pytest.mark.parametrize("put", ["merge", "wipe"])
async def test_a_put_keeps_or_wipes_what_is_left_out(tmp_path, put):
    """Two sources, two readings (C8): whoever writes whole is safe from both."""
    async with serving(tmp_path, schedule_put=put) as world, world.raw() as http:
        pipeline = (await world.ids("pipelines"))["good"]
        made = _shown(await http.post(f"{V1}/schedules", json=_body(pipeline)))
        one = f"{V1}/schedules/{made['id']}"
        part = _shown(await http.put(one, json={"enabled": True}))
        whole = _shown(await http.put(one, json=_body(pipeline, frequency="custom")))
    assert part["cron_expression"] == ("0 2 * * *" if put == "merge" else "")
    assert part["timezone"] == ("Europe/Berlin" if put == "merge" else "")
    assert (part["next_run_at"] is None) is (put == "wipe")
    assert whole["next_run_at"] == made["next_run_at"]


BAD_SCHEDULES = [
    ("spec", {"cronExpression": "every day"}, "cronExpression"),
    ("spec", {"timezone": "Mars/Olympus"}, "timezone"),
    ("spec", {"enabled": "yes"}, "enabled"),
    ("docs", {"timezone": ""}, "timezone"),
    ("go", {}, "frequency"),
    ("go", {"frequency": "sometimes"}, "frequency"),
]


async def test_a_bad_schedule_is_refused(world, http):
    """By the name of what is wrong; the Go mount wants a frequency, the documentation a time zone."""
    pipeline = (await world.ids("pipelines"))["good"]
    for mount, change, name in BAD_SCHEDULES:
        answer = await http.post(f"{ROOTS[mount][0]}/schedules", json=_body(pipeline, **change))
        assert (answer.status_code, name in answer.text) == (400, True), answer.text
    assert (await http.post(f"{V1}/schedules", json=_body("pl_unknown"))).status_code == 404
    assert (await http.post(f"{V1}/schedules", json={**_body(pipeline), "timezone": None})).status_code == 201
    assert await world.count("create_schedule") == 1


async def test_a_schedule_fires_once_for_what_it_missed(world, http):
    """Every minute for an hour in which nobody looked makes one run, of the trigger `schedule`."""
    pipeline = (await world.ids("pipelines"))["endless"]
    await world.fault("clock_skew", "create_schedule", seconds=-3600)
    made = _shown(await http.post(f"{V1}/schedules", json=_body(pipeline, cronExpression="* * * * *")))
    assert datetime.fromisoformat(made["next_run_at"]).timestamp() < time.time() - 3000
    runs = (await http.get(f"{V1}/runs")).json()["data"]
    schedule = _shown(await http.get(f"{V1}/schedules/{made['id']}"))
    bare = (await http.get(f"{ROOTS['go'][0]}/schedules")).json()["data"][0]
    assert [run["attributes"]["trigger"] for run in runs] == ["schedule"]
    assert schedule["last_run_at"] == made["next_run_at"]
    assert datetime.fromisoformat(schedule["next_run_at"]).timestamp() > time.time() - 60
    assert (bare["pipelineName"], bare["lastRunStatus"]) == ("endless", "running")
    assert await world.count("trigger_run") == 0


# ---------------------------------------------------------------- webhooks


class Listener:
    """Takes deliveries; answers with the statuses given, then with 200."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.calls = []
        self.url = ""

    async def serve(self, reader, writer):
        """One delivery."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        self.calls.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def listening(*statuses):
    """A listener on loopback."""
    listener = Listener(*statuses)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = "http://127.0.0.1:{1}/events".format(*server.sockets[0].getsockname())
    async with server:
        yield listener


async def called(listener, count):
    """The deliveries, once there are so many."""

    async def look():
        return listener.calls

    return await until(look, lambda calls: len(calls) >= count)


@pytest.mark.parametrize("signed", ["body", "timestamp.body"])
async def test_events_are_signed(tmp_path, signed):
    """Over the raw body, in the headers of the settings; nobody has to look for the job to end."""
    switches = {"signature_header": "X-Sig", "timestamp_header": "X-When", "signed_text": signed}
    async with listening() as listener, serving(tmp_path, **switches) as world, world.raw() as http:
        made = await http.post(f"{AIR}/webhooks", json={"url": listener.url})
        ids = await world.ids("connections")
        jobs = [
            (await http.post(f"{AIR}/connections/{ids[name]}/sync", json={})).json()["job_id"]
            for name in ("good", "bad")
        ]
        calls = await called(listener, 2)
        listed = (await http.get(f"{AIR}/webhooks")).json()["webhooks"]
    events = {}
    for headers, body in calls:
        text = body if signed == "body" else f"{headers['x-when']}.".encode() + body
        digest = hmac.new(made.json()["secret"].encode(), text, hashlib.sha256).hexdigest()
        assert headers["x-sig"] == f"sha256={digest}"
        assert abs(int(headers["x-when"]) - time.time()) < 60
        event = json.loads(body)
        events[event["job_id"]] = event
    assert [events[job]["type"] for job in jobs] == ["job.completed", "job.failed"]
    assert 90 <= events[jobs[0]]["data"]["summary"]["total_rows_synced"] <= 110
    assert len({event["id"] for event in events.values()}) == 2
    assert "secret" not in listed[0]


async def test_a_delivery_is_repeated_and_given_up(tmp_path):
    """The same event again until it is taken, at most so often; another event is told all the same."""
    switches = {"webhook_attempts": 3, "webhook_backoff": 0.05}
    async with (
        listening(500, 301, 200, 500, 500, 500) as listener,
        serving(tmp_path, **switches) as world,
        world.raw() as http,
    ):
        body = {"url": listener.url, "events": ["run.succeeded", "run.cancelled"]}
        webhook = (await http.post(f"{V1}/webhooks", json=body)).json()["data"]
        pipeline = (await world.ids("pipelines"))["good"]
        for count in (3, 6, 7):
            await http.post(f"{V1}/pipelines/{pipeline}/run", json={})
            await called(listener, count)
        assert (await http.delete(f"{V1}/webhooks/{webhook['id']}")).status_code == 204
        await http.post(f"{V1}/pipelines/{pipeline}/run", json={})
        await until(
            lambda: http.get(f"{V1}/runs?status=succeeded"), lambda answer: len(answer.json()["data"]) == 4
        )
    ids = [json.loads(body)["id"] for _, body in listener.calls]
    assert [ids.count(each) for each in dict.fromkeys(ids)] == [3, 3, 1]


async def test_what_was_not_delivered_goes_on_after_a_restart(tmp_path):
    """An event is stored with what it tells of."""
    async with listening() as listener:
        async with serving(tmp_path, webhook_backoff=0.5) as world, world.raw() as http:
            listener.statuses.append(503)
            await http.post(f"{V1}/webhooks", json={"url": listener.url})
            source = (await world.ids("connections"))["good"]
            await http.post(f"{V1}/connections/{source}/sync", json={})
            await called(listener, 1)
        async with serving(tmp_path):
            calls = await called(listener, 2)
    assert calls[0][1] == calls[1][1]


async def test_a_bad_subscription_is_refused(world, http):
    """By its address and its events; one needs the right to administer."""
    for body in ({}, {"url": "ftp://x"}, {"url": "http://x", "events": ["job.dreamt"]}):
        assert (await http.post(f"{V1}/webhooks", json=body)).status_code == 400
    async with world.raw("plnx_live_reader") as reader:
        assert (await reader.post(f"{V1}/webhooks", json={"url": "http://x"})).status_code == 403
    assert await world.count("create_webhook") == 0
