"""What Pletor says and is told (pletor.md §3.1).

What we read keeps unknown fields and unknown words, and takes each of the shapes third parties have
seen; what we send refuses unknown fields, but for a review decision, whose body nobody documents.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from plait.http.errors import InvalidInput

DONE_WORDS: Final = frozenset({"completed", "succeeded", "success"})
DEAD_WORDS: Final = frozenset({"failed", "error", "cancelled", "canceled", "timed_out", "expired", "aborted"})
"""Lower-case status words that end a run (pletor.md §4); every other word means that it goes on."""

T = TypeVar("T")


def _listed(value: Any) -> Any:
    return [] if value is None else value


def _entries(value: Any) -> Any:
    """A list of objects; bare texts count as ids [assumed]."""
    if isinstance(value, list):
        return [{"id": item} if isinstance(item, str) else item for item in value]
    return _listed(value)


Listed = Annotated[list[T], BeforeValidator(_listed)]
Entries = Annotated[list[T], BeforeValidator(_entries)]


class Received(BaseModel):
    """Base of what the server answers."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Sent(BaseModel):
    """Base of what we send."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputField(Received):
    """An input an agent or app asks for, or an output it promises."""

    id: str
    type: str | None = None
    """`text_input`, `image_input`, `video_input`, `audio_input`, or a word not known yet."""
    description: str | None = None
    required: bool | None = None
    """None: the server did not say."""


class Agent(Received):
    """An agent of the catalogue."""

    id: str
    name: str | None = None
    description: str | None = None
    tags: Listed[str] = Field(default_factory=list)
    inputs: Entries[InputField] = Field(default_factory=list)
    outputs: Entries[InputField] = Field(default_factory=list)
    estimated_cost: float | None = None
    """Credits."""


class App(Agent):
    """A curated app: the same shape, run by `create_app_run`."""


class Asset(Received):
    """A file at Pletor."""

    id: str = Field(validation_alias=AliasChoices("id", "asset_id"))
    external_id: str | None = None
    media_type: str | None = None
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """Hexadecimal, where the server tells it [assumed]."""


class AssetIds(Sent):
    """The value of an image, video or audio input."""

    asset_ids: list[str] = Field(min_length=1)


class RunInput(Sent):
    """One input of a run: a text, or the assets it is made from (pletor.md §3.1)."""

    id: str = Field(min_length=1)
    value: str | AssetIds

    @classmethod
    def text(cls, input_id: str, text: str) -> "RunInput":
        """A text input."""
        return cls(id=input_id, value=text)

    @classmethod
    def assets(cls, input_id: str, *asset_ids: str) -> "RunInput":
        """An input of uploaded or produced assets."""
        return cls(id=input_id, value=AssetIds(asset_ids=list(asset_ids)))


class RunResult(Received):
    """One entry of `results`: assets, a text, or both."""

    asset_id: str | None = None
    asset_ids: Listed[str] = Field(default_factory=list)
    text: str | None = None
    value: Any = None

    @property
    def assets(self) -> list[str]:
        """Every asset id of this entry."""
        own = [self.asset_id] if self.asset_id else []
        inner = self.value.get("asset_ids", []) if isinstance(self.value, Mapping) else []
        return list(dict.fromkeys([*own, *self.asset_ids, *inner]))

    @property
    def words(self) -> str | None:
        """The text of this entry, if it is one."""
        return self.text if self.text is not None or not isinstance(self.value, str) else self.value


class ReviewOption(Received):
    """Something to choose in a review [assumed]."""

    id: str | None = None
    asset_id: str | None = None
    text: str | None = None


class PendingReview(Received):
    """A decision that a run waits for [assumed, but for the id]."""

    id: str = Field(validation_alias=AliasChoices("id", "review_id"))
    node_id: str | None = None
    """Which node of the agent asks: the same one again after a regeneration."""
    type: str | None = None
    """`approval`, `selection`, `edit`, or a word not known yet."""
    prompt: str | None = None
    options: Listed[ReviewOption] = Field(default_factory=list)


class RecordedReview(Received):
    """A decision as the run remembers it, where it does [assumed]."""

    id: str = Field(validation_alias=AliasChoices("id", "review_id"))
    decision: str | None = None
    selected_asset_ids: Listed[str] = Field(default_factory=list)
    text: str | None = None
    external_id: str | None = None


class Phase(StrEnum):
    """What a run's status word means."""

    GOING = "going"
    DONE = "done"
    DEAD = "dead"
    """Failed, canceled or timed out; its key stays used for ever."""


