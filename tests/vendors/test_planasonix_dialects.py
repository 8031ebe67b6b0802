"""Addresses, bodies and answers of each dialect of Planasonix, on scripted answers (planasonix.md §7.1)."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from plait.http import RetryPolicy
from plait.http.errors import (
    ConfigurationError,
    InvalidInput,
    MalformedResponse,
    OutcomeUnknown,
    RequestRejected,
    ServerFailed,
)
from plait.vendors.planasonix import bodies
from plait.vendors.planasonix.client import PlanasonixClient, connect, root_of
from plait.vendors.planasonix.dialects import BARE, HOSTED, PRESETS, SPEC
from plait.vendors.planasonix.errors import NotTriggered
from plait.vendors.planasonix.models import (
    Connection,
    NewConnection,
    NewPipeline,
    NewSchedule,
    PipelineRun,
    Schedule,
    State,
    SyncJob,
    SyncOptions,
)
from plait.vendors.planasonix.operations import LIST_JOBS, LIST_PIPELINES
from plait.vendors.planasonix.shapes import unwrap

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def opened(vendor):
    """Makes an unopened client of the scripted vendor."""

    def make(base="", **options) -> PlanasonixClient:
        return connect(f"{vendor.url}{base}", api_key="plnx_live_secret", **{"policy": ONCE, **options})

    return make


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("base", "dialect", "resources", "orchestration"),
    [
        ("https://h/v1", "spec", "/v1/pipelines", "/v1/jobs"),
        ("https://h", "spec", "/v1/pipelines", "/v1/jobs"),
        ("https://h/v1/", "spec", "/v1/pipelines", "/v1/jobs"),
        ("https://h", "hosted", "/api/pipelines", "/api/v1/jobs"),
        ("https://h/api", "hosted", "/api/pipelines", "/api/v1/jobs"),
        ("https://h/api/v1", "hosted", "/api/pipelines", "/api/v1/jobs"),
        ("https://h/v1/api", "versioned", "/v1/api/pipelines", "/v1/api/v1/jobs"),
        ("https://h/v1", "versioned", "/v1/api/pipelines", "/v1/api/v1/jobs"),
        ("https://h/v1", "hosted", "/v1/api/pipelines", "/v1/api/v1/jobs"),
        ("https://h/x/api/v1", "flat", "/x/api/v1/pipelines", "/x/api/v1/jobs"),
        ("https://v1:8443/api", "bare", "/api/pipelines", "/api/v1/jobs"),
        ("http://h:9000/tenant/a", "bare", "/tenant/a/api/pipelines", "/tenant/a/api/v1/jobs"),
    ],
)
def test_a_prefix_stands_in_an_address_once(base, dialect, resources, orchestration):
    """Scheme, port and path of a base URL stay, whether or not the prefix is written in it."""
    spoken = PRESETS[dialect]
    root = root_of(base, spoken)
    origin = "/".join(base.split("/")[:3])
    assert root.startswith(origin)
    assert f"{root}{spoken.path(LIST_PIPELINES)}" == f"{origin}{resources}"
    assert f"{root}{spoken.path(LIST_JOBS)}" == f"{origin}{orchestration}"


async def test_requests_go_where_the_address_says(vendor, answer, opened):
    """Port and path of the base are used, and key and organization go along."""
    vendor.handler = lambda _: answer({"data": [], "meta": {"cursor": None}})
    async with opened("/tenant/a/api", dialect="hosted", organization_id="org_1") as client:
        await client.list_pipelines()
        await client.list_jobs()
    assert vendor.calls() == ["GET /tenant/a/api/pipelines", "GET /tenant/a/api/v1/jobs"]
    assert {request.headers["authorization"] for request in vendor.asked} == {"Bearer plnx_live_secret"}
    assert {request.headers["x-organization-id"] for request in vendor.asked} == {"org_1"}


@pytest.mark.parametrize(
    ("listed", "dialect"),
    [([{"id": "pl_1"}], BARE), ([], BARE), ({"data": [{"id": "pl_1"}]}, HOSTED), ({"data": []}, HOSTED)],
    ids=str,
)
async def test_detection_asks_by_reads_alone_and_once(vendor, answer, opened, listed, dialect):
    """404 and a web page lead on, one list ends it; calls at once share the finding."""

    def handler(request):
        if request.path == "/api/pipelines":
            return answer(listed)
        return answer({"error": "no route"}, 404)

    vendor.handler = handler
    async with opened(dialect="detect") as client:
        await asyncio.gather(client.list_pipelines(), client.list_pipelines())
        assert await client.dialect() is dialect
    assert [call for call in vendor.calls() if call != "GET /api/pipelines"] == ["GET /v1/pipelines"]
    assert {request.method for request in vendor.asked} == {"GET"}


async def test_detection_does_not_take_a_web_page_for_an_api(vendor, answer, reply, opened):
    """A site that answers every address with its page is not the API."""

    def handler(request):
        if request.path.startswith("/v1/api/"):
            return answer({"data": []})
        return reply(200, (b"<html><title>Planasonix</title></html>",), media_type="text/html")

    vendor.handler = handler
    async with opened(dialect="detect") as client:
        assert (await client.dialect()).name == "versioned"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_proves_a_path(vendor, answer, opened, status):
    """What refuses us is there: the dialect is known though the list is not ours to read."""
    vendor.handler = lambda request: answer(
        {"error": "no"}, status if request.path == "/api/pipelines" else 404
    )
    async with opened(dialect="detect") as client:
        assert await client.dialect() is HOSTED


async def test_detection_finds_orchestration_alone(vendor, answer, opened):
    """A server with nothing but the orchestration API is known by its jobs."""

    def handler(request):
        found = request.path == "/api/v1/jobs"
        return answer({"jobs": [], "total": 0} if found else {"error": "no"}, 200 if found else 404)

    vendor.handler = handler
    async with opened("/api/v1", dialect="detect") as client:
        assert await client.list_jobs() == []


async def test_detection_that_finds_nothing_says_what_it_tried(vendor, answer, opened):
    """An address without the API is an error of configuration; a server that is down is not."""
    vendor.handler = lambda _: answer({"error": "no"}, 404)
    async with opened(dialect="detect") as client:
        with pytest.raises(ConfigurationError, match="/v1/api/pipelines"):
            await client.list_pipelines()
        vendor.handler = lambda _: answer({"error": "down"}, 503)
        with pytest.raises(ServerFailed):
            await client.list_pipelines()


def test_an_unknown_dialect_is_refused():
    """The known ones are named."""
    with pytest.raises(ConfigurationError, match="hosted"):
        connect("https://h", api_key="k", dialect="graphql")


async def test_links_come_from_the_configured_interface_only(opened):
    """Never from the API's host: without an interface address there is no link."""
    run, job = PipelineRun(id="run_1"), SyncJob(id="job/1")
    async with opened() as client:
        assert client.link(run) is None
    async with opened(interface_url="https://app.example/w/") as client:
        assert client.link(run) == "https://app.example/w/runs/run_1"
        assert client.link(job) == "https://app.example/w/jobs/job%2F1"


