"""What the sweeper does: it looks and never sends, and what landed late becomes an incident with both ids."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from toy_vendor import QUICK, MakeThing, Thing, Vendor

from plait.http import RetryPolicy, Transport
from plait.http.errors import InvalidInput, OutcomeUnknown, ServerFailed, ValidationFailed
from plait.http.operation import Effect
from plait.ledger import CannotLook, Ledger, Recorded, Timing, store
from plait.ledger.recipe import AnyRecipe
from plait.ledger.settle import LONGEST_SWEEP, SWEEPS, first_sweep, next_sweep
from plait.ledger.store.people import resolve
from plait.ledger.sweep import Restore, reconcile_due, sweep_due, sweep_one
from plait.ledger.views import (
    EffectView,
    count_unclear,
    due_for_look,
    due_for_sweep,
    list_effects,
    show_effect,
)

HASTY = replace(QUICK, patience=0.0)
"""Nothing is waited for: what is unknown is handed back at once."""


def restores(recipe: AnyRecipe) -> Restore:
    """A way back that knows one recipe."""

    async def restore(recorded: Recorded) -> AnyRecipe:
        assert recorded.operation == recipe.operation.name
        return recipe

    return restore


async def lost(url: str, recipe: MakeThing, vendor: Vendor) -> str:
    """Send once, lose the answer, fail to look, hand it back at once; the effect's id."""
    vendor.looks_fail = True
    once = Transport(system="toy", base_url=vendor.url, policy=RetryPolicy(attempts=1))
    async with Ledger.open(url, timing=HASTY) as ledger, once as client:
        with pytest.raises(OutcomeUnknown):
            await ledger.effects(run_key="r").perform(replace(recipe, client=client))
        vendor.looks_fail = False
        return (await ledger.ask(list_effects))[-1].external_id


async def view(ledger: Ledger, external_id: str) -> EffectView:
    """The effect as people see it."""
    return await ledger.ask(partial(show_effect, external_id=external_id))


async def made_late(ledger: Ledger, recipe: MakeThing, vendor: Vendor) -> str:
    """An effect judged absent and sent again, whose first request landed after all."""
    vendor.script.append("drop_before")
    await ledger.effects(run_key="r").perform(recipe)
    vendor.things.append(Thing(id="late", name=recipe.name))
    return (await ledger.ask(partial(list_effects, which="done")))[0].external_id


async def test_reconcile_finds_what_landed(ledger_url: str, vendor: Vendor, transport: Transport):
    """The effect is there: done with its true result, and the run reads it without sending."""
    vendor.script.append("drop_after")
    recipe = MakeThing(transport, "a")
    external_id = await lost(ledger_url, recipe, vendor)
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        made = await ledger.reconcile(external_id, recipe, look_now=True)
        assert "done" == made.became
        assert "t1" == (await ledger.effects(run_key="r").perform(recipe)).id
    assert 1 == vendor.posts


async def test_reconcile_never_sends(ledger_url: str, vendor: Vendor, transport: Transport):
    """Nothing is there, long enough: absent, and only the effect's own run sends again."""
    vendor.script.append("drop_before")
    recipe = MakeThing(transport, "a")
    external_id = await lost(ledger_url, recipe, vendor)
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        await asyncio.sleep(0.3)
        assert "absent" == (await ledger.reconcile(external_id, recipe, look_now=True)).became
        seen = await view(ledger, external_id)
        assert (False, "not at the vendor; its own run may send it") == (seen.unsettled, seen.reason)
        assert 1 == vendor.posts
        assert 0 == await ledger.ask(count_unclear)
        assert [] == await reconcile_due(ledger, restores(recipe))
        await ledger.effects(run_key="r").perform(recipe)
    assert (2, 1) == (vendor.posts, len(vendor.things))


async def test_reconcile_of_a_keyed_effect_never_sends(ledger_url: str, vendor: Vendor, transport: Transport):
    """A key could be sent again at once, but a look is a look."""
    vendor.script.extend(["drop_before"] * 9)
    recipe = MakeThing(transport, "a", Effect.KEYED)
    async with Ledger.open(ledger_url, timing=HASTY) as ledger:
        with pytest.raises((OutcomeUnknown, ServerFailed)):
            await ledger.effects(run_key="r").perform(recipe)
        (open_one,) = await ledger.ask(list_effects)
        before = vendor.posts
        await asyncio.sleep(0.3)
        made = await ledger.reconcile(open_one.external_id, recipe, look_now=True)
    assert "absent" == made.became
    assert before == vendor.posts


