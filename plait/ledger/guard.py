"""The ledger's side of `plait.http.guard`: one permit per request, checked until the last byte."""

import secrets
from dataclasses import dataclass, field
from typing import Final, TypeVar

from plait.clock import Clock
from plait.http.errors import PlaitError, RequestRejected
from plait.http.operation import Operation
from plait.ledger import store
from plait.ledger.database import Database, Work
from plait.ledger.errors import PermitRefused
from plait.ledger.timing import Timing

W = TypeVar("W")

ANSWER_CUT: Final = 2000
"""How many characters of a vendor's words an attempt keeps."""


@dataclass(slots=True)
class EffectGuard:
    """Takes permits for one claim. `nonce` names the attempt that is still open, if any."""

    database: Database
    clock: Clock
    timing: Timing
    operation: Operation
    claim: store.Claim
    me: str
    served: set[str]
    """Nonces of the attempts this process still works on; the renewal loop silences the others."""
    seen: int
    nonce: str | None = None
    _write_until: float = field(default=0.0, init=False)

    async def _write(self, work: Work[W], *, commit: str, patience: float) -> W:
        return await self.database.write(work, commit=commit, patience=patience, about=self.claim.external_id)

    async def permit(self) -> None:
        """Step 3. The local clock is read before the transaction begins (E1)."""
        nonce = secrets.token_hex(8)
        self.served.add(nonce)
        begun = self.clock.now()
        try:
            granted = await self._write(
                lambda connection: store.permit(
                    self.database,
                    connection,
                    self.claim,
                    me=self.me,
                    seen=self.seen,
                    nonce=nonce,
                    window=self.operation.send_window,
                    keyed=store.is_keyed(self.operation),
                ),
                commit="permit",
                patience=self.operation.send_window,
            )
        except BaseException:
            # Refused, or never known: nothing leaves, and the renewal loop closes what may stand.
            self.served.discard(nonce)
            raise
        self.nonce = nonce
        self.seen = granted.n
        self._write_until = begun + self.operation.send_window

    def check(self) -> None:
        """Steps 3 and 4: the permit has a last moment."""
        if self.clock.now() >= self._write_until:
            raise PermitRefused(
                f"not sent: more than {self.operation.send_window:g} s went by since the permit was taken"
            )

    async def wrote(self) -> None:
        """Step 5: a writer that overran its permit reports itself first of all."""
        if self.nonce is None or self.clock.now() <= self._write_until:
            return
        nonce, sweep_in = (
            self.nonce,
            self.timing.landing(self.operation) + self.timing.visibility(self.operation),
        )
        await self._write(
            lambda connection: store.wrote_late(
                self.database, connection, self.claim.external_id, nonce, sweep_in=sweep_in
            ),
            commit="record",
            patience=self.timing.record_patience,
        )

    async def refused(self, error: RequestRejected) -> None:
        """The vendor did nothing; the transport asks again under a new permit."""
        nonce = self.take_nonce()
        if nonce is not None:
            await self._write(
                lambda connection: store.refuse(
                    self.database, connection, self.claim.external_id, nonce, answer=answer_of(error)
                ),
                commit="record",
                patience=self.timing.record_patience,
            )

    async def unsent(self) -> None:
        """Not one byte left: the attempt is closed."""
        nonce = self.take_nonce()
        if nonce is not None:
            await self._write(
                lambda connection: store.not_sent(self.database, connection, self.claim.external_id, nonce),
                commit="quiet",
                patience=self.timing.record_patience,
            )

    async def gave_up(self) -> None:
        """The socket is closed: this attempt will write nothing any more. It stays open."""
        if self.nonce is not None:
            await self.silence(self.nonce)

    async def silence(self, nonce: str, *, error: PlaitError | None = None, answered: bool = False) -> None:
        """Record that the attempt is quiet, with what the vendor said if it said anything."""
        answer = answer_of(error) if error is not None else None
        await self._write(
            lambda connection: store.quiet(
                self.database, connection, self.claim.external_id, nonce, answer=answer, answered=answered
            ),
            commit="quiet",
            patience=self.timing.record_patience,
        )

    def take_nonce(self) -> str | None:
        """The open attempt, which from now on is settled by the caller."""
        nonce, self.nonce = self.nonce, None
        if nonce is not None:
            self.served.discard(nonce)
        return nonce


def answer_of(error: PlaitError) -> dict[str, object]:
    """What an attempt remembers of a refusal or a failure."""
    return {"status": error.status, "message": error.message[:ANSWER_CUT], "request_id": error.request_id}
