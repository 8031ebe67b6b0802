"""What a list showed before an effect, and what is new in it afterwards (planasonix.md §6.2, §6.3).

A history may be long. Where it is seen to be sorted by time, newest first, only its front is kept and read
again; else all of it. What has no time yet may be sorted anywhere, so whoever reads only the front must ask
for it apart (`whole`).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from plait.vendors.planasonix.models import PipelineRun, SyncJob

FRONT: Final = 300
"""How many entries are kept of a list that is sorted."""

WorkT = TypeVar("WorkT", PipelineRun, SyncJob)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ids a list showed; where `until` is set, only of its front, back to that moment."""

    ids: frozenset[str]
    until: datetime | None = None

    @classmethod
    def read(cls, stored: Any) -> "Snapshot":
        """From the ledger's JSON."""
        until = stored.get("until")
        return cls(frozenset(stored["ids"]), datetime.fromisoformat(until) if until else None)

    def stored(self) -> Any:
        """For the ledger."""
        return {"ids": sorted(self.ids), "until": self.until.isoformat() if self.until else None}

    @property
    def whole(self) -> bool:
        """Whether every entry of the list is in it."""
        return self.until is None


class _Order:
    """Whether entries come newest first, as far as they were seen."""

    def __init__(self) -> None:
        self.holds = True
        self.last: datetime | None = None

    def see(self, moment: datetime | None) -> None:
        if moment is None:
            self.holds = self.holds and self.last is None
        elif self.last is not None and moment > self.last:
            self.holds = False
        else:
            self.last = moment


async def take(entries: AsyncGenerator[WorkT, None]) -> Snapshot:
    """What the list shows now."""
    ids: set[str] = set()
    order = _Order()
    async with aclosing(entries) as reading:
        async for entry in reading:
            ids.add(entry.id)
            order.see(entry.newest_time)
            if len(ids) >= FRONT and order.holds and order.last is not None:
                return Snapshot(frozenset(ids), order.last)
    return Snapshot(frozenset(ids))


async def new_since(snapshot: Snapshot, entries: AsyncGenerator[WorkT, None]) -> list[WorkT]:
    """What the list shows now and did not show then."""
    fresh: list[WorkT] = []
    order = _Order()
    passed = False
    """Whether the front that was kept has been reached."""
    async with aclosing(entries) as reading:
        async for entry in reading:
            moment = entry.newest_time
            passed = passed or entry.id in snapshot.ids
            order.see(moment)
            old = snapshot.until is not None and moment is not None and moment < snapshot.until
            if not old and entry.id not in snapshot.ids:
                fresh.append(entry)
            if old and order.holds and passed:
                break
    return fresh
