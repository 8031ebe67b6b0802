"""The inequalities of effect-protocol.md §2, one tick to either side."""

from dataclasses import dataclass, replace

import pytest
from toy_vendor import operation

from plait.http.operation import Effect
from plait.ledger import Timing
from plait.ledger.settle import absent_from, first_sweep, next_sweep, quiet_at


@dataclass(frozen=True)
class Times:
    """One attempt."""

    send_by: float = 105.0
    quiet_at: float | None = None
    answered: bool = False


TIMING = Timing(step=2.0)
OF = operation(Effect.FINDABLE, landing=30.0, visibility=7.0)


@pytest.mark.parametrize(
    ("attempt", "max_pause", "expected"),
    [
        (Times(quiet_at=101.0), None, 101.0),
        (Times(), None, None),
        (Times(), 900.0, 1005.0),
        (Times(quiet_at=101.0), 900.0, 101.0),
        (Times(quiet_at=2000.0), 900.0, 1005.0),
    ],
    ids=["it said so", "nobody can say", "P has an end", "said so before P", "said so after P"],
)
def test_quiet_is_the_earliest_of_what_is_known(
    attempt: Times, max_pause: float | None, expected: float | None
):
    """E2: its own word, proof of death, or the end of the longest pause, whichever came first."""
    assert expected == quiet_at(attempt, replace(TIMING, max_pause=max_pause))


@pytest.mark.parametrize(
    ("attempts", "of", "expected"),
    [
        ([], OF, 0.0),
        ([Times(quiet_at=100.0)], OF, 100.0 + 30.0 + 7.0 + 2.0),
        ([Times(quiet_at=100.0), Times(quiet_at=110.0)], OF, 149.0),
        ([Times(quiet_at=100.0), Times()], OF, None),
        ([Times(quiet_at=100.0, answered=True)], OF, 139.0),
        ([Times(quiet_at=100.0, answered=True)], replace(OF, ends_with_answer=True), 109.0),
        ([Times(quiet_at=100.0)], replace(OF, ends_with_answer=True), 139.0),
    ],
    ids=["none", "D, L and the step", "the latest", "one may write", "answered", "works inside", "no answer"],
)
def test_absent_counts_from(attempts: list[Times], of: object, expected: float | None):
    """E3: no term may be left out, and one attempt that may still write forbids it."""
    assert expected == absent_from(attempts, of, TIMING)


def test_a_sweep_follows_every_absent_verdict():
    """D + L after the verdict, then ever later; the last after the process is known to be quiet."""
    assert 137.0 == first_sweep(OF, TIMING, 100.0)
    assert first_sweep(operation(Effect.BLIND), TIMING, 100.0) is None
    silent, quiet = [Times()], [Times(quiet_at=100.0)]
    told = {"answered": True}
    assert next_sweep(silent, OF, TIMING, looked_at=500.0, sweeps=9, **told) is not None
    assert 139.0 == next_sweep(quiet, OF, TIMING, looked_at=138.0, sweeps=1, **told)
    assert next_sweep(quiet, OF, TIMING, looked_at=500.0, sweeps=3, **told) is None
