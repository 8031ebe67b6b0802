"""Questions to people in the ledger: asked once, decided once, nothing lost, and found by indexes."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ledger_steps import Steps
from sqlalchemy import event, insert, text

from plait.http.errors import InvalidInput
from plait.ledger import review_views as views
from plait.ledger.database import Database
from plait.ledger.store import reviews as store
from plait.ledger.store.reviews import ANSWER, MESSAGE, REVIEW
from plait.ledger.tables import AnswerStanding, ReviewState, Through

HERE = store.Place(account="http://placet", channel_id="c1", lifetime=100)
THERE = store.Place(account="http://placet", channel_id="c2", lifetime=100)
YES, NO = {"decision": "approve"}, {"decision": "reject"}
MANY = 10_000


@pytest.fixture
def steps(ledger_url: str) -> Iterator[Steps]:
    """An empty ledger whose clock stands still until it is moved."""
    opened = Steps(ledger_url)
    yield opened
    opened.close()


def question(name: str = "r1", **more: Any) -> store.Question:
    """A question that waits 100 seconds."""
    given = {
        "env": "dev",
        "run_key": "run",
        "subject": {"system": "pletor", "run_id": name},
        "title": "Approve?",
        "question": {"prompt": "?"},
        "digest": "d",
        "expires_in": 100.0,
        "on_expiry": "fail",
        "escalate_to": None,
    }
    return store.Question(id=name, **given | more)


def said(nonce: str, what: Any = None, through: Through = Through.PLACET, **more: Any) -> store.Answered:
    """An answer."""
    return store.Answered(nonce=nonce, through=through, by="Ada", said=what, **more)


def asked(steps: Steps, name: str = "r1", **more: Any) -> str:
    """A question whose first message is posted."""
    steps.run(store.ask, question(name, **more), HERE)
    steps.run(store.posted, name, 0, message_id=f"m-{name}", shown="s")
    return name


def view(steps: Steps, name: str = "r1") -> views.ReviewView:
    """The review as it stands."""
    return steps.db.read_now(lambda connection: views.show_review(connection, steps.moment(), name))


def test_a_question_is_asked_once(steps: Steps):
    """Asking again keeps the first wording, the first message, and the time that began with it."""
    asked(steps)
    steps.pass_time(40)
    row = steps.run(store.ask, question(title="Other words?"), THERE)
    steps.run(store.posted, "r1", 0, message_id="m2", shown="t")
    seen = view(steps)
    assert "Approve?" == row.title
    assert [("c1", "m-r1")] == [(one.channel_id, one.message_id) for one in seen.messages]
    assert (ReviewState.WAITING, 60.0) == (seen.state, seen.left)


def test_the_first_answer_that_decides_is_the_decision(steps: Steps):
    """Before it: unusable ones. After it: agreed or conflicting. All are kept, each once."""
    asked(steps)
    standings = [
        steps.run(store.answer, "r1", given)
        for given in (
            said("dismissed", why="it was dismissed"),
            said("first", YES),
            said("first", YES),
            said("same", YES, Through.PREFECT),
            said("other", NO, Through.VENDOR),
        )
    ]
    assert standings == ["unusable", "decided", "decided", "agreed", "conflicting"]
    seen = view(steps)
    assert (ReviewState.DECIDED, YES, Through.PLACET) == (seen.state, seen.decision, seen.decided_through)
    kept = sorted(one.standing for one in seen.answers)
    assert kept == ["agreed", "conflicting", "decided", "unusable"]


def test_two_decisions_at_the_same_moment(ledger_url: str):
    """Eight writers with two opinions, each on its own connection: one decides, the others are kept."""
    opened = Steps(ledger_url)
    try:
        asked(opened)

        def give(n: int) -> AnswerStanding:
            db = Database(ledger_url)
            try:
                given = said(f"a{n}", YES if n % 2 else NO)
                return db.write_now(lambda c: store.answer(db, c, "r1", given), commit="record")
            finally:
                db.stop()

        with ThreadPoolExecutor(8) as pool:
            standings = list(pool.map(give, range(8)))
        seen = view(opened)
        assert standings.count(AnswerStanding.DECIDED) == 1
        assert standings.count(AnswerStanding.AGREED) == 3
        assert standings.count(AnswerStanding.CONFLICTING) == 4
        winner = standings.index(AnswerStanding.DECIDED)
        assert (YES if winner % 2 else NO) == seen.decision
        assert 8 == len(seen.answers)
    finally:
        opened.close()


def test_an_answer_after_the_expiry_is_late(steps: Steps):
    """What the rule decided stands; the person's answer is kept as evidence."""
    asked(steps)
    steps.run(store.answer, "r1", said("expiry/0", {"decision": "fail"}, Through.EXPIRY))
    assert "late" == steps.run(store.answer, "r1", said("a", YES))
    assert {"decision": "fail"} == view(steps).decision


