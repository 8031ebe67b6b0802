"""`perform`: an effect happens once, however often it is asked for."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from plait.failpoints import reach
from plait.http.errors import MalformedResponse, OutcomeUnknown, PlaitError
from plait.ledger import store
from plait.ledger.errors import EffectInProgress, LedgerUnavailable, PermitRefused, ResultDropped
from plait.ledger.identity import effect_key
from plait.ledger.recipe import AnyRecipe, Recipe
from plait.ledger.runner import Runner, Superseded
from plait.ledger.shield import shielded

if TYPE_CHECKING:
    from plait.ledger.ledger import Ledger

R = TypeVar("R", bound=BaseModel)

POLL: Final = 0.25
"""Seconds between two questions whether another runner is done."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item of a batch. `unknown` items are in the ledger, to be looked at."""

    status: Literal["done", "failed", "unknown"]
    result: R | None = None
    error: PlaitError | None = None


@dataclass(frozen=True, slots=True)
class _Item(Generic[R]):
    index: int
    recipe: Recipe[R]
    intent: store.Intent
    claimed: store.Claim | store.Settled | store.Held | PlaitError


@dataclass(frozen=True, slots=True)
class _Unusable:
    index: int
    error: PlaitError


class Effects:
    """The effects of one run key. Made by `Ledger.effects`."""

    def __init__(self, ledger: "Ledger", *, run_key: str, env: str, generation: int) -> None:
        self._ledger = ledger
        self.run_key = run_key
        self.env = env
        self.generation = generation

    async def perform(self, recipe: Recipe[R], *, step: str = "") -> R:
        """Make the effect happen once and return its result, or the recorded one.

        `step` tells apart effects of one run that are otherwise equal. Raises what the vendor's
        refusal says; `OutcomeUnknown` when it cannot be known yet what became of it; `EffectInProgress`
        when another runner holds it for longer than our patience; `ExternalIdReused`,
        `EffectIncident`, `ResultDropped`, `LedgerUnavailable`.
        """
        return await self._perform(recipe, await self._intent(recipe, step))

    async def perform_many(
        self,
        recipes: Sequence[Recipe[R]],
        *,
        steps: Sequence[str] | None = None,
        concurrency: int = 8,
        on_settled: Callable[[int, Outcome[R]], None] | None = None,
    ) -> list[Outcome[R]]:
        """Many effects, claimed in shared transactions, `concurrency` at work at a time.

        No item is lost because another failed: the answer has one outcome per recipe, in order.
        """
        outcomes: dict[int, Outcome[R]] = {}
        waiting = deque(enumerate(zip(recipes, steps or [""] * len(recipes), strict=True)))
        claimed: deque[_Item[R] | _Unusable] = deque()
        turn = asyncio.Lock()

        async def work() -> None:
            while True:
                async with turn:
                    if not claimed and waiting:
                        chunk = [waiting.popleft() for _ in range(min(len(waiting), 4 * concurrency))]
                        claimed.extend(await self._claim_chunk(chunk))
                    if not claimed:
                        return
                    item = claimed.popleft()
                reach("batch.between_items")
                outcomes[item.index] = await self._outcome(item)
                if on_settled is not None:
                    on_settled(item.index, outcomes[item.index])

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, min(concurrency, len(recipes)))):
                    group.create_task(work())
        finally:
            for item in claimed:
                if isinstance(item, _Item) and isinstance(item.claimed, store.Claim):
                    await shielded(self._runner(item.recipe, item.claimed).release())
        return [outcomes[index] for index in range(len(recipes))]

    async def _claim_chunk(
        self, chunk: Sequence[tuple[int, tuple[Recipe[R], str]]]
    ) -> list[_Item[R] | _Unusable]:
        prepared: list[tuple[int, Recipe[R], store.Intent]] = []
        unusable: list[_Unusable] = []
        for index, (recipe, step) in chunk:
            try:
                prepared.append((index, recipe, await self._intent(recipe, step)))
            except PlaitError as error:
                unusable.append(_Unusable(index, error))
        # Sorted, so that two batches over the same effects cannot lock each other out.
        prepared.sort(key=lambda entry: entry[2].key.external_id)
        nonces = [self._ledger.new_nonce() for _ in prepared]
        answers: Sequence[store.Claim | store.Settled | store.Held | PlaitError]
        try:
            answers = await self._ledger.database.write(
                lambda connection: [
                    self._claim_one(connection, intent, nonce)
                    for (_, _, intent), nonce in zip(prepared, nonces, strict=True)
                ],
                commit="claim",
                patience=self._ledger.timing.patience,
                about=prepared[0][2].key.external_id if prepared else "",
            )
        except LedgerUnavailable as error:
            answers = [error] * len(prepared)
        items = [
            _Item(index, recipe, intent, answer)
            for (index, recipe, intent), answer in zip(prepared, answers, strict=True)
        ]
        for item in items:
            if isinstance(item.claimed, store.Claim):
                self._ledger.renewal.hold(item.claimed, self._ledger.timing.hold(item.recipe.operation))
        return sorted([*items, *unusable], key=lambda item: item.index)

    def _claim_one(
        self, connection: Connection, intent: store.Intent, nonce: str
    ) -> store.Claim | store.Settled | store.Held | PlaitError:
        try:
            with connection.begin_nested():
                answer = self._claim_in(connection, intent, nonce, frozenset())
                reach("batch.mid_claim")
                return answer
        except PlaitError as error:
            return error

    async def _outcome(self, item: _Item[R] | _Unusable) -> Outcome[R]:
        if isinstance(item, _Unusable):
            return Outcome("failed", error=item.error)
        try:
            return Outcome("done", await self._serve_item(item))
        except (OutcomeUnknown, EffectInProgress) as error:
            return Outcome("unknown", error=error)
        except PlaitError as error:
            return Outcome("failed", error=error)

    async def _serve_item(self, item: _Item[R]) -> R:
        match item.claimed:
            case store.Settled() as settled:
                return _read(item.recipe, item.intent, settled)
            case PlaitError() as error:
                raise error
            case store.Claim() as claimed:
                try:
                    return await self._runner(item.recipe, claimed).run()
                except (Superseded, PermitRefused):
                    pass  # its lease ran out while it waited in the queue
        return await self._perform(item.recipe, item.intent)

    async def _perform(self, recipe: Recipe[R], intent: store.Intent) -> R:
        until = self._ledger.clock.now() + self._ledger.timing.patience
        while True:
            claimed = await self._claim(intent, until)
            if isinstance(claimed, store.Settled):
                return _read(recipe, intent, claimed)
            try:
                return await self._runner(recipe, claimed).run()
            except Superseded:
                continue
            except PermitRefused:
                if self._ledger.clock.now() >= until:
                    raise
                await self._ledger.clock.sleep(POLL)

    def _runner(self, recipe: Recipe[R], claimed: store.Claim) -> Runner[R]:
        return Runner(self._ledger, recipe, claimed)

    async def _claim(self, intent: store.Intent, until: float) -> store.Claim | store.Settled:
        clock, nonce = self._ledger.clock, self._ledger.new_nonce()
        dead: frozenset[str] = frozenset()
        while True:
            answer = await self._ledger.database.write(
                partial(self._claim_in, intent=intent, nonce=nonce, dead=dead),
                commit="claim",
                patience=self._ledger.timing.patience,
                about=intent.key.external_id,
            )
            if isinstance(answer, store.Claim):
                if answer.took_over:
                    reach("takeover.after")
                self._ledger.renewal.hold(answer, self._ledger.timing.hold(intent.operation))
            if not isinstance(answer, store.Held):
                return answer
            if answer.holder is not None:
                dead = await self._ledger.dead({answer.holder})
                if dead:
                    continue
            await self._wait_for(answer, intent, left=until - clock.now())

    def _claim_in(
        self, connection: Connection, intent: store.Intent, nonce: str, dead: frozenset[str]
    ) -> store.Claim | store.Settled | store.Held:
        return store.claim(
            self._ledger.database,
            connection,
            intent,
            me=self._ledger.me,
            nonce=nonce,
            lease=self._ledger.timing.lease,
            dead=dead,
        )

    async def _wait_for(self, held: store.Held, intent: store.Intent, *, left: float) -> None:
        wait = max(held.until - held.now, 0.0)
        if held.holder is None and wait > left:
            raise OutcomeUnknown(
                f"{intent.key.external_id} is unknown: {held.reason}; next look in {wait:.0f} s",
                system=intent.operation.system,
                operation=intent.operation.name,
                retry_after=wait,
            )
        if left <= 0:
            who = await self._ledger.describe(held.holder) if held.holder else "another runner"
            raise EffectInProgress(
                f"{intent.key.external_id} is held by {who}; it settles it, or lets go in {wait:.0f} s",
                system=intent.operation.system,
                operation=intent.operation.name,
                retry_after=min(max(wait, POLL), 5.0),
            )
        await self._ledger.clock.sleep(min(left, POLL) if held.holder is not None else wait)

    async def _intent(self, recipe: AnyRecipe, step: str) -> store.Intent:
        identity = await recipe.identity()
        key = effect_key(
            recipe.operation,
            identity,
            env=self.env,
            run_key=self.run_key,
            step=step,
            generation=self.generation,
        )
        return store.Intent(
            key=key,
            operation=recipe.operation,
            identity=identity,
            env=self.env,
            run_key=self.run_key,
            step=step,
        )


def _read(recipe: Recipe[R], intent: store.Intent, settled: store.Settled) -> R:
    if settled.dropped:
        raise ResultDropped(
            f"{intent.key.external_id} is done as {settled.vendor_id!r} and was not sent again, but "
            "retention has dropped its result; fetch that id from the vendor, or ask for a new generation "
            "or run key",
            system=intent.operation.system,
            operation=intent.operation.name,
            details={"vendor_id": settled.vendor_id},
        )
    try:
        return recipe.result_type.model_validate(settled.result)
    except ValidationError as error:
        raise MalformedResponse(
            f"the recorded result of {intent.key.external_id} cannot be read ({error.error_count()} errors); "
            "it was written by another version, or by hand (plait effects show)",
            system=intent.operation.system,
            operation=intent.operation.name,
        ) from error
