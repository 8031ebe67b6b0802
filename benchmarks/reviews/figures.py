"""What is measured, and how it is printed."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1024 * 1024
PLACET_LIMIT = 100
"""Requests a minute and route (placet.md §2)."""
RESUMER = "benchmarks.reviews.resumer"
SCRIPT = "benchmarks.reviews.script"
"""Modules that run as processes of their own."""


@dataclass(slots=True)
class Figures:
    """One part's outcome. `wrong` names everything that is not as it must be."""

    name: str
    waiting: int
    processes: int = -1
    """Processes of the waiting runs while they wait."""
    resumers: int = -1
    spans: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from the answer to something, by what it is."""
    calls: dict[str, float] = field(default_factory=dict)
    """Requests a minute at Placet, by route: the mean of the busiest window, which may hold two bursts."""
    peak: float = 0.0
    """MB of the process that takes up decisions."""
    facts: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> Iterable[str]:
        """As text."""
        yield f"{self.name}: {self.waiting:,} waiting"
        yield f"  processes of waiting runs: {self.processes}; resume_reviews: {self.resumers}"
        for what, seconds in self.spans.items():
            yield f"  answer to {what}: {spread(seconds)}"
        for route, rate in sorted(self.calls.items()):
            yield f"  Placet {route}: {rate:.0f} requests/min (limit {PLACET_LIMIT} in any 60 s)"
        yield f"  resume_reviews peak memory: {self.peak:.0f} MB"
        for what, fact in self.facts.items():
            yield f"  {what}: {fact}"
        yield "  wrong: " + ("; ".join(self.wrong) or "nothing")


def spread(seconds: list[float]) -> str:
    """Median, 95th percentile and longest."""
    if not seconds:
        return "nothing measured"
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"median {statistics.median(ordered):.1f} s, p95 {late:.1f} s, max {ordered[-1]:.1f} s"


def peak_memory(pid: int) -> float:
    """The most that a process ever had in memory, in MB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / MEGABYTE


def flow_run_processes(flow_run_ids: Iterable[str]) -> int:
    """How many processes exist for these flow runs; the runner names the run in their environment (Linux)."""
    wanted = set(flow_run_ids)
    found = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        named = [one.partition("=")[2] for one in environment.split("\0") if "FLOW_RUN_ID=" in one]
        found += any(one in wanted for one in named)
    return found


def processes_called(*words: str) -> int:
    """How many processes have all of these words in their command line (Linux)."""
    found = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        found += set(words) <= set(command)
    return found


def busiest(windows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The highest rate of each route."""
    most: dict[str, float] = {}
    for window in windows:
        for route, rate in window.items():
            most[route] = max(most.get(route, 0.0), rate)
    return most
