"""Opening and closing a ledger, and everything that belongs to one instance of it."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

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
POSTGRESQL_MAX_PAUSE: Final = 900.0
"""P where runners may live on several hosts, so that proof of death is not always possible."""


class Ledger:
    """One open ledger: `async with Ledger.open(url) as ledger`.

    Raises `ConfigurationError` where the ledger cannot live, `LedgerUnavailable` where it does not answer.
    """

    def __init__(self, database: Database, *, timing: Timing, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.timing = timing
        if timing.max_pause is None and not database.is_sqlite:
            self.timing = replace(timing, max_pause=POSTGRESQL_MAX_PAUSE)
        self.folder = process.run_folder(database.path)
        self._process: process.Process | None = None
        self._renewal: Renewal | None = None

    @classmethod
    def open(
        cls, url: str | Path = DEFAULT_PATH, *, timing: Timing | None = None, clock: Clock | None = None
    ) -> Self:
        """A ledger by file path, `sqlite:///…` or `postgresql://…`; opened by `async with`."""
        return cls(Database(url), timing=timing or Timing(), clock=clock or BootClock())

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._set_up)
        except BaseException:
            self.database.stop()  # nobody will leave what was never entered
            raise
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
            row.holder
            for row in rows
            if row.ended_at is not None or process.proved_dead(self.folder, as_process(row))
        )

    async def describe(self, holder: str) -> str:
        """Which process a holder is, for people."""
        rows = await self.database.read(lambda connection: store.processes(connection, [holder]))
        return as_process(rows[0]).describe() if rows else f"holder {holder}"

    def _set_up(self) -> None:
        self._require_writable()
        try:
            upgrade(self.database)
            self._process = process.enter(self.folder)
            values = asdict(self._process) | {"ended_at": None}
            self.database.write_now(lambda connection: store.register(connection, values), commit="claim")
        except LedgerUnavailable as error:
            self._leave(recorded=True)  # nobody will ask: it never claimed
            if self.database.is_sqlite and not is_busy(error):
                raise ConfigurationError(
                    f"{error.message}. Choose another place with PLAIT_LEDGER_URL or the EffectLedger block"
                ) from error
            raise
        self.database.start()

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
