"""Opening and closing a ledger, and everything that belongs to one instance of it."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection

from plait.clock import BootClock, Clock
from plait.http.errors import ConfigurationError
from plait.ledger import process, store
from plait.ledger.database import Database, is_busy
from plait.ledger.effects import Effects
from plait.ledger.errors import LedgerUnavailable
from plait.ledger.migrate import upgrade
from plait.ledger.recipe import AnyRecipe
from plait.ledger.reconcile import Reconciled, reconcile
from plait.ledger.renewal import Renewal
from plait.ledger.timing import Timing

R = TypeVar("R")

DEFAULT_PATH: Final = Path("~/.plait/ledger.db")
BUSY_PAUSE: Final = 0.05
"""Seconds between two tries to open a file that another process is opening."""
POSTGRESQL_MAX_PAUSE: Final = 900.0
"""P where runners may live on several hosts, so that proof of death is not always possible."""


class Ledger:
    """One open ledger: `async with Ledger.open(url) as ledger`.

    Raises `ConfigurationError` where the ledger cannot live, `LedgerUnavailable` where it does not answer.
    """

    def __init__(self, database: Database, *, timing: Timing, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        pause = timing.max_pause
        if pause is None and not database.is_sqlite:
            pause = POSTGRESQL_MAX_PAUSE
        self.timing = replace(timing, max_pause=None if pause == math.inf else pause)
        self.folder = process.run_folder(database.path)
        self._process: process.Process | None = None
        self._renewal: Renewal | None = None

    @classmethod
    def open(
        cls, url: str | Path = DEFAULT_PATH, *, timing: Timing | None = None, clock: Clock | None = None
    ) -> Self:
        """A ledger by file path, `sqlite:///…` or `postgresql://…`; opened by `async with`."""
        timing = timing or Timing()
        database = Database(url)
        if database.is_sqlite:
            database = Database(url, busy_timeout=min(database.busy_timeout, timing.lease / 4))  # E5
        return cls(database, timing=timing, clock=clock or BootClock())

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._set_up)
        self._renewal = Renewal(self.database, self.clock, self.me, self.timing.lease)
        self._renewal.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._tear_down))

    @property
    def me(self) -> str:
        """This instance's holder id."""
        if self._process is None:
            raise ConfigurationError("the ledger is not open; use `async with Ledger.open(...)`")
        return self._process.holder

    @property
    def renewal(self) -> Renewal:
        """The thread that keeps our claims."""
        if self._renewal is None:
            raise ConfigurationError("the ledger is not open; use `async with Ledger.open(...)`")
        return self._renewal

    def effects(self, *, run_key: str, env: str = "dev", generation: int = 0) -> Effects:
        """The effects of one run. The run key says what "the same intent" is."""
        return Effects(self, run_key=run_key, env=env, generation=generation)

    async def ask(self, question: Callable[[Connection, float], R]) -> R:
        """Answer one of `plait.ledger.views` with T."""
        return await self.database.read(
            lambda connection: question(connection, self.database.now(connection))
        )

    async def reconcile(self, external_id: str, recipe: AnyRecipe, *, look_now: bool = False) -> Reconciled:
        """Look for one unsettled effect and write down what was seen; never sends."""
        return await reconcile(self, external_id, recipe, look_now=look_now)

    def new_nonce(self) -> str:
        """A name for one claim, so that a repeated write is recognised."""
        return secrets.token_hex(8)

    async def now(self) -> float:
        """T, the ledger's own clock."""
        return await self.database.read(self.database.now)

    async def dead(self, holders: set[str]) -> frozenset[str]:
        """Those of these holders that are proved dead, or ended in order."""
        others = holders - {self.me}
        if not others:
            return frozenset()
        rows = await self.database.read(lambda connection: store.processes(connection, others))
        return await asyncio.to_thread(self._dead_of, rows)

    def _dead_of(self, rows: list[store.AnyRow]) -> frozenset[str]:
        return frozenset(
            row.holder for row in rows if row.ended_at is not None or self._proved_dead(as_process(row))
        )

    def _proved_dead(self, other: process.Process) -> bool:
        return process.proved_dead(self.folder, other, one_host=self.database.is_sqlite)

    async def bury(self) -> int:
        """Record the end of instances that are proved dead; their lock files go. Returns how many."""
        rows = await self.database.read(store.unended)
        dead = await asyncio.to_thread(self._dead_of, rows)
        if dead:
            await self.database.write(
                lambda connection: store.bury(self.database, connection, dead), commit="verdict"
            )
        for holder in dead:
            process.forget(self.folder, holder)
        return len(dead)

    async def describe(self, holder: str) -> str:
        """Which process a holder is, for people."""
        rows = await self.database.read(lambda connection: store.processes(connection, [holder]))
        return as_process(rows[0]).describe() if rows else f"holder {holder}"

    def _set_up(self) -> None:
        self._require_writable()
        try:
            self._when_free(lambda: upgrade(self.database))
            self._process = process.enter(self.folder)
            values = asdict(self._process) | {"ended_at": None}
            self._when_free(lambda: self._register(values))
            self.database.start()
        except BaseException as error:
            self.database.stop()
            self._leave(recorded=True)  # nobody will ask: it never claimed
            if isinstance(error, LedgerUnavailable) and self.database.is_sqlite and not is_busy(error):
                raise ConfigurationError(
                    f"{error.message}. Choose another place with PLAIT_LEDGER_URL or the EffectLedger block"
                ) from error
            raise

    def _register(self, values: dict[str, Any]) -> None:
        with self.database.impatient():
            self.database.write_now(lambda connection: store.register(connection, values), commit="claim")

    def _when_free(self, work: Callable[[], None]) -> None:
        """Wait for others that open the same file: a first one migrates it meanwhile."""
        until = time.monotonic() + self.timing.patience
        while True:
            try:
                return work()
            except LedgerUnavailable as error:
                if not is_busy(error) or time.monotonic() >= until:
                    raise
                time.sleep(BUSY_PAUSE)

    def _require_writable(self) -> None:
        path = self.database.path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"the ledger file {path} cannot be written: {error.strerror or error}. "
                "Choose another place with PLAIT_LEDGER_URL or the EffectLedger block"
            ) from error

    def _tear_down(self) -> None:
        with self.database.impatient():
            self._end()

    def _end(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()
            if self._renewal.served:  # a request of ours is still out: only our end proves it quiet
                self.database.stop()
                return
        recorded = False
        try:
            if self._process is not None:
                holder = self._process.holder
                self.database.write_now(
                    lambda connection: store.deregister(self.database, connection, holder), commit="quiet"
                )
                recorded = True
        except LedgerUnavailable:
            pass  # the freed lock will prove us dead
        finally:
            self.database.stop()
            self._leave(recorded=recorded)

    def _leave(self, *, recorded: bool) -> None:
        if self._process is not None:
            process.leave(self.folder, self._process, recorded=recorded)
            self._process = None


def as_process(row: store.AnyRow) -> process.Process:
    """A row of the process table as the identity that was written."""
    return process.Process(
        holder=row.holder,
        host=row.host,
        hostname=row.hostname,
        boot_id=row.boot_id,
        pid_namespace=row.pid_namespace,
        pid=row.pid,
        started=row.started,
    )
