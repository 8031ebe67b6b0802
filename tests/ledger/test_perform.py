"""An effect happens once, judged by what the vendor counted."""

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from toy_vendor import QUICK, MakeThing, Thing, Vendor

from plait.http import RetryPolicy, Transport
from plait.http.errors import NotSent, OutcomeUnknown, RateLimited, ServerFailed, ValidationFailed
from plait.http.operation import Effect
from plait.ledger import EffectIncident, EffectInProgress, ExternalIdReused, GenerationConflict, Ledger, store
from plait.ledger.views import list_effects


async def test_second_perform_reads_the_record(ledger: Ledger, vendor: Vendor, transport: Transport):
    """The same intent asked twice sends once and answers the same."""
    effects = ledger.effects(run_key="r")
    first = await effects.perform(MakeThing(transport, "a"))
    again = await effects.perform(MakeThing(transport, "a"))
    assert Thing(id="t1", name="a") == first == again
    assert vendor.posts == 1


async def test_another_run_key_step_or_input_is_another_effect(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Identity is run key, step and inputs together."""
    one = ledger.effects(run_key="r")
    await one.perform(MakeThing(transport, "a"))
    await one.perform(MakeThing(transport, "a"), step="2")
    await one.perform(MakeThing(transport, "b"))
    await ledger.effects(run_key="s").perform(MakeThing(transport, "a"))
    assert ["a", "a", "b", "a"] == [thing.name for thing in vendor.things]


@pytest.mark.parametrize("fault", ["drop_after", "500_after", "hang_after"])
@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_lost_answer_is_found_again(
    ledger: Ledger, vendor: Vendor, transport: Transport, fault: str, effect: Effect
):
    """The effect took place, its answer was lost: one thing, and its true result."""
    vendor.script.append(fault)
    vendor.honours_keys = effect is Effect.KEYED
    made = await ledger.effects(run_key="r").perform(MakeThing(transport, "a", effect))
    assert ("t1", "a") == (made.id, made.name)
    assert len(vendor.things) == 1


@pytest.mark.parametrize("fault", ["drop_before", "500_before"])
@pytest.mark.parametrize("effect", [Effect.FINDABLE, Effect.KEYED])
async def test_lost_request_is_sent_again(
    ledger: Ledger, vendor: Vendor, transport: Transport, fault: str, effect: Effect
):
    """Nothing took place: after an exhaustive late look it is sent again, once."""
    vendor.script.append(fault)
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a", effect))
    assert (1, 2) == (len(vendor.things), vendor.posts)


@pytest.mark.parametrize("status", [408, 502, 503, 504, 520, 524, 599])
async def test_a_proxys_answer_does_not_end_the_work(
    ledger_url: str, vendor: Vendor, transport: Transport, status: int
):
    """The vendor works inside the request, and goes on when something before it gives up."""
    vendor.script.append(f"{status}_late")
    made = MakeThing(transport, "a", options={"ends_with_answer": True})
    async with Ledger.open(ledger_url, timing=replace(QUICK, landing_cap=0.6)) as ledger:
        await ledger.effects(run_key="r").perform(made)
    assert (1, 1) == (len(vendor.things), vendor.posts)


async def test_late_landing_within_its_bound_is_waited_for(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """A request that lands after we hung up, but within D, is found and not repeated."""
    vendor.script.append("late")
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert (1, 1) == (len(vendor.things), vendor.posts)


async def test_server_failure_that_repeats_is_raised_and_proved_absent(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Three sends, three times proved absent: the vendor's words reach the caller, and the key is free."""
    vendor.script.extend(["500_before"] * 3)
    effects = ledger.effects(run_key="r")
    with pytest.raises(ServerFailed, match="500_before"):
        await effects.perform(MakeThing(transport, "a"))
    assert 3 == vendor.posts
    await effects.perform(MakeThing(transport, "a"))
    assert 1 == len(vendor.things)


async def test_refusal_frees_the_key(ledger: Ledger, vendor: Vendor, transport: Transport):
    """A 4xx claims nothing: it is raised, and a later submission may send."""
    vendor.script.append("400")
    effects = ledger.effects(run_key="r")
    with pytest.raises(ValidationFailed):
        await effects.perform(MakeThing(transport, "a"))
    await effects.perform(MakeThing(transport, "a"))
    assert (1, 2) == (len(vendor.things), vendor.posts)


async def test_refusal_after_a_lost_answer_is_looked_at_first(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """KEYED: the first landed unseen, the repeat is refused (400). Looked at, it is found."""
    vendor.script.extend(["drop_after", "400"])
    made = await ledger.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert ("t1", 1) == (made.id, len(vendor.things))


async def test_refusal_after_a_lost_request_is_a_refusal(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """KEYED: the first never arrived, the repeat is refused: rejected once the look came late enough."""
    vendor.script.extend(["drop_before", "400"])
    with pytest.raises(ValidationFailed):
        await ledger.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert not vendor.things


async def test_conflict_is_no_answer(ledger: Ledger, vendor: Vendor, transport: Transport):
    """409 with nothing of ours at the vendor: looked at, absent, sent again."""
    vendor.script.append("409")
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert 1 == len(vendor.things)


async def test_blind_outcome_stops_for_a_person(ledger: Ledger, vendor: Vendor, transport: Transport):
    """No key and nothing to look at: unknown, shown, never sent again by a machine."""
    vendor.script.append("drop_after")
    effects = ledger.effects(run_key="r")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="plait effects resolve") as raised:
            await effects.perform(MakeThing(transport, "a", Effect.BLIND))
        assert not raised.value.retryable
    assert (1, 1) == (len(vendor.things), vendor.posts)


async def test_a_persons_word_outlives_a_rate_limit(ledger: Ledger, vendor: Vendor, transport: Transport):
    """BLIND: told that it did not happen, put off once, then sent; nobody is asked again."""
    vendor.script.extend(["drop_before", "429"])
    effects, making = ledger.effects(run_key="r"), MakeThing(transport, "a", Effect.BLIND)
    with pytest.raises(OutcomeUnknown):
        await effects.perform(making)
    external_id = (await ledger.ask(partial(list_effects, which="open")))[0].external_id
    await ledger.database.write(
        lambda connection: store.resolve(
            ledger.database, connection, external_id, verdict="absent", by="ann", note="asked them"
        ),
        commit="verdict",
    )
    with pytest.raises(RateLimited):
        await effects.perform(making)
    async with Transport(system="toy", base_url=vendor.url) as later:  # its gate remembers no pause
        await effects.perform(replace(making, client=later))
    assert (1, 3) == (len(vendor.things), vendor.posts)


async def test_long_rate_limit_is_raised_and_leaves_nothing_open(ledger: Ledger, vendor: Vendor):
    """429 with a long Retry-After: nothing happened, the next try sends."""
    vendor.script.append("429")
    async with Transport(
        system="toy", base_url=vendor.url, policy=RetryPolicy(max_inline_wait=1.0)
    ) as transport:
        with pytest.raises(RateLimited) as raised:
            await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert 120.0 == pytest.approx(raised.value.retry_after, abs=1.0)
    async with Transport(system="toy", base_url=vendor.url) as transport:
        await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert 1 == len(vendor.things)


async def test_refused_connection_sends_nothing(ledger: Ledger):
    """No server: NotSent, and the effect is still only intended."""
    policy = RetryPolicy(attempts=1)
    async with Transport(system="toy", base_url="http://127.0.0.1:9", policy=policy) as transport:
        with pytest.raises(NotSent):
            await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))


