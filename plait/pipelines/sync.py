"""Definitions and history of one account, brought into the ledger."""

from plait.ledger import Ledger
from plait.pipelines.definitions import WEEK, Compare, sync_definitions
from plait.pipelines.history import sync_history
from plait.pipelines.source import Source, Synced


async def sync(
    ledger: Ledger, source: Source, compare: Compare = "quick", *, full_after: float = WEEK
) -> Synced:
    """Bring both up to date: few requests and no row where nothing has changed.

    A new run of a pipeline that is not known turns a quick comparison of the definitions into a full one.
    """
    definitions = await sync_definitions(ledger, source, compare, full_after=full_after)
    history = await sync_history(ledger, source)
    done = definitions + history
    if history.strangers and not definitions.complete:
        done += await sync_definitions(ledger, source, "full")
    return done
