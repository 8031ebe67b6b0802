"""What a person answered, read against what was asked (placet.md §3.7).

The server checks no answer. Numbers come as text, untouched fields are absent, lengths and limits
are not enforced: the value is read as what was asked for, and what does not fit is named in
`problems`, so that nobody acts on an answer that was not one.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from plait.http.errors import InvalidInput
from plait.http.words import clean
from plait.vendors.placet.models import Review, ReviewState
from plait.vendors.placet.reviews import (
    Approval,
    Form,
    FormField,
    Freeform,
    Selection,
    TextInput,
    read_request,
)

Json = Any
FieldValue: TypeAlias = str | int | float | bool
DISMISSED: Final = "_dismissed"

_NUMERIC: Final = frozenset({"number", "range"})
_PATTERNS: Final = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d:\d\d(:\d\d)?"),
    "datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?"),
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "url": re.compile(r"https?://\S+", re.IGNORECASE),
}


class _Answer(BaseModel):
    """What every answer has. `feedback` and `modified_files` stand beside any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feedback: str | None = None
    modified_files: Mapping[str, str] = Field(default_factory=dict)
    """Original attachment id to the id of the person's changed file."""
    problems: tuple[str, ...] = ()
    """What does not fit the question, in words; empty where everything does."""

    @property
    def usable(self) -> bool:
        """Whether the answer answers the question."""
        return not self.problems


class ApprovalAnswer(_Answer):
    """The button pressed. What approves is the caller's reading of the option's id."""

    type: Literal["approval"] = "approval"
    selected_option: str
    comment: str | None = None


class SelectionAnswer(_Answer):
    """The items chosen, in the order of the clicks."""

    type: Literal["selection"] = "selection"
    selected_ids: tuple[str, ...]


class FormAnswer(_Answer):
    """The fields filled in. An untouched optional field is absent, an untouched checkbox too.

    Numbers are numbers here; a date, time or datetime is text without a zone.
    """

    type: Literal["form"] = "form"
    values: Mapping[str, FieldValue]
    secret_fields: frozenset[str] = frozenset()
    """Names of password fields: never write their values anywhere."""

    def __repr__(self) -> str:
        shown = {name: "***" if name in self.secret_fields else value for name, value in self.values.items()}
        return f"FormAnswer(values={shown!r}, problems={self.problems!r})"

    __str__ = __repr__


class TextAnswer(_Answer):
    """The text written."""

    type: Literal["text-input"] = "text-input"
    text: str


class FreeformAnswer(_Answer):
    """Any JSON object; also the answer to a type that Placet has no page for."""

    type: Literal["freeform"] = "freeform"
    value: Mapping[str, Json]


class Dismissed(_Answer):
    """The person closed a selection, form or text without answering it."""

    type: Literal["dismissed"] = "dismissed"


class Unreadable(_Answer):
    """Completed, but not with an answer of the kind asked for; `problems` says why."""

    type: Literal["unreadable"] = "unreadable"
    raw: Json = None


ReviewAnswer: TypeAlias = (
    ApprovalAnswer | SelectionAnswer | FormAnswer | TextAnswer | FreeformAnswer | Dismissed | Unreadable
)


def read_answer(review: Review) -> ReviewAnswer | None:
    """The typed answer of a completed review; None while it is pending, and for an expired one."""
    if review.state is not ReviewState.COMPLETED:
        return None
    beside = {"feedback": review.feedback, "modified_files": dict(review.modified_file_ids)}
    response = review.response
    if not isinstance(response, Mapping):
        return _unreadable(response, f"the answer is {_kind(response)}, not an object", beside)
    if response.get(DISMISSED) is True and review.type in {"selection", "form", "text-input"}:
        return Dismissed(**beside)
    try:
        request = read_request(review.type, review.payload)
    except InvalidInput as error:
        if review.type in _READERS:
            return _unreadable(response, error.message, beside)
        request = Freeform()
    return _READERS[request.kind](request, response, beside)


def _approval(request: Approval, response: Mapping[str, Json], beside: dict[str, Any]) -> ReviewAnswer:
    chosen = response.get("selectedOption")
    if not isinstance(chosen, str):
        return _unreadable(response, f"selectedOption is {_kind(chosen)}, not an option's id", beside)
    comment = response.get("comment")
    known = {option.id for option in request.options}
    return ApprovalAnswer(
        selected_option=chosen,
        comment=comment if isinstance(comment, str) and comment.strip() else None,
        problems=()
        if chosen in known
        else (f"{clean(chosen, 80)!r} is none of the options {sorted(known)}",),
        **beside,
    )


