"""A sandbox for whole nights in Prefect: the stand-ins of Planasonix, Placet and Planck AI, and a ledger."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from placet_world import CHANNEL
from planasonix_world import ROOTS

from blocks import EffectLedger, PlacetCredentials, PlanasonixCredentials, PlanckCredentials
from plait.sandbox.process import SandboxProcess

NIGHT = datetime.now(UTC).date()
"""The stand-in's history ends with the night before."""
KEY = "plnx_live_sandbox"


class NightlyWorld:
    """Everything that one test of the flow talks to."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.url = sandbox.url
        self.folder = folder
        self.channel = CHANNEL
        self.planasonix = PlanasonixCredentials(
            base_url=f"{sandbox.url}{ROOTS['docs'][0]}", api_key=KEY, dialect="hosted"
        )
        self.placet = PlacetCredentials(base_url=f"{sandbox.url}/placet", api_key="hp_sandbox")
        self.planck = PlanckCredentials(base_url=f"{sandbox.url}/planck/api/v1", api_key="pk_live_sandbox")
        self.ledger = EffectLedger(
            url=str(folder / "ledger.db"), landing_cap=0.2, visibility_cap=0.2, patience=20.0
        )
        self._before = self._effects()[-1]["seq"] if self._effects() else 0

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """What the flow is called with, unless a test says otherwise."""
        return {
            "logical_date": NIGHT,
            "series": "test",
            "concurrency": 10,
            "deadline_minutes": 0.05,
            "poll_seconds": 0.05,
            "planasonix": self.planasonix,
            "ledger": self.ledger,
            "report": self.folder / "night.html",
        } | changes

    def seed(self, *pipelines: dict[str, Any], **more: Any) -> dict[str, str]:
        """These pipelines and nothing else; gives each id by name."""
        body = {"replace": True, "pipelines": list(pipelines), **more}
        made = self._control("planasonix/seed", body)
        return {one["name"]: one["id"] for one in [*made["pipelines"], *made["connections"]]}

    def started(self, operation: str = "trigger_run") -> list[str]:
        """The pipelines that were started since the test began, in order."""
        return [
            effect["marker"]
            for effect in self._effects()
            if effect["operation"] == operation and effect["seq"] > self._before
        ]

    def counted(self, service: str, operation: str) -> int:
        """Accepted effects of an operation since the test began."""
        mine = [one for one in self._effects() if one["seq"] > self._before]
        return sum((one["service"], one["operation"]) == (service, operation) for one in mine)

    def _effects(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read("effects")["effects"]
        return found

    def _read(self, path: str) -> Any:
        return httpx.get(f"{self.url}/_sandbox/{path}", timeout=60).raise_for_status().json()

    def _control(self, path: str, body: Any) -> Any:
        return httpx.post(f"{self.url}/_sandbox/{path}", json=body, timeout=60).raise_for_status().json()
