"""Put documents into OfficePlane and have questions about them answered by Planck AI.

As a command:    python -m flows.ingest_then_chat --document lease.pdf --question "What is the rent?"
As a function:   await ingest_then_chat(documents=["lease.pdf"], questions=["What is the rent?"])
As a deployment: see prefect.yaml

A document is uploaded once, whatever happens; a conversation and its questions are asked once per
run key, through retries, crashes and re-runs.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from blocks import EffectLedger, OfficePlaneServer, PlanckCredentials
from flows._answers import ask_all, checked_questions, find_workspace, ingest
from flows._documents import MEGABYTE, gather
from flows._grounding import GroundingRules, ground
from flows._models import Grounding, IngestThenChat
from flows._report import default_report, write_artifacts, write_html
from tasks import effects_of
from tasks._progress import say


@flow(
    name="ingest-then-chat",
    description=__doc__,
    flow_run_name="{title}",
    validate_parameters=True,
)
async def ingest_then_chat(
    documents: Annotated[list[str], Field(examples=[["~/contracts/*.pdf"]])],
    questions: Annotated[list[str], Field(examples=[["What is the notice period?"]])],
    *,
    workspace: str | None = None,
    title: str = "Ingest, then chat",
    grounding: Grounding = Grounding.AUTO,
    run_key: str | None = None,
    generation: Annotated[int, Field(ge=0)] = 0,
    officeplane: str | OfficePlaneServer | None = None,
    planck: str | PlanckCredentials | None = None,
    ledger: str | EffectLedger | None = None,
    max_document_mb: Annotated[int, Field(gt=0)] = 100,
    inline_budget: Annotated[int, Field(gt=0)] = 60_000,
    listing_deadline: Annotated[float, Field(ge=0)] = 15.0,
    processing_deadline: Annotated[float, Field(ge=0)] = 300.0,
    report: Path | None = None,
) -> IngestThenChat:
    """Answer questions from documents.

    Args:
        documents: Paths, patterns such as ~/contracts/*.pdf, or http(s) addresses.
        questions: Asked in one conversation, in this order.
        workspace: Name or id of the Planck AI workspace; not needed where the key sees only one.
        title: Name of the run and of the conversation.
        grounding: How answers see the documents. document: as the workspace lists them. inline: as
            Markdown in the first message. auto: the former where a document is listed, else the latter.
        run_key: Runs with the same key are one intent, so that a second run asks nothing twice. Empty:
            this run's own id.
        generation: 0 uploads each content once for ever; 1 uploads once more what OfficePlane no longer has.
        officeplane: Name of the OfficePlane Server block. Empty: the environment's PLAIT_OFFICEPLANE_URL.
        planck: Name of the Planck AI Credentials block. Empty: PLAIT_PLANCK_URL and PLAIT_PLANCK_API_KEY.
        ledger: Name of the Plait Effect Ledger block. Empty: PLAIT_LEDGER_URL, or ~/.plait/ledger.db.
        max_document_mb: A larger document is left out. In MiB.
        inline_budget: Characters of Markdown that the first message may carry.
        listing_deadline: Seconds to wait for Planck AI to list a document before it goes inline (auto only).
        processing_deadline: Seconds to wait for Planck AI to process a listed document.
        report: File of the HTML report. Empty: a file in the folder reports, named after the run key.
    """
    began = time.monotonic()
    asked = checked_questions(questions)
    max_size = max_document_mb * MEGABYTE
    rules = GroundingRules(
        mode=grounding,
        inline_budget=inline_budget,
        listing_deadline=listing_deadline,
        processing_deadline=processing_deadline,
    )
    async with effects_of(ledger, run_key=run_key) as run:
        with tempfile.TemporaryDirectory(prefix="plait-") as downloads:
            files, left_out = await gather(documents, downloads=Path(downloads), max_size=max_size)
            place = await find_workspace(planck, workspace)
            ingestion = await ingest(officeplane, files, left_out, generation=generation, max_size=max_size)
        grounds = await ground(
            run, ingestion, rules, officeplane=officeplane, planck=planck, workspace_id=place.id
        )
        conversation_id, answers = await ask_all(planck, place, title, asked, grounds)
    result = IngestThenChat(
        run_key=run.key,
        workspace_id=place.id,
        workspace=place.name,
        conversation_id=conversation_id,
        documents=grounds.used,
        left_out=grounds.left_out,
        answers=answers,
        report=(report or default_report(run.key)).expanduser().absolute(),
    )
    await write_html(result, title=title, seconds=time.monotonic() - began)
    await write_artifacts(result)
    say(f"Report: {result.report}")
    return cast("IngestThenChat", _completed(result))


def _completed(result: IngestThenChat) -> State[IngestThenChat]:
    """The run's final state; its message says what was left out."""
    return Completed(message=result.summary, data=result)


if __name__ == "__main__":
    from flows._terminal import main

    main()
