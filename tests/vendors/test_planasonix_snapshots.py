"""What is new in a list: sorted or not, long or short, with entries that have no time yet."""

from datetime import UTC, datetime, timedelta

import pytest

from plait.vendors.planasonix.models import PipelineRun
from plait.vendors.planasonix.snapshots import FRONT, Snapshot, new_since, take

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def run(number, *, started=True):
    """A run that started so many minutes after the beginning, or has not started."""
    at = BEGIN + timedelta(minutes=number) if started else None
    return PipelineRun(id=f"run_{number}", started_at=at)


class Listing:
    """A list that counts how many of its entries were read."""

    def __init__(self, runs):
        self.runs = list(runs)
        self.read = 0

    async def each(self):
        """The entries."""
        for entry in self.runs:
            self.read += 1
            yield entry


LONG = 3 * FRONT
NEWEST_FIRST = [run(number) for number in reversed(range(LONG))]


async def _new(before, now):
    """What `now` shows beyond `before`, after the snapshot went through the ledger; and both as read."""
    first, second = Listing(before), Listing(now)
    snapshot = Snapshot.read((await take(first.each())).stored())
    return {entry.id for entry in await new_since(snapshot, second.each())}, first, second


async def test_a_short_list_is_kept_whole():
    """Every entry counts, in whatever order it comes."""
    before = [run(3), run(1, started=False), run(2)]
    new, first, _ = await _new(before, [run(2), run(4), run(3), run(1)])
    assert new == {"run_4"}
    assert first.read == 3


async def test_of_a_sorted_list_only_the_front_is_read():
    """Thousands of runs cost a few pages, before and after."""
    new, first, second = await _new(NEWEST_FIRST, [run(LONG), *NEWEST_FIRST])
    assert new == {f"run_{LONG}"}
    assert first.read == FRONT
    assert second.read <= FRONT + 2


@pytest.mark.parametrize("order", ["oldest_first", "mixed", "timeless_in_between"])
async def test_a_list_that_is_not_sorted_is_read_whole(order):
    """No order is believed that the list itself contradicts: a new run at its end is found."""
    before = {
        "oldest_first": [run(number) for number in range(LONG)],
        "mixed": [run(1), *NEWEST_FIRST],
        "timeless_in_between": [run(LONG), run(-1, started=False), *NEWEST_FIRST],
    }[order]
    new, first, second = await _new(before, [*before, run(LONG + 1)])
    assert new == {f"run_{LONG + 1}"}
    assert (first.read, second.read) == (len(before), len(before) + 1)


async def test_a_list_that_loses_its_order_is_read_on():
    """Sorted before and not after: old entries that were never kept are still old, and ours is found."""
    new, _, second = await _new(NEWEST_FIRST, [run(0), *NEWEST_FIRST[:-1], run(LONG + 5)])
    assert new == {f"run_{LONG + 5}"}
    assert second.read == LONG + 1


async def test_a_run_without_a_time_at_the_front_is_new():
    """A queued run stands in front of those that started."""
    new, _, _ = await _new(NEWEST_FIRST, [run(LONG, started=False), *NEWEST_FIRST])
    assert new == {f"run_{LONG}"}


async def test_many_new_runs_do_not_hide_the_first_of_them():
    """More than a front has come since: all of them are new, none of the old is."""
    now = [run(number) for number in reversed(range(LONG + 2 * FRONT))]
    new, _, _ = await _new(NEWEST_FIRST, now)
    assert new == {f"run_{number}" for number in range(LONG, LONG + 2 * FRONT)}
