"""Pipelines and their runs, as the vendors' lists show them and as our own nights made them.

What is unchanged is not written: each row carries a digest of what its list showed. Functions of a
connection run inside one transaction of `Database.write` or `Database.read`, and may be repeated.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from sqlalchemy import ColumnElement, Connection, Insert, Select, Table, bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from plait.ledger.database import Database
from plait.ledger.recipe import Json
from plait.ledger.store.rows import AnyRow
from plait.ledger.tables import PipelineRow, PipelineRunRow, SyncCursorRow

CURSOR: Final = SyncCursorRow.metadata.tables["sync_cursor"]
PIPELINE: Final = PipelineRow.metadata.tables["pipeline"]
RUN: Final = PipelineRunRow.metadata.tables["pipeline_run"]

Kind: TypeAlias = Literal["pipeline", "connection"]
Status: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]

ENDED: Final[tuple[Status, ...]] = ("succeeded", "failed", "cancelled")
OPEN: Final[tuple[Status, ...]] = ("queued", "running")
_PIECEMEAL: Final = {"yield_per": 1000}
_OPEN: Final = cast("ColumnElement[bool]", text("pipeline_run.status IN ('queued','running')"))
"""Spelled as the partial index `pipeline_run_open` is, or SQLite does not use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose pipelines, or whose connections."""

    account: str
    """As in `Identity.account`: whose account at which address, without secrets."""
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecord:
    """A pipeline or a connection as a list shows it."""

    id: str
    name: str
    status: str = ""
    tags: tuple[str, ...] = ()
    changed_at: float | None = None

    @property
    def digest(self) -> str:
        """Equal for equal content."""
        return _digest(self.name, self.status, self.tags, self.changed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run or a sync job as a list shows it; None is what the list does not say."""

    id: str
    pipeline_id: str
    status: Status
    word: str = ""
    trigger: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    rows: int | None = None
    error: str | None = None
    adopted: bool = False
    """Somebody else's, taken for ours because that was asked for; never cancelled by us."""

    @property
    def digest(self) -> str:
        """Equal for equal content."""
        return _digest(
            self.pipeline_id,
            self.word,
            self.trigger,
            self.started_at,
            self.ended_at,
            self.seconds,
            self.rows,
            self.error,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What became of one page."""

    written: int
    """Rows."""
    unchanged: int
    """Entries that were there already, just as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """When a night of ours started a run, by the ledger's clock."""

    at: float
    new: bool
    """Whether nobody had noted it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a chart needs of a run."""

    pipeline_id: str
    status: Status
    started_at: float
    seconds: float | None
    rows: int | None
    night: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRuns:
    """What a pipeline did last, by the vendor's clock."""

    status: Status | None
    """How the newest run that has ended ended."""
    succeeded_at: float | None
    """When its newest success started."""
    open_since: float | None
    """When the oldest run that is at work started."""


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:32]


# ------------------------------------------------------------ cursors


def position_of(connection: Connection, account: str, stream: str) -> Json:
    """How far a list was read; None: not at all."""
    return connection.execute(
        select(CURSOR.c.position).where(CURSOR.c.account == account, CURSOR.c.stream == stream)
    ).scalar()


def keep_position(db: Database, connection: Connection, account: str, stream: str, position: Json) -> int:
    """Write a position down if it is another one; gives the number of rows written."""
    if position_of(connection, account, stream) == position:
        return 0
    values = {
        "account": account,
        "stream": stream,
        "position": position,
        "updated_at": db.now(connection),
    }
    connection.execute(_CURSOR_UPSERT[db.is_sqlite], values)
    return 1


# ------------------------------------------------------------ pipelines


