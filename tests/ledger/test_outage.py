"""The ledger is away: nothing is sent without it, and nothing that was sent is forgotten."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from outages import Outage, easily_upset, outage_of
from sqlalchemy import text
from toy_vendor import QUICK, MakeThing, Thing, Vendor

from plait import failpoints
from plait.clock import BootClock
from plait.http import Transport
from plait.http.errors import ConfigurationError, OutcomeUnknown
from plait.http.operation import Effect
from plait.ledger import Ledger, LedgerUnavailable
from plait.ledger.database import Database
from plait.ledger.store.rows import EFFECT

IMPATIENT = replace(QUICK, patience=0.4, record_patience=0.5, lease=0.9)


def open_ledger(url: str, **more: float) -> Ledger:
    """A ledger that notices an outage soon."""
    return Ledger(easily_upset(url, **more), timing=IMPATIENT, clock=BootClock())


@pytest.fixture
async def outage(ledger_url: str) -> AsyncIterator[Outage]:
    """The way to take the ledger away."""
    async with outage_of(ledger_url) as made:
        yield made


@pytest.fixture
async def fragile(outage: Outage) -> AsyncIterator[Ledger]:
    """A ledger that can be taken away."""
    async with open_ledger(outage.url) as opened:
        yield opened
        outage.end()


@dataclass
class Interrupted(MakeThing):
    """Something happens between the claim and the send, and between the answer and its record."""

    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    async def send(self, external_id: str) -> Thing:
        self.before()
        try:
            return await super().send(external_id)
        finally:
            self.after()


async def test_without_an_intent_nothing_is_sent(
    outage: Outage, fragile: Ledger, vendor: Vendor, transport: Transport
):
    """No claim, no request; a batch reports it per item."""
    outage.begin()
    effects = fragile.effects(run_key="r")
    with pytest.raises(LedgerUnavailable, match="no effect is sent without it") as raised:
        await effects.perform(MakeThing(transport, "a"))
    outcomes = await effects.perform_many([MakeThing(transport, "b"), MakeThing(transport, "c")])
    assert [LedgerUnavailable] * 2 == [type(outcome.error) for outcome in outcomes]
    assert raised.value.retryable
    assert 0 == vendor.posts
    outage.end()
    await effects.perform(MakeThing(transport, "a"))
    assert 1 == vendor.posts


@pytest.mark.parametrize("effect", [Effect.KEYED, Effect.FINDABLE, Effect.BLIND])
async def test_without_a_permit_nothing_leaves(
    outage: Outage, fragile: Ledger, vendor: Vendor, transport: Transport, effect: Effect
):
    """The ledger goes away after the claim: the connection stands, not one request arrives."""
    effects = fragile.effects(run_key="r")
    cut = Interrupted(transport, "a", effect, options={"send_window": 0.4}, before=outage.begin)
    with pytest.raises(LedgerUnavailable):
        await effects.perform(cut)
    assert 0 == vendor.posts
    outage.end()
    await asyncio.sleep(IMPATIENT.lease)
    await effects.perform(MakeThing(transport, "a", effect))
    assert (1, 1) == (vendor.posts, len(vendor.things))


async def test_an_answer_waits_for_the_ledger(outage: Outage, vendor: Vendor, transport: Transport):
    """Back in time: the answer is recorded and returned, as if nothing had been."""

    def away_for_a_moment() -> None:
        outage.begin()
        asyncio.get_running_loop().call_later(0.2, outage.end)

    patient = replace(IMPATIENT, patience=30.0, record_patience=30.0)
    async with Ledger(easily_upset(outage.url), timing=patient, clock=BootClock()) as ledger:
        effects = ledger.effects(run_key="r")
        made = await effects.perform(Interrupted(transport, "a", after=away_for_a_moment))
        assert made == await effects.perform(MakeThing(transport, "a"))
    assert 1 == vendor.posts


@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_an_answer_that_could_not_be_recorded_is_found_again(
    outage: Outage, fragile: Ledger, vendor: Vendor, transport: Transport, effect: Effect
):
    """Not back in time: unknown, not failed; the next run finds what was made."""
    vendor.honours_keys = effect is Effect.KEYED
    effects = fragile.effects(run_key="r")
    with pytest.raises(OutcomeUnknown, match="could not be written down"):
        await effects.perform(Interrupted(transport, "a", effect, after=outage.begin))
    outage.end()
    await asyncio.sleep(IMPATIENT.lease)
    made = await effects.perform(MakeThing(transport, "a", effect))
    assert (made.id, 1) == (vendor.things[0].id, len(vendor.things))


async def test_a_blind_answer_that_could_not_be_recorded_stays_unknown(
    outage: Outage, fragile: Ledger, vendor: Vendor, transport: Transport
):
    """Nobody can look for it, and so nobody sends it again: a person is asked."""
    effects = fragile.effects(run_key="r")
    with pytest.raises(OutcomeUnknown, match="could not be written down"):
        await effects.perform(Interrupted(transport, "a", Effect.BLIND, after=outage.begin))
    outage.end()
    await asyncio.sleep(IMPATIENT.lease)
    with pytest.raises(OutcomeUnknown, match="plait effects resolve"):
        await effects.perform(MakeThing(transport, "a", Effect.BLIND))
    assert (1, 1) == (vendor.posts, len(vendor.things))


async def test_a_batch_calls_it_unknown(
    outage: Outage, fragile: Ledger, vendor: Vendor, transport: Transport
):
    """Sent and not recorded is not "failed"."""
    [outcome] = await fragile.effects(run_key="r").perform_many(
        [Interrupted(transport, "a", after=outage.begin)]
    )
    assert ("unknown", 1) == (outcome.status, vendor.posts)


async def test_an_end_in_the_dark_is_provable_afterwards(outage: Outage, ledger: Ledger):
    """Closed while the ledger was away: nobody wrote it down, and the freed lock proves it."""
    async with open_ledger(outage.url) as other:
        holder = other.me
        outage.begin()
    outage.end()
    assert {holder} == await ledger.dead({holder})


LOST = {
    "claim": ["ok"],
    "permit": ["ok"],
    "record": ["ok"],
    "quiet": ["drop_after"],
    "verdict": ["drop_before"],
}


@pytest.fixture
def disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failpoints armed by this test do not outlive it."""
    monkeypatch.setattr(failpoints, "hook", None)