# ---------------------------------------------------------------- what is sent

NEW = NewConnection(
    name="n", type="postgres", settings={"host": "h", "port": 5432}, credential_id="cred", category="source"
)


def test_connections_are_written_for_the_dialect():
    """`config` and `credentialId`, or `params` of texts and a category."""
    assert bodies.connection(SPEC, NEW) == {
        "name": "n",
        "type": "postgres",
        "config": {"host": "h", "port": 5432},
        "credentialId": "cred",
    }
    assert bodies.connection(BARE, NEW) == {
        "name": "n",
        "type": "postgres",
        "category": "source",
        "params": {"host": "h", "port": "5432"},
    }
    with pytest.raises(InvalidInput, match="category"):
        bodies.connection(BARE, NEW.model_copy(update={"category": None}))


def test_a_secret_is_sent_and_not_shown():
    """`SecretStr` on our side, the text itself in the request, nested ones too."""
    settings = {"password": SecretStr("hunter2"), "ssh": {"keys": [SecretStr("k1")]}}
    new = NewConnection(name="n", type="t", settings=settings, category="source")
    assert bodies.connection(SPEC, new)["config"] == {"password": "hunter2", "ssh": {"keys": ["k1"]}}
    assert bodies.connection(BARE, new)["params"] == {"password": "hunter2", "ssh": '{"keys": ["k1"]}'}
    assert "hunter2" not in f"{new!r} {new.model_dump()} {new.model_dump_json()}"


