"""`plait sandbox`: the stand-ins on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from plait.http.errors import PlaitError
from plait.sandbox.control import read_rules
from plait.sandbox.faults import read_rules_file
from plait.sandbox.server import run
from plait.sandbox.settings import OfficePlaneSettings, SandboxSettings

app = typer.Typer(help="Local stand-ins of the vendors' services, with faults and effect counters.")


@app.callback(invoke_without_command=True)
def sandbox(
    *,
    state: Annotated[
        Path, typer.Option(help="SQLite file that keeps everything; created when missing.")
    ] = Path("plait-sandbox.db"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8700,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback is open to others.")
    ] = ("127.0.0.1"),
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
    port_file: Annotated[
        Path | None, typer.Option(help="Written with the port once requests are accepted.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="JSON file with fault rules to start with.")] = None,
    ingest_seconds: Annotated[
        float, typer.Option(min=0.0, max=600.0, help="How long OfficePlane works on an upload.")
    ] = OfficePlaneSettings().ingest_seconds,
) -> None:
    """Serve the sandbox until interrupted."""
    try:
        settings = SandboxSettings(
            state=state.absolute(),
            host=host,
            port=port,
            port_file=port_file,
            seed=seed,
            faults=tuple(read_rules(read_rules_file(faults))) if faults else (),
            officeplane=OfficePlaneSettings(ingest_seconds=ingest_seconds),
        )
        run(settings)
    except PlaitError as error:
        typer.echo(f"plait sandbox: {error}", err=True)
        raise typer.Exit(2) from error
