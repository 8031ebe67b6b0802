"""Runners that are killed, or stopped past lease and permit and then continued, wherever they stand.

Judged by what the vendor accepted. The chaos harness crosses the same points with faults and seeds;
here each cell of the guarantee table (effect-protocol.md §5) has one readable case.
"""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from toy_runners import STOPPABLE, WINDOW, ByName, Host, Make, Runners
from toy_vendor import Thing

from plait.http import Transport
from plait.http.errors import OutcomeUnknown
from plait.http.operation import Effect
from plait.ledger import Ledger, LedgerUnavailable, Outcome
from plait.ledger.database import Database
from plait.ledger.store.rows import EFFECT

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
AFTER_LOSS: Final = {
    "giveup.after_close": "drop_after",
    "quiet.after_commit": "drop_after",
    "look.before": "drop_after",
    "look.after": "drop_before",
    "verdict.after_commit": "drop_before",
    "resend.before_permit": "drop_before",
}
"""Points beyond a lost answer (`drop_after`) or a lost request (`drop_before`)."""
IN_A_TRANSACTION: Final = ("claim.before_commit", "permit.before_commit", "record.before_commit")
STRETCHES: Final = {
    "before the permit": BEFORE_PERMIT,
    "after the write": AFTER_WRITE,
    "after a loss": tuple(AFTER_LOSS),
}
Points = Sequence[str]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what other processes bring about, on a machine that may be busy."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass
class Scene:
    """Runner processes, this process as the other runner, and the vendor that counts."""

    url: str
    ours: Ledger
    vendor: ByName
    wire: Transport
    runners: Runners

    async def park(self, points: Points, effect: Effect = Effect.FINDABLE) -> None:
        """A runner for each point, standing at it; its effect is named after the point."""
        for point in points:
            await asyncio.to_thread(
                self.runners.start, point, point=point, effect=effect, unit=unit_of(point)
            )
        for point in points:
            await until(partial(self.runners.parked, point, point))

    async def oversleep(self, points: Points) -> None:
        """SIGSTOP them all, outside of any transaction, for longer than lease and permit."""
        probe = Database(self.url, busy_timeout=0.2)
        for point in points:
            self.runners.stop(point)
            while await asyncio.to_thread(holds_a_lock, probe):
                self.runners.signal(point, signal.SIGCONT)
                await asyncio.sleep(0.02)
                self.runners.stop(point)
        probe.stop()
        await asyncio.sleep(STOPPABLE.lease + WINDOW)

    async def awake(self, points: Points) -> dict[str, Any]:
        """SIGCONT them all; what each says came of its effect."""
        for point in points:
            self.runners.go_on(point, point)
        await until(lambda: all(self.runners.result_file(point).exists() for point in points))
        return {point: self.runners.result(point) for point in points}

    async def perform(
        self, points: Points, effect: Effect = Effect.FINDABLE, by: Ledger | None = None
    ) -> dict[str, Outcome[Thing]]:
        """The same effects, by this process."""
        recipes = [Make(self.wire, point, effect, unit_of(point)) for point in points]
        outcomes = await (by or self.ours).effects(run_key="r").perform_many(recipes, concurrency=16)
        return dict(zip(points, outcomes, strict=True))

    def made(self, points: Points) -> dict[str, int]:
        """What the vendor counted."""
        return {point: self.vendor.made(point) for point in points}


def holds_a_lock(probe: Database) -> bool:
    """Whether somebody is inside a transaction that writes."""
    try:
        probe.write_now(
            lambda connection: connection.execute(EFFECT.select().with_for_update()).all(), commit="claim"
        )
    except LedgerUnavailable:
        return True
    return False


def unit_of(point: str) -> str | None:
    """Two of the points are only on the way of an effect that has a unit."""
    return point if point in {"unit.after_lock", "baseline.after_store"} else None


def results(outcomes: dict[str, Outcome[Thing]]) -> dict[str, Any]:
    """What came of each, as the runners write it."""
    return {point: outcome.result and outcome.result.model_dump() for point, outcome in outcomes.items()}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """What the runners are forked from."""
    with Host() as started:
        yield started


@pytest.fixture
async def scene(host: Host, tmp_path: Path, ledger_url: str) -> AsyncIterator[Scene]:
    """The vendor loses what the names of AFTER_LOSS say."""
    async with (
        ByName() as vendor,
        Transport(system="toy", base_url=vendor.url) as wire,
        Ledger.open(ledger_url, timing=STOPPABLE) as ours,
    ):
        vendor.scripts = {point: [fault] for point, fault in AFTER_LOSS.items()}
        with Runners(host, tmp_path / "runners", ledger_url, vendor.url) as runners:
            yield Scene(ledger_url, ours, vendor, wire, runners)


@pytest.mark.parametrize("stretch", STRETCHES)
async def test_stopped_where_nothing_can_still_be_written(scene: Scene, stretch: str):
    """The other finishes each effect; continued, the stopped one sends nothing and reads the result."""
    points = STRETCHES[stretch]
    await scene.park(points)
    await scene.oversleep(points)
    outcomes = await scene.perform(points)
    assert results(outcomes) == await scene.awake(points)
    lost = [point for point in points if AFTER_LOSS.get(point) == "drop_before"]
    assert sorted([*points, *lost]) == sorted(scene.vendor.posted), "a request more than there must be"
    assert dict.fromkeys(points, 1) == scene.made(points)


