"""`plait effects`: what is open in the ledger, and a person's word on what nobody else can know.

Exit codes: 0 all is well, 1 something is unknown or an incident, 2 what was given cannot be used.
"""

import asyncio
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from pydantic import ValidationError

from plait.effects_text import print_effect, print_effects, print_reconciled, standing
from plait.http.errors import InvalidInput
from plait.ledger import CannotLook, Ledger, Reconciled, Recorded, Timing, store
from plait.ledger.ledger import DEFAULT_PATH
from plait.ledger.settle import first_sweep
from plait.ledger.sweep import reconcile_due, recorded, sweep_due, sweep_one
from plait.ledger.tables import State
from plait.ledger.views import EffectView, Which, count_unclear, list_effects, show_effect
from plait.ledger_cli import NOT_DONE, AsJson, LedgerUrl, opened_ledger, print_json, run
from plait.recovery import Recovery, openers_from, unopened

SETTLED: Final = frozenset({"done", "rejected", "absent"})
BATCH: Final = 1000
_AGE: Final = re.compile(r"(\d+)([dhms])")
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}

app = typer.Typer(
    help="What is open in the ledger of effects, and what became of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The effect's external id.")]


@app.command("list")
def list_(
    *,
    which: Annotated[Which, typer.Option(help="Which effects.")] = "open",
    run_key: Annotated[str | None, typer.Option(help="Only effects of this run key.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything is unclear.")] = False,
    as_json: AsJson = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """List what is open: how old, next look, who is at it, and why."""

    async def work() -> tuple[list[EffectView], int]:
        async with opened_ledger(ledger) as opened:
            views = await opened.ask(partial(list_effects, which=which, run_key=run_key, limit=limit))
            return views, await opened.ask(count_unclear)

    views, unclear = run(work())
    if as_json:
        print_json(views)
    else:
        print_effects(views)
    if check and unclear:
        typer.echo(f"{unclear} unclear: unknown effects that nobody is at, and incidents", err=True)
        raise typer.Exit(NOT_DONE)


@app.command()
def show(external_id: Id, *, as_json: AsJson = False, ledger: LedgerUrl = str(DEFAULT_PATH)) -> None:
    """Show one effect with its attempts, their times, and what the vendor said."""

    async def work() -> EffectView:
        async with opened_ledger(ledger) as opened:
            return await _view(opened, external_id)

    view = run(work())
    if as_json:
        print_json(view)
    else:
        print_effect(view)


@app.command()
def reconcile(
    external_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The effect's id.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Work through all that is due.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --all: at most so many.")] = 100,
    as_json: AsJson = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
    landing_cap: Annotated[
        float | None,
        typer.Option(min=0.0, envvar="PLAIT_LEDGER_LANDING_CAP", help="D at most; for a sandbox."),
    ] = None,
    visibility_cap: Annotated[
        float | None, typer.Option(min=0.0, envvar="PLAIT_LEDGER_VISIBILITY_CAP", help="The same for L.")
    ] = None,
) -> None:
    """Look at the vendor for what became of an effect. Nothing is sent.

    Clients are opened with the PLAIT_* variables of the effect's system, such as PLAIT_PLANCK_API_KEY.
    """
    timing = Timing(landing_cap=landing_cap, visibility_cap=visibility_cap)

    async def work() -> list[Reconciled]:
        if everything == (external_id is not None):
            raise InvalidInput("give one effect's ID, or --all; plait effects list shows what is open")
        async with opened_ledger(ledger, timing) as opened, Recovery(openers_from(os.environ)) as found:
            if external_id is not None:
                return [await _look_at(opened, found, external_id)]
            looked = await reconcile_due(opened, found.restore, limit=limit)
            return looked + await sweep_due(opened, found.restore, limit=limit)

    made = run(work())
    if as_json:
        print_json(made)
    else:
        print_reconciled(made)
    if any(item.became not in SETTLED for item in made):
        raise typer.Exit(NOT_DONE)


@app.command()
def resolve(
    external_id: Id,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="How it is known.")],
    landed: Annotated[
        bool | None, typer.Option("--landed/--absent", help="Whether it took effect at the vendor.")
    ] = None,
    result: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="With --landed: what the call would have answered."),
    ] = None,
    vendor_id: Annotated[str | None, typer.Option(help="With --landed: the vendor's id of it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """Say what became of an effect, where no look can tell. Later runs go on from there.

    --landed: it took effect, with this result. --absent: it did not; its run will send it again.
    """

    async def work() -> str:
        if landed is None:
            raise InvalidInput("say what became of it: --landed or --absent")
        if not by.strip() or not note.strip():
            raise InvalidInput("--by and --note may not be empty: a later reader must know who knew, and how")
        verdict: Literal["landed", "absent"] = "landed" if landed else "absent"
        async with opened_ledger(ledger) as opened:
            view = await _view(opened, external_id)
            made, found_id = _said(view, result, vendor_id) if landed else (None, None)
            if not yes:
                await asyncio.to_thread(_confirm, view, verdict)
            await _resolve(
                opened, external_id, verdict=verdict, by=by, note=note, result=made, vendor_id=found_id
            )
        return verdict

    typer.echo(f"{external_id} is resolved as {run(work())}")


@app.command()
def retain(
    *,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Settled longer ago: 90d, 12h, 30m or 45s.")],
    ledger: LedgerUrl = str(DEFAULT_PATH),
) -> None:
    """Drop what settled effects no longer need. Ids stay, so nothing is sent again because of it."""

    async def work() -> int:
        age, total = _age(older_than), 0
        async with opened_ledger(ledger) as opened:
            await opened.bury()
            while dropped := await opened.database.write(
                lambda connection: store.compact(opened.database, connection, older_than=age, limit=BATCH),
                commit="verdict",
            ):
                total += dropped
        return total

    typer.echo(f"{run(work())} effects compacted")


async def _view(ledger: Ledger, external_id: str) -> EffectView:
    return await ledger.ask(partial(show_effect, external_id=external_id))


async def _look_at(ledger: Ledger, found: Recovery, external_id: str) -> Reconciled:
    view = await _view(ledger, external_id)
    recipe = await found.restore(_recorded(view))
    if view.state in {State.DONE, State.REJECTED}:
        return await sweep_one(ledger, external_id, recipe)
    return await ledger.reconcile(external_id, recipe, look_now=True)


def _recorded(view: EffectView) -> Recorded:
    return Recorded(
        external_id=view.external_id,
        system=view.system,
        operation=view.operation,
        account=view.account,
        target=view.target,
        inputs=view.inputs,
    )


def _said(view: EffectView, result: Path | None, vendor_id: str | None) -> tuple[Any, str | None]:
    """The result a person gives, checked against the operation's model, and the vendor's id."""
    if view.state is State.DONE:
        return None, None  # an incident: what is recorded stays
    try:
        recipe = unopened(_recorded(view))
    except CannotLook as error:
        raise InvalidInput(f"{view.external_id} cannot be resolved as landed: {error.message}") from None
    model = recipe.result_type.__name__
    if result is None and vendor_id is None:
        raise InvalidInput(
            f"say what landed: --result FILE.json with a {model}, or --vendor-id where its id is enough"
        )
    raw = _read(result) if result is not None else {"id": vendor_id}
    try:
        made = recipe.result_type.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        words = "; ".join(f"{'.'.join(map(str, one['loc'])) or model}: {one['msg']}" for one in problems[:5])
        raise InvalidInput(f"that is no {model}: {words}") from None
    return made.model_dump(mode="json"), vendor_id or recipe.vendor_id(made)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"--result {path} cannot be read as JSON: {error}") from None


def _confirm(view: EffectView, verdict: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask at; give --yes")
    print_effect(view)
    typer.echo("")
    if verdict == "absent":
        typer.echo("Its next run will send it again. If it did take effect, there will be two.")
    if not typer.confirm(f"It is {standing(view)}. Record it as {verdict}?"):
        raise InvalidInput("nothing was changed")


async def _resolve(ledger: Ledger, external_id: str, **said: Any) -> None:
    row = await ledger.database.read(lambda connection: store.effect_of(connection, external_id))
    dead = await ledger.dead({row.holder}) if row.holder is not None else frozenset()
    sweep_in = _sweep_in(row, ledger.timing)
    await ledger.database.write(
        lambda connection: store.resolve(
            ledger.database, connection, external_id, dead=dead, sweep_in=sweep_in, **said
        ),
        commit="verdict",
    )


def _sweep_in(row: store.AnyRow, timing: Timing) -> float | None:
    """When a person's "absent" is looked at once more; None where no look from here can tell."""
    try:
        return first_sweep(unopened(recorded(row)).operation, timing, 0.0)
    except CannotLook:
        return None


def _age(text: str) -> float:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"--older-than {text!r} is no age; write a number and d, h, m or s, as in 90d")
    return float(int(match[1]) * _SECONDS[match[2]])


if __name__ == "__main__":
    app()
