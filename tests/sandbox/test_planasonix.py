"""The Planasonix stand-in over loopback: its mounts, keys, limits, pages, and what stays until deleted."""

import json
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import pytest_asyncio
from planasonix_world import ROOTS, serving, until

from plait.sandbox.planasonix_settings import PlanasonixSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOUNT_NAMES = list(ROOTS)


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


def rows_of(answer, thing):
    """The entries of a list, whichever mount it is from."""
    body = answer.json()
    return body if isinstance(body, list) else body.get("data", body.get(thing))


def flat(entry):
    """An entry without JSON:API around it, in snake case."""
    entry = entry.get("data", entry)
    own = {key: value for key, value in entry.items() if key != "attributes"}
    return {_snake(key): value for key, value in {**own, **entry.get("attributes", {})}.items()}


def _snake(name):
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


# ---------------------------------------------------------------- mounts


PIPELINE = {"id", "name", "status", "tags", "createdAt", "updatedAt"}
LISTS = {
    "spec": (("data", "meta"), {"id", "type", "attributes"}),
    "docs": (("data", "meta"), {*PIPELINE, "projectId", "folderId"}),
    "versioned": (("data", "meta"), {*PIPELINE, "projectId", "folderId"}),
    "air": (
        ("pipelines", "total"),
        {"id", "name", "status", "tags", "created_at", "updated_at", "project_id", "folder_id"},
    ),
    "go": (None, {*PIPELINE, "sourceConnectionId", "destConnectionId"}),
}


@pytest.mark.parametrize("mount", LISTS)
async def test_each_mount_lists_in_its_own_form(http, mount):
    """One state, told as an envelope of JSON:API, as flat camel case, as flat snake case, and bare (§8)."""
    answer = await http.get(f"{ROOTS[mount][0]}/pipelines", params={"limit": 2})
    around, entry = LISTS[mount]
    assert (tuple(answer.json()) if around else None) == around
    rows = rows_of(answer, "pipelines")
    assert set(rows[0]) == entry
    assert {flat(row)["name"] for row in rows} >= {"draft", "resting"}


JOB = {"id", "status", "connection_id", "pipeline_id", "created_at", "queued_at", "progress", "error"}


@pytest.mark.parametrize(
    ("mount", "path"),
    [("spec", ["data", "attributes"]), ("docs", ["data", "job"]), ("air", []), ("go", [])],
)
async def test_each_mount_shows_a_job_where_its_clients_look(world, http, mount, path):
    """`job_id` at top level for the Airflow provider, `data.job` for the documentation (§3.4)."""
    connection = (await world.ids("connections"))["endless"]
    made = await http.post(f"{ROOTS[mount][1]}/connections/{connection}/sync", json={})
    assert made.status_code == {"air": 201, "go": 200}.get(mount, 202)
    job_id = (await world.effects("trigger_sync"))[0]["entity_id"]
    assert job_id in made.text
    shown = (await http.get(f"{ROOTS[mount][1]}/jobs/{job_id}")).json()
    for step in path:
        shown = shown[step]
    wanted = {"go": {"connectionId", "queuedAt"}, "air": {"job_id", "connection_id"}}.get(mount, JOB - {"id"})
    assert wanted <= set(shown)
    assert shown["error"] is None


@pytest.mark.parametrize("mount", MOUNT_NAMES)
async def test_errors_are_told_in_the_mounts_form(http, mount):
    """An object with a code, or a text; the missing field by its name (§2.3)."""
    resources = ROOTS[mount][0]
    gone = await http.get(f"{resources}/runs/run_unknown")
    bad = await http.post(f"{resources}/pipelines", json={"nodes": []})
    assert (gone.status_code, bad.status_code) == (404, 400)
    if mount in {"air", "go"}:
        assert gone.json() == {"error": "Run not found"}
        assert bad.json() == {"error": "Missing required field: name"}
    else:
        assert gone.json() == {"error": {"code": "not_found", "message": "Run not found"}}
        assert bad.json()["error"]["details"] == [{"field": "name", "issue": "blank"}]