async def test_same_identity_with_another_account_is_refused(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """One run key against two accounts is an error before anything is sent."""
    effects = ledger.effects(run_key="r")
    await effects.perform(MakeThing(transport, "a"))
    with pytest.raises(ExternalIdReused, match="another run key"):
        await effects.perform(MakeThing(transport, "a", account="you"))
    assert 1 == vendor.posts


async def test_several_matches_are_an_incident(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Two entries that could be ours: both ids are named, nothing is adopted or sent."""
    vendor.script.append("drop_before")
    vendor.looks_fail = True
    impatient = Ledger.open(
        ledger.database.url.render_as_string(hide_password=False), timing=replace(QUICK, patience=0)
    )
    async with impatient as other:
        with pytest.raises(OutcomeUnknown):
            await other.effects(run_key="r").perform(MakeThing(transport, "a"))
    vendor.looks_fail = False
    vendor.things += [Thing(id="x", name="a"), Thing(id="y", name="a")]
    await asyncio.sleep(1)
    with pytest.raises(EffectIncident, match=r"x.*y"):
        await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert 1 == vendor.posts


async def test_two_runners_make_one_effect(ledger_url: str, vendor: Vendor, transport: Transport):
    """Two ledgers race for eight effects: the loser waits and reads the winner's result."""
    async with Ledger.open(ledger_url, timing=QUICK) as one, Ledger.open(ledger_url, timing=QUICK) as two:
        names = [f"n{i}" for i in range(8)]
        results = await asyncio.gather(
            *(
                x.effects(run_key="r").perform(MakeThing(transport, name))
                for name in names
                for x in (one, two)
            )
        )
    assert sorted(names) == sorted(thing.name for thing in vendor.things)
    assert results[0::2] == results[1::2]


async def test_waiting_for_another_runner_has_an_end(
    ledger_url: str, vendor: Vendor, transport: Transport, eventually
):
    """A live holder that takes long makes the second runner say who holds it."""
    vendor.script.append("hang_after")
    async with (
        Ledger.open(ledger_url, timing=QUICK) as one,
        Ledger.open(ledger_url, timing=replace(QUICK, patience=0.3)) as two,
    ):
        first = asyncio.create_task(one.effects(run_key="r").perform(MakeThing(transport, "a")))
        await eventually(lambda: vendor.posts == 1)
        with pytest.raises(EffectInProgress, match="process"):
            await two.effects(run_key="r").perform(MakeThing(transport, "a"))
        vendor.hold.set()
        await first
    assert 1 == len(vendor.things)


async def test_cancelled_call_is_settled_by_the_next(
    ledger: Ledger, vendor: Vendor, transport: Transport, eventually
):
    """Cancelled while the vendor works: unknown, then found; one effect."""
    vendor.script.append("hang_after")
    effects = ledger.effects(run_key="r")
    call = asyncio.create_task(effects.perform(MakeThing(transport, "a")))
    await eventually(lambda: len(vendor.things) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await effects.perform(MakeThing(transport, "a"))
    assert (1, 1) == (len(vendor.things), vendor.posts)


async def test_equal_effects_of_one_unit_get_their_own_results(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Two steps with one text: the lost answer of the first never takes the second's entry."""
    vendor.script.extend(["drop_after", "ok"])
    effects = ledger.effects(run_key="r")
    made = await asyncio.gather(
        effects.perform(MakeThing(transport, "a", unit="u"), step="1"),
        effects.perform(MakeThing(transport, "a", unit="u"), step="2"),
    )
    assert {"t1", "t2"} == {thing.id for thing in made}
    assert 2 == len(vendor.things)


async def test_a_new_generation_is_a_genuine_rerun(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Generation 1 sends again, once; generation 3 without 2 is refused."""
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a", unit="u"))
    for _ in range(2):
        await ledger.effects(run_key="r", generation=1).perform(MakeThing(transport, "a", unit="u"))
    with pytest.raises(GenerationConflict):
        await ledger.effects(run_key="r", generation=3).perform(MakeThing(transport, "a", unit="u"))
    assert 2 == len(vendor.things)


async def test_batch_loses_no_item(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Ten items, one refused, one of them twice: nine effects and ten outcomes in order."""
    vendor.script.append("400")
    recipes = [MakeThing(transport, f"n{i}") for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 8)]
    seen: list[int] = []
    outcomes = await ledger.effects(run_key="r").perform_many(
        recipes, concurrency=3, on_settled=lambda index, _: seen.append(index)
    )
    assert ["done"] * 9 == sorted(o.status for o in outcomes if o.status == "done")
    assert 1 == sum(isinstance(o.error, ValidationFailed) for o in outcomes)
    assert outcomes[8] == outcomes[9] or "failed" in {outcomes[8].status, outcomes[9].status}
    assert list(range(10)) == sorted(seen)
    assert len(vendor.things) == len({thing.name for thing in vendor.things})
