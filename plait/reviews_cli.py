"""`plait reviews`: one inbox of what waits for people, whatever flow asked.

Exit codes: 0 all is well, 1 something is overdue (`list --check`) or not done, 2 unusable input.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Final

import typer

from plait.content.remark import code_span, escape_markdown
from plait.content.text import counted, one_line
from plait.effects_text import span
from plait.http.errors import ConfigurationError, InvalidInput
from plait.ledger import Ledger
from plait.ledger.ledger import DEFAULT_PATH
from plait.ledger.review_views import (
    ReviewView,
    WhichReviews,
    count_overdue_reviews,
    find_reviews,
    list_reviews,
    show_review,
)
from plait.ledger.store import reviews as store
from plait.ledger_cli import NOT_DONE, AsJson, LedgerUrl, opened_ledger, print_json, run
from plait.recovery import VARIABLES, openers_from
from plait.reviews import Inbox
from plait.reviews_text import left, print_review, print_reviews, standing
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.models import MessageContent
from plait.vendors.placet.recovery import PostMessage

MANY: Final = 10_000
NAMED: Final = 20
"""Questions that one reminder names."""

app = typer.Typer(
    help="What waits for a person's decision, for how long, and what happens at expiry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The review's id.")]


@app.command("list")
def list_(
    *,
    which: Annotated[WhichReviews, typer.Option(help="Which reviews.")] = "open",
    run_key: Annotated[str | None, typer.Option(help="Only reviews of this run key.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if anything is overdue, listed or not.")
    ] = False,
    as_json: AsJson = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """List what waits: for how long, how much time is left, what happens then."""

    async def work() -> tuple[list[ReviewView], int]:
        async with opened_ledger(ledger) as opened:
            listed = await opened.ask(partial(list_reviews, which=which, run_key=run_key, limit=limit))
            overdue = await opened.ask(partial(count_overdue_reviews, run_key=run_key))
            return await _whole(opened, [view.id for view in listed]), overdue

    views, overdue = run(work())
    if as_json:
        print_json(views)
    else:
        print_reviews(views)
    if check and overdue:
        typer.echo(f"{counted(overdue, 'review')} overdue", err=True)
        raise typer.Exit(NOT_DONE)


@app.command()
def show(review_id: Id, *, as_json: AsJson = False, ledger: LedgerUrl = str(DEFAULT_PATH)) -> None:
    """Show one review: what was asked, where, and every answer that was seen."""

    async def work() -> ReviewView:
        async with opened_ledger(ledger) as opened:
            return await opened.ask(partial(show_review, review_id=review_id))

    view = run(work())
    if as_json:
        print_json(view)
    else:
        print_review(view)


@app.command()
def remind(
    review_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The review's id.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remind of all that waits.")] = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """Tell the channel that a decision is waited for: one message a channel, however much waits.

    The client is opened with PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY.
    """

    async def work() -> int:
        if everything == (review_id is not None):
            raise InvalidInput("give one review's ID, or --all; plait reviews list shows what waits")
        async with opened_ledger(ledger) as opened, _placet() as client:
            if review_id is None:
                listed = await opened.ask(partial(list_reviews, limit=MANY))
                views = await _whole(opened, [view.id for view in listed if view.state == "waiting"])
            else:
                views = [await opened.ask(partial(show_review, review_id=review_id))]
            return await _remind(opened, client, views)

    told = run(work())
    typer.echo(f"{counted(told, 'channel')} reminded")


@app.command()
def withdraw(
    review_id: Id,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why nobody needs to decide.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """Take a question back: its run ends, its messages are retracted, later answers are only kept.

    Messages are retracted with PLAIT_PLACET_URL and PLAIT_PLACET_API_KEY; without them by `resume_reviews`.
    """

    async def work() -> str:
        if not by.strip() or not note.strip():
            raise InvalidInput("--by and --note may not be empty: a later reader must know who, and why")
        async with opened_ledger(ledger) as opened:
            view = await opened.ask(partial(show_review, review_id=review_id))
            if not yes:
                await asyncio.to_thread(_confirm, view)
            done = await opened.database.write(
                lambda connection: store.withdraw(
                    opened.database, connection, review_id, reason=f"{by}: {note}", outcome="withdrawn"
                ),
                commit="verdict",
            )
            if not done:
                raise InvalidInput(f"{review_id} is {view.state}: there is nothing to withdraw")
            if "placet" not in openers_from(os.environ):
                return f"its messages stay until resume_reviews sees them (set {VARIABLES['placet']})"
            async with _placet() as client:
                await Inbox(opened, client).close(review_id)
            return "its messages were retracted"

    typer.echo(f"{review_id} is withdrawn; {run(work())}")


@asynccontextmanager
async def _placet() -> AsyncIterator[PlacetClient]:
    opener = openers_from(os.environ).get("placet")
    if opener is None:
        raise ConfigurationError(f"there is no client of placet here: set {VARIABLES['placet']}")
    async with opener() as client:
        yield client


async def _whole(ledger: Ledger, review_ids: Sequence[str]) -> list[ReviewView]:
    return await ledger.ask(partial(find_reviews, review_ids=list(review_ids)))


async def _remind(ledger: Ledger, client: PlacetClient, views: Sequence[ReviewView]) -> int:
    """One message for each channel in which a question can be answered."""
    await ledger.database.write(
        lambda connection: [store.remind(connection, view.id) for view in views], commit="verdict"
    )
    by_channel: dict[str, list[ReviewView]] = {}
    for view in views:
        open_places = {
            one.channel_id
            for one in view.messages
            if one.closed_at is None and one.message_id is not None and one.account == client.base_url
        }
        for channel_id in open_places:
            by_channel.setdefault(channel_id, []).append(view)
    effects = ledger.effects(run_key="plait reviews remind")
    call = secrets.token_hex(8)
    for channel_id, waiting in by_channel.items():
        content = MessageContent(text=reminder(waiting), status="warning")
        await effects.perform(PostMessage(client, channel_id, content), step=call)
    return len(by_channel)


def reminder(views: Sequence[ReviewView]) -> str:
    """The message: what waits, for how long, and how much time is left."""
    lines = [f"**{counted(len(views), 'decision')} waited for**", ""]
    for view in views[:NAMED]:
        time = f"waits {span(view.age)}" + (f", {left(view)} left" if left(view) else "")
        lines.append(f"- {escape_markdown(one_line(view.title, 100))}: {time} ({code_span(view.id)})")
    if len(views) > NAMED:
        lines.append(f"- and {len(views) - NAMED:,} more")
    return "\n".join(lines)


def _confirm(view: ReviewView) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask at; give --yes")
    print_review(view)
    typer.echo("")
    if not typer.confirm(f"It {standing(view)}. Withdraw it? Its run ends without a decision"):
        raise InvalidInput("nothing was changed")


if __name__ == "__main__":
    app()
