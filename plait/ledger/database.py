"""One writer thread per process: concurrent writes share a transaction (group commit).

A job is a function of a connection that may be run again: it carries its own nonce, so that a
commit whose answer was lost is simply repeated (effect-protocol.md §4 step 3). Jobs are run in
order, each in a savepoint, and committed together; when the database refuses the group, each job
is tried alone, so that one cannot fail the others.
"""

import asyncio
import os
import queue
import random
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.pool import NullPool

from plait.failpoints import FailpointError, reach
from plait.http.errors import ConfigurationError
from plait.ledger.errors import LedgerUnavailable

R = TypeVar("R")
Work = Callable[[Connection], R]

GROUP: Final = 256
READERS: Final = 4
_SQLITE_NOW: Final = text("SELECT (julianday('now') - 2440587.5) * 86400.0")
_POSTGRESQL_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())::double precision")
_REFUSED: Final = (DBAPIError, FailpointError)
_LASTING: Final = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""The statement is at fault, not the moment: trying again answers the same."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    commit: str
    until: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    about: str
    tries: int = 0
    answer: Any = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)

    def deliver(self) -> None:
        def settle() -> None:
            if self.future.done():
                return
            if self.error is None:
                self.future.set_result(self.answer)
            else:
                self.future.set_exception(self.error)

        try:
            self.loop.call_soon_threadsafe(settle)
        except RuntimeError:
            return  # the loop is gone, and with it whoever waited