def test_a_hidden_secret_is_never_written_back_as_stars():
    """Settings written whole need what the server hides; a new name alone needs no settings."""
    current = Connection(id="c", name="n", type="t", settings={"host": "h", "password": "********"})
    given = {"name": None, "credential_id": None}
    with pytest.raises(InvalidInput, match="password"):
        bodies.connection_change(SPEC, current, settings={"host": "h2"}, **given)
    written = bodies.connection_change(SPEC, current, settings={"password": "new"}, **given)
    assert written["config"] == {"host": "h", "password": "new"}
    renamed = bodies.connection_change(SPEC, current, name="m", settings=None, credential_id=None)
    assert renamed == {"name": "m", "type": "t"}


def test_runs_and_schedules_are_written_for_the_dialect():
    """`variables` or `parameters`, nothing for nothing, and `frequency` where it is needed."""
    assert bodies.run(SPEC, {"a": 1}, "env") == {"variables": {"a": 1}, "environmentId": "env"}
    assert bodies.run(BARE, {"a": 1}, None) == {"parameters": {"a": 1}}
    assert bodies.run(BARE, {}, None) == {}
    new = NewSchedule(pipeline_id="p", cron_expression="0 3 * * *")
    plain = {"pipelineId": "p", "cronExpression": "0 3 * * *", "timezone": "UTC", "enabled": True}
    assert bodies.schedule(HOSTED, new) == plain
    assert bodies.schedule(BARE, new) == {**plain, "frequency": "custom"}
    assert bodies.pipeline(BARE, NewPipeline(name="n", project_id="p"))["status"] == "paused"


def test_a_changed_schedule_is_written_whole():
    """A zone is always sent, and a frequency that no longer holds is not kept."""
    current = Schedule(id="s", pipeline_id="p", cron_expression="0 3 * * *", frequency="daily", enabled=False)
    nothing = {"cron_expression": None, "timezone": None, "enabled": None}
    kept = bodies.schedule_change(BARE, current, **nothing)
    assert kept == {
        "pipelineId": "p",
        "cronExpression": "0 3 * * *",
        "timezone": "UTC",
        "enabled": False,
        "frequency": "daily",
    }
    moved = bodies.schedule_change(BARE, current, **{**nothing, "cron_expression": "5 5 * * 1"})
    assert (moved["cronExpression"], moved["frequency"]) == ("5 5 * * 1", "custom")


async def test_a_key_goes_into_body_header_and_metadata(vendor, answer, opened):
    """Whichever of them a server reads, it is the same key; the caller's metadata stays beside it."""
    vendor.handler = lambda _: answer({"job_id": "job_1"}, 201)
    async with opened() as client:
        job = await client.trigger_sync("c", SyncOptions(metadata={"dag": "d"}), idempotency_key="key-1")
    (request,) = vendor.asked
    assert request.json() == {"metadata": {"dag": "d", "plait": "key-1"}, "idempotency_key": "key-1"}
    assert request.headers["idempotency-key"] == "key-1"
    assert (job.id, job.connection_id, job.state) == ("job_1", "c", State.QUEUED)


# ---------------------------------------------------------------- what is read

FLAT_RUN = {"id": "r", "pipeline_id": "p", "status": "failed", "error": {"code": "E", "message": "no"}}
RUNS = [
    {"data": {"id": "r", "type": "run", "attributes": {k: v for k, v in FLAT_RUN.items() if k != "id"}}},
    {"data": FLAT_RUN},
    {"data": {"run": FLAT_RUN}},
    FLAT_RUN,
    {"runId": "r", "pipelineId": "p", "status": "failed", "errorMessage": "E: no"},
    {"run_id": "r", "pipeline_id": "p", "state": "FAILED", "error": "E: no"},
]


@pytest.mark.parametrize("shown", RUNS, ids=range(len(RUNS)))
async def test_one_run_in_every_envelope(vendor, answer, opened, shown):
    """Flat or nested, snake or camel case, error as object or text: the same run."""
    vendor.handler = lambda _: answer(shown)
    async with opened() as client:
        run = await client.get_run("r")
    assert (run.id, run.pipeline_id, run.state, run.failure) == ("r", "p", State.FAILED, "E: no")


def test_a_resources_kind_is_not_its_type():
    """JSON:API's `type` names what it is; a connection's own type stands in its attributes."""
    shown = {"data": {"id": "c", "type": "connection", "attributes": {"name": "n"}}}
    assert Connection.model_validate(unwrap(shown)).type is None
    shown["data"]["attributes"]["type"] = "postgres"
    assert Connection.model_validate(unwrap(shown)).type == "postgres"