def test_a_question_is_put_again_a_few_times(steps: Steps):
    """Two who notice the same failed message add one; the limit counts all messages; time goes on."""
    asked(steps)
    steps.pass_time(30)
    again = {"after": 0, "place": HERE, "reason": "deleted", "limit": 3}
    assert steps.run(store.ask_again, "r1", **again)
    assert steps.run(store.ask_again, "r1", **again)
    assert 2 == len(view(steps).messages)
    steps.run(store.posted, "r1", 1, message_id="m2", shown="s")
    assert 70.0 == view(steps).left
    assert steps.run(store.ask_again, "r1", **again | {"after": 1})
    assert not steps.run(store.ask_again, "r1", **again | {"after": 2})
    seen = view(steps)
    assert (3, "not put again: deleted") == (len(seen.messages), seen.note)
    steps.run(store.answer, "r1", said("a", YES))
    assert steps.run(store.ask_again, "r1", **again | {"after": 2, "limit": 9})
    assert 3 == len(view(steps).messages)


@pytest.mark.parametrize(("at", "left"), [(10.0, 80.0), (-500.0, 70.0), (500.0, 100.0), (None, 100.0)])
def test_the_time_begins_when_the_message_was_posted(steps: Steps, at: float | None, left: float):
    """Recorded half a minute after it was asked: not later than now, not before the question was there."""
    steps.run(store.ask, question(), HERE)
    began = steps.moment()
    steps.pass_time(30)
    when = None if at is None else began + at
    steps.run(store.posted, "r1", 0, message_id="m1", shown="s", at=when)
    assert left == view(steps).left


def test_escalation_gives_new_time_once(steps: Steps):
    """Its time begins with the escalation, posted or not; a second escalation changes nothing."""
    asked(steps)
    steps.pass_time(100)
    for _ in range(2):
        steps.run(store.escalate, "r1", place=THERE, reason="nobody")
    assert (1, 100.0) == (view(steps).level, view(steps).left)
    assert [] == steps.db.read_now(lambda c: views.due_reviews(c, steps.moment()))
    steps.pass_time(30)
    steps.run(store.escalate, "r1", place=THERE, reason="nobody")
    steps.run(store.posted, "r1", 1, message_id="m2", shown="s")
    assert ["c1", "c2"] == [one.channel_id for one in view(steps).messages]
    assert 70.0 == view(steps).left
    steps.pass_time(70)
    assert ["r1"] == steps.db.read_now(lambda c: views.due_reviews(c, steps.moment()))


def test_a_decision_is_used_once(steps: Steps):
    """The second use says so, and the first one's outcome stays."""
    asked(steps)
    assert not steps.run(store.use, "r1", outcome="too early")
    steps.run(store.answer, "r1", said("a", YES))
    assert steps.run(store.use, "r1", outcome="done")
    assert not steps.run(store.use, "r1", outcome="again")
    assert (ReviewState.USED, "done") == (view(steps).state, view(steps).outcome)
    assert not steps.run(store.withdraw, "r1", reason="x", outcome="withdrawn")


