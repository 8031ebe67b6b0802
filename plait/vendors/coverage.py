"""Whether a client has a method for every operation of its table."""

import inspect
from collections.abc import Iterable

from plait.http.operation import Operation


def without_method(operations: Iterable[Operation], client: type) -> list[str]:
    """The keys of the operations for which `client` has no coroutine method of the operation's name."""
    return [
        operation.key
        for operation in operations
        if not inspect.iscoroutinefunction(getattr(client, operation.name, None))
    ]
