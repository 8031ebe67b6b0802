"""What each thing of the Planasonix stand-in looks like, before a voice puts it into its own form.

Names are snake case here. `planasonix_voices` turns them into camel case, JSON:API or bare objects.
"""

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plait.sandbox.planasonix_records import Connection, Failure, Pipeline, Schedule, Webhook, Work
from plait.sandbox.planasonix_settings import PlanasonixSettings, Voice, Words
from plait.sandbox.planasonix_store import made_id

_SECRET: Final = ("password", "secret", "token", "key")
_HIDDEN: Final = "********"
_BYTES_A_ROW: Final = 184
_COST_A_ROW: Final = 0.00002
_NODES: Final = ("extract", "transform", "load")


def moment(at: float | None) -> str | None:
    """A time on the wire: UTC with milliseconds and `Z`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Showing:
    """Shows things in one voice's words."""

    settings: PlanasonixSettings
    voice: Voice

    def words(self, work: Work) -> Words:
        """The voice's status words for this work."""
        words = self.settings.words_of(self.voice)
        return words.runs if work.kind == "run" else words.jobs

    def status(self, work: Work) -> str:
        """The status word."""
        return str(getattr(self.words(work), work.state))

    def error(self, work: Work) -> Any:
        """The error of what failed, in the form of the switch."""
        return error_in(self.settings.error_form, work.failure if work.state == "failed" else None)

    # ------------------------------------------------------------ items

    def connection(self, connection: Connection, *, whole: bool) -> dict[str, Any]:
        """A connection; its settings only when it is asked for alone, without secrets."""
        shown: dict[str, Any] = {
            "id": connection.id,
            "name": connection.name,
            "type": connection.type,
            "credential_id": connection.credential_id,
            "category": connection.category,
            "status": connection.status,
            "created_at": moment(connection.created_at),
            "updated_at": moment(connection.at),
        }
        if self.voice == "go":
            shown = {name: shown[name] for name in ("id", "name", "type", "category")}
        settings = _without_secrets(connection.config)
        if whole and self.voice == "go":
            shown["params"] = {name: _text(value) for name, value in settings.items()}
        elif whole:
            shown["config"] = settings
        return shown

    def pipeline(self, pipeline: Pipeline, *, whole: bool) -> dict[str, Any]:
        """A pipeline; its graph only when it is asked for alone."""
        ends = {node.get("type"): node.get("connectionId") for node in pipeline.nodes}
        shown: dict[str, Any] = {
            "id": pipeline.id,
            "name": pipeline.name,
            "status": pipeline.status,
            "tags": pipeline.tags,
            "created_at": moment(pipeline.created_at),
            "updated_at": moment(pipeline.at),
        }
        if self.voice == "go":
            shown |= {
                "source_connection_id": ends.get("source"),
                "dest_connection_id": ends.get("destination"),
            }
        else:
            shown |= {"project_id": pipeline.project_id, "folder_id": pipeline.folder_id}
        return shown | ({"nodes": pipeline.nodes, "edges": pipeline.edges} if whole else {})

    def schedule(self, schedule: Schedule, name: str | None, last: Work | None) -> dict[str, Any]:
        """A schedule; name of its pipeline and state of its last run for the Go client."""
        shown: dict[str, Any] = {
            "id": schedule.id,
            "pipeline_id": schedule.pipeline_id,
            "cron_expression": schedule.cron_expression,
            "timezone": schedule.timezone,
            "enabled": schedule.enabled,
            "next_run_at": moment(schedule.next_at),
            "last_run_at": moment(schedule.last_at),
            "created_at": moment(schedule.created_at),
            "updated_at": moment(schedule.at),
        }
        if self.voice == "go":
            del shown["created_at"], shown["updated_at"]
            shown |= {
                "pipeline_name": name,
                "frequency": schedule.frequency,
                "last_run_status": None if last is None else self.status(last),
            }
        return shown

    def webhook(self, webhook: Webhook, *, secret: bool = False) -> dict[str, Any]:
        """A subscription; its secret once, when it is made [assumed]."""
        shown: dict[str, Any] = {
            "id": webhook.id,
            "url": webhook.url,
            "events": webhook.events,
            "enabled": webhook.active,
            "created_at": moment(webhook.created_at),
        }
        return shown | ({"secret": webhook.secret} if secret else {})

    # ------------------------------------------------------------ work

    def run(self, run: Work, *, whole: bool = True) -> dict[str, Any]:
        """A run; metrics and error only when it is asked for alone (planasonix.md §3.3)."""
        written = written_rows(run)
        shown: dict[str, Any] = {
            "id": run.id,
            "pipeline_id": run.parent,
            "status": self.status(run),
            "started_at": moment(run.started_at),
        }
        if self.voice == "go":
            shown |= {"ended_at": moment(run.finished_at), "records_written": written}
            return shown | {
                "error_message": run.failure.message if run.failure and run.state == "failed" else None
            }
        if self.voice != "docs":
            shown["created_at"] = moment(run.at)
        shown |= {
            "trigger": run.trigger,
            "finished_at": moment(run.finished_at),
            "duration_seconds": _duration(run),
        }
        if whole:
            shown["metrics"] = {
                "rows_read": written,
                "rows_written": written,
                "bytes": written * _BYTES_A_ROW,
                "cost": round(written * _COST_A_ROW, 4),
            }
            if run.state == "failed":
                shown["error"] = self.error(run)
        return shown

    def nodes(self, run: Work) -> list[dict[str, Any]]:
        """The nodes of a run, one after the other (planasonix.md §3.3)."""
        return [self._node(run, position, name) for position, name in enumerate(_NODES)]

    def _node(self, run: Work, position: int, name: str) -> dict[str, Any]:
        begun, ended = node_times(run, position)
        words = self.words(run)
        if begun is None:
            status = words.cancelled if run.state in {"failed", "cancelled"} else words.queued
        elif ended is None:
            status = words.running
        else:
            last = ended == run.finished_at and run.state != "succeeded"
            status = self.status(run) if last else words.succeeded
        return {
            "id": f"{run.id}_{name}",
            "name": name,
            "type": name,
            "status": status,
            "started_at": moment(begun),
            "finished_at": moment(ended),
            "retries": 0,
            "rows": written_rows(run) if begun is not None else 0,
        }

    def job(self, job: Work) -> dict[str, Any]:
        """A sync job (planasonix.md §3.4)."""
        shown: dict[str, Any] = {
            "id": job.id,
            "type": "connection_sync",
            "status": self.status(job),
            "connection_id": job.parent,
            "pipeline_id": job.asked.get("pipeline_id"),
            "trigger": job.trigger,
            "sync_type": job.asked.get("sync_type", "incremental"),
            "priority": job.asked.get("priority", "normal"),
            "streams": job.asked.get("streams"),
            "created_at": moment(job.at),
            "queued_at": moment(job.at),
            "started_at": moment(job.started_at),
            "finished_at": moment(job.finished_at),
            "progress": {"rows_synced": written_rows(job)},
            "error": self.error(job),
        }
        return shown | ({"metadata": job.asked.get("metadata")} if self.settings.metadata_echo else {})

    def backfill(self, backfill: Work) -> dict[str, Any]:
        """A backfill."""
        return {
            "id": backfill.id,
            "connection_id": backfill.parent,
            "status": self.status(backfill),
            "start_at": backfill.asked.get("start_at"),
            "end_at": backfill.asked.get("end_at"),
            "tables": backfill.asked.get("tables") or [],
            "progress_percent": round(100 * backfill.part(time.time())),
            "created_at": moment(backfill.at),
        }

    @staticmethod
    def results(job: Work) -> dict[str, Any]:
        """What a job did; the rows of its streams sum up to those of the job."""
        total = written_rows(job)
        streams = [str(name) for name in job.asked.get("streams") or ("orders", "customers")]
        share, rest = divmod(total, len(streams))
        return {
            "summary": {"total_rows_synced": total, "duration_seconds": _duration(job) or 0},
            "streams": [
                {"name": name, "rows_synced": share + (rest if position == 0 else 0)}
                for position, name in enumerate(streams)
            ],
        }


