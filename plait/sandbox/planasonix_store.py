"""What the Planasonix stand-in remembers: tables of its own, made for lists of a hundred thousand runs.

An item (connection, pipeline, schedule, webhook) is listed by its last change, work (run, job, backfill) by
its creation, newest first. What lists are narrowed and ordered by stands in columns with an index; the rest
is JSON.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from plait.sandbox.planasonix_records import Item, Kind, Schedule, Webhook, Work
from plait.sandbox.store import Transaction

_PREFIXES: Final = {"run": "run", "job": "job", "backfill": "bf"}
_ID_LENGTH: Final = 20

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS planasonix_item (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, organization TEXT NOT NULL,
    at REAL NOT NULL, visible_at REAL NOT NULL, due_at REAL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS planasonix_item_list
    ON planasonix_item (organization, kind, at, seq, visible_at);
CREATE INDEX IF NOT EXISTS planasonix_item_due ON planasonix_item (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS planasonix_work (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, organization TEXT NOT NULL, parent TEXT NOT NULL,
    state TEXT NOT NULL, at REAL NOT NULL, visible_at REAL NOT NULL, due_at REAL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS planasonix_work_list
    ON planasonix_work (organization, kind, at, seq, visible_at);
CREATE INDEX IF NOT EXISTS planasonix_work_parent
    ON planasonix_work (organization, kind, parent, at, seq, visible_at);
CREATE INDEX IF NOT EXISTS planasonix_work_state
    ON planasonix_work (organization, kind, state, at, seq, visible_at);
CREATE INDEX IF NOT EXISTS planasonix_work_active
    ON planasonix_work (parent, kind) WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS planasonix_work_due ON planasonix_work (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS planasonix_key (
    scope TEXT NOT NULL, key TEXT NOT NULL, job TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (scope, key)
);
CREATE TABLE IF NOT EXISTS planasonix_delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL, due_at REAL NOT NULL
);
"""

I = TypeVar("I", bound=Item)  # noqa: E741 - the usual letter for an item


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one subscription."""

    seq: int
    webhook: str
    body: str
    attempts: int
    """How many there were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is asked for."""

    limit: int | None
    """None: all."""
    after: tuple[float, int] | None = None
    """What the page before ended with."""
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A part of a list, newest first."""

    rows: list[str]
    cursor: tuple[float, int] | None
    """What the next page begins after; None at the end."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed by: SQL of our own over columns and JSON, and its values."""

    terms: tuple[str, ...]
    values: tuple[Any, ...]

    def also(self, term: str, *values: Any) -> "Filter":
        """Narrowed further."""
        return Filter((*self.terms, term), (*self.values, *values))


