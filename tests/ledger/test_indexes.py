"""Every query of the ledger finds its rows by an index, however many there are.

What is explained is what was really asked: each public step and view is called once on a ledger of some
thousands of effects, and each statement it sent is explained with its own parameters. SQLite is not
analysed first, because nobody analyses it in production either.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ledger_steps import LEASE, PLAIN, Steps, make_intent
from sqlalchemy import event, insert, text

from plait.ledger import PermitRefused, store, views
from plait.ledger.store.rows import ATTEMPT, EFFECT, PROCESS, lock
from plait.ledger.tables import AttemptOutcome, State

MANY = 4000
A = make_intent("a", unit="u")
ID = A.key.external_id
Asked = list[tuple[str, Any]]


@pytest.fixture
def steps(ledger_url: str) -> Iterator[Steps]:
    """An empty ledger."""
    opened = Steps(ledger_url)
    yield opened
    opened.close()


def fill(steps: Steps) -> None:
    """Mostly done, as a ledger is; a few open, unknown, refused, incidents, sweeps, dead processes."""
    rare = {3: State.INTENDED, 4: State.SENT, 5: State.UNKNOWN, 6: State.REJECTED}
    effects, attempts, processes = [], [], []
    for n in range(MANY):
        state = rare.get(n % 100, State.DONE)
        effects.append(
            {
                "external_id": f"dev-x-{n:06}",
                "intent": f"intent-{n}",
                "generation": 0,
                "env": "dev",
                "system": "toy",
                "operation": "make_findable",
                "run_key": f"run-{n // 10}",
                "step": "",
                "target": "things",
                "account": "me",
                "by_content": False,
                "inputs": {"name": "x" * 200},
                "fingerprint": "f",
                "state": state,
                "token": 1,
                "attempts": 1,
                "vendor_id": f"v{n}" if state is State.DONE else None,
                "incident": {"note": "x"} if n % 500 == 7 else None,
                "created_at": float(n),
                "settled_at": float(n) if state in {State.DONE, State.REJECTED} else None,
                "compacted_at": 1.0 if n < MANY - 200 else None,
                "holder": f"h{n % 50}" if state is State.SENT else None,
                "lease_until": 0.0 if state is State.SENT else None,
            }
        )
        open_one = state in {State.SENT, State.UNKNOWN}
        attempts.append(
            {
                "external_id": f"dev-x-{n:06}",
                "n": 1,
                "nonce": f"n{n}",
                "holder": f"h{n % 50}",
                "sent_at": 0.0,
                "send_by": 5.0,
                "outcome": AttemptOutcome.OPEN if open_one else AttemptOutcome.LANDED,
                "answered": False,
                "wrote_late": False,
                "next_sweep": 1.0 if n % 500 == 9 else None,
                "sweeps": 0,
            }
        )
    for n in range(300):
        who = ("host", "hostname", "boot_id", "pid_namespace", "started")
        processes.append({"holder": f"h{n}", "pid": n, "ended_at": 1.0} | dict.fromkeys(who, "x"))
    for table, rows in ((EFFECT, effects), (ATTEMPT, attempts), (PROCESS, processes)):
        steps.write(lambda connection, t=table, r=rows: connection.execute(insert(t), r))
    if not steps.db.is_sqlite:
        with steps.db._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


STEP = Callable[[Steps, Any], Any]


def calls(steps: Steps) -> dict[str, STEP]:
    """One call of each public step and view, in an order in which each has something to do."""
    db = steps.db
    later = make_intent("a", unit="u", generation=1)
    open_claim: list[store.Claim] = []

    def claim(connection: Any) -> None:
        got = store.claim(db, connection, A, me="me", nonce="c", lease=LEASE, dead=frozenset({"h1"}))
        open_claim.append(got)

    def permit(connection: Any) -> None:
        store.permit(db, connection, open_claim[0], me="me", seen=0, nonce="n", window=5.0, keyed=False)

    def late_verdict(connection: Any) -> None:
        given = {"seen": 1, "looked_at": 1e9, "operation": A.operation, "timing": PLAIN}
        store.quiet(db, connection, ID, "n")
        store.absent(db, connection, open_claim[0], **given)

    def rerun(connection: Any) -> None:
        store.claim(db, connection, later, me="me", nonce="d", lease=LEASE)

    def every_list(connection: Any) -> None:
        for which in ("open", "unknown", "incident", "done", "rejected", "all"):
            views.list_effects(connection, 1e9, which=which)
            views.list_effects(connection, 1e9, which=which, run_key="run-5")

    def due(connection: Any) -> None:
        for look in (views.due_for_look, views.due_for_sweep):
            look(connection, 1e9, limit=10)
            look(connection, 1e9, limit=10, after=(50.0, "dev-x-000050"))

    landed = {"result": {}, "vendor_id": "v", "visibility": 0.0}
    return {
        "claim": claim,
        "reclaim": lambda c: store.reclaim(
            db, c, "dev-x-000005", me="me", nonce="r", lease=LEASE, dead=frozenset({"h5"})
        ),
        "take_unit": lambda c: store.take_unit(db, c, open_claim[0], me="me", visibility=0.0),
        "store_baseline": lambda c: store.store_baseline(db, c, open_claim[0], me="me", baseline=[]),
        "permit": permit,
        "wrote_late": lambda c: store.wrote_late(db, c, ID, "n", sweep_in=1.0),
        "orphans": lambda c: store.orphans(c, "h4"),
        "prove": lambda c: store.prove(db, c, ID, frozenset({"h1", "h2"})),
        "renew": lambda c: store.renew(db, c, [(ID, 1), ("dev-x-000004", 1)], me="me", lease=LEASE),
        "first_sent_at": lambda c: store.first_sent_at(c, ID),
        "effect_of": lambda c: store.effect_of(c, ID),
        "attempts_of": lambda c: store.attempts_of(c, ID),
        "doubt": lambda c: store.doubt(c, ID, token=1, reason="?"),
        "taken": lambda c: store.taken(c, ID, A.operation, ["v1", "v2", "v3"]),
        "several": lambda c: store.several(db, c, open_claim[0], vendor_ids=["v1"], note="two"),
        "quiet": late_verdict,
        "absent": late_verdict,
        "swept": lambda c: store.swept(c, ID, looked_at=1e9, due=None, looked=True),
        "refuse": lambda c: store.refuse(db, c, ID, "n", answer={}),
        "not_sent": lambda c: store.not_sent(db, c, ID, "n"),
        "reject": lambda c: store.reject(db, c, ID, "n", token=9, answer={}, reason="no"),
        "give_up": lambda c: store.give_up(db, c, open_claim[0], reason="no"),
        "release": lambda c: store.release(db, c, ID, me="me", token=open_claim[0].token),
        "found": lambda c: store.found(db, c, open_claim[0], seen=1, **landed),
        "land": lambda c: store.land(db, c, ID, "n", **landed),
        "rerun": rerun,
        "resolve": lambda c: store.resolve(
            db, c, "dev-x-000105", verdict="landed", by="ann", note="", vendor_id="v9"
        ),
        "second_match": lambda c: store.second_match(
            db, c, "dev-x-000042", vendor_ids=["v42", "v43"], note=""
        ),
        "compact": lambda c: store.compact(db, c, older_than=1.0),
        "processes": lambda c: store.processes(c, ["h1", "h2"]),
        "register": lambda c: store.register(
            c,
            {"holder": "new"}
            | dict.fromkeys(("host", "hostname", "boot_id", "pid_namespace"), "x")
            | {"pid": 1, "started": "x", "ended_at": None},
        ),
        "unended": store.unended,
        "bury": lambda c: store.bury(db, c, ["h3"]),
        "deregister": lambda c: store.deregister(db, c, "h7"),
        "lock": lambda c: lock(c, ID),
        "list_effects": every_list,
        "show_effect": lambda c: views.show_effect(c, 1e9, "dev-x-000001"),
        "count_effects": views.count_effects,
        "count_unclear": lambda c: views.count_unclear(c, 1e9),
        "due_for_look": due,
        "due_for_sweep": due,
    }


def is_step(module: Any, name: str) -> bool:
    """Whether this is a function that asks the database."""
    found = getattr(module, name)
    return inspect.isfunction(found) and "connection" in inspect.signature(found).parameters


def test_every_step_and_view_is_among_the_explained(steps: Steps):
    """A new query cannot be forgotten here: its function must be called below."""
    public = {name for name in store.__all__ if is_step(store, name)}
    public |= {
        name
        for name, found in vars(views).items()
        if not name.startswith("_")
        and getattr(found, "__module__", "") == views.__name__
        and is_step(views, name)
    }
    assert public <= set(calls(steps))


def test_no_query_reads_a_whole_table(steps: Steps):
    """Neither effects nor attempts are scanned, and nothing is left unexplained."""
    fill(steps)
    asked: Asked = []
    slow: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, _ctx: Any, _many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            asked.append((statement, parameters))

    with steps.db._engine.connect() as connection, connection.begin() as transaction:
        for name, call in calls(steps).items():
            asked.clear()
            event.listen(connection, "before_cursor_execute", listen)
            try:
                call(connection)
            except PermitRefused:
                pytest.fail(f"{name} had nothing to do")
            finally:
                event.remove(connection, "before_cursor_execute", listen)
            assert asked, f"{name} asked nothing"
            for statement, parameters in asked:
                plan = explain(steps, connection, statement, parameters)
                slow += [f"{name}: {line}\n{statement}" for line in scans(plan, statement)]
        transaction.rollback()
    assert not slow, "\n".join(slow)


def explain(steps: Steps, connection: Any, statement: str, parameters: Any) -> list[str]:
    """The plan, one step a line."""
    word = "EXPLAIN QUERY PLAN " if steps.db.is_sqlite else "EXPLAIN "
    if statement.startswith(("SELECT (julianday", "SELECT extract(")):
        return []
    rows = connection.exec_driver_sql(word + statement, parameters).all()
    return [str(row[-1]) for row in rows]


SCANS = re.compile(
    r"^SCAN (?:effect|attempt)\b(?!.* USING (?:COVERING )?INDEX)|Seq Scan on (?:effect|attempt)\b"
    r"|effect_vendor \(system=\? AND operation=\?\)$"  # all effects of one operation
)
EVER_SENT = re.compile(r"attempt_holder \(holder=\?\)$")


def scans(plan: list[str], statement: str) -> list[str]:
    """The lines that read a whole table of effects or attempts, or all that one process ever sent."""
    lines = [line.strip(" ->") for line in plan]
    much = [] if "EXISTS" in statement else [line for line in lines if EVER_SENT.search(line)]
    return much + [line for line in lines if SCANS.search(line)]
