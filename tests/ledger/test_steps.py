"""Single steps of the protocol on a clock that the test moves, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from ledger_steps import LEASE, PLAIN, Steps, make_intent

from plait.http.errors import InvalidInput
from plait.http.operation import Effect
from plait.ledger import EffectInProgress, ExternalIdReused, GenerationConflict, PermitRefused, store
from plait.ledger.tables import AttemptOutcome, State

A = make_intent("a")
ID = A.key.external_id


@pytest.fixture
def steps(ledger_url: str) -> Iterator[Steps]:
    """A ledger whose clock stands still until it is moved."""
    opened = Steps(ledger_url)
    yield opened
    opened.close()


def absent(steps: Steps, claimed: store.Claim, **options: object) -> object:
    """The verdict of a look that began now."""
    given = {"seen": 1, "looked_at": steps.moment(), "operation": A.operation, "timing": PLAIN} | options
    return steps.run(store.absent, claimed, **given)


def land(steps: Steps, nonce: str, vendor_id: str, external_id: str = ID) -> None:
    """A complete 2xx for one attempt."""
    steps.run(store.land, external_id, nonce, result={"id": vendor_id}, vendor_id=vendor_id, visibility=1.0)


def test_a_claim_whose_answer_was_lost_is_repeated(steps: Steps):
    """The same nonce gets the same token; another one is told who holds it, and until when."""
    first = steps.claim(A, "one")
    assert first == steps.claim(A, "one")
    held = steps.claim(A, "two")
    assert ("one", steps.moment() + LEASE) == (held.holder, held.until)


def test_a_lease_ends_and_a_proof_ends_it_at_once(steps: Steps):
    """One tick before its end it holds; then, or with proof of death before, the token rises."""
    assert 1 == steps.claim(A, "one").token
    steps.pass_time(LEASE - 0.001)
    assert isinstance(steps.claim(A, "two"), store.Held)
    taken = steps.claim(A, "two", dead=frozenset({"one"}))
    assert (2, True) == (taken.token, taken.took_over)
    steps.pass_time(LEASE)
    assert 3 == steps.claim(A, "three").token


def test_renewal_never_revives_a_lapsed_lease(steps: Steps):
    """Renewed in time it holds on; one tick late, or with a stale token, nothing changes."""
    first = steps.claim(A, "one")
    steps.pass_time(LEASE - 1)
    steps.run(store.renew, [(ID, first.token)], me="one", lease=LEASE)
    assert steps.moment() + LEASE == steps.row(A).lease_until
    steps.pass_time(LEASE)
    steps.run(store.renew, [(ID, first.token)], me="one", lease=LEASE)
    assert steps.moment() == steps.row(A).lease_until
    steps.claim(A, "two")
    steps.run(store.renew, [(ID, first.token)], me="one", lease=99 * LEASE)
    assert steps.moment() + LEASE == steps.row(A).lease_until


def test_a_permit_needs_token_lease_and_a_clear_past(steps: Steps):
    """Each condition by itself refuses it; a repeated commit gets the same permit."""
    first = steps.claim(A, "one")
    given = steps.permit(first, "one", "n1")
    assert given == steps.permit(first, "one", "n1")
    with pytest.raises(PermitRefused, match="another attempt was made"):
        steps.permit(first, "one", "n2")
    with pytest.raises(PermitRefused, match="unsettled"):
        steps.permit(first, "one", "n2", seen=1)
    steps.pass_time(LEASE)
    with pytest.raises(PermitRefused, match="lease"):
        steps.permit(first, "one", "n2", seen=1)
    steps.claim(A, "two")
    with pytest.raises(PermitRefused, match="taken it over"):
        steps.permit(first, "one", "n2", seen=1)


def test_a_lost_permit_is_not_found_again_after_it_was_closed(steps: Steps):
    """Its commit's answer was lost, a person said "absent" meanwhile: the repeat may not send."""
    first = steps.claim(A, "one")
    steps.permit(first, "one", "n1")
    steps.pass_time(LEASE)
    steps.run(store.resolve, ID, verdict="absent", by="ann", note="looked")
    with pytest.raises(PermitRefused, match="closed as absent"):
        steps.permit(first, "one", "n1")


