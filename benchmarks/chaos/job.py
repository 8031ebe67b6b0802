"""What a runner process is told, and what it says when it ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel

from benchmarks.chaos.work import Work
from plait.ledger import Timing

Engine: TypeAlias = Literal[
    "plait",
    "plait-without-D",
    "plait-without-L",
    "naive-retry",
    "prefect-transaction",
    "prefect-serializable",
]
OURS: Final[frozenset[Engine]] = frozenset({"plait", "plait-without-D", "plait-without-L"})
"""The engine, whole and with one term of E3 taken away: then it must fail, or the harness proves nothing."""

LEASE: Final = 2.0
WINDOW: Final = 1.0
"""W of every operation here, so that a stop can outlast it."""
LANDING: Final = 1.0
"""D as the engine is told it; the faults stay within it."""
VISIBILITY: Final = 0.5
STEP: Final = 0.1
SETTLING: Final = LANDING + VISIBILITY + STEP
"""E3, counted from the moment at which the last attempt is quiet."""
LIMIT: Final = 30
"""Seconds after which a runner's own alarm ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One runner's orders. It is pickled, so it holds nothing but plain values."""

    engine: Engine
    work: Work
    name: str
    folder: Path
    sandbox: str
    ledger: str
    processes: Path
    """Where the process locks of a ledger without a file live."""
    point: str = ""
    visit: int = 1
    action: Literal["park", "fail"] = "park"
    patience: float = 6.0
    max_pause: float | None = None
    sweeps: bool = False
    """Look again at what was judged absent by time, instead of asking for effects."""

    @property
    def timing(self) -> Timing:
        """The protocol's times, short enough for thousands of cases."""
        return Timing(
            lease=LEASE,
            step=STEP,
            landing_cap=0.0 if self.engine == "plait-without-D" else LANDING,
            visibility_cap=0.0 if self.engine == "plait-without-L" else VISIBILITY,
            patience=self.patience,
            record_patience=10.0,
            max_pause=self.max_pause,
        )

    @property
    def run_key(self) -> str:
        """All runners of a case mean the same effects."""
        return self.work.token

    @property
    def flags(self) -> Path:
        """Where this runner shows that it is parked."""
        return self.folder / f"{self.name}.flags"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / f"{self.name}.log"

    @property
    def report(self) -> Path:
        """What it says at its end."""
        return self.folder / f"{self.name}.json"


class Told(BaseModel):
    """What a runner was told about one effect."""

    label: str
    status: Literal["done", "unknown", "retry", "failed"]
    """`retry`: another time, by the error's own words."""
    message: str = ""


class Report(BaseModel):
    """All it was told."""

    effects: list[Told]
    sweeps_due: bool = False
    """A sweeper left a look that was due."""
