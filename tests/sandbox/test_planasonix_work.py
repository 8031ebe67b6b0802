"""Work at the Planasonix stand-in: runs, sync jobs, keys, cancels, and the faults that strike them."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from planasonix_world import QUICK, ROOTS, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1 = "/planasonix/v1"
AIR = "/planasonix/air/api/v1"
GO = "/planasonix/go/api"


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


async def pipelines(world):
    """Id of each pipeline, by name."""
    return await world.ids("pipelines")


async def connection(world, name="good"):
    """Id of a connection."""
    return (await world.ids("connections"))[name]


async def started(http, pipeline):
    """Id of a new run."""
    answer = await http.post(f"{V1}/pipelines/{pipeline}/run", json={})
    assert answer.status_code == 202, answer.text
    return answer.json()["data"]["id"]


async def run_of(http, run_id):
    """A run's attributes."""
    return (await http.get(f"{V1}/runs/{run_id}")).json()["data"]["attributes"]


async def ended(http, run_id):
    """A run's attributes once it has ended."""
    return await until(
        lambda: run_of(http, run_id), lambda run: run["status"] in {"succeeded", "failed", "canceled"}
    )


async def job_of(http, job_id):
    """A job as the Airflow provider sees it."""
    return (await http.get(f"{AIR}/jobs/{job_id}")).json()


async def sync(http, connection_id, **body):
    """An answer to a sync trigger."""
    return await http.post(f"{AIR}/connections/{connection_id}/sync", json=body)


async def job_ended(http, job_id):
    """A job once it has ended."""
    return await until(
        lambda: job_of(http, job_id), lambda job: job["status"] in {"completed", "failed", "cancelled"}
    )


# ---------------------------------------------------------------- runs


async def test_a_run_is_queued_runs_and_succeeds(tmp_path):
    """Its rows grow, its times are in order, and its list entry follows."""
    async with serving(tmp_path, queue_seconds=0.6, work_seconds=1.2) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        seen = [await run_of(http, run_id)]
        while seen[-1]["status"] != "succeeded":
            await asyncio.sleep(0.05)
            seen.append(await run_of(http, run_id))
        listed = (await http.get(f"{V1}/runs", params={"limit": 1})).json()["data"][0]
    assert list(dict.fromkeys(run["status"] for run in seen)) == ["queued", "running", "succeeded"]
    rows = [run["metrics"]["rows_written"] for run in seen]
    assert rows == sorted(rows)
    assert 0 < rows[len(rows) // 2] < rows[-1]
    assert 90 <= rows[-1] <= 110
    last = seen[-1]
    times = [datetime.fromisoformat(last[name]) for name in ("created_at", "started_at", "finished_at")]
    assert times == sorted(times)
    assert last["duration_seconds"] == pytest.approx(1.2)
    assert seen[0]["started_at"] is None
    assert listed["attributes"] == last
    assert "error" not in last


FORMS = {"object": dict, "string": str, "null": type(None)}


@pytest.mark.parametrize("form", FORMS)
async def test_what_fails_says_why_in_each_form(tmp_path, form):
    """`error` as object, text or null, of runs and of jobs; the Go client has a message of its own."""
    async with serving(tmp_path, error_form=form) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["bad"])
        job_id = (await sync(http, await connection(world, "bad"))).json()["job_id"]
        run, job = await ended(http, run_id), await job_ended(http, job_id)
        bare = (await http.get(f"{GO}/runs/{run_id}")).json()
    assert run["status"] == job["status"] == bare["status"] == "failed"
    assert isinstance(run["error"], FORMS[form])
    assert isinstance(job["error"], FORMS[form])
    if form == "object":
        assert set(job["error"]) == {"code", "message"}
        assert run["error"]["message"] == bare["errorMessage"]


async def test_a_shaky_pipeline_fails_and_then_succeeds(world, http):
    """Twice as its fixture says; the third run and those after it succeed."""
    pipeline = (await pipelines(world))["shaky"]
    words = [(await ended(http, await started(http, pipeline)))["status"] for _ in range(4)]
    assert words == ["failed", "failed", "succeeded", "succeeded"]


