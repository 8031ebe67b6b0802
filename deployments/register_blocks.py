"""Make Plait's block types known to a Prefect server, and save blocks from the environment.

python -m deployments.register_blocks                  register the types
python -m deployments.register_blocks --save default   and save what the environment describes
"""

import asyncio
from typing import Annotated, Any, Final

import typer

from blocks import (
    EffectLedger,
    OfficePlaneServer,
    PlacetCredentials,
    PlanasonixCredentials,
    PlanckCredentials,
    PletorCredentials,
)
from plait.http.errors import ConfigurationError

KINDS: Final[tuple[Any, ...]] = (
    OfficePlaneServer,
    PlanckCredentials,
    PlacetCredentials,
    PletorCredentials,
    PlanasonixCredentials,
    EffectLedger,
)


def register(
    save: Annotated[
        str | None, typer.Option(help="Save each block that the environment describes, under this name.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace blocks of that name.")] = False,
) -> None:
    """Register the block types; with --save also blocks."""
    asyncio.run(_register(save, overwrite=overwrite))


async def _register(save: str | None, *, overwrite: bool) -> None:
    for kind in KINDS:
        await kind.aregister_type_and_schema()
        typer.echo(f"registered {kind.get_block_type_slug()}")
        if save is not None:
            await _save(kind, save, overwrite=overwrite)


async def _save(kind: Any, name: str, *, overwrite: bool) -> None:
    try:
        block = kind.from_env()
        await block.asave(name, overwrite=overwrite)
    except ConfigurationError as error:
        typer.echo(f"not saved: {error.message}", err=True)
    except ValueError as error:
        typer.echo(f"not saved: {kind.__name__} {name!r}: {error} Use --overwrite to replace it.", err=True)
    else:
        typer.echo(f"saved {kind.get_block_type_slug()}/{name}")


if __name__ == "__main__":
    typer.run(register)
