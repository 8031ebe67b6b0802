"""What a person is shown, what they can answer, and what counts as a decision."""

from typing import Any

import pytest

from plait.content.prose import prose_html
from plait.reviews import Choice, InboxForm, OnExpiry, Question, ReviewDecision, ReviewOptions, ShownFile
from plait.reviews.decision import Decided, Undecided, at_expiry, problems_of, read
from plait.vendors.placet.models import Review

NASTY = "<script>alert(1)</script> ![x](http://evil.example/x.png) [click](javascript:x) **bold**"
FILE = ShownFile(name="option-1.png", sha256="a" * 64, size=1234, media_type="image/png", source={"id": 1})
CHOICES = (Choice(id="a1", label="Picture 1"), Choice(id="a2", label="Picture 2"))


def ask(kind: Any = "approval", **more: Any) -> Question:
    """A question of a kind."""
    own: dict[str, Any] = {"selection": {"choices": CHOICES}, "edit": {"text": "Old words"}}.get(kind, {})
    shared = {"title": "Sale", "prompt": "Take it?", "expires_in": 3600}
    return Question(kind=kind, **shared | own | more)


def answered(question: Question, response: Any, **more: Any) -> Any:
    """What the answer decides, in short: word and more, or the reason why nothing."""
    request = question.request(60)
    review = Review(
        type=request.kind, payload=request.payload(), status="completed", response=response, **more
    )
    made = read(question, review)
    if isinstance(made, Undecided):
        return made.reason
    assert isinstance(made, Decided)
    kept = {"selected": made.decision.selected, "text": made.decision.text, "why": made.why}
    return made.decision.decision, {name: value for name, value in kept.items() if value}


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Other"},
        {"prompt": "Other?"},
        {"context": "round 2"},
        {"choices": (*CHOICES, Choice(id="a3", label="Picture 3"))},
        {"files": (FILE.model_copy(update={"sha256": "b" * 64}),)},
        {"options": ReviewOptions(reject=False)},
        {"expires_in": 3601},
        {"on_expiry": OnExpiry.APPROVE},
        {"content": {"prompt": "other"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_covers_all_that_is_shown(change: dict[str, Any]):
    """Any other word, file, choice or rule is another digest; the same question has the same."""
    first = ask("selection", files=(FILE,))
    assert first.digest == ask("selection", files=(FILE,)).digest
    assert first.digest != first.model_copy(update=change).digest


def test_a_vendors_words_are_only_words():
    """Markup, pictures and links of title, prompt, text and file name reach a renderer as literal text."""
    shown = ask("edit", title=NASTY, prompt=NASTY, context=NASTY, text=f"{NASTY}\n# heading").message(
        "dev-review-1", reason=NASTY
    )
    page = prose_html(shown)
    assert "<script" not in page
    assert "<a " not in page
    assert "<img" not in page
    assert "<h1" not in page
    assert "<strong>bold" not in page
    assert "alert(1)" in page


def test_the_message_says_what_happens_and_on_what_content():
    """The files by number, the deadline with its rule, the review's id and the content's digest."""
    question = ask(files=(FILE,), on_expiry=OnExpiry.APPROVE, expires_in=5400)
    shown = question.message("dev-review-1", reason="it was dismissed")
    assert "1. `option-1.png` (image/png, 1.2 kB)" in shown
    assert "Without a decision within 1.5 h, it counts as approved." in shown
    assert "Put again, because it was dismissed." in shown
    assert "`dev-review-1`" in shown
    assert question.digest[:12] in shown


FORMS = [
    ("approval", InboxForm.AUTO, "approval"),
    ("approval", InboxForm.FORM, "form"),
    ("approval", InboxForm.SELECTION, "approval"),
    ("selection", InboxForm.AUTO, "selection"),
    ("selection", InboxForm.FORM, "form"),
    ("selection", InboxForm.TEXT_INPUT, "selection"),
    ("edit", InboxForm.AUTO, "form"),
    ("edit", InboxForm.TEXT_INPUT, "text-input"),
    ("edit", InboxForm.APPROVAL, "form"),
]


@pytest.mark.parametrize(("kind", "form", "wire"), FORMS, ids=str)
def test_a_form_that_cannot_put_the_question_gives_way(kind: str, form: InboxForm, wire: str):
    """Each kind has types that can carry its answer; any other is replaced by its own."""
    assert wire == ask(kind, options=ReviewOptions(form=form)).request(60).kind


FORM = ReviewOptions(form=InboxForm.FORM)
TEXT = ReviewOptions(form=InboxForm.TEXT_INPUT)
ANSWERS = [
    (ask(), {"selectedOption": "approve", "comment": "fine"}, ("approve", {"why": "fine"})),
    (ask(), {"selectedOption": "regenerate"}, ("regenerate", {})),
    (ask(), {"selectedOption": "yes"}, "'yes' is none of the options ['approve', 'regenerate', 'reject']"),
    (ask(), {}, "selectedOption is missing, not an option's id"),
    (ask("selection"), {"selectedIds": ["a2"]}, ("approve", {"selected": ("a2",)})),
    (ask("selection"), {"selectedIds": ["plait:reject"]}, ("reject", {})),
    (ask("selection"), {"selectedIds": ["a1", "a2"]}, "2 items were selected where one was asked for"),
    (ask("selection"), {"_dismissed": True}, "it was dismissed"),
    (ask("selection"), {"selectedIds": []}, "nothing was selected"),
    (
        ask("selection", options=ReviewOptions(several=True)),
        {"selectedIds": ["a2", "a1"]},
        ("approve", {"selected": ("a2", "a1")}),
    ),
    (
        ask("selection", options=ReviewOptions(several=True)),
        {"selectedIds": ["a2", "plait:reject"]},
        "choices were taken, but the decision is reject",
    ),
    (
        ask("selection", options=ReviewOptions(several=True)),
        {"selectedIds": ["plait:regenerate", "plait:reject"]},
        "it is no answer to the question",
    ),
    (
        ask("selection", options=FORM),
        {"decision": "approve", "choice_2": True, "comment": "this"},
        ("approve", {"selected": ("a2",), "why": "this"}),
    ),
    (ask("selection", options=FORM), {"decision": "approve"}, "nothing was chosen"),
    (ask("edit"), {"decision": "approve", "text": "New words"}, ("approve", {"text": "New words"})),
    (ask("edit"), {"decision": "approve", "text": " Old words "}, ("approve", {})),
    (ask("edit"), {"decision": "approve"}, ("approve", {})),
    (ask("edit"), {"decision": "regenerate", "text": "Old words"}, ("regenerate", {})),
    (ask("edit"), {"text": "New words"}, "decision is required and missing"),
    (ask("edit", options=TEXT), {"text": "New words"}, ("approve", {"text": "New words"})),
    (ask("edit", options=TEXT), {"text": "  "}, "the text is empty"),
    (ask("edit", options=FORM), {"_dismissed": True}, "it was dismissed"),
]


@pytest.mark.parametrize(("question", "response", "means"), ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_decides_or_says_why_not(question: Question, response: Any, means: Any):
    """Typed answers of every form become one decision; what does not answer the question decides nothing."""
    assert means == answered(question, response)


def test_feedback_beside_an_answer_is_its_reason():
    """Placet's feedback stands beside any answer."""
    assert answered(ask(), {"selectedOption": "reject"}, feedback="too dark") == (
        "reject",
        {"why": "too dark"},
    )


def test_the_last_round_offers_no_other():
    """Without regenerate nobody can press it, and an answer that says so decides nothing."""
    question = ask(options=ReviewOptions(regenerate=False))
    assert [one["id"] for one in question.request(60).payload()["options"]] == ["approve", "reject"]
    assert problems_of(question, ReviewDecision(decision="regenerate"))


@pytest.mark.parametrize(
    ("kind", "rule", "word"),
    [
        ("approval", OnExpiry.FAIL, "fail"),
        ("approval", OnExpiry.REJECT, "reject"),
        ("approval", OnExpiry.APPROVE, "approve"),
        ("approval", OnExpiry.ESCALATE, "fail"),
        ("selection", OnExpiry.APPROVE, "fail"),
        ("edit", OnExpiry.APPROVE, "approve"),
    ],
)
def test_expiry_is_held_to_the_same_as_a_person(kind: str, rule: OnExpiry, word: str):
    """Nobody can approve a selection without choosing: the rule cannot either, and fails with the reason."""
    decision, why = at_expiry(ask(kind), rule)
    assert word == decision.decision
    assert ("nothing was chosen" in why) == (kind == "selection")


def test_reject_at_expiry_needs_to_be_offered():
    """Where people may not reject, the rule may not."""
    decision, why = at_expiry(ask(options=ReviewOptions(reject=False)), OnExpiry.REJECT)
    assert ("fail", True) == (decision.decision, "reject cannot stand" in why)
