"""Where the ledger of effects is kept, and the times it lives by."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar, Final, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr

from blocks._schema import fields_only
from blocks.environment import from_environment

if TYPE_CHECKING:
    from plait.ledger import Ledger

VARIABLES: Final = {
    "url": "PLAIT_LEDGER_URL",
    "env": "PLAIT_ENV",
    "lease": "PLAIT_LEDGER_LEASE",
    "patience": "PLAIT_LEDGER_PATIENCE",
    "max_pause": "PLAIT_LEDGER_MAX_PAUSE",
    "landing_cap": "PLAIT_LEDGER_LANDING_CAP",
    "visibility_cap": "PLAIT_LEDGER_VISIBILITY_CAP",
}


class EffectLedger(CredentialsBlock):
    """The ledger that makes each effect happen once. Everything that shares effects shares a ledger.

    From the environment, all optional: `PLAIT_LEDGER_URL`, `PLAIT_ENV`, and in seconds
    `PLAIT_LEDGER_LEASE`, `PLAIT_LEDGER_PATIENCE`, `PLAIT_LEDGER_MAX_PAUSE`,
    `PLAIT_LEDGER_LANDING_CAP` and `PLAIT_LEDGER_VISIBILITY_CAP`.

    Example:
        ```python
        from blocks import EffectLedger

        ledger = EffectLedger.load("BLOCK_NAME")
        async with ledger.get_client() as opened:
            effects = opened.effects(run_key="2026-11-22", env=ledger.env)
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=fields_only)

    _block_type_name = "Plait Effect Ledger"
    _block_type_slug = "plait-effect-ledger"
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _description = "The database in which Plait records what it is about to do and what came of it."

    url: SecretStr = Field(
        default=SecretStr("~/.plait/ledger.db"),
        title="Database",
        description="A file path for SQLite, or a PostgreSQL URL, which may hold a password.",
        min_length=1,
    )
    env: str = Field(
        default="dev",
        title="Environment",
        description="The label that starts every external id: prod, staging, ci or dev.",
        examples=["prod", "staging", "ci", "dev"],
        pattern=r"^[a-z0-9][a-z0-9_]{0,19}$",
    )
    lease: float = Field(
        default=30.0,
        title="Lease",
        description="Seconds by which a dead runner can delay another one at most.",
        gt=0,
    )
    patience: float = Field(
        default=30.0,
        title="Patience",
        description="Seconds a call waits for another runner or for the next look before it gives up.",
        ge=0,
    )
    max_pause: float | None = Field(
        default=None,
        title="Longest pause",
        description="Seconds a runner on another host may stand still with a request in hand; after that it "
        "counts as ended. Empty: 900 on PostgreSQL, and no limit on SQLite, where an end can be proved.",
        ge=0,
    )
    landing_cap: float | None = Field(
        default=None,
        title="Landing cap",
        description="Upper bound in seconds for how late an effect may still land; for a sandbox only.",
        ge=0,
    )
    visibility_cap: float | None = Field(
        default=None,
        title="Visibility cap",
        description="Upper bound in seconds for how long an effect may stay invisible; for a sandbox only.",
        ge=0,
    )

    @classmethod
    def from_env(cls) -> Self:
        """Read the variables that are set; raises `ConfigurationError` for an unusable one."""
        return from_environment(cls, VARIABLES)

    def get_client(self) -> "AbstractAsyncContextManager[Ledger]":
        """An unopened ledger; entering it creates or migrates the database.

        Raises on entering `ConfigurationError` when the database cannot be written.
        """
        from plait.ledger import Ledger, Timing  # noqa: PLC0415 - Prefect imports this module on every command

        timing = Timing(
            lease=self.lease,
            patience=self.patience,
            max_pause=self.max_pause,
            landing_cap=self.landing_cap,
            visibility_cap=self.visibility_cap,
        )
        return Ledger.open(self.url.get_secret_value(), timing=timing)
