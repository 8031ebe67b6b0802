"""Concurrent permits and records share transactions, and one bad job fails nobody else."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import event, text
from toy_vendor import MakeThing, Vendor

from plait.http import Transport
from plait.ledger import Ledger, LedgerUnavailable, store
from plait.ledger.database import Database
from plait.ledger.store.rows import ATTEMPT, EFFECT, lock


def all_rows(connection: Any, table: Any) -> Sequence[Any]:
    """Every row of a table."""
    return connection.execute(table.select()).all()


async def test_concurrent_effects_share_their_commits(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Forty effects need a claim, a permit and a record each, and far fewer than 120 commits."""
    commits = 0

    def count(_connection: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(ledger.database._engine, "commit", count)
    effects = ledger.effects(run_key="r")
    await asyncio.gather(*(effects.perform(MakeThing(transport, f"n{n}")) for n in range(40)))
    assert 40 == len(vendor.things)
    assert commits < 60
    attempts = await ledger.database.read(lambda connection: all_rows(connection, ATTEMPT))
    assert 40 == len({attempt.external_id for attempt in attempts}) == len(attempts), "one permit per effect"


async def test_a_batch_is_claimed_in_shared_transactions_and_permitted_one_by_one(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """At the moment the first request is sent, only what is being sent has a permit."""
    vendor.script.extend(["hang_after"] * 4)
    batch = asyncio.create_task(
        ledger.effects(run_key="r").perform_many(
            [MakeThing(transport, f"n{n}") for n in range(16)], concurrency=4
        )
    )
    async with asyncio.timeout(60):
        while vendor.posts < 4:
            await asyncio.sleep(0.01)
    states = [row.state for row in await ledger.database.read(lambda c: all_rows(c, EFFECT))]
    attempts = await ledger.database.read(lambda connection: all_rows(connection, ATTEMPT))
    assert (16, 12, 4) == (len(states), states.count("intended"), len(attempts))
    vendor.hold.set()
    assert {"done"} == {outcome.status for outcome in await batch}


async def test_one_bad_job_fails_nobody_else(ledger: Ledger):
    """A bug, a broken statement and a duplicate in one group: each tells its own caller, the rest commit."""
    database = ledger.database
    row = (await database.read(lambda connection: store.processes(connection, [ledger.me])))[0]

    def bug(_connection: object) -> None:
        raise ZeroDivisionError

    def broken(connection: Any) -> None:
        connection.execute(text("SELECT nothing_of_the_kind"))

    def twice(connection: Any) -> None:
        store.register(connection, dict(row._mapping))

    def good(name: str) -> Callable[[Any], None]:
        return lambda connection: store.register(connection, {**row._mapping, "holder": name})

    begun = time.monotonic()
    answers = await asyncio.gather(
        database.write(good("h1"), commit="record"),
        database.write(bug, commit="record"),
        database.write(good("h2"), commit="record"),
        database.write(broken, commit="record", patience=0.1),
        database.write(twice, commit="record", patience=60.0),
        database.write(good("h3"), commit="record"),
        return_exceptions=True,
    )
    kinds = [type(answer) for answer in answers]
    none = type(None)
    assert [none, ZeroDivisionError, none, LedgerUnavailable, LedgerUnavailable, none] == kinds
    assert time.monotonic() - begun < 20, "what cannot succeed is not tried for as long as its patience"
    assert 3 == len(await database.read(lambda connection: store.processes(connection, ["h1", "h2", "h3"])))


async def test_a_cancelled_caller_leaves_its_job_to_be_committed(ledger: Ledger):
    """Half a decision is worse than a whole one that nobody waits for."""
    row = (await ledger.database.read(lambda connection: store.processes(connection, [ledger.me])))[0]
    job = asyncio.create_task(
        ledger.database.write(
            lambda connection: store.register(connection, {**row._mapping, "holder": "h"}), commit="record"
        )
    )
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    async with asyncio.timeout(60):
        while not await ledger.database.read(lambda connection: store.processes(connection, ["h"])):
            await asyncio.sleep(0.01)


async def test_a_closed_ledger_says_so(ledger_url: str, transport: Transport):
    """Not a hang, not a lost job."""
    async with Ledger.open(ledger_url) as ledger:
        effects = ledger.effects(run_key="r")
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await effects.perform(MakeThing(transport, "a"))


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_deadlock_is_tried_again(ledger_url: str, ledger: Ledger, transport: Transport):
    """Two groups that take two rows in opposite order: PostgreSQL ends one, which is repeated alone."""
    effects = ledger.effects(run_key="r")
    for name in ("a", "b"):
        await effects.perform(MakeThing(transport, name))
    ids = [row.external_id for row in await ledger.database.read(lambda c: all_rows(c, EFFECT))]
    other = Database(ledger_url)
    other.start()
    met = threading.Barrier(2)
    tries = 0

    def take(order: Sequence[str]) -> Callable[[Any], None]:
        def job(connection: Any) -> None:
            nonlocal tries
            tries += 1
            lock(connection, order[0])
            if tries <= 2:
                met.wait(timeout=10)
            lock(connection, order[1])

        return job

    await asyncio.gather(
        ledger.database.write(take(ids), commit="record"), other.write(take(ids[::-1]), commit="record")
    )
    assert tries > 2, "there was no deadlock"
    await asyncio.to_thread(other.stop)


async def test_a_group_locks_in_one_order(ledger: Ledger):
    """Whatever the order of the calls: two processes that lock the same rows cannot wait for each other."""
    held, order = threading.Event(), []
    jobs = [ledger.database.write(lambda _: held.wait(60), commit="claim")]
    jobs += [
        ledger.database.write(lambda _, n=name: order.append(n), commit="claim", about=name) for name in "cab"
    ]
    working = asyncio.gather(*jobs)
    await asyncio.sleep(0)
    held.set()
    await working
    assert ["a", "b", "c"] == order
