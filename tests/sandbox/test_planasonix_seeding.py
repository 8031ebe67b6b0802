"""Whole worlds in the Planasonix stand-in: fixtures, past nights, and lists that stay fast."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from planasonix_world import ROOTS, serving, until
from pydantic import ValidationError

from plait.sandbox.planasonix_fixture import SMALL, ConnectionGroup, Fixture, History, PipelineGroup
from plait.sandbox.planasonix_records import Pipeline
from plait.sandbox.planasonix_seeding import plant
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.planasonix_store import Filter, Page, Shelf
from plait.sandbox.store import Store

V1 = "/planasonix/v1"
NIGHT = Fixture(
    pipelines=(
        PipelineGroup(name="sync_{n:02d}", count=36, tags=("nightly",), rows=5000),
        PipelineGroup(name="broken_{n}", count=3, tags=("nightly",), behaviour="fail"),
        PipelineGroup(name="stuck", behaviour="hang"),
    ),
    history=History(nights=14, until=datetime(2026, 3, 14, tzinfo=UTC), failing=0.1),
)


async def _everything(http, path, **query):
    found, cursor = [], None
    while True:
        params = {"limit": 100, **query} | ({"cursor": cursor} if cursor else {})
        body = (await http.get(f"{V1}/{path}", params=params)).json()
        found += [{"id": row["id"], **row["attributes"]} for row in body["data"]]
        cursor = body["meta"]["page"]["cursor"]
        if cursor is None:
            return found


async def test_forty_pipelines_and_fourteen_nights(tmp_path):
    """A run of each in each night, newest first, with rows and durations about the pipeline's own."""
    async with serving(tmp_path, fixture=NIGHT, limit=10_000) as world, world.raw() as http:
        runs, pipelines = await _everything(http, "runs"), await _everything(http, "pipelines")
        second = await _everything(http, "runs", **{"from": "2026-03-10", "to": "2026-03-11"})
        assert await world.count("trigger_run") == 0
        summary = await world.control("GET", "summary")
    assert (len(pipelines), len(runs)) == (40, 560)
    assert Counter(run["started_at"][:10] for run in runs) == {
        f"2026-03-{day:02d}": 40 for day in range(1, 15)
    }
    assert set(Counter(run["pipeline_id"] for run in runs).values()) == {14}
    assert [run["created_at"] for run in runs] == sorted((run["created_at"] for run in runs), reverse=True)
    assert {run["started_at"][:10] for run in second} == {"2026-03-10", "2026-03-11"}
    failed = [run for run in runs if run["status"] == "failed"]
    assert 25 < len(failed) < 100
    assert all(run["error"]["message"] for run in failed)
    names = {row["id"]: row["name"] for row in pipelines}
    rows = [run["metrics"]["rows_written"] for run in runs if names[run["pipeline_id"]].startswith("sync")]
    assert 4500 <= max(rows) <= 5500
    assert len(set(rows)) > 100
    assert sum(summary["work"]["run"].values()) == 560