WORDS = {
    "spec": ("queued", "succeeded", "failed", "canceled"),
    "docs": ("queued", "succeeded", "failed", "canceled"),
    "air": ("queued", "succeeded", "failed", "canceled"),
    "go": ("running", "success", "failed", "cancelled"),
}


async def test_each_mount_has_its_own_words(world, http):
    """Of one and the same run; a job is `completed` and `cancelled` everywhere (§4)."""
    ids = await pipelines(world)
    runs = [await started(http, ids[name]) for name in ("good", "bad", "endless")]
    sources = [await connection(world, name) for name in ("good", "endless")]
    jobs = [(await sync(http, source)).json()["job_id"] for source in sources]
    await http.delete(f"{V1}/runs/{runs[2]}")
    await http.post(f"{AIR}/jobs/{jobs[1]}/cancel")
    for run_id in runs:
        await ended(http, run_id)
    assert (await job_ended(http, jobs[0]))["status"] == "completed"
    for mount, words in WORDS.items():
        found = [(await http.get(f"{ROOTS[mount][0]}/runs/{run_id}")).text for run_id in runs]
        assert all(f'"{word}"' in text for word, text in zip(words[1:], found, strict=True))
        assert '"cancelled"' in (await http.get(f"{ROOTS[mount][1]}/jobs/{jobs[1]}")).text


async def test_what_is_queued_is_running_to_the_go_client(tmp_path):
    """It knows no other word for what has not ended."""
    async with serving(tmp_path, queue_seconds=600) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        for mount, words in WORDS.items():
            assert f'"{words[0]}"' in (await http.get(f"{ROOTS[mount][0]}/runs/{run_id}")).text


async def test_words_nobody_has_heard_of(tmp_path):
    """A deployment may have others; lists are narrowed by them, too."""
    words = {"spec": {"runs": {"succeeded": "sunny"}, "jobs": {"running": "wandering"}}}
    async with serving(tmp_path, words=words) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        await until(lambda: run_of(http, run_id), lambda run: run["status"] == "sunny")
        assert len((await http.get(f"{V1}/runs?status=sunny")).json()["data"]) == 1
        assert (await http.get(f"{V1}/runs?status=succeeded")).status_code == 400


HIDING = {
    "no_id": lambda body, work: work not in body,
    "empty_id": lambda body, work: work not in body and '""' in body,
    "success_false": lambda body, work: json.loads(body)["success"] is False and work not in body,
}


@pytest.mark.parametrize("answer", HIDING)
async def test_a_2xx_that_does_not_say_what_it_made(tmp_path, answer):
    """The work is there and counted: no client may take that for nothing (§7.2 no. 4, 17)."""
    async with serving(tmp_path, trigger_answer=answer, trigger_status=200) as world, world.raw() as http:
        pipeline, source = (await pipelines(world))["good"], await connection(world)
        for number, (resources, orchestration) in enumerate(ROOTS.values(), 1):
            run = await http.post(f"{resources}/pipelines/{pipeline}/run", json={})
            job = await http.post(f"{orchestration}/connections/{source}/sync", json={"idempotency_key": "k"})
            made = (await world.effects("trigger_run"))[-1]["entity_id"]
            assert (run.status_code, job.status_code) == (200, 200)
            assert HIDING[answer](run.text, made), run.text
            assert HIDING[answer](job.text, (await world.effects("trigger_sync"))[0]["entity_id"]), job.text
            assert await world.count("trigger_run", pipeline) == number
        assert await world.count("trigger_sync", source) == 1


async def test_a_second_run_starts_beside_the_first(world, http):
    """No source knows a guard: two triggers, two runs, both counted (§6.1)."""
    pipeline = (await pipelines(world))["endless"]
    made = {await started(http, pipeline) for _ in range(3)}
    assert {row["entity_id"] for row in await world.effects("trigger_run", pipeline)} == made
    assert len(made) == 3


