"""Waiting until Planck AI has processed the documents that a question is about."""

from collections.abc import Sequence
from typing import Final, Literal

from prefect import task
from pydantic import BaseModel

from blocks import PlanckCredentials
from plait.clock import BootClock
from plait.vendors.planck.models import Document, DocumentPhase
from tasks._declare import OPTIONS, Counted
from tasks._progress import Progress
from tasks._run import client_of

POLL: Final = 1.0
"""Seconds between two looks at the workspace."""
CLOCK: Final = BootClock()


class Wanted(BaseModel):
    """A document as OfficePlane knows it."""

    officeplane_id: str
    names: tuple[str, ...]
    """The names under which the workspace may list it."""


class Listed(BaseModel):
    """How a document stands in the Planck workspace."""

    standing: Literal["ready", "failed", "waiting", "absent", "ambiguous"]
    planck_id: str | None = None
    word: str | None = None
    """The vendor's own word for its status."""


@task(name="planck.wait_for_documents", task_run_name=Counted("wait for", "wanted"), **OPTIONS)
async def wait_for_documents(
    planck: PlanckCredentials | str | None,
    workspace_id: str,
    wanted: Sequence[Wanted],
    *,
    listing_deadline: float,
    processing_deadline: float,
) -> list[Listed]:
    """Poll the workspace until each document is ready or failed, or a deadline is reached.

    The workspace's ids are not known to agree with OfficePlane's, so a document is found by id or
    else by name; several of one name are `ambiguous`, because one may be an older version.

    Args:
        planck: A block, its name, or None for the environment.
        workspace_id: The workspace to look at.
        wanted: The documents to find.
        listing_deadline: Seconds after which a document that is not listed counts as absent.
        processing_deadline: Seconds after which a document that is not ready is left waiting.
    """
    progress = Progress(len(wanted), description="Waiting for Planck AI to process the documents")
    patience = {"absent": min(listing_deadline, processing_deadline), "waiting": processing_deadline}
    async with (
        client_of(PlanckCredentials, PlanckCredentials.get_client, planck) as client,
        progress.following(),
    ):
        began = CLOCK.now()
        while True:
            listing = await client.list_documents(workspace_id)
            found = [_find(one, listing) for one in wanted]
            progress.done = sum(one.standing not in patience for one in found)
            waited = CLOCK.now() - began
            if all(waited >= patience.get(one.standing, 0.0) for one in found):
                return found
            await CLOCK.sleep(POLL)


def _find(wanted: Wanted, listing: Sequence[Document]) -> Listed:
    names = {name.casefold() for name in wanted.names}
    matches = [one for one in listing if one.id == wanted.officeplane_id]
    matches = matches or [one for one in listing if one.name.casefold() in names]
    if len(matches) != 1:
        return Listed(standing="ambiguous" if matches else "absent")
    match = matches[0]
    standing: Literal["ready", "failed", "waiting"] = _STANDINGS[match.phase]
    return Listed(standing=standing, planck_id=match.id, word=match.status)


_STANDINGS: Final[dict[DocumentPhase, Literal["ready", "failed", "waiting"]]] = {
    DocumentPhase.READY: "ready",
    DocumentPhase.FAILED: "failed",
    DocumentPhase.WAITING: "waiting",
}