def put_pipelines(
    db: Database, connection: Connection, scope: Scope, records: Sequence[PipelineRecord]
) -> Put:
    """Insert what is new and update what has changed or come back."""
    fresh = {record.id: record for record in records}
    known = {row.id: row for row in connection.execute(_PIPELINES, _of(scope, ids=list(fresh)))}
    changed = [
        record
        for record in fresh.values()
        if (row := known.get(record.id)) is None or row.digest != record.digest or row.gone_at is not None
    ]
    if changed:
        values = [
            {
                "account": scope.account,
                "kind": scope.kind,
                "id": record.id,
                "name": record.name,
                "status": record.status,
                "tags": list(record.tags),
                "changed_at": record.changed_at,
                "digest": record.digest,
                "gone_at": None,
            }
            for record in changed
        ]
        connection.execute(_PIPELINE_UPSERT[db.is_sqlite], values)
    return Put(written=len(changed), unchanged=len(fresh) - len(changed))


def forget_pipelines(db: Database, connection: Connection, scope: Scope, ids: Sequence[str]) -> int:
    """Mark what the vendor no longer lists; gives the number of rows written."""
    now = db.now(connection)
    return sum(connection.execute(_GONE, _of(scope, id=pipeline_id, now=now)).rowcount for pipeline_id in ids)


def count_pipelines(connection: Connection, scope: Scope) -> dict[str, int]:
    """How many of each status word the vendor listed when it was last looked at."""
    return {row[0]: row[1] for row in connection.execute(_COUNT, _of(scope))}


def pipelines(connection: Connection, scope: Scope) -> Iterator[PipelineRecord]:
    """Those that the vendor listed when it was last looked at, by id, in constant memory."""
    for row in connection.execute(_LISTED, _of(scope), execution_options=_PIECEMEAL):
        yield PipelineRecord(
            id=row.id,
            name=row.name,
            status=row.status,
            tags=tuple(row.tags or ()),
            changed_at=row.changed_at,
        )


def unknown_pipelines(connection: Connection, scope: Scope, ids: Collection[str]) -> set[str]:
    """Which of these ids are not in the ledger."""
    if not ids:
        return set()
    return set(ids) - {row.id for row in connection.execute(_PIPELINES, _of(scope, ids=list(ids)))}


# ------------------------------------------------------------ runs


def put_runs(db: Database, connection: Connection, scope: Scope, records: Sequence[RunRecord]) -> Put:
    """Insert what is new and update what has changed.

    What the vendor's list does not say stays as it is known, and a run that has ended is not put back to
    work by a list that lags behind.
    """
    fresh = {record.id: record for record in records}
    known: dict[str, Any] = {row.id: row for row in connection.execute(_RUNS, _of(scope, ids=list(fresh)))}
    changed = [record for record in fresh.values() if _differs(known.get(record.id), record)]
    if changed:
        values = [_run_values(scope, record) for record in changed]
        connection.execute(_RUN_UPSERT[db.is_sqlite], values)
    return Put(written=len(changed), unchanged=len(fresh) - len(changed))


def _differs(row: AnyRow | None, record: RunRecord) -> bool:
    if row is None:
        return True
    return row.digest != record.digest and not (row.status in ENDED and record.status not in ENDED)


def _run_values(scope: Scope, record: RunRecord) -> dict[str, Any]:
    return {
        "account": scope.account,
        "kind": scope.kind,
        "id": record.id,
        "pipeline_id": record.pipeline_id,
        "status": record.status,
        "word": record.word,
        "trigger": record.trigger,
        "started_at": record.started_at or 0.0,
        "ended_at": record.ended_at,
        "seconds": record.seconds,
        "rows": record.rows,
        "error": record.error,
        "digest": record.digest,
    }


def keep_triggered(
    db: Database,
    connection: Connection,
    scope: Scope,
    record: RunRecord,
    *,
    night: str | None,
    generation: int,
) -> Triggered:
    """Note that a night of ours started this run; what was noted once stays. None: it was adopted."""
    row = connection.execute(_RUNS, _of(scope, ids=[record.id])).first()
    if row is not None and row.triggered_at is not None:
        return Triggered(at=row.triggered_at, new=False)
    now = db.now(connection)
    values = _run_values(scope, record) | {
        "started_at": record.started_at or now,
        "digest": None,
        "night": night,
        "generation": generation,
        "triggered_at": now,
    }
    connection.execute(_TRIGGERED_UPSERT[db.is_sqlite], values)
    return Triggered(at=now, new=True)