def test_absent_is_late_enough_to_the_tick(steps: Steps):
    """E3 on the ledger's own clock: quiet + D + L, and not one tick less."""
    first = steps.claim(A, "one")
    steps.permit(first, "one")
    early = absent(steps, first)
    assert isinstance(early, store.TooEarly)
    assert (None, "one") == (early.at, early.silent_holder)
    steps.run(store.quiet, ID, "n")
    steps.pass_time(2.999)
    early = absent(steps, first)
    assert isinstance(early, store.TooEarly)
    assert early.at == pytest.approx(steps.moment() + 0.001)
    steps.pass_time(0.002)
    assert isinstance(absent(steps, first, looked_at=steps.moment() - 0.002), store.TooEarly)
    assert State.SENT == absent(steps, first)


def test_what_is_blind_is_never_absent(steps: Steps):
    """However late the look, and whatever it says."""
    blind = make_intent("a", effect=Effect.BLIND)
    first = steps.claim(blind, "one")
    steps.permit(first, "one")
    steps.run(store.quiet, blind.key.external_id, "n")
    steps.pass_time(LEASE * 1000)
    first = steps.claim(blind, "two")
    early = absent(steps, first, operation=blind.operation)
    assert isinstance(early, store.TooEarly)
    assert (None, None) == (early.at, early.silent_holder)


@pytest.mark.parametrize("state", [State.DONE, State.UNKNOWN, State.REJECTED])
def test_landing_after_it_was_judged_absent_is_an_incident(steps: Steps, state: State):
    """Later than D: the answer is true all the same, and a person gets every id."""
    first = steps.claim(A, "one")
    steps.permit(first, "one", "late")
    steps.run(store.quiet, ID, "late")
    steps.pass_time(3)
    absent(steps, first)
    steps.permit(first, "one", "second", seen=1)
    if state is State.DONE:
        land(steps, "second", "v2")
    elif state is State.REJECTED:
        steps.run(store.reject, ID, "second", token=first.token, answer={}, reason="no")
    land(steps, "late", "v1")
    row = steps.row(A)
    assert "landed after all" in row.incident["note"]
    assert {"v1", "v2"} >= set(row.incident["vendor_ids"]) >= {"v1"}
    assert (["v2", "v1"] if state is State.DONE else ["v1"]) == row.incident["vendor_ids"]
    land(steps, "late", "v1")
    assert row.incident == steps.row(A).incident, "told twice, written once"


def test_two_answers_with_two_ids_are_an_incident(steps: Steps):
    """KEYED: the vendor made two under one key; both ids are kept."""
    keyed = make_intent("a", effect=Effect.KEYED)
    first = steps.claim(keyed, "one")
    steps.permit(first, "one", "n1", keyed=True)
    steps.permit(first, "one", "n2", keyed=True, seen=1)
    land(steps, "n2", "v2", keyed.key.external_id)
    assert [AttemptOutcome.LANDED] * 2 == [one.outcome for one in steps.attempts(keyed)]
    assert steps.row(keyed).incident is None
    land(steps, "n1", "v1", keyed.key.external_id)
    assert ["v2", "v1"] == steps.row(keyed).incident["vendor_ids"]


def test_a_stale_runner_cannot_refuse_or_doubt(steps: Steps):
    """Its 4xx and its silence are about its own attempt; what another made of the effect stays."""
    first = steps.claim(A, "one")
    steps.permit(first, "one", "n1")
    steps.run(store.quiet, ID, "n1")
    steps.pass_time(LEASE)
    second = steps.claim(A, "two")
    steps.run(store.found, second, seen=1, result={}, vendor_id="v", visibility=0.0)
    assert State.DONE == steps.run(store.reject, ID, "n1", token=first.token, answer={}, reason="no")
    steps.write(lambda connection: store.doubt(connection, ID, token=first.token, reason="?"))
    steps.run(store.release, ID, me="one", token=first.token, look_in=99.0)
    assert (State.DONE, "v", None) == (steps.row(A).state, steps.row(A).vendor_id, steps.row(A).next_look)