@pytest.mark.usefixtures("disarmed")
@pytest.mark.parametrize(
    ("commit", "side"), [(commit, side) for commit in LOST for side in ("before", "after")]
)
async def test_a_refused_commit_and_a_lost_answer_change_nothing(
    ledger: Ledger,
    vendor: Vendor,
    transport: Transport,
    tmp_path: Path,
    *,
    commit: str,
    side: str,
):
    """At each commit on the way: refused, or its answer lost; it is repeated, not decided by reading."""
    for visit in (1, 2, 3) if commit == "claim" else (1,):  # the claim, the unit, the baseline
        vendor.script.extend(LOST[commit])
        failpoints.arm(f"{commit}.{side}_commit", folder=tmp_path, visit=visit, action="fail")
        made = await ledger.effects(run_key="r").perform(MakeThing(transport, f"a{visit}", unit="u"))
        assert (f"a{visit}", 1) == (made.name, sum(thing.name == made.name for thing in vendor.things))
        assert (tmp_path / f"{os.getpid()}.{commit}.{side}_commit").exists(), "it was not visited"


@pytest.mark.usefixtures("disarmed")
async def test_a_found_verdict_whose_answer_was_lost(
    ledger: Ledger, vendor: Vendor, transport: Transport, tmp_path: Path
):
    """The look found it, the commit's answer was lost: repeated, it is the same."""
    vendor.script.append("drop_after")
    failpoints.arm("verdict.after_commit", folder=tmp_path, action="fail")
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert (1, 1) == (vendor.posts, len(vendor.things))