class Database:
    """SQLite (WAL, `synchronous=FULL`) or PostgreSQL, by URL or file path."""

    def __init__(
        self,
        url: str | Path,
        *,
        busy_timeout: float = 5.0,
        silence: float = 10.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`silence`: so many seconds beyond a call's patience a server may say nothing at all."""
        self.url = parse_url(url)
        self.busy_timeout = busy_timeout
        self.silence = silence
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._virtual_now = now
        self._engine = self._create_engine()
        self._readers: ThreadPoolExecutor | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._connection: Connection | None = None
        self._began = False

    @property
    def is_sqlite(self) -> bool:
        """Whether all runners share this host and a file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The ledger's file; None on PostgreSQL."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    def __str__(self) -> str:
        return str(self.path or self.url.render_as_string(hide_password=True))

    def now(self, connection: Connection) -> float:
        """T, the ledger's one clock. Read it after the row lock it is compared under."""
        if self._virtual_now is not None:
            return self._virtual_now()
        value: float = connection.execute(_SQLITE_NOW if self.is_sqlite else _POSTGRESQL_NOW).scalar_one()
        return value

    def start(self) -> None:
        """Start the threads that write and read."""
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="plait-ledger-reader")
        self._writer = threading.Thread(target=self._serve, name="plait-ledger-writer", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Finish the queued jobs and close the connections."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._jobs.put(None)
            writer.join()
            self._refuse_the_rest()
        readers, self._readers = self._readers, None
        if readers is not None:
            readers.shutdown()  # a read whose caller was cancelled still has its connection
        self._engine.dispose()

    async def write(self, work: Work[R], *, commit: str, patience: float = 30.0, about: str = "") -> R:
        """Run a repeatable job in a write transaction and return once it is durable.

        `about` is the row it locks: a group locks in this order, as every other process does. Raises
        what the job raises, or `LedgerUnavailable` after `patience` seconds of refusals or somewhat
        more of silence. A cancelled caller leaves the job to be committed.
        """
        loop = asyncio.get_running_loop()
        if self._writer is None:
            raise LedgerUnavailable(f"the ledger {self} is closed")
        job = _Job(work, commit, time.monotonic() + patience, loop, loop.create_future(), about)
        self._jobs.put(job)
        return await self._answer(job.future, patience)

    async def read(self, work: Work[R]) -> R:
        """Run a query in a reader's thread; it sees what is committed. Raises `LedgerUnavailable`."""
        if self._readers is None:
            raise LedgerUnavailable(f"the ledger {self} is closed")
        return await self._answer(asyncio.wrap_future(self._readers.submit(self.read_now, work)))

    async def _answer(self, future: asyncio.Future[R], patience: float = 0.0) -> R:
        """What a thread answers; a server that is silent for too long loses its connections."""
        alarm = asyncio.get_running_loop().call_later(patience + self.silence, self._hang_up)
        try:
            return await future
        finally:
            alarm.cancel()

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """The same for calls without an event loop."""
        if self.is_sqlite:
            yield
            return
        done = threading.Event()

        def watch() -> None:
            while not done.wait(self.silence):
                self._hang_up()

        threading.Thread(target=watch, name="plait-ledger-watch", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _hang_up(self) -> None:
        """Wake every thread that waits for the server: its call ends as after a cut connection."""
        if self.is_sqlite:
            return
        import psycopg  # noqa: PLC0415 - a ledger in a file never needs it

        for connection in list(self._connections):
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def read_now(self, work: Work[R]) -> R:
        """The same for code without an event loop."""
        with self._translated(), self._engine.connect() as connection:
            connection.info["reading"] = True
            try:
                return work(connection)
            finally:
                connection.info.pop("reading", None)

    def write_now(self, work: Work[R], *, commit: str) -> R:
        """One transaction on a connection of its own, for the renewal thread and for set-up."""
        with self._translated(), self._engine.connect() as connection:
            with connection.begin():
                answer = work(connection)
                reach(f"{commit}.before_commit")
            reach(f"{commit}.after_commit")
            return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _REFUSED as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> LedgerUnavailable:
        """The typed form of a database error; says which ledger and never a password."""
        cause = getattr(error, "orig", None) or error
        return LedgerUnavailable(f"the ledger {self} does not answer: {cause}; no effect is sent without it")

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            stop = False
            while len(group) < GROUP:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                group.append(more)
            group.sort(key=attrgetter("about"))  # two processes that lock the same rows meet in no circle
            self._settle(group)
            if stop:
                break
        if self._connection is not None:
            self._connection.close()

    def _refuse_the_rest(self) -> None:
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job.error = LedgerUnavailable(f"the ledger {self} is closed")
                job.deliver()

    def _settle(self, group: list[_Job]) -> None:
        try:
            self._commit(group)
        except _REFUSED as error:
            self._drop_connection()
            if len(group) > 1 and self._began:
                for position, job in enumerate(group, 1):
                    self._settle([job])
                    if not self._began:
                        self._again_or_fail(group[position:], error)
                        break
            else:  # alone, or nobody's fault: the database let no transaction begin
                self._again_or_fail(group, error)
        except Exception as error:  # noqa: BLE001 - a bug in one job must reach its caller, not end the writer
            self._drop_connection()
            for job in group:
                job.error = error
                job.deliver()
        else:
            for job in group:
                job.deliver()

    def _again_or_fail(self, group: list[_Job], error: Exception) -> None:
        again = []
        for job in group:
            if isinstance(error, _LASTING) or time.monotonic() >= job.until or job.future.cancelled():
                job.error = self.unavailable(error)
                job.deliver()
            else:
                job.tries += 1
                again.append(job)
        if again:
            tries = min(job.tries for job in again)
            time.sleep(random.uniform(0.0, min(1.0, 0.02 * 2**tries)))  # noqa: S311 - jitter, not a secret
        for job in again:
            self._jobs.put(job)

    def _commit(self, group: list[_Job]) -> None:
        self._began = False
        connection = self._connection = self._connection or self._engine.connect()
        alone = len(group) == 1
        with connection.begin() as transaction:
            self._began = True
            for job in group:
                job.answer, job.error = None, None
                savepoint = None if alone else connection.begin_nested()
                try:
                    job.answer = job.work(connection)
                except _REFUSED:
                    raise
                except Exception as error:  # noqa: BLE001 - the job's own verdict, delivered to its caller
                    job.error = error
                    if savepoint is not None:
                        savepoint.rollback()
                else:
                    if savepoint is not None:
                        savepoint.commit()
            if alone and group[0].error is not None:
                transaction.rollback()
                return
            for job in group:
                reach(f"{job.commit}.before_commit")
        for job in group:
            reach(f"{job.commit}.after_commit")

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _create_engine(self) -> Engine:
        if not self.is_sqlite:
            engine = create_engine(
                self.url,
                pool_pre_ping=True,
                pool_size=4,
                connect_args={"connect_timeout": max(1, int(self.busy_timeout))},
            )
            event.listen(engine, "connect", self._configure)
            return engine
        engine = create_engine(
            self.url,
            poolclass=NullPool,
            connect_args={"timeout": self.busy_timeout, "check_same_thread": False},
        )
        event.listen(engine, "connect", self._configure)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def _configure(self, connection: Any, _record: Any) -> None:
        try:
            if self.is_sqlite:
                _configure_sqlite(connection)
            else:
                self._configure_postgresql(connection)
                self._connections.add(connection)
        except BaseException:
            connection.close()  # the pool forgets one that was not ready
            raise

    def _configure_postgresql(self, connection: Any) -> None:
        # A process stopped inside a transaction keeps its row locks: the server ends that one for us.
        # Until then a group of ours that wants such a row fails early: what else is in it has permits to use.
        waits = {
            "lock_timeout": self.busy_timeout / 5,
            "idle_in_transaction_session_timeout": 2 * self.busy_timeout,
        }
        for name, seconds in waits.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, f"{seconds * 1000:.0f}ms"))
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.commit()


def is_busy(error: LedgerUnavailable) -> bool:
    """Whether another process only held the SQLite file for too long."""
    origin = getattr(error.__cause__, "orig", None)
    return isinstance(origin, sqlite3.OperationalError) and origin.sqlite_errorcode & 0xFF in _BUSY


def _configure_sqlite(connection: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # An upgraded read can get BUSY at once, so every write begins as one.
    connection.exec_driver_sql("BEGIN" if connection.info.get("reading") else "BEGIN IMMEDIATE")


def parse_url(url: str | Path) -> URL:
    """A database URL from a URL or a file path. Raises `ConfigurationError` for anything else."""
    spelled = str(url)
    if "://" not in spelled:
        return URL.create("sqlite", database=str(Path(spelled).expanduser()))
    try:
        parsed = make_url(spelled)
    except ArgumentError:
        raise ConfigurationError(
            "the ledger's URL cannot be read; use a file path, sqlite:///file or postgresql://user@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql" or parsed.drivername == "postgres":
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database:
        return parsed.set(drivername="sqlite", database=str(Path(parsed.database).expanduser()))
    raise ConfigurationError(f"a ledger lives in SQLite or PostgreSQL, not in {parsed.drivername!r}")
