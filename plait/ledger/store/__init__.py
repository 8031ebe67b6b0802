"""The protocol's steps as transactions (effect-protocol.md §4). No vendor, no waiting, no threads.

Each function runs inside one write transaction. It locks the effect's row first, reads the clock
after that, decides in Python, and may be repeated: nonces say "mine" when a commit's answer was lost.
"""

from plait.ledger.store.attempts import (
    doubt,
    is_keyed,
    land,
    not_sent,
    orphans,
    permit,
    prove,
    quiet,
    refuse,
    reject,
    wrote_late,
)
from plait.ledger.store.claims import claim, reclaim, release, renew, store_baseline, take_unit
from plait.ledger.store.people import compact, resolve, second_match, swept
from plait.ledger.store.queries import (
    bury,
    deregister,
    effect_of,
    first_sent_at,
    processes,
    register,
    taken,
    unended,
)
from plait.ledger.store.rows import (
    AnyRow,
    Claim,
    Held,
    Intent,
    Permit,
    Settled,
    TooEarly,
    attempts_of,
)
from plait.ledger.store.verdicts import absent, found, give_up, several

__all__ = [
    "AnyRow",
    "Claim",
    "Held",
    "Intent",
    "Permit",
    "Settled",
    "TooEarly",
    "absent",
    "attempts_of",
    "bury",
    "claim",
    "compact",
    "deregister",
    "doubt",
    "effect_of",
    "first_sent_at",
    "found",
    "give_up",
    "is_keyed",
    "land",
    "not_sent",
    "orphans",
    "permit",
    "processes",
    "prove",
    "quiet",
    "reclaim",
    "refuse",
    "register",
    "reject",
    "release",
    "renew",
    "resolve",
    "second_match",
    "several",
    "store_baseline",
    "swept",
    "take_unit",
    "taken",
    "unended",
    "wrote_late",
]