class Run(Received):
    """An agent run or an app run."""

    id: str = Field(validation_alias=AliasChoices("id", "run_id"))
    status: str = ""
    """The server's own word; `phase` says what it means."""
    external_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    inputs: Any = None
    """As echoed: a list of `{id, value}`, an object by id, or nothing."""
    awaiting_human_review: bool | None = None
    pending_reviews: Entries[PendingReview] = Field(default_factory=list)
    reviews: Entries[RecordedReview] = Field(default_factory=list)
    """Decisions taken, where the server shows them [assumed]."""
    results: Entries[RunResult] = Field(default_factory=list)
    outputs: Entries[RunResult] = Field(default_factory=list)
    error: Any = None
    error_message: str | None = None

    @property
    def phase(self) -> Phase:
        """Going on, done or dead; an unknown word is going on (pletor.md §4)."""
        word = self.status.strip().lower()
        if word in DONE_WORDS:
            return Phase.DONE
        return Phase.DEAD if word in DEAD_WORDS else Phase.GOING

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.phase is not Phase.GOING

    @property
    def awaits_review(self) -> bool:
        """Whether a person is asked; a terminal status wins over a stale flag."""
        return bool(self.awaiting_human_review) and not self.ended

    @property
    def due_reviews(self) -> list[PendingReview]:
        """The reviews to resolve now. Empty while the flag is up means: ask again."""
        return self.pending_reviews if self.awaits_review else []

    @property
    def products(self) -> list[RunResult]:
        """`results`, or `outputs` where the server calls them so."""
        return self.results or self.outputs

    @property
    def asset_ids(self) -> list[str]:
        """Every produced asset, in order, once."""
        return list(dict.fromkeys(asset for product in self.products for asset in product.assets))

    @property
    def texts(self) -> list[str]:
        """Every produced text, in order."""
        return [words for product in self.products if (words := product.words) is not None]

    @property
    def failure(self) -> str | None:
        """What the server says went wrong."""
        if self.error_message:
            return self.error_message
        inner = self.error.get("message") if isinstance(self.error, Mapping) else self.error
        return str(inner) if inner else None


class ReviewDecision(BaseModel):
    """What a reviewer decided. The vendor's body is not documented: other fields pass as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    decision: str
    """approve, reject or regenerate [assumed]."""
    selected_asset_ids: list[str] | None = None
    text: str | None = None
    """The chosen or corrected text."""
    feedback: str | None = None

    def body(self, external_id: str | None = None) -> dict[str, Any]:
        """What is posted."""
        key = {} if external_id is None else {"external_id": external_id}
        return self.model_dump(mode="json", exclude_none=True) | key


def approve(feedback: str | None = None) -> ReviewDecision:
    """Take it as it is."""
    return ReviewDecision(decision="approve", feedback=feedback)


def reject(feedback: str | None = None) -> ReviewDecision:
    """Refuse it."""
    return ReviewDecision(decision="reject", feedback=feedback)


def regenerate(feedback: str | None = None) -> ReviewDecision:
    """Have it made anew: another review with another id follows."""
    return ReviewDecision(decision="regenerate", feedback=feedback)


def select(*asset_ids: str, text: str | None = None, feedback: str | None = None) -> ReviewDecision:
    """Choose among the options: pictures by their ids, a text by its words."""
    return ReviewDecision(
        decision="approve", selected_asset_ids=list(asset_ids) or None, text=text, feedback=feedback
    )


def edit(text: str, feedback: str | None = None) -> ReviewDecision:
    """Take it with this text in place of the proposed one."""
    return ReviewDecision(decision="approve", text=text, feedback=feedback)


class ReviewAnswer(Received):
    """The answer to a review POST; nothing of it is documented."""

    already_resolved: bool = False


Settled: TypeAlias = Literal["resolved", "resolved_unverified", "decided_otherwise"]
"""`resolved`: our decision stands. `resolved_unverified`: it is settled, and the run does not say how.
`decided_otherwise`: somebody's other decision came first (pletor.md §6.4)."""


class Resolution(Received):
    """What became of a review."""

    run_id: str
    review_id: str
    outcome: Settled
    decision: str | None = None
    """The decision that stands, as far as it is known."""


def canonical_inputs(inputs: Sequence[RunInput] | Any) -> dict[str, Any] | None:
    """Inputs by id, in NFC, whatever shape they came in; None for a shape that says nothing."""
    if isinstance(inputs, Mapping):
        return {str(name): _plain(value) for name, value in inputs.items()}
    if not isinstance(inputs, Sequence) or isinstance(inputs, str):
        return None
    found: dict[str, Any] = {}
    for item in inputs:
        entry = item.model_dump(mode="json") if isinstance(item, BaseModel) else item
        if not isinstance(entry, Mapping) or "id" not in entry or "value" not in entry:
            return None
        found[str(entry["id"])] = _plain(entry["value"])
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def check_inputs(inputs: Sequence[RunInput]) -> None:
    """Raise `InvalidInput` where two inputs have one id: which of them counts is not known."""
    seen: set[str] = set()
    for item in inputs:
        if item.id in seen:
            raise InvalidInput(f"input {item.id!r} is given twice; give each input once")
        seen.add(item.id)
