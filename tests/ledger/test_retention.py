"""Retention drops what nobody needs and never re-opens a window."""

from dataclasses import asdict, dataclass

import pytest
from ledger_steps import Steps, make_intent
from toy_vendor import MakeThing, Thing, Vendor

from plait.http import Transport
from plait.http.operation import Effect
from plait.ledger import Identity, Ledger, ResultDropped, store
from plait.ledger.process import enter, leave
from plait.ledger.store.rows import ATTEMPT, EFFECT
from plait.ledger.tables import State


@dataclass
class ByContent(MakeThing):
    """Equal content is one effect for ever, as an upload is."""

    async def identity(self) -> Identity:
        return Identity(account=self.account, target="things", inputs={"name": self.name}, by_content=True)


async def compact(ledger: Ledger, older_than: float = -1.0) -> int:
    """Everything that is settled by now."""
    return await ledger.database.write(
        lambda connection: store.compact(ledger.database, connection, older_than=older_than),
        commit="record",
    )


async def test_a_rerun_after_retention_sends_nothing(ledger: Ledger, vendor: Vendor, transport: Transport):
    """The key is still taken: the error says so, names the vendor's id, and what to do."""
    effects = ledger.effects(run_key="r")
    await effects.perform(MakeThing(transport, "a"))
    assert 1 == await compact(ledger)
    with pytest.raises(ResultDropped, match=r"done as 't1'.*retention.*new generation") as raised:
        await effects.perform(MakeThing(transport, "a"))
    assert ({"vendor_id": "t1"}, False) == (raised.value.details, raised.value.retryable)
    [outcome] = await effects.perform_many([MakeThing(transport, "a")])
    assert isinstance(outcome.error, ResultDropped)
    assert 1 == vendor.posts
    await ledger.effects(run_key="r", generation=1).perform(MakeThing(transport, "a"))
    assert 2 == vendor.posts


async def test_what_counts_by_content_still_answers(ledger: Ledger, vendor: Vendor, transport: Transport):
    """An upload is asked for by every later run: its small result stays."""
    first = await ledger.effects(run_key="r").perform(ByContent(transport, "a"))
    assert 1 == await compact(ledger)
    assert first == await ledger.effects(run_key="s").perform(ByContent(transport, "a"))
    assert 1 == vendor.posts


async def test_what_is_submitted_again_can_be_looked_for(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Refused, its inputs dropped, sent again and lost: a look finds out by the inputs."""
    vendor.script.extend(["400", "drop_before"])
    effects, making = ledger.effects(run_key="r"), MakeThing(transport, "a", Effect.BLIND)
    await effects.perform_many([making])
    assert 1 == await compact(ledger)
    [outcome] = await effects.perform_many([making])
    assert "unknown" == outcome.status
    [row] = await ledger.database.read(lambda connection: connection.execute(EFFECT.select()).all())
    assert {"name": "a"} == row.inputs


async def test_a_killed_process_is_forgotten_in_time(ledger: Ledger):
    """Its end is recorded once it is proved, its lock file goes, and later its row."""
    killed = enter(ledger.folder)
    values = asdict(killed) | {"ended_at": None}
    await ledger.database.write(lambda connection: store.register(connection, values), commit="claim")
    assert 0 == await ledger.bury()
    leave(ledger.folder, killed, recorded=False)
    lock = ledger.folder / f"{killed.holder}.lock"
    assert (True, 1, False) == (lock.exists(), await ledger.bury(), lock.exists())
    assert frozenset({killed.holder}) == await ledger.dead({killed.holder})
    await compact(ledger)
    assert [] == await ledger.database.read(lambda connection: store.processes(connection, [killed.holder]))


async def test_a_refused_effect_may_be_submitted_again(ledger: Ledger, vendor: Vendor, transport: Transport):
    """Its key was free before retention and is free after it; its new result is not "dropped"."""
    vendor.script.append("400")
    effects = ledger.effects(run_key="r")
    [outcome] = await effects.perform_many([MakeThing(transport, "a")])
    assert "failed" == outcome.status
    assert 1 == await compact(ledger)
    for _ in range(2):
        assert Thing(id="t1", name="a") == await effects.perform(MakeThing(transport, "a"))
    assert 1 == len(vendor.things)


async def test_young_and_compacted_effects_are_left_alone(
    ledger: Ledger, vendor: Vendor, transport: Transport
):
    """Age is counted from settling; a second pass finds nothing to do."""
    await ledger.effects(run_key="r").perform(MakeThing(transport, "a"))
    assert [0, 1, 0] == [await compact(ledger, age) for age in (60.0, -1.0, -1.0)]
    assert [] == list(vendor.script)


def test_open_effects_incidents_and_sweeps_are_not_touched(ledger_url: str):
    """Whatever a run, a person or the sweep still needs stays whole."""
    steps = Steps(ledger_url)
    sent, marked, swept = (make_intent(name) for name in ("sent", "marked", "swept"))
    for intent in (sent, marked, swept):
        steps.permit(steps.claim(intent, "one"), "one")
    for intent in (marked, swept):
        steps.run(store.land, intent.key.external_id, "n", result={"id": "v"}, vendor_id="v", visibility=0.0)
    steps.run(store.land, marked.key.external_id, "n", result={"id": "w"}, vendor_id="w", visibility=0.0)
    steps.run(store.wrote_late, swept.key.external_id, "n", sweep_in=5.0)
    before = [(steps.row(intent), steps.attempts(intent)) for intent in (sent, marked, swept)]
    assert steps.row(marked).incident is not None
    steps.pass_time(1e6)
    assert 0 == steps.run(store.compact, older_than=1.0)
    assert before == [(steps.row(intent), steps.attempts(intent)) for intent in (sent, marked, swept)]
    steps.close()


def test_an_answer_that_comes_after_retention_is_evidence(ledger_url: str):
    """Its attempt's row is gone; the same id changes nothing, another one is an incident."""
    steps = Steps(ledger_url)
    intent = make_intent("a")
    steps.permit(steps.claim(intent, "one"), "one")
    steps.run(store.land, intent.key.external_id, "n", result={}, vendor_id="v", visibility=0.0)
    steps.pass_time(10)
    assert 1 == steps.run(store.compact, older_than=1.0)
    assert [] == steps.attempts(intent)
    for vendor_id, expected in (("v", None), ("w", ["v", "w"])):
        steps.run(store.land, intent.key.external_id, "n", result={}, vendor_id=vendor_id, visibility=0.0)
        incident = steps.row(intent).incident
        assert expected == (incident and incident["vendor_ids"])
    assert State.DONE == steps.row(intent).state
    steps.close()


def test_retention_keeps_identity_and_drops_bulk(ledger_url: str):
    """Id, fingerprint, state and vendor id stay; inputs, result and closed attempts go; page by page."""
    steps = Steps(ledger_url)
    intents = [make_intent(f"e{n}") for n in range(5)]
    for intent in intents:
        steps.permit(steps.claim(intent, "one"), "one")
        steps.run(store.land, intent.key.external_id, "n", result={"id": "v"}, vendor_id="v", visibility=0.0)
    steps.pass_time(10)
    assert [2, 2, 1, 0] == [steps.run(store.compact, older_than=1.0, limit=2) for _ in range(4)]
    with steps.db._engine.connect() as connection:
        assert [] == connection.execute(ATTEMPT.select()).all()
        rows = connection.execute(EFFECT.select()).all()
    assert {(State.DONE, "v", None, None)} == {(x.state, x.vendor_id, x.inputs, x.result) for x in rows}
    assert {x.key.fingerprint for x in intents} == {row.fingerprint for row in rows}
    steps.close()
