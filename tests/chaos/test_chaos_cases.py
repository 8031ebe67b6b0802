"""What the chaos harness draws from a seed, and the failpoints it arms."""

import threading
import time
from itertools import product

import pytest

from benchmarks.chaos.cases import OPERATION, STRANGERS, make_case
from benchmarks.chaos.job import LANDING, STEP, VISIBILITY
from benchmarks.chaos.lane import MANNERS
from plait import failpoints
from plait.sandbox.services import SERVICES


@pytest.mark.parametrize("runners", [1, 2])
def test_a_case_follows_from_seed_and_number(runners):
    """The same seed and number give the same case, so that a failure can be played again."""
    assert [make_case(3, n, runners) for n in range(200)] == [make_case(3, n, runners) for n in range(200)]


def test_every_row_of_cases_visits_every_point():
    """No point is left to luck: some rows strike all of them alike, the first with a kill."""
    size = len(failpoints.POINTS)
    rows = [[make_case(5, size * row + n, 2) for n in range(size)] for row in range(9)]
    assert all({case.point for case in row} == set(failpoints.POINTS) for row in rows)
    assert {case.action for case in rows[0]} == {"kill"}
    planned = {(case.point, case.action) for row in rows for case in row}
    actions = ("kill", "stop_short", "stop_window", "stop_long", "cancel")
    assert planned >= set(product(failpoints.POINTS, actions))
    commits = [f"{commit}.{side}_commit" for commit in failpoints.COMMITS for side in ("before", "after")]
    assert {point for point, action in planned if action == "fail"} == set(commits)


def test_faults_reach_the_end_of_their_bounds():
    """What lands and shows late does so within D and L, but too late for an engine without one of them."""
    late = {case.fault: case.rules for n in range(3000) if (case := make_case(5, n, 2)).kind in STRANGERS}
    (landing,) = late["late_landing"]
    lag, landing_too = late["late_landing_lag"]
    assert LANDING > landing["seconds"] > VISIBILITY + STEP
    assert VISIBILITY > lag["seconds"]
    assert lag["seconds"] + landing_too["seconds"] > LANDING + STEP


def test_strangers_and_awkward_vendors_are_drawn():
    """Every kind that a stranger can make is met beside one, and every manner of the vendor."""
    cases = [make_case(5, n, 2) for n in range(3000)]
    assert {case.kind for case in cases if case.stranger} == set(STRANGERS)
    assert {case.manner for case in cases} == set(MANNERS)


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