async def test_stopped_between_the_last_check_and_the_write(scene: Scene):
    """Nobody can say what it will still do: the other waits and names the process; in the end, one effect."""
    await scene.park(IN_THE_WINDOW)
    await scene.oversleep(IN_THE_WINDOW)
    async with Ledger.open(scene.url, timing=replace(STOPPABLE, patience=0.5)) as impatient:
        outcomes = await scene.perform(IN_THE_WINDOW, by=impatient)
    for point, outcome in outcomes.items():
        assert isinstance(outcome.error, OutcomeUnknown)
        assert outcome.error.retryable
        who = f"process {scene.runners.pids[point]} on host .* stands still .*: continue or end it"
        assert re.search(who, str(outcome.error))
    assert [] == scene.vendor.posted
    continued = await scene.awake(IN_THE_WINDOW)
    assert results(await scene.perform(IN_THE_WINDOW)) == continued
    assert dict.fromkeys(IN_THE_WINDOW, 1) == scene.made(IN_THE_WINDOW)


@pytest.mark.parametrize("stretch", [*STRETCHES, "in the window"])
async def test_killed_anywhere_on_the_way(scene: Scene, stretch: str):
    """FINDABLE: the death is proved at once, the effect found or sent again; one each."""
    points = STRETCHES.get(stretch, IN_THE_WINDOW)
    await scene.park(points)
    for point in points:
        scene.runners.kill(point)
    outcomes = await scene.perform(points)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    assert dict.fromkeys(points, 1) == scene.made(points)


@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_killed_inside_a_transaction(scene: Scene, effect: Effect):
    """What was not committed never was: one effect each."""
    scene.vendor.honours_keys = effect is Effect.KEYED
    for point in IN_A_TRANSACTION:  # one after the other: on SQLite each holds the whole ledger
        await scene.park([point], effect)
        scene.runners.kill(point)
    outcomes = await scene.perform(IN_A_TRANSACTION, effect)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    assert dict.fromkeys(IN_A_TRANSACTION, 1) == scene.made(IN_A_TRANSACTION)


async def test_stopped_or_killed_with_a_key(scene: Scene):
    """KEYED: repeated at once under its key, even while a stopped one may still write; one each."""
    scene.vendor.honours_keys = True
    points = (*IN_THE_WINDOW, *AFTER_WRITE)
    await scene.park(points, Effect.KEYED)
    for point in AFTER_WRITE:
        scene.runners.kill(point)
    await scene.oversleep(IN_THE_WINDOW)
    outcomes = await scene.perform(points, Effect.KEYED)
    assert {"done"} == {outcome.status for outcome in outcomes.values()}
    done = results(outcomes)
    assert {point: done[point] for point in IN_THE_WINDOW} == await scene.awake(IN_THE_WINDOW)
    assert dict.fromkeys(points, 1) == scene.made(points)


async def test_stopped_or_killed_without_a_way_to_look(scene: Scene):
    """BLIND: before the permit nothing was lost; after it the outcome is unknown, and never sent again."""
    before, after = ("pool.wait", "hook.before_permit"), ("permit.after_commit", *AFTER_WRITE[:2])
    stopped = ("check1.after", "check2.after")
    points = (*before, *after, *stopped)
    await scene.park(points, Effect.BLIND)
    for point in (*before, *after):
        scene.runners.kill(point)
    await scene.oversleep(stopped)
    outcomes = await scene.perform(points, Effect.BLIND)
    assert ["done"] * 2 + ["unknown"] * 5 == [outcomes[point].status for point in points]
    assert "plait effects resolve" in str(outcomes["permit.after_commit"].error)
    continued = await scene.awake(stopped)
    assert "OutcomeUnknown" == continued["check1.after"]["error"], "its headers left, its body did not"
    late = results(await scene.perform(["check2.after"], Effect.BLIND))
    assert continued["check2.after"] == late["check2.after"], "the late answer settles it"
    assert all(scene.vendor.posted.count(point) <= 1 for point in points)
    unsent = ("permit.after_commit", "check1.after")
    assert dict.fromkeys(unsent, 0) | {"check2.after": 1} == scene.made((*unsent, "check2.after"))


H = STOPPABLE.patience + 30.0
"""Much more than a lease, and less than the time after which a hung call lets go by itself."""


async def test_a_blocked_loop_lets_its_lease_go(scene: Scene):
    """Its renewal thread is well, its event loop is not: taken over after the lease, not after H."""
    scene.vendor.honours_keys = True
    for effect in Effect.FINDABLE, Effect.KEYED, Effect.BLIND:
        scene.vendor.scripts[effect] = ["hang_after"]
        await asyncio.to_thread(scene.runners.start, effect, point="loop.blocked", visit=3, effect=effect)
        await until(partial(scene.runners.parked, effect, "loop.blocked"))
    sent = Effect.BLIND in scene.vendor.posted  # on a slow machine the loop may stand before that
    scene.vendor.hold.set()
    begun = time.monotonic()
    made = {
        effect: (await scene.perform([effect], effect))[effect]
        for effect in (Effect.FINDABLE, Effect.KEYED, Effect.BLIND)
    }
    assert time.monotonic() - begun < H
    assert ("unknown" if sent else "done") == made[Effect.BLIND].status, "nobody can look for it"
    for effect in made:
        scene.runners.go_on(effect, "loop.blocked")
    await until(lambda: all(scene.runners.result_file(effect).exists() for effect in made))
    for effect in Effect.FINDABLE, Effect.KEYED:
        assert results(made)[effect] == scene.runners.result(effect)
    late = await scene.perform([Effect.BLIND], Effect.BLIND)
    assert results(late)[Effect.BLIND] == scene.runners.result(Effect.BLIND), "the late answer settles it"
    assert dict.fromkeys(made, 1) == scene.made(tuple(made))
