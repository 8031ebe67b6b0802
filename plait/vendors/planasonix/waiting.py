"""Waiting for a run or a job: state before clock, a deadline that fires inside a request, no silent words.

What the vendor's own operator and sensor get wrong here is listed in planasonix.md §7.2 (no. 3, 6 to 10).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from plait.clock import BootClock, Clock
from plait.http.errors import DeadlineExceeded, InvalidInput, NotSent, PlaitError, RateLimited, ServerFailed
from plait.http.exchange import finish
from plait.http.operation import Operation
from plait.http.words import clean
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.errors import AnotherJobActive, StillWorking, UnknownStatus
from plait.vendors.planasonix.models import PipelineRun, State, SyncJob, Work

LAST_LOOK: Final = 5.0
"""Seconds for one look after the last pause, so that an end within that pause is not missed."""
FAREWELL: Final = 15.0
"""Seconds for asking a run or job to stop, at the deadline or when we are stopped ourselves."""

WorkT = TypeVar("WorkT", bound=Work)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, and how often to look. All in seconds."""

    timeout: float = 3600.0
    first: float = 2.0
    """The first pause between two looks."""
    longest: float = 30.0
    growth: float = 1.5
    """Each pause is so many times longer than the one before."""
    cancel: bool = False
    """Whether to ask the work to stop at the deadline, and when the waiting itself is stopped."""

    def __post_init__(self) -> None:
        if not (self.timeout > 0 and 0 < self.first <= self.longest and self.growth >= 1):
            raise InvalidInput(
                f"a timeout of {self.timeout:g} s with pauses of {self.first:g} to {self.longest:g} s, each "
                f"{self.growth:g} times the last, cannot be kept: times are above 0, the growth is 1 or more"
            )


HOUR: Final = Patience()


async def wait_for_run(
    client: PlanasonixClient, run_id: str, patience: Patience = HOUR, *, clock: Clock | None = None
) -> PipelineRun:
    """A run once it has ended, however it ended.

    Raises:
        StillWorking: it had not at the deadline; with `patience.cancel` it was asked to stop.
        UnknownStatus: its status word is none that we know, at once.
        AuthenticationFailed: at the first look; so do PermissionDenied and NotFound.
    """
    wait = _Wait(
        what=f"run {run_id}",
        operation=operations.GET_RUN,
        read=lambda: client.get_run(run_id),
        cancel=lambda: client.cancel_run(run_id),
        patience=patience,
        clock=clock or BootClock(),
    )
    return await wait.ended()


async def wait_for_job(
    client: PlanasonixClient, job_id: str, patience: Patience = HOUR, *, clock: Clock | None = None
) -> SyncJob:
    """A sync job once it has ended, however it ended. Raises as `wait_for_run`."""
    wait = _Wait(
        what=f"job {job_id}",
        operation=operations.GET_JOB,
        read=lambda: client.get_job(job_id),
        cancel=lambda: client.cancel_job(job_id),
        patience=patience,
        clock=clock or BootClock(),
    )
    return await wait.ended()


@dataclass(slots=True, kw_only=True)
class _Wait(Generic[WorkT]):
    """One wait; `deadline` is in the clock's time."""

    what: str
    operation: Operation
    read: Callable[[], Awaitable[WorkT]]
    cancel: Callable[[], Awaitable[WorkT]]
    patience: Patience
    clock: Clock
    seen: WorkT | None = None
    trouble: PlaitError | None = None
    """Why the last look failed."""
    deadline: float = 0.0

    async def ended(self) -> WorkT:
        """What is waited for, once it has ended."""
        self.deadline = self.clock.now() + self.patience.timeout
        try:
            found = await self._poll()
        except asyncio.CancelledError:
            if self.patience.cancel:
                await finish(self._farewell(), FAREWELL)
            raise
        return found if found is not None else await self._late()

    async def _poll(self) -> WorkT | None:
        """What has ended; None where it had not at the deadline."""
        pause = self.patience.first
        while (left := self.deadline - self.clock.now()) > 0:
            asked = await self._look(left)
            if self.seen is not None and self.seen.ended:
                return self.seen
            left = self.deadline - self.clock.now()
            if max(pause, asked) < left:
                await self.clock.sleep(max(pause, asked))
                pause = min(pause * self.patience.growth, self.patience.longest)
            elif left > 0:
                await self.clock.sleep(left)
                await self._look(LAST_LOOK)
        return self.seen if self.seen is not None and self.seen.ended else None

    async def _look(self, limit: float) -> float:
        """Read once, for at most `limit` seconds; gives for how long the server asks us to stay away.

        A server that is down or slow is looked at again; what only a person can mend is raised.
        """
        try:
            async with asyncio.timeout(limit):
                self.seen = await self.read()
        except TimeoutError:
            return 0.0
        except (RateLimited, ServerFailed, NotSent, DeadlineExceeded) as error:
            _log.warning("%s could not be looked at (%s); it is looked at again", self.what, error)
            self.trouble = error
            return error.retry_after or 0.0
        self.trouble = None
        if self.seen.state is State.UNKNOWN:
            raise UnknownStatus(
                f"{self.what} has the status {clean(self.seen.status, 80)!r}, which this version does not "
                "know: look at it in Planasonix",
                work=self.seen,
                system=self.operation.system,
                operation=self.operation.name,
            )
        return 0.0

    async def _late(self) -> WorkT:
        """What the deadline means: a failure, unless a cancel finds that it had ended after all."""
        stood = "was never seen" if self.seen is None else f"was {clean(self.seen.status, 80)}"
        asked = self.patience.cancel and await self._stop()
        if asked and self.seen is not None and self.seen.ended and self.seen.state is not State.CANCELLED:
            return self.seen
        now = f", was asked to stop and is now {clean(self.seen.status, 80)}" if asked and self.seen else ""
        raise StillWorking(
            f"{self.what} had not ended after {self.patience.timeout:g} s: it {stood}{now}",
            work=self.seen,
            cancelled=asked,
            system=self.operation.system,
            operation=self.operation.name,
        ) from self.trouble

    async def _farewell(self) -> None:
        await self._stop()

    async def _stop(self) -> bool:
        """Ask it to stop and note how it stands then; False where that could not be done."""
        try:
            async with asyncio.timeout(FAREWELL):
                self.seen = await self.cancel()
        except (PlaitError, TimeoutError) as error:
            _log.warning("%s could not be asked to stop: %s", self.what, str(error) or "no answer in time")
            return False
        return True


async def sync_when_free(
    client: PlanasonixClient,
    trigger: Callable[[], Awaitable[SyncJob]],
    patience: Patience = HOUR,
    *,
    clock: Clock | None = None,
) -> SyncJob:
    """What `trigger` starts, once no other job of the connection is active.

    Args:
        client: asked how the other job stands.
        trigger: starts the sync, such as `effects.perform(TriggerSync(...))`; called again after each wait.
        patience: for all waits together; another's job is never cancelled.
        clock: of the waits.

    Raises:
        StillWorking: another job was still active at the deadline.
        UnknownStatus: its status word is none that we know.
    """
    watch = clock or BootClock()
    deadline = watch.now() + patience.timeout
    while True:
        try:
            return await trigger()
        except AnotherJobActive as active:
            if (left := deadline - watch.now()) <= 0:
                raise
            await wait_for_job(
                client, active.job_id, replace(patience, timeout=left, cancel=False), clock=watch
            )
