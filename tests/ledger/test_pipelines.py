"""Pipelines and their runs in the ledger: what is written, what is not, and how it is found again."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from ledger_steps import Steps
from sqlalchemy import Connection, event

from plait.ledger import pipelines as kept
from plait.ledger.database import Database
from plait.ledger.pipelines import PipelineRecord, RunRecord, Scope

SCOPE = Scope(account="toy http://here", kind="pipeline")
OTHER = replace(SCOPE, account="toy http://there")
RUN = RunRecord(id="r1", pipeline_id="p1", status="succeeded", word="success", started_at=100.0, seconds=5.0)


@pytest.fixture
def steps(ledger_url: str) -> Iterator[Steps]:
    """An empty ledger."""
    opened = Steps(ledger_url)
    yield opened
    opened.close()


def put(steps: Steps, *records: RunRecord, scope: Scope = SCOPE) -> kept.Put:
    """One page of a list of runs."""
    return steps.write(lambda connection: kept.put_runs(steps.db, connection, scope, records))


def row(steps: Steps, run_id: str = "r1") -> Any:
    """What is known of a run."""
    return steps.db.read_now(lambda connection: kept.run_of(connection, SCOPE, run_id))


def test_an_unchanged_page_writes_nothing(steps: Steps) -> None:
    """The same rows again are counted and not written; a changed one is written alone."""
    second = replace(RUN, id="r2")
    assert put(steps, RUN, second) == kept.Put(written=2, unchanged=0)
    assert put(steps, RUN, second) == kept.Put(written=0, unchanged=2)
    assert put(steps, RUN, replace(second, word="succeeded")) == kept.Put(written=1, unchanged=1)
    assert put(steps) == kept.Put(written=0, unchanged=0)


def test_accounts_do_not_mix(steps: Steps) -> None:
    """Two accounts with the same ids have a row each."""
    put(steps, RUN)
    assert put(steps, replace(RUN, status="failed"), scope=OTHER).written == 1
    assert row(steps).status == "succeeded"


def test_a_run_that_has_ended_is_not_put_back_to_work(steps: Steps) -> None:
    """A list that lags behind cannot undo what is known, whether by a list or by a look."""
    put(steps, RUN)
    late = replace(RUN, status="running", word="running", seconds=None)
    assert put(steps, late) == kept.Put(written=0, unchanged=1)
    assert row(steps).status == "succeeded"


def test_what_a_list_does_not_say_stays(steps: Steps) -> None:
    """Rows, error and start that a look has told are kept when a list shows the run without them."""
    put(steps, replace(RUN, status="running", word="running"))
    found = replace(RUN, rows=42, error="odd", ended_at=105.0)
    steps.write(lambda connection: kept.keep_outcome(connection, SCOPE, found, log_tail="the end"))
    put(steps, replace(RUN, started_at=None))
    now = row(steps)
    assert (now.rows, now.error, now.log_tail) == (42, "odd", "the end")
    assert (now.started_at, now.ended_at) == (100.0, 105.0)


def test_a_night_notes_a_run_once(steps: Steps) -> None:
    """When it was triggered is kept from the first time, also where a list has shown the run meanwhile."""

    def note(record: RunRecord) -> kept.Triggered:
        return steps.write(
            lambda connection: kept.keep_triggered(
                steps.db, connection, SCOPE, record, night="night x 2026-11-28", generation=1
            )
        )

    queued = replace(RUN, status="queued", word="queued", started_at=None)
    first = note(queued)
    assert first == kept.Triggered(at=steps.moment.now, new=True)
    steps.pass_time(60)
    put(steps, RUN)
    assert note(queued) == replace(first, new=False)
    found = row(steps)
    assert (found.status, found.generation, found.started_at) == ("succeeded", 1, 100.0)
    mine = steps.db.read_now(lambda c: kept.runs_of_night(c, SCOPE, "night x 2026-11-28"))
    assert [one.id for one in mine] == ["r1"]


def test_pipelines_come_go_and_come_back(steps: Steps) -> None:
    """A pipeline that is gone is not listed or counted, and is there again when the vendor lists it again."""
    first, second = (PipelineRecord(id=f"p{n}", name=f"name {n}", status="active") for n in (1, 2))

    def write(*records: PipelineRecord) -> int:
        return steps.write(lambda c: kept.put_pipelines(steps.db, c, SCOPE, records)).written

    def listed() -> list[PipelineRecord]:
        return steps.db.read_now(lambda c: list(kept.pipelines(c, SCOPE)))

    assert write(first, second) == 2
    assert steps.write(lambda c: kept.forget_pipelines(steps.db, c, SCOPE, ["p1"])) == 1
    assert listed() == [second]
    assert steps.db.read_now(lambda c: kept.count_pipelines(c, SCOPE)) == {"active": 1}
    assert write(second) == 0
    assert write(first) == 1
    assert listed() == [first, second]
    assert steps.db.read_now(lambda c: kept.unknown_pipelines(c, SCOPE, ["p1", "p9"])) == {"p9"}


def test_a_position_is_written_only_when_it_moves(steps: Steps) -> None:
    """The same position again writes no row."""

    def keep(position: Any) -> int:
        return steps.write(lambda c: kept.keep_position(steps.db, c, "a", "runs", position))

    assert [keep({"n": 1}), keep({"n": 1}), keep({"n": 2})] == [1, 0, 1]
    assert steps.db.read_now(lambda c: kept.position_of(c, "a", "runs")) == {"n": 2}


def test_the_last_runs_of_a_pipeline(steps: Steps) -> None:
    """The newest end counts, not the newest row; beside it the newest success and the oldest at work."""
    made = {"succeeded": 10.0, "failed": 30.0, "cancelled": 20.0, "running": 40.0, "queued": 50.0}
    put(steps, *(replace(RUN, id=status, status=status, started_at=at) for status, at in made.items()))
    put(steps, RunRecord(id="z", pipeline_id="p2", status="succeeded", word="", started_at=99.0))
    last = steps.db.read_now(lambda c: kept.last_runs(c, SCOPE, "p1"))
    assert last == kept.LastRuns(status="failed", succeeded_at=10.0, open_since=40.0)
    never = steps.db.read_now(lambda c: kept.last_runs(c, SCOPE, "p9"))
    assert never == kept.LastRuns(status=None, succeeded_at=None, open_since=None)


Call = Callable[[Database, Connection], Any]
CALLS: dict[str, Call] = {
    "position_of": lambda _, c: kept.position_of(c, "a", "runs"),
    "keep_position": lambda db, c: kept.keep_position(db, c, "a", "runs", {}),
    "put_pipelines": lambda db, c: kept.put_pipelines(db, c, SCOPE, [PipelineRecord(id="n", name="n")]),
    "forget_pipelines": lambda db, c: kept.forget_pipelines(db, c, SCOPE, ["n"]),
    "count_pipelines": lambda _, c: kept.count_pipelines(c, SCOPE),
    "pipelines": lambda _, c: list(kept.pipelines(c, SCOPE)),
    "unknown_pipelines": lambda _, c: kept.unknown_pipelines(c, SCOPE, ["p1"]),
    "put_runs": lambda db, c: kept.put_runs(db, c, SCOPE, [RUN]),
    "keep_triggered": lambda db, c: kept.keep_triggered(db, c, SCOPE, RUN, night="n", generation=0),
    "keep_outcome": lambda _, c: kept.keep_outcome(c, SCOPE, RUN),
    "run_of": lambda _, c: kept.run_of(c, SCOPE, "r1"),
    "open_runs": lambda _, c: kept.open_runs(c, SCOPE, limit=5),
    "last_runs": lambda _, c: kept.last_runs(c, SCOPE, "p1"),
    "without_details": lambda _, c: list(kept.without_details(c, SCOPE, 5e6)),
    "runs_since": lambda _, c: list(kept.runs_since(c, SCOPE, 5e6)),
    "runs_of_night": lambda _, c: kept.runs_of_night(c, SCOPE, "n"),
}
SCANS = re.compile(
    r"^SCAN (?:pipeline|pipeline_run|sync_cursor)\b|Seq Scan on (?:pipeline|pipeline_run|sync_cursor)\b"
    r"|pipeline_run \(account=\? AND kind=\?\)$"  # all runs there are
)


def test_every_query_finds_its_rows_by_an_index(steps: Steps) -> None:
    """No function of the module reads all runs of an account, and none is forgotten here."""
    public = {
        name
        for name, found in vars(kept).items()
        if inspect.isfunction(found) and not name.startswith("_") and found.__module__ == kept.__name__
    }
    assert public == set(CALLS)
    for page in range(40):
        made = ((f"p{n}", float(page * 100 + n)) for n in range(100))
        put(steps, *(replace(RUN, id=f"{of}-{at}", pipeline_id=of, started_at=at) for of, at in made))
    asked: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, _ctx: Any, _many: bool) -> None:
        asked.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    slow = []
    with steps.db._engine.connect() as connection, connection.begin() as transaction:
        if not steps.db.is_sqlite:  # small tables are read whole, unless there is no other way
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for name, call in CALLS.items():
            asked.clear()
            event.listen(connection, "before_cursor_execute", listen)
            call(steps.db, connection)
            event.remove(connection, "before_cursor_execute", listen)
            assert asked, name
            slow += [f"{name}: {line}" for line in plans(steps, connection, asked) if SCANS.search(line)]
        transaction.rollback()
    assert not slow, "\n".join(slow)


def plans(steps: Steps, connection: Connection, asked: list[tuple[str, Any]]) -> list[str]:
    """How the database would find the rows of these statements."""
    word = "EXPLAIN QUERY PLAN " if steps.db.is_sqlite else "EXPLAIN "
    lines = []
    for statement, parameters in asked:
        if not statement.startswith(("SELECT (julianday", "SELECT extract(")):
            lines += connection.exec_driver_sql(word + statement, parameters).all()
    return [str(line[-1]).strip(" ->") for line in lines]
