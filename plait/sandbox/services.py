"""Which path belongs to which operation of which service, read from the vendors' own tables."""

import re
from dataclasses import dataclass
from typing import Final

from plait.http.operation import Operation
from plait.vendors.officeplane.operations import OPERATIONS as OFFICEPLANE
from plait.vendors.placet.operations import OPERATIONS as PLACET
from plait.vendors.planasonix.operations import OPERATIONS as PLANASONIX
from plait.vendors.planck.operations import OPERATIONS as PLANCK
from plait.vendors.pletor.operations import OPERATIONS as PLETOR

_PARAMETER = re.compile(r"\\{\w+\\}")


@dataclass(frozen=True, slots=True)
class Service:
    """A stand-in: its name and the path its base URL has inside the sandbox."""

    name: str
    base_path: str
    operations: tuple[Operation, ...]
    mounts: tuple[str, ...] = ()
    """Further paths that are a base of the same operations."""


PLANASONIX_MOUNTS: Final = tuple(
    f"/planasonix{prefix}"
    for prefix in (
        "/docs/api/v1",
        "/docs/api",
        "/docs/v1/api/v1",
        "/docs/v1/api",
        "/air/api/v1",
        "/go/api/v1",
        "/go/api",
    )
)
"""One state, a mount for each dialect (planasonix.md §8)."""

SERVICES: Final = (
    Service("officeplane", "/officeplane", OFFICEPLANE),
    Service("planck", "/planck/api/v1", PLANCK),
    Service("placet", "/placet", PLACET),
    Service("pletor", "/pletor/api/public/v1", PLETOR),
    Service("planasonix", "/planasonix/v1", PLANASONIX, mounts=PLANASONIX_MOUNTS),
)


@dataclass(frozen=True, slots=True)
class Called:
    """What a request calls; `operation` is None for a path outside the table."""

    service: str
    operation: str | None


def _pattern(operation: Operation) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub("[^/]+", re.escape(operation.path)))


# Longer paths first: `/docs/api/v1/jobs` lies at the mount `/docs/api/v1`, not at `/docs/api`.
_BASES: Final = sorted(
    ((base, service) for service in SERVICES for base in (service.base_path, *service.mounts)),
    key=lambda pair: -len(pair[0]),
)

# Paths without parameters first: `/documents/upload` is not a document whose id is `upload`.
_PATTERNS: Final = {
    service.name: [
        (operation.method, _pattern(operation), Called(service.name, operation.name))
        for operation in sorted(service.operations, key=lambda operation: operation.path.count("{"))
    ]
    for service in SERVICES
}


def called(method: str, raw_path: str) -> Called | None:
    """The operation behind an undecoded path; None where it is no service's path at all."""
    for base, service in _BASES:
        if raw_path == base or raw_path.startswith(f"{base}/"):
            rest = raw_path[len(base) :]
            for known_method, pattern, found in _PATTERNS[service.name]:
                if method == known_method and pattern.fullmatch(rest):
                    return found
            return Called(service.name, None)
    return None
