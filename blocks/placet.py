"""Where Placet is, and the key it asks for."""

from typing import TYPE_CHECKING, ClassVar, Final, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.vendors.placet.client import PlacetClient

VARIABLES: Final = {"base_url": "PLAIT_PLACET_URL", "api_key": "PLAIT_PLACET_API_KEY"}


class PlacetCredentials(CredentialsBlock):
    """A Placet server and an API key, which stands for a user and sees all its channels (placet.md §2).

    From the environment: `PLAIT_PLACET_URL` and `PLAIT_PLACET_API_KEY`.

    Example:
        ```python
        from blocks import PlacetCredentials

        credentials = PlacetCredentials.load("BLOCK_NAME")
        async with credentials.get_client() as client:
            channels = await client.list_channels()
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "Placet Credentials"
    _block_type_slug = "plait-placet-credentials"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _description = "A Placet server and API key; people review there what a flow wants to do."

    base_url: str = Field(
        title="Base URL",
        description="The server's root, without /api, for example https://placet.example.com.",
        examples=["https://placet.example.com"],
        min_length=1,
    )
    api_key: SecretStr = Field(
        title="API key",
        description="Made in Placet under Settings, API Keys; it starts with hp_.",
        min_length=1,
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read the two variables; raises `ConfigurationError` when one is not set."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "PlacetClient":
        """An unopened client; the caller enters it with `async with`."""
        from plait.http import Transport  # noqa: PLC0415 - Prefect imports this module on every command
        from plait.vendors.placet.client import PlacetClient  # noqa: PLC0415 - the same

        key = self.api_key.get_secret_value()
        return PlacetClient(Transport(system="placet", base_url=self.base_url, headers={"x-api-key": key}))
