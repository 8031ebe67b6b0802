"""Where Pletor is, and the credential it asks for."""

from typing import TYPE_CHECKING, ClassVar, Final, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.vendors.pletor.client import PletorClient

VARIABLES: Final = {
    "base_url": "PLAIT_PLETOR_URL",
    "api_key": "PLAIT_PLETOR_API_KEY",
    "token": "PLAIT_PLETOR_TOKEN",
    "organization": "PLAIT_PLETOR_ORGANIZATION",
    "send_review_keys": "PLAIT_PLETOR_REVIEW_KEYS",
}


class PletorCredentials(CredentialsBlock):
    """A Pletor API key, or a bearer JWT in its place (pletor.md §2.1).

    From the environment: `PLAIT_PLETOR_API_KEY` or `PLAIT_PLETOR_TOKEN`, and optionally
    `PLAIT_PLETOR_URL`, `PLAIT_PLETOR_ORGANIZATION` and `PLAIT_PLETOR_REVIEW_KEYS`.

    Example:
        ```python
        from blocks import PletorCredentials

        credentials = PletorCredentials.load("BLOCK_NAME")
        async with credentials.get_client() as client:
            agents = await client.list_agents()
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "Pletor Credentials"
    _block_type_slug = "plait-pletor-credentials"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _description = "A Pletor API key or token; its agents and apps make pictures, videos and texts."

    base_url: str = Field(
        default="https://api.pletor.ai/api/public/v1",
        title="Base URL",
        description="The API's address, /api/public/v1 included.",
        examples=["https://api.pletor.ai/api/public/v1"],
        min_length=1,
    )
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="Sent as X-Api-Key. Give this or a token, not both."
    )
    token: SecretStr | None = Field(
        default=None, title="Bearer token", description="A JWT, sent in the Authorization header."
    )

    organization: str = Field(
        default="",
        title="Organization",
        description="Any label of your own; needed only where one ledger serves several organizations.",
    )
    send_review_keys: bool = Field(
        default=True,
        title="Keys on review decisions",
        description="Whether a decision carries an external_id; off where Pletor answers 422 to it.",
    )

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if bool(self.api_key) == bool(self.token):
            raise ValueError(
                f"give exactly one of an API key ({VARIABLES['api_key']}) and a bearer token "
                f"({VARIABLES['token']})"
            )
        return self

    @classmethod
    def from_env(cls) -> Self:
        """Read the variables; raises `ConfigurationError` unless exactly one credential is set."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "PletorClient":
        """An unopened client; the caller enters it with `async with`."""
        from plait.http import Transport  # noqa: PLC0415 - Prefect imports this module on every command
        from plait.vendors.pletor.client import DIALECT, PletorClient, authorization  # noqa: PLC0415 - the same

        headers = authorization(api_key=_plain(self.api_key), token=_plain(self.token))
        return PletorClient(
            Transport(system="pletor", base_url=self.base_url, headers=headers, dialect=DIALECT),
            organization=self.organization,
            send_review_keys=self.send_review_keys,
        )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
