"""Where a stream is cut does not depend on how its bytes were grouped."""

import pytest

from plait.sandbox.fault_actions import ByteCut, EventCut

STREAM = b": hi\n\nevent: a\ndata: 1\n\nevent: b\r\ndata: 2\r\n\r\nevent: c\ndata: 3\n\n"
ENDS = [0, 6, 24, 45, 63]


def _passed(cut, stream, size):
    out = b""
    for start in range(0, len(stream), size):
        chunk = stream[start : start + size]
        passing = cut.passes(chunk)
        if passing is not None:
            return out + chunk[:passing]
        out += chunk
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("events", range(5))
def test_an_event_cut_ends_after_whole_events(events, size):
    """The last byte that passes is the last byte of the n-th event."""
    assert _passed(EventCut(events), STREAM, size) == STREAM[: ENDS[events]]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 10, 62, 63, 64])
def test_a_byte_cut_ends_after_so_many_bytes(count, size):
    """Exactly `count` bytes pass, or all of a shorter stream."""
    assert _passed(ByteCut(count), STREAM, size) == STREAM[:count]