async def test_a_second_run_is_skipped(tmp_path):
    """409, and nothing is made, until the first has ended."""
    async with serving(tmp_path, run_rule="skip") as world, world.raw() as http:
        pipeline = (await pipelines(world))["endless"]
        first = await started(http, pipeline)
        assert (await http.post(f"{V1}/pipelines/{pipeline}/run", json={})).status_code == 409
        assert await world.count("trigger_run") == 1
        await http.delete(f"{V1}/runs/{first}")
        await started(http, pipeline)


async def test_a_second_run_waits_for_its_turn(tmp_path):
    """One after the other, in the order in which they were asked for."""
    async with serving(tmp_path, run_rule="queue") as world, world.raw() as http:
        pipeline = (await pipelines(world))["good"]
        made = [await started(http, pipeline) for _ in range(3)]
        runs = [await ended(http, run_id) for run_id in made]
    spans = [(run["started_at"], run["finished_at"]) for run in runs]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


async def test_a_paused_pipeline_runs_when_asked_and_a_draft_does_not(tmp_path):
    """Whether it does is not known (§9), so a switch has the other answer."""
    async with serving(tmp_path) as world, world.raw() as http:
        ids = await pipelines(world)
        await started(http, ids["resting"])
        assert (await http.post(f"{V1}/pipelines/{ids['draft']}/run", json={})).status_code == 409
    (tmp_path / "other").mkdir()
    async with serving(tmp_path / "other", paused_pipeline="409") as world, world.raw() as http:
        path = f"{V1}/pipelines/{(await pipelines(world))['resting']}/run"
        assert (await http.post(path, json={})).status_code == 409
        assert await world.count("trigger_run") == 0


async def test_runs_are_narrowed(world, http):
    """By pipeline, state and time; each mount spells the pipeline its own way, and a date is a whole day."""
    ids = await pipelines(world)
    for name in ("good", "good", "bad"):
        await ended(http, await started(http, ids[name]))
    await started(http, ids["endless"])
    day, docs = datetime.now(UTC).date(), ROOTS["docs"][0]
    yesterday, tomorrow = day - timedelta(days=1), day + timedelta(days=1)
    newest = (await http.get(f"{docs}/runs", params={"pipelineId": ids["bad"]})).json()["data"][0]
    for path, found in (
        (f"{docs}/runs?pipelineId={ids['good']}", 2),
        (f"{AIR}/runs?pipeline_id={ids['good']}", 2),
        (f"{V1}/runs?pipeline_id={ids['good']}&status=failed", 0),
        (f"{docs}/pipelines/{ids['good']}/runs", 2),
        (f"{docs}/runs?status=failed", 1),
        (f"{GO}/runs?status=success", 2),
        (f"{docs}/runs?dateRange={yesterday}..{tomorrow}", 4),
        (f"{docs}/runs?dateRange={yesterday}..{yesterday}", 0),
        (f"{docs}/runs?from={tomorrow}", 0),
        (f"{docs}/runs?from={yesterday}&to={tomorrow}", 4),
        (f"{docs}/runs?from={newest['startedAt'].replace('Z', '%2B00:00')}", 1),
    ):
        body = (await http.get(path)).json()
        rows = body if isinstance(body, list) else body.get("data", body.get("runs"))
        assert len(rows) == found, path
    for query in ("dateRange=today", "from=soon", "status=asleep"):
        assert (await http.get(f"{docs}/runs?{query}")).status_code == 400
    assert (await http.get(f"{docs}/pipelines/pl_unknown/runs")).status_code == 404


async def test_the_documentation_lists_runs_without_their_metrics(world, http):
    """They are on the single run only; the other mounts show them in lists."""
    run_id = await started(http, (await pipelines(world))["good"])
    await ended(http, run_id)
    docs = ROOTS["docs"][0]
    listed = (await http.get(f"{docs}/runs")).json()["data"][0]
    assert set(listed) == {
        "id", "pipelineId", "status", "trigger", "startedAt", "finishedAt", "durationSeconds",
    }  # fmt: skip
    single = (await http.get(f"{docs}/runs/{run_id}")).json()["data"]
    assert set(single) - set(listed) == {"metrics"}
    assert set(single["metrics"]) == {"rowsRead", "rowsWritten", "bytes", "cost"}
    bare = (await http.get(f"{GO}/runs")).json()[0]
    assert bare["recordsWritten"] == single["metrics"]["rowsWritten"]


