"""Planasonix as typed calls, in whichever dialect its backend speaks (planasonix.md §3, §7.1)."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from plait.http import RateDialect, Transport
from plait.http.errors import ConfigurationError
from plait.vendors.planasonix import operations
from plait.vendors.planasonix.connections import Connections
from plait.vendors.planasonix.dialects import PRESETS, SPEC, Dialect
from plait.vendors.planasonix.jobs import Jobs
from plait.vendors.planasonix.models import PipelineRun, SyncJob
from plait.vendors.planasonix.pipelines import Pipelines
from plait.vendors.planasonix.runs import Runs
from plait.vendors.planasonix.schedules import Schedules
from plait.vendors.planasonix.subscriptions import Subscriptions
from plait.vendors.planasonix.wire import PROBED

BASE_URL: Final = "https://api.planasonix.com/v1"
RATES: Final = RateDialect()
"""Where a deployment sends rate headers, the reset is an epoch in seconds, by the page's example."""
DEFAULT: Final = SPEC.name
DETECT: Final = "detect"
"""In place of a preset's name: the server is asked, by reads, at the first call."""


def authorization(api_key: str, *, organization_id: str | None = None) -> dict[str, str]:
    """The headers of a key. Its prefix says nothing: four are known (planasonix.md §2.2)."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return headers | ({"X-Organization-ID": organization_id} if organization_id else {})


def root_of(base_url: str, dialect: Dialect | None) -> str:
    """The base URL without the part of it that the dialect's prefixes begin with, which else came twice.

    None: without what any dialect's prefix could be.
    """
    text = base_url.strip().rstrip("/")
    path = urlsplit(text).path
    spoken = [dialect] if dialect is not None else PRESETS.values()
    return text[: len(text) - max(each.overlap(path) for each in spoken)]


def preset(name: str) -> Dialect | None:
    """The dialect of this name; None for `detect`. Raises `ConfigurationError` for an unknown one."""
    if name == DETECT:
        return None
    if name not in PRESETS:
        raise ConfigurationError(
            f"Planasonix has no dialect {name!r}; choose one of {', '.join([*PRESETS, DETECT])}"
        )
    return PRESETS[name]


class PlanasonixClient(Connections, Pipelines, Runs, Jobs, Schedules, Subscriptions):
    """One method per operation. Every method raises the errors of `plait.http.errors`.

    Args:
        transport: made for the address before every prefix (`root_of`), with the headers of
            `authorization` and `RATES`; closed with the client.
        dialect: how the server is spoken to; None: found out by reads at the first call.
        organization: the id sent with each call, where one key serves several organizations; what was
            done for one is then never taken for the other's.
        interface_url: where people see runs and jobs, for links; never the API's host.
        probed: the dialects to find out among, the likeliest first.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        dialect: Dialect | None = SPEC,
        organization: str = "",
        interface_url: str | None = None,
        probed: Sequence[Dialect] = PROBED,
    ) -> None:
        super().__init__(transport, dialect=dialect, organization=organization, probed=probed)
        self._interface = interface_url.rstrip("/") if interface_url else None

    def link(self, work: PipelineRun | SyncJob) -> str | None:
        """Where people see a run or a job; None where no interface address is configured.

        The interface's paths are not documented: `/runs/{id}` and `/jobs/{id}` are [assumed].
        """
        if self._interface is None:
            return None
        kind = "runs" if isinstance(work, PipelineRun) else "jobs"
        return f"{self._interface}/{kind}/{quote(work.id, safe='')}"


def connect(
    base_url: str = BASE_URL,
    *,
    api_key: str,
    dialect: str = DEFAULT,
    organization_id: str = "",
    interface_url: str | None = None,
    **options: Any,
) -> PlanasonixClient:
    """An unopened client. `options` go to the transport.

    Args:
        base_url: with or without the dialect's prefix, such as `https://api.planasonix.com/v1`.
        api_key: sent as a bearer token.
        dialect: the name of a preset, or `detect`.
        organization_id: see `PlanasonixClient`.
        interface_url: see `PlanasonixClient`.
        **options: what else the transport takes.

    Raises:
        ConfigurationError: the address, the key or the dialect cannot be used.
    """
    spoken = preset(dialect)
    transport = Transport(
        system=operations.SYSTEM,
        base_url=root_of(base_url, spoken),
        headers=authorization(api_key, organization_id=organization_id),
        dialect=RATES,
        **options,
    )
    # The prefix that the address ends in, if it has one, is the likeliest.
    path = urlsplit(base_url.strip().rstrip("/")).path
    return PlanasonixClient(
        transport,
        dialect=spoken,
        organization=organization_id,
        interface_url=interface_url,
        probed=sorted(PROBED, key=lambda each: -each.overlap(path)),
    )
