"""How a review can end without a decision that lets a run go on."""

from plait.http.errors import PlaitError


class ReviewExpired(PlaitError):
    """Nobody decided in time, and the rule for that case is to fail."""


class ReviewWithdrawn(PlaitError):
    """A person said that no answer is needed any more."""
