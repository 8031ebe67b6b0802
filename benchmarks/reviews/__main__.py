"""How long a decision takes to be acted on while many are waited for, and what waiting costs.

python -m benchmarks.reviews --runs 100 --scripts 10000
"""

import argparse
import asyncio
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deployments.local import free_port, prefect_environment, prefect_server


def main() -> int:
    """Measure both parts; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100, help="served runs; 0 leaves them out")
    parser.add_argument("--scripts", type=int, default=10_000, help="questions of scripts; 0 leaves them out")
    parser.add_argument("--poll", type=int, default=10, help="seconds between a runner's looks at Prefect")
    parser.add_argument("--at-once", type=int, default=4, help="flow-run processes that the runner allows")
    parser.add_argument("--window", type=float, default=60.0, help="seconds of one window of resume_reviews")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds for each step")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-bench-")))
        if not os.environ.get("PREFECT_API_URL"):
            home = folder / "prefect"
            server = stack.enter_context(prefect_server(free_port(), home=home, log=folder / "prefect.log"))
            os.environ.update(prefect_environment(home, server))
        # Prefect reads its settings when it is first imported.
        from benchmarks.reviews import scripts, served  # noqa: PLC0415

        wrong = 0
        times = {"window": given.window, "patience": given.patience}
        if given.runs:
            options = {"poll": given.poll, "at_once": given.at_once, **times}
            wrong += _print(asyncio.run(served.measure(given.runs, folder, **options)))
        if given.scripts:
            wrong += _print(asyncio.run(scripts.measure(given.scripts, folder, **times)))
    return 1 if wrong else 0


def _print(figures: object) -> int:
    from benchmarks.reviews.figures import Figures  # noqa: PLC0415 - the same

    assert isinstance(figures, Figures)  # noqa: S101 - for mypy
    print("\n".join(figures.lines()), flush=True)
    return len(figures.wrong)


if __name__ == "__main__":
    sys.exit(main())
