"""Turns a client method or a recipe into a Prefect task, so that a task module is a table of contents."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import TaskRunNameCallbackWithParameters
from pydantic import BaseModel

from blocks.resolve import ClientBlock
from plait.content.text import counted
from plait.ledger.recipe import Recipe
from tasks._retry import STEPS, FlooredDelays, retry_if_safe
from tasks._run import client_of, current_run, current_step

B = TypeVar("B", bound=ClientBlock)
C = TypeVar("C")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")

Call: TypeAlias = Coroutine[Any, Any, R]
OPTIONS: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(STEPS),
    "retry_delay_seconds": FlooredDelays(STEPS),
    "retry_condition_fn": retry_if_safe,
}
"""What every task of Plait is declared with."""


@dataclass(frozen=True)
class Counted(TaskRunNameCallbackWithParameters):
    """A run name for a batch, such as `upload 3 documents`."""

    verb: str
    parameter: str
    noun: str = "document"

    def __call__(self, parameters: dict[str, Any]) -> str:
        return f"{self.verb} {counted(len(parameters[self.parameter]), self.noun)}"


class System(Generic[B, C]):
    """One system's block and how it opens the client; declares that system's tasks.

    Each task takes a block, a block's name, or None (the environment) in place of the client, and
    then the method's or recipe's own arguments. Nothing is cached or persisted by Prefect: the
    ledger replays, because cache keys mask secrets and could hand one account another's result.
    """

    def __init__(
        self, kind: type[B], opener: Callable[[B], AbstractAsyncContextManager[C]], *, parameter: str
    ) -> None:
        self._kind = kind
        self._opener = opener
        self._parameter = parameter

    def call(
        self, method: Callable[Concatenate[C, P], Awaitable[R]], *, run_name: str
    ) -> Task[Concatenate[B | str | None, P], Call[R]]:
        """A task around a call that may be repeated. `run_name` is a template over its arguments."""

        async def body(given: B | str | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
            async with client_of(self._kind, self._opener, given) as client:
                return await method(client, *args, **kwargs)

        return self._task(body, method, method.__name__, run_name)

    def effect(
        self, recipe: Callable[Concatenate[C, P], Recipe[M]], *, name: str, run_name: str
    ) -> Task[Concatenate[B | str | None, P], Call[M]]:
        """A task around an effect, which the ledger lets happen once per run key and `step`."""

        async def body(given: B | str | None, /, *args: P.args, **kwargs: P.kwargs) -> M:
            async with current_run() as run:
                client = await run.client(self._kind, self._opener, given)
                return await run.effects().perform(recipe(client, *args, **kwargs), step=current_step())

        return self._task(body, recipe, name, run_name)

    def _task(
        self,
        body: Callable[Concatenate[B | str | None, P], Call[R]],
        source: Callable[..., Any],
        name: str,
        run_name: str,
    ) -> Task[Concatenate[B | str | None, P], Call[R]]:
        body.__name__ = name
        body.__qualname__ = f"{self._parameter}.{name}"
        body.__doc__ = inspect.getdoc(source)
        body.__signature__ = self._signature(source)  # type: ignore[attr-defined]
        return Task(body, name=f"{self._parameter}.{name}", task_run_name=run_name, **OPTIONS)

    def _signature(self, source: Callable[..., Any]) -> inspect.Signature:
        own = inspect.signature(source)
        arguments = [p for p in own.parameters.values() if p.name not in {"self", "client"}]
        block = inspect.Parameter(
            self._parameter,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=self._kind | str | None,
        )
        return own.replace(parameters=[block, *arguments])
