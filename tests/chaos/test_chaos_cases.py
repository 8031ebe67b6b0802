"""What the chaos harness draws from a seed, and the failpoints it arms."""

import threading
import time

import pytest

from benchmarks.chaos.cases import make_case
from plait import failpoints


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
