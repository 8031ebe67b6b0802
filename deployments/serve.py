"""Serve every flow from one process, without a work pool: `python -m deployments.serve`.

Set `PREFECT_API_URL` first; stop with Ctrl-C. For scheduled and scaled work use prefect.yaml.
"""

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from flows.ingest_then_chat import ingest_then_chat


def main() -> None:
    """Serve until interrupted."""
    deployment = RunnerDeployment.from_flow(
        ingest_then_chat,
        name="served",
        description="Ingest documents into OfficePlane and ask Planck AI about them.",
        tags=["plait", "officeplane", "planck"],
    )
    serve(deployment)


if __name__ == "__main__":
    main()
