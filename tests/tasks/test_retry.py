"""The retry rule: what may be repeated, and how long Prefect waits."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from plait.http.errors import NotFound, NotSent, PlaitError, RateLimited
from tasks._retry import MAX_WAIT, RETRIES_VARIABLE, FlooredDelays, retry_if_safe


def failing(errors: list[PlaitError], times: list[float]) -> Callable[[], Any]:
    """A task body that raises each error in turn and notes when it ran."""

    async def body() -> str:
        times.append(time.monotonic())
        await asyncio.sleep(0)
        if errors:
            raise errors.pop(0)
        return "done"

    return body


def as_task(body: Callable[[], Any], steps: tuple[float, ...]) -> Any:
    """The body as a task with our retry rule and quick steps."""
    return task(
        body,
        retries=len(steps),
        retry_delay_seconds=FlooredDelays(steps, jitter=0.0),
        retry_condition_fn=retry_if_safe,
        persist_result=False,
    )


@pytest.fixture(autouse=True)
def _all_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many retries as a task declares."""
    monkeypatch.delenv(RETRIES_VARIABLE)


@pytest.mark.usefixtures("prefect_server")
async def test_prefect_honours_retry_after() -> None:
    """The guard of the technique: the wait is what the error asked for, and falls back to the step."""
    times: list[float] = []
    errors = [
        RateLimited("slow down", retry_after=0.9),
        NotSent("refused"),
        RateLimited("again", retry_after=0.4),
    ]
    body = as_task(failing(list(errors), times), (0.05, 0.05, 0.05))

    @flow
    async def retrying() -> str:
        return await body()

    state = await retrying(return_state=True)
    assert await state.aresult() == "done"
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] == pytest.approx(0.9, abs=0.3)
    assert gaps[1] < 0.35
    assert gaps[2] == pytest.approx(0.4, abs=0.3)


@pytest.mark.usefixtures("prefect_server")
async def test_concurrent_tasks_do_not_mix_their_waits() -> None:
    """One task's `Retry-After` lengthens no other task's wait."""
    slow: list[float] = []
    quick: list[float] = []
    patient = as_task(failing([RateLimited("wait", retry_after=1.2)], slow), (0.05,))
    hasty = as_task(failing([NotSent("refused")], quick), (0.05,))

    @flow
    async def both() -> None:
        await asyncio.gather(patient(), hasty())

    await both()
    assert slow[1] - slow[0] > 1.1
    assert quick[1] - quick[0] < 1.0


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    "error",
    [NotFound("gone", status=404), RateLimited("tomorrow", retry_after=MAX_WAIT + 1)],
    ids=["a refusal", "a wait beyond the cap"],
)
async def test_what_a_machine_must_not_repeat_is_raised_at_once(error: PlaitError) -> None:
    """A rejection, and a wait that is too long to sit out, fail the task on the first attempt."""
    times: list[float] = []
    body = as_task(failing([error], times), (0.05, 0.05))

    @flow
    async def once() -> None:
        await body()

    with pytest.raises(type(error)):
        await once()
    assert len(times) == 1


@pytest.mark.usefixtures("prefect_server")
async def test_the_server_shows_when_a_retry_is_due() -> None:
    """While waiting, the task run is `AwaitingRetry` with its time in the UI."""
    body = as_task(failing([RateLimited("wait", retry_after=3.0)], []), (0.05,))
    run_ids: list[UUID] = []
    seen: set[str] = set()

    @flow
    async def waiting() -> None:
        run_ids.append(UUID(flow_run.id))
        await body()

    running = asyncio.create_task(waiting())
    async with get_client() as client:
        while not running.done():
            mine = FlowRunFilter(id=FlowRunFilterId(any_=run_ids))
            runs = await client.read_task_runs(flow_run_filter=mine) if run_ids else []
            seen |= {run.state.name for run in runs if run.state}
            await asyncio.sleep(0.2)
    await running
    assert "AwaitingRetry" in seen


def test_delays_only_ever_lengthen() -> None:
    """Jitter goes upwards, so that no wait undercuts its step."""
    delays = FlooredDelays((1.0, 5.0), seed=3)
    drawn = [delays[0] for _ in range(200)]
    assert min(drawn) >= 1.0
    assert max(drawn) <= 1.1
    assert len(set(drawn)) > 100


@pytest.mark.usefixtures("prefect_server")
async def test_the_environment_limits_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PLAIT_TASK_RETRIES=1` gives two attempts, however many a task declares."""
    monkeypatch.setenv(RETRIES_VARIABLE, "1")
    times: list[float] = []
    body = as_task(failing([NotSent("refused") for _ in range(3)], times), (0.05, 0.05, 0.05))

    @flow
    async def limited() -> None:
        await body()

    with pytest.raises(NotSent):
        await limited()
    assert len(times) == 2
