"""The judge of the chaos harness, given what must not happen, one thing at a time."""

from types import SimpleNamespace

import pytest

from benchmarks.chaos.cases import OPERATION, make_case
from benchmarks.chaos.job import LEASE, SETTLING
from benchmarks.chaos.judge import GRACE, Evidence, Verdict, judge
from benchmarks.chaos.ledgers import Written
from benchmarks.chaos.report import Totals
from benchmarks.chaos.work import Work
from plait.sandbox.store import EffectRow

CASES = {case.kind: case for n in range(600) if (case := make_case(5, n, 2)).action == "kill"}
STRUCK_AT = 1000.0
IDS = ("chaos-00000000aaaa", "chaos-00000000bbbb")
"""External ids of two generations."""


def row(**values):
    """A row of the ledger, as the judge reads it."""
    given = {"state": "done", "incident": None, "claimed_at": None, "settled_at": None, "reason": None}
    given |= {"attempts": 1, "generation": 0, "operation": "x", "external_id": IDS[0]}
    return SimpleNamespace(**given | values)


def attempt(**values):
    """An attempt of the first generation."""
    given = {"external_id": IDS[0], "outcome": "landed", "holder": "aaaa", "quiet_at": None}
    return SimpleNamespace(**given | values)


class Scene:
    """One kind of work, what the sandbox accepted of it and what the ledger says."""

    def __init__(self, kind):
        self.kind = kind
        self.work = Work(kind=kind, token=CASES[kind].token, review_id="review-0")
        (self.intended,) = self.work.intended()

    def accepted(self, *entries):
        """Rows of the sandbox's counters, given as entity ids with their keys."""
        return [
            EffectRow(
                seq=n,
                service=OPERATION[self.kind][0],
                operation=self.intended.operation,
                entity_id=entity_id,
                marker=self._marker(key),
                external_key=key if OPERATION[self.kind][0] == "pletor" else None,
                at=0.0,
                request=n,
            )
            for n, (entity_id, key) in enumerate(entries)
        ]

    def _marker(self, key):
        named = OPERATION[self.kind][0] == "planck" and self.intended.operation == "create_conversation"
        return f"{self.intended.wanted} · chaos-{key[-4:]}" if named else self.intended.wanted

    def judged(self, accepted, rows, attempts=(), **values):
        """The verdict on it."""
        for each in rows:
            each.step = getattr(each, "step", self.intended.label)
        return judge(
            Evidence(
                case=CASES[self.kind],
                intended=(self.intended,),
                accepted={self.intended.operation: self.accepted(*accepted)},
                written=Written(list(rows), list(attempts), {"aaaa": 4711}),
                struck_at=STRUCK_AT,
                finished=True,
                **values,
            )
        )


def counts(verdict):
    """What the line would show."""
    return verdict.duplicates, verdict.lost, verdict.blocked, verdict.unknown, verdict.settled


@pytest.mark.parametrize("kind", ["run", "conversation", "upload"])
def test_one_of_each_is_right(kind):
    """Accepted once, recorded once, under one id."""
    verdict = Scene(kind).judged([("it-0", IDS[0])], [row(vendor_id="it-0")])
    assert (counts(verdict), verdict.wrong) == ((0, 0, 0, 0, 1), [])


@pytest.mark.parametrize("kind", ["run", "conversation", "upload"])
def test_a_duplicate_is_counted(kind):
    """Accepted twice for one row."""
    verdict = Scene(kind).judged([("it-0", IDS[0]), ("it-1", IDS[0])], [row(vendor_id="it-0")])
    assert counts(verdict) == (1, 0, 0, 0, 1)
    assert verdict.wrong


@pytest.mark.parametrize("kind", ["run", "conversation", "upload"])
def test_done_without_effect_is_lost(kind):
    """The ledger says done, and the sandbox never saw it."""
    assert Scene(kind).judged([], [row(vendor_id="it-0")]).lost > 0


@pytest.mark.parametrize("kind", ["run", "conversation", "upload"])
def test_rejected_with_effect_is_lost(kind):
    """The ledger says that it did not happen, and it did."""
    verdict = Scene(kind).judged([("it-0", IDS[0])], [row(state="rejected", vendor_id=None)])
    assert verdict.lost == 1


