"""A sandbox with its counters and faults, a ledger, and ways to run the flow against them."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from docx import Document

from blocks import EffectLedger, OfficePlaneServer, PlanckCredentials
from plait.sandbox.process import SandboxProcess

KEY = "pk_live_sandbox"
QUESTION = "What is the monthly rent of the warehouse?"
_MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
ROOT = Path(__file__).parent.parent.parent


def make_docx(path: Path) -> Path:
    """A Word document whose content is unique and which answers `QUESTION`."""
    document = Document()
    document.core_properties.title = f"Lease {uuid.uuid4()}"
    document.add_heading("Rent", level=1)
    document.add_heading("Monthly rent", level=2)
    document.add_paragraph("The monthly rent of the warehouse is 12,345 euros.")
    document.add_heading("Notice", level=1)
    document.add_paragraph("The notice period of the warehouse lease is seven months.")
    document.save(str(path))
    return path


@dataclass
class World:
    """Everything one test of the flow talks to."""

    sandbox: SandboxProcess
    folder: Path
    prefect_api: str
    before: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.before = self.counts()

    @property
    def officeplane(self) -> OfficePlaneServer:
        """The stand-in of OfficePlane."""
        return OfficePlaneServer(base_url=f"{self.sandbox.url}/officeplane")

    def planck(self, key: str = KEY) -> PlanckCredentials:
        """The stand-in of Planck AI."""
        return PlanckCredentials(base_url=f"{self.sandbox.url}/planck/api/v1", api_key=key)

    @property
    def ledger(self) -> EffectLedger:
        """A ledger of the test's own, with the times of a far end that is quick."""
        return EffectLedger(
            url=str(self.folder / "ledger.db"), landing_cap=0.2, visibility_cap=0.2, patience=20.0
        )

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.folder / "report.html"

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """What the flow is called with, unless a test says otherwise."""
        return {
            "questions": [QUESTION],
            "workspace": "Operations",
            "officeplane": self.officeplane,
            "planck": self.planck(),
            "ledger": self.ledger,
            "report": self.report,
        } | changes

    def copy(self, document: Path, name: str) -> Path:
        """The same content under another name."""
        return Path(shutil.copy(document, self.folder / name))

    def counts(self) -> Counter[str]:
        """Accepted effects by operation, as the sandbox counted them."""
        answer = httpx.get(f"{self.sandbox.url}/_sandbox/effects").raise_for_status().json()
        return Counter(answer["by_operation"])

    def new_effects(self) -> dict[str, int]:
        """What was accepted since the test began."""
        return dict(self.counts() - self.before)

    def fault(self, **rule: Any) -> None:
        """Arm one fault."""
        httpx.post(f"{self.sandbox.url}/_sandbox/faults", json=rule).raise_for_status()

    def drop_faults(self) -> None:
        """Disarm every fault."""
        httpx.delete(f"{self.sandbox.url}/_sandbox/faults").raise_for_status()

    def environment(self) -> dict[str, str]:
        """The environment in which the command finds all of this."""
        return {
            **os.environ,
            "PREFECT_API_URL": self.prefect_api,
            "PLAIT_OFFICEPLANE_URL": self.officeplane.base_url,
            "PLAIT_PLANCK_URL": self.planck().base_url,
            "PLAIT_PLANCK_API_KEY": KEY,
            "PLAIT_LEDGER_URL": str(self.folder / "ledger.db"),
            "PLAIT_LEDGER_LANDING_CAP": "0.2",
            "PLAIT_LEDGER_VISIBILITY_CAP": "0.2",
            "PLAIT_LEDGER_PATIENCE": "20",
        }

    def command(self, documents: Sequence[Path], *more: str) -> list[str]:
        """The command of the README."""
        given = [part for document in documents for part in ("--document", str(document))]
        place = ["--workspace", "Operations", "--report", str(self.report)]
        return [sys.executable, "-m", "flows.ingest_then_chat", *given, *place, *more]

    def start(self, documents: Sequence[Path], *more: str) -> "subprocess.Popen[str]":
        """The command in a process group of its own."""
        return subprocess.Popen(
            self.command(documents, *more),
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run_measured(self, documents: Sequence[Path], *more: str) -> tuple[int, int, str]:
        """Exit code, peak memory in bytes, and output of the command.

        A small process starts it: the peak of a child counts its parent's memory before `exec`.
        """
        peak = self.folder / "peak"
        starter = [sys.executable, "-S", "-c", _MEASURE, str(peak), *self.command(documents, *more)]
        done = subprocess.run(
            starter,
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        unit = 1 if sys.platform == "darwin" else 1024
        return done.returncode, int(peak.read_text()) * unit, done.stdout + done.stderr

    def kill_after(self, operation: str, process: "subprocess.Popen[str]", timeout: float = 40.0) -> None:
        """SIGKILL the group once the sandbox has accepted one more `operation`."""
        until = time.monotonic() + timeout
        try:
            while self.new_effects().get(operation, 0) < 1:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"{operation} was not accepted: {process.communicate(timeout=5)[0]}")
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
