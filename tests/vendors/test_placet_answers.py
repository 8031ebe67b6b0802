"""Review payloads as they are sent, and answers as they are read (placet.md §3.7)."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from plait.http.errors import InvalidInput
from plait.vendors.placet.answers import (
    ApprovalAnswer,
    Dismissed,
    FormAnswer,
    FreeformAnswer,
    SelectionAnswer,
    TextAnswer,
    Unreadable,
    read_answer,
    read_number,
)
from plait.vendors.placet.models import Review
from plait.vendors.placet.reviews import (
    Approval,
    ApprovalOption,
    Callback,
    FieldOption,
    Form,
    FormField,
    Freeform,
    Selection,
    SelectionItem,
    TextInput,
    read_request,
)

ITEMS = (SelectionItem(id="a", label="A", description="first"), SelectionItem(id="b", label="B"))
FIELDS = (
    FormField(
        name="env",
        type="select",
        label="Environment",
        required=True,
        options=(FieldOption(value="staging", label="Staging"), FieldOption(value="prod", label="Prod")),
    ),
    FormField(name="count", type="number", label="Count", min=1, max=10),
    FormField(name="load", type="range", label="Load", min=0, max=1, step=0.1, unit="%"),
    FormField(name="mail", type="email", label="Mail"),
    FormField(name="day", type="date", label="Day"),
    FormField(name="at", type="time", label="At"),
    FormField(name="when", type="datetime", label="When"),
    FormField(name="sure", type="checkbox", label="Sure", default_value=False),
    FormField(name="token", type="password", label="Token"),
)

PAYLOADS = [
    (
        Approval(options=(ApprovalOption(id="go", label="Go", style="primary"),), allow_comment=False),
        {"type": "approval", "payload": {"options": [{"id": "go", "label": "Go", "style": "primary"}],
                                         "allowComment": False}},
    ),
    (
        Selection(mode="multi", items=ITEMS, submit_label="Take", dismiss_label="None"),
        {"type": "selection", "payload": {"mode": "multi", "submitLabel": "Take", "dismissLabel": "None",
                                          "items": [{"id": "a", "label": "A", "description": "first"},
                                                    {"id": "b", "label": "B"}]}},
    ),
    (
        Form(fields=(FIELDS[1],)),
        {"type": "form", "payload": {"fields": [{"name": "count", "type": "number", "label": "Count",
                                                 "min": 1.0, "max": 10.0}]}},
    ),
    (
        TextInput(prefill="x", markdown=True, min_length=1, max_length=9),
        {"type": "text-input", "payload": {"prefill": "x", "markdown": True, "minLength": 1, "maxLength": 9}},
    ),
    (
        Freeform(content={"schema": {"a": [1]}}, plugin="kroki-diagram"),
        {"type": "freeform", "payload": {"schema": {"a": [1]}, "plugin": "kroki-diagram"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "body"), PAYLOADS, ids=lambda value: getattr(value, "type", ""))
def test_payloads_on_the_wire(request_, body):
    """Each kind is sent in Placet's shape, without nulls, and is read back as it was."""
    assert request_.body() == body
    assert read_request(body["type"], body["payload"]) == request_


def test_expiry_and_callback_stand_beside_the_payload():
    """Seconds are whole and positive; a callback goes along."""
    review = Approval(expires_in=timedelta(milliseconds=1500), callback=Callback(url="https://x.example/y"))
    assert review.body()["expiresInSeconds"] == 1
    assert review.body()["callback"] == {"url": "https://x.example/y"}
    assert "expires_in" not in review.payload()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Approval(options=()),
        lambda: Approval(options=(ApprovalOption(id="a", label="A"), ApprovalOption(id="a", label="B"))),
        lambda: Approval(expires_in=timedelta(0)),
        lambda: Approval(expires_in=timedelta(hours=36, seconds=1)),
        lambda: Selection(items=()),
        lambda: Selection(items=(ITEMS[0], ITEMS[0])),
        lambda: Form(fields=()),
        lambda: FormField(name="x", type="select", label="X"),
        lambda: FormField(name="x", type="colour", label="X"),
        lambda: FormField(name="_dismissed", type="text", label="X"),
        lambda: FormField(name="x", type="number", label="X", min=2, max=1),
        lambda: Form(fields=(FIELDS[1], FIELDS[1])),
        lambda: TextInput(max_length=0),
        lambda: Approval(surprise=1),
    ],
)
def test_what_the_page_could_not_show_is_refused(make):
    """The server would take it, and nobody could answer it."""
    with pytest.raises(ValidationError):
        make()


def completed(request: Any, response: Any, **beside: Any) -> Review:
    """A review as the server stores it after an answer."""
    raw = {"type": request.kind, "payload": request.payload(), "status": "completed", "response": response}
    return Review.model_validate(raw | beside)


APPROVAL = Approval()
MULTI, SINGLE = Selection(mode="multi", items=ITEMS, dismiss_label="No"), Selection(items=ITEMS)
TEXT = TextInput(min_length=3, max_length=5, dismiss_label="No")
FORM = Form(fields=FIELDS, dismiss_label="No")


