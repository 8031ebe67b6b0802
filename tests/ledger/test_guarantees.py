"""The cells of the guarantee table (effect-protocol.md §5) that need neither a kill nor a stop."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from toy_vendor import QUICK, MakeThing, Vendor

from plait.clock import BootClock
from plait.http import Transport
from plait.http.errors import InvalidInput, OutcomeUnknown, ServerFailed
from plait.http.operation import Effect
from plait.ledger import Ledger, views
from plait.ledger.identity import canonical
from plait.ledger.store.rows import ATTEMPT, EFFECT

GUARDED = [Effect.KEYED, Effect.FINDABLE, Effect.BLIND]


class OtherClock(BootClock):
    """A runner whose own clock is a year ahead."""

    def now(self) -> float:
        return super().now() + 365 * 86400.0


@pytest.mark.parametrize("effect", GUARDED)
async def test_the_clocks_of_the_runners_do_not_matter(
    ledger_url: str, vendor: Vendor, transport: Transport, effect: Effect
):
    """Leases and looks go by the ledger's clock, windows by elapsed time: one effect each."""
    async with (
        Ledger.open(ledger_url, timing=QUICK) as one,
        Ledger.open(ledger_url, timing=QUICK, clock=OtherClock()) as two,
    ):
        await asyncio.gather(
            *(
                runner.effects(run_key="r").perform(MakeThing(transport, f"n{n}", effect))
                for n in range(4)
                for runner in (one, two)
            )
        )
    assert ["n0", "n1", "n2", "n3"] == sorted(thing.name for thing in vendor.things)


@pytest.mark.parametrize("effect", GUARDED)
async def test_two_who_ask_for_a_rerun_get_one(
    ledger_url: str, vendor: Vendor, transport: Transport, effect: Effect
):
    """Two generations cannot race: both ask with the one they saw, and read one result."""
    recipe = MakeThing(transport, "a", effect, unit="u")
    async with Ledger.open(ledger_url, timing=QUICK) as one, Ledger.open(ledger_url, timing=QUICK) as two:
        await one.effects(run_key="r").perform(recipe)
        again = await asyncio.gather(
            *(runner.effects(run_key="r", generation=1).perform(recipe) for runner in (one, two, one))
        )
    assert (1, 2) == (len({made.id for made in again}), len(vendor.things))


@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_a_vendor_that_cannot_be_asked_is_waited_for(
    ledger_url: str, vendor: Vendor, transport: Transport, effect: Effect
):
    """Nothing is sent on a guess: unknown, with its age and next look; found when the vendor is back."""
    vendor.honours_keys = effect is Effect.KEYED
    vendor.script.extend(["500_after"] * (50 if vendor.honours_keys else 1))
    vendor.looks_fail = True
    async with Ledger.open(ledger_url, timing=replace(QUICK, patience=1.0)) as ledger:
        effects = ledger.effects(run_key="r")
        with pytest.raises(OutcomeUnknown, match="the look failed"):
            await effects.perform(MakeThing(transport, "a", effect))
        [shown] = await ledger.database.read(
            lambda connection: views.list_effects(connection, ledger.database.now(connection))
        )
    assert "unknown" == shown.state
    assert shown.age > 0
    assert shown.next_look_in is not None
    assert "the look failed" in str(shown.reason)
    vendor.looks_fail = False
    vendor.script.clear()
    async with Ledger.open(ledger_url, timing=QUICK) as ledger:
        await ledger.effects(run_key="r").perform(MakeThing(transport, "a", effect))
    assert 1 == len(vendor.things)
    assert effect is Effect.KEYED or vendor.posts == 1


async def test_a_blind_effect_that_lands_late_is_one(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Its answer never comes, whenever it lands: unknown, and not sent again by any machine."""
    vendor.script.append("late")
    recipe = MakeThing(transport, "a", Effect.BLIND)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="plait effects resolve"):
            await ledger.effects(run_key="r").perform(recipe)
        await asyncio.sleep(0.1)
    assert (1, 1) == (vendor.posts, len(vendor.things))


async def test_equal_effects_with_keys_are_told_apart(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Two steps of one run ask for the same at the same time and lose their answers: each has its own."""
    vendor.honours_keys = True
    vendor.script.extend(["drop_after"] * 2)
    recipe = MakeThing(transport, "a", Effect.KEYED)
    effects = ledger.effects(run_key="r")
    made = await asyncio.gather(*(effects.perform(recipe, step=step) for step in ("one", "two")))
    assert {"t1", "t2"} == {thing.id for thing in made}
    assert 2 == len(vendor.things)


@pytest.mark.parametrize(("effect", "things"), [(Effect.KEYED, 1), (Effect.FINDABLE, 2), (Effect.BLIND, 2)])
async def test_a_ledger_that_forgets(
    ledger: Ledger, vendor: Vendor, transport: Transport, effect: Effect, things: int
):
    """A commit is lost, which nothing here can notice: only the vendor's key still holds."""
    vendor.honours_keys = effect is Effect.KEYED
    effects = ledger.effects(run_key="r")
    await effects.perform(MakeThing(transport, "a", effect))
    await ledger.database.write(
        lambda connection: [connection.execute(table.delete()).rowcount for table in (ATTEMPT, EFFECT)],
        commit="claim",
    )
    await effects.perform(MakeThing(transport, "a", effect))
    assert things == len(vendor.things)


@pytest.mark.parametrize("effect", [Effect.KEYED, Effect.FINDABLE])
async def test_a_vendor_that_always_fails_is_not_hammered(
    ledger: Ledger, vendor: Vendor, transport: Transport, effect: Effect
):
    """Three sends, a late look, and the vendor's own words; also where a key would allow more."""
    vendor.script.extend(["500_before"] * 50)
    with pytest.raises(ServerFailed, match="500_before"):
        await ledger.effects(run_key="r").perform(MakeThing(transport, "a", effect))
    assert 3 == vendor.posts


async def test_a_key_the_vendor_forgets_is_not_sent_again(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """E4: with the key's life too short for a repeat, it is looked for as FINDABLE is."""
    vendor.script.append("drop_after")
    forgetful = MakeThing(transport, "a", Effect.KEYED, options={"key_life": 1.0})
    await ledger.effects(run_key="r").perform(forgetful)
    assert (1, 1) == (vendor.posts, len(vendor.things))


@pytest.mark.parametrize(
    ("name", "run_key"), [("bad \ud800", "r"), ("a", "r\0"), ("a", "\ud800"), (float("nan"), "r")]
)
async def test_what_no_database_holds_is_refused_before_anything_happens(
    ledger: Ledger, vendor: Vendor, transport: Transport, name: Any, run_key: str
):
    """A lone surrogate, a NUL, a NaN: named at once, not found out at the first commit."""
    with pytest.raises(InvalidInput):
        await ledger.effects(run_key=run_key).perform(MakeThing(transport, name))
    assert 0 == vendor.posts


def test_equal_values_have_one_spelling():
    """The order of keys is no part of an identity; the order of items is."""
    assert canonical({"b": 1, "a": [1, 2]}) == canonical({"a": [1, 2], "b": 1})
    assert canonical([1, 2]) != canonical([2, 1])