@pytest.mark.usefixtures("ledger")
async def test_a_busy_ledger_is_no_wrong_address(outage: Outage):
    """Opening one that is locked or unreachable: come back later, not "choose another place"."""
    outage.begin()
    with pytest.raises(LedgerUnavailable):
        async with open_ledger(outage.url):
            pass


async def test_a_file_that_is_no_ledger_is_a_wrong_address(tmp_path: Path):
    """Named, with what to do."""
    (tmp_path / "notes.db").write_text("these are not the pages you are looking for" * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.db.*PLAIT_LEDGER_URL"):
        async with open_ledger(str(tmp_path / "notes.db")):
            pass


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_server_that_drops_our_connections(ledger: Ledger, vendor: Vendor, transport: Transport):
    """`pg_terminate_backend` on all of them, again and again: each effect still happens once."""

    def drop(connection: object) -> None:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND application_name = current_schema()"
            )
        )

    effects = ledger.effects(run_key="r")
    for name in ("a", "b", "c"):
        await asyncio.gather(
            effects.perform(MakeThing(transport, name)),
            asyncio.to_thread(ledger.database.read_now, drop),
        )
    assert ["a", "b", "c"] == [thing.name for thing in vendor.things]


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_server_that_says_nothing_is_not_waited_for(
    outage: Outage, vendor: Vendor, transport: Transport
):
    """Nothing is refused and nothing answered: calls, and the end of the ledger, come back all the same."""
    assert outage.mute is not None
    async with asyncio.timeout(60), open_ledger(outage.url, silence=1.0) as fragile:
        effects = fragile.effects(run_key="r")
        await effects.perform(MakeThing(transport, "a"))
        outage.mute()
        with pytest.raises(LedgerUnavailable):
            await fragile.now()
        with pytest.raises(LedgerUnavailable):
            await effects.perform(MakeThing(transport, "b"))
    assert ["a"] == [thing.name for thing in vendor.things]
    with pytest.raises(LedgerUnavailable):
        async with asyncio.timeout(60), open_ledger(outage.url, silence=1.0):
            pass


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
async def test_a_ledger_that_others_open_is_waited_for(outage: Outage):
    """Longer than one wait for the file: somebody migrates it."""
    outage.begin()
    asyncio.get_running_loop().call_later(1.0, outage.end)
    async with Ledger(easily_upset(outage.url), timing=QUICK, clock=BootClock()) as opened:
        assert await opened.now() > 0


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_process_stopped_inside_a_transaction_blocks_nobody_for_long(
    ledger_url: str, vendor: Vendor, transport: Transport
):
    """PostgreSQL ends a transaction that stands still; until then only its own effect waits."""

    def lock_all(connection: Any) -> Sequence[Any]:
        return connection.execute(EFFECT.select().with_for_update()).all()

    stopped, brief = Database(ledger_url, busy_timeout=60.0), Database(ledger_url, busy_timeout=0.5)
    async with Ledger(easily_upset(ledger_url), timing=QUICK, clock=BootClock()) as ledger:
        effects = ledger.effects(run_key="r")
        first = await effects.perform(MakeThing(transport, "a"))
        with stopped._engine.connect() as connection:
            lock_all(connection)
            waiting = asyncio.create_task(ledger.database.write(lock_all, commit="claim"))
            await effects.perform(MakeThing(transport, "b"))
            assert not waiting.done(), "the other effect waited for the stopped one"
        assert first.id in {row.vendor_id for row in await waiting}
        with brief._engine.connect() as connection:
            lock_all(connection)
            async with asyncio.timeout(60):
                await ledger.database.write(lock_all, commit="claim")
            connection.invalidate()
    stopped.stop()
    brief.stop()
    assert 2 == vendor.posts
