"""Lists of any envelope, page by page, behind one async iterator (pletor.md §2.4)."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeVar

from plait import failpoints
from plait.http import Transport
from plait.http.errors import MalformedResponse
from plait.http.operation import Operation
from plait.http.words import clean
from plait.vendors.pletor.models import Received

LIMIT: Final = 100
_ENVELOPES: Final = ("data", "items", "results")

ItemT = TypeVar("ItemT", bound=Received)


async def every(
    transport: Transport, operation: Operation, kind: type[ItemT], query: Mapping[str, Any]
) -> AsyncIterator[ItemT]:
    """Each item of a list once.

    The end is an empty page, or one that brings nothing new: a server that ignores the cursor has then
    shown everything, unless its page looks cut. A server that does not say `has_more` is asked on.

    Raises:
        MalformedResponse: a page is neither an array nor wrapped in `data`, `items` or `results`, or the
            server repeats a page that cannot be everything: half a list is never given.
    """
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        answer = await transport.call(operation, query={**query, "limit": LIMIT, "starting_after": cursor})
        rows, more = _rows(operation, answer.json())
        fresh = {key: row for row in rows if (key := _id_of(operation, row)) not in seen}
        for row in fresh.values():
            yield _read(operation, kind, row)
        if not fresh and rows and (more or len(rows) >= LIMIT):
            raise _malformed(operation, f"the server repeats a page; {len(seen)} entries could be read")
        if not fresh or more is False:
            return
        seen |= fresh.keys()
        cursor = next(reversed(fresh))
        failpoints.reach("look.between_pages")


def _rows(operation: Operation, body: Any) -> tuple[list[Any], bool | None]:
    """The rows of a page, and whether the server says that there are more; None where it does not say."""
    if isinstance(body, list):
        return body, None
    if isinstance(body, Mapping):
        for name in _ENVELOPES:
            rows = body.get(name)
            if isinstance(rows, list):
                more = body.get("has_more")
                return rows, more if isinstance(more, bool) else None
    raise _malformed(operation, f"a list was expected, not {type(body).__name__}")


def _id_of(operation: Operation, row: Any) -> str:
    if isinstance(row, Mapping):
        for name in ("id", "run_id", "asset_id"):
            if isinstance(row.get(name), str):
                return str(row[name])
    raise _malformed(operation, "an entry of the list has no id")


def _read(operation: Operation, kind: type[ItemT], row: Any) -> ItemT:
    try:
        return kind.model_validate(row)
    except ValueError as error:
        raise _malformed(
            operation, f"an entry does not fit {kind.__name__}: {clean(str(error), 300)}"
        ) from None


def _malformed(operation: Operation, message: str) -> MalformedResponse:
    return MalformedResponse(message, system=operation.system, operation=operation.name)
