"""What the tasks of one run share: a ledger, clients, and the run key that makes effects the same intent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks import EffectLedger, resolve
from blocks.resolve import ClientBlock
from plait.http.errors import ConfigurationError

if TYPE_CHECKING:
    from plait.ledger import Effects, Ledger

B = TypeVar("B", bound=ClientBlock)
C = TypeVar("C")

_run: ContextVar["Run | None"] = ContextVar("plait_run", default=None)
_step: ContextVar[str] = ContextVar("plait_step", default="")


class Run:
    """An open ledger and the clients opened so far; the tasks of a flow find it by themselves."""

    def __init__(self, ledger: "Ledger", *, key: str, env: str, stack: AsyncExitStack) -> None:
        self.key = key
        self.env = env
        self.ledger = ledger
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self._clients: dict[Hashable, Any] = {}
        self._opening = asyncio.Lock()

    @property
    def here(self) -> bool:
        """Whether the caller runs on the loop that the clients belong to."""
        return asyncio.get_running_loop() is self._loop

    def effects(self, generation: int = 0) -> "Effects":
        """The ledger's door for this run's effects."""
        return self.ledger.effects(run_key=self.key, env=self.env, generation=generation)

    async def client(
        self, kind: type[B], opener: Callable[[B], AbstractAsyncContextManager[C]], given: B | str | None
    ) -> C:
        """The client of this block, opened at first use and closed with the run."""
        async with self._opening:
            key = (kind, _identity(given))
            if key not in self._clients:
                block = await resolve(kind, given)
                self._clients[key] = await self._stack.enter_async_context(opener(block))
            return cast("C", self._clients[key])


def _identity(given: ClientBlock | str | None) -> Hashable:
    if not isinstance(given, BaseModel):
        return cast("str | None", given)
    return tuple((name, getattr(given, name)) for name in type(given).model_fields)


@asynccontextmanager
async def effects_of(
    ledger: EffectLedger | str | None = None, *, run_key: str | None = None
) -> AsyncIterator[Run]:
    """Open the ledger once for everything a flow does inside.

    Args:
        ledger: The block, its name, or None for the environment.
        run_key: What makes two runs the same intent: effects of one run key happen once. None: the
            root flow run's id, so that retries and resumed runs repeat nothing and a new run is new;
            for a scheduled run, its deployment and logical date.

    Raises:
        ConfigurationError: The block is unknown or the ledger cannot be written.
    """
    block = await resolve(EffectLedger, ledger)
    key = run_key or await _own_run_key()
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(block.get_client())
        run = Run(opened, key=key, env=block.env, stack=stack)
        token = _run.set(run)
        try:
            yield run
        finally:
            _run.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tell apart two equal effects of one run, for example the same question asked twice."""
    token = _step.set(name)
    try:
        yield
    finally:
        _step.reset(token)


def current_step() -> str:
    """The innermost `step`, or nothing."""
    return _step.get()


@asynccontextmanager
async def current_run() -> AsyncIterator[Run]:
    """The run around the caller; a task used on its own opens one for itself."""
    run = _run.get()
    if run is not None and run.here:
        yield run
        return
    async with effects_of() as own:
        yield own


@asynccontextmanager
async def client_of(
    kind: type[B], opener: Callable[[B], AbstractAsyncContextManager[C]], given: B | str | None
) -> AsyncIterator[C]:
    """The run's client, or without a run one that is opened and closed here. Needs no ledger."""
    run = _run.get()
    if run is not None and run.here:
        yield await run.client(kind, opener, given)
        return
    async with opener(await resolve(kind, given)) as client:
        yield client


def run_key_of(run: FlowRun) -> str:
    """A root flow run's own key: its id; for a scheduled run, the scheduler's deployment and logical date."""
    return run.idempotency_key if run.auto_scheduled and run.idempotency_key else str(run.id)


async def _own_run_key() -> str:
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        if context.flow_run.parent_task_run_id is None:
            return run_key_of(context.flow_run)
        return str(await asyncio.to_thread(flow_run.get_root_flow_run_id))
    task_context = TaskRunContext.get()
    if task_context is not None:
        return str(task_context.task_run.flow_run_id or task_context.task_run.id)
    raise ConfigurationError("outside of a flow or task run there is no run id: give effects_of a run_key")
