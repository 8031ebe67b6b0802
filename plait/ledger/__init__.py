"""The ledger: every effect is intended, permitted, sent, recorded, and found again if need be."""

from plait.ledger.effects import Effects, Outcome
from plait.ledger.errors import (
    CannotLook,
    EffectIncident,
    EffectInProgress,
    ExternalIdReused,
    GenerationConflict,
    LedgerError,
    LedgerUnavailable,
    PermitRefused,
    ResultDropped,
)
from plait.ledger.ledger import Ledger
from plait.ledger.recipe import Absent, Found, Identity, Look, NotYetKnown, Recipe, Recorded, Several, Verdict
from plait.ledger.reconcile import Reconciled
from plait.ledger.timing import Timing

__all__ = [
    "Absent",
    "CannotLook",
    "EffectInProgress",
    "EffectIncident",
    "Effects",
    "ExternalIdReused",
    "Found",
    "GenerationConflict",
    "Identity",
    "Ledger",
    "LedgerError",
    "LedgerUnavailable",
    "Look",
    "NotYetKnown",
    "Outcome",
    "PermitRefused",
    "Recipe",
    "Reconciled",
    "Recorded",
    "ResultDropped",
    "Several",
    "Timing",
    "Verdict",
]