def keep_outcome(
    connection: Connection, scope: Scope, record: RunRecord, *, log_tail: str | None = None
) -> None:
    """Note how a run that is known ended, and what its list does not show.

    `log_tail` is None where nobody asked for the run by itself, and empty where there is no log.
    """
    connection.execute(
        _OUTCOME,
        _of(
            scope,
            id=record.id,
            new_status=record.status,
            new_word=record.word,
            new_started_at=record.started_at,
            new_ended_at=record.ended_at,
            new_seconds=record.seconds,
            new_rows=record.rows,
            new_error=record.error,
            new_log_tail=log_tail,
        ),
    )


def run_of(connection: Connection, scope: Scope, run_id: str) -> AnyRow | None:
    """Everything known of one run."""
    return connection.execute(_RUN_WHOLE, _of(scope, id=run_id)).first()


def open_runs(connection: Connection, scope: Scope, *, limit: int) -> list[str]:
    """The ids of runs that were at work when they were last looked at, the newest first."""
    return [row.id for row in connection.execute(_OPEN_RUNS, _of(scope, limit=limit))]


def without_details(connection: Connection, scope: Scope, since: float) -> Iterator[tuple[str, str]]:
    """Run and pipeline of successes from a moment on whose rows no list has told, the newest first."""
    found = connection.execute(_WITHOUT_DETAILS, _of(scope, since=since), execution_options=_PIECEMEAL)
    for row in found:
        yield row.id, row.pipeline_id


def last_runs(connection: Connection, scope: Scope, pipeline_id: str) -> LastRuns:
    """What one pipeline did last."""
    of = _of(scope, pipeline_id=pipeline_id)

    def last(status: Status, which: Select[Any] = _LAST_OF_STATUS) -> float | None:
        started: float | None = connection.execute(which, of | {"status_": status}).scalar()
        return started

    ended = [(at, status) for status in ENDED if (at := last(status)) is not None]
    at_work = [at for status in OPEN if (at := last(status, _FIRST_OF_STATUS)) is not None]
    return LastRuns(
        status=max(ended)[1] if ended else None,
        succeeded_at=next((at for at, status in ended if status == "succeeded"), None),
        open_since=min(at_work, default=None),
    )


def runs_since(connection: Connection, scope: Scope, since: float) -> Iterator[Ran]:
    """Every run from a moment on, the oldest first, in constant memory."""
    found = connection.execute(_SINCE, _of(scope, since=since), execution_options=_PIECEMEAL)
    for row in found.mappings():
        yield Ran(**row)


def runs_of_night(connection: Connection, scope: Scope, night: str) -> list[AnyRow]:
    """Every run that this night started."""
    return list(connection.execute(_NIGHT, _of(scope, night=night)))


# ------------------------------------------------------------ statements, built once


def _of(scope: Scope, **more: Any) -> dict[str, Any]:
    return {"account_": scope.account, "kind_": scope.kind} | {
        name if name.startswith("new_") else f"{name}_": value for name, value in more.items()
    }


def _within(table: Table) -> tuple[ColumnElement[bool], ...]:
    return (table.c.account == bindparam("account_"), table.c.kind == bindparam("kind_"))


def _upsert(
    table: Table, keep: Sequence[str] = (), only: Sequence[str] | None = None
) -> Mapping[bool, Insert]:
    """Insert or update; a column of `keep` loses no value to NULL, and columns beside `only` stay."""

    def built(into: Any) -> Insert:
        names = only if only is not None else [c.name for c in table.c if not c.primary_key]
        new = {
            name: func.coalesce(into.excluded[name], table.c[name]) if name in keep else into.excluded[name]
            for name in names
        }
        if "started_at" in new:  # 0: the list does not say, for example because it is queued
            said = func.nullif(into.excluded.started_at, 0.0)
            new["started_at"] = func.coalesce(said, table.c.started_at)
        return cast("Insert", into.on_conflict_do_update(index_elements=list(table.primary_key), set_=new))

    return {True: built(sqlite.insert(table)), False: built(postgresql.insert(table))}