@pytest.mark.parametrize(
    ("review", "expected"),
    [
        (completed(APPROVAL, {"selectedOption": "approve"}), ApprovalAnswer(selected_option="approve")),
        (
            completed(APPROVAL, {"selectedOption": "reject", "comment": "too dark"}),
            ApprovalAnswer(selected_option="reject", comment="too dark"),
        ),
        (
            completed(APPROVAL, {"selectedOption": "approve", "comment": " "}),
            ApprovalAnswer(selected_option="approve"),
        ),
        (completed(MULTI, {"selectedIds": ["b", "a"]}), SelectionAnswer(selected_ids=("b", "a"))),
        (completed(MULTI, {"_dismissed": True}), Dismissed()),
        (completed(FORM, {"_dismissed": True}), Dismissed()),
        (completed(TEXT, {"_dismissed": True}, feedback="later"), Dismissed(feedback="later")),
        (completed(TEXT, {"text": "four"}), TextAnswer(text="four")),
        (
            completed(Freeform(), {"a": [1]}, modifiedFileIds={"f1": "f2"}),
            FreeformAnswer(value={"a": [1]}, modified_files={"f1": "f2"}),
        ),
        (
            completed(FORM, {"env": "prod", "count": "3", "load": 0.4, "sure": True, "day": "2026-11-22",
                             "at": "08:30", "when": "2026-11-22T08:30", "mail": "a@b", "token": "s3cret"}),
            FormAnswer(
                values={"env": "prod", "count": 3, "load": 0.4, "sure": True, "day": "2026-11-22",
                        "at": "08:30", "when": "2026-11-22T08:30", "mail": "a@b", "token": "s3cret"},
                secret_fields=frozenset({"token"}),
            ),
        ),
        (
            completed(FORM, {"env": "staging"}),
            FormAnswer(values={"env": "staging"}, secret_fields=frozenset({"token"})),
        ),
    ],
)  # fmt: skip
def test_usable_answers(review, expected):
    """Each kind is read as what was asked for; numbers are numbers, untouched fields are absent."""
    assert read_answer(review) == expected
    assert read_answer(review).usable


@pytest.mark.parametrize(
    ("review", "kind", "word"),
    [
        (completed(APPROVAL, {"selectedOption": "maybe"}), ApprovalAnswer, "none of the options"),
        (completed(APPROVAL, {"_dismissed": True}), Unreadable, "selectedOption is missing"),
        (completed(APPROVAL, None), Unreadable, "missing"),
        (completed(APPROVAL, ["approve"]), Unreadable, "a list"),
        (completed(SINGLE, {"selectedIds": ["a", "b"]}), SelectionAnswer, "2 items"),
        (completed(SINGLE, {"selectedIds": []}), SelectionAnswer, "nothing was selected"),
        (completed(SINGLE, {"selectedIds": ["z"]}), SelectionAnswer, "z is none"),
        (completed(SINGLE, {"selectedItems": ["a"]}), Unreadable, "selectedIds is missing"),
        (completed(SINGLE, {"selectedIds": [1]}), Unreadable, "a list"),
        (completed(TEXT, {"text": "ab"}), TextAnswer, "fewer than 3"),
        (completed(TEXT, {"text": "abcdef"}), TextAnswer, "more than 5"),
        (completed(TEXT, {"text": 4}), Unreadable, "a number"),
        (completed(FORM, {}), FormAnswer, "env is required"),
        (completed(FORM, {"env": "moon"}), FormAnswer, "none of its options"),
        (completed(FORM, {"env": "prod", "count": "11"}), FormAnswer, "count is 11, over 10"),
        (completed(FORM, {"env": "prod", "count": "many"}), FormAnswer, "no number"),
        (completed(FORM, {"env": "prod", "mail": "nobody"}), FormAnswer, "no email"),
        (completed(FORM, {"env": "prod", "when": "soon"}), FormAnswer, "no datetime"),
        (completed(FORM, {"env": "prod", "sure": "perhaps"}), FormAnswer, "no checkbox"),
        (completed(FORM, {"env": "prod", "other": 1}), FormAnswer, "was not asked for"),
    ],
)
def test_answers_that_do_not_fit_say_so(review, kind, word):
    """The server checks nothing, so nobody may act on them unseen."""
    answer = read_answer(review)
    assert isinstance(answer, kind)
    assert not answer.usable
    assert word in "; ".join(answer.problems)


def test_a_payload_nobody_checked():
    """An agent that sent options as bare strings made an approval whose answer cannot be judged."""
    raw = {"type": "approval", "payload": {"options": ["yes"]}, "status": "completed",
           "response": {"selectedOption": "yes"}}  # fmt: skip
    answer = read_answer(Review.model_validate(raw))
    assert isinstance(answer, Unreadable)
    assert answer.raw == {"selectedOption": "yes"}
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_request("approval", {"options": ["yes"]})


def test_a_type_without_a_page_is_any_object():
    """A plugin's name as type: what was answered is given as it came."""
    raw = {"type": "kroki-diagram", "payload": {"source": "a"}, "status": "completed", "response": {"x": 1}}
    assert read_answer(Review.model_validate(raw)) == FreeformAnswer(value={"x": 1})


@pytest.mark.parametrize("status", ["pending", "expired", "a_new_word"])
def test_no_answer_yet(status):
    """Pending, expired and unknown words are no answer."""
    assert read_answer(Review(type="approval", status=status, response={"selectedOption": "approve"})) is None


@pytest.mark.parametrize(
    ("raw", "number"),
    [("3", 3), (" -7 ", -7), ("3.5", 3.5), ("1e3", 1000.0), (4, 4), (0.5, 0.5), ("", None), ("x", None),
     ("nan", None), ("inf", None), (True, None), (None, None), ([], None), ("9" * 400, None)],
)  # fmt: skip
def test_numbers_that_come_as_text(raw, number):
    """Finite numbers only, whole ones exactly."""
    assert read_number(raw) == number


def test_a_password_is_not_printed():
    """A form's answer may be logged by accident; its secrets are not."""
    answer = read_answer(completed(FORM, {"env": "prod", "token": "s3cret"}))
    assert "s3cret" not in f"{answer} {answer!r}"
    assert "prod" in repr(answer)
    wrong = read_answer(completed(FORM, {"env": "prod", "token": 12345678}))
    assert "12345678" not in str(wrong)
