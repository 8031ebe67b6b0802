"""The `plait` command. Commands load what they need when they run, so that it starts at once."""

from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from plait.http.operation import Operation

SYSTEMS: Final = ("officeplane", "planck", "placet", "pletor", "planasonix")

app = typer.Typer(
    name="plait",
    help="Braids five services into dependable Prefect workflows: every effect happens once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(
    "sandbox",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def sandbox(context: typer.Context) -> None:
    """Run local stand-ins of the services, with faults and effect counters."""
    try:
        command = import_module("plait.sandbox.cli").app
    except ModuleNotFoundError as error:
        typer.echo(f"plait sandbox needs {error.name}: pip install 'plait[sandbox]'", err=True)
        raise typer.Exit(2) from None
    command(args=context.args, prog_name="plait sandbox")


@app.command(
    "effects",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def effects(context: typer.Context) -> None:
    """See what is open in the ledger of effects, look for it again, or say what became of it."""
    command = import_module("plait.effects_cli").app
    command(args=context.args, prog_name="plait effects")


@app.command(
    "reviews",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def reviews(context: typer.Context) -> None:
    """See what waits for a person's decision, remind people, or take a question back."""
    command = import_module("plait.reviews_cli").app
    command(args=context.args, prog_name="plait reviews")


@app.command()
def guarantees(
    adversaries: Annotated[
        Path | None, typer.Option(help="TOML file of adversaries, and the tests that show each guarantee.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write there instead of printing.")] = None,
) -> None:
    """Print what is guaranteed for each effect, as Markdown."""
    page = import_module("plait.guarantees").render(all_operations(), adversaries)
    if output is None:
        typer.echo(page, nl=False)
    else:
        output.write_text(page, encoding="utf-8")


@app.command()
def version() -> None:
    """Print the installed version."""
    typer.echo(installed_version("plait"))


@app.command()
def coverage() -> None:
    """Show each operation of each system: its effect class, and what of Plait stands behind it."""
    served = stand_in_routes()
    rows = [_row(operation, served) for operation in all_operations()]
    table = [("operation", "call", "effect", "known from", "client", "stand-in"), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def all_operations() -> list["Operation"]:
    """The operation tables of every system, in order."""
    tables = (import_module(f"plait.vendors.{system}.operations") for system in SYSTEMS)
    return [operation for table in tables for operation in table.OPERATIONS]


def has_client(operation: "Operation") -> bool:
    """Whether the system's client has a method of the operation's name."""
    module = import_module(f"plait.vendors.{operation.system}.client")
    clients = [kind for name, kind in vars(module).items() if name.endswith("Client")]
    return any(callable(getattr(kind, operation.name, None)) for kind in clients)


def stand_in_routes() -> set[tuple[str, str, str]]:
    """System, method and path of every route of the sandbox's stand-ins."""
    from plait.clock import BootClock  # noqa: PLC0415 - the sandbox's libraries are an extra
    from plait.sandbox.context import SandboxContext  # noqa: PLC0415 - the same
    from plait.sandbox.officeplane import create_officeplane  # noqa: PLC0415 - the same
    from plait.sandbox.officeplane_documents import DocumentLibrary  # noqa: PLC0415 - the same
    from plait.sandbox.placet import create_placet  # noqa: PLC0415 - the same
    from plait.sandbox.planasonix import create_planasonix  # noqa: PLC0415 - the same
    from plait.sandbox.planck import create_planck  # noqa: PLC0415 - the same
    from plait.sandbox.pletor import create_pletor  # noqa: PLC0415 - the same
    from plait.sandbox.settings import SandboxSettings  # noqa: PLC0415 - the same
    from plait.sandbox.store import Store  # noqa: PLC0415 - the same

    settings = SandboxSettings(state=Path("never-opened.db"))
    store = Store(settings.state)
    library = DocumentLibrary(store, settings.files)
    context = SandboxContext(settings=settings, store=store, library=library, clock=BootClock())
    services = {
        "officeplane": create_officeplane(context),
        "planck": create_planck(context),
        "placet": create_placet(context),
        "pletor": create_pletor(context),
        "planasonix": create_planasonix(context),
    }
    return {
        (system, method, route.path)
        for system, service in services.items()
        for route in _routes(service)
        for method in getattr(route, "methods", None) or ()
    }


def _routes(app: object) -> list[Any]:
    """The routes of an application that may be wrapped in others."""
    while not hasattr(app, "routes"):
        app = vars(app)["_app"]
    return list(app.routes)


def _row(operation: "Operation", served: set[tuple[str, str, str]]) -> tuple[str, ...]:
    answered = (operation.system, operation.method, operation.path) in served
    return (
        operation.key,
        f"{operation.method} {operation.path}",
        operation.effect.value,
        operation.source.value,
        "yes" if has_client(operation) else "no",
        "yes" if answered else "no",
    )


if __name__ == "__main__":
    app()
