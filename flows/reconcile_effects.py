"""Find out what became of effects that nobody is at, and look again for what was judged absent.

As a deployment: see prefect.yaml; it runs every five minutes. Nothing is sent: an effect that is not at
its vendor waits for its own run. What no look can tell is listed for a person, as `plait effects list` does.
"""

from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any, Final, cast

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, Field

from blocks import (
    EffectLedger,
    OfficePlaneServer,
    PlacetCredentials,
    PlanasonixCredentials,
    PlanckCredentials,
    PletorCredentials,
    resolve,
)
from plait.content.remark import escape_cell
from plait.content.text import counted
from plait.effects_text import span, standing
from plait.http.errors import ConfigurationError
from plait.ledger import Reconciled
from plait.ledger.sweep import reconcile_due, sweep_due
from plait.ledger.views import EffectView, count_unclear, list_effects
from plait.recovery import Opener, Recovery
from tasks._progress import say

ROW_LIMIT: Final = 200
"""Rows of the artifact; the ledger lists the rest."""


class ReconcileEffects(BaseModel):
    """What one pass found out, and what is open after it."""

    looked: list[Reconciled]
    swept: list[Reconciled]
    open: list[EffectView]
    """The oldest first, at most `ROW_LIMIT`."""
    unclear: int
    """Effects that nobody is at and of which nobody knows what became, and incidents."""

    @property
    def summary(self) -> str:
        """One line for the run's state."""
        settled = sum(item.became in {"done", "rejected"} for item in self.looked)
        incidents = sum(item.became == "incident" for item in [*self.looked, *self.swept])
        return (
            f"{counted(len(self.looked), 'effect')} looked at, {settled} settled; {len(self.swept)} swept; "
            f"{counted(incidents, 'new incident')}; {self.unclear} unclear"
        )


@flow(name="reconcile-effects", description=__doc__, validate_parameters=True)
async def reconcile_effects(
    *,
    officeplane: str | OfficePlaneServer | None = None,
    planck: str | PlanckCredentials | None = None,
    placet: str | PlacetCredentials | None = None,
    pletor: str | PletorCredentials | None = None,
    planasonix: str | PlanasonixCredentials | None = None,
    ledger: str | EffectLedger | None = None,
    limit: Annotated[int, Field(gt=0)] = 100,
) -> ReconcileEffects:
    """Work through due looks and sweeps once.

    Args:
        officeplane: Name of the OfficePlane Server block. Empty: the environment's PLAIT_OFFICEPLANE_URL;
            without it, effects at OfficePlane are left alone.
        planck: Name of the Planck AI Credentials block. Empty: PLAIT_PLANCK_URL and PLAIT_PLANCK_API_KEY;
            without them, effects at Planck AI are left alone.
        placet: Name of the Placet Credentials block. Empty: PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY;
            without them, effects at Placet are left alone.
        pletor: Name of the Pletor Credentials block. Empty: PLAIT_PLETOR_API_KEY or PLAIT_PLETOR_TOKEN;
            without them, effects at Pletor are left alone.
        planasonix: Name of the Planasonix Credentials block. Empty: PLAIT_PLANASONIX_API_KEY and the
            variables beside it; without it, effects at Planasonix are left alone.
        ledger: Name of the Plait Effect Ledger block. Empty: PLAIT_LEDGER_URL, or ~/.plait/ledger.db.
        limit: At most so many looks, and so many sweeps.
    """
    kept = await resolve(EffectLedger, ledger)
    openers = await _openers(
        {
            "officeplane": (OfficePlaneServer, officeplane),
            "planck": (PlanckCredentials, planck),
            "placet": (PlacetCredentials, placet),
            "pletor": (PletorCredentials, pletor),
            "planasonix": (PlanasonixCredentials, planasonix),
        }
    )
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(kept.get_client())
        found = await stack.enter_async_context(Recovery(openers))
        result = ReconcileEffects(
            looked=await reconcile_due(opened, found.restore, limit=limit),
            swept=await sweep_due(opened, found.restore, limit=limit),
            open=await opened.ask(partial(list_effects, limit=ROW_LIMIT)),
            unclear=await opened.ask(count_unclear),
        )
        incidents = await opened.ask(partial(list_effects, which="incident", limit=ROW_LIMIT))
    await _write_artifact([*incidents, *(one for one in result.open if one.incident is None)])
    say(result.summary)
    return cast("ReconcileEffects", _completed(result))


async def _openers(given: dict[str, tuple[Any, Any]]) -> dict[str, Opener]:
    """How to open each system's client; a system that nobody described is left out."""
    openers: dict[str, Opener] = {}
    for system, (kind, block) in given.items():
        try:
            openers[system] = (await resolve(kind, block)).get_client
        except ConfigurationError as error:
            if block is not None:
                raise
            say(f"{system} is left alone: {error.message}")
    return openers


async def _write_artifact(views: list[EffectView]) -> None:
    await acreate_table_artifact(
        [_row(view) for view in views[:ROW_LIMIT]],
        key="reconcile-effects-open",
        description="Incidents, then what is open, the oldest first",
    )


def _row(view: EffectView) -> dict[str, str]:
    wait = view.next_look_in
    return {
        "effect": escape_cell(view.external_id),
        "state": standing(view),
        "age": span(view.age),
        "next look": "" if wait is None else f"in {span(wait)}" if wait > 0 else "due",
        "at work": escape_cell(view.held_by or ""),
        "why": escape_cell((view.incident or {}).get("note") or view.reason or "", 300),
    }


def _completed(result: ReconcileEffects) -> State[ReconcileEffects]:
    return Completed(message=result.summary, data=result)
