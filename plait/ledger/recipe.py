"""What the ledger must know about an effect: its identity, how to send it, how to find it again.

A vendor package writes one `Recipe` per effectful operation in its `recovery.py`; the ledger
knows vendors only through this module.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel

from plait.http.errors import PlaitError
from plait.http.operation import Operation

Json: TypeAlias = Any
"""What JSON can carry: None, bool, int, float, str, list, dict with string keys."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What makes two submissions the same intent, and what must not differ between them."""

    account: str
    """Whose account at which address, without secrets: part of the fingerprint, not of the id."""
    target: str
    """The thing acted on: a workspace, a conversation, a server."""
    inputs: Json
    """Everything else the vendor will act on; a file counts by its digest."""
    unit: str | None = None
    """Effects with one unit are sent one after the other, because a look could not tell them
    apart. None where the vendor stores a marker of ours."""
    by_content: bool = False
    """True: the run key is no part of the id, so equal content is one effect for ever."""


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """Exactly one match, complete and with our fingerprint."""

    result: R


@dataclass(frozen=True, slots=True)
class Absent:
    """An exhaustive look saw nothing of ours. The ledger alone decides whether it came late enough."""


@dataclass(frozen=True, slots=True)
class NotYetKnown:
    """The look could not tell: vendor down, page missing, entry still growing."""

    reason: str
    look_again_in: float | None = None
    """Seconds; None leaves it to the ledger's backoff."""


@dataclass(frozen=True, slots=True)
class Several:
    """More than one match: an incident for a person, with the vendor's ids."""

    vendor_ids: tuple[str, ...]


Verdict: TypeAlias = Found[R] | Absent | NotYetKnown | Several


@dataclass(frozen=True, slots=True)
class Look:
    """What a reconciler may use."""

    external_id: str
    baseline: Json
    """What `Recipe.baseline` saw before the first permit; None where there is no unit."""
    taken: Callable[[Iterable[str]], Awaitable[set[str]]]
    """Which of these vendor ids the ledger holds as results of other effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the ledger wrote down of an effect: enough to look for it again, never to send it."""

    external_id: str
    system: str
    operation: str
    account: str
    target: str
    inputs: Json
    """`Identity.inputs`; None once retention has dropped them."""


class Recipe(Protocol[R]):
    """One effect, bound to a client and its arguments."""

    @property
    def operation(self) -> Operation:
        """The row of the operation table."""

    @property
    def result_type(self) -> type[R]:
        """The pydantic model that `send` returns and the ledger stores."""

    async def identity(self) -> Identity:
        """Who we are; may read and digest a file, never asks the vendor."""

    async def baseline(self) -> Json:
        """What the vendor shows now, read under the unit lock before the first permit."""

    async def send(self, external_id: str) -> R:
        """Make the call once. Raises as the transport does."""

    async def look(self, context: Look) -> Verdict[R]:
        """Find out whether the effect exists; a vendor that cannot be asked is `NotYetKnown`."""

    def vendor_id(self, result: R) -> str:
        """The vendor's id of what was made."""

    def final(self, error: PlaitError, /) -> bool:
        """Whether a failed answer (5xx), once proved absent, will be the same at every try."""


AnyRecipe: TypeAlias = Recipe[Any]
