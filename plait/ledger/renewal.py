"""Step 8 of the protocol: leases are renewed by a thread of their own, while the loop is alive.

A process whose event loop hangs lets go like a dead one; a claim held longer than H too. The same
thread silences attempts that stand under our name and that nobody here works on any more.
"""

import asyncio
import threading
from dataclasses import dataclass, field

from plait.clock import Clock
from plait.failpoints import reach
from plait.ledger import store
from plait.ledger.database import Database
from plait.ledger.errors import LedgerUnavailable


@dataclass(slots=True)
class Renewal:
    """Keeps the claims of one ledger instance alive."""

    database: Database
    clock: Clock
    me: str
    lease: float
    served: set[str] = field(default_factory=set)
    _held: dict[str, tuple[int, float]] = field(default_factory=dict)
    _beat: float = 0.0
    _pulse: asyncio.TimerHandle | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread and the heartbeat; needs a running event loop."""
        self._heartbeat(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._run, name="plait-ledger-renewal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End both."""
        if self._pulse is not None:
            self._pulse.cancel()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def hold(self, claim: store.Claim, seconds: float) -> None:
        """Renew this claim for at most so long."""
        self._held[claim.external_id] = (claim.token, self.clock.now() + seconds)

    def drop(self, claim: store.Claim) -> None:
        """Stop renewing it, unless it was claimed anew meanwhile."""
        if self._held.get(claim.external_id, (None, 0.0))[0] == claim.token:
            del self._held[claim.external_id]

    def _heartbeat(self, loop: asyncio.AbstractEventLoop) -> None:
        reach("loop.blocked")
        self._beat = self.clock.now()
        self._pulse = loop.call_later(self.lease / 6, self._heartbeat, loop)

    def _run(self) -> None:
        pause = self.lease / 3
        while not self._stopped.wait(pause):
            try:
                self._once()
            except LedgerUnavailable:
                pause = self.lease / 15  # a busy database is asked again before the lease ends (E5)
            else:
                pause = self.lease / 3

    def _once(self) -> None:
        now = self.clock.now()
        if now - self._beat > self.lease / 3:
            return
        held = [(x, token) for x, (token, until) in sorted(self._held.copy().items()) if now < until]
        if held:
            self.database.write_now(
                lambda connection: store.renew(self.database, connection, held, me=self.me, lease=self.lease),
                commit="renew",
            )
        self._silence_orphans()

    def _silence_orphans(self) -> None:
        served = self.served.copy()
        for external_id, nonce in self.database.read_now(
            lambda connection: store.orphans(connection, self.me)
        ):
            if nonce not in served and nonce not in self.served:
                self.database.write_now(
                    lambda connection, x=external_id, n=nonce: store.quiet(self.database, connection, x, n),  # type: ignore[misc]
                    commit="quiet",
                )
