"""The one line, and the table by operation and point."""

from collections import defaultdict
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.chaos.cases import OPERATION, Case
from benchmarks.chaos.judge import Verdict


@dataclass(slots=True)
class Totals:
    """Everything so far."""

    of: int
    """How many points there are to visit."""
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
        self.wrong_at[point] += bool(verdict.wrong)
        if verdict.struck:
            self.points.add(point)
            self.by_point[point][_column(case)] += 1
        else:
            self.missed += 1

    @property
    def line(self) -> str:
        """The result."""
        total = self.sum
        return (
            f"kills={total.kills} points={len(self.points)}/{self.of} duplicates={total.duplicates} "
            f"lost={total.lost} blocked={total.blocked} unknown={total.unknown} settled={total.settled}"
        )

    def table(self, points: tuple[str, ...]) -> Table:
        """How often each point was struck, by operation."""
        columns = sorted({column for row in self.by_point.values() for column in row})
        table = Table("point", *columns, "wrong", title="Cases struck, by point and operation")
        for point in points:
            row = self.by_point.get(point, {})
            table.add_row(
                point, *(str(row.get(name, "")) for name in columns), str(self.wrong_at[point] or "")
            )
        return table


def _column(case: Case) -> str:
    name = OPERATION[case.kind][1]
    return {"batch": f"{name} (batch)", "generation": f"{name} (again)"}.get(case.kind, name)
