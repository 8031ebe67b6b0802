"""A run that is cancelled takes back what it asked and cancels what it started at Pletor.

A run that crashes does neither: run again with its run key, it goes on.
"""

import asyncio
import logging
from functools import partial
from typing import Any, Final

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from blocks import PlacetCredentials, PletorCredentials
from plait.ledger.review_views import list_reviews
from plait.ledger.store import reviews as store
from plait.ledger.views import list_effects
from plait.reviews import Inbox
from tasks import Run, effects_of
from tasks._progress import say
from tasks._run import run_key_of

MANY: Final = 1000


async def cancel_what_was_started(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook; never keeps the cancellation from happening."""
    del state
    try:
        # what the run itself was given: references to blocks are looked up, over the network
        given = await asyncio.to_thread(flow.validate_parameters, flow_run.parameters)
        key = given.get("run_key") or run_key_of(flow_run)
        async with effects_of(given.get("ledger"), run_key=key) as run:
            try:
                await _cancel_at_pletor(run, given.get("pletor"))
            finally:
                await _take_back(run, given.get("placet"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is cancelled
        say(f"Not everything could be cancelled: {error!r}", logging.WARNING)


async def _cancel_at_pletor(run: Run, pletor: str | PletorCredentials | None) -> None:
    client = await run.client(PletorCredentials, PletorCredentials.get_client, pletor)
    effects = await run.ledger.ask(partial(list_effects, which="done", run_key=run.key, limit=MANY))
    calls = {"create_run": client.cancel_run, "create_app_run": client.cancel_app_run}
    for effect in effects:
        if effect.system == "pletor" and effect.operation in calls and effect.vendor_id:
            canceled = await calls[effect.operation](effect.vendor_id)
            say(f"Pletor run {canceled.id}: {canceled.status}")


async def _take_back(run: Run, placet: str | PlacetCredentials | None) -> None:
    client = await run.client(PlacetCredentials, PlacetCredentials.get_client, placet)
    inbox = Inbox(run.ledger, client)
    for view in await run.ledger.ask(partial(list_reviews, run_key=run.key, limit=MANY)):
        await run.ledger.database.write(
            partial(
                store.withdraw,
                run.ledger.database,
                review_id=view.id,
                reason="its run was cancelled",
                outcome="cancelled",
            ),
            commit="record",
        )
        await inbox.close(view.id)
