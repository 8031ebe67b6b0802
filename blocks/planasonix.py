"""Where Planasonix is, how its backend speaks, and the key it asks for."""

from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.vendors.planasonix.client import PlanasonixClient

VARIABLES: Final = {
    "base_url": "PLAIT_PLANASONIX_URL",
    "api_key": "PLAIT_PLANASONIX_API_KEY",
    "dialect": "PLAIT_PLANASONIX_DIALECT",
    "organization_id": "PLAIT_PLANASONIX_ORGANIZATION",
    "interface_url": "PLAIT_PLANASONIX_INTERFACE_URL",
}


class PlanasonixCredentials(CredentialsBlock):
    """A Planasonix workspace, an API key, and the dialect its backend speaks (planasonix.md §2, §7.1).

    From the environment: `PLAIT_PLANASONIX_API_KEY`, and optionally `PLAIT_PLANASONIX_URL`,
    `PLAIT_PLANASONIX_DIALECT`, `PLAIT_PLANASONIX_ORGANIZATION` and `PLAIT_PLANASONIX_INTERFACE_URL`.

    Example:
        ```python
        from blocks import PlanasonixCredentials

        credentials = PlanasonixCredentials.load("BLOCK_NAME")
        async with credentials.get_client() as client:
            pipelines = await client.list_pipelines()
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "Planasonix Credentials"
    _block_type_slug = "plait-planasonix-credentials"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _description = "A Planasonix workspace and API key; its pipelines and syncs are triggered and watched."

    base_url: str = Field(
        default="https://api.planasonix.com/v1",
        title="Base URL",
        description="The API's address, with or without the dialect's prefix.",
        examples=["https://api.planasonix.com/v1", "https://acme.planasonixapis.com/v1"],
        min_length=1,
    )
    api_key: SecretStr = Field(
        title="API key",
        description="Made in Planasonix under Organization, API Keys; sent as a bearer token.",
        min_length=1,
    )
    dialect: Literal["spec", "hosted", "versioned", "flat", "bare", "detect"] = Field(
        default="spec",
        title="Dialect",
        description=(
            "How the backend speaks: spec is the vendor's overview page, hosted every other page; detect "
            "asks with harmless reads."
        ),
    )
    organization_id: str = Field(
        default="",
        title="Organization id",
        description="Sent with every call; needed only where one key serves several organizations.",
    )
    interface_url: str = Field(
        default="",
        title="Interface URL",
        description="Where people see runs and jobs, for links; never guessed from the API's address.",
        examples=["https://app.planasonix.example"],
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read the variables; raises `ConfigurationError` when the key is not set."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "PlanasonixClient":
        """An unopened client; the caller enters it with `async with`."""
        from plait.vendors.planasonix.client import connect  # noqa: PLC0415 - Prefect imports this on every command

        return connect(
            self.base_url,
            api_key=self.api_key.get_secret_value(),
            dialect=self.dialect,
            organization_id=self.organization_id,
            interface_url=self.interface_url or None,
        )
