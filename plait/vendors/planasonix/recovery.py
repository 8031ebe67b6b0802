"""How Planasonix's effects are made once, and found again after a lost answer (planasonix.md §6).

Only a sync has a key, and how long and how widely servers honour it is not known. So every effect here is
looked for before it is sent again: what a list shows now is compared with what it showed before, while one
effect of a unit is at work at a time.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar

from plait.http.errors import (
    Conflict,
    PlaitError,
    RequestRejected,
)
from plait.http.operation import Operation
from plait.ledger.recipe import (
    Absent,
    AnyRecipe,
    Found,
    Identity,
    Json,
    Look,
    NotYetKnown,
    Recorded,
    Several,
    Verdict,
)
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.bodies import MARKER
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.creating import (
    CreateConnection,
    CreatePipeline,
    CreateSchedule,
    CreateWebhook,
    cannot_look,
    refused,
)
from plait.vendors.planasonix.errors import AnotherJobActive, NotTriggered
from plait.vendors.planasonix.models import (
    Backfill,
    BackfillOptions,
    NewConnection,
    NewPipeline,
    NewSchedule,
    NewWebhook,
    PipelineRun,
    State,
    SyncJob,
    SyncOptions,
)
from plait.vendors.planasonix.snapshots import Snapshot, new_since, take

OnActive: TypeAlias = Literal["fail", "adopt"]
"""What to do where another job of the connection is active: raise, or take it for ours on purpose."""

__all__ = [
    "CreateConnection",
    "CreatePipeline",
    "CreateSchedule",
    "CreateWebhook",
    "StartBackfill",
    "TriggerRun",
    "TriggerSync",
    "restore",
]


@dataclass(slots=True)
class TriggerRun:
    """Start a pipeline once. The result is the run as it stood when it was started or found."""

    client: PlanasonixClient
    pipeline_id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    environment_id: str | None = None
    _before: Snapshot = field(default=Snapshot(frozenset()), init=False, repr=False, compare=False)

    operation: Operation = field(default=operations.TRIGGER_RUN, init=False, repr=False)
    result_type: type[PipelineRun] = field(default=PipelineRun, init=False, repr=False)

    async def identity(self) -> Identity:
        """The pipeline and what it is started with; one trigger of a pipeline at a time."""
        place = f"{self.client.account}/pipelines/{self.pipeline_id}"
        return Identity(
            account=self.client.account,
            target=place,
            inputs={"values": dict(self.values), "environment_id": self.environment_id},
            unit=f"{operations.SYSTEM}:{place}:runs",
        )

    async def baseline(self) -> Json:
        """The pipeline's runs before ours."""
        self._before = await take(self.client.each_run(pipeline_id=self.pipeline_id))
        return self._before.stored()

    async def send(self, external_id: str) -> PipelineRun:
        """Trigger it. No call has a place for an id of ours, so `external_id` is not sent."""
        del external_id
        try:
            run = await self.client.trigger_run(
                self.pipeline_id, self.values, environment_id=self.environment_id
            )
        except Conflict as conflict:
            raise refused(conflict) from conflict
        if run.id in self._before.ids:
            raise RequestRejected(
                f"the server answered with run {run.id}, which was there before: it started none for us",
                system=operations.SYSTEM,
                operation=self.operation.name,
            )
        return run

    async def look(self, context: Look) -> Verdict[PipelineRun]:
        """Exactly one new run that no schedule started and nobody else of ours has (planasonix.md §6.3)."""
        before = Snapshot.read(context.baseline)
        try:
            fresh = await new_since(before, self.client.each_run(pipeline_id=self.pipeline_id))
            if not before.whole:
                fresh += await new_since(before, self._queued())
        except PlaitError as error:
            return cannot_look(error)
        ours = {run.id: run for run in fresh if not run.scheduled}
        taken = await context.taken(ours)
        return _only([run for run in ours.values() if run.id not in taken])

    def vendor_id(self, result: PipelineRun) -> str:
        """The run's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """Whether the server itself said that it started nothing."""
        return isinstance(error, NotTriggered)

    def _queued(self) -> AsyncGenerator[PipelineRun, None]:
        return self.client.each_run(pipeline_id=self.pipeline_id, state=State.QUEUED)


@dataclass(slots=True)
class TriggerSync:
    """Sync a connection once. The result is the job as it stood when it was started or found.

    Where another job of the connection is active, `AnotherJobActive` is raised; with `on_active="adopt"`
    that job is the result, marked as `adopted`.
    """

    client: PlanasonixClient
    connection_id: str
    options: SyncOptions = field(default_factory=SyncOptions)
    on_active: OnActive = "fail"

    operation: Operation = field(default=operations.TRIGGER_SYNC, init=False, repr=False)
    result_type: type[SyncJob] = field(default=SyncJob, init=False, repr=False)

    async def identity(self) -> Identity:
        """The connection and how it is synced; one trigger of a connection at a time."""
        place = f"{self.client.account}/connections/{self.connection_id}"
        return Identity(
            account=self.client.account,
            target=place,
            inputs=self.options.model_dump(mode="json", exclude_none=True),
            unit=f"{operations.SYSTEM}:{place}:jobs",
        )

    async def baseline(self) -> Json:
        """The connection's jobs before ours."""
        return (await take(self.client.each_job(connection_id=self.connection_id))).stored()

    async def send(self, external_id: str) -> SyncJob:
        """Trigger it under the key; a job that stands in the way is ours only if it shows the key."""
        try:
            return await self.client.trigger_sync(
                self.connection_id, self.options, idempotency_key=external_id
            )
        except AnotherJobActive as active:
            job = await self._standing_in_the_way(active)
            if _shows(job, external_id):
                return job
            if self.on_active == "adopt":
                return job.model_copy(update={"adopted": True})
            raise
        except Conflict as conflict:
            raise refused(conflict) from conflict

    async def look(self, context: Look) -> Verdict[SyncJob]:
        """The job that shows our key; where jobs show none, the only new one that does what we asked.

        Such a job may be somebody else's who asked the same in the same moment (planasonix.md §6.2).
        """
        before = Snapshot.read(context.baseline)
        try:
            fresh = await new_since(before, self.client.each_job(connection_id=self.connection_id))
            if not before.whole:
                fresh += await new_since(before, self._queued())
        except PlaitError as error:
            return cannot_look(error)
        new = {job.id: job for job in fresh}
        if marked := [job for job in new.values() if _shows(job, context.external_id)]:
            return _only(marked)
        taken = await context.taken(new)
        silent = [job for job in new.values() if _silent(job) and job.id not in taken]
        alike = [job for job in silent if self._does_what_we_asked(job)]
        if silent and not alike:
            return NotYetKnown(
                f"connection {self.connection_id} has new jobs that show neither our key nor all that we "
                f"asked for, and may be ours: {', '.join(job.id for job in silent[:5])}"
            )
        return _only(alike)

    def vendor_id(self, result: SyncJob) -> str:
        """The job's id; an adopted job stays its owner's."""
        return f"adopted:{result.id}" if result.adopted else result.id

    def final(self, error: PlaitError) -> bool:
        """Whether the server itself said that it started nothing."""
        return isinstance(error, NotTriggered)

    def _queued(self) -> AsyncGenerator[SyncJob, None]:
        return self.client.each_job(connection_id=self.connection_id, state=State.QUEUED)

    async def _standing_in_the_way(self, active: AnotherJobActive) -> SyncJob:
        """The job a 409 names. What cannot be read proves nothing."""
        try:
            return await self.client.get_job(active.job_id)
        except PlaitError as error:
            raise active from error

    def _does_what_we_asked(self, job: SyncJob) -> bool:
        """Whether a job shows each value that we asked for; what we left out may be anything."""
        ours = self.options
        pairs = (ours.sync_type, job.sync_type), (ours.pipeline_id, job.pipeline_id)
        same = all(asked in {None, shown} for asked, shown in pairs)
        return same and (ours.streams is None or set(ours.streams) == _names(job.streams))