def test_a_suspended_run_is_resumed_for_any_of_its_questions(steps: Steps):
    """Decided before it suspended or after: wanted at once, each run one time, until it has acted."""
    for name in ("r1", "r2", "r3"):
        asked(steps, name)
    steps.run(store.answer, "r1", said("a", YES))
    steps.run(store.suspend, ["r1", "r2"], "flow-1")
    steps.run(store.suspend, ["r3"], "flow-2")
    wanted = lambda: [one.flow_run_id for one in steps.db.read_now(due)]  # noqa: E731 - asked again and again
    due = lambda c: views.runs_to_resume(c, steps.moment())  # noqa: E731 - the same
    assert ["flow-1"] == wanted()
    steps.run(store.answer, "r2", said("b", NO))
    assert ["flow-1"] == wanted()
    steps.write(lambda c: store.resume_later(c, "flow-1", at=steps.moment() + 60, accepted_at=1.0, note=None))
    assert [] == wanted()
    steps.pass_time(60)
    assert ["flow-1"] == wanted()
    for name in ("r1", "r2"):
        steps.run(store.use, name, outcome="done")
    assert [] == wanted()
    steps.run(store.withdraw, "r3", reason="no longer needed", outcome="withdrawn")
    assert ["flow-2"] == wanted()


def test_a_run_is_not_resumed_for_what_it_has_seen(steps: Steps):
    """Its own question that it found changed, and one that was withdrawn before it suspended again."""
    for name in ("r1", "r2", "r3"):
        asked(steps, name)
    steps.run(store.suspend, ["r1", "r2"], "flow-1")
    steps.run(store.withdraw, "r1", reason="other content", outcome="changed")
    assert view(steps, "r1").resume_at is None
    steps.run(store.withdraw, "r2", reason="no longer needed", outcome="withdrawn")
    assert view(steps, "r2").resume_at is not None
    steps.run(store.suspend, ["r3"], "flow-1")
    assert [] == steps.db.read_now(lambda c: views.runs_to_resume(c, steps.moment()))
    steps.run(store.suspend, ["r2"], "flow-1")  # withdrawn while it was about to suspend for it
    assert 1 == len(steps.db.read_now(lambda c: views.runs_to_resume(c, steps.moment())))


def test_reminders_are_counted_and_need_somebody(steps: Steps):
    """Who decided is not reminded; an unknown id is named."""
    asked(steps)
    assert [1, 2] == [steps.write(lambda c: store.remind(c, "r1")) for _ in range(2)]
    steps.run(store.answer, "r1", said("a", YES))
    with pytest.raises(InvalidInput, match="nobody to remind"):
        steps.write(lambda c: store.remind(c, "r1"))
    with pytest.raises(InvalidInput, match="no review 'x'"):
        view(steps, "x")


