"""Short chaos runs, as CI makes them: real processes, real SIGKILLs, judged at the sandbox."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.__main__ import Options
from benchmarks.chaos.cases import make_case

ROOT = Path(__file__).parent.parent.parent
_LINE = re.compile(
    r"^kills=(\d+) points=(\d+)/(\d+) duplicates=(\d+) lost=(\d+) blocked=(\d+) unknown=(\d+) settled=(\d+)"
    r"(?: failed=(\d+))?$",
    re.MULTILINE,
)
_NAMES = ("kills", "points", "of", "duplicates", "lost", "blocked", "unknown", "settled", "failed")


def run(*options: str) -> tuple[int, dict[str, int], str]:
    """Exit code, the one line's numbers, and everything that was printed."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--runners", "2", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    said = done.stdout + done.stderr
    found = _LINE.search(done.stdout)
    assert found is not None, said
    return done.returncode, dict(zip(_NAMES, map(int, found.groups("0")), strict=True)), said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_short_run_survives_its_kills(database):
    """Kills at the failpoints, with rivals and faults, leave one of each effect and nothing blocked."""
    code, line, said = run("--kills", "40", "--seed", "7", "--lanes", "4", "--db", database)
    assert code == 0, said
    assert (line["duplicates"], line["lost"], line["blocked"]) == (0, 0, 0), said
    assert line["points"] == line["of"], said
    assert line["kills"] >= 40


@pytest.mark.timeout(300)
def test_the_same_blows_break_a_baseline():
    """The judge is no yes-man: without a ledger the same cases leave duplicates or blocked runs."""
    _, line, said = run("--kills", "12", "--seed", "7", "--lanes", "3", "--engine", "prefect-transaction")
    assert line["duplicates"] + line["blocked"] > 0, said


def _case(fault):
    """A case of one findable effect that lands late, its runner left alive: no start-up takes up the time."""
    drawn = (make_case(7, n, 2) for n in range(50_000))
    return next(
        case
        for case in drawn
        if (case.fault, case.action) == (fault, "fail")
        and case.kind in {"upload", "conversation", "file", "channel"}
        and case.point.startswith("claim.")
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "fault"), [("D", "late_landing"), ("L", "late_landing_lag")])
def test_an_engine_without_a_term_of_its_bound_fails(engine, fault):
    """Each of D and L is needed: without it the same case leaves a duplicate, and the exit code says so."""
    number = _case(fault).number
    assert run("--seed", "7", "--case", str(number))[0] == 0
    code, line, said = run("--seed", "7", "--case", str(number), "--engine", f"plait-without-{engine}")
    assert (code, line["duplicates"]) == (1, 1), said
    assert f"make chaos SEED=7 CASE={number} DB=sqlite RUNNERS=2 ENGINE=plait-without-{engine}" in said


def test_the_printed_command_plays_the_case_again():
    """What a failure prints reaches the harness whole: seed, case, database, runners and engine."""
    options = Options(3, 11, "postgres", 1, "plait-without-D", None, 8)
    command = [*options.again(42).split(), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = " ".join(done.stdout.replace("\\", " ").split())
    assert "--seed 11 --db postgres --runners 1 --engine plait-without-D --case 42" in said
