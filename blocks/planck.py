"""Where Planck AI is, and the key it asks for."""

from typing import TYPE_CHECKING, ClassVar, Final, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.vendors.planck.client import PlanckClient

VARIABLES: Final = {"base_url": "PLAIT_PLANCK_URL", "api_key": "PLAIT_PLANCK_API_KEY"}


class PlanckCredentials(CredentialsBlock):
    """A Planck AI domain and an API key, which has its owner's permissions (planck.md §2.1).

    From the environment: `PLAIT_PLANCK_URL` and `PLAIT_PLANCK_API_KEY`.

    Example:
        ```python
        from blocks import PlanckCredentials

        credentials = PlanckCredentials.load("BLOCK_NAME")
        async with credentials.get_client() as client:
            workspaces = await client.list_workspaces()
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "Planck AI Credentials"
    _block_type_slug = "plait-planck-credentials"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _description = "A Planck AI domain and API key; it answers questions over documents and databases."

    base_url: str = Field(
        title="Base URL",
        description="The API's address, /api/v1 included, for example https://planck.example.com/api/v1.",
        examples=["https://planck.example.com/api/v1"],
        min_length=1,
    )
    api_key: SecretStr = Field(
        title="API key",
        description="The key that Planck showed once when it was issued; it starts with pk_live_.",
        min_length=1,
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read the two variables; raises `ConfigurationError` when one is not set."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "PlanckClient":
        """An unopened client; the caller enters it with `async with`."""
        from plait.http import Transport  # noqa: PLC0415 - Prefect imports this module on every command
        from plait.vendors.planck.client import PlanckClient  # noqa: PLC0415 - the same

        key = self.api_key.get_secret_value()
        return PlanckClient(Transport(system="planck", base_url=self.base_url, headers={"X-API-Key": key}))
