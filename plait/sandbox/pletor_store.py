"""What the Pletor stand-in keeps, whose keys it knows, and the agents and apps it offers."""

from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel, Field

from plait.sandbox.store import Entity

State: TypeAlias = Literal["working", "reviewing", "completed", "failed", "canceled"]
ReviewKind: TypeAlias = Literal["approval", "selection", "edit"]
Space: TypeAlias = Literal["runs", "app-runs", "assets"]

ORGANIZATIONS: Final = {
    "sk-sandbox": "acme",
    "sk-member": "acme",
    "sk-other": "other",
    "Bearer sandbox.jwt.token": "acme",
}
"""Organization of each API key, and of the one bearer token. External ids are unique in it [doc]."""


class Stage(BaseModel):
    """One piece of a run's work, and the decisions a person takes on it, all at once."""

    pictures: int = 0
    texts: int = 0
    reviews: tuple[ReviewKind, ...] = ()
    fails: bool = False


class Definition(BaseModel):
    """An agent or an app."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    cost: float = 1.0
    stages: tuple[Stage, ...]

    def shown(self) -> dict[str, Any]:
        """As the catalogue has it."""
        inputs = [
            {"id": "title", "type": "text_input", "description": "The headline.", "required": True},
            {"id": "style", "type": "text_input", "description": "A mood or colour.", "required": False},
            {"id": "image", "type": "image_input", "description": "Pictures to use.", "required": False},
        ]
        made = [
            {"id": f"output_{number}", "type": kind}
            for number, stage in enumerate(self.stages)
            for kind in ["image"] * bool(stage.pictures) + ["text"] * bool(stage.texts)
        ]
        return {
            **self.model_dump(include={"id", "name", "description", "tags"}),
            "inputs": inputs,
            "outputs": made,
            "estimated_cost": self.cost,
        }


def _id(number: int) -> str:
    return f"5a9d0000-0000-4000-8000-{number:012d}"


POSTER = Definition(
    id=_id(1),
    name="Poster",
    description="One picture and its caption, without review.",
    tags=("image", "text"),
    stages=(Stage(pictures=1, texts=1),),
)
REVIEWED_POSTER = Definition(
    id=_id(2),
    name="Reviewed poster",
    description="One picture, which a person approves, rejects or has made anew.",
    tags=("image", "review"),
    stages=(Stage(pictures=1, reviews=("approval",)),),
)
PICK_ONE = Definition(
    id=_id(3),
    name="Pick one",
    description="Three pictures, of which a person selects.",
    tags=("image", "review"),
    cost=3.0,
    stages=(Stage(pictures=3, reviews=("selection",)),),
)
COPYWRITER = Definition(
    id=_id(4),
    name="Copywriter",
    description="A text, which a person approves or edits.",
    tags=("text", "review"),
    stages=(Stage(texts=1, reviews=("edit",)),),
)
CAMPAIGN = Definition(
    id=_id(5),
    name="Campaign",
    description="A picture and a text reviewed at once, then a selection of three banners.",
    tags=("image", "text", "review"),
    cost=5.0,
    stages=(
        Stage(pictures=1, texts=1, reviews=("approval", "edit")),
        Stage(pictures=3, reviews=("selection",)),
    ),
)
SLOGANS = Definition(
    id=_id(7),
    name="Slogans",
    description="Three slogans, of which a person selects one.",
    tags=("text", "review"),
    stages=(Stage(texts=3, reviews=("selection",)),),
)
SERIES = Definition(
    id=_id(8),
    name="Poster series",
    description="Two pictures, the second one made once a person has approved the first.",
    tags=("image", "review"),
    cost=2.0,
    stages=(Stage(pictures=1, reviews=("approval",)), Stage(pictures=1, reviews=("approval",))),
)
DOOMED = Definition(
    id=_id(6), name="Doomed", description="Fails whatever it is given.", stages=(Stage(fails=True),)
)
POSTER_APP = Definition(
    id=_id(11),
    name="Poster app",
    description="Two pictures and a caption.",
    tags=("image", "text"),
    cost=2.0,
    stages=(Stage(pictures=2, texts=1),),
)

AGENTS: Final = {
    each.id: each
    for each in (POSTER, REVIEWED_POSTER, PICK_ONE, COPYWRITER, CAMPAIGN, SLOGANS, SERIES, DOOMED)
}
APPS: Final = {each.id: each for each in (POSTER_APP,)}


class Piece(BaseModel):
    """Something a run made: a picture or a text."""

    asset_id: str | None = None
    text: str | None = None


class StoredReview(BaseModel):
    """One decision asked for."""

    id: str
    stage: int
    kind: ReviewKind
    turn: int
    """0 for the first proposal, one more for each regeneration."""
    options: list[Piece]
    asked_at: float
    decided_at: float | None = None
    """Both in Unix seconds."""
    decision: dict[str, Any] | None = None


class StoredRun(Entity):
    """A run; `parent` is organization and space, such as `acme/runs`."""

    kind: ClassVar[str] = "pletor_run"

    definition: str
    inputs: list[dict[str, Any]]
    external_id: str | None
    cost: float
    state: State = "working"
    stage: int = 0
    turn: int = 0
    began: float
    """Unix seconds at which the present work began."""
    reviews: list[StoredReview] = Field(default_factory=list)
    accepted: list[Piece] = Field(default_factory=list)
    error: str | None = None
    updated_at: datetime

    @property
    def organization(self) -> str:
        """Whose run it is."""
        return self.parent.partition("/")[0]

    @property
    def is_app(self) -> bool:
        """Whether an app is run."""
        return self.parent.endswith("/app-runs")

    @property
    def open_reviews(self) -> list[StoredReview]:
        """What a person has still to decide."""
        return [review for review in self.reviews if review.decided_at is None]

    def value(self, input_id: str) -> Any:
        """An input's value, or None."""
        return next((entry["value"] for entry in self.inputs if entry["id"] == input_id), None)


class StoredAsset(Entity):
    """A file; `parent` is its organization. Its bytes stand in the sandbox's folder."""

    kind: ClassVar[str] = "pletor_asset"

    external_id: str | None = None
    filename: str
    media_type: str
    size: int
    sha256: str
    run_id: str | None = None
    """The run that made it."""


class StoredKey(Entity):
    """A claimed external id: `id` is organization, space and key. Never released once something stands."""

    kind: ClassVar[str] = "pletor_key"

    entity_id: str
    """Empty while the claim will be rolled back."""
    body: str
    """Digest of what was asked for."""
    rolled_back_at: float | None = None
    """Unix seconds."""