@dataclass(slots=True)
class StartBackfill:
    """Load a part of the past again, at most once. A lost answer cannot be looked up (planasonix.md §6)."""

    client: PlanasonixClient
    connection_id: str
    options: BackfillOptions

    operation: Operation = field(default=operations.BACKFILL, init=False, repr=False)
    result_type: type[Backfill] = field(default=Backfill, init=False, repr=False)

    async def identity(self) -> Identity:
        """The connection and the part of the past."""
        return Identity(
            account=self.client.account,
            target=f"{self.client.account}/connections/{self.connection_id}",
            inputs=self.options.model_dump(mode="json", exclude_none=True),
        )

    async def baseline(self) -> Json:
        """Nothing: there is no list to look at."""
        return None

    async def send(self, external_id: str) -> Backfill:
        """Start it. No call has a place for an id of ours, so `external_id` is not sent."""
        del external_id
        try:
            return await self.client.backfill(self.connection_id, self.options)
        except Conflict as conflict:
            raise refused(conflict) from conflict

    async def look(self, context: Look) -> Verdict[Backfill]:
        """Never known: no path is known that lists backfills."""
        del context
        return NotYetKnown(
            f"no call lists the backfills of connection {self.connection_id}; look in Planasonix whether it "
            "runs, and resolve this effect by hand"
        )

    def vendor_id(self, result: Backfill) -> str:
        """The backfill's id."""
        return result.id

    def final(self, error: PlaitError) -> bool:
        """No failure of the server is known to be for ever."""
        del error
        return False


