"""Serve every flow from one process, without a work pool: `python -m deployments.serve`.

Set `PREFECT_API_URL` first; stop with Ctrl-C. For scheduled and scaled work use prefect.yaml.
"""

from typing import Final

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.ingest_then_chat import ingest_then_chat
from flows.nightly_pipeline_sync import nightly_pipeline_sync
from flows.reconcile_effects import reconcile_effects
from flows.resume_reviews import resume_reviews
from flows.run_with_review import run_with_review

SWEEP: Final = 300
"""Seconds between two runs of the sweeper, and of what takes up decisions."""
WATCH: Final = 290
"""Seconds that the latter goes on looking."""
RUNS_AT_ONCE: Final = 10
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
    reviewed = RunnerDeployment.from_flow(
        run_with_review,
        name="served",
        description="Run a Pletor agent or app with people deciding in Placet.",
        tags=["plait", "pletor", "placet"],
        parameters={"wait": "suspend"},
    )
    resumer = RunnerDeployment.from_flow(
        resume_reviews,
        name="served",
        description="Record what people decided, and resume the runs that wait for it.",
        tags=["plait", "placet"],
        parameters={"watch_for": WATCH},
        interval=SWEEP,
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
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
    serve(chat, sweeper, reviewed, resumer, nightly, limit=RUNS_AT_ONCE)


if __name__ == "__main__":
    main()