_LISTED_OF_RUN: Final = (
    "pipeline_id",
    "status",
    "word",
    "trigger",
    "started_at",
    "ended_at",
    "seconds",
    "rows",
    "error",
    "digest",
)
_KEPT_OF_RUN: Final = ("trigger", "ended_at", "seconds", "rows", "error")
_CURSOR_UPSERT: Final = _upsert(CURSOR)
_PIPELINE_UPSERT: Final = _upsert(PIPELINE)
_RUN_UPSERT: Final = _upsert(RUN, keep=_KEPT_OF_RUN, only=_LISTED_OF_RUN)
_TRIGGERED_UPSERT: Final = _upsert(RUN, only=("night", "generation", "triggered_at"))

_PIPELINES: Final = select(PIPELINE.c.id, PIPELINE.c.digest, PIPELINE.c.gone_at).where(
    *_within(PIPELINE), PIPELINE.c.id.in_(bindparam("ids_", expanding=True))
)
_LISTED: Final = (
    select(PIPELINE).where(*_within(PIPELINE), PIPELINE.c.gone_at.is_(None)).order_by(PIPELINE.c.id)
)
_COUNT: Final = (
    select(PIPELINE.c.status, func.count())
    .where(*_within(PIPELINE), PIPELINE.c.gone_at.is_(None))
    .group_by(PIPELINE.c.status)
)
_GONE: Final = (
    update(PIPELINE)
    .where(*_within(PIPELINE), PIPELINE.c.id == bindparam("id_"), PIPELINE.c.gone_at.is_(None))
    .values(gone_at=bindparam("now_"))
)
_RUNS: Final = select(RUN.c.id, RUN.c.digest, RUN.c.status, RUN.c.triggered_at).where(
    *_within(RUN), RUN.c.id.in_(bindparam("ids_", expanding=True))
)
_RUN_WHOLE: Final = select(RUN).where(*_within(RUN), RUN.c.id == bindparam("id_"))
_OUTCOME: Final = (
    update(RUN)
    .where(*_within(RUN), RUN.c.id == bindparam("id_"))
    .values(
        status=bindparam("new_status"),
        word=bindparam("new_word"),
        **{
            name: func.coalesce(bindparam(f"new_{name}", type_=RUN.c[name].type), RUN.c[name])
            for name in ("started_at", "ended_at", "seconds", "rows", "error", "log_tail")
        },
    )
)
_OPEN_RUNS: Final = (
    select(RUN.c.id).where(*_within(RUN), _OPEN).order_by(RUN.c.started_at.desc()).limit(bindparam("limit_"))
)
_OF_STATUS: Final = select(RUN.c.started_at).where(
    *_within(RUN), RUN.c.pipeline_id == bindparam("pipeline_id_"), RUN.c.status == bindparam("status_")
)
_LAST_OF_STATUS: Final = _OF_STATUS.order_by(RUN.c.started_at.desc()).limit(1)
_FIRST_OF_STATUS: Final = _OF_STATUS.order_by(RUN.c.started_at).limit(1)
_SINCE: Final = (
    select(RUN.c.pipeline_id, RUN.c.status, RUN.c.started_at, RUN.c.seconds, RUN.c.rows, RUN.c.night)
    .where(*_within(RUN), RUN.c.started_at >= bindparam("since_"))
    .order_by(RUN.c.started_at)
)
_WITHOUT_DETAILS: Final = (
    select(RUN.c.id, RUN.c.pipeline_id)
    .where(*_within(RUN), RUN.c.started_at >= bindparam("since_"))
    .where(RUN.c.status == "succeeded", RUN.c.rows.is_(None), RUN.c.log_tail.is_(None))
    .order_by(RUN.c.started_at.desc())
)
_NIGHT: Final = select(RUN).where(*_within(RUN), RUN.c.night == bindparam("night_"), RUN.c.night.is_not(None))
