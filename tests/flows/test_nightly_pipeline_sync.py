"""`nightly_pipeline_sync` against a real Prefect server and the sandbox: once for a night, and reported."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from nightly_world import NIGHT, NightlyWorld
from planasonix_world import DEFAULTS
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule

from flows._nightly_cancel import cancel_started
from flows._nightly_dates import last_played, missed, nights_of, note_played, tonight
from flows._nightly_models import FailOn, Night, NightFailed, NightlyPipelineSync
from flows.nightly_pipeline_sync import nightly_pipeline_sync
from plait.http.errors import InvalidInput
from plait.ledger import Ledger
from plait.ledger.views import list_effects, show_effect
from plait.pipelines.play import Played
from plait.sandbox.process import SandboxProcess, start_sandbox

ROOT = Path(__file__).parent.parent.parent
UTC_ZONE = ZoneInfo("UTC")
GOOD = {"count": 3, "name": "good_{n}", "tags": ["nightly"], "rows": 1000}
BAD = {"name": "bad", "behaviour": "fail"}
ENDLESS = {"name": "endless", "behaviour": "hang"}


@pytest.fixture(scope="module")
def night_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for these tests."""
    state = tmp_path_factory.mktemp("nightly") / "state.db"
    with start_sandbox(state=state, planasonix=DEFAULTS) as process:
        yield process


@pytest.fixture
def nights(night_sandbox: SandboxProcess, tmp_path: Path, prefect_server: str) -> NightlyWorld:
    """The sandbox and an empty ledger."""
    del prefect_server
    return NightlyWorld(night_sandbox, tmp_path)


async def play(nights: NightlyWorld, **changes: object) -> tuple[State, NightlyPipelineSync]:
    """One run of the flow: its final state and what it gave back."""
    state = await nightly_pipeline_sync(**nights.arguments(**changes), return_state=True)
    result = await state.aresult(raise_on_failure=False)
    return state, result.result if isinstance(result, NightFailed) else result


async def task_runs_of(state: State) -> int:
    """How many task runs the flow run had."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        return len(await client.read_task_runs(flow_run_filter=mine))


async def artifacts_of(state: State) -> dict[str, str]:
    """The flow run's artifacts: key to data."""
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=mine)
    return {artifact.key or artifact.type or "": str(artifact.data) for artifact in found}


async def test_a_night_runs_once_and_is_reported(nights: NightlyWorld) -> None:
    """Everything due is started once, ends are told, and the same night again starts and writes nothing."""
    ids = nights.seed(GOOD, BAD, ENDLESS, history={"nights": 14})
    state, result = await play(nights, log_lines=5)
    assert state.is_failed()
    assert "bad (failed)" in (state.message or "")
    assert "endless (cancelled)" in (state.message or "")
    became = {one.name: one.became for one in result.tonight.played}
    assert became == dict.fromkeys(["good_1", "good_2", "good_3"], "succeeded") | {
        "bad": "failed",
        "endless": "cancelled",
    }
    assert Counter(nights.started()) == Counter(ids.values())
    assert await task_runs_of(state) <= 4
    await check_what_people_get(state, result)
    again, second = await play(nights, log_lines=5)
    assert again.is_failed()
    assert second.tonight.started == 0
    assert second.tonight.rows_written == 0
    assert second.tonight.requests <= 3
    assert second.tonight.played == result.tonight.played
    assert len(nights.started()) == 5


async def check_what_people_get(state: State, result: NightlyPipelineSync) -> None:
    """Table, words and picture in Prefect; one page and one picture as files; fifteen nights in the chart."""
    found = await artifacts_of(state)
    assert "good" in found["nightly-pipeline-sync"]
    assert "succeeded" in found["nightly-pipeline-sync"]
    assert "not done within 3 s; cancelled" in found["nightly-pipeline-sync-report"]
    assert found["nightly-pipeline-sync-chart"].startswith("data:image/png;base64,iVBOR")
    assert len(result.past) == 15
    assert result.past[-1].night == NIGHT
    assert result.past[-1].runs == 5
    assert result.past[-1].rows > 2000
    earlier = [one for one in result.past[:-1] if one.runs]
    assert len(earlier) >= 12
    assert all(one.uncounted == 0 and one.rows > 0 and one.seconds > 0 for one in earlier)
    page = await asyncio.to_thread(result.report.read_text, encoding="utf-8")
    assert "<script" not in page
    assert page.count('<svg class="chart"') == 2
    assert "End of the log" in page
    picture = await asyncio.to_thread(result.chart.read_bytes)
    assert picture.startswith(b"\x89PNG")


