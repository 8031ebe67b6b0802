"""One claim at work: send under a permit, record the answer, or find out what became of it."""

import logging
import random
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pydantic import BaseModel

from plait.failpoints import reach
from plait.http.errors import (
    Conflict,
    OutcomeUnknown,
    PlaitError,
    RateLimited,
    RequestRejected,
    ServerFailed,
)
from plait.http.guard import send_guard
from plait.http.operation import Effect
from plait.ledger import store
from plait.ledger.database import Work
from plait.ledger.errors import EffectIncident, EffectInProgress, LedgerUnavailable
from plait.ledger.guard import EffectGuard, answer_of
from plait.ledger.looking import clean_up, look_for, prove_quiet
from plait.ledger.recipe import Absent, Found, NotYetKnown, Recipe, Several
from plait.ledger.shield import shielded
from plait.ledger.tables import AttemptOutcome, State

if TYPE_CHECKING:
    from plait.ledger.ledger import Ledger

R = TypeVar("R", bound=BaseModel)
W = TypeVar("W")
log = logging.getLogger(__name__)

MAX_SENDS: Final = 3
"""How often one claim sends again after each attempt was proved absent."""
UNIT_POLL: Final = 0.25
"""Seconds between two tries for the lock of a unit."""
FIRST_LOOK: Final = 0.2
LONGEST_LOOK: Final = 30.0
"""Seconds between looks while the vendor cannot tell yet: doubled from the first to the longest."""
_CONTESTED: Final = (
    "the vendor says that this key is used (409) and shows nothing under it: not visible yet, deleted since, "
    "or used elsewhere; it is tried again with the same key"
)
_BAD_GATEWAY: Final = 502
_REQUEST_TIMEOUT: Final = 408
_CONFLICT: Final = 409


class Superseded(Exception):
    """The row moved on under this claim."""


class FreeToSend(Exception):
    """Only a look was asked for, and nothing of the effect is at the vendor: its own run may send it."""