async def test_nodes_and_logs_of_a_run(world, http):
    """Three nodes one after the other; lines by node, behind a cursor, behind a time."""
    run_id = await started(http, (await pipelines(world))["bad"])
    run = await ended(http, run_id)
    nodes = (await http.get(f"{GO}/runs/{run_id}/nodes")).json()
    assert [node["name"] for node in nodes] == ["extract", "transform", "load"]
    assert nodes[-1]["status"] == "failed"
    assert nodes[0]["startedAt"] == run["started_at"]
    text = (await http.get(f"{V1}/runs/{run_id}/logs")).text
    lines = [json.loads(line) for line in text.splitlines()]
    assert text == (await http.get(f"{V1}/runs/{run_id}/logs")).text
    assert run["error"]["message"] in lines[-1]["message"]
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    for query, found in (
        ({"since": lines[2]["cursor"]}, lines[3:]),
        (
            {"since": lines[-1]["timestamp"]},
            [line for line in lines if line["timestamp"] >= lines[-1]["timestamp"]],
        ),
        ({"node_id": nodes[0]["id"]}, [line for line in lines if line["node_id"] == nodes[0]["id"]]),
    ):
        answer = await http.get(f"{V1}/runs/{run_id}/logs", params=query)
        assert [json.loads(line) for line in answer.text.splitlines()] == found


@pytest.mark.parametrize("form", ["text", "urls"])
async def test_logs_in_other_forms(tmp_path, form):
    """Text, or an address that gives the same text without a key."""
    async with serving(tmp_path, logs=form) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        await ended(http, run_id)
        answer = await http.get(f"{V1}/runs/{run_id}/logs")
        if form == "urls":
            async with world.raw("") as anybody:
                answer = await anybody.get(answer.json()["data"]["urls"][0])
    assert answer.headers["content-type"].startswith("text/plain")
    assert run_id in answer.text.splitlines()[0]
    assert "rows written" in answer.text.splitlines()[-1]


# ---------------------------------------------------------------- cancels


@pytest.mark.parametrize(
    ("mode", "end"), [("immediate", "cancelled"), ("late", "cancelled"), ("finishes", "completed")]
)
async def test_a_cancel_is_a_request(tmp_path, mode, end):
    """At once, later, or in vain: and it is counted once, however often it is asked (§4)."""
    async with serving(tmp_path, cancel=mode, cancel_seconds=1.5) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["endless"])
        job_id = (await sync(http, await connection(world, "endless"))).json()["job_id"]
        await until(lambda: job_of(http, job_id), lambda job: job["status"] == "running")
        answers = [await http.post(f"{AIR}/jobs/{job_id}/cancel") for _ in range(2)]
        first = await http.delete(f"{V1}/runs/{run_id}")
        assert (answers[0].status_code, first.status_code) == (200, 202)
        assert set(answers[0].json()) == {"job_id", "status"}
        assert answers[0].json()["status"] == ("cancelled" if mode == "immediate" else "running")
        assert answers[1].status_code == (409 if mode == "immediate" else 200)
        assert (await job_ended(http, job_id))["status"] == end
        assert (await ended(http, run_id))["status"] == ("succeeded" if mode == "finishes" else "canceled")
        assert await world.count("cancel_job") == await world.count("cancel_run") == 1


@pytest.mark.parametrize("status", [409, 400])
async def test_cancelling_what_has_finished(tmp_path, status):
    """409 or 400, by configuration (§3.3); nothing is counted."""
    async with serving(tmp_path, finished_cancel=status) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        job_id = (await sync(http, await connection(world))).json()["job_id"]
        await ended(http, run_id)
        await job_ended(http, job_id)
        assert (await http.delete(f"{V1}/runs/{run_id}")).status_code == status
        assert (await http.post(f"{AIR}/jobs/{job_id}/cancel")).status_code == status
        assert await world.count("cancel_job") == await world.count("cancel_run") == 0


# ---------------------------------------------------------------- sync jobs


