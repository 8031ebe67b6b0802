"""Runners that are killed, or stopped past lease and permit and then continued, wherever they stand.

Judged by what the vendor accepted. The chaos harness crosses the same points with faults and seeds;
here each cell of the guarantee table (effect-protocol.md §5) has one readable case.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from toy_runners import STOPPABLE, WINDOW, ByName, Make, Runners
from toy_vendor import Thing

from plait.http import Transport
from plait.http.errors import OutcomeUnknown
from plait.http.operation import Effect
from plait.ledger import Ledger, Outcome

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

BEFORE_PERMIT: Final = (
    "claim.after_commit",
    "unit.after_lock",
    "baseline.after_store",
    "pool.wait",
    "connect.after",
    "hook.before_permit",
)
IN_THE_WINDOW: Final = ("permit.after_commit", "check1.after", "headers.after_write", "check2.after")
AFTER_WRITE: Final = (
    "body.after_write",
    "answer.headers",
    "answer.mid_body",
    "answer.read",
    "record.after_commit",
)
IN_A_TRANSACTION: Final = ("claim.before_commit", "permit.before_commit", "record.before_commit")
AFTER_LOSS: Final = {
    "giveup.after_close": "drop_after",
    "quiet.after_commit": "drop_after",
    "look.before": "drop_after",
    "look.after": "drop_before",
    "verdict.after_commit": "drop_before",
    "resend.before_permit": "drop_before",
}
"""Points beyond a lost answer (`drop_after`) or a lost request (`drop_before`)."""
PAUSED: Final = (*BEFORE_PERMIT, *AFTER_WRITE, *AFTER_LOSS)
KILLED: Final = (*PAUSED, *IN_THE_WINDOW)


def unit_of(point: str) -> str | None:
    """Two of the points are only on the way of an effect that has a unit."""
    return point if point in {"unit.after_lock", "baseline.after_store"} else None


@pytest.fixture
async def far_end() -> AsyncIterator[ByName]:
    """A vendor that counts by name, and loses what the names of AFTER_LOSS say."""
    async with ByName() as running:
        running.scripts = {point: [fault] for point, fault in AFTER_LOSS.items()}
        yield running


@pytest.fixture
def runners(tmp_path: Path, ledger_url: str, far_end: ByName) -> Iterator[Runners]:
    """Processes that share the ledger and the vendor of the test."""
    with Runners(tmp_path / "runners", ledger_url, far_end.url) as started:
        yield started


@pytest.fixture
async def ours(ledger_url: str) -> AsyncIterator[Ledger]:
    """The other runner: this process."""
    async with Ledger.open(ledger_url, timing=STOPPABLE) as opened:
        yield opened


@pytest.fixture
async def wire(far_end: ByName) -> AsyncIterator[Transport]:
    """A transport to the counting vendor."""
    async with Transport(system="toy", base_url=far_end.url) as opened:
        yield opened


async def park(
    runners: Runners, points: Iterable[str], eventually: Eventually, effect: Effect = Effect.FINDABLE
) -> None:
    """A runner for each point, standing at it; its effect is named after the point."""
    for point in points:
        await asyncio.to_thread(runners.start, point, point=point, effect=effect, unit=unit_of(point))
    for point in points:
        await eventually(partial(runners.parked, point, point))


async def oversleep(runners: Runners, points: Iterable[str]) -> None:
    """SIGSTOP them all, for longer than lease and permit."""
    for point in points:
        runners.stop(point)
    await asyncio.sleep(STOPPABLE.lease + WINDOW)


async def awake(runners: Runners, points: Sequence[str], eventually: Eventually) -> dict[str, Any]:
    """SIGCONT them all; what each says came of its effect."""
    for point in points:
        runners.go_on(point, point)
    await eventually(lambda: all(runners.result_file(point).exists() for point in points))
    return {point: runners.result(point) for point in points}


async def perform_all(
    ours: Ledger, wire: Transport, points: Iterable[str], effect: Effect = Effect.FINDABLE
) -> dict[str, Outcome[Thing]]:
    """The same effects, by this process."""
    recipes = [Make(wire, point, effect, unit_of(point)) for point in points]
    outcomes = await ours.effects(run_key="r").perform_many(recipes, concurrency=16)
    return dict(zip(points, outcomes, strict=True))


async def test_stopped_before_the_permit_or_after_the_write(
    ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually
):
    """The other finishes each effect; continued, the stopped one sends nothing and reads the result."""
    await park(runners, PAUSED, eventually)
    await oversleep(runners, PAUSED)
    outcomes = await perform_all(ours, wire, PAUSED)
    done = {point: outcome.result and outcome.result.model_dump() for point, outcome in outcomes.items()}
    assert done == await awake(runners, PAUSED, eventually)
    lost = [point for point, fault in AFTER_LOSS.items() if fault == "drop_before"]
    assert sorted([*PAUSED, *lost]) == sorted(far_end.posted), "not one request more than there must be"
    assert dict.fromkeys(PAUSED, 1) == {point: far_end.made(point) for point in PAUSED}


async def test_stopped_between_the_last_check_and_the_write(
    ledger_url: str, ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually
):
    """Nobody can say what it will still do: the other waits and names the process; in the end, one effect."""
    await park(runners, IN_THE_WINDOW, eventually)
    await oversleep(runners, IN_THE_WINDOW)
    async with Ledger.open(ledger_url, timing=replace(STOPPABLE, patience=0.5)) as impatient:
        outcomes = await perform_all(impatient, wire, IN_THE_WINDOW)
    for point, outcome in outcomes.items():
        assert isinstance(outcome.error, OutcomeUnknown)
        assert outcome.error.retryable
        who = f"process {runners.pids[point]} on host .* stands still with a request in hand: continue or end it"
        assert re.search(who, str(outcome.error))
    assert [] == far_end.posted
    continued = await awake(runners, IN_THE_WINDOW, eventually)
    assert {point: {"id", "name", "key"} for point in IN_THE_WINDOW} == {
        point: set(made) for point, made in continued.items()
    }
    assert dict.fromkeys(IN_THE_WINDOW, 1) == {point: far_end.made(point) for point in IN_THE_WINDOW}
    again = await perform_all(ours, wire, IN_THE_WINDOW)
    assert continued == {
        point: outcome.result and outcome.result.model_dump() for point, outcome in again.items()
    }


async def test_killed_anywhere_on_the_way(
    ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually
):
    """FINDABLE: the death is proved at once, the effect found or sent again; one each, long before the lease."""
    await park(runners, KILLED, eventually)
    for point in KILLED:
        runners.kill(point)
    outcomes = await perform_all(ours, wire, KILLED)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    assert dict.fromkeys(KILLED, 1) == {point: far_end.made(point) for point in KILLED}


@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_killed_inside_a_transaction(
    ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually, effect: Effect
):
    """What was not committed never was: one effect each."""
    far_end.honours_keys = effect is Effect.KEYED
    for point in IN_A_TRANSACTION:
        await park(runners, [point], eventually, effect)
        runners.kill(point)
    outcomes = await perform_all(ours, wire, IN_A_TRANSACTION, effect)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    assert dict.fromkeys(IN_A_TRANSACTION, 1) == {point: far_end.made(point) for point in IN_A_TRANSACTION}


async def test_stopped_or_killed_with_a_key(
    ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually
):
    """KEYED: repeated at once under its key, even while a stopped one may still write; one each."""
    far_end.honours_keys = True
    points = (*IN_THE_WINDOW, *AFTER_WRITE)
    await park(runners, points, eventually, Effect.KEYED)
    for point in AFTER_WRITE:
        runners.kill(point)
    await oversleep(runners, IN_THE_WINDOW)
    outcomes = await perform_all(ours, wire, points, Effect.KEYED)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    done = {point: outcomes[point].result for point in IN_THE_WINDOW}
    continued = await awake(runners, IN_THE_WINDOW, eventually)
    assert continued == {point: result and result.model_dump() for point, result in done.items()}
    assert dict.fromkeys(points, 1) == {point: far_end.made(point) for point in points}


async def test_stopped_or_killed_without_a_way_to_look(
    ours: Ledger, far_end: ByName, wire: Transport, runners: Runners, eventually: Eventually
):
    """BLIND: before the permit nothing was lost; after it the outcome is unknown, and never sent again."""
    before, after = ("pool.wait", "hook.before_permit"), ("permit.after_commit", *AFTER_WRITE[:2])
    stopped = ("check1.after", "check2.after")
    points = (*before, *after, *stopped)
    await park(runners, points, eventually, Effect.BLIND)
    for point in (*before, *after):
        runners.kill(point)
    await oversleep(runners, stopped)
    outcomes = await perform_all(ours, wire, points, Effect.BLIND)
    assert ["done"] * 2 + ["unknown"] * 5 == [outcomes[point].status for point in points]
    assert "plait effects resolve" in str(outcomes["permit.after_commit"].error)
    continued = await awake(runners, stopped, eventually)
    assert "OutcomeUnknown" == continued["check1.after"]["error"], "its headers left, its body did not"
    late = await perform_all(ours, wire, ["check2.after"], Effect.BLIND)
    assert continued["check2.after"] == late["check2.after"].result.model_dump(), "the late answer settles it"
    assert all(far_end.posted.count(point) <= 1 for point in points)
    assert {"permit.after_commit": 0, "check1.after": 0, "check2.after": 1} == {
        point: far_end.made(point) for point in ("permit.after_commit", *stopped)
    }