async def test_orchestration_has_a_prefix_of_its_own(http):
    """A client that takes the other prefix is told 404, and finds out; nothing is behind other paths."""
    for path in ("docs/api/jobs", "docs/api/v1/pipelines", "go/api/jobs", "go/api/v1/runs", "v1/api/runs"):
        assert (await http.get(f"/planasonix/{path}")).status_code == 404
    for path in ("docs/api/v1/jobs", "go/api/v1/jobs", "v1/jobs", "air/api/v1/jobs", "air/api/v1/runs"):
        assert (await http.get(f"/planasonix/{path}")).status_code == 200
    for path in ("api/pipelines", "docs/pipelines", "", "storage/logs/run_x.log"):
        assert (await http.get(f"/planasonix/{path}")).status_code == 404
    wrong = await http.patch("/planasonix/go/api/pipelines", json={})
    assert (wrong.status_code, wrong.json()) == (405, {"error": "Method not allowed"})


async def test_the_guide_names_every_switch_and_its_example_works(world):
    """A switch that is not in the guide is not found; the fixture shown there is one."""
    guide = (Path(__file__).parents[2] / "docs" / "planasonix-sandbox.md").read_text(encoding="utf-8")
    assert [name for name in PlanasonixSettings.model_fields if f"`{name}`" not in guide] == []
    body = json.loads(guide.partition("-d '")[2].partition("'\n```")[0])
    seeded = await world.control("POST", "seed", body)
    assert (len(seeded["pipelines"]), len(seeded["connections"]), seeded["runs"]) == (40, 2, 560)
    async with world.raw("") as anybody:
        index = (await anybody.get("/_sandbox/")).json()
    bases = [index["services"]["planasonix"], *index["mounts"]["planasonix"]]
    assert sorted(bases) == sorted({each for pair in ROOTS.values() for each in pair})


GO_FIELDS = {
    "pipelines": {"id": str, "name": str, "sourceConnectionId": str, "destConnectionId": str, "status": str},
    "connections": {"id": str, "name": str, "type": str, "category": str},
    "runs": {"id": str, "pipelineId": str, "status": str, "startedAt": str, "recordsWritten": int},
    "schedules": {"id": str, "pipelineName": str, "cronExpression": str, "frequency": str, "enabled": bool},
}


async def test_the_go_client_finds_the_types_it_insists_on(world, http):
    """Its structures have exactly these names, and a text where it reads a text (§2.3 [vendor go])."""
    root, pipeline = ROOTS["go"][0], (await world.ids("pipelines"))["endless"]
    await http.post(f"{root}/pipelines/{pipeline}/run", json={"parameters": {"day": "monday"}})
    body = {"pipelineId": pipeline, "cronExpression": "0 2 * * *", "frequency": "daily"}
    await http.post(f"{root}/schedules", json=body)
    running = f"/planasonix/go/api/pipelines/{pipeline}/runs?limit=5"
    await until(lambda: http.get(running), lambda answer: answer.json()[0]["startedAt"])
    for what, fields in GO_FIELDS.items():
        answer = (await http.get(running if what == "runs" else f"{root}/{what}")).json()
        for row in answer["data"] if what == "schedules" else answer:
            assert {name: type(row[name]) for name in fields} == fields
    made = {"name": "x", "type": "mysql", "config": {"port": 3306, "tls": True, "host": "db"}}
    mixed = (await http.post("/planasonix/docs/api/connections", json=made)).json()["data"]["id"]
    params = (await http.get(f"{root}/connections/{mixed}")).json()["params"]
    assert params == {"port": "3306", "tls": "true", "host": "db"}
    gallery = (await http.get(f"{root}/connector-gallery")).json()["connectors"]
    assert set(gallery[0]) == {"id", "name", "category", "description"}


# ---------------------------------------------------------------- keys


async def test_any_prefix_of_a_key_will_do(world):
    """Four are known, and none is refused at any mount (§2.2)."""
    for key in ("plnx_live_a", "plnx_test_a", "plx_live_a", "plx_test_a", "flx_a"):
        async with world.raw(key) as http:
            for resources, _ in ROOTS.values():
                assert (await http.get(f"{resources}/pipelines")).status_code == 200


@pytest.mark.parametrize("key", ["", "sk-something", "plnx_live_revoked"])
async def test_without_a_good_key_nothing_is_shown_nor_done(world, key):
    """401 on reads and triggers alike, in the mount's words."""
    pipeline = (await world.ids("pipelines"))["good"]
    async with world.raw(key) as http:
        for resources, orchestration in ROOTS.values():
            assert (await http.get(f"{resources}/pipelines")).status_code == 401
            assert (await http.post(f"{resources}/pipelines/{pipeline}/run", json={})).status_code == 401
            assert (await http.get(f"{orchestration}/jobs")).status_code == 401
    assert await world.count("trigger_run") == 0


