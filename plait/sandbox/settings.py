"""What a sandbox is started with: its address, its state file and the vendors' switches."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from plait.sandbox.fault_rules import FaultRule
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.planck_settings import PlanckSettings
from plait.sandbox.pletor_settings import PletorSettings


class OfficePlaneSettings(BaseModel):
    """The switches of officeplane.md §8 that concern documents; the defaults are [assumed]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    llm: Literal["present", "absent"] = "present"
    """`present`: plan and verify answer by rules of our own (there is no language model here).
    `absent`: plan answers 500 `LLM returned no actions`, verify answers with an outline."""
    ingest_seconds: float = Field(default=0.2, ge=0.0, le=600.0)
    """How long an upload is visible with growing chapters before it is complete and answered."""
    title_author_fault: bool = True
    """`?title=` or `?author=` answers 500 although the document is created (officeplane.md §3.1)."""
    collection_fault: bool = True
    """An unknown `collection_id` answers 404 after the document was created; off: before."""
    error_bodies: Literal["server", "documented"] = "server"
    """`documented` adds the `status_code` key that the vendor's overview page shows."""


class SandboxSettings(BaseModel):
    """One sandbox process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Path
    """SQLite file; uploaded bytes stand beside it in `<state>.files/`, faults in `<state>.faults.jsonl`."""
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free port; `port_file` then tells which."""
    port_file: Path | None = None
    """Written once the sandbox accepts requests: the port number and a newline."""
    seed: int = 0
    """Decides every random choice, so that a run can be repeated."""
    faults: tuple[FaultRule, ...] = ()
    """Rules in force from the first request on."""
    officeplane: OfficePlaneSettings = OfficePlaneSettings()
    planck: PlanckSettings = PlanckSettings()
    placet: PlacetSettings = PlacetSettings()
    pletor: PletorSettings = PletorSettings()
    planasonix: PlanasonixSettings = PlanasonixSettings()

    @property
    def files(self) -> Path:
        """Folder of the uploaded bytes."""
        return self.state.with_name(f"{self.state.name}.files")

    @property
    def fault_log(self) -> Path:
        """One JSON line for every fault that fired."""
        return self.state.with_name(f"{self.state.name}.faults.jsonl")
