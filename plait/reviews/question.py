"""What a person is asked: everything that is shown, and its digest."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from plait.content.remark import code_span, escape_markdown
from plait.content.text import one_line
from plait.ledger.identity import canonical
from plait.vendors.placet.reviews import (
    LONGEST_EXPIRY,
    Approval,
    ApprovalOption,
    FieldOption,
    Form,
    FormField,
    ReviewRequest,
    Selection,
    SelectionItem,
    TextInput,
)

Json = Any
Word: TypeAlias = Literal["approve", "regenerate", "reject", "fail", "settled"]
"""What can be decided. `fail`: nobody did in time. `settled`: the vendor has a decision, and hides which."""

TEXT_LIMIT: Final = 100_000
"""Characters of a text that a person may be asked to correct."""
_SHORT_DIGEST: Final = 12
_HOUR: Final = 3600
_KILO: Final = 1000


class OnExpiry(StrEnum):
    """What happens when nobody decides in time."""

    FAIL = "fail"
    REJECT = "reject"
    APPROVE = "approve"
    ESCALATE = "escalate"
    """The question is put in a second channel; when nobody decides there either, it fails."""


class InboxForm(StrEnum):
    """Which of Placet's review types puts a question; one that cannot put it gives way to `auto`."""

    AUTO = "auto"
    APPROVAL = "approval"
    SELECTION = "selection"
    FORM = "form"
    TEXT_INPUT = "text-input"


class ReviewOptions(BaseModel):
    """What a person may do, and what the buttons say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: InboxForm = Field(default=InboxForm.AUTO, description="The review type in Placet.")
    regenerate: bool = Field(default=True, description="Whether a person may have something made anew.")
    reject: bool = Field(default=True, description="Whether a person may refuse it.")
    several: bool = Field(default=False, description="Whether more than one choice may be taken.")
    comment: bool = Field(default=True, description="Whether a person may say why.")
    approve_label: str = Field(default="Approve", min_length=1, description="The button that takes it.")
    regenerate_label: str = Field(default="Make anew", min_length=1, description="The one for another round.")
    reject_label: str = Field(default="Reject", min_length=1, description="The one that refuses it.")
    dismiss_label: str | None = Field(
        default=None, description="A button that decides nothing; the question is then put again."
    )


class ShownFile(BaseModel):
    """A file that is attached to the question."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    size: int
    """Bytes."""
    media_type: str
    source: Json
    """Where to fetch it again."""


class Choice(BaseModel):
    """Something to choose: `id` is the vendor's, `label` ours."""

    model_config = ConfigDict(frozen=True)

    id: str
    label: str
    description: str | None = None