def test_a_refusal_counts_only_when_nothing_else_may_have_landed(steps: Steps):
    """KEYED, an earlier attempt open: unknown until a late look; then refused, and the key is free."""
    keyed = make_intent("a", effect=Effect.KEYED)
    first = steps.claim(keyed, "one")
    steps.permit(first, "one", "n1", keyed=True)
    steps.run(store.quiet, keyed.key.external_id, "n1")
    steps.permit(first, "one", "n2", keyed=True, seen=1)
    refused = steps.run(
        store.reject, keyed.key.external_id, "n2", token=first.token, answer={"status": 422}, reason="no"
    )
    assert State.UNKNOWN == refused
    steps.pass_time(3)
    for _ in range(2):  # the second time because the commit's answer was lost
        assert State.REJECTED == absent(steps, first, seen=2, operation=keyed.operation)
    assert 2 == steps.claim(keyed, "two").token


@pytest.mark.parametrize("status", [429, 307])
def test_being_put_off_or_sent_elsewhere_is_no_refusal(steps: Steps, status: int):
    """KEYED, the first attempt lost and absent, the second told to wait: it may be sent again."""
    keyed = make_intent("a", effect=Effect.KEYED)
    first = steps.claim(keyed, "one")
    steps.permit(first, "one", "n1", keyed=True)
    steps.run(store.quiet, keyed.key.external_id, "n1")
    steps.permit(first, "one", "n2", keyed=True, seen=1)
    steps.run(store.refuse, keyed.key.external_id, "n2", answer={"status": status})
    steps.pass_time(3)
    assert State.SENT == absent(steps, first, seen=2, operation=keyed.operation)


def test_a_refused_generation_gives_way_to_the_next(steps: Steps):
    """Its own run comes back after somebody asked for the next one: two would be sent."""
    first = steps.claim(A, "one")
    steps.permit(first, "one")
    steps.run(store.reject, ID, "n", token=first.token, answer={"status": 422}, reason="no")
    again = make_intent("a", generation=1)
    steps.permit(steps.claim(again, "two"), "two", "m")
    with pytest.raises(
        GenerationConflict, match=f"generation 1 has taken its place.*{again.key.external_id}"
    ):
        steps.claim(A, "one")


def test_what_a_person_removed_may_be_sent_again(steps: Steps):
    """Refused, landed after all, removed: the effect is free, and looked for once more."""
    first = steps.claim(A, "one")
    steps.permit(first, "one", "late")
    steps.run(store.quiet, ID, "late")
    steps.pass_time(3)
    absent(steps, first)
    steps.permit(first, "one", "n", seen=1)
    steps.run(store.reject, ID, "n", token=first.token, answer={"status": 422}, reason="no")
    land(steps, "late", "v")
    steps.run(store.resolve, ID, verdict="absent", by="ann", note="removed", sweep_in=5.0)
    again = steps.claim(A, "two")
    steps.permit(again, "two", "m")
    assert ["absent", "refused", "open"] == [attempt.outcome for attempt in steps.attempts(A)]
    assert steps.moment() + 5.0 == steps.attempts(A)[0].next_sweep


def test_a_unit_is_not_taken_from_under_a_permit(steps: Steps):
    """The lease ends while the permit is being committed: who wants the unit waits, and sees it."""
    one, two = make_intent("a", unit="u"), make_intent("a", unit="u", run_key="s")
    first = steps.claim(one, "one")
    steps.run(store.take_unit, first, me="one", visibility=1.0)
    with ThreadPoolExecutor(1) as pool:
        with steps.db._engine.connect() as connection, connection.begin():
            store.permit(steps.db, connection, first, me="one", seen=0, nonce="n", window=5.0, keyed=False)
            steps.pass_time(LEASE)
            taking = pool.submit(_take_unit, steps, two)
            wait([taking], timeout=0.3)
        with pytest.raises(EffectInProgress, match="an attempt is unsettled"):
            taking.result()


def _take_unit(steps: Steps, intent: store.Intent) -> None:
    steps.run(store.take_unit, steps.claim(intent, "two"), me="two", visibility=1.0)


def test_a_rerun_needs_the_generation_before_it_settled(steps: Steps):
    """Not while it is open, not past a gap; two who ask get one row."""
    again = make_intent("a", generation=1)
    with pytest.raises(GenerationConflict, match="does not exist"):
        steps.claim(again, "one")
    first = steps.claim(A, "one")
    with pytest.raises(GenerationConflict, match="is intended"):
        steps.claim(again, "one")
    steps.permit(first, "one")
    land(steps, "n", "v")
    assert isinstance(steps.claim(again, "one"), store.Claim)
    assert isinstance(steps.claim(again, "two"), store.Held)


