"""A choice that a run makes once: a re-run with the same run key finds it in the ledger.

What is asked of a vendor may depend on what a look showed. If a re-run looked again and chose
otherwise, its request would be another one and would be sent a second time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from plait.http.errors import PlaitError
from plait.http.guard import send_guard
from plait.http.operation import Effect, Operation, Source
from plait.ledger.recipe import Absent, Identity, Json, Look, Verdict

M = TypeVar("M", bound=BaseModel)

DECIDE: Final = Operation(
    system="plait",
    name="decide",
    method="POST",
    path="/decide",
    effect=Effect.KEYED,
    source=Source.RAN,
    reference="tasks/_decision.py",
    deadline=3600.0,
    send_window=60.0,
    landing=0.0,
    visibility=0.0,
    recovery="Nothing outside of the ledger happens: a decision that was not recorded is made again.",
)


class Decided(BaseModel, Generic[M]):
    """A recorded choice."""

    external_id: str
    choice: M


@dataclass(frozen=True, slots=True)
class Decision(Generic[M]):
    """A recipe that reaches no vendor; `choose` runs only where nothing is recorded yet."""

    about: str
    inputs: Json
    model: type[M]
    choose: Callable[[], Awaitable[M]]

    @property
    def operation(self) -> Operation:
        """One row for every decision."""
        return DECIDE

    @property
    def result_type(self) -> type[Decided[M]]:
        """What the ledger keeps."""
        return Decided[self.model]  # type: ignore[name-defined]

    async def identity(self) -> Identity:
        """The subject and what the choice is made from."""
        return Identity(account="plait", target=self.about, inputs=self.inputs)

    async def baseline(self) -> Json:
        """There is nothing to compare with."""
        return None

    async def send(self, external_id: str) -> Decided[M]:
        """Choose, then ask for leave to record it."""
        choice = await self.choose()
        guard = send_guard.get()
        if guard is not None:
            await guard.permit()
            guard.check()
            await guard.wrote()
        return Decided[self.model](external_id=external_id, choice=choice)  # type: ignore[name-defined]

    async def look(self, context: Look) -> Verdict[Decided[M]]:
        """Nobody else knows of it."""
        del context
        return Absent()

    def vendor_id(self, result: Decided[M]) -> str:
        """The effect's own id."""
        return result.external_id

    def read(self, stored: Any) -> Decided[M]:
        """A recorded choice as its model."""
        return self.result_type.model_validate(stored)

    def final(self, error: PlaitError) -> bool:
        """A choice may always be tried again."""
        del error
        return False
