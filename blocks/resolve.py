"""What a flow may be given in place of a block: the block, its name, or nothing."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self, TypeVar

from plait.http.errors import ConfigurationError


class ClientBlock(Protocol):
    """A block that opens a client and can be read from the environment."""

    @classmethod
    def from_env(cls) -> Self:
        """The block as the environment describes it; raises `ConfigurationError`."""

    @classmethod
    async def aload(cls, name: str) -> Self:
        """The saved block of this name; raises `ValueError`."""

    def get_client(self) -> AbstractAsyncContextManager[Any]:
        """An unopened client."""


B = TypeVar("B", bound=ClientBlock)


async def resolve(kind: type[B], given: B | str | None) -> B:
    """The block itself, the saved block of that name, or for None the environment's.

    Raises `ConfigurationError` when there is no such block, or a variable is missing.
    """
    if given is None:
        return kind.from_env()
    if not isinstance(given, str):
        return given
    try:
        return await kind.aload(given)
    except ValueError as error:
        raise ConfigurationError(_no_such_block(kind.__name__, given, error)) from None


def _no_such_block(kind: str, name: str, error: ValueError) -> str:
    if "Unable to find block document" in str(error):
        problem = f"there is no {kind} block named {name!r} on this Prefect server"
    else:
        problem = f"the {kind} block {name!r} cannot be used: its saved fields do not fit this version"
    return (
        f"{problem}. Save one in the Prefect UI (Blocks) or with `python -m deployments.register_blocks "
        f"--save {name}`, or give no name to use the environment."
    )