def fill(steps: Steps) -> None:
    """As many that wait as that are done, each with a message and an answer."""
    rows, messages, answers = [], [], []
    for n in range(MANY):
        waits = n % 2 == 0
        state = ReviewState.WAITING if waits else ReviewState.USED
        rows.append(
            {
                "id": f"r{n:05}",
                "env": "dev",
                "run_key": f"run-{n // 10}",
                "subject": {"run_id": n},
                "title": "?",
                "question": {"text": "x" * 300},
                "digest": "d",
                "state": state,
                "expires_in": 100.0,
                "expires_at": 1000.0 + n,
                "on_expiry": "fail",
                "level": 0,
                "flow_run_id": f"flow-{n}",
                "resume_at": 1.0 if n % 100 == 1 else None,
                "reminders": 0,
                "created_at": float(n),
            }
        )
        place = {"account": "http://placet", "channel_id": f"c{n % 3}", "lifetime": 100, "posted_at": 1.0}
        closed = None if waits else 2.0
        messages.append({"review_id": f"r{n:05}", "n": 0, "message_id": f"m{n}", "closed_at": closed} | place)
        answers.append(
            {
                "review_id": f"r{n:05}",
                "nonce": "a",
                "through": "placet",
                "standing": "unusable",
                "by": "x",
                "seen_at": 1.0,
            }
        )
    for table, values in ((REVIEW, rows), (MESSAGE, messages), (ANSWER, answers)):
        steps.write(lambda connection, t=table, v=values: connection.execute(insert(t), v))
    if not steps.db.is_sqlite:
        with steps.db._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def calls(db: Database) -> dict[str, Callable[[Any], Any]]:
    """One call of each step and each view that runs while reviews wait."""
    again = {"after": 0, "place": HERE, "reason": "x", "limit": 4}
    return {
        "ask": lambda c: store.ask(db, c, question("new"), HERE),
        "posted": lambda c: store.posted(db, c, "new", 0, message_id="m", shown="s"),
        "answer": lambda c: store.answer(db, c, "new", said("n", YES)),
        "ask_again": lambda c: store.ask_again(db, c, "r00002", **again),
        "escalate": lambda c: store.escalate(db, c, "r00002", place=THERE, reason="x"),
        "close_message": lambda c: store.close_message(db, c, "r00002", 0, by="answered"),
        "use": lambda c: store.use(db, c, "new", outcome="x"),
        "withdraw": lambda c: store.withdraw(db, c, "r00004", reason="x", outcome="x"),
        "suspend": lambda c: store.suspend(db, c, ["r00006"], "flow"),
        "resume_later": lambda c: store.resume_later(c, "flow-101", at=1.0, accepted_at=1.0, note=None),
        "missing": lambda c: store.missing(db, c, "r00006"),
        "listed": lambda c: store.listed(c, "r00006"),
        "remind": lambda c: store.remind(c, "r00008"),
        "explain": lambda c: store.explain(c, "r00008", "x"),
        "find_reviews": lambda c: views.find_reviews(c, 1.0, ["r00001", "r00002"]),
        "list_reviews": lambda c: [
            views.list_reviews(c, 1.0),
            views.list_reviews(c, 1.0, which="all"),
            views.list_reviews(c, 1.0, which="all", run_key="run-5"),
        ],
        "due_reviews": lambda c: [views.due_reviews(c, 1010.0), views.due_reviews(c, 1010.0, ["r00002"])],
        "open_messages": lambda c: views.open_messages(c, 1.0, "http://placet", ["r00002"]),
        "runs_to_resume": lambda c: views.runs_to_resume(c, 1e9),
        "count_open_reviews": lambda c: views.count_open_reviews(c, 1.0),
        "acknowledged": lambda c: store.acknowledged(db, c, "r00001", 0),
        "unacknowledged_messages": lambda c: views.unacknowledged_messages(c, 1.0, "http://placet"),
        "count_overdue_reviews": lambda c: views.count_overdue_reviews(c, 1010.0),
        "suspended_reviews": lambda c: views.suspended_reviews(c, 1.0),
    }


def test_no_question_reads_every_review(steps: Steps):
    """With 10,000 reviews each step and view finds its rows by an index; all that waits is 5,000 of them."""
    fill(steps)
    asked_of: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, _ctx: Any, _many: bool) -> None:
        asked_of.append((statement, parameters))

    slow = []
    with steps.db._engine.connect() as connection, connection.begin() as transaction:
        found = views.open_messages(connection, 1.0, "http://placet")
        assert MANY // 2 == len(views.open_subjects(connection, 1.0)) == sum(map(len, found.values()))
        for name, call in calls(steps.db).items():
            asked_of.clear()
            event.listen(connection, "before_cursor_execute", listen)
            try:
                call(connection)
            finally:
                event.remove(connection, "before_cursor_execute", listen)
            assert asked_of, name
            word = "EXPLAIN QUERY PLAN " if steps.db.is_sqlite else "EXPLAIN "
            for statement, parameters in asked_of:
                rows = connection.exec_driver_sql(word + statement, parameters).all()
                plan = [str(row[-1]).strip(" ->") for row in rows]
                slow += [f"{name}: {line}\n{statement}" for line in plan if SCAN.search(line)]
        transaction.rollback()
    assert not slow, "\n".join(slow)


SCAN = re.compile(r"^SCAN review\w*(?!.* USING (?:COVERING )?INDEX)|Seq Scan on review")