async def test_a_key_does_what_its_scopes_say(tmp_path):
    """A reader reads everything and changes nothing: 403; a scope opens its own calls only."""
    grants = {
        "plnx_live_reader": {"scopes": ("pipelines:read", "connections:read")},
        "plnx_live_runner": {"scopes": ("pipelines:read", "pipelines:run")},
        "plnx_live_syncer": {"scopes": ("sync:trigger",)},
    }
    async with serving(tmp_path, keys=grants) as world:
        pipeline, connection = (
            (await world.ids("pipelines"))["good"],
            (await world.ids("connections"))["good"],
        )
        calls = (
            ("GET", f"/planasonix/v1/pipelines/{pipeline}"),
            ("POST", f"/planasonix/v1/pipelines/{pipeline}/run"),
            ("DELETE", f"/planasonix/v1/pipelines/{pipeline}"),
            ("POST", f"/planasonix/v1/connections/{connection}/sync"),
            ("GET", "/planasonix/v1/jobs"),
        )
        found = {}
        for key in grants:
            async with world.raw(key) as http:
                found[key] = [(await http.request(method, path)).status_code for method, path in calls]
        assert found == {
            "plnx_live_reader": [200, 403, 403, 403, 403],
            "plnx_live_runner": [200, 202, 403, 403, 403],
            "plnx_live_syncer": [403, 403, 403, 202, 403],
        }
        assert await world.count("trigger_run") == await world.count("trigger_sync") == 1


async def test_another_organization_sees_nothing(world, http):
    """404 rather than 403, and empty lists (§2.2)."""
    ids, connections = await world.ids("pipelines"), await world.ids("connections")
    run = (await http.post(f"/planasonix/v1/pipelines/{ids['endless']}/run", json={})).json()["data"]["id"]
    async with world.raw("plnx_live_other") as other:
        for path in (f"pipelines/{ids['good']}", f"runs/{run}", f"connections/{connections['good']}"):
            assert (await other.get(f"/planasonix/v1/{path}")).status_code == 404
        assert (await other.delete(f"/planasonix/v1/runs/{run}")).status_code == 404
        for path in ("pipelines", "runs", "connections", "jobs", "schedules"):
            assert (await other.get(f"/planasonix/v1/{path}")).json()["data"] == []
    assert await world.count("cancel_run") == 0


@pytest.mark.parametrize(("tier", "plain", "high"), [("standard", 403, 403), ("professional", 202, 403)])
async def test_orchestration_may_be_missing_from_the_plan(tmp_path, tier, plain, high):
    """All of it, or its priority `high`; the resources stay."""
    async with serving(tmp_path, tier=tier) as world, world.raw() as http:
        connection = (await world.ids("connections"))["good"]
        path = f"/planasonix/v1/connections/{connection}/sync"
        assert (await http.post(path, json={"priority": "high"})).status_code == high
        assert (await http.post(path, json={"priority": "low"})).status_code == plain
        assert (await http.get("/planasonix/v1/pipelines")).status_code == 200


# ---------------------------------------------------------------- limits


RETRY_AFTER = {
    "seconds": lambda text: 0 < int(text) <= 60,
    "date": lambda text: -1 < parsedate_to_datetime(text).timestamp() - time.time() <= 61,
    "none": lambda text: text is None,
    "very_long": lambda text: text == "21600",
}


