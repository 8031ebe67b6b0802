"""Working through what is due: unsettled effects, and doubts about what was judged absent.

The first is step 7 of effect-protocol.md §4 without a send, the second its step 9. Both are for a
process of its own (a schedule, a person's command); the runs themselves need neither.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from plait.failpoints import reach
from plait.http.errors import AuthenticationFailed, PermissionDenied, PlaitError
from plait.http.operation import Effect
from plait.ledger import store
from plait.ledger.errors import EffectInProgress
from plait.ledger.looking import clean_up, look_for, prove_quiet
from plait.ledger.recipe import AnyRecipe, Found, NotYetKnown, Recorded, Several, Verdict
from plait.ledger.reconcile import Became, Reconciled, reconcile
from plait.ledger.settle import next_sweep
from plait.ledger.tables import State
from plait.ledger.views import Cursor, due_for_look, due_for_sweep

if TYPE_CHECKING:
    from plait.ledger.ledger import Ledger

Restore: TypeAlias = Callable[[Recorded], Awaitable[AnyRecipe]]
"""Makes the recipe of a recorded effect, able to look; raises `CannotLook` where there is no way."""
_Handle: TypeAlias = Callable[[str, AnyRecipe], Awaitable[Reconciled]]
_Due: TypeAlias = Callable[..., list[store.AnyRow]]

SCAN: Final = 10
"""How many times `limit` rows are passed over at most, where nothing can be done about them from here."""


async def reconcile_due(
    ledger: "Ledger", restore: Restore, *, limit: int = 100, concurrency: int = 4
) -> list[Reconciled]:
    """Look for at most `limit` unsettled effects whose look is due, the oldest first."""

    async def look(external_id: str, recipe: AnyRecipe) -> Reconciled:
        if recipe.operation.effect is Effect.BLIND:
            remedy = f"a person must say what happened: plait effects resolve {external_id}"
            return _left(external_id, recipe.operation.key, f"nothing to look at; {remedy}")
        return await reconcile(ledger, external_id, recipe)

    return await _work_through(ledger, restore, due_for_look, look, limit=limit, concurrency=concurrency)


async def sweep_due(
    ledger: "Ledger", restore: Restore, *, limit: int = 100, concurrency: int = 4
) -> list[Reconciled]:
    """Look once more for at most `limit` effects of which an attempt was judged absent or wrote late."""

    async def sweep(external_id: str, recipe: AnyRecipe) -> Reconciled:
        return await sweep_one(ledger, external_id, recipe)

    return await _work_through(ledger, restore, due_for_sweep, sweep, limit=limit, concurrency=concurrency)


async def sweep_one(ledger: "Ledger", external_id: str, recipe: AnyRecipe) -> Reconciled:
    """Step 9 for one effect: a second match is an incident that names every id; else look again later."""
    reach("sweep.before_look")
    database = ledger.database
    looked_at = await ledger.now()
    row = await database.read(lambda connection: store.effect_of(connection, external_id))
    attempts = await database.read(lambda connection: store.attempts_of(connection, external_id))
    doubted = [one for one in attempts if one.next_sweep is not None and one.next_sweep <= looked_at]
    await prove_quiet(ledger, external_id, doubted)
    if row.state not in {State.DONE, State.REJECTED}:
        made = await reconcile(ledger, external_id, recipe)
    else:
        made = await _look_again(ledger, external_id, recipe, State(row.state))
    if made.became != "incident":
        await _schedule(ledger, external_id, recipe, doubted, looked_at=looked_at, became=made.became)
    return made


async def _look_again(ledger: "Ledger", external_id: str, recipe: AnyRecipe, state: State) -> Reconciled:
    """One look for an effect that is settled: is there more at the vendor than the ledger knows of?"""
    operation = recipe.operation
    verdict: Verdict[Any]
    try:
        verdict = await look_for(ledger, recipe, external_id)
    except (AuthenticationFailed, PermissionDenied) as error:
        verdict = NotYetKnown(str(error))
    seen = _seen(recipe, verdict)
    note = f"a request judged absent landed after all; {clean_up(operation)}"
    made = partial(Reconciled, external_id=external_id, operation=operation.key)
    try:
        too_many = bool(seen) and await ledger.database.write(
            lambda connection: store.second_match(
                ledger.database, connection, external_id, vendor_ids=seen, note=note
            ),
            commit="verdict",
        )
    except EffectInProgress as error:
        return made(became="held", reason=error.message)
    if too_many:
        return made(became="incident", reason=f"{note} ({', '.join(seen)})")
    if isinstance(verdict, NotYetKnown):
        return made(became="unknown", reason=verdict.reason)
    return made(became="done" if state is State.DONE else "rejected")


def _seen(recipe: AnyRecipe, verdict: Verdict[Any]) -> tuple[str, ...]:
    match verdict:
        case Found(result=result):
            return (recipe.vendor_id(result),)
        case Several(vendor_ids=vendor_ids):
            return vendor_ids
        case _:
            return ()


async def _schedule(
    ledger: "Ledger",
    external_id: str,
    recipe: AnyRecipe,
    doubted: Sequence[store.AnyRow],
    *,
    looked_at: float,
    became: Became,
) -> None:
    """When to sweep again, with what is known of the doubted attempts by now."""
    numbers = {one.n for one in doubted}
    attempts = await ledger.database.read(lambda connection: store.attempts_of(connection, external_id))
    due = None
    if recipe.operation.effect is not Effect.BLIND:
        due = next_sweep(
            [one for one in attempts if one.n in numbers],
            recipe.operation,
            ledger.timing,
            looked_at=looked_at,
            sweeps=max((one.sweeps for one in doubted), default=0) + 1,
            answered=became not in {"unknown", "held"},
        )
    await ledger.database.write(
        lambda connection: store.swept(
            connection, external_id, looked_at=looked_at, due=due, looked=became != "held"
        ),
        commit="verdict",
    )


async def _work_through(
    ledger: "Ledger", restore: Restore, due: _Due, handle: _Handle, *, limit: int, concurrency: int
) -> list[Reconciled]:
    """Page through what is due; rows that must be left alone neither count nor stand in the way."""
    made: list[Reconciled] = []
    after: Cursor | None = None
    free = asyncio.Semaphore(concurrency)
    now = await ledger.now()

    async def one(row: store.AnyRow) -> Reconciled:
        async with free:
            try:
                return await handle(row.external_id, await restore(recorded(row)))
            except PlaitError as error:
                return _left(row.external_id, f"{row.system}.{row.operation}", str(error))

    while (wanted := limit - sum(item.became != "left" for item in made)) > 0 and len(made) < SCAN * limit:
        rows = await ledger.database.read(partial(due, now=now, limit=wanted, after=after))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(row)) for row in rows]
        made += [task.result() for task in tasks]
        if len(rows) < wanted:
            break
        after = (rows[-1].created_at, rows[-1].external_id)
    return made


def recorded(row: store.AnyRow) -> Recorded:
    """What a recipe can be restored from."""
    return Recorded(
        external_id=row.external_id,
        system=row.system,
        operation=row.operation,
        account=row.account,
        target=row.target,
        inputs=row.inputs,
    )


def _left(external_id: str, operation: str, reason: str) -> Reconciled:
    return Reconciled(external_id=external_id, operation=operation, became="left", reason=reason)
