"""Serve every flow from one process, without a work pool: `python -m deployments.serve`.

Set `PREFECT_API_URL` first; stop with Ctrl-C. For scheduled and scaled work use prefect.yaml.
"""

from typing import Final

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from flows.ingest_then_chat import ingest_then_chat
from flows.reconcile_effects import reconcile_effects

SWEEP: Final = 300
"""Seconds between two runs of the sweeper."""


def main() -> None:
    """Serve until interrupted."""
    chat = RunnerDeployment.from_flow(
        ingest_then_chat,
        name="served",
        description="Ingest documents into OfficePlane and ask Planck AI about them.",
        tags=["plait", "officeplane", "planck"],
    )
    sweeper = RunnerDeployment.from_flow(
        reconcile_effects,
        name="served",
        description="Find out what became of effects that nobody is at; sends nothing.",
        tags=["plait", "effects"],
        interval=SWEEP,
        concurrency_limit=1,
    )
    serve(chat, sweeper)


if __name__ == "__main__":
    main()
