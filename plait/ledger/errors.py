"""What can go wrong between an intent and its record.

LedgerError
├── EffectInProgress     another live runner holds the effect, or its unit
├── ExternalIdReused     one identity, two different requests
├── EffectIncident       more than one match at the vendor, or a contradiction; for a person
├── GenerationConflict   a re-run was asked of a generation that is not settled
├── ResultDropped        the effect is done, and retention has removed what came of it
├── CannotLook           this process has no way to the effect's vendor or account
└── LedgerUnavailable    the database cannot be read or written
PermitRefused (NotSent)  this process may not send any more; nothing left the machine
"""

from plait.http.errors import NotSent, PlaitError


class LedgerError(PlaitError):
    """Base of the ledger's errors."""


class EffectInProgress(LedgerError):
    """Another live runner is at it; `retry_after` says when to ask again."""

    retryable = True


class ExternalIdReused(LedgerError):
    """The same identity with another fingerprint: nothing was sent."""


class EffectIncident(LedgerError):
    """The vendor shows a contradiction that a machine must not settle."""


class GenerationConflict(LedgerError):
    """A genuine re-run needs the generation before it to be settled."""


class ResultDropped(LedgerError):
    """The effect is done and was not repeated; only its vendor's id is still on record."""


class CannotLook(LedgerError):
    """No client here reaches the account at which the effect was sent; it is left as it is."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be opened, read or written. No effect is sent without it."""

    retryable = True


class PermitRefused(NotSent):
    """The lease, the token or the time to send is gone; another runner may be at it."""
