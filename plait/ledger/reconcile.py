"""Finding out what became of an effect without ever sending it (effect-protocol.md §4 step 7)."""

from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel

from plait.failpoints import reach
from plait.http.errors import (
    AuthenticationFailed,
    InvalidInput,
    OutcomeUnknown,
    PermissionDenied,
    RequestRejected,
)
from plait.http.operation import Operation
from plait.ledger import store
from plait.ledger.errors import EffectIncident, EffectInProgress, PermitRefused
from plait.ledger.recipe import AnyRecipe
from plait.ledger.runner import FreeToSend, Runner, Superseded
from plait.ledger.tables import State
from plait.ledger.views import show_effect

if TYPE_CHECKING:
    from plait.ledger.ledger import Ledger

Became = Literal["done", "absent", "rejected", "unknown", "incident", "held", "left"]
"""`absent`: not at the vendor, free for its own run. `held`: another runner is at it, or its next look is
not due. `left`: it could not be looked at from here."""

_UNCLEAR: Final = (AuthenticationFailed, PermissionDenied, OutcomeUnknown)


class Reconciled(BaseModel):
    """What one look made of an effect."""

    external_id: str
    operation: str
    """`system.name`."""
    became: Became
    reason: str = ""
    next_look_in: float | None = None
    """Seconds, where it is known."""


async def reconcile(
    ledger: "Ledger", external_id: str, recipe: AnyRecipe, *, look_now: bool = False
) -> Reconciled:
    """Claim an unsettled effect and look once; nothing is sent, whatever the look says.

    `look_now` does not wait for the next look's time. Raises `InvalidInput` for an unknown id or a
    recipe of another operation, `LedgerUnavailable`.
    """
    await _require_same(ledger, external_id, recipe.operation)
    while True:
        claimed = await _claim(ledger, external_id, recipe.operation, look_now=look_now)
        try:
            return await _conclude(ledger, external_id, recipe, claimed)
        except Superseded:
            continue


async def _conclude(
    ledger: "Ledger",
    external_id: str,
    recipe: AnyRecipe,
    claimed: store.Claim | store.Settled | store.Held,
) -> Reconciled:
    made = Reconciled(external_id=external_id, operation=recipe.operation.key, became="done")
    if isinstance(claimed, store.Held):
        wait = max(claimed.until - claimed.now, 0.0)
        return _as(made, "held", await _who(ledger, claimed), wait)
    if isinstance(claimed, store.Claim):
        runner = Runner(ledger, recipe, claimed, looks_only=True)
        try:
            await runner.run()
        except FreeToSend:
            sent = claimed.state is not State.INTENDED
            return _as(
                made, "absent", f"{'not at the vendor' if sent else 'not sent'}; its own run may send it"
            )
        except EffectIncident as error:
            return _as(made, "incident", error.message)
        except (EffectInProgress, PermitRefused, *_UNCLEAR) as error:
            # In progress: its unit is another effect's just now.
            became: Became = "unknown" if isinstance(error, _UNCLEAR) else "held"
            return _as(made, became, runner.reason or str(error), error.retry_after)
        except RequestRejected as error:
            return _as(made, "rejected", error.message)
    return made


def _as(made: Reconciled, became: Became, reason: str, next_look_in: float | None = None) -> Reconciled:
    return made.model_copy(update={"became": became, "reason": reason, "next_look_in": next_look_in})


async def _require_same(ledger: "Ledger", external_id: str, operation: Operation) -> None:
    view = await ledger.ask(partial(show_effect, external_id=external_id))
    if (view.system, view.operation) != (operation.system, operation.name):
        raise InvalidInput(
            f"{external_id} is a {view.system}.{view.operation}; it cannot be looked for as {operation.key}"
        )


async def _claim(
    ledger: "Ledger", external_id: str, operation: Operation, *, look_now: bool
) -> store.Claim | store.Settled | store.Held:
    nonce, dead = ledger.new_nonce(), frozenset[str]()
    while True:
        again = partial(
            store.reclaim,
            ledger.database,
            external_id=external_id,
            me=ledger.me,
            nonce=nonce,
            lease=ledger.timing.lease,
            dead=dead,
            look_now=look_now,
        )
        answer = await ledger.database.write(again, commit="claim")
        if isinstance(answer, store.Held) and answer.holder is not None and answer.holder not in dead:
            dead = await ledger.dead({answer.holder})
            if dead:
                continue
        if isinstance(answer, store.Claim):
            if answer.took_over:
                reach("takeover.after")
            ledger.renewal.hold(answer, ledger.timing.hold(operation))
        return answer


async def _who(ledger: "Ledger", held: store.Held) -> str:
    if held.holder is None:
        return held.reason
    return f"{await ledger.describe(held.holder)} is at it"
