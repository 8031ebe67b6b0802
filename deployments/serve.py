"""Serve every flow from one process, without a work pool: `python -m deployments.serve`.

Set `PREFECT_API_URL` first; stop with Ctrl-C. For scheduled and scaled work use prefect.yaml.
"""

from typing import Final

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.ingest_then_chat import ingest_then_chat
from flows.nightly_pipeline_sync import nightly_pipeline_sync
from flows.reconcile_effects import reconcile_effects

SWEEP: Final = 300
"""Seconds between two runs of the sweeper."""
NIGHT: Final = "0 2 * * *"


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
    nightly = RunnerDeployment.from_flow(
        nightly_pipeline_sync,
        name="served",
        description="Run the Planasonix pipelines that are due tonight, each once; off until you set it up.",
        tags=["plait", "planasonix"],
        schedule=Cron(NIGHT, timezone="UTC", active=False),
        parameters={"pipelines": ["*"], "timezone": "UTC", "catch_up": 1},
        concurrency_limit=1,
    )
    serve(chat, sweeper, nightly)


if __name__ == "__main__":
    main()
