"""What `run_with_review` is given and what it gives back."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from plait.content.text import counted
from plait.ledger.tables import Through
from tasks.pletor_runs import SavedFile


class Wait(StrEnum):
    """How a run waits for a person."""

    HOLD = "hold"
    """In its process: for minutes."""
    SUSPEND = "suspend"
    """Without a process: `resume_reviews` resumes it, or whoever runs it again with its run key."""


class Target(BaseModel):
    """The agent or app that is run."""

    kind: Literal["agent", "app"]
    id: str
    name: str

    @property
    def is_app(self) -> bool:
        """Whether it is an app."""
        return self.kind == "app"


class ReviewRecord(BaseModel):
    """One question and how it was decided."""

    review_id: str
    title: str
    round: str
    digest: str
    """SHA-256 of exactly what was shown."""
    decision: str
    """approve, regenerate, reject, fail or settled; empty while it waits."""
    selected: list[str] = []
    text: str | None = None
    by: str | None = None
    why: str | None = None
    through: Through | None = None
    decided_at: float | None = None
    """Epoch seconds."""
    outcome: str | None = None
    answers: int = 0
    """How many answers were seen, those that decided nothing included."""


class RunWithReview(BaseModel):
    """What the flow returns."""

    status: Literal["completed", "rejected", "waiting"]
    """`waiting`: a person is asked; run again with the same run key to go on."""
    run_key: str
    generation: int
    target: Target
    run_id: str
    channel_id: str
    reviews: list[ReviewRecord]
    files: list[SavedFile] = []
    texts: list[str] = []
    manifest: Path | None = None

    @property
    def summary(self) -> str:
        """One sentence for the run's state."""
        decided = sum(bool(one.decision) for one in self.reviews)
        match self.status:
            case "waiting":
                return (
                    f"{len(self.reviews) - decided} waiting for a decision, {decided} decided; run again "
                    f"with run key {self.run_key} to go on"
                )
            case "rejected":
                last = next(one for one in reversed(self.reviews) if one.decision == "reject")
                return f"rejected by {last.by}: {last.why or 'no reason given'}"
        made = f"{counted(len(self.files), 'file')}, {counted(len(self.texts), 'text')}"
        return f"{made}; {counted(decided, 'review')} decided"
