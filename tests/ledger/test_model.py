"""The store's steps against a small model: two runners, a vendor of any kind, and every accident.

The model knows the truth (what the vendor accepted, for whom); the engine only knows its tables.
Each example is a history of steps on a virtual clock; commits whose answer is lost are repeated.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ledger_steps import make_intent
from sqlmodel import SQLModel
from toy_vendor import operation

from plait.http.operation import Effect
from plait.ledger import EffectInProgress, ExternalIdReused, GenerationConflict, PermitRefused, Timing, store
from plait.ledger.database import Database
from plait.ledger.store.rows import EFFECT
from plait.ledger.tables import AttemptOutcome, State

LEASE, WINDOW, D, L = 6, 1, 2, 2
WHO = WHICH = st.integers(0, 1)
TIMING = Timing(lease=LEASE, step=0.0, landing_cap=D, visibility_cap=L)


@dataclass
class Entry:
    """Something the vendor made, for which external id, and from when on a look shows it."""

    id: str
    owner: str
    place: str
    shown: float


@dataclass
class Request:
    """One permit in a runner's hand. `lands` is None once the vendor will do nothing."""

    nonce: str
    until: float
    checked: bool = False
    written: bool = False
    lands: float | None = None
    lag: float = 0
    refused: bool = False
    entry: Entry | None = None
    sender: "Runner | None" = None
    owner: str = ""
    place: str = ""


@dataclass
class Job:
    """A runner's work on one effect."""

    claim: store.Claim
    seen: int
    request: Request | None = None
    prepared: bool = False
    looked: tuple[float, list[Entry]] | None = None


@dataclass
class Runner:
    """One process. A restart is another holder."""

    holder: str
    jobs: dict[int, Job] = field(default_factory=dict)