@pytest.mark.parametrize("moment", ["2026-11-01T00:00:00Z", "2026-11-01T00:00:00", 1793491200])
def test_times_have_a_zone(moment):
    """With a zone, without one, as an epoch: one moment."""
    assert PipelineRun(id="r", started_at=moment).started_at == datetime(2026, 11, 1, tzinfo=UTC)


def test_what_cannot_be_used_is_left_out():
    """A time or a number that is none does not make a run unreadable, and unknown fields are kept."""
    run = PipelineRun.model_validate(
        {
            "id": "r",
            "status": None,
            "startedAt": "soon",
            "metrics": {"rowsRead": "many", "bytes": "12"},
            "x": 1,
        }
    )
    assert (run.started_at, run.rows_read, run.metrics.bytes, run.state) == (None, None, 12, State.UNKNOWN)
    assert run.model_extra == {"x": 1}
    assert PipelineRun.model_validate(run.model_dump(mode="json")) == run


@pytest.mark.parametrize(
    "said", [{}, {"success": True}, {"success": True, "runId": ""}, {"data": {}}, [], "ok", None], ids=str
)
async def test_a_2xx_without_a_run_is_unknown(vendor, answer, opened, said):
    """The run may exist: nothing is reported as started, and nothing as failed."""
    vendor.handler = lambda _: answer(said)
    async with opened() as client:
        with pytest.raises(OutcomeUnknown) as caught:
            await client.trigger_run("p")
    assert caught.value.answered
    assert not isinstance(caught.value, NotTriggered)


async def test_a_2xx_that_says_no_is_no_success(vendor, answer, opened):
    """`success: false` beside a run id is not a run."""
    vendor.handler = lambda _: answer({"success": False, "message": "quota", "runId": "r"})
    async with opened() as client:
        with pytest.raises(NotTriggered, match="quota"):
            await client.trigger_run("p")


# ---------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "shape",
    [
        lambda rows: {"data": rows, "meta": {"page": {"limit": 50, "cursor": None}}},
        lambda rows: {"data": rows, "meta": {"cursor": None}},
        lambda rows: {"data": rows, "meta": {"total": len(rows)}},
        lambda rows: {"data": {"jobs": rows, "total": len(rows)}},
        lambda rows: {"jobs": rows, "total": len(rows)},
        lambda rows: {"data": rows},
        lambda rows: rows,
    ],
    ids=range(7),
)
async def test_a_list_in_every_envelope(vendor, answer, opened, shape):
    """Two jobs, asked for once."""
    vendor.handler = lambda _: answer(shape([{"job_id": "a"}, {"id": "b"}]))
    async with opened() as client:
        assert [job.id for job in await client.list_jobs()] == ["a", "b"]
    assert len(vendor.asked) == 1


async def test_an_offset_goes_on_until_the_total(vendor, answer, opened):
    """Jobs by offset; what begins meanwhile in front of the list hides none of the others."""
    jobs = [{"job_id": f"job_{number}"} for number in range(7)]

    def handler(request):
        offset = int(request.query.get("offset", "0"))
        page = answer({"jobs": jobs[offset : offset + 3], "total": len(jobs)})
        if offset == 0:
            jobs.insert(0, {"job_id": "new"})
        return page

    vendor.handler = handler
    async with opened() as client:
        assert [job.id for job in await client.list_jobs()] == [f"job_{number}" for number in range(7)]


@pytest.mark.parametrize(
    "page",
    [
        lambda rows: {"jobs": rows, "total": 9},
        lambda rows: {"data": rows, "meta": {"cursor": "again", "total": 9}},
        lambda _: [{"id": f"job_{number}"} for number in range(100)],
        lambda _: [{"name": "no id"}],
        lambda _: {"message": "no list"},
        lambda rows: [*rows, {"id": 7}],
    ],
    ids=["total", "cursor", "full_page", "no_id", "no_list", "id_no_text"],
)
async def test_half_a_list_is_never_given_for_a_whole_one(vendor, answer, opened, page):
    """A server that repeats itself before its end, or lists what is no job: an error, not a part."""
    vendor.handler = lambda _: answer(page([{"id": "a"}, {"id": "b"}]))
    async with opened() as client:
        with pytest.raises(MalformedResponse):
            await client.list_jobs()
    assert len(vendor.asked) <= 3