class Runner(Generic[R]):
    """Serves one claim until it is settled, handed back, or taken over."""

    def __init__(
        self, ledger: "Ledger", recipe: Recipe[R], claim: store.Claim, *, looks_only: bool = False
    ) -> None:
        """With `looks_only` it never sends and never waits; raises `FreeToSend` where it would send."""
        self._ledger = ledger
        self._database = ledger.database
        self._timing = ledger.timing
        self._recipe = recipe
        self._operation = recipe.operation
        self._claim = claim
        self._seen = claim.attempts
        self._looks_only = looks_only
        self._until = ledger.clock.now() + (0.0 if looks_only else ledger.timing.patience)
        self._sends = 0
        self._looks = 0
        self._trouble: PlaitError | None = None
        self._settled = False
        self._hand_back: tuple[float | None, str | None] = (None, None)

    async def _write(self, work: Work[W], *, commit: str, patience: float = 30.0) -> W:
        return await self._database.write(
            work, commit=commit, patience=patience, about=self._claim.external_id
        )

    async def run(self) -> R:
        """Settle the effect. Raises `Superseded` when another runner took over."""
        try:
            return await (self._send() if self._claim.state is State.INTENDED else self._settle())
        finally:
            await shielded(self.release())

    @property
    def reason(self) -> str:
        """Why it was handed back unsettled; empty where nobody said."""
        return self._hand_back[1] or ""

    async def release(self) -> None:
        """Give the claim back; what is unsettled stays visible, with its next look."""
        self._ledger.renewal.drop(self._claim)
        if self._settled:
            return
        look_in, reason = self._hand_back
        try:
            await self._write(
                lambda connection: store.release(
                    self._database,
                    connection,
                    self._claim.external_id,
                    me=self._ledger.me,
                    token=self._claim.token,
                    look_in=look_in,
                    reason=reason,
                ),
                commit="quiet",
                patience=self._timing.lease,
            )
        except LedgerUnavailable as error:  # by now the lease has run out, which does the same
            log.warning("could not hand back %s: %s", self._claim.external_id, error)

    # ------------------------------------------------------------ sending

    async def _send(self) -> R:
        if self._looks_only:
            self._hand_back = (None, "not at the vendor; its own run may send it")
            raise FreeToSend
        self._sends += 1
        if self._claim.unit is not None:
            await self._prepare_unit()
        guard = self._guard()
        before = send_guard.set(guard)
        try:
            made = await self._send_under(guard)
        except LedgerUnavailable as error:
            if guard.nonce is None:
                raise
            raise self._unrecorded(error) from error
        finally:
            send_guard.reset(before)
            self._seen = guard.seen
            guard.take_nonce()  # whatever stands open now is silenced by the renewal loop
        return made if made is not None else await self._settle()

    async def _send_under(self, guard: EffectGuard) -> R | None:
        """The recorded result, or None where only a look can tell what came of it."""
        try:
            result = await self._recipe.send(self._claim.external_id)
        except PlaitError as error:
            await self._weigh(guard, error)
            return None
        except BaseException as error:
            await shielded(self._doubt(guard, f"interrupted: {type(error).__name__}"))
            raise
        return await self._land(guard, result)

    def _unrecorded(self, error: LedgerUnavailable) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self._claim.external_id} was sent, but what came of it could not be written down "
            f"({error.message}); the next run finds it out",
            system=self._operation.system,
            operation=self._operation.name,
        )

    def _guard(self) -> EffectGuard:
        return EffectGuard(
            database=self._database,
            clock=self._ledger.clock,
            timing=self._timing,
            operation=self._operation,
            claim=self._claim,
            me=self._ledger.me,
            served=self._ledger.renewal.served,
            seen=self._seen,
        )

    async def _take_unit(self) -> bool:
        """The unit's lock, waited for as long as our patience; True when it was not ours before."""
        while True:
            try:
                return await self._write(
                    lambda connection: store.take_unit(
                        self._database,
                        connection,
                        self._claim,
                        me=self._ledger.me,
                        visibility=self._timing.visibility(self._operation),
                    ),
                    commit="claim",
                )
            except EffectInProgress as busy:
                pause = min(busy.retry_after or UNIT_POLL, UNIT_POLL)
                if self._ledger.clock.now() + pause > self._until:
                    raise
                await self._ledger.clock.sleep(pause)

    async def _prepare_unit(self) -> None:
        fresh = await self._take_unit()
        reach("unit.after_lock")
        if not fresh and self._claim.baseline is not None:
            return
        if await self._has(AttemptOutcome.ABSENT):
            return  # what was judged absent may still land: the first baseline shows it
        baseline = await self._recipe.baseline()
        await self._write(
            lambda connection: store.store_baseline(
                self._database, connection, self._claim, me=self._ledger.me, baseline=baseline
            ),
            commit="claim",
        )
        reach("baseline.after_store")

    async def _land(self, guard: EffectGuard, result: R) -> R:
        nonce = guard.nonce
        if nonce is None:
            raise RuntimeError(
                f"{self._operation.key} answered without a permit: its transport ignores the guard"
            )
        await shielded(
            self._write(
                lambda connection: store.land(
                    self._database,
                    connection,
                    self._claim.external_id,
                    nonce,
                    result=result.model_dump(mode="json"),
                    vendor_id=self._recipe.vendor_id(result),
                    visibility=self._timing.visibility(self._operation),
                ),
                commit="record",
                patience=self._timing.record_patience,
            )
        )
        guard.take_nonce()
        self._settled = True
        return result

    async def _weigh(self, guard: EffectGuard, error: PlaitError) -> None:
        """After a failed send: raise what is certain, return when it must be looked at."""
        if guard.nonce is None:
            raise error  # nothing of this attempt left, or the vendor refused all of it
        if isinstance(error, RateLimited):
            await guard.refused(error)
            raise error
        if _refuses(error):
            await self._reject(guard, error)
            return
        self._trouble = error
        await self._doubt(guard, str(error), error)

    async def _reject(self, guard: EffectGuard, error: PlaitError) -> None:
        nonce = guard.nonce or ""
        state = await self._write(
            lambda connection: store.reject(
                self._database,
                connection,
                self._claim.external_id,
                nonce,
                token=self._claim.token,
                answer=answer_of(error),
                reason=str(error),
            ),
            commit="record",
            patience=self._timing.record_patience,
        )
        if state is State.REJECTED:
            self._settled = True
            raise error
        self._trouble = error

    async def _doubt(self, guard: EffectGuard, reason: str, error: PlaitError | None = None) -> None:
        """The attempt is quiet and its outcome is not known."""
        nonce = guard.nonce
        if nonce is None:
            return
        await guard.silence(nonce, error=error, answered=_is_the_vendors_own(error))
        guard.take_nonce()
        await self._write(
            lambda connection: store.doubt(
                connection, self._claim.external_id, token=self._claim.token, reason=reason
            ),
            commit="record",
        )

    # ------------------------------------------------------------ finding out

    async def _settle(self) -> R:
        while True:
            if await self._nothing_left():
                return await self._send_again()
            if await self._may_repeat():
                return await self._send_again()
            unsettled = [one for one in await self._attempts() if one.outcome == AttemptOutcome.OPEN]
            if self._claim.unit is not None and not unsettled:
                await self._take_unit()  # it was given back; else a look could show what another just made
            await prove_quiet(self._ledger, self._claim.external_id, unsettled)
            looked_at = await self._ledger.now()
            verdict = await look_for(self._ledger, self._recipe, self._claim.external_id)
            match verdict:
                case Found(result=result):
                    return await self._adopt(result)
                case Several(vendor_ids=vendor_ids):
                    await self._report(vendor_ids)
                case Absent():
                    if await self._absent(looked_at):
                        return await self._send_again()
                case NotYetKnown(reason=reason, look_again_in=look_again_in):
                    await self._wait(look_again_in, reason)

    async def _send_again(self) -> R:
        trouble = self._trouble
        hopeless = trouble is not None and (self._sends >= MAX_SENDS or self._recipe.final(trouble))
        if trouble is not None and hopeless and not await self._contested():
            await self._give_up(trouble)
        if self._sends > 1 and self._operation.effect is Effect.KEYED and not isinstance(trouble, Conflict):
            await self._wait(None, str(trouble))  # the first repeat is at once, the next ones back off
        reach("resend.before_permit")
        return await self._send()

    async def _contested(self) -> bool:
        """Whether our key was refused as used: then an empty look is not absence, and sending is safe."""
        return self._operation.effect is Effect.KEYED and any(
            attempt.outcome == AttemptOutcome.OPEN and (attempt.answer or {}).get("status") == _CONFLICT
            for attempt in await self._attempts()
        )

    async def _nothing_left(self) -> bool:
        """Whether every attempt so far is closed without a trace: no look is needed."""
        attempts = await self._attempts()
        closed = {AttemptOutcome.NOT_SENT, AttemptOutcome.REFUSED}
        if self._operation.effect is Effect.BLIND:
            closed.add(AttemptOutcome.ABSENT)  # a person's word, which no look replaces
        return self._trouble is None and all(attempt.outcome in closed for attempt in attempts)

    async def _may_repeat(self) -> bool:
        """Whether the same key may be sent at once: the vendor remembers it (E4) and did not refuse it."""
        if self._looks_only or self._operation.effect is not Effect.KEYED:
            return False
        if isinstance(self._trouble, RequestRejected):
            return False
        if self._sends >= MAX_SENDS or (self._trouble and self._recipe.final(self._trouble)):
            return False  # giving up says that it is not there, and only a look can tell
        life = self._operation.key_life
        if life is None:
            return True
        first = await self._database.read(
            lambda connection: store.first_sent_at(connection, self._claim.external_id)
        )
        reach_of_send = self._operation.send_window + (self._timing.max_pause or 0.0)
        reach_of_send += self._timing.landing(self._operation)
        return first is None or await self._ledger.now() + reach_of_send < first + life

    async def _adopt(self, result: R) -> R:
        settled = await self._write(
            lambda connection: store.found(
                self._database,
                connection,
                self._claim,
                seen=self._seen,
                result=result.model_dump(mode="json"),
                vendor_id=self._recipe.vendor_id(result),
                visibility=self._timing.visibility(self._operation),
            ),
            commit="verdict",
        )
        if not settled:
            raise Superseded
        self._settled = True
        return result

    async def _report(self, vendor_ids: tuple[str, ...]) -> None:
        note = f"the vendor shows {len(vendor_ids)} matches for one effect; {clean_up(self._operation)}"
        await self._write(
            lambda connection: store.several(
                self._database, connection, self._claim, vendor_ids=vendor_ids, note=note
            ),
            commit="verdict",
        )
        raise EffectIncident(
            f"{note} ({', '.join(vendor_ids)}), then plait effects resolve {self._claim.external_id}",
            system=self._operation.system,
            operation=self._operation.name,
            details={"vendor_ids": list(vendor_ids)},
        )

    async def _absent(self, looked_at: float) -> bool:
        """Write the verdict; True when another send is allowed."""
        if await self._contested():
            await self._wait(None, _CONTESTED)
            return True
        verdict = await self._write(
            lambda connection: store.absent(
                self._database,
                connection,
                self._claim,
                seen=self._seen,
                looked_at=looked_at,
                operation=self._operation,
                timing=self._timing,
            ),
            commit="verdict",
        )
        if verdict is None:
            raise Superseded
        if isinstance(verdict, store.TooEarly):
            await self._wait_until_quiet(verdict)
            return False
        if verdict is State.REJECTED:
            self._settled = True
            raise self._trouble or RequestRejected(
                f"{self._claim.external_id} was refused and is not at the vendor",
                system=self._operation.system,
                operation=self._operation.name,
            )
        return True

    async def _wait_until_quiet(self, early: store.TooEarly) -> None:
        left = None if early.at is None else max(early.at - early.now, 0.0) + 0.01
        if early.silent_holder is not None:
            # It may go on, or be proved dead, long before its time is up (P): look again meanwhile.
            who = await self._ledger.describe(early.silent_holder)
            pause = self._backoff() if left is None else min(left, self._backoff())
            await self._wait(pause, f"{who} stands still with a request in hand: continue or end it")
        elif left is None:
            await self._wait(None, "no look can prove that it did not happen")
        else:
            await self._wait(left, "not seen at the vendor, but it may still appear")

    def _backoff(self) -> float:
        self._looks += 1
        longest: float = min(LONGEST_LOOK, FIRST_LOOK * 2**self._looks)
        return longest * random.uniform(0.75, 1.0)  # noqa: S311 - jitter

    async def _wait(self, seconds: float | None, reason: str) -> None:
        """Sit out a short wait; hand a longer one back with the next look."""
        blind = seconds is None and self._operation.effect is Effect.BLIND
        if seconds is None:
            seconds = self._backoff()
        if not blind and self._ledger.clock.now() + seconds <= self._until:
            await self._ledger.clock.sleep(seconds)
            return
        self._hand_back = (None if blind else seconds, reason)
        remedy = (
            f"a person must say what happened: plait effects resolve {self._claim.external_id}"
            if blind
            else f"next look in {seconds:.0f} s; plait effects show {self._claim.external_id}"
        )
        unknown = OutcomeUnknown(
            f"{reason}; {remedy}",
            system=self._operation.system,
            operation=self._operation.name,
            retry_after=None if blind else seconds,
        )
        unknown.retryable = not blind
        raise unknown from self._trouble

    async def _give_up(self, trouble: PlaitError) -> None:
        state = await self._write(
            lambda connection: store.give_up(self._database, connection, self._claim, reason=str(trouble)),
            commit="verdict",
        )
        if state is not State.REJECTED:
            raise Superseded
        self._settled = True
        failed = ServerFailed(
            f"{trouble.message} (looked: it is not at the vendor)",
            system=trouble.system,
            operation=trouble.operation,
            status=trouble.status,
            request_id=trouble.request_id,
            code=trouble.code,
            details=trouble.details,
        )
        failed.retryable = not self._recipe.final(trouble)
        raise failed from trouble

    async def _attempts(self) -> list[store.AnyRow]:
        return await self._database.read(
            lambda connection: store.attempts_of(connection, self._claim.external_id)
        )

    async def _has(self, outcome: AttemptOutcome) -> bool:
        return any(attempt.outcome == outcome for attempt in await self._attempts())


def _is_the_vendors_own(error: PlaitError | None) -> bool:
    """A complete answer of the application. From 502 on, and with 408, proxies speak while it goes on."""
    if not isinstance(error, OutcomeUnknown) or not error.answered or error.status is None:
        return False
    return error.status != _REQUEST_TIMEOUT and error.status < _BAD_GATEWAY


def _refuses(error: PlaitError) -> bool:
    """A 4xx that claims nothing. 409 is no answer, and 408 may come from a proxy half-way."""
    return (
        isinstance(error, RequestRejected)
        and not isinstance(error, Conflict)
        and error.status != _REQUEST_TIMEOUT
    )