async def test_a_job_and_its_results(world, http):
    """Queued, running, completed; what its streams wrote sums up."""
    answer = await sync(http, await connection(world), streams=["a", "b", "c"], sync_type="full")
    assert (answer.status_code, set(answer.json())) == (201, {"job_id", "status"})
    job_id = answer.json()["job_id"]
    job = await job_ended(http, job_id)
    assert (job["sync_type"], job["streams"], job["error"]) == ("full", ["a", "b", "c"], None)
    results = (await http.get(f"{AIR}/jobs/{job_id}/results")).json()
    total = results["summary"]["total_rows_synced"]
    assert [stream["name"] for stream in results["streams"]] == ["a", "b", "c"]
    assert (
        sum(stream["rows_synced"] for stream in results["streams"]) == total == job["progress"]["rows_synced"]
    )
    assert results["summary"]["duration_seconds"] == pytest.approx(QUICK, abs=0.01)
    assert (await http.get(f"{V1}/jobs/{job_id}/results")).json()["data"] == results


async def test_a_second_sync_of_a_connection_is_another_active_job(world, http):
    """409 with its id at every mount; another connection, or this one later, is free (§6.1)."""
    endless, good = await connection(world, "endless"), await connection(world)
    active = (await sync(http, endless)).json()["job_id"]
    for _, orchestration in ROOTS.values():
        answer = await http.post(f"{orchestration}/connections/{endless}/sync", json={"sync_type": "full"})
        assert (answer.status_code, answer.json()["existing_job_id"]) == (409, active)
    assert (await sync(http, good)).status_code == 201
    await http.post(f"{AIR}/jobs/{active}/cancel")
    assert (await sync(http, endless)).status_code == 201
    assert await world.count("trigger_sync", endless) == 2


async def test_any_other_409_has_its_own_reason(world, http):
    """A paused connection names no job."""
    answer = await sync(http, await connection(world, "paused"))
    assert (answer.status_code, answer.json()) == (409, {"error": "The connection is paused"})


LIVES = {"for_ever": (1, 1), "until_end": (1, 2), "ignored": (2, 3)}
"""Jobs after a repeat while the first goes on, and after another repeat once it has ended."""


@pytest.mark.parametrize("life", LIVES)
async def test_how_long_a_key_is_honoured(tmp_path, life):
    """For ever, until the job ends, or not at all; the count is the far end's own (§6.1)."""
    async with serving(tmp_path, keys_honoured=life, single_job=False) as world, world.raw() as http:
        source = await connection(world, "endless")
        first = (await sync(http, source, idempotency_key="k")).json()["job_id"]
        second = (await sync(http, source, idempotency_key="k")).json()["job_id"]
        while_it_runs = await world.count("trigger_sync", source)
        await http.post(f"{AIR}/jobs/{first}/cancel")
        third = (await sync(http, source, idempotency_key="k")).json()["job_id"]
        effects = await world.effects("trigger_sync", source)
    assert (while_it_runs, len(effects)) == LIVES[life]
    assert len({first, second, third}) == len(effects)
    assert {row["external_key"] for row in effects} == {"k"}