@pytest.mark.parametrize("form", RETRY_AFTER)
async def test_every_answer_announces_its_limit(tmp_path, form):
    """Also a refusal; a key that is spent gets 429 with each form of `Retry-After`, another key passes."""
    async with serving(tmp_path, limit=3, retry_after=form) as world, world.raw() as http:
        answers = [
            await http.get(f"/planasonix/v1/{path}") for path in ("jobs", "runs/nobody", "runs", "runs")
        ]
        async with world.raw("plx_live_second") as second:
            passed = await second.get("/planasonix/v1/runs")
    assert [answer.status_code for answer in answers] == [200, 404, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(answer.headers["x-ratelimit-limit"] == "3" for answer in answers)
    assert all(-1 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61 for answer in answers)
    assert RETRY_AFTER[form](answers[-1].headers.get("retry-after"))
    assert passed.status_code == 200


async def test_keys_of_a_workspace_may_share_a_limit(tmp_path):
    """The tighter of the two counts is announced; without headers nothing is."""
    async with (
        serving(tmp_path, workspace_limit=2, rate_headers=False) as world,
        world.raw() as http,
        world.raw("plx_live_second") as second,
        world.raw("plnx_live_other") as other,
    ):
        codes = [(await each.get("/planasonix/v1/runs")).status_code for each in (http, second, http, other)]
        refused = await second.get("/planasonix/v1/runs")
    assert codes == [200, 200, 429, 200]
    assert "x-ratelimit-limit" not in refused.headers
    assert "retry-after" in refused.headers


# ---------------------------------------------------------------- pages


PLACES = {
    ("spec", "pipelines"): lambda meta: meta["page"],
    ("docs", "pipelines"): lambda meta: meta,
    ("docs", "runs"): lambda meta: meta,
    ("docs", "schedules"): lambda meta: meta["page"],
}


@pytest.mark.parametrize(("mount", "what"), PLACES)
async def test_pages_follow_a_cursor(world, http, mount, what):
    """Each entry once, the newest first; the cursor stands where the page's source has it (§2.4)."""
    pipeline = (await world.ids("pipelines"))["good"]
    made = []
    for number in range(5):
        match what:
            case "runs":
                made.append((await world.control("POST", "runs", {"parent": pipeline}))["id"])
            case "schedules":
                body = {"pipelineId": pipeline, "cronExpression": f"{number} 3 1 1 *", "timezone": "UTC"}
                made.append(
                    (await http.post(f"{ROOTS['docs'][0]}/schedules", json=body)).json()["data"]["id"]
                )
            case _:
                body = {"name": f"made {number}", "projectId": "proj_x"}
                made.append(flat((await http.post(f"{ROOTS[mount][0]}/pipelines", json=body)).json())["id"])
    query = {"limit": 2} | ({"projectId": "proj_x"} if what == "pipelines" else {})
    found, cursors = [], []
    while True:
        body = (await http.get(f"{ROOTS[mount][0]}/{what}", params=query)).json()
        found += [row["id"] for row in body["data"]]
        cursors.append(PLACES[mount, what](body["meta"])["cursor"])
        if cursors[-1] is None:
            break
        query |= {"cursor": cursors[-1]}
    assert found == made[::-1]
    assert len(cursors) == len(set(cursors)) == 3


async def test_a_page_is_not_shifted_by_what_comes_while_it_is_read(world, http):
    """A new entry stands before the first page; the second goes on where the first ended."""
    pipeline = (await world.ids("pipelines"))["good"]
    made = [(await world.control("POST", "runs", {"parent": pipeline}))["id"] for _ in range(4)]
    first = (await http.get("/planasonix/v1/runs", params={"limit": 2})).json()
    await world.control("POST", "runs", {"parent": pipeline})
    query = {"limit": 2, "cursor": first["meta"]["page"]["cursor"]}
    second = (await http.get("/planasonix/v1/runs", params=query)).json()
    assert [row["id"] for row in first["data"] + second["data"]] == made[::-1]


async def test_cursors_that_end_badly(tmp_path):
    """Absent at the end, at the other place, or the same again: what a pager has to survive."""
    query = {"limit": 4}
    for number, (switches, last) in enumerate(
        [
            ({"cursor_end": "absent"}, {"page": {"limit": 4}}),
            ({"cursor_place": "meta"}, {"cursor": None}),
            ({"cursor_repeats": True}, {"page": {"limit": 4, "cursor": "its own"}}),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        async with serving(tmp_path / str(number), **switches) as world, world.raw() as http:
            first = (await http.get("/planasonix/v1/pipelines", params=query)).json()["meta"]
            cursor = first.get("page", first)["cursor"]
            end = (await http.get("/planasonix/v1/pipelines", params={**query, "cursor": cursor})).json()
        if switches.get("cursor_repeats"):
            assert end["meta"]["page"]["cursor"] == cursor
        else:
            assert end["meta"] == last


async def test_pages_by_offset_and_pages_that_are_none(world, http):
    """Jobs by limit and offset with a total; bare lists give everything, and ten runs (§2.4)."""
    connection, pipeline = (await world.ids("connections"))["endless"], (await world.ids("pipelines"))["good"]
    for _ in range(12):
        await world.control("POST", "runs", {"parent": pipeline})
        await world.control("POST", "jobs", {"parent": connection})
    pages = [
        (await http.get("/planasonix/air/api/v1/jobs", params={"limit": 5, "offset": offset})).json()
        for offset in (0, 5, 10, 15)
    ]
    assert [len(page["jobs"]) for page in pages] == [5, 5, 2, 0]
    assert {page["total"] for page in pages} == {12}
    assert len({row["job_id"] for page in pages for row in page["jobs"]}) == 12
    assert len((await http.get("/planasonix/go/api/pipelines", params={"limit": 1})).json()) == 6
    assert len((await http.get(f"/planasonix/go/api/pipelines/{pipeline}/runs")).json()) == 10
    assert len((await http.get("/planasonix/go/api/runs", params={"limit": 11})).json()) == 11


async def test_a_larger_limit_is_cut_without_a_word(tmp_path):
    """The page holds fewer than were asked for, and its cursor says that there are more."""
    async with serving(tmp_path, max_limit=3) as world, world.raw() as http:
        body = (await http.get("/planasonix/v1/pipelines", params={"limit": 1000})).json()
    assert (len(body["data"]), body["meta"]["page"]["limit"]) == (3, 3)
    assert body["meta"]["page"]["cursor"]


async def test_what_is_no_page_is_refused(http):
    """400, not another page."""
    for query in ("limit=0", "limit=many", "cursor=nonsense", "cursor=WzEsIDJd!", "offset=-1"):
        assert (await http.get(f"/planasonix/v1/pipelines?{query}")).status_code == 400, query


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("mount", MOUNT_NAMES)
async def test_a_connection_from_its_creation_to_its_end(world, http, mount):
    """Created, listed, read without its secret, renamed, deleted, gone; each change counted once."""
    resources = ROOTS[mount][0]
    settings, extra = ("params", {"category": "source"}) if mount == "go" else ("config", {})
    body = {"name": "mine", "type": "mysql", settings: {"host": "db", "password": "p4ss"}, **extra}
    made = await http.post(f"{resources}/connections", json=body)
    assert made.status_code == 201
    one = f"{resources}/connections/{flat(made.json())['id']}"
    shown = await http.get(one)
    assert flat(shown.json())[settings] == {"host": "db", "password": "********"}
    assert "p4ss" not in shown.text
    listed = rows_of(await http.get(f"{resources}/connections"), "connections")
    assert flat(listed[0])["name"] == "mine"
    assert settings not in flat(listed[0])
    changed = flat((await http.put(one, json=body | {"name": "ours"})).json())
    assert (changed["name"], changed[settings]["host"]) == ("ours", "db")
    assert (await http.delete(one)).status_code == 204
    assert (await http.get(one)).status_code == (await http.delete(one)).status_code == 404
    for operation in ("create_connection", "update_connection", "delete_connection"):
        assert await world.count(operation) == 1


async def test_connections_are_narrowed(http):
    """By type and by a part of the name; a percent sign is a letter like any other."""
    for name, kind in (("North 100%", "mysql"), ("North", "oracle"), ("South", "mysql")):
        await http.post("/planasonix/docs/api/connections", json={"name": name, "type": kind, "config": {}})
    for query, found in (
        ({"type": "mysql"}, ["South", "North 100%"]),
        ({"search": "north"}, ["North", "North 100%"]),
        ({"search": "%"}, ["North 100%"]),
        ({"search": "north", "type": "oracle"}, ["North"]),
    ):
        body = (await http.get("/planasonix/docs/api/connections", params=query)).json()
        assert [row["name"] for row in body["data"]] == found
        assert body["meta"]["total"] == len(found)


async def test_a_connection_in_use_stays(world, http):
    """409 while a pipeline uses it, 204 afterwards (§3.1)."""
    connection = (await world.ids("connections"))["good"]
    for name, pipeline in (await world.ids("pipelines")).items():
        assert (await http.delete(f"/planasonix/v1/connections/{connection}")).status_code == 409, name
        await http.delete(f"/planasonix/v1/pipelines/{pipeline}")
    assert (await http.delete(f"/planasonix/v1/connections/{connection}")).status_code == 204


@pytest.mark.parametrize("mount", ["docs", "go"])
async def test_settings_are_tested_without_a_connection(http, mount):
    """A failed test is a 200 that says so (§3.1)."""
    name = "params" if mount == "go" else "config"
    for host, success in (("db.example.com", True), ("db.invalid", False)):
        body = {"type": "mysql", name: {"host": host}}
        answer = await http.post(f"{ROOTS[mount][0]}/connections/test", json=body)
        assert (answer.status_code, answer.json()["success"]) == (200, success)
        assert answer.json()["message"]


BAD_BODIES = [
    ("docs", "connections", {"name": "x", "type": "mysql", "config": "text"}, "config"),
    ("docs", "connections", {"name": "x"}, "type"),
    ("docs", "pipelines", {"name": "x", "nodes": []}, "projectId"),
    ("docs", "pipelines", {"name": "x", "project_id": "snake"}, "projectId"),
    ("docs", "pipelines", {"name": "x", "projectId": "p", "status": "asleep"}, "status"),
    ("docs", "schedules", {"pipelineId": "p", "cronExpression": "* * * * *"}, "timezone"),
    ("spec", "pipelines", {"name": 7}, "name"),
    ("spec", "pipelines", ["a list"], None),
]


async def test_a_bad_body_is_refused_by_the_name_of_its_field(world, http):
    """400, in the spelling of the mount; nothing is made."""
    for mount, what, body, name in BAD_BODIES:
        answer = await http.post(f"{ROOTS[mount][0]}/{what}", json=body)
        assert answer.status_code == 400
        details = answer.json()["error"].get("details", [{"field": None}])
        assert details[0]["field"] == name
        assert await world.count(f"create_{what[:-1]}") == 0


async def test_the_go_mount_takes_texts_only(http):
    """`params` is a map of strings (§3.1)."""
    body = {"name": "x", "type": "mysql", "category": "source", "params": {"port": 3306}}
    assert (await http.post("/planasonix/go/api/connections", json=body)).status_code == 400


# ---------------------------------------------------------------- pipelines


@pytest.mark.parametrize("mount", MOUNT_NAMES)
async def test_a_pipeline_from_its_creation_to_the_trash(world, http, mount):
    """Created, read with its graph, changed, paused, resumed, deleted: gone from lists and by its id."""
    resources = ROOTS[mount][0]
    graph = {"nodes": [{"id": "a", "type": "source"}], "edges": [{"source": "a", "target": "b"}]}
    body = {"name": "mine", **graph} | ({} if mount == "go" else {"projectId": "proj_1"})
    made = flat((await http.post(f"{resources}/pipelines", json=body)).json())
    assert made["status"] == ("paused" if mount == "go" else "draft")
    one = f"{resources}/pipelines/{made['id']}"
    shown = flat((await http.get(one)).json())
    assert {name: shown[name] for name in graph} == graph
    await http.put(one, json={"name": "ours", "nodes": [], "edges": []})
    for word in ("active", "paused"):
        assert (await http.patch(f"{one}/status", json={"status": word})).status_code == 200
        shown = flat((await http.get(one)).json())
        assert (shown["name"], shown["status"], shown["nodes"]) == ("ours", word, [])
    listed = rows_of(await http.get(f"{resources}/pipelines"), "pipelines")
    assert flat(listed[0])["id"] == made["id"]
    assert "nodes" not in flat(listed[0])
    assert (await http.delete(one)).status_code == 204
    listed = rows_of(await http.get(f"{resources}/pipelines"), "pipelines")
    assert made["id"] not in {flat(row)["id"] for row in listed}
    assert (await http.get(one)).status_code == (await http.post(f"{one}/run", json={})).status_code == 404
    assert await world.count("set_pipeline_status") == 2


async def test_pipelines_are_narrowed_and_stand_by_their_last_change(world, http):
    """By project, status and name; what was changed last stands first."""
    ids = await world.ids("pipelines")
    await http.patch(f"/planasonix/v1/pipelines/{ids['good']}/status", json={"status": "active"})
    names = {}
    for query in ("status=active", "status=paused", "search=EST", "projectId=proj_default", "projectId=none"):
        body = (await http.get(f"/planasonix/docs/api/pipelines?{query}")).json()
        names[query] = [row["name"] for row in body["data"]]
    assert names["status=active"] == ["good", "shaky", "endless", "bad"]
    assert names["status=paused"] == names["search=EST"] == ["resting"]
    assert (len(names["projectId=proj_default"]), names["projectId=none"]) == (6, [])
    snake = (await http.get("/planasonix/docs/api/pipelines", params={"project_id": "none"})).json()
    assert len(snake["data"]) == 6, "a name that the page does not know is no filter"