def error_in(form: str, failure: Failure | None) -> Any:
    """A failure as object, text or null."""
    if failure is None or form == "null":
        return None
    return failure.message if form == "string" else failure.model_dump()


def written_rows(work: Work) -> int:
    """How many rows it has written by now."""
    return round(work.rows * work.part(time.time()))


def _duration(work: Work) -> float | None:
    if work.started_at is None or work.finished_at is None:
        return None
    return round(work.finished_at - work.started_at, 3)


def node_times(run: Work, position: int) -> tuple[float | None, float | None]:
    """When a node of a run began and ended: a third each of what it takes, as far as that is known."""
    if run.started_at is None:
        return None, None
    share = (run.seconds if run.seconds is not None else 3.0) / len(_NODES)
    now = run.finished_at if run.finished_at is not None else time.time()
    begins = run.started_at + position * share
    ends = begins + share
    if begins >= now and position > 0:
        return None, None
    last = position == len(_NODES) - 1
    if ends < now and not last:
        return begins, ends
    return begins, run.finished_at


def log_lines(run: Work) -> list[dict[str, Any]]:
    """The lines a run has logged by now, oldest first; the same at every look."""
    if run.started_at is None:
        return []
    draw = random.Random(run.id)  # noqa: S311 - the same lines at every look, not for secrets
    lines = [_line(run.started_at, "info", None, f"Run {run.id} started ({run.trigger})")]
    for position, name in enumerate(_NODES):
        begun, ended = node_times(run, position)
        if begun is None:
            break
        node = f"{run.id}_{name}"
        lines.append(_line(begun, "info", node, f"{name}: started"))
        if ended is not None and ended != run.finished_at:
            lines.append(_line(ended, "info", node, f"{name}: {draw.randint(1, 9)} batches done"))
    if run.finished_at is not None:
        lines.append(_last_line(run))
    for number, line in enumerate(lines, 1):
        line["cursor"] = f"{made_id('run', run.id)[4:12]}{number:06d}"
    return lines


def _last_line(run: Work) -> dict[str, Any]:
    at = run.finished_at or 0.0
    if run.state == "failed":
        failure = run.failure or Failure(code="unknown", message="failed")
        return _line(at, "error", None, f"{failure.code}: {failure.message}")
    if run.state == "cancelled":
        return _line(at, "warning", None, "Cancelled on request")
    return _line(at, "info", None, f"Run finished, {run.rows} rows written")


def _line(at: float, level: str, node: str | None, message: str) -> dict[str, Any]:
    return {"timestamp": moment(at), "level": level, "node_id": node, "message": message}


def _text(value: Any) -> str:
    """The Go client reads texts only."""
    return value if isinstance(value, str) else json.dumps(value)


def _without_secrets(config: dict[str, Any]) -> dict[str, Any]:
    """Secrets are never in clear [vendor conn]."""
    return {
        name: _HIDDEN if any(word in name.lower() for word in _SECRET) else value
        for name, value in config.items()
    }
