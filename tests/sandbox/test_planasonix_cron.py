"""When the schedules of the Planasonix stand-in fire."""

from datetime import UTC, datetime

import pytest

from plait.sandbox.planasonix_cron import Cron, zone_of

FIRES = [
    ("0 2 * * *", "UTC", "2026-03-01T01:00+00:00", "2026-03-01T02:00+00:00"),
    ("0 2 * * *", "UTC", "2026-03-01T02:00+00:00", "2026-03-02T02:00+00:00"),
    ("*/15 * * * *", "UTC", "2026-03-01T01:50:01+00:00", "2026-03-01T02:00+00:00"),
    ("30 6 * * 1-5", "UTC", "2026-03-06T07:00+00:00", "2026-03-09T06:30+00:00"),
    ("0 0 1 jan,jul *", "UTC", "2026-03-01T00:00+00:00", "2026-07-01T00:00+00:00"),
    ("0 0 13 * fri", "UTC", "2026-03-01T00:00+00:00", "2026-03-06T00:00+00:00"),
    ("0 0 * * 7", "UTC", "2026-03-02T00:00+00:00", "2026-03-08T00:00+00:00"),
    ("0 0 29 2 *", "UTC", "2026-03-01T00:00+00:00", "2028-02-29T00:00+00:00"),
    ("5/20 0 * * *", "UTC", "2026-03-01T00:26+00:00", "2026-03-01T00:45+00:00"),
    ("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00+00:00", "2026-03-30T00:00+00:00"),
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+00:00", "2026-10-25T00:30+00:00"),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00"),
]
"""The last three: a skipped hour does not fire, a repeated one fires once."""


@pytest.mark.parametrize(("expression", "zone", "after", "then"), FIRES)
def test_when_an_expression_fires_next(expression, zone, after, then):
    """By the wall clock of its zone."""
    found = Cron.parse(expression).next(datetime.fromisoformat(after).timestamp(), zone_of(zone))
    assert datetime.fromtimestamp(found, UTC) == datetime.fromisoformat(then)


def test_what_never_fires_and_what_is_no_expression():
    """The 30th of February is understood and never comes; the rest says what is wrong."""
    assert Cron.parse("0 0 30 2 *").next(0.0, zone_of("UTC")) is None
    for bad in (
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "x * * * *",
        "@daily",
    ):
        with pytest.raises(ValueError, match=r"."):
            Cron.parse(bad)
    with pytest.raises(ValueError, match="Mars"):
        zone_of("Mars/Olympus")
