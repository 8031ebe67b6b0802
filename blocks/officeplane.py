"""Where OfficePlane is."""

from typing import TYPE_CHECKING, ClassVar, Final, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.vendors.officeplane.client import OfficePlaneClient

VARIABLES: Final = {"base_url": "PLAIT_OFFICEPLANE_URL"}


class OfficePlaneServer(CredentialsBlock):
    """An OfficePlane server. It asks for no credentials (officeplane.md §2.1).

    From the environment: `PLAIT_OFFICEPLANE_URL`.

    Example:
        ```python
        from blocks import OfficePlaneServer

        server = OfficePlaneServer.load("BLOCK_NAME")
        async with server.get_client() as client:
            documents = await client.list_documents()
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "OfficePlane Server"
    _block_type_slug = "plait-officeplane-server"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://github.com/enoch3712/OfficePlane")
    _description = "Where an OfficePlane server is; it ingests, edits and generates office documents."

    base_url: str = Field(
        title="Base URL",
        description="The server's root, without /api, for example http://localhost:8001.",
        examples=["http://localhost:8001"],
        min_length=1,
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read `PLAIT_OFFICEPLANE_URL`; raises `ConfigurationError` when it is not set."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "OfficePlaneClient":
        """An unopened client; the caller enters it with `async with`."""
        from plait.http import Transport  # noqa: PLC0415 - Prefect imports this module on every command
        from plait.vendors.officeplane.client import OfficePlaneClient  # noqa: PLC0415 - the same

        return OfficePlaneClient(Transport(system="officeplane", base_url=self.base_url))