async def test_policies_choose_what_is_due(nights: NightlyWorld) -> None:
    """After a night: nothing is stale, what failed is due again, and `none` only brings in the history."""
    ids = nights.seed(GOOD, BAD)
    state, _ = await play(nights, fail_on="none")
    assert state.is_completed()
    day = timedelta(days=1)
    _, stale = await play(nights, logical_date=NIGHT + day, trigger="stale", pipelines=["good_*"])
    assert [one.name for one in stale.tonight.played] == []
    assert stale.tonight.chosen == 3
    _, failed = await play(nights, logical_date=NIGHT + 2 * day, trigger="failed", fail_on="critical")
    assert [one.name for one in failed.tonight.played] == ["bad"]
    state, none = await play(nights, logical_date=NIGHT + 3 * day, trigger="none")
    assert state.is_completed()
    assert none.tonight.played == []
    assert none.tonight.rows_written == 0
    assert Counter(nights.started()) == Counter(ids.values()) + Counter([ids["bad"]])
    with pytest.raises(NightFailed, match=r"bad \(failed\)") as caught:
        await nightly_pipeline_sync(**nights.arguments(pipelines=["bad"]))
    assert [one.became for one in caught.value.result.tonight.played] == ["failed"]


async def test_what_is_chosen(nights: NightlyWorld) -> None:
    """Ids, names, patterns and tags; connections too; what fits nothing is told and stops nobody."""
    ids = nights.seed(
        GOOD,
        {"name": "paused one", "status": "paused"},
        {"name": "good_draft", "status": "draft"},
        {"name": "other"},
        connections=[{"name": "orders"}, {"name": "crm"}],
    )
    state, result = await play(
        nights,
        pipelines=["good_[12]", ids["other"], "paused one", "nobody", "none_*"],
        tags=["nightly", "strange"],
        connections=["orders"],
        critical=["nobody", "good_1"],
        fail_on="critical",
    )
    became = {one.name: one.became for one in result.tonight.played}
    done = ["good_1", "good_2", "good_3", "other", "orders", "paused one"]
    assert became == dict.fromkeys(done, "succeeded") | {"nobody": "refused"}
    assert result.tonight.played[0].name == "good_1"
    assert result.tonight.fits_nothing == ["nobody", "none_*", "tag strange"]
    assert nights.started("trigger_sync") == [ids["orders"]]
    assert state.is_failed()
    assert "nobody (refused)" in (state.message or "")
    assert "good_1" not in (state.message or "").split(":")[-1]


async def test_missed_nights_are_made_up_for(nights: NightlyWorld) -> None:
    """Two nights after the last one, the one between is played first, as a night of its own."""
    ids = nights.seed({"name": "daily"})
    day = timedelta(days=1)
    variables = {"day": "{logical_date}"}
    await play(nights, variables=variables, catch_up=5)
    assert nights.started() == [ids["daily"]]
    _, result = await play(nights, logical_date=NIGHT + 2 * day, variables=variables, catch_up=5)
    assert [night.night for night in result.nights] == [NIGHT + day, NIGHT + 2 * day]
    assert [night.started for night in result.nights] == [1, 1]
    assert len(nights.started()) == 3
    async with nights.ledger.get_client() as ledger:
        assert await last_played(ledger, "test") == NIGHT + 2 * day
        listed = await ledger.ask(partial(list_effects, which="done"))
        shown = [await ledger.ask(partial(show_effect, external_id=one.external_id)) for one in listed]
    values = {one.inputs["values"]["day"] for one in shown if one.operation == "trigger_run"}
    assert values == {str(NIGHT + n * day) for n in range(3)}


