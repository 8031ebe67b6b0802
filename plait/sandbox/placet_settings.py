"""The switches of the Placet stand-in (placet.md §8)."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Seconds: TypeAlias = Annotated[float, Field(gt=0.0, le=3600.0)]


class PlacetSettings(BaseModel):
    """How the stand-in behaves; defaults are what the vendor's source says, unless [assumed] is noted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    throttle: bool = True
    throttle_limit: int = Field(default=100, ge=1)
    throttle_window: Seconds = 60.0
    """So many requests in so many seconds, for each client address and route."""
    wait_step: Seconds = 2.0
    wait_cap: Seconds = 30.0
    """How often a long-poll looks, and how long it lasts at most."""
    sweep: Seconds = 60.0
    """Seconds between two sweeps, which expire reviews with an event and abort stale drafts."""
    stale_draft: Seconds = 300.0
    """Silence after which a draft is aborted."""
    missing_channel: Literal["own", "strict"] = "own"
    """A call by id without `channel`: looked up within the key's own channels, or 400 [assumed]. Lists
    always answer 400, where the vendor would show everybody's messages."""
    late_channel_field: Literal["large", "always"] = "large"
    """A `channelId` after the file is missed for files over 64 KiB, or always."""
    old_server: bool = False
    """An older server, which knows no `clientId`."""
    race_seconds: float = Field(default=0.0, ge=0.0, le=60.0)
    """Above 0: so long a post stands between its look for the key and its insert, as at the vendor. Of two
    at once with one `clientId` both are made, with one `streamId` the second gets a 500 [inferred]."""
    link_failures: int = Field(default=0, ge=0)
    """So many first messages with files are stored and answered without them."""
    local_webhooks: bool = False
    """Whether webhooks may go to loopback and private addresses; the vendor refuses them."""
    webhook_timeout: Seconds = 10.0
