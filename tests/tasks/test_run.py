"""What the tasks of one run share, on a real ledger and a real vendor stand-in."""

from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks import EffectLedger, OfficePlaneServer
from plait.http.errors import ConfigurationError, NotSent
from plait.http.guard import send_guard
from tasks import effects_of, step
from tasks._decision import DECIDE, Decision
from tasks._run import client_of, current_run, current_step, run_key_of

NOBODY = OfficePlaneServer(base_url="http://127.0.0.1:9")


class Choice(BaseModel):
    """A decision's content."""

    word: str


def ledger_at(folder: Path) -> EffectLedger:
    """A ledger of its own."""
    return EffectLedger(url=str(folder / "ledger.db"), landing_cap=0.1, visibility_cap=0.1, patience=1.0)


def decision(word: str, calls: list[str], about: str = "lunch") -> Decision[Choice]:
    """A decision for `word`, which notes that it was asked."""

    async def choose() -> Choice:
        calls.append(word)
        return Choice(word=word)

    return Decision(about=about, inputs={"menu": 1}, model=Choice, choose=choose)


async def test_a_run_opens_each_client_once(tmp_path: Path) -> None:
    """Tasks of one run share one client of a block, whether given as itself or as an equal block."""
    async with effects_of(ledger_at(tmp_path), run_key="one"):
        async with client_of(OfficePlaneServer, OfficePlaneServer.get_client, NOBODY) as first:
            pass
        twin = OfficePlaneServer(base_url=NOBODY.base_url)
        async with client_of(OfficePlaneServer, OfficePlaneServer.get_client, twin) as second:
            assert second is first
        other = OfficePlaneServer(base_url="http://127.0.0.1:10")
        async with client_of(OfficePlaneServer, OfficePlaneServer.get_client, other) as third:
            assert third is not first


async def test_steps_nest_and_end() -> None:
    """The innermost step counts, and none is left behind."""
    with step("outer"):
        with step("inner"):
            assert current_step() == "inner"
        assert current_step() == "outer"
    assert current_step() == ""


async def test_without_a_run_id_a_run_key_is_asked_for(tmp_path: Path) -> None:
    """Outside of Prefect there is no id to fall back on, and a random one would repeat effects."""
    with pytest.raises(ConfigurationError, match="run_key"):
        async with effects_of(ledger_at(tmp_path)):
            pass


@pytest.mark.usefixtures("prefect_server")
async def test_the_default_run_key_is_the_root_flow_runs_id(tmp_path: Path) -> None:
    """A nested flow belongs to its root's intent, and so does a task."""
    keys: dict[str, str] = {}

    async def note(name: str) -> None:
        async with effects_of(ledger_at(tmp_path)) as run:
            keys[name] = run.key

    @task
    async def in_task() -> None:
        await note("task")

    @flow
    async def inner() -> None:
        await note("inner")
        await in_task()

    @flow
    async def outer() -> None:
        keys["root"] = flow_run.id
        await note("outer")
        await inner()

    await outer()
    assert {keys["outer"], keys["inner"], keys["task"]} == {keys["root"]}


@pytest.mark.usefixtures("prefect_server")
async def test_a_task_on_its_own_opens_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a run around it, a task finds the ledger of the environment and its own run's id."""
    monkeypatch.setenv("PLAIT_LEDGER_URL", str(tmp_path / "own.db"))
    keys: list[str] = []

    @task
    async def alone() -> None:
        async with current_run() as run:
            keys.append(run.key)

    await alone()
    await alone()
    assert (tmp_path / "own.db").exists()
    assert len(set(keys)) == 2


async def test_a_decision_is_made_once_per_run_key(tmp_path: Path) -> None:
    """A re-run finds the first choice; another run key chooses anew."""
    calls: list[str] = []
    for key, word in (("a", "soup"), ("a", "salad"), ("b", "stew")):
        async with effects_of(ledger_at(tmp_path), run_key=key) as run:
            chosen = await run.effects().perform(decision(word, calls))
            assert chosen.choice.word == ("soup" if key == "a" else "stew")
    assert calls == ["soup", "stew"]


async def test_a_decision_that_fails_is_made_again(tmp_path: Path) -> None:
    """An error while choosing records nothing, so that a retry may choose."""

    async def cannot() -> Choice:
        raise NotSent("the vendor is away")

    failing = Decision(about="lunch", inputs={"menu": 1}, model=Choice, choose=cannot)
    calls: list[str] = []
    async with effects_of(ledger_at(tmp_path), run_key="a") as run:
        with pytest.raises(NotSent):
            await run.effects().perform(failing)
        assert (await run.effects().perform(decision("soup", calls))).choice.word == "soup"
    assert calls == ["soup"]


async def test_a_decision_needs_no_vendor() -> None:
    """Its recipe looks nowhere, and without a ledger it is only a choice."""
    recipe = decision("soup", [])
    assert recipe.operation is DECIDE
    assert send_guard.get() is None
    decided = await recipe.send("dev-plait-decide-1")
    assert recipe.vendor_id(decided) == "dev-plait-decide-1"


async def test_an_unusable_ledger_is_named(tmp_path: Path) -> None:
    """A ledger path that cannot be written is an error with the path and the remedy."""
    occupied = tmp_path / "file"
    occupied.write_text("no folder", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="PLAIT_LEDGER_URL") as caught:
        async with effects_of(EffectLedger(url=str(occupied / "ledger.db")), run_key="a"):
            pass
    assert str(occupied) in str(caught.value)


def test_a_scheduled_run_is_known_by_deployment_and_date() -> None:
    """Two runs of one schedule and date are one intent; any other run is known by its own id."""
    logical = "scheduled 6f1c 2f60 2026-11-22 02:00:00+00:00"
    runs = [FlowRun(flow_id=uuid4(), auto_scheduled=True, idempotency_key=logical) for _ in range(2)]
    assert {run_key_of(run) for run in runs} == {logical}
    by_hand = FlowRun(flow_id=uuid4(), idempotency_key="ours")
    assert run_key_of(by_hand) == str(by_hand.id)
