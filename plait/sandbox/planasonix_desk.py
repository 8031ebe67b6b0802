"""What the endpoints of the Planasonix stand-in share: one transaction that begins with what is due."""

from collections.abc import Callable
from typing import TypeVar

from plait.sandbox.context import SandboxContext
from plait.sandbox.planasonix_records import Connection, Item, Kind, Pipeline, Work
from plait.sandbox.planasonix_settings import Voice
from plait.sandbox.planasonix_shown import Showing
from plait.sandbox.planasonix_store import Filter, Shelf
from plait.sandbox.planasonix_voices import Answers, Part, Thing
from plait.sandbox.planasonix_wire import Call, missing
from plait.sandbox.planasonix_work import Foreman

T = TypeVar("T")
I = TypeVar("I", bound=Item)  # noqa: E741 - the usual letter for an item


class Desk:
    """Store, clock, forms and foreman, for one group of endpoints."""

    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self.settings = context.settings.planasonix
        self.foreman = Foreman(context)
        self.answers = Answers(self.settings)

    async def transact(self, work: Callable[[Shelf], T]) -> T:
        """Carry out what is due, then `work`, as one commit."""

        def inside(shelf: Shelf) -> T:
            self.foreman.advance(shelf)
            return work(shelf)

        seed = self._context.settings.seed
        return await self._context.store.transact(lambda transaction: inside(Shelf(transaction, seed)))

    async def listed(
        self, call: Call, thing: Thing, model: type[I], where: Filter, part: Part
    ) -> tuple[list[I], Part]:
        """A part of a list of items, and how many there are where the voice tells."""

        def work(shelf: Shelf) -> tuple[list[I], Part]:
            narrowed = where.also("kind = ?", model.kind)
            found, after = shelf.items(model, narrowed, part.page)
            counted = self.answers.counts(call.voice, thing)
            return found, part.continued(after, shelf.count("item", narrowed) if counted else None)

        return await self.transact(work)

    async def listed_work(self, call: Call, kind: Kind, where: Filter, part: Part) -> tuple[list[Work], Part]:
        """A part of a list of runs or jobs."""

        def work(shelf: Shelf) -> tuple[list[Work], Part]:
            found, after = shelf.works(where, part.page)
            counted = self.answers.counts(call.voice, kind)
            return found, part.continued(after, shelf.count("work", where) if counted else None)

        return await self.transact(work)

    def now(self) -> float:
        """The vendor's clock: Unix seconds, skewed where a fault says so."""
        return self._context.now().timestamp()

    def showing(self, voice: Voice) -> Showing:
        """Shows things in the words of a voice."""
        return Showing(self.settings, voice)


def owned(shelf: Shelf, call: Call, model: type[I], item_id: str) -> I:
    """An item of the caller's organization; 404 for what is another's, too [vendor go]."""
    item = shelf.item(model, item_id)
    if item is None or item.organization != call.organization:
        raise missing(model.__name__)
    if isinstance(item, Pipeline) and item.trashed:
        raise missing(model.__name__)
    return item


def pipeline_of(shelf: Shelf, call: Call) -> Pipeline:
    """The pipeline in the path."""
    return owned(shelf, call, Pipeline, call.parameter("pipeline_id"))


def connection_of(shelf: Shelf, call: Call) -> Connection:
    """The connection in the path."""
    return owned(shelf, call, Connection, call.parameter("connection_id"))


def belonging(call: Call) -> Filter:
    """What lists are narrowed by first."""
    return Filter(("organization = ?",), (call.organization,))