async def test_a_look_too_early_says_when(ledger_url: str, vendor: Vendor, transport: Transport):
    """Before D and L are over "not there" is no answer: unknown, with the next look."""
    vendor.script.append("drop_before")
    recipe = MakeThing(transport, "a")
    external_id = await lost(ledger_url, recipe, vendor)
    async with Ledger.open(ledger_url, timing=replace(QUICK, landing_cap=30.0)) as ledger:
        made = await ledger.reconcile(external_id, recipe, look_now=True)
        assert "unknown" == made.became
        assert made.next_look_in is not None
        assert 20 < made.next_look_in < 31
        again = await ledger.reconcile(external_id, recipe)
        assert ("held", True) == (again.became, "may still appear" in again.reason)


async def test_reconcile_leaves_a_live_runner_alone(
    ledger_url: str, vendor: Vendor, transport: Transport, eventually
):
    """Somebody is at it: held, with the process that is."""
    vendor.script.append("hang_after")
    recipe = MakeThing(transport, "a")
    async with Ledger.open(ledger_url, timing=QUICK) as one, Ledger.open(ledger_url, timing=QUICK) as two:
        first = asyncio.create_task(one.effects(run_key="r").perform(recipe))
        await eventually(lambda: vendor.posts == 1)
        (at_work,) = await two.ask(list_effects)
        made = await two.reconcile(at_work.external_id, recipe, look_now=True)
        assert "held" == made.became
        assert "process" in made.reason
        vendor.hold.set()
        await first


async def test_reconcile_refuses_another_operation_and_an_unknown_id(
    ledger_url: str, vendor: Vendor, transport: Transport
):
    """A recipe of another operation cannot settle an effect."""
    vendor.script.append("drop_before")
    external_id = await lost(ledger_url, MakeThing(transport, "a"), vendor)
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        with pytest.raises(InvalidInput, match=r"toy\.make_findable"):
            await ledger.reconcile(external_id, MakeThing(transport, "a", Effect.KEYED))
        with pytest.raises(InvalidInput, match="no effect 'nobody'"):
            await ledger.reconcile("nobody", MakeThing(transport, "a"))


async def test_what_nobody_can_look_at_stands_in_nobodys_way(
    ledger_url: str, vendor: Vendor, transport: Transport
):
    """Rows without a client are left, with the reason; one behind them is settled, whatever the limit."""
    for name in ("x", "y", "a"):
        vendor.script.append("drop_after")
        await lost(ledger_url, MakeThing(transport, name), vendor)

    async def restore(recorded: Recorded) -> AnyRecipe:
        if recorded.inputs["name"] != "a":
            raise CannotLook("there is no client here")
        return MakeThing(transport, "a")

    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        await asyncio.sleep(0.6)
        made = await reconcile_due(ledger, restore, limit=1)
        assert ["left", "left", "done"] == [item.became for item in made]
        assert "there is no client here" == made[0].reason
        assert 2 == await ledger.ask(count_unclear)


async def test_a_blind_effect_is_left_for_a_person(ledger_url: str, vendor: Vendor, transport: Transport):
    """There is nothing to look at; the reason names the command."""
    vendor.script.append("drop_after")
    recipe = MakeThing(transport, "a", Effect.BLIND)
    external_id = await lost(ledger_url, recipe, vendor)
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        (made,) = await reconcile_due(ledger, restores(recipe))
        assert "left" == made.became
        assert f"plait effects resolve {external_id}" in made.reason


