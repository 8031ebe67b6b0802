"""Leases: kept while a process lives and works, let go when it hangs."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_steps import make_intent
from outages import Outage, easily_upset, outage_of
from toy_vendor import QUICK, MakeThing, Vendor

from plait import failpoints
from plait.clock import BootClock
from plait.http import Transport
from plait.ledger import EffectInProgress, Ledger, store

SHORT = replace(QUICK, lease=1.2, patience=0.1)
A = make_intent("a")


@pytest.fixture
async def outage(ledger_url: str) -> AsyncIterator[Outage]:
    """The way to take the ledger away."""
    async with outage_of(ledger_url) as made:
        yield made


@pytest.fixture
async def short(outage: Outage) -> AsyncIterator[Ledger]:
    """A ledger with a short lease that notices a busy database soon."""
    database = easily_upset(outage.url)
    async with Ledger(database, timing=SHORT, clock=BootClock()) as opened:
        yield opened
        outage.end()


async def claim(ledger: Ledger, hold: float) -> store.Claim:
    """A claim that is renewed for so long."""
    claimed = await ledger.database.write(
        lambda connection: store.claim(
            ledger.database,
            connection,
            A,
            me=ledger.me,
            nonce=secrets.token_hex(4),
            lease=ledger.timing.lease,
        ),
        commit="claim",
    )
    assert isinstance(claimed, store.Claim)
    ledger.renewal.hold(claimed, hold)
    return claimed


async def left(ledger: Ledger) -> float:
    """Seconds until the lease ends, on the ledger's clock."""
    row = await ledger.database.read(lambda connection: store.effect_of(connection, A.key.external_id))
    return row.lease_until - await ledger.now()


async def test_a_slow_call_keeps_its_lease(
    ledger_url: str, short: Ledger, vendor: Vendor, transport: Transport, eventually
):
    """Twice the lease later nobody else may have it; the one call is the only one."""
    vendor.script.append("hang_after")
    call = asyncio.create_task(short.effects(run_key="r").perform(MakeThing(transport, "a")))
    await eventually(lambda: vendor.posts == 1)
    await asyncio.sleep(2 * SHORT.lease)
    async with Ledger.open(ledger_url, timing=SHORT) as other:
        with pytest.raises(EffectInProgress, match="is held by process"):
            await other.effects(run_key="r").perform(MakeThing(transport, "a"))
    vendor.hold.set()
    await call
    assert 1 == vendor.posts


async def test_a_busy_renewal_is_tried_again_before_the_lease_ends(outage: Outage):
    """E5: the database is away when the renewal is due, and back in time: the lease never lapses."""
    lease = 6.0
    database = easily_upset(outage.url)
    async with Ledger(database, timing=replace(SHORT, lease=lease), clock=BootClock()) as ledger:
        first = await claim(ledger, 60.0)
        await asyncio.sleep(0.1)
        outage.begin()
        await asyncio.sleep(0.4 * lease)
        outage.end()
        await asyncio.sleep(0.7 * lease)
        row = await database.read(lambda connection: store.effect_of(connection, A.key.external_id))
        assert (ledger.me, first.token) == (row.holder, row.token)
        assert await left(ledger) > 0


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_renewal_refused_or_unheard_is_repeated(
    short: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually, side: str
):
    """Its commit fails, or the answer is lost: the next one comes long before the lease ends."""
    monkeypatch.setattr(failpoints, "hook", None)
    failpoints.arm(f"renew.{side}_commit", folder=tmp_path, action="fail")
    await claim(short, 60.0)
    await eventually(lambda: bool(list(tmp_path.glob(f"*.renew.{side}_commit"))))
    await asyncio.sleep(0.6 * SHORT.lease)
    assert await left(short) > 0.4 * SHORT.lease


async def test_a_claim_held_too_long_is_let_go(short: Ledger):
    """H: a call that outlives its own limits is no longer renewed, though its process is well."""
    await claim(short, 0.0)
    await asyncio.sleep(1.1 * SHORT.lease)
    assert await left(short) < 0


async def test_an_attempt_that_nobody_serves_is_made_quiet(short: Ledger):
    """A permit whose answer never reached us stands under our name; the renewal loop closes the doubt."""
    claimed = await claim(short, 60.0)
    await short.database.write(
        lambda connection: store.permit(
            short.database, connection, claimed, me=short.me, seen=0, nonce="n", window=5.0, keyed=False
        ),
        commit="permit",
    )
    short.renewal.served.add("n")
    await asyncio.sleep(0.6 * SHORT.lease)
    assert [None] == await quiet_by(short)
    short.renewal.served.discard("n")
    await asyncio.sleep(0.6 * SHORT.lease)
    assert ["self"] == await quiet_by(short)


async def quiet_by(ledger: Ledger) -> list[str | None]:
    """Who said that the attempts are quiet."""
    rows = await ledger.database.read(lambda connection: store.attempts_of(connection, A.key.external_id))
    return [row.quiet_by for row in rows]