WorkT = TypeVar("WorkT", PipelineRun, SyncJob)


def _only(found: Sequence[WorkT]) -> Verdict[WorkT]:
    if len(found) > 1:
        return Several(tuple(work.id for work in found))
    return Found(found[0]) if found else Absent()


def _shows(job: SyncJob, key: str) -> bool:
    """Whether a job says that it was made under our key."""
    return job.idempotency_key == key or (job.metadata or {}).get(MARKER) == key


def _names(streams: Sequence[Any] | None) -> set[Any]:
    """The streams of a job, shown as names or as objects with one."""
    return {stream.get("name") if isinstance(stream, Mapping) else stream for stream in streams or ()}


def _silent(job: SyncJob) -> bool:
    """Whether a job tells nothing of who made it: its values of ours would show, if it showed any."""
    return not job.metadata and not job.idempotency_key and not job.scheduled


def restore(client: PlanasonixClient, recorded: Recorded) -> AnyRecipe | None:
    """The recipe of a recorded effect, able to look and not to send; None for an unknown operation."""
    made = _RESTORED.get(recorded.operation)
    _, _, owner = recorded.target.removeprefix(f"{recorded.account}/").partition("/")
    return None if made is None else made(client, owner, recorded.inputs)


def _webhook(client: PlanasonixClient, _: str, inputs: Json) -> CreateWebhook:
    return CreateWebhook(client, NewWebhook(url=inputs["url"], events=inputs["events"])).recall(inputs)


_RESTORED: Final[Mapping[str, Callable[[PlanasonixClient, str, Json], AnyRecipe]]] = {
    "trigger_run": lambda client, owner, inputs: TriggerRun(
        client, owner, inputs["values"], inputs["environment_id"]
    ),
    "trigger_sync": lambda client, owner, inputs: TriggerSync(
        client, owner, SyncOptions.model_validate(inputs)
    ),
    "backfill": lambda client, owner, inputs: StartBackfill(
        client, owner, BackfillOptions.model_validate(inputs)
    ),
    "create_connection": lambda client, _, inputs: CreateConnection(
        client, NewConnection.model_validate(inputs)
    ),
    "create_pipeline": lambda client, _, inputs: CreatePipeline(client, NewPipeline.model_validate(inputs)),
    "create_schedule": lambda client, _, inputs: CreateSchedule(client, NewSchedule.model_validate(inputs)),
    "create_webhook": _webhook,
}
"""By operation, given the client, the id in the recorded target, and the recorded inputs."""
