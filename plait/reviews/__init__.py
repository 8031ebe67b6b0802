"""Decisions of people: what is asked, where, what they answered, and that it counts once.

The ledger holds each question and its one decision; Placet is where people are asked. Nothing here
waits: whoever waits (a flow, `resume_reviews`, a script) calls `Inbox.work` and reads the ledger.
"""

from plait.reviews.decision import ReviewDecision, Undecided
from plait.reviews.inbox import Inbox, Pass
from plait.reviews.question import Choice, InboxForm, OnExpiry, Question, ReviewOptions, ShownFile, Word

__all__ = [
    "Choice",
    "Inbox",
    "InboxForm",
    "OnExpiry",
    "Pass",
    "Question",
    "ReviewDecision",
    "ReviewOptions",
    "ShownFile",
    "Undecided",
    "Word",
]
