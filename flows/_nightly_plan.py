"""What is due in a night: chosen and decided once, so that a second run of it starts nothing more."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from functools import partial
from typing import Final, Literal

from sqlalchemy import Connection

from flows._nightly_models import Compare, Plan, Policy, Selection, Setup, Trigger
from plait.http.errors import InvalidInput
from plait.ledger.pipelines import (
    Kind,
    LastRuns,
    PipelineRecord,
    Scope,
    last_runs,
    pipelines,
    unknown_pipelines,
)
from plait.pipelines.play import Due
from plait.pipelines.source import Synced
from tasks import Run
from tasks._decision import Decision
from tasks.planasonix_batch import source_of, sync_history

HOUR: Final = 3_600.0
ACTIVE: Final = frozenset({"active", "error", ""})
"""Status words of what is meant to run. `error` says how the last run went; empty: nothing is said."""
_PATTERN: Final = frozenset("*?[")


def checked(selection: Selection, values: Mapping[str, str]) -> None:
    """Raises `InvalidInput` where nothing is chosen, or a value has a placeholder that is not known."""
    if not (selection.pipelines or selection.connections or selection.tags):
        raise InvalidInput("nothing is chosen; give pipelines or connections (ids, names, patterns), or tags")
    for name, value in values.items():
        try:
            value.format(logical_date=date.min)
        except (KeyError, IndexError, ValueError):
            raise InvalidInput(
                f"the variable {name!r} is {value!r}; its only placeholder is {{logical_date}}, "
                "and a brace of its own is written twice"
            ) from None


class Planner:
    """Decides what is due."""

    def __init__(self, run: Run, setup: Setup) -> None:
        self._run = run
        self._setup = setup

    async def plan(self, night: date) -> tuple[Plan, Synced]:
        """The night's plan, and what bringing in the history cost.

        Where the night was decided before, only the history is brought in.
        """
        synced: list[Synced] = []

        async def choose() -> Plan:
            synced.append(await self._sync(full=await self._must_compare_all()))
            return await self._choose(night)

        decision = Decision(
            about="nightly pipeline sync",
            inputs={
                "night": night.isoformat(),
                "selection": self._setup.selection.model_dump(mode="json"),
                "policy": self._setup.policy.model_dump(mode="json"),
            },
            model=Plan,
            choose=choose,
        )
        plan = (await self._run.effects().perform(decision, step="plan")).choice
        if not synced:
            synced.append(await self._sync(full=self._setup.compare is Compare.FULL))
        return plan, synced[0]

    async def _sync(self, *, full: bool) -> Synced:
        compare: Literal["full", "quick"] = "full" if full else "quick"
        return await sync_history(self._setup.planasonix, kinds=self._setup.selection.kinds, compare=compare)

    async def _must_compare_all(self) -> bool:
        """Whether a glance at the definitions might miss what is chosen: all but known ids can."""
        if self._setup.compare is not Compare.AUTO or self._setup.policy.trigger is Trigger.NONE:
            return self._setup.compare is Compare.FULL
        if self._setup.selection.tags:
            return True
        for kind, named, _ in self._kinds():
            scope = (await source_of(self._run, self._setup.planasonix, kind)).scope
            unknown = await self._run.ledger.database.read(partial(unknown_pipelines, scope=scope, ids=named))
            if unknown:
                return True
        return False

    async def _choose(self, night: date) -> Plan:
        values = self._setup.values.items()
        plan = Plan(values={name: value.format(logical_date=night) for name, value in values})
        now = await self._run.ledger.now()
        for kind, named, tags in self._kinds():
            if named or tags:
                scope = (await source_of(self._run, self._setup.planasonix, kind)).scope
                chooser = Chooser(named, tags)
                chosen, due = await self._run.ledger.database.read(partial(self._due, scope, chooser, now))
                plan.chosen += chosen
                plan.due += due
                plan.absent += chooser.absent
                plan.absent_tags += chooser.absent_tags
        plan.due.sort(key=lambda one: (not one.critical, one.name, one.id))
        return plan

    def _due(
        self, scope: Scope, chooser: "Chooser", now: float, connection: Connection
    ) -> tuple[int, list[Due]]:
        """How many of one kind are chosen, and which of them are due."""
        chosen = [record for record in pipelines(connection, scope) if chooser.takes(record)]
        due = [
            Due(
                id=record.id,
                name=record.name,
                kind=scope.kind,
                critical=any(fits(record, entry) for entry in self._setup.selection.critical),
            )
            for record in chosen
            if is_due(last_runs(connection, scope, record.id), self._setup.policy, now)
        ]
        return len(chosen), due

    def _kinds(self) -> Iterator[tuple[Kind, Sequence[str], Sequence[str]]]:
        """Kind, what is named of it, and tags."""
        yield "pipeline", self._setup.selection.pipelines, self._setup.selection.tags
        yield "connection", self._setup.selection.connections, []


class Chooser:
    """Takes what fits one of the entries, and remembers which entries fitted."""

    def __init__(self, named: Sequence[str], tags: Sequence[str]) -> None:
        self._named = dict.fromkeys(named, False)
        self._tags = dict.fromkeys(tags, False)

    def takes(self, record: PipelineRecord) -> bool:
        """Whether it is chosen."""
        named = [entry for entry in self._named if fits(record, entry)]
        tags = [tag for tag in self._tags if tag in record.tags] if is_active(record) else []
        self._named |= dict.fromkeys(named, True)
        self._tags |= dict.fromkeys(tags, True)
        return bool(named or tags)

    @property
    def absent(self) -> list[str]:
        """The entries that fitted nothing."""
        return [entry for entry, found in self._named.items() if not found]

    @property
    def absent_tags(self) -> list[str]:
        """The tags that nothing active has."""
        return [tag for tag, found in self._tags.items() if not found]


def is_active(record: PipelineRecord) -> bool:
    """Whether it is meant to run."""
    return record.status.strip().lower() in ACTIVE


def is_pattern(entry: str) -> bool:
    """Whether an entry may fit several names."""
    return bool(_PATTERN & set(entry))


def fits(record: PipelineRecord, entry: str) -> bool:
    """Whether an entry names it: its id or name, or a pattern of its name if it is active."""
    if entry in {record.id, record.name}:
        return True
    return is_pattern(entry) and is_active(record) and fnmatchcase(record.name, entry)


def is_due(last: LastRuns, policy: Policy, now: float) -> bool:
    """Whether the policy wants it to run now."""
    match policy.trigger:
        case Trigger.ALL:
            return True
        case Trigger.NONE:
            return False
        case Trigger.FAILED:
            return last.status in {"failed", "cancelled"}
        case Trigger.STALE:
            young = now - policy.stale_hours * HOUR
            return not any(at is not None and at > young for at in (last.succeeded_at, last.open_since))
