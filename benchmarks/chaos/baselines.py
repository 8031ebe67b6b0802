"""What Plait is compared with, under the same seeds, faults and blows.

They have their own three points, to which the engine's are mapped by their place in the protocol.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.chaos.cases import Case
from benchmarks.chaos.job import Engine, Job, Report, Told
from benchmarks.chaos.runner import KEYS, ROOT, SCRATCH
from benchmarks.chaos.work import Kind, Work
from plait import failpoints
from plait.sandbox.placet_store import REVIEWS
from plait.sandbox.pletor_store import COPYWRITER

POINTS: Final = ("before.send", "after.accept", "after.record")
"""Nothing sent; answered but not yet written down; written down."""
ABOUT: Final[dict[Engine, str]] = {
    "plait": "",
    "plait-without-D": "plait-without-D: the engine, told that nothing lands late. It must fail.",
    "plait-without-L": "plait-without-L: the engine, told that every look shows everything. It must fail.",
    "naive-retry": (
        "naive-retry: httpx, every call repeated up to 4 times on any error, no ledger; a killed run starts "
        "again from the beginning. It claims no coordination, so it never has a rival."
    ),
    "prefect-transaction": (
        "prefect-transaction: the same calls and retries inside Prefect's transaction(key=...) with its "
        "default isolation READ_COMMITTED and results kept in a folder; rivals and re-runs use the same key."
    ),
    "prefect-serializable": (
        "prefect-serializable: the same with IsolationLevel.SERIALIZABLE and a FileSystemLockManager."
    ),
}
TRIES: Final = 4

Once = Callable[[str, Callable[[], Any]], None]
"""Carries out one effect by its key."""


def point_of(point: str) -> str:
    """Which of the three points stands for one of the engine's."""
    after_answer = (
        "answer.",
        "record.before",
        "look.",
        "verdict.",
        "body.after",
        "giveup.",
        "renew.",
        "quiet.",
    )
    if point.startswith(after_answer) or point == "loop.blocked":
        return "after.accept"
    return "after.record" if point in {"record.after_commit", "batch.between_items"} else "before.send"


def adapted(case: Case, engine: Engine) -> Case:
    """The same case for an engine that has no ledger: one of the three points, and no refused commit."""
    kind: Kind = "conversation" if case.kind in {"generation", "sweep"} else case.kind
    kind = "run" if kind == "rerun" else kind
    return replace(
        case,
        kind=kind,
        point=point_of(case.point),
        visit=1,
        action="kill" if case.action == "fail" else case.action,
        prelude="",
        rival="none" if engine == "naive-retry" else case.rival,
        stranger=False,
    )


def prepare(folder: Path) -> None:
    """Keep Prefect's home out of the user's, and its words out of ours."""
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def perform(job: Job) -> Report:
    """Carry the case's effects out, one after the other."""
    reach = failpoints.hook_at(job.point, job.flags) if job.point else _nothing
    once = _once(job, reach)
    with httpx.Client(timeout=10.0, trust_env=False) as client:
        calls = _calls(job.work, job.sandbox, client)
        for intended, call in zip(job.work.intended(), calls, strict=True):
            once(f"{job.run_key}-{intended.label.replace(' ', '-')}", call)
    return Report(effects=[Told(label=intended.label, status="done") for intended in job.work.intended()])


def _nothing(_point: str) -> None:
    """An unarmed runner."""


def _once(job: Job, reach: Callable[[str], None]) -> Once:
    if job.engine == "naive-retry":
        return lambda _key, call: _sent(call, reach, reach_record=True)
    from benchmarks.chaos.prefect_runner import transacted  # noqa: PLC0415 - Prefect is heavy

    serializable = job.engine == "prefect-serializable"
    return transacted(job.folder, lambda call: _sent(call, reach), reach, serializable=serializable)


def _sent(call: Callable[[], Any], reach: Callable[[str], None], *, reach_record: bool = False) -> Any:
    """The call, repeated on any error."""
    reach("before.send")
    answer = _retried(call)
    reach("after.accept")
    if reach_record:
        reach("after.record")
    return answer


def _retried(call: Callable[[], Any]) -> Any:
    for attempt in range(TRIES):
        try:
            return call()
        except httpx.HTTPError:
            if attempt + 1 == TRIES:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError


def _calls(work: Work, sandbox: str, client: httpx.Client) -> list[Callable[[], Any]]:
    """The requests as the vendors' quickstarts have them: without a key of ours."""
    text, address = work.texts[0], f"{sandbox}/{{}}".format
    files = {"file": ("a.docx", work.document)}
    planck = f"{address(ROOT['planck'])}/workspaces/{SCRATCH}"
    pletor, placet = address(ROOT["pletor"]), f"{address(ROOT['placet'])}/api/v1"
    documents = f"{address(ROOT['officeplane'])}/api/documents"
    one: dict[Kind, tuple[str, str, dict[str, Any]]] = {
        "upload": ("officeplane", f"{documents}/upload", {"files": files}),
        "execute": ("officeplane", f"{documents}/{work.document_id}/execute", {"json": {"tree": work.tree}}),
        "run": ("pletor", f"{pletor}/runs", {"json": _run(text)}),
        "asset": ("pletor", f"{pletor}/assets/upload", {"files": files}),
        "review": (
            "pletor",
            f"{pletor}/runs/{work.run_id}/reviews/{work.review_id}",
            {"json": {"decision": "approve"}},
        ),
        "post": ("placet", f"{placet}/messages", {"json": _question(text, work.file_id)}),
        "file": ("placet", f"{placet}/files/store", {"files": files, "data": {"channelId": REVIEWS}}),
        "channel": ("placet", f"{placet}/agents", {"json": {"name": "Chaos", "description": text}}),
    }
    if work.kind in one:
        service, url, body = one[work.kind]
        return [partial(_post, client, service, url, **body)]
    if work.kind == "messages":
        url = f"{planck}/conversations/{work.conversation_id}/messages"
        return [partial(_stream, client, url, text) for text in work.texts]
    if work.kind == "chat":
        return [partial(_stream, client, f"{planck}/chat", text) for text in work.texts]
    return [
        partial(_post, client, "planck", f"{planck}/conversations", json={"name": text})
        for text in work.texts
    ]


def _run(title: str) -> dict[str, Any]:
    return {"agent_id": COPYWRITER.id, "inputs": [{"id": "title", "value": title}]}


def _question(text: str, file_id: str) -> dict[str, Any]:
    options = [{"id": "approve", "label": "Approve"}, {"id": "reject", "label": "Reject"}]
    review = {"type": "approval", "payload": {"options": options}}
    return {"channelId": REVIEWS, "text": text, "review": review, "attachmentIds": [file_id]}


def _post(client: httpx.Client, service: str, url: str, **body: Any) -> Any:
    return client.post(url, headers=KEYS[service], **body).raise_for_status().json()


def _stream(client: httpx.Client, url: str, text: str) -> str:
    headers = {**KEYS["planck"], "Accept": "text/event-stream"}
    with client.stream("POST", url, json={"message": text}, headers=headers) as answer:
        answer.raise_for_status()
        said = "".join(answer.iter_text())
    if "message_stop" not in said:
        raise httpx.RemoteProtocolError("the stream ended before its last event")
    return said