async def test_fifty_at_once_with_one_key_make_one_job(world, http):
    """Claiming the key and making the job are one step."""
    source = await connection(world)
    answers = await asyncio.gather(*(sync(http, source, idempotency_key="race") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert await world.count("trigger_sync") == 1


async def test_a_known_key_may_be_a_409(tmp_path):
    """It names the first job, also after its end; another body with the key is refused without one."""
    switches = {"replay": "409", "same_key_other_body": "409"}
    async with serving(tmp_path, **switches) as world, world.raw() as http:
        source = await connection(world)
        job_id = (await sync(http, source, idempotency_key="k")).json()["job_id"]
        await job_ended(http, job_id)
        again = await sync(http, source, idempotency_key="k")
        other = await sync(http, source, idempotency_key="k", sync_type="full")
        assert (again.status_code, again.json()["existing_job_id"]) == (409, job_id)
        assert (other.status_code, set(other.json())) == (409, {"error"})
        assert await world.count("trigger_sync") == 1


PLACES = {"both": (True, True), "body": (True, False), "header": (False, True)}


@pytest.mark.parametrize("place", PLACES)
async def test_where_the_server_reads_the_key(tmp_path, place):
    """In the body, in a header, or in either (C10)."""
    async with serving(tmp_path, key_place=place, single_job=False) as world, world.raw() as http:
        path = f"{AIR}/connections/{await connection(world)}/sync"
        found = []
        for body, headers in (({"idempotency_key": "k"}, {}), ({}, {"Idempotency-Key": "h"})):
            made = {(await http.post(path, json=body, headers=headers)).json()["job_id"] for _ in range(2)}
            found.append(len(made) == 1)
    assert tuple(found) == PLACES[place]


@pytest.mark.parametrize(("scope", "jobs"), [("workspace", 1), ("connection", 2)])
async def test_whether_two_connections_share_a_key(tmp_path, scope, jobs):
    """Of a workspace, the second connection is handed the job of the first (§7.2 no. 12)."""
    async with serving(tmp_path, key_scope=scope) as world, world.raw() as http:
        ids = [await connection(world, name) for name in ("good", "bad")]
        made = {(await sync(http, each, idempotency_key="k")).json()["job_id"] for each in ids}
    assert len(made) == jobs


async def test_metadata_is_shown_where_the_switch_says_so(tmp_path):
    """No source shows that it is."""
    for echo in (True, False):
        folder = tmp_path / str(echo)
        folder.mkdir()
        async with serving(folder, metadata_echo=echo) as world, world.raw() as http:
            job_id = (await sync(http, await connection(world), metadata={"mine": 1})).json()["job_id"]
            job, listed = await job_of(http, job_id), (await http.get(f"{AIR}/jobs")).json()["jobs"][0]
        assert job.get("metadata") == listed.get("metadata") == ({"mine": 1} if echo else None)


async def test_jobs_are_narrowed_and_bad_requests_refused(world, http):
    """By connection and by state; a word that is none is a 400, an unknown connection a 404."""
    good, endless = await connection(world), await connection(world, "endless")
    await job_ended(http, (await sync(http, good)).json()["job_id"])
    await sync(http, endless)
    for query, found in (
        (f"connection_id={good}", 1),
        ("status=completed", 1),
        ("status=cancelled", 0),
        ("", 2),
    ):
        assert (await http.get(f"{AIR}/jobs?{query}")).json()["total"] == found
    for body in ({"sync_type": "some"}, {"priority": "urgent"}, {"streams": "a"}, {"metadata": []}):
        assert (await sync(http, good, **body)).status_code == 400
    assert (await sync(http, "conn_unknown")).status_code == 404
    assert (await http.get(f"{AIR}/jobs/job_unknown")).status_code == 404
    assert await world.count("trigger_sync") == 2


async def test_a_backfill(world, http):
    """Each call makes one: no key is known."""
    body = {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-02T00:00:00Z", "tables": ["a"]}
    source = await connection(world)
    answers = [
        await http.post(f"{orchestration}/connections/{source}/backfill", json=body)
        for orchestration in (ROOTS["docs"][1], AIR)
    ]
    shown = answers[0].json()["data"]["backfill"]
    assert (answers[0].status_code, answers[1].status_code) == (202, 201)
    assert (shown["tables"], shown["connection_id"], shown["progress_percent"]) == (["a"], source, 0)
    assert answers[1].json()["backfill_id"] != shown["id"]
    for bad in ({"start_at": body["start_at"]}, body | {"end_at": "tomorrow"}):
        assert (await http.post(f"{AIR}/connections/{source}/backfill", json=bad)).status_code == 400
    assert await world.count("backfill", source) == 2


# ---------------------------------------------------------------- strangers, lag and faults


async def test_somebody_else_starts_work_that_is_not_counted_as_ours(world, http):
    """A schedule's run and another program's job, for tests of adoption."""
    ids, source = await pipelines(world), await connection(world, "endless")
    run = (await world.control("POST", "runs", {"parent": ids["endless"]}))["id"]
    asked = {"sync_type": "full", "metadata": {"whose": "theirs"}}
    job = (await world.control("POST", "jobs", {"parent": source, "trigger": "schedule", "asked": asked}))[
        "id"
    ]
    assert (await run_of(http, run))["trigger"] == "schedule"
    assert (await job_of(http, job))["sync_type"] == "full"
    assert (await sync(http, source)).json()["existing_job_id"] == job
    assert await world.count("trigger_run") == await world.count("trigger_sync") == 0


async def test_new_work_is_missing_from_lists_for_a_while(tmp_path):
    """By its id it is there at once; so is what a fault lets lag."""
    async with serving(tmp_path, list_lag=2.0) as world, world.raw() as http:
        run_id = await started(http, (await pipelines(world))["good"])
        job_id = (await sync(http, await connection(world))).json()["job_id"]
        assert (await http.get(f"{V1}/runs")).json()["data"] == []
        assert (await http.get(f"{AIR}/jobs")).json() == {"jobs": [], "total": 0}
        assert (await run_of(http, run_id))["status"] in {"queued", "running", "succeeded"}
        await until(lambda: http.get(f"{V1}/runs"), lambda answer: answer.json()["data"])
        listed = await until(lambda: http.get(f"{AIR}/jobs"), lambda answer: answer.json()["total"])
        assert [job["job_id"] for job in listed.json()["jobs"]] == [job_id]
    (tmp_path / "other").mkdir()
    async with serving(tmp_path / "other") as world, world.raw() as http:
        await world.fault("listing_lag", "trigger_run", seconds=600)
        pipeline = (await pipelines(world))["good"]
        lagging, at_once = await started(http, pipeline), await started(http, pipeline)
        listed = (await http.get(f"{V1}/pipelines/{pipeline}/runs")).json()["data"]
        assert [run["id"] for run in listed] == [at_once]
        assert await run_of(http, lagging)


@pytest.mark.parametrize("mount", ROOTS)
async def test_faults_strike_at_every_mount(world, mount):
    """Lost answer and 502 leave an effect, 401 and 429 none; a server that never answers is one, too."""
    pipeline = (await pipelines(world))["endless"]
    path = f"{ROOTS[mount][0]}/pipelines/{pipeline}/run"
    async with world.raw() as http:
        for kind, more, effects in (
            ("after_accept", {}, 1),
            ("status_after", {"status": 502}, 2),
            ("rate_limit", {}, 2),
            ("status", {"status": 401}, 2),
            ("before_accept", {}, 2),
            ("hang", {"seconds": 0.2}, 2),
        ):
            await world.fault(kind, "trigger_run", **more)
            try:
                answer = await http.post(path, json={})
            except httpx.TransportError:
                answer = None
            wanted = {"rate_limit": 429}.get(kind, more.get("status"))
            assert (answer and answer.status_code) == wanted
            assert await world.count("trigger_run", pipeline) == effects


async def test_a_poll_meets_a_401_in_the_middle(world, http):
    """The third look at a run, and only that."""
    run_id = await started(http, (await pipelines(world))["endless"])
    await world.fault("status", "get_run", status=401, nth=[3])
    codes = [(await http.get(f"{V1}/runs/{run_id}")).status_code for _ in range(4)]
    assert codes == [200, 200, 401, 200]


async def test_work_goes_on_after_a_restart(tmp_path):
    """Its plan is stored with it: the next process ends it when it is due; keys and count stay."""
    async with serving(tmp_path, queue_seconds=0, work_seconds=600) as world, world.raw() as http:
        ids, source = await pipelines(world), await connection(world)
        waiting, endless = await started(http, ids["shaky"]), await started(http, ids["endless"])
        job_id = (await sync(http, source, idempotency_key="k")).json()["job_id"]
    async with serving(tmp_path, cancel="finishes") as world, world.raw() as http:
        assert await pipelines(world) == ids
        assert (await sync(http, source, idempotency_key="k")).json()["job_id"] == job_id
        assert [(await run_of(http, run_id))["status"] for run_id in (waiting, endless)] == ["running"] * 2
        await http.delete(f"{V1}/runs/{endless}")
        assert (await ended(http, endless))["status"] == "succeeded"
        assert await world.count("trigger_run") == 2
        assert await world.count("trigger_sync") == 1