class Question(BaseModel):
    """One decision to take, with all that a person sees of it. Texts of vendors are kept as they are."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["approval", "selection", "edit"]
    title: str
    prompt: str
    context: str = ""
    """Who asks, in which round."""
    choices: tuple[Choice, ...] = ()
    text: str | None = None
    """What may be corrected."""
    files: tuple[ShownFile, ...] = ()
    options: ReviewOptions = ReviewOptions()
    expires_in: float
    """Seconds."""
    on_expiry: OnExpiry = OnExpiry.FAIL
    content: Json = None
    """What the vendor asked, in canonical form: looked at again before anybody acts on the decision."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def words(self) -> tuple[Word, ...]:
        """What a person may decide."""
        more: list[Word] = ["regenerate"] if self.options.regenerate else []
        return ("approve", *more, "reject") if self.options.reject else ("approve", *more)

    def message(self, review_id: str, reason: str | None = None) -> str:
        """The message in Markdown; `reason` says why it is put again."""
        return "\n\n".join(part for part in self._parts(review_id, reason) if part)

    def _parts(self, review_id: str, reason: str | None) -> Iterator[str]:
        yield f"**{escape_markdown(one_line(self.title))}**"
        if reason:
            yield escape_markdown(f"Put again, because {reason}.")
        yield escape_markdown(self.prompt)
        yield escape_markdown(self.context)
        yield "\n".join(
            f"{number}. {code_span(file.name)} ({file.media_type}, {size_of(file.size)})"
            for number, file in enumerate(self.files, 1)
        )
        if self.text is not None:
            yield "\n".join(f"> {line}" for line in escape_markdown(self.text).split("\n"))
        yield escape_markdown(self.deadline)
        yield f"{code_span(review_id)}, content {code_span(self.digest[:_SHORT_DIGEST])}"

    @property
    def deadline(self) -> str:
        """What happens when nobody decides, in one sentence."""
        then = {
            OnExpiry.FAIL: "the run fails",
            OnExpiry.REJECT: "it counts as rejected",
            OnExpiry.APPROVE: "it counts as approved",
            OnExpiry.ESCALATE: "it is put to others as well",
        }[self.on_expiry]
        return f"Without a decision within {duration(self.expires_in)}, {then}."

    def request(self, lifetime: int) -> ReviewRequest:
        """As a Placet review that stays open for `lifetime` seconds."""
        expires = min(timedelta(seconds=lifetime), LONGEST_EXPIRY)
        match self.form:
            case InboxForm.APPROVAL:
                return self._buttons(expires)
            case InboxForm.SELECTION:
                return self._selection(expires)
            case InboxForm.TEXT_INPUT:
                return self._text(expires)
        return self._fields(expires)

    @property
    def form(self) -> InboxForm:
        """The type that puts it."""
        own = {
            "approval": InboxForm.APPROVAL,
            "selection": InboxForm.SELECTION,
            "edit": InboxForm.FORM,
        }[self.kind]
        fitting = {own, InboxForm.FORM} | ({InboxForm.TEXT_INPUT} if self.kind == "edit" else set())
        return self.options.form if self.options.form in fitting else own

    def _buttons(self, expires: timedelta) -> Approval:
        styles: dict[Word, Any] = {"approve": "primary", "regenerate": "secondary", "reject": "danger"}
        return Approval(
            options=tuple(
                ApprovalOption(id=word, label=self._label(word), style=styles[word]) for word in self.words
            ),
            allow_comment=self.options.comment,
            expires_in=expires,
        )

    def _selection(self, expires: timedelta) -> Selection:
        items = [
            SelectionItem(id=choice.id, label=choice.label, description=choice.description)
            for choice in self.choices
        ]
        items += [SelectionItem(id=other(word), label=self._label(word)) for word in self.words[1:]]
        return Selection(
            mode="multi" if self.options.several else "single",
            items=tuple(items),
            submit_label=self.options.approve_label,
            dismiss_label=self.options.dismiss_label,
            expires_in=expires,
        )

    def _text(self, expires: timedelta) -> TextInput:
        return TextInput(
            prefill=self.text,
            markdown=True,
            min_length=1,
            max_length=TEXT_LIMIT,
            submit_label=self.options.approve_label,
            dismiss_label=self.options.dismiss_label,
            expires_in=expires,
        )

    def _fields(self, expires: timedelta) -> Form:
        words = tuple(FieldOption(value=word, label=self._label(word)) for word in self.words)
        fields = [FormField(name="decision", type="select", label="Decision", required=True, options=words)]
        fields += [
            FormField(name=f"choice_{number}", type="checkbox", label=choice.label)
            for number, choice in enumerate(self.choices, 1)
        ]
        if self.kind == "edit":
            fields.append(
                FormField(name="text", type="textarea", label="Text", default_value=self.text or "")
            )
        if self.options.comment:
            fields.append(FormField(name="comment", type="textarea", label="Why"))
        return Form(
            fields=tuple(fields),
            submit_label="Send",
            dismiss_label=self.options.dismiss_label,
            expires_in=expires,
        )

    def _label(self, word: Word) -> str:
        labels = {
            "approve": self.options.approve_label,
            "regenerate": self.options.regenerate_label,
            "reject": self.options.reject_label,
        }
        return labels[word]


def other(word: Word) -> str:
    """The id of a decision that stands among the choices of a selection."""
    return f"plait:{word}"


def digest_of(value: Json) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def duration(seconds: float) -> str:
    """`90 s`, `15 min`, `24 h`."""
    for size, name in ((_HOUR, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def size_of(count: int) -> str:
    """`812 bytes`, `12.3 kB`, `4.5 MB`."""
    if count < _KILO:
        return f"{count} bytes"
    return f"{count / _KILO:.1f} kB" if count < _KILO * _KILO else f"{count / _KILO / _KILO:.1f} MB"
