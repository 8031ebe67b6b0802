"""The wire dialects of Planasonix: where calls are found, and how bodies are written (planasonix.md §7.1).

Reading needs no dialect, one normaliser takes every shape. The stand-in's mounts are presets of this
table at these bases: `spec` at `/planasonix` (`/planasonix/v1/…`), `hosted` at `/planasonix/docs`
(`/docs/api/…` and `/docs/api/v1/jobs`), `flat` at `/planasonix/air` (everything under `/air/api/v1/…`),
`bare` at `/planasonix/go` (`/go/api/…` and `/go/api/v1/jobs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from plait.http.operation import Operation
from plait.vendors.planasonix.operations import ORCHESTRATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way to speak to Planasonix."""

    name: str
    resources: str
    """Prefix of connections, pipelines, runs and schedules."""
    orchestration: str
    """Prefix of sync jobs, backfills and webhook subscriptions."""
    run_values: Literal["variables", "parameters"] = "variables"
    """What the values of a run are called (C6)."""
    settings: Literal["config", "params"] = "config"
    """What a connection's settings are called; `params` takes texts only, and a category (C7)."""
    frequency: bool = False
    """Whether a schedule is written with `frequency: "custom"` (C8)."""
    runs_of_pipeline: bool = False
    """Whether a pipeline's runs are listed under the pipeline, and not by a filter of `/runs`."""

    def path(self, operation: Operation) -> str:
        """The operation's path behind its prefix."""
        prefix = self.orchestration if operation in ORCHESTRATION else self.resources
        return f"{prefix}{operation.path}"

    def overlap(self, path: str) -> int:
        """How many characters at the end of `path` are a beginning of a prefix, in whole segments."""
        return max(_overlap(path, self.resources), _overlap(path, self.orchestration))


def _overlap(path: str, prefix: str) -> int:
    segments = prefix.split("/")[1:]
    heads = ("/" + "/".join(segments[:count]) for count in range(len(segments), 0, -1))
    return next((len(head) for head in heads if path.endswith(head)), 0)


SPEC: Final = Dialect(name="spec", resources="/v1", orchestration="/v1")
"""The vendor's overview page [doc]; it names no orchestration path, so the second prefix is inferred."""
HOSTED: Final = Dialect(name="hosted", resources="/api", orchestration="/api/v1")
"""Every endpoint page of the documentation, and both published clients."""
VERSIONED: Final = Dialect(name="versioned", resources="/v1/api", orchestration="/v1/api/v1")
"""A workspace with a versioned base."""
FLAT: Final = Dialect(name="flat", resources="/api/v1", orchestration="/api/v1")
"""What the vendor's Airflow provider is answered by; resources at the same prefix are inferred."""
BARE: Final = Dialect(
    name="bare",
    resources="/api",
    orchestration="/api/v1",
    run_values="parameters",
    settings="params",
    frequency=True,
    runs_of_pipeline=True,
)
"""What the vendor's Go client speaks."""

PRESETS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {dialect.name: dialect for dialect in (SPEC, HOSTED, VERSIONED, FLAT, BARE)}
)
