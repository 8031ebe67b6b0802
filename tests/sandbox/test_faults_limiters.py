"""The limiters count as their textbooks say, on a clock of our own."""

from plait.sandbox.limiters import Concurrency, FixedWindow, SlidingWindow, TokenBucket


def _allowed(limiter, *moments):
    return [limiter.take(moment).allowed for moment in moments]


def test_a_token_bucket_bursts_and_refills():
    """The burst is its capacity; afterwards one token comes every 1/rate seconds."""
    bucket = TokenBucket(rate=2.0, limit=2)
    assert _allowed(bucket, 0, 0, 0, 0.4, 0.5, 0.6) == [True, True, False, False, True, False]
    assert abs(bucket.take(0.75).wait - 0.25) < 1e-9


def test_a_fixed_window_starts_anew_at_its_edge():
    """Twice the limit passes around an edge."""
    window = FixedWindow(limit=2, window=10)
    assert _allowed(window, 9, 9, 9, 10, 10, 10) == [True, True, False, True, True, False]


def test_a_sliding_window_has_no_edge():
    """Never more than the limit in any ten seconds."""
    window = SlidingWindow(limit=2, window=10)
    assert _allowed(window, 9, 9, 10, 18, 19, 19, 19) == [True, True, False, False, True, True, False]
    assert window.take(20).wait == 9


def test_concurrency_frees_a_place_on_release():
    """Only requests in flight count."""
    places = Concurrency(limit=1)
    assert _allowed(places, 0, 0) == [True, False]
    places.release()
    assert _allowed(places, 0) == [True]
