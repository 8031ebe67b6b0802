"""How the work of the Planasonix stand-in gets on: queued, running, an end (planasonix.md §4).

Nothing runs: each piece of work carries its plan, and what is due is carried out, in its order, by the next
request that looks. A sandbox that was killed goes on where it was.
"""

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plait.http.operation import Operation
from plait.sandbox.context import SandboxContext
from plait.sandbox.planasonix_cron import Cron, zone_of
from plait.sandbox.planasonix_fixture import Workload
from plait.sandbox.planasonix_records import (
    Connection,
    Failure,
    Kind,
    Pipeline,
    Schedule,
    State,
    Webhook,
    Work,
)
from plait.sandbox.planasonix_store import Filter, Page, Shelf, body_digest
from plait.sandbox.planasonix_wire import Refusal

_FAILURES: Final = (
    Failure(code="source_timeout", message="The source did not answer within 30 s"),
    Failure(code="schema_mismatch", message='Column "amount" is missing in the destination'),
    Failure(code="permission_denied", message="The credential may not read the source's tables"),
)

EVENTS: Final = frozenset(
    {"job.completed", "job.failed", "job.cancelled", "run.succeeded", "run.failed", "run.cancelled"}
)
"""Those of jobs that completed or failed are [vendor airflow], the other names are [assumed]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a trigger asks for."""

    kind: Kind
    parent: Pipeline | Connection
    trigger: str = "manual"
    body: dict[str, Any]
    at: float
    """When it was accepted, by the vendor's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """An idempotency key as a request sent it."""

    scope: str
    key: str
    body: str
    """Digest of the rest of the request."""


class Foreman:
    """Carries out what is due, and takes triggers and cancels."""

    def __init__(self, context: SandboxContext) -> None:
        self._settings = context.settings.planasonix
        self._seed = context.settings.seed

    # ------------------------------------------------------------ what is due

    def advance(self, shelf: Shelf) -> None:
        """Carry out whatever is due."""
        now = time.time()
        for schedule in shelf.due_schedules(now):
            self._fire(shelf, schedule, now)
        while due := shelf.due(now):
            for work in due:
                self._step(shelf, work)

    def _fire(self, shelf: Shelf, schedule: Schedule, now: float) -> None:
        """One run, however many times were missed."""
        pipeline = shelf.item(Pipeline, schedule.pipeline_id)
        if pipeline is not None and not pipeline.trashed and pipeline.status == "active":
            asked = Asked(kind="run", parent=pipeline, trigger="schedule", body={}, at=now)
            if not self._in_the_way(shelf, asked):
                self.make(shelf, asked)
        schedule.last_at = schedule.next_at
        schedule.next_at = next_time(schedule, now)
        shelf.save(schedule)

    def _step(self, shelf: Shelf, work: Work) -> None:
        due = work.due_at
        if work.cancel_at is not None and work.cancel_at == due:
            self._end(shelf, work, "cancelled", due)
        elif work.state == "queued":
            work.state, work.started_at = "running", work.starts_at
            shelf.change(work)
        else:
            self._end(shelf, work, work.outcome, due)

    def _end(self, shelf: Shelf, work: Work, state: State, at: float | None) -> None:
        work.state, work.finished_at = state, at
        if state != "failed":
            work.failure = None
        shelf.change(work)
        self._tell(shelf, work)
        if work.kind == "run" and self._settings.run_rule == "queue" and at is not None:
            self._next_in_queue(shelf, work.parent, at)

    @staticmethod
    def _tell(shelf: Shelf, work: Work) -> None:
        """Put the event on its way to whoever subscribed to it."""
        event = _event_of(work)
        where = Filter(("organization = ?", "kind = ?"), (work.organization, Webhook.kind))
        webhooks, _ = shelf.items(Webhook, where, Page(limit=None))
        for webhook in webhooks:
            if webhook.active and event in webhook.events:
                shelf.send(webhook, json.dumps(_payload(work, event)))

    def _next_in_queue(self, shelf: Shelf, pipeline: str, at: float) -> None:
        left = shelf.active("run", pipeline)
        if left and left[0].starts_at is None:
            left[0].starts_at = at + self._settings.queue_seconds
            shelf.change(left[0])

    # ------------------------------------------------------------ triggers

    def run(self, shelf: Shelf, operation: Operation, asked: Asked) -> Work:
        """A run of a pipeline, counted; 409 where the rule skips it."""
        if self._in_the_way(shelf, asked):
            raise Refusal(409, "conflict", "A run of this pipeline is already active")
        made = self.make(shelf, asked)
        shelf.transaction.record(operation, entity_id=made.id, marker=made.parent)
        return made

    def _in_the_way(self, shelf: Shelf, asked: Asked) -> bool:
        return self._settings.run_rule == "skip" and bool(shelf.active("run", asked.parent.id))

    def sync(self, shelf: Shelf, operation: Operation, asked: Asked, keyed: Keyed | None) -> Work:
        """A new job, counted, or the one that the key stands for (planasonix.md §6.1).

        Raises:
            Refusal: 409 for a known key, or because another job is active.
        """
        if keyed is not None:
            known = self._known(shelf, keyed)
            if known is not None:
                return known
        if self._settings.single_job and (active := shelf.active("job", asked.parent.id)):
            message = "A sync is already running for this connection"
            raise Refusal(409, "conflict", message, existing_job_id=active[0].id)
        made = self.make(shelf, asked)
        if keyed is not None:
            shelf.keep_key(keyed.scope, keyed.key, made.id, keyed.body)
        key = None if keyed is None else keyed.key
        shelf.transaction.record(operation, entity_id=made.id, marker=made.parent, external_key=key)
        return made

    def _known(self, shelf: Shelf, keyed: Keyed) -> Work | None:
        settings = self._settings
        found = None if settings.keys_honoured == "ignored" else shelf.key(keyed.scope, keyed.key)
        job = None if found is None else shelf.work("job", found[0])
        if found is None or job is None or (job.ended and settings.keys_honoured == "until_end"):
            return None
        if found[1] != keyed.body and settings.same_key_other_body == "409":
            raise Refusal(409, "conflict", "The idempotency key was used with another body")
        if settings.replay == "409":
            message = "The idempotency key was used before"
            raise Refusal(409, "conflict", message, existing_job_id=job.id)
        return job

    def make(self, shelf: Shelf, asked: Asked) -> Work:
        """New work with its whole plan, which follows from the seed."""
        parent, settings = asked.parent, self._settings
        parent.asked += 1
        shelf.save(parent)
        load = parent.workload
        waits = asked.kind == "run" and settings.run_rule == "queue" and shelf.active("run", parent.id)
        fails = load.behaviour == "fail" or (load.behaviour == "flaky" and parent.asked <= load.failures)
        # Not for secrets: the same seed makes the same night.
        draw = random.Random(f"{self._seed}:{parent.id}:{parent.asked}")  # noqa: S311 - see above
        work = Work(
            id=shelf.new_id(asked.kind),
            organization=parent.organization,
            at=asked.at,
            kind=asked.kind,
            parent=parent.id,
            trigger=asked.trigger,
            asked=asked.body,
            outcome="failed" if fails else "succeeded",
            starts_at=None if waits else time.time() + settings.queue_seconds,
            seconds=self._seconds(load),
            rows=usual_rows(load, draw),
            failure=failure_of(draw) if fails else None,
        )
        shelf.start(work, settings.list_lag)
        return work

    def _seconds(self, load: Workload) -> float | None:
        if load.behaviour == "hang":
            return None
        return self._settings.work_seconds if load.seconds is None else load.seconds

    # ------------------------------------------------------------ cancels

    def cancel(self, shelf: Shelf, operation: Operation, work: Work) -> Work:
        """Ask work to end; counted once. Raises `Refusal` where it has ended."""
        settings, now = self._settings, time.time()
        if work.ended:
            raise Refusal(settings.finished_cancel, "conflict", f"The {work.kind} has already finished")
        if work.cancel_asked:
            return work
        work.cancel_asked = True
        match settings.cancel:
            case "immediate":
                self._end(shelf, work, "cancelled", now)
            case "late":
                work.cancel_at = now + settings.cancel_seconds
                shelf.change(work)
            case "finishes":
                self._let_finish(work, now + settings.cancel_seconds)
                shelf.change(work)
        shelf.transaction.record(operation, entity_id=work.id, marker=work.parent)
        return work

    @staticmethod
    def _let_finish(work: Work, at: float) -> None:
        work.starts_at = min(at, work.starts_at if work.starts_at is not None else at)
        if work.seconds is None:
            work.seconds = at - work.starts_at


def _event_of(work: Work) -> str:
    words = {"succeeded": "completed"} if work.kind == "job" else {}
    return f"{work.kind}.{words.get(work.state, work.state)}"


def _payload(work: Work, event: str) -> dict[str, Any]:
    """That of a job is [vendor airflow]; the others are like it [assumed]."""
    finished, started = work.finished_at or 0.0, work.started_at or work.finished_at or 0.0
    summary = {
        "total_rows_synced": work.rows if work.state == "succeeded" else 0,
        "duration_seconds": round(finished - started, 3),
    }
    return {
        "id": f"evt_{body_digest({'work': work.id, 'event': event})[:20]}",
        "type": event,
        "timestamp": datetime.fromtimestamp(finished, UTC).isoformat().replace("+00:00", "Z"),
        f"{work.kind}_id": work.id,
        "data": {"status": event.partition(".")[2], "summary": summary},
    }


def usual_rows(load: Workload, draw: random.Random) -> int:
    """About as many rows as usual."""
    return round(load.rows * draw.uniform(0.9, 1.1))


def failure_of(draw: random.Random) -> Failure:
    """One of the things that go wrong."""
    return draw.choice(_FAILURES)


def next_time(schedule: Schedule, now: float) -> float | None:
    """When a schedule fires next; never while it is disabled, or once a PUT has wiped it."""
    if not (schedule.enabled and schedule.cron_expression and schedule.timezone):
        return None
    return Cron.parse(schedule.cron_expression).next(now, zone_of(schedule.timezone))


def key_of(scope: str, key: str | None, body: dict[str, Any]) -> Keyed | None:
    """The key of a request, if it has one."""
    return None if not key else Keyed(scope=scope, key=key, body=body_digest(body))