def _selection(request: Selection, response: Mapping[str, Json], beside: dict[str, Any]) -> ReviewAnswer:
    chosen = response.get("selectedIds")
    if not isinstance(chosen, list) or not all(isinstance(item, str) for item in chosen):
        return _unreadable(response, f"selectedIds is {_kind(chosen)}, not a list of ids", beside)
    known = {item.id for item in request.items}
    unknown = [clean(item, 80) for item in chosen if item not in known]
    problems = [f"{', '.join(unknown)} is none of the items"] if unknown else []
    if not chosen:
        problems.append("nothing was selected")
    if request.mode == "single" and len(chosen) > 1:
        problems.append(f"{len(chosen)} items were selected where one was asked for")
    return SelectionAnswer(selected_ids=tuple(chosen), problems=tuple(problems), **beside)


def _text(request: TextInput, response: Mapping[str, Json], beside: dict[str, Any]) -> ReviewAnswer:
    text = response.get("text")
    if not isinstance(text, str):
        return _unreadable(response, f"text is {_kind(text)}, not text", beside)
    problems = [] if text.strip() else ["the text is empty"]
    if request.min_length is not None and len(text) < request.min_length:
        problems.append(f"the text has {len(text)} characters, fewer than {request.min_length}")
    if request.max_length is not None and len(text) > request.max_length:
        problems.append(f"the text has {len(text)} characters, more than {request.max_length}")
    return TextAnswer(text=text, problems=tuple(problems), **beside)


def _freeform(_: Freeform, response: Mapping[str, Json], beside: dict[str, Any]) -> ReviewAnswer:
    return FreeformAnswer(value=dict(response), **beside)


def _form(request: Form, response: Mapping[str, Json], beside: dict[str, Any]) -> ReviewAnswer:
    values: dict[str, FieldValue] = {}
    problems: list[str] = []
    for field in request.fields:
        raw = response.get(field.name)
        if raw is None or raw == "":
            problems += [f"{field.name} is required and missing"] if field.required else []
            continue
        value = _value(field, raw)
        if value is None:
            # Not the value itself: it may be a password.
            problems.append(f"{field.name} is {_kind(raw)}, which is no {field.type}")
            continue
        values[field.name] = value
        problems += _limits(field, value)
    extra = sorted(set(response) - {field.name for field in request.fields})
    problems += [f"{clean(name, 80)} was not asked for" for name in extra]
    secret = frozenset(field.name for field in request.fields if field.type == "password")
    return FormAnswer(values=values, secret_fields=secret, problems=tuple(problems), **beside)


def _value(field: FormField, raw: Json) -> FieldValue | None:
    """The value as the field's type says; None where it cannot be that."""
    if field.type in _NUMERIC:
        return read_number(raw)
    if field.type == "checkbox":
        return raw if isinstance(raw, bool) else {"true": True, "false": False}.get(str(raw).lower())
    return raw if isinstance(raw, str) else None


def read_number(raw: Json) -> int | float | None:
    """A number that may come as text, as `"3"` does (placet.md §3.7); None where it is no finite one."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = raw.strip() if isinstance(raw, str) else raw
    if isinstance(text, int):
        return text
    try:
        if isinstance(text, str) and re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            return int(text)
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _limits(field: FormField, value: FieldValue) -> list[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = field.min is not None and value < field.min
        high = field.max is not None and value > field.max
        bound = f"under {field.min:g}" if low else f"over {field.max:g}" if high else ""
        return [f"{field.name} is {value:g}, {bound}"] if bound else []
    if field.type == "select" and field.options and value not in {option.value for option in field.options}:
        return [f"{field.name} is none of its options"]
    pattern = _PATTERNS.get(field.type)
    if pattern is not None and not pattern.fullmatch(str(value)):
        return [f"{field.name} is no {field.type}"]
    return []


def _unreadable(raw: Json, problem: str, beside: dict[str, Any]) -> Unreadable:
    return Unreadable(raw=raw, problems=(problem,), **beside)


def _kind(value: Json) -> str:
    names = {type(None): "missing", str: "text", bool: "a truth value", list: "a list", dict: "an object"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


_READERS: Final[Mapping[str, Callable[[Any, Mapping[str, Json], dict[str, Any]], ReviewAnswer]]] = {
    "approval": _approval,
    "selection": _selection,
    "form": _form,
    "text-input": _text,
    "freeform": _freeform,
}