async def test_a_late_landing_is_an_incident_with_both_ids(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Judged absent, sent again, then the first lands: both ids, and no more sweeps."""
    recipe = MakeThing(transport, "a")
    external_id = await made_late(ledger, recipe, vendor)
    await asyncio.sleep(0.3)
    (made,) = await sweep_due(ledger, restores(recipe))
    assert "incident" == made.became
    seen = await view(ledger, external_id)
    assert {"t1", "late"} == set(seen.incident["vendor_ids"])
    assert ("done", "t1") == (seen.state, seen.vendor_id)
    assert [None, None] == [attempt.next_sweep for attempt in seen.history]
    assert 1 == await ledger.ask(count_unclear)
    assert [] == await sweep_due(ledger, restores(recipe))


async def test_what_another_effect_is_just_making_is_no_second_match(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """It is at the vendor and not in the ledger yet; the sweep comes again instead of calling it too many."""
    recipe = MakeThing(transport, "a", unit="u")
    external_id = await made_late(ledger, recipe, vendor)
    vendor.things = [Thing(id="t1", name="a")]
    vendor.script.append("hang_after")
    await asyncio.sleep(0.3)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(ledger.effects(run_key="s").perform(recipe))
        while len(vendor.things) < 2:
            await asyncio.sleep(0.01)
        (made,) = await sweep_due(ledger, restores(recipe))
        assert "held" == made.became, made.reason
        vendor.hold.set()
    assert "t2" == other.result().id
    due = (await view(ledger, external_id)).history[0].next_sweep
    assert due is not None
    await asyncio.sleep(max(0.0, due - await ledger.now()) + 0.02)
    assert ["done"] == [item.became for item in await sweep_due(ledger, restores(recipe))]
    assert 0 == await ledger.ask(count_unclear)


async def test_sweeps_come_to_an_end(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Nothing more appears: looked for three times at growing distance, then never again."""
    vendor.script.append("drop_before")
    recipe = MakeThing(transport, "a")
    await ledger.effects(run_key="r").perform(recipe)
    (done,) = await ledger.ask(partial(list_effects, which="done"))
    dues: list[float | None] = []
    for _ in range(SWEEPS):
        swept = (await view(ledger, done.external_id)).history[0]
        assert swept.next_sweep is not None
        dues.append(swept.next_sweep)
        await asyncio.sleep(max(0.0, swept.next_sweep - await ledger.now()) + 0.02)
        assert ["done"] == [item.became for item in await sweep_due(ledger, restores(recipe))]
    assert (await view(ledger, done.external_id)).history[0].next_sweep is None
    assert dues == sorted(dues)


async def test_a_late_landing_before_the_resend_is_simply_found(
    ledger_url: str, vendor: Vendor, transport: Transport
):
    """Absent, not sent again yet, then it lands: the sweep settles it as done, and nothing is sent."""
    vendor.script.append("drop_before")
    recipe = MakeThing(transport, "a")
    external_id = await lost(ledger_url, recipe, vendor)
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        await asyncio.sleep(0.3)
        await ledger.reconcile(external_id, recipe, look_now=True)
        vendor.things.append(Thing(id="late", name="a"))
        await asyncio.sleep(0.3)
        assert ["done"] == [item.became for item in await sweep_due(ledger, restores(recipe))]
        assert "late" == (await ledger.effects(run_key="r").perform(recipe)).id
    assert 1 == vendor.posts


async def test_an_effect_refused_after_all_tries_that_lands_is_an_incident(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Settled as failed, then it is there: for a person, with the id."""
    vendor.script.extend(["500_before"] * 3)
    recipe = MakeThing(transport, "a")
    with pytest.raises(ServerFailed):
        await ledger.effects(run_key="r").perform(recipe)
    vendor.things.append(Thing(id="late", name="a"))
    await asyncio.sleep(0.3)
    (made,) = await sweep_due(ledger, restores(recipe))
    assert "incident" == made.became
    assert "late" in made.reason


async def test_a_refusal_of_a_key_is_revised_when_the_first_request_lands(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """KEYED: lost, refused under the same key, judged refused; then the lost one lands: an incident."""
    vendor.honours_keys = True
    vendor.script.extend(["drop_before", "400"])
    recipe = MakeThing(transport, "a", Effect.KEYED)
    with pytest.raises(ValidationFailed):
        await ledger.effects(run_key="r").perform(recipe)
    vendor.things.append(Thing(id="late", name="a"))
    await asyncio.sleep(0.3)
    (made,) = await sweep_due(ledger, restores(recipe))
    assert ("incident", True) == (made.became, "late" in made.reason)


async def test_a_vendor_that_is_down_postpones_the_sweep(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Looks that fail show nothing: no incident, and a sweep that ends only with a look that tells."""
    recipe = MakeThing(transport, "a")
    external_id = await made_late(ledger, recipe, vendor)
    vendor.looks_fail = True
    hasty = replace(
        recipe, client=Transport(system="toy", base_url=vendor.url, policy=RetryPolicy(attempts=1))
    )
    for _ in range(SWEEPS + 1):
        await _hurry(ledger, external_id)
        made = await sweep_one(ledger, external_id, hasty)
        assert ("unknown", True) == (made.became, "the look failed" in made.reason)
    assert (await view(ledger, external_id)).history[0].next_sweep is not None
    vendor.looks_fail = False
    assert "incident" == (await sweep_one(ledger, external_id, recipe)).became
    await hasty.client.aclose()


async def test_a_doubt_by_time_is_swept_until_its_process_is_dead(
    ledger_url: str, vendor: Vendor, transport: Transport
):
    """Judged absent while its process was only silent: swept while it lives, once more after its death."""
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        recipe = MakeThing(transport, "a")
        vendor.script.append("drop_before")
        await ledger.effects(run_key="r").perform(recipe)
        (done,) = await ledger.ask(partial(list_effects, which="done"))
        rival = await asyncio.to_thread(
            subprocess.Popen, [sys.executable, "-c", HOLDER, ledger_url], stdout=subprocess.PIPE, text=True
        )
        try:
            assert rival.stdout is not None
            holder = (await asyncio.to_thread(rival.stdout.readline)).strip()
            await _blame(ledger, done.external_id, holder)
            for _ in range(SWEEPS + 1):
                await _hurry(ledger, done.external_id)
                await sweep_one(ledger, done.external_id, recipe)
            assert (await view(ledger, done.external_id)).history[0].next_sweep is not None
        finally:
            rival.kill()
            rival.communicate()
        await _hurry(ledger, done.external_id)
        await sweep_one(ledger, done.external_id, recipe)
        swept = (await view(ledger, done.external_id)).history[0]
        assert ("proof", True) == (swept.quiet_by, swept.next_sweep is not None)
        await asyncio.sleep(0.3)
        await _hurry(ledger, done.external_id)
        await sweep_one(ledger, done.external_id, recipe)
        assert (await view(ledger, done.external_id)).history[0].next_sweep is None


HOLDER = """
import asyncio, sys
from plait.ledger import Ledger

async def main():
    async with Ledger.open(sys.argv[1]) as ledger:
        print(ledger.me, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def _blame(ledger: Ledger, external_id: str, holder: str) -> None:
    """Make the first attempt one of a process that has said nothing of it yet."""
    attempts = store.rows.ATTEMPT
    await ledger.database.write(
        lambda connection: connection.execute(
            attempts.update()
            .where(attempts.c.external_id == external_id, attempts.c.n == 1)
            .values(holder=holder, quiet_at=None, quiet_by=None, absent_by="time")
        ),
        commit="record",
    )


async def _hurry(ledger: Ledger, external_id: str) -> None:
    """Let the sweep be due."""
    attempts = store.rows.ATTEMPT
    await ledger.database.write(
        lambda connection: connection.execute(
            attempts.update()
            .where(attempts.c.external_id == external_id, attempts.c.next_sweep.is_not(None))
            .values(next_sweep=1.0)
        ),
        commit="record",
    )


def test_sweeps_grow_apart_and_stay_within_reach(transport: Transport):
    """While the process may still write, the distance grows to its limit; blind effects are not swept."""
    operation = MakeThing(transport, "a").operation
    silent = SilentAttempt()
    waits = [
        next_sweep([silent], operation, Timing(), looked_at=0.0, sweeps=n, answered=True)
        for n in range(1, 12)
    ]
    assert waits == sorted(waits, key=float)  # type: ignore[arg-type]
    assert LONGEST_SWEEP == waits[-1]
    assert first_sweep(MakeThing(transport, "a", Effect.BLIND).operation, Timing(), 0.0) is None


class SilentAttempt:
    """An attempt whose process has said nothing, long after its time to write."""

    send_by = -1e6
    quiet_at = None
    answered = False


async def test_a_person_cannot_call_absent_what_is_done(ledger: Ledger, vendor: Vendor, transport: Transport):
    """A done effect with an incident is resolved as landed: absent would send it once more."""
    recipe = MakeThing(transport, "a")
    external_id = await made_late(ledger, recipe, vendor)
    await asyncio.sleep(0.3)
    await sweep_due(ledger, restores(recipe))
    said = partial(resolve, ledger.database, external_id=external_id, by="Ada", note="seen")
    with pytest.raises(InvalidInput, match="cannot be absent"):
        await ledger.database.write(partial(said, verdict="absent"), commit="verdict")
    await ledger.database.write(partial(said, verdict="landed"), commit="verdict")
    assert ("done", None) == ((seen := await view(ledger, external_id)).state, seen.incident)


async def test_questions_of_the_sweeper_use_indexes(tmp_path: Path):
    """Neither question scans the effects of a grown ledger."""
    async with Ledger.open(tmp_path / "ledger.db") as ledger:
        plans: list[str] = []

        def explain(connection, now):
            for question in (due_for_look, due_for_sweep, list_effects, count_unclear):
                plans.extend(_plan(connection, question, now))

        await ledger.ask(explain)
    assert plans
    assert not [line for line in plans if line.startswith("SCAN effect") and "USING INDEX" not in line]


def _plan(connection, question, now):
    """The plan of the statements that a question runs."""
    from sqlalchemy import event  # noqa: PLC0415 - only here

    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        seen.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    question(connection, now, **({"limit": 10} if question in (due_for_look, due_for_sweep) else {}))
    event.remove(connection.engine, "before_cursor_execute", note)
    for statement, parameters in seen:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        yield from (row[-1] for row in rows)
