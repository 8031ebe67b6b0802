"""What the chaos harness draws from a seed, and the failpoints it arms."""

import threading
import time
from types import SimpleNamespace

import pytest

from benchmarks.chaos.cases import OPERATION, make_case
from benchmarks.chaos.judge import Evidence, judge
from benchmarks.chaos.ledgers import Written
from benchmarks.chaos.work import Work
from plait import failpoints
from plait.sandbox.services import SERVICES
from plait.sandbox.store import EffectRow


@pytest.mark.parametrize("runners", [1, 2])
def test_a_case_follows_from_seed_and_number(runners):
    """The same seed and number give the same case, so that a failure can be played again."""
    assert [make_case(3, n, runners) for n in range(200)] == [make_case(3, n, runners) for n in range(200)]


def test_every_row_of_cases_visits_every_point():
    """No point is left to luck: the first row kills at each, the second stops at each."""
    size = len(failpoints.POINTS)
    first = [make_case(5, n, 2) for n in range(size)]
    second = [make_case(5, n, 2) for n in range(size, 2 * size)]
    assert {case.point for case in first} == {case.point for case in second} == set(failpoints.POINTS)
    assert {case.action for case in first} == {"kill"}
    assert {case.action for case in second if case.kind != "sweep"} == {"stop_long"}


def test_one_runner_has_no_rival():
    """`--runners 1` plays without a second runner at the moment of the blow."""
    assert {make_case(5, n, 1).rival for n in range(100)} == {"none"}


def test_every_kind_of_work_is_drawn():
    """No kind is left out by the rules of which kind may meet which point, nor misnamed."""
    drawn = {make_case(5, n, 2).kind for n in range(600)}
    assert drawn == set(OPERATION)
    known = {service.name: {operation.name for operation in service.operations} for service in SERVICES}
    for service, operation, look in OPERATION.values():
        assert {operation, *filter(None, [look])} <= known[service]


def row(**values):
    """A row of the ledger, as the judge reads it."""
    given = {"incident": None, "claimed_at": None, "settled_at": None, "reason": None, "attempts": 1}
    return SimpleNamespace(**given | values)


def evidence(kind, *keys, recorded="run-0", known="chaos-key"):
    """One effect that the ledger calls done, and what the sandbox accepted under which keys."""
    case = next(case for n in range(600) if (case := make_case(5, n, 2)).kind == kind)
    work = Work(kind=kind, token=case.token)
    (intended,) = work.intended()
    accepted = [
        EffectRow(
            seq=n,
            service=OPERATION[kind][0],
            operation=intended.operation,
            entity_id=f"{kind}-{n}",
            marker=intended.wanted,
            external_key=key,
            at=0.0,
            request=n,
        )
        for n, key in enumerate(keys)
    ]
    done = row(external_id=known, step=intended.label, state="done", vendor_id=recorded, operation="x")
    return Evidence(
        case=case,
        intended=(intended,),
        accepted={intended.operation: accepted},
        written=Written([done], []),
        struck_at=0.0,
        finished=True,
    )


def test_the_judge_of_keyed_effects():
    """One under the ledger's key is right; two, a foreign key and a neighbour's result are not."""
    assert judge(evidence("run", "chaos-key")).wrong == []
    twice = judge(evidence("run", "chaos-key", "fresh-key"))
    assert (twice.duplicates, len(twice.wrong)) == (1, 2)
    (words,) = judge(evidence("run", "other-key")).wrong
    assert "no key of the ledger" in words
    assert judge(evidence("run", "chaos-key", recorded="run-9")).lost == 1
    assert judge(evidence("run")).lost > 0


@pytest.fixture
def unarmed():
    """No point is armed afterwards."""
    yield
    failpoints.hook = None


@pytest.mark.usefixtures("unarmed")
def test_an_armed_point_parks_at_its_visit_until_released(tmp_path):
    """The second visit parks, shows it by a file, and goes on when the file is gone."""
    failpoints.arm("claim.after_commit", folder=tmp_path, visit=2)
    failpoints.reach("claim.after_commit")
    failpoints.reach("permit.after_commit")
    assert list(tmp_path.iterdir()) == []
    visitor = threading.Thread(target=failpoints.reach, args=("claim.after_commit",))
    visitor.start()
    until = time.monotonic() + 5
    while not (flags := list(tmp_path.iterdir())) and time.monotonic() < until:
        time.sleep(0.01)
    assert visitor.is_alive()
    flags[0].unlink()
    visitor.join(5)
    assert not visitor.is_alive()


@pytest.mark.usefixtures("unarmed")
def test_an_armed_point_fails_once(tmp_path):
    """`fail` raises at its visit and not again, as a database does that has a bad moment."""
    failpoints.arm("record.before_commit", folder=tmp_path, action="fail")
    with pytest.raises(failpoints.FailpointError):
        failpoints.reach("record.before_commit")
    failpoints.reach("record.before_commit")


def test_an_unknown_point_is_refused(tmp_path):
    """A misspelt point must not pass as one that is never visited."""
    with pytest.raises(ValueError, match=r"claim\.midway"):
        failpoints.arm("claim.midway", folder=tmp_path)
