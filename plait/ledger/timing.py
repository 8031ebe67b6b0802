"""The protocol's times (effect-protocol.md §2), all in seconds."""

from dataclasses import dataclass

from plait.http.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take. The defaults are the protocol's."""

    lease: float = 30.0
    """Λ: a dead holder delays a re-run by at most this; renewed every third of it."""
    step: float = 2.0
    """ε: the largest forward step of the ledger's clock, plus local drift over one send window."""
    max_pause: float | None = None
    """P: the longest time a process may stand still between its last check and the write. `math.inf`:
    not bounded, only proof of death closes such an attempt. None: the database's own, which is not
    bounded on SQLite, where proof is always possible, and 900 s on PostgreSQL."""
    patience: float = 30.0
    """How long a call waits inline for another runner or for the next look, before it raises."""
    record_patience: float = 300.0
    """How long an answer is kept and its record retried while the ledger is down."""
    landing_cap: float | None = None
    """Upper bound for every operation's D, for a far end known to be quick (the sandbox)."""
    visibility_cap: float | None = None
    """The same for L."""

    def landing(self, operation: Operation) -> float:
        """D of this operation."""
        return _capped(operation.landing, self.landing_cap)

    def visibility(self, operation: Operation) -> float:
        """L of this operation."""
        return _capped(operation.visibility, self.visibility_cap)

    def hold(self, operation: Operation) -> float:
        """H: renewal of one claim stops after this, so that a hung call lets go."""
        return self.patience + operation.deadline + 30.0


def _capped(value: float, cap: float | None) -> float:
    return value if cap is None else min(value, cap)
