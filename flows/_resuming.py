"""Resuming suspended runs whose question is decided, and noticing runs that nobody will resume."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import BaseModel

from flows._suspending import BY_PROGRAM
from plait.content.text import one_line
from plait.ledger import Ledger
from plait.ledger.review_views import WaitingRun, runs_to_resume, suspended_reviews
from plait.ledger.store import reviews as store

AT_ONCE: Final = 8
SOON: Final = 1.0
"""Seconds until a refused resumption is tried again: the run may not have suspended yet."""
LATER: Final = 60.0
"""Seconds after which a run that was resumed, and has not acted, is looked at again."""
UNKNOWN: Final = 600.0
"""Seconds after which a run that this server does not know is looked for again: it may be another's."""
CHUNK: Final = 200


class Resumed(BaseModel):
    """What became of one attempt to resume a run."""

    flow_run_id: str
    accepted: bool
    reason: str = ""
    unclear: bool = False
    """Whether Prefect did not tell how the run stands."""


@dataclass(frozen=True, slots=True)
class _Next:
    accepted: bool
    reason: str
    at: float | None
    """Seconds until it is looked at again; None for never."""
    unclear: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """What became of suspended runs that somebody still decides for."""

    cancelled: dict[str, str]
    """Question to run."""
    unknown: list[str]
    """Runs that this Prefect server does not know: deleted, or those of another server."""


async def resume_decided(ledger: Ledger) -> list[Resumed]:
    """Resume every run whose turn it is. A refusal is read, and repeated where the run may yet suspend.

    Prefect answers 200 to a refused resumption; only `ACCEPT` in the body is one. An error about one run
    keeps no other from being resumed. Raises `httpx.HTTPError` where Prefect does not answer at all.
    """
    runs = await ledger.ask(runs_to_resume)
    if not runs:
        return []
    turns = asyncio.Semaphore(AT_ONCE)
    async with get_client() as client:

        async def one(run: WaitingRun) -> Resumed:
            async with turns:
                return await _resume(ledger, client, run)

        return await asyncio.gather(*(one(run) for run in runs))


async def gone_runs(ledger: Ledger) -> Gone:
    """Suspended runs with open questions that nobody will resume in Prefect."""
    waiting = await ledger.ask(suspended_reviews)
    runs = sorted(set(waiting.values()))
    states: dict[str, StateType | None] = {}
    async with get_client() as client:
        for start in range(0, len(runs), CHUNK):
            some = [UUID(one) for one in runs[start : start + CHUNK]]
            mine = FlowRunFilter(id=FlowRunFilterId(any_=some))
            found = await client.read_flow_runs(flow_run_filter=mine)
            states |= {str(run.id): run.state_type for run in found}
    over = {StateType.CANCELLED, StateType.CANCELLING}
    return Gone(
        cancelled={review_id: run for review_id, run in waiting.items() if states.get(run) in over},
        unknown=[run for run in runs if run not in states],
    )


async def withdraw(ledger: Ledger, review_id: str, run_id: str) -> None:
    """Withdraw the question of a cancelled run; its message is taken back at the next look at Placet."""
    reason = f"its run {run_id} was cancelled"
    await ledger.database.write(
        partial(store.withdraw, ledger.database, review_id=review_id, reason=reason, outcome="cancelled"),
        commit="record",
    )


async def _resume(ledger: Ledger, client: PrefectClient, run: WaitingRun) -> Resumed:
    following = await _try(client, run)
    now = await ledger.now()
    note = None if following.accepted else one_line(following.reason, 300)
    await ledger.database.write(
        lambda connection: store.resume_later(
            connection,
            run.flow_run_id,
            at=None if following.at is None else now + following.at,
            accepted_at=now if following.accepted else None,
            note=note,
        ),
        commit="record",
    )
    return Resumed(
        flow_run_id=run.flow_run_id,
        accepted=following.accepted,
        reason=following.reason,
        unclear=following.unclear,
    )


async def _try(client: PrefectClient, run: WaitingRun) -> _Next:
    run_id = UUID(run.flow_run_id)
    error: PrefectHTTPStatusError | None = None
    refusal = ""
    try:
        answer = await client.resume_flow_run(run_id, dict(BY_PROGRAM))
        if answer.status is SetStateStatus.ACCEPT:
            return _Next(accepted=True, reason="", at=LATER)
        refusal = getattr(answer.details, "reason", None) or answer.status.value
    except PrefectHTTPStatusError as raised:
        error = raised  # 3.8 answers 500 about a run that it does not know
    try:
        state = (await client.read_flow_run(run_id)).state
    except ObjectNotFound:
        return _Next(
            accepted=False,
            reason=f"run {run_id} is not known to this Prefect server",
            at=UNKNOWN,
            unclear=True,
        )
    except PrefectHTTPStatusError as raised:
        state, error = None, error or raised
    if state is not None and state.is_final():
        return _Next(
            accepted=False,
            reason=f"run {run_id} is {state.name}: run it again with its run key to act on the decision",
            at=None,
        )
    if error is not None:
        return _Next(accepted=False, reason=f"run {run_id}: {error}", at=LATER, unclear=True)
    return _Next(accepted=False, reason=refusal, at=SOON if run.resumed_at is None else LATER)


def summary_of(resumed: Sequence[Resumed]) -> str:
    """How many runs were resumed, and how many were refused."""
    accepted = sum(one.accepted for one in resumed)
    return f"{accepted} resumed, {len(resumed) - accepted} refused"
