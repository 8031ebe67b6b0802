"""What an operation of a vendor's API is, declared once and used everywhere."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Effect(StrEnum):
    """How often a call may take effect, and how we learn whether it did."""

    READ = "read"
    """No effect; repeating is free of consequence."""
    IDEMPOTENT = "idempotent"
    """Repeating is harmless."""
    KEYED = "keyed"
    """The vendor honours a key of ours."""
    FINDABLE = "findable"
    """No key, but a look at the vendor tells whether it landed."""
    BLIND = "blind"
    """No key and nothing to look at: at most once, and `unknown` goes to a person."""

    @property
    def guarded(self) -> bool:
        """Whether the ledger must permit each send."""
        return self not in {Effect.READ, Effect.IDEMPOTENT}


class Source(StrEnum):
    """How surely a fact about the wire is known (legend of the contract notes)."""

    DOC = "doc"
    VENDOR = "vendor"
    RAN = "ran"
    INFERRED = "inferred"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Socket timeouts in seconds; `read` is per read, not for the whole answer."""

    connect: float = 5.0
    read: float = 30.0
    write: float = 30.0
    pool: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of a vendor's API. All times are seconds.

    `landing` and `visibility` are D and L of the effect protocol: how long after
    our last byte (or after we hung up) the effect may still come to be, and how long after that a
    look may miss it. They only matter for `FINDABLE` operations.
    """

    system: str
    name: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    effect: Effect
    source: Source
    reference: str
    """Where the fact stands, e.g. `officeplane.md §3.1`."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    deadline: float = 60.0
    """R: the whole request, retries of the transport excluded."""
    send_window: float = 5.0
    """W: from the permit to the last moment at which a byte may start."""
    landing: float = 30.0
    visibility: float = 2.0
    ends_with_answer: bool = False
    """The vendor works inside the request: once the application itself has answered, whatever it
    answered, nothing more will come of it, and D counts as 0."""
    key_life: float | None = None
    """How long the vendor remembers a key of ours (`KEYED`); None: for ever, 0: nobody promises it."""
    in_order: bool = False
    """A repeat may overtake a newer request or be overtaken by it, so the transport never repeats it
    by itself after it left (placet.md §5.1)."""
    limit_class: str = "default"
    recovery: str = ""
    """One sentence: what happens after a lost answer. Required where `effect.guarded`."""

    cleanup: str = ""
    """The call by which a person removes an entry that is one too many; empty where there is none."""

    @property
    def key(self) -> str:
        """`system.name`, the operation's name everywhere people see it."""
        return f"{self.system}.{self.name}"