async def test_the_same_seed_makes_the_same_world(tmp_path):
    """Ids, times, rows and failures; another seed another one."""
    worlds = []
    for number, seed in enumerate((7, 7, 8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with serving(folder, seed=seed, fixture=NIGHT) as world, world.raw() as http:
            pipelines = await world.ids("pipelines")
            started = await http.post(f"{V1}/pipelines/{pipelines['stuck']}/run", json={})
            runs = (await http.get(f"{V1}/runs", params={"limit": 100, "to": "2026-03-14"})).json()["data"]
            worlds.append((pipelines, started.json()["data"]["id"], runs))
    assert worlds[0] == worlds[1]
    assert worlds[0][0].keys() == worlds[2][0].keys()
    assert worlds[0][0] != worlds[2][0]
    assert worlds[0][2] != worlds[2][2]


async def test_a_fixture_adds_or_replaces_and_is_whole_or_nothing(tmp_path):
    """A name twice is refused with a word on what to do; `replace` leaves the count of effects alone."""
    async with serving(tmp_path) as world, world.raw() as http:
        before = await world.ids("pipelines")
        await http.post(f"{V1}/pipelines/{before['good']}/run", json={})
        more = {"pipelines": [{"name": "more_{n}", "count": 2}], "connections": [{"name": "more"}]}
        seeded = await world.control("POST", "seed", more)
        assert [row["name"] for row in seeded["pipelines"]] == ["more_1", "more_2"]
        assert (await world.ids("pipelines")).keys() == before.keys() | {"more_1", "more_2"}
        for bad, words in (
            ({"pipelines": [{"name": "fresh"}, {"name": "more_1"}]}, "more_1"),
            ({"pipelines": [{"name": "same", "count": 2}]}, "{n}"),
            ({"pipelines": [{"nme": "x"}]}, "nme"),
        ):
            answer = await http.post("/_sandbox/planasonix/seed", json=bad)
            assert (answer.status_code, words in answer.text) == (422, True)
        assert "fresh" not in await world.ids("pipelines")
        await world.control("POST", "seed", {"replace": True, "pipelines": [{"name": "only"}]})
        assert list(await world.ids("pipelines")) == ["only"]
        assert (await http.get(f"{V1}/runs")).json()["data"] == []
        assert await world.count("trigger_run") == 1


async def test_how_work_goes_can_be_changed(tmp_path):
    """A pipeline that hung succeeds from then on; what has begun keeps its plan."""
    async with serving(tmp_path) as world, world.raw() as http:
        pipeline = (await world.ids("pipelines"))["endless"]
        await world.control("POST", "runs", {"parent": pipeline})
        change = {"ids": [pipeline, "pl_unknown"], "workload": {"behaviour": "ok", "seconds": 0}}
        assert await world.control("POST", "workload", change) == {"changed": 1}
        await world.control("POST", "runs", {"parent": pipeline, "trigger": "manual"})
        answer = await until(
            lambda: http.get(f"{V1}/runs"),
            lambda answer: answer.json()["data"][0]["attributes"]["status"] == "succeeded",
        )
        runs = answer.json()["data"]
        assert [run["attributes"]["status"] for run in runs] == ["succeeded", "running"]
        refused = await http.post("/_sandbox/planasonix/runs", json={"parent": "pl_unknown"})
        assert refused.status_code == 404


async def test_the_last_night_is_the_one_before_today(tmp_path):
    """Where nothing else is said; and so many runs as are asked for are spread over nights and pipelines."""
    fixture = Fixture(
        pipelines=(PipelineGroup(count=3),), history=History(nights=4, runs=30, seconds=(60, 90))
    )
    async with serving(tmp_path, fixture=fixture) as world, world.raw() as http:
        runs = await _everything(http, "runs")
    days = Counter(run["started_at"][:10] for run in runs)
    assert (len(runs), max(days.values()) - min(days.values())) == (30, 1)
    assert max(days) <= (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert set(Counter(run["pipeline_id"] for run in runs).values()) <= {8, 9, 10, 11, 12}
    assert all(45 < run["duration_seconds"] < 120 for run in runs)


def test_a_fixture_that_is_none_says_so():
    """A misspelt field cannot pass as no field; the first world has each behaviour once."""
    for bad in ({"pipelins": []}, {"pipelines": [{"behaviour": "sleepy"}]}, {"history": {"nights": 0}}):
        with pytest.raises(ValidationError):
            Fixture.model_validate(bad)
    assert {group.behaviour for group in SMALL.pipelines} == {"ok", "fail", "hang", "flaky"}


LISTS = {
    "runs": ("planasonix_work", (), ()),
    "runs of a pipeline": ("planasonix_work", ("parent = ?",), ("pl_x",)),
    "runs in a state": ("planasonix_work", ("state IN (?)",), ("failed",)),
    "runs since": ("planasonix_work", ("at >= ?", "at <= ?"), (0.0, 9e9)),
    "pipelines": ("planasonix_item", (), ()),
}


@pytest.mark.parametrize("name", LISTS)
async def test_no_list_is_read_to_its_end_for_a_page(tmp_path, name):
    """A page is found and ordered by an index, wherever it begins: no scan, no sorting."""
    table, terms, values = LISTS[name]
    kind = "pipeline" if table == "planasonix_item" else "run"
    where = Filter(("organization = ?", "kind = ?", *terms), ("acme", kind, *values))
    statements = []
    store = Store(tmp_path / "state.db")
    await store.open()
    try:

        def work(transaction):
            shelf = Shelf(transaction, 0)
            shelf.create()
            plant(shelf, NIGHT, PlanasonixSettings(), 0)
            transaction.connection.set_trace_callback(statements.append)
            page = Page(limit=20, after=(2e9, 10))
            found, _ = shelf.items(Pipeline, where, page) if kind == "pipeline" else shelf.works(where, page)
            transaction.connection.set_trace_callback(None)
            asked = next(each for each in statements if each.startswith("SELECT at"))
            plan = transaction.connection.execute(f"EXPLAIN QUERY PLAN {asked}").fetchall()
            return found, " ".join(row[3] for row in plan)

        found, plan = await store.transact(work)
    finally:
        await store.close()
    assert len(found) == (0 if name == "runs of a pipeline" else 20)
    assert re.search(
        r"SEARCH \w+ USING INDEX \w+ \(organization=\? AND kind=\?.*\bat[<>(,]", plan.replace("(at", "at(")
    )
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


async def test_a_paused_connection_and_a_destination_come_with_a_fixture(tmp_path):
    """Groups of connections, too, and pipelines are laid between them."""
    fixture = Fixture(
        connections=(
            ConnectionGroup(name="in_{n}", count=2),
            ConnectionGroup(name="out", category="destination"),
        ),
        pipelines=(PipelineGroup(count=2),),
    )
    async with serving(tmp_path, fixture=fixture) as world, world.raw() as http:
        ids = await world.ids("connections")
        rows = (await http.get(f"{ROOTS['go'][0]}/pipelines")).json()
    assert {row["sourceConnectionId"] for row in rows} == {ids["in_1"], ids["in_2"]}
    assert {row["destConnectionId"] for row in rows} == {ids["out"]}
