"""`python -m flows.run_with_review` and `flows.resume_reviews`: the flows from a terminal."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from prefect.settings import temporary_settings

from flows._review_models import RunWithReview, Wait
from flows._terminal import FAILED, TEMPORARY_SERVER, UNUSABLE, show_progress
from flows.resume_reviews import resume_reviews
from flows.run_with_review import run_with_review
from plait.content.text import one_line, printable
from plait.http.errors import ConfigurationError, InvalidInput, PlaitError
from plait.reviews import InboxForm, OnExpiry, ReviewOptions
from tasks._retry import RETRIES_VARIABLE

WAITING: Final = 3
"""Exit code for a run that ended with a question that waits."""
REJECTED: Final = 4
"""Exit code for a run that people rejected."""


def run(
    channel: Annotated[str, typer.Option(help="Name or id of the reviewers' Placet channel.")],
    *,
    agent: Annotated[str | None, typer.Option(help="Name or id of the Pletor agent.")] = None,
    app: Annotated[str | None, typer.Option(help="Name or id of the Pletor app.")] = None,
    text: Annotated[
        list[str] | None, typer.Option(metavar="ID=TEXT", help="A text input; repeatable.")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option(metavar="ID=PATH", help="A file for an input; repeatable.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the questions.")] = "Run with review",
    form: Annotated[InboxForm, typer.Option(help="The review type in Placet.")] = InboxForm.AUTO,
    several: Annotated[bool, typer.Option(help="Whether more than one choice may be taken.")] = False,
    wait: Annotated[Wait, typer.Option(help="suspend ends this run while people decide.")] = Wait.HOLD,
    expires_in: Annotated[float, typer.Option(min=1, max=129_600, help="Seconds.")] = 86_400.0,
    on_expiry: Annotated[
        OnExpiry, typer.Option(help="What happens when nobody decides in time.")
    ] = OnExpiry.FAIL,
    escalation_channel: Annotated[
        str | None, typer.Option(help="The second channel, for --on-expiry escalate.")
    ] = None,
    max_rounds: Annotated[int, typer.Option(min=1, max=50, help="Proposals a person sees at most.")] = 3,
    run_key: Annotated[
        str | None, typer.Option(help="Runs with one key are one intent: nothing happens twice.")
    ] = None,
    generation: Annotated[int, typer.Option(min=0, help="1 more is a genuine re-run.")] = 0,
    pletor: Annotated[str | None, typer.Option(help="Name of the Pletor block.")] = None,
    placet: Annotated[str | None, typer.Option(help="Name of the Placet block.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Name of the ledger block.")] = None,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds that Pletor may work.")] = 3600.0,
    folder: Annotated[Path | None, typer.Option(help="Where the results go.")] = None,
) -> None:
    """Have Pletor make something, and let people decide in Placet what becomes of it."""
    show_progress()
    os.environ.setdefault(RETRIES_VARIABLE, "1")  # a person who watches would rather be told
    if not os.environ.get("PREFECT_API_URL"):
        typer.echo("PREFECT_API_URL is not set: starting a temporary Prefect server", err=True)
    try:
        with temporary_settings(TEMPORARY_SERVER):
            result = asyncio.run(
                run_with_review(
                    channel=channel,
                    agent=agent,
                    app=app,
                    texts=dict(_pair(one, "--text") for one in text or ()),
                    files=_grouped(file or ()),
                    title=title,
                    options=ReviewOptions(form=form, several=several),
                    wait=wait,
                    expires_in=expires_in,
                    on_expiry=on_expiry,
                    escalation_channel=escalation_channel,
                    max_rounds=max_rounds,
                    run_key=run_key,
                    generation=generation,
                    pletor=pletor,
                    placet=placet,
                    ledger=ledger,
                    deadline=deadline,
                    folder=folder,
                )
            )
    except PlaitError as error:
        _fail(error)
    _print(result)
    if result.status != "completed":
        raise typer.Exit(WAITING if result.status == "waiting" else REJECTED)


def watch(
    *,
    watch_for: Annotated[float, typer.Option(min=0, help="Seconds to go on looking; 0 looks once.")] = 0.0,
    pace: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    placet: Annotated[str | None, typer.Option(help="Name of the Placet block.")] = None,
    pletor: Annotated[str | None, typer.Option(help="Name of the Pletor block.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Name of the ledger block.")] = None,
) -> None:
    """Record what people decided, and resume the runs that wait for it."""
    show_progress()
    try:
        with temporary_settings(TEMPORARY_SERVER):
            asyncio.run(
                resume_reviews(placet=placet, pletor=pletor, ledger=ledger, watch_for=watch_for, pace=pace)
            )
    except PlaitError as error:
        _fail(error)


def main() -> None:
    """Run the command."""
    typer.run(run)


def resume() -> None:
    """Run the other command."""
    typer.run(watch)


def _fail(error: PlaitError) -> NoReturn:
    typer.echo(f"Error: {printable(str(error))}", err=True)
    raise typer.Exit(UNUSABLE if isinstance(error, InvalidInput | ConfigurationError) else FAILED) from None


def _pair(given: str, option: str) -> tuple[str, str]:
    name, mark, value = given.partition("=")
    if not mark or not name:
        raise InvalidInput(f"{option} {given!r} has no input's id; write ID=VALUE, as in title=Sale")
    return name, value


def _grouped(given: "list[str] | tuple[str, ...]") -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for one in given:
        name, path = _pair(one, "--file")
        grouped.setdefault(name, []).append(path)
    return grouped


def _print(result: RunWithReview) -> None:
    for one in result.reviews:
        why = f" ({one_line(one.why, 200)})" if one.why else ""
        said = f"{one.decision} by {one_line(one.by or '')}{why}" if one.decision else "waits"
        typer.echo(f"{one_line(one.round, 100)}: {one_line(one.title, 100)} {said}")
    for saved in result.files:
        typer.echo(f"{saved.path}  {saved.media_type}  {saved.size} bytes  {saved.sha256}")
    for words in result.texts:
        typer.echo(f"\n{printable(words)}\n")
    typer.echo(one_line(result.summary))
    typer.echo(f"Run key:  {one_line(result.run_key)}")
    if result.manifest is not None:
        typer.echo(f"Manifest: {result.manifest}")
