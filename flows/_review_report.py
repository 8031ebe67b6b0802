"""What `run_with_review` leaves for people: a manifest, and artifacts with the pictures."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Final

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from flows._review_models import ReviewRecord, RunWithReview
from plait.content.remark import code_span, escape_cell, safe_markdown
from plait.effects_text import moment
from tasks._pictures import show_picture

SHOWN_AT_MOST: Final = 12
TEXT_SHOWN: Final = 16 * 1024


def default_folder(pletor_run: str) -> Path:
    """Where the results of a Pletor run go when nobody says: flows that share a run key share no folder."""
    digest = hashlib.sha256(pletor_run.encode()).hexdigest()[:12]
    return Path("reports") / f"run-with-review-{digest}"


async def write_manifest(result: RunWithReview, folder: Path) -> Path:
    """Write the manifest, whole or not at all: run, decisions, files with their digests."""
    path = folder / "manifest.json"

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".manifest.{os.getpid()}.part"
        part.write_text(result.model_dump_json(indent=2, exclude={"manifest"}) + "\n", encoding="utf-8")
        part.replace(path)

    await asyncio.to_thread(write)
    return path


async def write_artifacts(result: RunWithReview) -> None:
    """Tables of decisions and files, the texts, and the pictures themselves; all safe for Prefect's pages."""
    if result.reviews:
        await acreate_table_artifact(
            [_decision(one) for one in result.reviews],
            key="run-with-review-decisions",
            description="Who decided what, when, why and where",
        )
    await acreate_markdown_artifact(
        _summary(result), key="run-with-review-result", description="What came of the run"
    )
    for file in result.files[:SHOWN_AT_MOST]:
        await show_picture(
            file.path,
            file.media_type,
            key=f"run-with-review-{file.path.stem}",
            description=f"{file.path.name}, SHA-256 {file.sha256[:12]}",
        )


def _decision(one: ReviewRecord) -> dict[str, str]:
    return {
        "question": escape_cell(one.title, 200),
        "decision": one.decision or "waits",
        "by": escape_cell(one.by or "", 100),
        "why": escape_cell(one.why or "", 300),
        "round": escape_cell(one.round, 100),
        "through": one.through or "",
        "at": moment(one.decided_at),
        "outcome": escape_cell(one.outcome or "", 200),
        "content": one.digest[:12],
    }


def _summary(result: RunWithReview) -> str:
    parts = [f"# {escape_cell(result.target.name)}", escape_cell(result.summary, 500)]
    parts += [f"Run {code_span(result.run_id)}, run key {code_span(result.run_key)}"]
    if result.files:
        rows = [
            f"| {code_span(file.path.name)} | {file.media_type} | {file.size:,} | {code_span(file.sha256)} |"
            for file in result.files
        ]
        parts.append("\n".join(["| file | type | bytes | SHA-256 |", "| --- | --- | --: | --- |", *rows]))
    parts += [safe_markdown(text[:TEXT_SHOWN]) for text in result.texts]
    if result.manifest is not None:
        parts.append(f"Manifest: {code_span(str(result.manifest))}")
    return "\n\n".join(parts)
