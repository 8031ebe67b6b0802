"""The ledger: every effect is intended, permitted, sent, recorded, and found again if need be."""

from plait.ledger.effects import Effects, Outcome
from plait.ledger.errors import (
    EffectIncident,
    EffectInProgress,
    ExternalIdReused,
    GenerationConflict,
    LedgerError,
    LedgerUnavailable,
    PermitRefused,
)
from plait.ledger.ledger import Ledger
from plait.ledger.recipe import Absent, Found, Identity, Look, NotYetKnown, Recipe, Several, Verdict
from plait.ledger.timing import Timing

__all__ = [
    "Absent",
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
    "Several",
    "Timing",
    "Verdict",
]
