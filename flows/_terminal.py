"""`python -m flows.ingest_then_chat`: the flow from a terminal, with errors a person can read."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows._models import Grounding, IngestThenChat
from flows.ingest_then_chat import ingest_then_chat
from plait.content.plain import to_plain
from plait.content.text import one_line, printable
from plait.http.errors import ConfigurationError, InvalidInput, PlaitError
from tasks._retry import RETRIES_VARIABLE

FAILED: Final = 1
TEMPORARY_SERVER: Final[dict[Any, Any]] = {
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120,  # Prefect's own 20 are short for a new home
    PREFECT_SERVER_ANALYTICS_ENABLED: False,
}
"""Settings of the Prefect server that is started where `PREFECT_API_URL` names none."""
UNUSABLE: Final = 2
"""Exit code for something that was given and cannot be used; also Typer's own for bad options."""


def run(
    document: Annotated[
        list[str],
        typer.Option("--document", "-d", help="A path, a pattern or an http(s) address; repeatable."),
    ],
    question: Annotated[
        list[str], typer.Option("--question", "-q", help="Asked in one conversation, in order; repeatable.")
    ],
    *,
    workspace: Annotated[str | None, typer.Option(help="Name or id of the Planck AI workspace.")] = None,
    title: Annotated[str, typer.Option(help="Name of the run and the conversation.")] = "Ingest, then chat",
    grounding: Annotated[Grounding, typer.Option(help="How answers see the documents.")] = Grounding.AUTO,
    run_key: Annotated[
        str | None, typer.Option(help="Runs with one key are one intent: nothing is asked twice.")
    ] = None,
    generation: Annotated[
        int, typer.Option(min=0, help="1 uploads once more what OfficePlane no longer has.")
    ] = 0,
    officeplane: Annotated[str | None, typer.Option(help="Name of the OfficePlane block.")] = None,
    planck: Annotated[str | None, typer.Option(help="Name of the Planck AI block.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Name of the ledger block.")] = None,
    max_document_mb: Annotated[int, typer.Option(min=1, help="A larger document is left out.")] = 100,
    inline_budget: Annotated[int, typer.Option(min=1, help="Characters sent inline.")] = 60_000,
    listing_deadline: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a document to be listed.")
    ] = 15.0,
    processing_deadline: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a document to be processed.")
    ] = 300.0,
    report: Annotated[Path | None, typer.Option(help="File of the HTML report.")] = None,
) -> None:
    """Put documents into OfficePlane and have questions about them answered by Planck AI."""
    show_progress()
    os.environ.setdefault(RETRIES_VARIABLE, "1")  # a person who watches would rather be told
    if not os.environ.get("PREFECT_API_URL"):
        typer.echo("PREFECT_API_URL is not set: starting a temporary Prefect server", err=True)
    try:
        with temporary_settings(TEMPORARY_SERVER):
            result = asyncio.run(
                ingest_then_chat(
                    documents=document,
                    questions=question,
                    workspace=workspace,
                    title=title,
                    grounding=grounding,
                    run_key=run_key,
                    generation=generation,
                    officeplane=officeplane,
                    planck=planck,
                    ledger=ledger,
                    max_document_mb=max_document_mb,
                    inline_budget=inline_budget,
                    listing_deadline=listing_deadline,
                    processing_deadline=processing_deadline,
                    report=report,
                )
            )
    except PlaitError as error:
        typer.echo(f"Error: {printable(str(error))}", err=True)
        raise typer.Exit(
            UNUSABLE if isinstance(error, InvalidInput | ConfigurationError) else FAILED
        ) from None
    _print(result)


def main() -> None:
    """Run the command."""
    typer.run(run)


class _ForPeople(logging.Handler):
    """Prints the lines that tasks and flows say to people, and retries."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "for_people", False):
            typer.echo(f"  {one_line(record.getMessage(), 300)}", err=True)


def show_progress() -> None:
    """Prefect's own lines and tracebacks stay in its log, where its UI shows them."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.CRITICAL)
    logging.getLogger("prefect").addHandler(_ForPeople())


def _print(result: IngestThenChat) -> None:
    for answer in result.answers:
        typer.echo(f"\nQ: {one_line(answer.question)}\n")
        typer.echo(to_plain(answer.blocks))
    typer.echo("")
    for one in result.left_out:
        typer.echo(f"Left out: {one_line(one.name)}: {one_line(one.reason)}")
    credits_used = result.credits_consumed
    typer.echo(f"Credits: {'unknown' if credits_used is None else f'{credits_used:g}'}")
    typer.echo(f"Run key: {one_line(result.run_key)}")
    typer.echo(f"Report:  {result.report}")
