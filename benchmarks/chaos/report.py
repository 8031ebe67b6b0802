"""The one line, and the table by point and kind of work."""

from collections import defaultdict
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from benchmarks.chaos.cases import OPERATION, Case
from benchmarks.chaos.judge import Verdict


@dataclass(slots=True)
class Totals:
    """Everything so far."""

    of: int
    """How many points there are to visit."""
    baseline: bool = False
    planned: set[str] = field(default_factory=set)
    sum: Verdict = field(default_factory=Verdict)
    points: set[str] = field(default_factory=set)
    by_point: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    wrong_at: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    missed: int = 0
    cases: int = 0

    def add(self, case: Case, point: str, verdict: Verdict) -> None:
        """Count one case, struck at `point`."""
        self.sum.add(verdict)
        self.cases += 1
        self.planned.add(point)
        self.wrong_at[point] += bool(verdict.wrong)
        if verdict.struck:
            self.points.add(point)
            self.by_point[point][case.kind] += 1
        else:
            self.missed += 1

    @property
    def not_hit(self) -> list[str]:
        """Points at which every planned blow missed, where the plan had all points."""
        return sorted(self.planned - self.points) if len(self.planned) == self.of else []

    @property
    def line(self) -> str:
        """The result."""
        total = self.sum
        failed = f" failed={total.failed}" if self.baseline else ""
        return (
            f"kills={total.kills} points={len(self.points)}/{self.of} duplicates={total.duplicates} "
            f"lost={total.lost} blocked={total.blocked} unknown={total.unknown} settled={total.settled}"
            f"{failed}"
        )

    def table(self, points: tuple[str, ...]) -> Table:
        """How often each point was struck, by kind of work."""
        columns = [kind for kind in OPERATION if any(row.get(kind) for row in self.by_point.values())]
        names = Column("point", no_wrap=True)
        title = "Cases struck, by point and kind of work"
        table = Table(names, *columns, "wrong", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for point in points:
            row = self.by_point.get(point, {})
            table.add_row(
                point, *(str(row.get(name, "")) for name in columns), str(self.wrong_at[point] or "")
            )
        return table
