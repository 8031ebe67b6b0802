"""What the commands that work on a ledger share: its option, opening it, and how errors end them.

Exit codes: 0 all is well, 1 something is open or was not done, 2 what was given cannot be used.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel

from plait.content.text import printable
from plait.http.errors import ConfigurationError, InvalidInput, PlaitError
from plait.ledger import Ledger, Timing

R = TypeVar("R")

NOT_DONE: Final = 1
UNUSABLE: Final = 2

LedgerUrl = Annotated[
    str,
    typer.Option("--ledger", envvar="PLAIT_LEDGER_URL", help="A file path or a PostgreSQL URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@asynccontextmanager
async def opened_ledger(url: str, timing: Timing | None = None) -> AsyncIterator[Ledger]:
    """A ledger that is there; a mistyped path is an error, not a new ledger."""
    ledger = Ledger.open(url, timing=timing)
    path = ledger.database.path
    if path is not None and not path.exists():
        raise ConfigurationError(f"there is no ledger at {path}; name one with --ledger or PLAIT_LEDGER_URL")
    async with ledger:
        yield ledger


def run(work: Coroutine[Any, Any, R]) -> R:
    """Do the work of a command; an error of ours is one line and an exit code."""
    try:
        return asyncio.run(work)
    except PlaitError as error:
        typer.echo(f"plait: {printable(str(error))}", err=True)
        unusable = isinstance(error, InvalidInput | ConfigurationError)
        raise typer.Exit(UNUSABLE if unusable else NOT_DONE) from None


def print_json(found: BaseModel | Sequence[BaseModel]) -> None:
    """A model, or a list of them, as indented JSON."""
    said = (
        found.model_dump(mode="json")
        if isinstance(found, BaseModel)
        else [one.model_dump(mode="json") for one in found]
    )
    typer.echo(json.dumps(said, indent=2))