async def test_the_last_words_of_a_night(nights: NightlyWorld) -> None:
    """A message to people and a question to a database, once for a night; failing there fails no pipeline."""
    nights.seed({"name": "daily"})
    words = {
        "placet_channel": nights.channel,
        "placet": nights.placet,
        "planck": nights.planck,
        "workspace": "Operations",
        "question": "How many customers are there per country?",
    }
    state, result = await play(nights, **words)
    assert state.is_completed()
    assert result.answer is not None
    assert result.answer.blocks
    assert "How many customers" in await asyncio.to_thread(result.report.read_text, encoding="utf-8")
    async with nights.placet.get_client() as client:
        posted = (await client.list_messages(nights.channel)).data
    assert any("1 of 1 due succeeded" in (message.text or "") for message in posted)
    _, again = await play(nights, **words)
    assert again.answer == result.answer
    assert nights.counted("placet", "post_message") == 1
    assert nights.counted("planck", "send_message") == 1
    state, lost = await play(nights, **words | {"placet_channel": "nowhere", "workspace": "Nowhere"})
    assert state.is_failed()
    assert [one.became for one in lost.tonight.played] == ["succeeded"]
    assert len(lost.problems) == 2
    assert "Nowhere" in lost.problems[0]


async def test_cancelling_a_night_stops_what_it_started(
    nights: NightlyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook that Prefect calls cancels this night's runs at the vendor, and nobody else's."""
    ids = nights.seed(ENDLESS)
    monkeypatch.setenv("PLAIT_PLANASONIX_URL", nights.planasonix.base_url)
    monkeypatch.setenv("PLAIT_PLANASONIX_DIALECT", "hosted")
    monkeypatch.setenv("PLAIT_PLANASONIX_API_KEY", nights.planasonix.api_key.get_secret_value())
    monkeypatch.setenv("PLAIT_LEDGER_URL", nights.ledger.url.get_secret_value())
    async with nights.planasonix.get_client() as client:
        foreign = await client.trigger_run(ids["endless"])
        _, result = await play(nights, cancel_late=False, deadline_minutes=0.01)
        ours = result.tonight.played[0]
        assert ours.became == "running"
        parameters = {"logical_date": NIGHT.isoformat(), "series": "test", "timezone": "UTC"}
        run = FlowRun(flow_id=uuid4(), parameters=parameters)
        await cancel_started(nightly_pipeline_sync, run, State(type="CANCELLED"))
        assert (await client.get_run(ours.run_id or "")).ended
        assert not (await client.get_run(foreign.id)).ended
        await client.cancel_run(foreign.id)
    _, again = await play(nights, cancel_late=False, deadline_minutes=0.01)
    assert again.tonight.played[0].became == "cancelled"
    assert len(nights.started()) == 2


@pytest.mark.usefixtures("prefect_server")
async def test_a_deployment_names_the_nights_that_were_missed() -> None:
    """Only nights of an active schedule count, in its own time zone; a deployment without one misses none."""
    cron = CronSchedule(cron="0 2 * * 1-5", timezone="Europe/Berlin")
    async with get_client() as client:
        flow_id = await client.create_flow_from_name(f"nights-{uuid4()}")
        made = [
            await client.create_deployment(
                flow_id, f"d{n}", schedules=[DeploymentScheduleCreate(schedule=cron, active=active)]
            )
            for n, active in enumerate((True, False))
        ]
    friday, tuesday = date(2026, 11, 27), date(2026, 12, 1)
    berlin = ZoneInfo("Europe/Berlin")
    assert await nights_of(made[0], friday, tuesday, berlin) == [friday, date(2026, 11, 30), tuesday]
    assert await nights_of(made[1], friday, tuesday, berlin) == []
    assert len(await nights_of(None, friday, tuesday, berlin)) == 5
    assert await nights_of(made[0], tuesday, friday, berlin) == []


async def test_which_nights_are_missed(tmp_path: Path) -> None:
    """None before the first ever; at most as many as asked, the newest; an older night moves nothing back."""
    night = date(2026, 11, 28)
    async with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert await missed(ledger, "s", night, at_most=9, zone=UTC_ZONE) == []
        for day in (20, 24, 22):
            await note_played(ledger, "s", date(2026, 11, day))
        assert await missed(ledger, "s", night, at_most=9, zone=UTC_ZONE) == [
            date(2026, 11, day) for day in (25, 26, 27)
        ]
        assert await missed(ledger, "s", night, at_most=1, zone=UTC_ZONE) == [date(2026, 11, 27)]
        assert await missed(ledger, "s", night, at_most=0, zone=UTC_ZONE) == []
        assert await missed(ledger, "other", night, at_most=9, zone=UTC_ZONE) == []


def test_a_scheduled_run_belongs_to_the_night_it_was_meant_for() -> None:
    """However late it starts, and in the time zone of the nights; a run by hand belongs to today."""
    meant = datetime(2026, 1, 27, 23, 30, tzinfo=UTC)
    run = FlowRun(flow_id=uuid4(), expected_start_time=meant, auto_scheduled=True)
    assert tonight(None, ZoneInfo("Europe/Berlin"), run) == date(2026, 1, 28)
    assert tonight(None, UTC_ZONE, run) == date(2026, 1, 27)
    assert tonight(date(2026, 1, 1), UTC_ZONE, run) == date(2026, 1, 1)
    by_hand = FlowRun(flow_id=uuid4(), expected_start_time=meant)
    assert tonight(None, UTC_ZONE, by_hand) > date(2026, 11, 1)


@pytest.mark.parametrize(
    ("fail_on", "failing"), [(FailOn.ANY, ["a", "b"]), (FailOn.CRITICAL, ["b"]), (FailOn.NONE, [])]
)
def test_what_makes_a_run_fail(fail_on: FailOn, failing: list[str]) -> None:
    """Any failure, a critical one, or none; of made-up nights too."""
    earlier = [Played(id="1", name="a", became="refused")]
    later = [
        Played(id="2", name="b", became="failed", critical=True),
        Played(id="3", name="c", became="succeeded", critical=True),
    ]
    common = {"night": NIGHT, "run_key": "k", "chosen": 1, "fits_nothing": [], "started": 0}
    costs = {"requests": 0, "rows_written": 0}
    made = [Night(**common, **costs, played=played) for played in (earlier, later)]
    result = NightlyPipelineSync(nights=made, past=[], report=Path("r"), chart=Path("c"))
    assert [one.name for one in result.failures(fail_on)] == failing


def test_the_command_says_what_became_and_fails_with_it(nights: NightlyWorld) -> None:
    """A line for each pipeline, the files, and exit code 1 for a failed night, 2 for what cannot be meant."""
    nights.seed({"name": "daily"}, BAD)
    done = command(nights, "--pipeline", "daily", "--pipeline", "bad", "--poll-seconds", "0.05")
    assert done.returncode == 1, done.stderr
    assert "Not succeeded: bad (failed)" in done.stdout
    assert str(nights.folder / "night.png") in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    unusable = command(nights, "--variable", "nonsense")
    assert unusable.returncode == 2
    assert "write NAME=VALUE" in unusable.stderr


def command(nights: NightlyWorld, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of the README."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "flows.nightly_pipeline_sync",
            *words,
            "--report",
            nights.folder / "night.html",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PLAIT_PLANASONIX_URL": nights.planasonix.base_url,
            "PLAIT_PLANASONIX_DIALECT": "hosted",
            "PLAIT_PLANASONIX_API_KEY": nights.planasonix.api_key.get_secret_value(),
            "PLAIT_LEDGER_URL": nights.ledger.url.get_secret_value(),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pipelines": []}, "nothing is chosen"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"variables": {"day": "{date}"}}, "its only placeholder is {logical_date}"),
    ],
)
async def test_what_cannot_be_meant_is_refused(nights: NightlyWorld, changes: dict, why: str) -> None:
    """Before anything is asked, with what to do instead."""
    with pytest.raises(InvalidInput, match=why):
        await nightly_pipeline_sync(**nights.arguments(**changes))
