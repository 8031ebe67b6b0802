"""Giving the process back while people decide."""

from collections.abc import Sequence

from prefect.context import FlowRunContext

from plait.ledger.review_views import ReviewView
from tasks import Run


def can_suspend() -> bool:
    """Whether Prefect can resume this run: it needs a deployment, and is nobody's subflow."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    return run is not None and run.deployment_id is not None and run.parent_task_run_id is None


async def suspend_for(run: Run, views: Sequence[ReviewView]) -> None:
    """Suspend until one of these is decided; returns in the resumed run, where one may be."""
    del run, views
    raise NotImplementedError
