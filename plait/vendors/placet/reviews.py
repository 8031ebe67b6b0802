"""The five kinds of review that a person can be asked for (placet.md §3.7).

The server checks none of this, so it is checked here: a review that its page could not show is
refused before it is sent.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from plait.http.errors import InvalidInput

Json = Any
LONGEST_EXPIRY: Final = timedelta(hours=36)
"""The server shortens anything longer without a word (placet.md §4.2)."""

Id: TypeAlias = Annotated[str, Field(min_length=1)]
Label: TypeAlias = Annotated[str, Field(min_length=1)]
FieldType: TypeAlias = Literal[
    "text",
    "number",
    "email",
    "url",
    "textarea",
    "select",
    "checkbox",
    "date",
    "time",
    "datetime",
    "range",
    "password",
]


class _Sent(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class Callback(_Sent):
    """Where the server sends the answer if neither message nor channel has a webhook (placet.md §5.2)."""

    url: Id
    method: str | None = None
    headers: Mapping[str, str] | None = None


class _Request(_Sent):
    """What every review has. `expires_in` is at most 36 hours; None is the server's 24 hours."""

    expires_in: timedelta | None = Field(default=None, gt=timedelta(0), le=LONGEST_EXPIRY)
    callback: Callback | None = None

    @property
    def kind(self) -> str:
        """The review's type on the wire."""
        return str(getattr(self, "type"))  # noqa: B009 - declared by each kind

    def payload(self) -> dict[str, Json]:
        """What the server stores and the page shows."""
        return self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"type", "expires_in", "callback"}
        )

    def body(self) -> dict[str, Json]:
        """The `review` object of a message."""
        sent: dict[str, Json] = {"type": self.kind, "payload": self.payload()}
        if self.expires_in is not None:
            sent["expiresInSeconds"] = max(1, int(self.expires_in.total_seconds()))
        if self.callback is not None:
            sent["callback"] = self.callback.model_dump(mode="json", by_alias=True, exclude_none=True)
        return sent


class _Dismissable(_Request):
    """`dismiss_label` lets the person answer `{"_dismissed": true}`: completed, and nothing chosen."""

    submit_label: Label | None = None
    dismiss_label: Label | None = None


class ApprovalOption(_Sent):
    """One button."""

    id: Id
    label: Label
    style: Literal["primary", "danger", "secondary", "ghost"] | None = None


APPROVE: Final = ApprovalOption(id="approve", label="Approve", style="primary")
REJECT: Final = ApprovalOption(id="reject", label="Reject", style="danger")


class Approval(_Request):
    """One of a few buttons, with a comment where that is allowed."""

    type: Literal["approval"] = "approval"
    options: tuple[ApprovalOption, ...] = Field(default=(APPROVE, REJECT), min_length=1)
    allow_comment: bool = True

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _check_distinct("option ids", [option.id for option in self.options])
        return self


class SelectionItem(_Sent):
    """One thing to choose."""

    id: Id
    label: Label
    description: str | None = None


class Selection(_Dismissable):
    """One item, or at least one of several."""

    type: Literal["selection"] = "selection"
    mode: Literal["single", "multi"] = "single"
    items: tuple[SelectionItem, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _check_distinct("item ids", [item.id for item in self.items])
        return self


class FieldOption(_Sent):
    """One choice of a `select` field."""

    value: str
    label: Label


class FormField(_Sent):
    """One field of a form. `min`, `max` and `step` are for numbers and ranges."""

    name: Id
    type: FieldType
    label: Label
    required: bool | None = None
    placeholder: str | None = None
    options: tuple[FieldOption, ...] | None = None
    default_value: str | int | float | bool | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = Field(default=None, gt=0)
    unit: str | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.name == "_dismissed":
            raise ValueError("a field cannot be named _dismissed: that word is a dismissed form")
        if self.type == "select" and not self.options:
            raise ValueError(f"the select field {self.name!r} needs options")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the field {self.name!r} has min {self.min:g} over max {self.max:g}")
        return self


class Form(_Dismissable):
    """Fields to fill in."""

    type: Literal["form"] = "form"
    fields: tuple[FormField, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _check_distinct("field names", [field.name for field in self.fields])
        return self


class TextInput(_Dismissable):
    """A text to write, or to change where `prefill` gives one."""

    type: Literal["text-input"] = "text-input"
    placeholder: str | None = None
    prefill: str | None = None
    markdown: bool | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1)


class Freeform(_Request):
    """Any JSON object in, any JSON object out; `plugin` names what shows it."""

    type: Literal["freeform"] = "freeform"
    content: Mapping[str, Json] = Field(default_factory=dict)
    plugin: str | None = None

    def payload(self) -> dict[str, Json]:
        """The content itself, with the plugin's name beside it."""
        return {**self.content, **({"plugin": self.plugin} if self.plugin else {})}


ReviewRequest: TypeAlias = Annotated[
    Approval | Selection | Form | TextInput | Freeform, Field(discriminator="type")
]
_REQUESTS: Final[TypeAdapter[ReviewRequest]] = TypeAdapter(ReviewRequest)


def read_request(kind: str, payload: Mapping[str, Json]) -> ReviewRequest:
    """A stored review as the request it was made of.

    Raises:
        InvalidInput: another kind, or a payload that is not of its kind; nobody checked it at the server.
    """
    if kind == "freeform":
        plugin = payload.get("plugin")
        if not isinstance(plugin, str) or not plugin:
            return Freeform(content=payload)
        content = {name: value for name, value in payload.items() if name != "plugin"}
        return Freeform(content=content, plugin=plugin)
    known = {name: value for name, value in payload.items() if value is not None}
    try:
        return _REQUESTS.validate_python({**known, "type": kind})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "payload"
        raise InvalidInput(f"a review of type {kind!r} cannot be read: {where}: {first['msg']}") from None


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} must differ; given twice: {', '.join(twice)}")