class Shelf:
    """The two tables inside one transaction."""

    def __init__(self, transaction: Transaction, seed: int) -> None:
        self.transaction = transaction
        self._sql = transaction.connection
        self._seed = seed

    def create(self) -> None:
        """Make the tables where they are missing."""
        for statement in filter(str.strip, _SCHEMA.split(";")):
            self._sql.execute(statement)

    # ------------------------------------------------------------ ids

    def new_id(self, kind: type[Item] | Kind) -> str:
        """The next id: it follows from the seed and from how many there were."""
        table = "planasonix_work" if isinstance(kind, str) else "planasonix_item"
        row = self._sql.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        number = (row[0] if row else 0) + 1
        return made_id(kind, self._seed, number)

    # ------------------------------------------------------------ items

    def add(self, item: Item) -> None:
        """A new item; it obeys the listing lag."""
        self._sql.execute(
            "INSERT INTO planasonix_item (id, kind, organization, at, visible_at, due_at, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                item.id,
                item.kind,
                item.organization,
                item.at,
                time.time() + self._lag(),
                item.due_at,
                item.model_dump_json(),
            ),
        )

    def save(self, item: Item) -> None:
        """A changed item."""
        self._sql.execute(
            "UPDATE planasonix_item SET at = ?, due_at = ?, data = ? WHERE id = ?",
            (item.at, item.due_at, item.model_dump_json(), item.id),
        )

    def item(self, model: type[I], item_id: str) -> I | None:
        """One item by its id, lagging or not."""
        row = self._sql.execute(
            "SELECT data FROM planasonix_item WHERE id = ? AND kind = ?", (item_id, model.kind)
        ).fetchone()
        return None if row is None else model.model_validate_json(row[0])

    def delete(self, item: Item) -> None:
        """Forget an item."""
        self._sql.execute("DELETE FROM planasonix_item WHERE id = ?", (item.id,))

    def items(self, model: type[I], where: Filter, page: Page) -> tuple[list[I], tuple[float, int] | None]:
        """A part of a list of items; `where` names their kind, too."""
        found = self._page("planasonix_item", where, page)
        return [model.model_validate_json(row) for row in found.rows], found.cursor

    def due_schedules(self, now: float) -> list[Schedule]:
        """Schedules that have to fire."""
        rows = self._sql.execute(
            "SELECT data FROM planasonix_item WHERE due_at <= ? ORDER BY due_at, seq", (now,)
        )
        return [Schedule.model_validate_json(row[0]) for row in rows.fetchall()]

    # ------------------------------------------------------------ work

    def start(self, work: Work, lag: float = 0.0) -> None:
        """New work; it obeys the listing lag."""
        self._sql.execute(INSERT_WORK, work_row(work, time.time() + max(lag, self._lag())))

    def change(self, work: Work) -> None:
        """Work whose state or plan has changed."""
        self._sql.execute(
            "UPDATE planasonix_work SET state = ?, due_at = ?, data = ? WHERE id = ?",
            (work.state, work.due_at, work.model_dump_json(exclude_defaults=True), work.id),
        )

    def work(self, kind: Kind, work_id: str) -> Work | None:
        """One run, job or backfill by its id, lagging or not."""
        row = self._sql.execute(
            "SELECT data FROM planasonix_work WHERE id = ? AND kind = ?", (work_id, kind)
        ).fetchone()
        return None if row is None else Work.model_validate_json(row[0])

    def works(self, where: Filter, page: Page) -> tuple[list[Work], tuple[float, int] | None]:
        """A part of a list of work."""
        found = self._page("planasonix_work", where, page)
        return [Work.model_validate_json(row) for row in found.rows], found.cursor

    def due(self, now: float) -> list[Work]:
        """Work whose state has to change, in the order in which it has to."""
        rows = self._sql.execute(
            "SELECT data FROM planasonix_work WHERE due_at <= ? ORDER BY due_at, seq LIMIT 1000", (now,)
        )
        return [Work.model_validate_json(row[0]) for row in rows.fetchall()]

    def active(self, kind: Kind, parent: str) -> list[Work]:
        """What is queued or running of a pipeline or a connection, oldest first."""
        rows = self._sql.execute(
            "SELECT data FROM planasonix_work WHERE parent = ? AND kind = ?"
            " AND state IN ('queued', 'running') ORDER BY at, seq",
            (parent, kind),
        )
        return [Work.model_validate_json(row[0]) for row in rows.fetchall()]

    # ------------------------------------------------------------ lists

    def count(self, table: Literal["item", "work"], where: Filter) -> int:
        """How many a list holds on all of its pages."""
        visible = where.also("visible_at <= ?", time.time())
        sql = f"SELECT count(*) FROM planasonix_{table} WHERE {' AND '.join(visible.terms)}"  # noqa: S608 - the terms are literals of the stand-in
        return int(self._sql.execute(sql, visible.values).fetchone()[0])

    def _page(self, table: str, where: Filter, page: Page) -> Found:
        narrowed = where.also("visible_at <= ?", time.time())
        if page.after is not None:
            narrowed = narrowed.also("(at, seq) < (?, ?)", *page.after)
        wanted = -1 if page.limit is None else page.limit + 1
        sql = f"SELECT at, seq, data FROM {table} WHERE {' AND '.join(narrowed.terms)} ORDER BY at DESC, seq DESC LIMIT ? OFFSET ?"  # noqa: S608, E501 - the terms are literals of the stand-in
        rows = self._sql.execute(sql, (*narrowed.values, wanted, page.offset)).fetchall()
        more = page.limit is not None and len(rows) > page.limit
        shown = rows[: page.limit]
        return Found(rows=[row[2] for row in shown], cursor=tuple(shown[-1][:2]) if more else None)

    # ------------------------------------------------------------ keys

    def key(self, scope: str, key: str) -> tuple[str, str] | None:
        """Job and body that an idempotency key stands for."""
        row = self._sql.execute(
            "SELECT job, body FROM planasonix_key WHERE scope = ? AND key = ?", (scope, key)
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def keep_key(self, scope: str, key: str, job: str, body: str) -> None:
        """Claim a key for a job."""
        self._sql.execute(
            "INSERT OR REPLACE INTO planasonix_key (scope, key, job, body) VALUES (?, ?, ?, ?)",
            (scope, key, job, body),
        )

    # ------------------------------------------------------------ events

    def send(self, webhook: Webhook, body: str) -> None:
        """Put an event on its way, with the commit that makes it true."""
        self._sql.execute(
            "INSERT INTO planasonix_delivery (webhook, body, attempts, due_at) VALUES (?, ?, 0, ?)",
            (webhook.id, body, time.time()),
        )

    def due_deliveries(self, now: float) -> list[Delivery]:
        """Events whose next attempt is due, oldest first."""
        rows = self._sql.execute(
            "SELECT seq, webhook, body, attempts FROM planasonix_delivery WHERE due_at <= ?"
            " ORDER BY seq LIMIT 50",
            (now,),
        )
        return [Delivery(*row) for row in rows.fetchall()]

    def attempted(self, delivery: Delivery, attempts: int, again: float | None) -> None:
        """Note an attempt; without a next one the event is gone."""
        if again is None:
            self._sql.execute("DELETE FROM planasonix_delivery WHERE seq = ?", (delivery.seq,))
            return
        self._sql.execute(
            "UPDATE planasonix_delivery SET attempts = ?, due_at = ? WHERE seq = ?",
            (attempts, again, delivery.seq),
        )

    # ------------------------------------------------------------ whole worlds

    def has(self, model: type[Item]) -> bool:
        """Whether there is any, of any organization."""
        sql = "SELECT 1 FROM planasonix_item WHERE kind = ? LIMIT 1"
        return self._sql.execute(sql, (model.kind,)).fetchone() is not None

    def item_counts(self) -> dict[str, int]:
        """How many items there are of each kind."""
        return dict(self._sql.execute("SELECT kind, count(*) FROM planasonix_item GROUP BY kind").fetchall())

    def work_counts(self) -> dict[str, dict[str, int]]:
        """How much work there is of each kind in each state."""
        counts: dict[str, dict[str, int]] = {}
        sql = "SELECT kind, state, count(*) FROM planasonix_work GROUP BY kind, state"
        for kind, state, count in self._sql.execute(sql):
            counts.setdefault(kind, {})[state] = count
        return counts

    def insert_items(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Many at once."""
        self._sql.executemany(
            "INSERT INTO planasonix_item (id, kind, organization, at, visible_at, due_at, data)"
            " VALUES (?, ?, ?, ?, 0, ?, ?)",
            rows,
        )

    def insert_work(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Many at once; each as `work_row` has it."""
        self._sql.executemany(INSERT_WORK, rows)

    def forget(self, organization: str) -> None:
        """Everything of an organization."""
        for table in ("item", "work"):
            self._sql.execute(f"DELETE FROM planasonix_{table} WHERE organization = ?", (organization,))  # noqa: S608 - two literals
        self._sql.execute("DELETE FROM planasonix_key WHERE job NOT IN (SELECT id FROM planasonix_work)")

    def empty(self) -> bool:
        """Whether nothing was ever stored."""
        return self._sql.execute("SELECT 1 FROM planasonix_item LIMIT 1").fetchone() is None

    def _lag(self) -> float:
        request = self.transaction.request
        return request.listing_lag if request else 0.0


INSERT_WORK: Final = (
    "INSERT INTO planasonix_work (id, kind, organization, parent, state, at, visible_at, due_at, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def work_row(work: Work, visible_at: float) -> tuple[Any, ...]:
    """The values of `INSERT_WORK`."""
    return (
        work.id,
        work.kind,
        work.organization,
        work.parent,
        work.state,
        work.at,
        visible_at,
        work.due_at,
        work.model_dump_json(exclude_defaults=True),
    )


def made_id(kind: type[Item] | Kind, *what: object) -> str:
    """An opaque id, in the shape of the vendor's, that follows from `what`."""
    prefix = _PREFIXES[kind] if isinstance(kind, str) else kind.prefix
    text = ":".join(map(str, (prefix, *what)))
    return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]}"


def body_digest(body: Mapping[str, Any]) -> str:
    """What was asked for."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
