"""Looking for an effect at the vendor, and for proof that nobody still writes it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from plait.failpoints import reach
from plait.http.errors import AuthenticationFailed, PermissionDenied, PlaitError
from plait.http.operation import Operation
from plait.ledger import store
from plait.ledger.errors import ExternalIdReused
from plait.ledger.recipe import Look, NotYetKnown, Recipe, Verdict

if TYPE_CHECKING:
    from plait.ledger.ledger import Ledger

R = TypeVar("R", bound=BaseModel)


async def look_for(ledger: "Ledger", recipe: Recipe[R], external_id: str) -> Verdict[R]:
    """One look. Raises `AuthenticationFailed`, `PermissionDenied`, `ExternalIdReused`: for a person."""
    reach("look.before")
    row = await ledger.database.read(lambda connection: store.effect_of(connection, external_id))

    async def taken(vendor_ids: Iterable[str]) -> set[str]:
        wanted = list(vendor_ids)
        return await ledger.database.read(
            lambda connection: store.taken(connection, external_id, recipe.operation, wanted)
        )

    try:
        verdict = await recipe.look(Look(external_id=external_id, baseline=row.baseline, taken=taken))
    except (AuthenticationFailed, PermissionDenied, ExternalIdReused):
        raise  # only a person can make the look possible again, or the key ours
    except PlaitError as error:
        verdict = NotYetKnown(f"the look failed: {error}")
    reach("look.after")
    return verdict


async def prove_quiet(ledger: "Ledger", external_id: str, attempts: Iterable[store.AnyRow]) -> None:
    """Write down which of these attempts can certainly not be written any more (E2)."""
    silent = {(attempt.holder, attempt.nonce) for attempt in attempts if attempt.quiet_at is None}
    dead = await ledger.dead({holder for holder, _ in silent})
    if dead:
        await ledger.database.write(
            lambda connection: store.prove(ledger.database, connection, external_id, dead),
            commit="quiet",
        )
    for holder, nonce in silent:
        if holder == ledger.me and nonce not in ledger.renewal.served:
            await _silence(ledger, external_id, nonce)


async def _silence(ledger: "Ledger", external_id: str, nonce: str) -> None:
    await ledger.database.write(
        lambda connection: store.quiet(ledger.database, connection, external_id, nonce),
        commit="quiet",
        patience=ledger.timing.record_patience,
    )


def clean_up(operation: Operation) -> str:
    """What a person does about an entry that is one too many."""
    if operation.cleanup:
        return f"keep one and remove the others: {operation.cleanup}"
    return "no call removes one; settle it in the vendor's own pages"
