"""A complete answer, and reading it as the contract says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from plait.http.errors import MalformedResponse, OutcomeUnknown, PlaitError
from plait.http.operation import Operation
from plait.http.words import clean

M = TypeVar("M", bound=BaseModel)


class Unset(Enum):
    """The type of `UNSET`."""

    VALUE = "unset"


UNSET: Final = Unset.VALUE
"""No JSON body at all, which is not the same as the body `null`."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A 2xx answer that arrived completely."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes
    operation: Operation

    def __repr__(self) -> str:
        return f"Answer({self.operation.key}, {self.status}, {len(self.content)} bytes)"

    def json(self) -> Any:
        """The body as JSON; `MalformedResponse` (on a guarded effect `OutcomeUnknown`) if it is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            # Not its beginning: it may be a secret that was shown once.
            kind = clean(self.headers.get("content-type", ""), 80) or "untyped"
            size = len(self.content)
            raise self._unreadable(f"the answer cannot be read as JSON ({kind}, {size} bytes)") from None

    def read(self, model: type[M]) -> M:
        """The body as one `model`; errors as in `json`."""
        return self.fit(model, self.json())

    def read_list(self, model: type[M]) -> list[M]:
        """The body as a JSON array of `model`; errors as in `json`."""
        items = self.json()
        if not isinstance(items, list):
            raise self._unreadable(f"a JSON array was expected, not {type(items).__name__}")
        return [self.fit(model, item) for item in items]

    def fit(self, model: type[M], value: Any) -> M:
        """A part of the body, taken out of its envelope, as one `model`; errors as in `json`."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            # `from None`, and no inputs: the answer may hold a secret that was shown once.
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            text = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'body'}: {f['msg']}" for f in faults[:5])
            raise self._unreadable(f"the answer does not fit {model.__name__}: {clean(text)}") from None

    def _unreadable(self, message: str) -> PlaitError:
        kind = OutcomeUnknown if self.operation.effect.guarded else MalformedResponse
        error = kind(
            message,
            system=self.operation.system,
            operation=self.operation.name,
            status=self.status,
            request_id=request_id(self.headers),
        )
        if isinstance(error, OutcomeUnknown):
            error.answered = True
        return error


def request_id(headers: Mapping[str, str]) -> str | None:
    """The vendor's id of the request (officeplane.md §2.4), made safe to print."""
    return clean(headers.get("x-request-id", ""), 128) or None
