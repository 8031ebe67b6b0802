"""What a run leaves for people: artifacts in Prefect and one HTML file."""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from flows._models import IngestThenChat
from plait.content.markdown import Limits, to_markdown
from plait.content.remark import code_span, escape_cell
from plait.content.report import (
    Report,
    ReportDocument,
    ReportFacts,
    ReportTurn,
    render_report,
    write_report,
)

ARTIFACT_LIMIT: Final = 64 * 1024
"""Bytes of one Markdown artifact; a longer transcript is in the HTML report only."""
ROW_LIMIT: Final = 200


def default_report(run_key: str) -> Path:
    """Where the report goes when nobody says; the same run key gives the same file."""
    return Path("reports") / f"ingest-then-chat-{hashlib.sha256(run_key.encode()).hexdigest()[:12]}.html"


async def write_html(result: IngestThenChat, *, title: str, seconds: float) -> None:
    """Write the report file whole; raises `InvalidInput` where it cannot be written."""
    documents = [
        ReportDocument(name=one.name, digest=one.sha256, grounding=one.grounding.value)
        for one in result.documents
    ]
    documents += [
        ReportDocument(name=one.name, status="failed", reason=one.reason) for one in result.left_out
    ]
    report = Report(
        title=title,
        generated_at=datetime.now(UTC),
        facts=ReportFacts(
            run_key=result.run_key,
            workspace=result.workspace,
            duration=seconds,
            credits=result.credits_consumed,
        ),
        documents=documents,
        turns=[
            ReportTurn(question=one.question, blocks=one.blocks, credits=one.credits_consumed)
            for one in result.answers
        ],
    )
    await asyncio.to_thread(lambda: write_report(result.report, render_report(report)))


async def write_artifacts(result: IngestThenChat) -> None:
    """A table of the documents and a Markdown transcript, both safe for Prefect's pages."""
    await acreate_table_artifact(
        _rows(result)[:ROW_LIMIT],
        key="ingest-then-chat-documents",
        description="What became of each document",
    )
    await acreate_markdown_artifact(
        transcript(result), key="ingest-then-chat-transcript", description="Questions and answers"
    )


def transcript(result: IngestThenChat) -> str:
    """The conversation as Markdown of at most `ARTIFACT_LIMIT` characters."""
    parts = [f"# {escape_cell(result.workspace)}", f"Report: {code_span(str(result.report))}"]
    share = ARTIFACT_LIMIT // max(len(result.answers), 1)
    for answer in result.answers:
        spent = "unknown" if answer.credits_consumed is None else f"{answer.credits_consumed:g}"
        parts += [
            f"## {escape_cell(answer.question, 300)}",
            to_markdown(answer.blocks, Limits(total=share)),
            f"Credits: {spent}",
        ]
    return "\n\n".join(parts)


def _rows(result: IngestThenChat) -> list[dict[str, str]]:
    used = [
        {
            "document": escape_cell(one.name),
            "status": "used",
            "grounding": one.grounding.value,
            "OfficePlane id": one.officeplane_id,
            "reason": "",
        }
        for one in result.documents
    ]
    left_out = [
        {
            "document": escape_cell(one.name),
            "status": "left out",
            "grounding": "",
            "OfficePlane id": "",
            "reason": escape_cell(one.reason, 300),
        }
        for one in result.left_out
    ]
    return used + left_out
