"""Which path belongs to which operation of which service, read from the vendors' own tables."""

import re
from dataclasses import dataclass
from typing import Final

from plait.http.operation import Operation
from plait.vendors.officeplane.operations import OPERATIONS as OFFICEPLANE
from plait.vendors.placet.operations import OPERATIONS as PLACET
from plait.vendors.planck.operations import OPERATIONS as PLANCK
from plait.vendors.pletor.operations import OPERATIONS as PLETOR

_PARAMETER = re.compile(r"\\{\w+\\}")


@dataclass(frozen=True, slots=True)
class Service:
    """A stand-in: its name and the path its base URL has inside the sandbox."""

    name: str
    base_path: str
    operations: tuple[Operation, ...]


SERVICES: Final = (
    Service("officeplane", "/officeplane", OFFICEPLANE),
    Service("planck", "/planck/api/v1", PLANCK),
    Service("placet", "/placet", PLACET),
    Service("pletor", "/pletor/api/public/v1", PLETOR),
)


@dataclass(frozen=True, slots=True)
class Called:
    """What a request calls; `operation` is None for a path outside the table."""

    service: str
    operation: str | None


def _pattern(service: Service, operation: Operation) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub("[^/]+", re.escape(service.base_path + operation.path)))


# Paths without parameters first: `/documents/upload` is not a document whose id is `upload`.
_PATTERNS: Final = [
    (operation.method, _pattern(service, operation), Called(service.name, operation.name))
    for service in SERVICES
    for operation in sorted(service.operations, key=lambda operation: operation.path.count("{"))
]


def called(method: str, raw_path: str) -> Called | None:
    """The operation behind an undecoded path; None where it is no service's path at all."""
    for known_method, pattern, found in _PATTERNS:
        if method == known_method and pattern.fullmatch(raw_path):
            return found
    for service in SERVICES:
        if raw_path == service.base_path or raw_path.startswith(f"{service.base_path}/"):
            return Called(service.name, None)
    return None