def test_a_neighbours_result_is_lost():
    """What is recorded was accepted for somebody else."""
    assert Scene("run").judged([("it-0", IDS[0])], [row(vendor_id="it-9")]).lost == 1


def test_a_key_of_nobody_is_wrong():
    """It was accepted under a key that the ledger does not know."""
    (words, *_) = Scene("run").judged([("it-0", "fresh-key")], [row(vendor_id="it-0")]).wrong
    assert "no key of the ledger" in words


@pytest.mark.parametrize("state", ["intended", "sent", "unknown"])
def test_an_open_row_is_blocked(state):
    """An effect that can be settled must be, alone or beside one that is done."""
    scene = Scene("run")
    assert scene.judged([], [row(state=state, vendor_id=None)]).blocked == 1
    left = row(state=state, vendor_id=None, external_id=IDS[1], generation=1)
    assert scene.judged([("it-0", IDS[0])], [row(vendor_id="it-0"), left]).blocked == 1


def test_a_row_that_nobody_asked_for_is_wrong():
    """An open row under another step would be counted with no effect."""
    stray = row(state="sent", vendor_id=None, step="another", external_id=IDS[1])
    (words,) = Scene("run").judged([("it-0", IDS[0])], [row(vendor_id="it-0"), stray]).wrong
    assert "nobody asked for" in words


def generations(*vendor_ids):
    """Two rows, done."""
    return [
        row(external_id=external_id, generation=n, vendor_id=vendor_id)
        for n, (external_id, vendor_id) in enumerate(zip(IDS, vendor_ids, strict=True))
    ]


@pytest.mark.parametrize("kind", ["rerun", "generation"])
def test_generations_are_told_apart(kind):
    """One entry for each is right; two for the first and none for the second are a duplicate and a loss."""
    scene = Scene(kind)
    right = scene.judged([("it-0", IDS[0]), ("it-1", IDS[1])], generations("it-0", "it-1"))
    assert right.wrong == []
    twice = [("it-0", IDS[0]), ("it-1", IDS[0])]
    assert counts(scene.judged(twice, generations("it-0", "it-1"))) == (1, 1, 0, 0, 2)
    assert scene.judged(twice, generations("it-0", "it-0")).lost == 1
    swapped = scene.judged([("it-0", IDS[0]), ("it-1", IDS[1])], generations("it-1", "it-0"))
    assert swapped.lost == 2


def test_a_late_proof_does_not_move_its_own_bound():
    """The answer after a kill is due by the harness's clock, however late the engine calls the dead quiet."""
    scene = Scene("run")
    bound = STRUCK_AT + LEASE + SETTLING + GRACE
    for settled_at, blocked in ((bound - 0.1, 0), (bound + 0.1, 1)):
        answered = [row(vendor_id="it-0", settled_at=settled_at)]
        late = [attempt(quiet_at=settled_at - SETTLING)]
        verdict = scene.judged([("it-0", IDS[0])], answered, late, killed=frozenset({4711}))
        assert verdict.blocked == blocked
        # One that lives says itself from when on it writes nothing.
        assert scene.judged([("it-0", IDS[0])], answered, late).blocked == 0


def test_a_blind_effect_may_stay_unknown():
    """Nobody can look for a stateless chat, so its open row is for a person and not blocked."""
    verdict = Scene("chat").judged([], [row(state="unknown", vendor_id=None)], [attempt(outcome="open")])
    assert (verdict.unknown, verdict.blocked) == (1, 0)


def test_a_point_is_hit_only_by_a_blow_there():
    """Kills on the way to a point do not count for it, and a whole plan with a point left out is told."""
    totals = Totals(2)
    totals.add(CASES["run"], "look.before", Verdict(kills=1))
    assert (totals.not_hit, totals.points) == ([], set())  # the plan had not yet all points
    totals.add(CASES["run"], "look.after", Verdict(kills=1, struck=1))
    assert totals.not_hit == ["look.before"]
    assert totals.line.startswith("kills=2 points=1/2 ")
    totals.add(CASES["run"], "look.before", Verdict(struck=1))
    assert totals.not_hit == []
