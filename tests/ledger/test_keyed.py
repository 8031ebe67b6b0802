"""KEYED effects where the vendor says that the key is used, or fails for long (effect-protocol.md §4)."""

import pytest
from toy_vendor import QUICK, MakeThing

from plait.http.errors import OutcomeUnknown
from plait.http.operation import Effect
from plait.ledger import Ledger, Timing

HASTY = Timing(
    lease=QUICK.lease,
    step=QUICK.step,
    landing_cap=0.1,
    visibility_cap=0.05,
    patience=1.0,
    record_patience=5.0,
)


@pytest.fixture
async def hasty(ledger_url):
    """A ledger that waits a second for what is not known."""
    async with Ledger.open(ledger_url, timing=HASTY) as opened:
        yield opened


async def test_409_with_an_empty_look_is_unknown_for_as_long_as_it_lasts(hasty, vendor, transport):
    """Never refused, however late the look comes; the same key is tried with growing pauses."""
    vendor.script.extend(["409"] * 50)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="409"):
            await hasty.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert 2 <= vendor.posts <= 8
    assert not vendor.things


async def test_a_claim_rolled_back_after_409_is_sent_again(ledger, vendor, transport):
    """The key was in use for a moment and nothing came of it: the same key makes the thing."""
    vendor.honours_keys = True
    vendor.script.extend(["500_before", "409", "409"])
    made = await ledger.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert (made.id, len(vendor.things), vendor.posts) == ("t1", 1, 4)


async def test_a_409_counts_after_later_failures_too(hasty, vendor, transport):
    """409 once, then 500 for long: still unknown, not given up as absent."""
    vendor.script.extend(["409", *["500_before"] * 50])
    with pytest.raises(OutcomeUnknown):
        await hasty.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert vendor.posts <= 8


async def test_a_vendor_that_fails_for_long_is_not_hammered(hasty, vendor, transport):
    """Every answer lost and every look failing: a handful of requests with one key, then unknown."""
    vendor.honours_keys = True
    vendor.script.extend(["500_after"] * 50)
    vendor.looks_fail = True
    with pytest.raises(OutcomeUnknown):
        await hasty.effects(run_key="r").perform(MakeThing(transport, "a", Effect.KEYED))
    assert vendor.posts <= 6
    assert len(vendor.things) == 1