async def test_a_server_that_ignores_its_own_cursors_is_no_endless_list(vendor, answer, opened):
    """Always the first page, and always another cursor: an error at the second one."""
    vendor.handler = lambda _: answer({"data": [{"id": "a"}], "meta": {"cursor": f"c{len(vendor.asked)}"}})
    async with opened() as client:
        with pytest.raises(MalformedResponse, match="repeats a page"):
            await client.list_jobs()
    assert len(vendor.asked) == 2


async def test_filters_that_a_server_ignores_are_kept_by_us(vendor, answer, opened):
    """Runs of another pipeline, jobs of another connection, in another state, are not given."""
    vendor.handler = lambda _: answer(
        {
            "data": [
                {"id": "a", "pipelineId": "p", "connection_id": "c", "status": "failed"},
                {"id": "b", "pipelineId": "q", "connection_id": "d", "status": "failed"},
                {"id": "c", "pipelineId": "p", "connection_id": "c", "status": "canceled"},
            ]
        }
    )
    async with opened() as client:
        assert [r.id for r in await client.list_runs(pipeline_id="p", state=State.FAILED)] == ["a"]
        assert [j.id for j in await client.list_jobs(connection_id="c", state=State.CANCELLED)] == ["c"]
    assert [request.query.get("status") for request in vendor.asked] == ["failed", None]


@pytest.mark.parametrize("status", [404, 405])
async def test_a_server_without_a_list_of_all_runs_is_asked_by_pipeline(vendor, answer, opened, status):
    """The Go client's backend shows no `/runs`: a pipeline's are found all the same, all of them are not."""
    vendor.handler = lambda request: (
        answer({"data": [{"id": "a"}]}) if request.path == "/v1/pipelines/p/runs" else answer({}, status)
    )
    async with opened() as client:
        assert [run.id for run in await client.list_runs(pipeline_id="p")] == ["a"]
        with pytest.raises(RequestRejected):
            await client.list_runs()


async def test_a_window_of_the_newest_is_no_broken_list(vendor, answer, opened):
    """The bare dialect shows a pipeline's newest 100 runs and no way to the others."""
    vendor.handler = lambda _: answer([{"id": f"run_{number}"} for number in range(100)])
    async with opened(dialect="bare") as client:
        assert len(await client.list_runs(pipeline_id="p")) == 100
        assert {run.pipeline_id for run in await client.list_pipeline_runs("p")} == {"p"}


# ---------------------------------------------------------------- logs

LOGS = [
    ("text/plain", b"2026-11-01 INFO one\n\ntwo\n", "2026-11-01 INFO one\ntwo"),
    ("application/x-ndjson", b'{"message":"one","level":"info"}\n{"msg":"two"}\n', "INFO one\ntwo"),
    ("application/json", b'{"message":"only"}', "only"),
    ("application/json", b'{"data":[{"message":"one"},"two"]}', "one\ntwo"),
    ("application/json", b'{"data":{"lines":["one","two"]},"meta":{"cursor":"c1"}}', "one\ntwo"),
    ("application/json", b'{"data":{"text":"one\\ntwo"}}', "one\ntwo"),
    ("application/json", b'["{broken", "two"]', "{broken\ntwo"),
    ("application/json", b'{"urls":["https://files.example/log?sig=1"]}', ""),
    ("text/plain", b"https://files.example/log?sig=1\n", ""),
    ("application/json", b"null", ""),
    ("text/plain", b"", ""),
]


@pytest.mark.parametrize("log", LOGS, ids=range(len(LOGS)))
async def test_a_log_in_every_form(vendor, reply, opened, log):
    """Text, JSON lines, a JSON object or addresses of files."""
    media_type, content, text = log
    vendor.handler = lambda _: reply(200, (content,), media_type=media_type)
    async with opened() as client:
        logs = await client.get_run_logs("r", node_id="n", since=datetime(2026, 11, 1, tzinfo=UTC))
    assert logs.tail(9) == text
    assert (logs.urls == ["https://files.example/log?sig=1"]) == (b"https" in content)
    assert vendor.asked[0].query == {"nodeId": "n", "since": "2026-11-01T00:00:00Z"}


def test_no_secret_is_shown_by_a_model():
    """A connection's settings are in no text that is made of it."""
    made = NewConnection(name="n", type="t", settings={"password": "hunter2"})
    read = Connection.model_validate({"id": "c", "config": {"password": "hunter2"}})
    assert "hunter2" not in f"{made!r} {read!r}"
    assert json.loads(read.model_dump_json())["settings"] == {"password": "hunter2"}