class Histories(RuleBasedStateMachine):
    """Two runners, two effects; in the `unit` kind a look cannot tell the effects apart."""

    @initialize(kind=st.sampled_from(["blind", "findable", "keyed", "unit"]))
    def open_ledger(self, kind: str) -> None:
        self.now = 1000.0
        self.db = Database(":memory:", now=lambda: self.now)
        self.connection = self.db._engine.connect()
        with self.connection.begin():
            SQLModel.metadata.create_all(self.connection)
        self.unit = "u" if kind == "unit" else None
        self.effects = int(kind == "unit")  # one effect is enough where there is no unit
        self.effect = Effect.FINDABLE if kind == "unit" else Effect(kind)
        self.operation = operation(self.effect, send_window=float(WINDOW))
        self.runners = [Runner("A"), Runner("B")]
        self.dead: set[str] = set()
        self.entries: list[Entry] = []
        self.travelling: list[Request] = []
        self.generation = [0, 0]
        self.names = 0
        self.tokens: dict[str, int] = {}
        self.wants_more = True

    # ------------------------------------------------------------ the ledger

    def do(self, step: Any, *arguments: Any, twice: bool = False, **options: Any) -> Any:
        """One transaction; `twice` when its answer was lost and the job repeated."""
        answer = None
        for _ in range(1 + twice):
            with self.connection.begin():
                answer = step(self.db, self.connection, *arguments, **options)
        return answer

    def intent(self, index: int, *, older: int = 0) -> store.Intent:
        name = "same" if self.unit else f"e{index}"
        generation = self.generation[index] - older
        return make_intent(
            name, of=self.operation, run_key=f"r{index}", unit=self.unit, generation=generation
        )

    def row(self, index: int) -> Any:
        with self.connection.begin():
            return store.effect_of(self.connection, self.intent(index).key.external_id)

    def attempts(self, index: int) -> list[Any]:
        with self.connection.begin():
            return store.attempts_of(self.connection, self.intent(index).key.external_id)

    def new_name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    # ------------------------------------------------------------ accidents

    @rule(ticks=st.integers(1, 4))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1
            self.let_land()

    @rule(who=WHO)
    def crash(self, who: int) -> None:
        """SIGKILL: proof of death from now on; what was written may still land."""
        self.dead.add(self.runners[who].holder)
        self.runners[who] = Runner(self.new_name())

    @rule(who=WHO, index=WHICH, fates=st.lists(st.integers(1, 9), min_size=1, max_size=10))
    def stand_still(self, who: int, index: int, fates: list[int]) -> None:
        """SIGSTOP: one runner oversleeps its lease, wherever it stands; the other works meanwhile."""
        self.time_passes(LEASE)
        for fate in fates:
            self.one_step(1 - who, index, twice=False, fate=fate)

    @rule(who=WHO)
    def renew(self, who: int) -> None:
        runner = self.runners[who]
        held = [(job.claim.external_id, job.claim.token) for job in runner.jobs.values()]
        if held:
            self.do(store.renew, held, me=runner.holder, lease=LEASE)

    @rule(index=WHICH)
    def rerun(self, index: int) -> None:
        """Somebody asks for a new generation, whether or not the time has come."""
        self.ask_for_a_rerun(index * self.effects)

    def ask_for_a_rerun(self, index: int) -> None:
        """A new generation only after the one before is settled, with nothing of it on its way."""
        if any(index in runner.jobs for runner in self.runners):
            return
        before = self.intent(index).key.external_id
        settled = index in self.known() and self.row(index).state in {State.DONE, State.REJECTED}
        self.generation[index] += 1
        try:
            self.do(store.claim, self.intent(index), me="C", nonce=self.new_name(), lease=0)
        except GenerationConflict:
            self.generation[index] -= 1
            return
        assert settled
        on_its_way = [request for request in self.travelling if request.owner == before]
        assert self.effect is Effect.KEYED or not on_its_way  # under its old key it can make nothing new

    @rule(index=WHICH)
    def ask_for_an_older_one(self, index: int) -> None:
        """A run that knows nothing of the newer generation comes back: it is given its record, no claim."""
        index *= self.effects
        if self.generation[index] > 0:
            older = self.intent(index, older=1)
            with suppress(GenerationConflict):
                answer = self.do(store.claim, older, me="C", nonce=self.new_name(), lease=0)
                assert isinstance(answer, store.Settled)

    # ------------------------------------------------------------ work

    @rule(who=WHO, index=WHICH, twice=st.booleans(), fates=st.lists(st.integers(0, 12), max_size=20))
    def work(self, who: int, index: int, *, twice: bool, fates: list[int]) -> None:
        """The next things this runner would do for this effect; some of them take their time."""
        for fate in fates:
            if fate > 9:
                self.time_passes(fate - 9)
                self.renew(who)
            else:
                self.one_step(who, index, twice=twice, fate=fate)

    def one_step(self, who: int, index: int, *, twice: bool, fate: int) -> None:
        runner, index = self.runners[who], index * self.effects
        job = runner.jobs.get(index)
        if job is None:
            self.claim(runner, index, twice=twice)
        elif job.request is not None:
            self.go_on(runner, index, job, job.request, twice=twice, fate=fate)
        elif job.looked is not None:
            self.conclude(runner, index, job, twice=twice)
        elif fate == 0:
            self.release(runner, index, job, twice=twice)
        elif self.should_look(index, job):
            self.look(runner, index, job)
        else:
            self.permit(runner, index, job, twice=twice)

    @rule(who=WHO, index=WHICH)
    def send_out_of_turn(self, who: int, index: int) -> None:
        """A permit asked for at any moment, with any claim, however stale."""
        runner, index = self.runners[who], index * self.effects
        job = runner.jobs.get(index)
        if job is not None and job.request is None:
            self.permit(runner, index, job, twice=False)

    def claim(self, runner: Runner, index: int, *, twice: bool) -> None:
        intent = self.intent(index)
        answer = self.do(
            store.claim,
            intent,
            twice=twice,
            me=runner.holder,
            nonce=self.new_name(),
            lease=LEASE,
            dead=frozenset(self.dead),
        )
        if isinstance(answer, store.Settled) and self.wants_more:
            self.ask_for_a_rerun(index)
        if isinstance(answer, store.Claim):
            assert answer.token > self.tokens.get(answer.external_id, 0)
            self.tokens[answer.external_id] = answer.token
            runner.jobs[index] = Job(answer, answer.attempts)

    def should_look(self, index: int, job: Job) -> bool:
        if job.claim.state is State.INTENDED and job.seen == job.claim.attempts:
            return False
        closed = {AttemptOutcome.NOT_SENT, AttemptOutcome.REFUSED}
        if all(attempt.outcome in closed for attempt in self.attempts(index)):
            return False
        return self.effect is not Effect.KEYED or job.seen > 1

    def permit(self, runner: Runner, index: int, job: Job, *, twice: bool) -> None:
        try:
            if self.unit is not None and not job.prepared:
                self.prepare(runner, index, job)
                job.prepared = True
                return
            nonce = self.new_name()
            granted = self.do(
                store.permit,
                job.claim,
                twice=twice,
                me=runner.holder,
                seen=job.seen,
                nonce=nonce,
                window=WINDOW,
                keyed=self.effect is Effect.KEYED,
            )
        except (PermitRefused, EffectInProgress):
            self.release(runner, index, job, twice=False)
            return
        assert job.claim.token == self.tokens[job.claim.external_id], "a stale token was given a permit"
        job.seen = granted.n
        place = self.unit or job.claim.external_id
        job.request = Request(nonce, self.now + WINDOW, owner=job.claim.external_id, place=place)

    def prepare(self, runner: Runner, index: int, job: Job) -> None:
        fresh = self.do(store.take_unit, job.claim, me=runner.holder, visibility=L)
        if not fresh and job.claim.baseline is not None:
            return
        if any(attempt.outcome == AttemptOutcome.ABSENT for attempt in self.attempts(index)):
            return
        shown = [entry.id for entry in self.shown(self.unit or "")]
        self.do(store.store_baseline, job.claim, me=runner.holder, baseline=shown)

    def go_on(
        self, runner: Runner, index: int, job: Job, request: Request, *, twice: bool, fate: int
    ) -> None:
        if not request.checked:
            if self.now >= request.until:  # the check fails: nothing leaves
                self.do(store.not_sent, job.claim.external_id, request.nonce, twice=twice)
                job.request = None
            else:
                request.checked = True  # from here to the write nobody can stop it
        elif not request.written:
            request.written, request.sender = True, runner
            request.refused = fate == 9
            request.lands = None if fate in {7, 8, 9} else self.now + fate % (D + 1)
            request.lag = fate % 2 * L
            self.travelling.append(request)
            self.let_land()
            if self.now > request.until:
                self.do(store.wrote_late, job.claim.external_id, request.nonce, sweep_in=D + L, twice=twice)
        elif fate >= 7:
            self.do(store.quiet, job.claim.external_id, request.nonce, twice=twice)
            with self.connection.begin():
                store.doubt(self.connection, job.claim.external_id, token=job.claim.token, reason="no answer")
            job.request = None
        elif request.refused:
            self.do(
                store.reject,
                job.claim.external_id,
                request.nonce,
                twice=twice,
                token=job.claim.token,
                answer={"status": 422},
                reason="refused",
            )
            job.request = None
            self.release(runner, index, job, twice=False)
        elif request.entry is not None:
            self.do(
                store.land,
                job.claim.external_id,
                request.nonce,
                twice=twice,
                result={},
                vendor_id=request.entry.id,
                visibility=L,
            )
            del runner.jobs[index]

    def release(self, runner: Runner, index: int, job: Job, *, twice: bool) -> None:
        self.do(store.release, job.claim.external_id, me=runner.holder, token=job.claim.token, twice=twice)
        del runner.jobs[index]

    def look(self, runner: Runner, index: int, job: Job) -> None:
        stand_open = [one for one in self.attempts(index) if one.outcome == AttemptOutcome.OPEN]
        if self.unit is not None and not stand_open:
            try:
                self.do(store.take_unit, job.claim, me=runner.holder, visibility=L)
            except (PermitRefused, EffectInProgress):
                self.release(runner, index, job, twice=False)
                return
        self.do(store.prove, job.claim.external_id, frozenset(self.dead))
        others = {self.row(i).vendor_id for i in self.known() if i != index} | self.older_results(index)
        baseline = self.row(index).baseline or []
        seen = [
            entry
            for entry in self.shown(self.unit or job.claim.external_id)
            if self.effect is not Effect.BLIND and entry.id not in others and entry.id not in baseline
        ]
        job.looked = (self.now, seen)

    def conclude(self, runner: Runner, index: int, job: Job, *, twice: bool) -> None:
        assert job.looked is not None
        (looked_at, seen), job.looked = job.looked, None
        assert len(seen) <= 1
        if seen:
            self.do(
                store.found,
                job.claim,
                twice=twice,
                seen=job.seen,
                result={},
                vendor_id=seen[0].id,
                visibility=L,
            )
            self.release(runner, index, job, twice=False)
            return
        verdict = self.do(
            store.absent,
            job.claim,
            twice=twice,
            seen=job.seen,
            looked_at=looked_at,
            operation=self.operation,
            timing=TIMING,
        )
        if isinstance(verdict, store.TooEarly) and verdict.at is not None:
            self.time_passes(int(verdict.at - self.now))  # it sits the wait out, and looks again
            self.do(store.renew, [(job.claim.external_id, job.claim.token)], me=runner.holder, lease=LEASE)
        elif verdict is None or isinstance(verdict, store.TooEarly) or verdict is State.REJECTED:
            self.release(runner, index, job, twice=False)
        else:
            self.permit(runner, index, job, twice=False)

    # ------------------------------------------------------------ the vendor

    def let_land(self) -> None:
        for request in list(self.travelling):
            if request.refused or request.lands is None:
                self.travelling.remove(request)
            elif request.lands <= self.now:
                self.travelling.remove(request)
                request.entry = self.accept(request)

    def accept(self, request: Request) -> Entry:
        if self.effect is Effect.KEYED:
            known = next((entry for entry in self.entries if entry.owner == request.owner), None)
            if known is not None:
                return known
        made = Entry(self.new_name(), request.owner, request.place, self.now + request.lag)
        self.entries.append(made)
        return made

    def shown(self, place: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.place == place and entry.shown <= self.now]

    def known(self) -> list[int]:
        with self.connection.begin():
            ids = set(self.connection.execute(EFFECT.select()).scalars())
        return [index for index in (0, 1) if self.intent(index).key.external_id in ids]

    def older_results(self, index: int) -> set[str | None]:
        with self.connection.begin():
            rows = self.connection.execute(EFFECT.select()).all()
        return {row.vendor_id for row in rows if row.external_id != self.intent(index).key.external_id}

    # ------------------------------------------------------------ what must hold

    @invariant()
    def each_effect_happened_at_most_once(self) -> None:
        owners = [entry.owner for entry in self.entries]
        assert len(owners) == len(set(owners))

    @invariant()
    def the_record_is_true(self) -> None:
        with self.connection.begin():
            rows = self.connection.execute(EFFECT.select()).all()
        for row in rows:
            made = {entry.id for entry in self.entries if entry.owner == row.external_id}
            assert row.state != State.DONE or {row.vendor_id} == made
            assert row.state != State.REJECTED or not made
            assert row.incident is None

    @invariant()
    def one_open_permit_at_most(self) -> None:
        if self.effect is not Effect.KEYED:
            for index in self.known():
                stand_open = [one for one in self.attempts(index) if one.outcome == AttemptOutcome.OPEN]
                assert len(stand_open) <= 1

    def teardown(self) -> None:
        """Everybody dies; one fresh runner settles all that can be settled, in bounded time."""
        if not hasattr(self, "runners"):
            return
        self.wants_more = False
        self.crash(0)
        self.crash(1)
        for _ in range(12 * len(self.known())):
            unsettled = [index for index in self.known() if self.row(index).state != State.DONE]
            if not unsettled or self.effect is Effect.BLIND:
                break
            for index in unsettled * 8:
                self.one_step(0, index, twice=False, fate=1)
            self.time_passes(1)
            self.renew(0)
            self.each_effect_happened_at_most_once()
            self.the_record_is_true()
        if self.effect is not Effect.BLIND:
            assert {State.DONE} >= {self.row(index).state for index in self.known()}
        for index in self.known():
            self.refuse_another_request(index)
        self.connection.close()

    def refuse_another_request(self, index: int) -> None:
        """A fingerprint that differs is refused, whatever the state; nothing changes."""
        intent, before = self.intent(index), self.row(index)
        other = replace(intent, key=replace(intent.key, fingerprint="another"))
        with pytest.raises(ExternalIdReused):
            self.do(store.claim, other, me="C", nonce="c", lease=LEASE)
        assert before == self.row(index)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    derandomize=True,
    max_examples=300,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