def test_a_keyed_effect_done_at_its_second_attempt_can_be_rerun(steps: Steps):
    """The first attempt's answer was lost, the second landed under the same key: nothing is open."""
    keyed = make_intent("a", effect=Effect.KEYED)
    first = steps.claim(keyed, "one")
    steps.permit(first, "one", "n1", keyed=True)
    steps.permit(first, "one", "n2", keyed=True, seen=1)
    land(steps, "n2", "v", keyed.key.external_id)
    assert isinstance(steps.claim(make_intent("a", effect=Effect.KEYED, generation=1), "one"), store.Claim)


def test_another_request_under_one_identity_changes_nothing(steps: Steps):
    """Another account, or another address: refused before anything is written."""
    steps.claim(A, "one")
    before = steps.row(A)
    with pytest.raises(ExternalIdReused):
        steps.claim(make_intent("a", account="you"), "two")
    assert before == steps.row(A)


def test_a_unit_is_held_until_every_attempt_is_closed(steps: Steps):
    """Not until a lease ends; and after a landing until a look must show it."""
    one, two = make_intent("a", unit="u"), make_intent("a", unit="u", run_key="s")
    first, second = steps.claim(one, "one"), steps.claim(two, "two")
    assert steps.run(store.take_unit, first, me="one", visibility=1.0)
    steps.permit(first, "one")
    steps.run(store.quiet, one.key.external_id, "n")
    steps.pass_time(LEASE)
    second = steps.claim(two, "two")
    with pytest.raises(EffectInProgress, match="an attempt is unsettled"):
        steps.run(store.take_unit, second, me="two", visibility=1.0)
    land(steps, "n", "v", one.key.external_id)
    with pytest.raises(EffectInProgress, match="a moment ago"):
        steps.run(store.take_unit, second, me="two", visibility=1.0)
    steps.pass_time(1.0)
    assert steps.run(store.take_unit, second, me="two", visibility=1.0)


def test_what_a_unit_shows_while_another_has_it_is_not_ours(steps: Steps):
    """Judged absent and given back, the effect looks again: it may see what the next one just made."""
    one, two = make_intent("a", unit="u"), make_intent("a", unit="u", run_key="s")
    first = steps.claim(one, "one")
    steps.run(store.take_unit, first, me="one", visibility=1.0)
    steps.permit(first, "one")
    steps.run(store.quiet, one.key.external_id, "n")
    steps.pass_time(3)
    assert State.SENT == absent(steps, first)
    steps.run(store.release, one.key.external_id, me="one", token=first.token)
    again, second = steps.claim(one, "three"), steps.claim(two, "two")
    steps.run(store.take_unit, second, me="two", visibility=1.0)
    steps.permit(second, "two", "m")
    seen = {"seen": 1, "result": {}, "vendor_id": "v of two", "visibility": 1.0}
    assert not steps.run(store.found, again, **seen)
    land(steps, "m", "v of two", two.key.external_id)
    assert (State.SENT, "v of two") == (steps.row(one).state, steps.row(two).vendor_id)


def test_a_baseline_is_read_anew_when_others_had_the_unit(steps: Steps):
    """Refused and released, the effect forgets what it saw; even if the unit's commit answer was lost."""
    one = make_intent("a", unit="u")
    first = steps.claim(one, "one")
    steps.run(store.take_unit, first, me="one", visibility=1.0)
    steps.run(store.store_baseline, first, me="one", baseline=["old"])
    steps.permit(first, "one")
    steps.run(store.refuse, one.key.external_id, "n", answer={})
    steps.run(store.release, one.key.external_id, me="one", token=first.token)
    again = steps.claim(one, "two")
    assert again.baseline is None
    assert [True, False] == [steps.run(store.take_unit, again, me="two", visibility=1.0) for _ in range(2)], (
        "repeated, it says 'ours already': only the empty baseline tells that it must be read"
    )


def test_an_unknown_id_is_named(steps: Steps):
    """A person's typing error is no crash."""
    with pytest.raises(InvalidInput, match="dev-x"):
        steps.run(store.resolve, "dev-x", verdict="absent", by="ann", note="")
